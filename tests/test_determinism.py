"""config.deterministic: its flags are set before a device starts, the user's own stay, and a CPU needs none."""

import importlib
import json
import os

import jax
import pytest

import jaxlab
import jaxlab.main
import jaxlab.race
from jaxlab import config_text, determinism, replay
from jaxlab.train import train
from tests.experiments import TRANSFORMER, message, run, tiny, transformer, write_corpus, write_run

BOTH = '--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0'


@pytest.fixture
def early(monkeypatch):
    """No device has started yet."""
    monkeypatch.setattr(determinism, '_has_started', lambda: False)
    monkeypatch.setenv('XLA_FLAGS', '')


def test_off_by_default_and_then_nothing_is_set(early):
    assert transformer().deterministic is False
    determinism.switch(False)
    assert os.environ['XLA_FLAGS'] == ''


@pytest.mark.parametrize(
    ('given', 'then'),
    [
        ('', BOTH),
        ('--xla_dump_to=x', f'--xla_dump_to=x {BOTH}'),
        ('--xla_gpu_autotune_level=4', '--xla_gpu_autotune_level=4 --xla_gpu_deterministic_ops=true'),
        (BOTH, BOTH),
        ('--xla_gpu_deterministic_ops', '--xla_gpu_deterministic_ops --xla_gpu_autotune_level=0'),
    ],
)
def test_flags_of_the_users_own_stay(given, then, early, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', given)
    determinism.switch(True)
    determinism.switch(True)
    assert os.environ['XLA_FLAGS'] == then


@pytest.mark.parametrize('flag', ['--xla_gpu_deterministic_ops=false', '--xla_gpu_deterministic_ops=0'])
def test_flags_that_forbid_it(flag, early, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', f'--xla_dump_to=x {flag}')
    assert flag in message(determinism.switch, True)


def test_too_late(monkeypatch):
    assert jax.devices() and determinism._has_started()
    monkeypatch.setenv('XLA_FLAGS', '--xla_dump_to=x')
    determinism.switch(True)  # a CPU needs nothing
    assert os.environ['XLA_FLAGS'] == '--xla_dump_to=x'
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert f'XLA_FLAGS="{BOTH}"' in message(determinism.switch, True)
    monkeypatch.setenv('XLA_FLAGS', BOTH)  # it was started so
    determinism.switch(True)


def test_it_is_no_other_experiment():
    c = transformer()
    assert config_text.identity(config_text.override(c, [('deterministic', 'true')])) == config_text.identity(c)


@pytest.mark.parametrize('verb', ['train', 'load', 'replay', 'race'])
def test_it_is_asked_before_a_device_starts(verb, tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def switch(on):
        assert on
        raise Asked

    for name in ('devices', 'default_backend', 'process_index', 'device_count'):
        monkeypatch.setattr(jax, name, lambda *a: pytest.fail('a device has started'))
    monkeypatch.setattr(jaxlab.race, 'race', lambda *a: pytest.fail('a device may have started'))
    for module in ('train', 'experiment', 'replay'):
        monkeypatch.setattr(
            importlib.import_module(f'jaxlab.{module}'), 'make_mesh', lambda *a: pytest.fail('a device has started')
        )
    monkeypatch.setattr(determinism, 'switch', switch)
    with pytest.raises(Asked):
        if verb == 'train':
            train(tiny(tmp_path, deterministic=True), tmp_path / 'run', [])
        workdir = write_run(tmp_path / 'old', [], deterministic=True)
        if verb == 'load':
            jaxlab.load(workdir)
        if verb == 'race':  # what is finished is looked up before anything trains
            jaxlab.main.main(['--config=configs/optimizers.py:tiny', '--config.deterministic=true'])
        replay.replay(workdir, 1)


def test_on_a_cpu_runs_are_the_same_with_it_and_without(tmp_path):
    """Two processes, to the last bit; and XLA takes the flags, which it reads when its devices start."""
    corpus, found = write_corpus(tmp_path / 'corpus'), []
    for on in ('false', 'true'):
        flags = [f'--config.{key}' for key in ('steps=4', 'log.every=1', 'log.sample_every=0', 'evaluate.batches=1')]
        flags += [f'--config.data.path={corpus}', f'--config.deterministic={on}', f'--workdir={tmp_path / on}']
        code, output = run(f'--config={TRANSFORMER}:tiny', *flags, cache=tmp_path / 'cache', devices=2)
        assert code == 0, output
        rows = [json.loads(line) for line in (tmp_path / on / 'metrics.jsonl').read_text('utf-8').splitlines()]
        found.append([{k: v for k, v in row.items() if 'second' not in k and 'mfu' not in k} for row in rows])
        (about,) = json.loads((tmp_path / on / 'runs.json').read_text('utf-8'))
        used = about['variables']['XLA_FLAGS'].split()
        assert [flag for flag in BOTH.split() if flag in used] == BOTH.split() * (on == 'true')
    assert found[0] == found[1] and len(found[0]) == 5
    params = [jax.device_get(jaxlab.load(tmp_path / on).params) for on in ('false', 'true')]
    assert jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), *params))
