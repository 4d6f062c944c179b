"""A step that is run again is the step that was logged, bit for bit, wherever it is begun and however steps are put
together; and what is not as it was is said."""

import json
import random
import re
from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import blueprint, calls, main
from jaxlab import replay as replays
from jaxlab import train as loop
from jaxlab.observers.history import History
from jaxlab.observers.tracker import Tracker
from jaxlab.replay import replay
from jaxlab.verbs import replay as verb
from tests.experiments import message, other_batches, tiny

STEPS = 24
RUNS = {
    'plain': {'model__dropout': 0.1, 'accumulate': 2, 'steps_per_call': 1, 'log__every': 1},
    'several': {'model__scan': True, 'model__layers': 2, 'steps_per_call': 10, 'log__every': 4},
}
OFFSET = 3


@contextmanager
def with_offset():
    """Runs are born with another first batch, as after a rollback."""
    init = blueprint.steps.init
    with pytest.MonkeyPatch.context() as patch:
        start = lambda *arguments: init(*arguments).replace(data_offset=jnp.int32(OFFSET))  # noqa: E731
        patch.setattr(blueprint.steps, 'init', start)
        yield


@pytest.fixture(scope='module')
def runs(corpus, tmp_path_factory):
    """Trains the RUNS once; their workdirs by name."""
    folder = tmp_path_factory.mktemp('runs')
    small = {'batch_size': 4, 'model__width': 16, 'model__heads': 2, 'data__length': 16, 'model__layers': 1}
    quiet = {'log__sample_every': 0, 'evaluate__every': 0, 'checkpoint__every': 8, 'mesh__data': 1, 'steps': STEPS}
    with with_offset():
        for name, settings in RUNS.items():
            config = tiny(corpus, **{**small, **quiet, **settings})
            loop.train(config, folder / name, [Tracker(), History()])
    return folder


def again(workdir, step, **options):
    with with_offset():
        return replay(workdir, step, **options)


@pytest.mark.parametrize('name', RUNS)
def test_random_steps_bit_for_bit(runs, name):
    logged = [step for step in range(1, STEPS + 1) if step % RUNS[name]['log__every'] == 0]
    told = []
    for step in [logged[-1], random.Random(name).choice(logged[:-1])]:
        found = again(runs / name, step, tell=told.append)
        assert found.bitwise and found.differs == [] and set(found.row) == set(found.logged) > {'train/loss'}
        assert found.finite and found.first is None and found.changed == []
        assert np.isclose(np.average(found.anatomy['loss'].losses), found.row['train/loss'], rtol=1e-3)
        norm = sum(np.square(x).sum() for x in found.anatomy['loss'].gradients.values()) ** 0.5
        np.testing.assert_allclose(norm, found.row['train/gradient_norm'], rtol=1e-3)
    assert told[0] == 'from the checkpoint of step 16, 8 steps'


def mutant(monkeypatch, name):
    """Breaks one thing that makes a step a function of its position."""
    run, born = calls.run, blueprint.Blueprint.born
    if name == 'the next batch':
        wrong = lambda call, state, batch, *rest: run(call, state, lambda n: batch(n + 1), *rest)  # noqa: E731
        monkeypatch.setattr(replays.calls, 'run', wrong)
    elif name == 'an offset that is forgotten':
        wrong = lambda call, state, batch, *rest: run(call, state, lambda n: batch(n - OFFSET), *rest)  # noqa: E731
        monkeypatch.setattr(replays.calls, 'run', wrong)
    elif name == 'the key of another step':
        fold_in = jax.random.fold_in
        wrong = lambda key, n: fold_in(key, n + 1 if isinstance(n, jax.core.Tracer) else n)  # noqa: E731
        monkeypatch.setattr(blueprint.steps.jax.random, 'fold_in', wrong)
    elif name == 'another beginning':
        other = lambda plan: born(plan.__class__(**{**vars(plan), 'key': jax.random.key(7)}))  # noqa: E731
        monkeypatch.setattr(blueprint.Blueprint, 'born', other)


MUTANTS = ['the next batch', 'an offset that is forgotten', 'the key of another step', 'another beginning']


@pytest.mark.parametrize('name', MUTANTS)
def test_a_step_at_another_place_is_noticed(runs, name, monkeypatch):
    mutant(monkeypatch, name)
    monkeypatch.setattr(replays, 'dissect', lambda *arguments: {})
    found = again(runs / 'plain', 3)
    assert found.bitwise is False and 'train/loss' in found.differs
    assert verb.verdict(found) == [
        f'not the logged loss, which is {found.logged["train/loss"]!r}',
        'nothing that is on record of the run has changed since then',
    ]


def test_what_has_changed_is_said(runs, monkeypatch):
    """On another mesh sums come in another order: no bit for bit is to be expected there, and it is said why."""
    monkeypatch.setattr(replays, 'dissect', lambda *arguments: {})
    monkeypatch.setattr(replays.history, 'versions', lambda: {'jax': '0.0.1'})
    found = again(runs / 'plain', STEPS, overrides=[('mesh.data', '2')])
    assert np.isclose(found.row['train/loss'], found.logged['train/loss'], rtol=1e-5)
    assert "mesh: {} → {'data': '2'}" in found.changed and any(line.startswith('jax: ') for line in found.changed)


def test_the_verb(runs, capsys):
    def run(*flags):
        parsed = main.parse(['replay', f'--workdir={runs / "several"}', *flags])
        with with_offset():
            return parsed.run(parsed), capsys.readouterr().out

    code, out = run('--step=17', '--rows=2')
    assert code == 0 and 'this step was not logged; the nearest that was: 16' in out
    assert 'from the checkpoint of step 16, 1 steps' in out and '⏎' in out
    assert len(re.findall(r'stack/layers/mlp/up +\S+ +\S+\n', out)) == 1
    assert len(re.findall(r'(?m)^ {4,6}\d  ', out)) == 2
    code, out = run('--step=20', '--json', '--rows=0')
    found = json.loads(out)
    assert code == 0 and found['bitwise'] is True and found['row'] == found['logged'] and found['rows'] == []
    assert len(found['phases']['loss']['row_losses']) == 4
    assert len(found['phases']['loss']['activation_rms']['stack/layers/mlp']) == 2


def test_steps_that_there_are_not(runs, tmp_path):
    assert message(again, runs / 'plain', STEPS + 1) == f'--step={STEPS + 1}: the run has the steps 1 to {STEPS}.'
    assert message(again, runs / 'plain', 0).startswith('--step=0: ')
    assert 'no experiment here' in message(replay, tmp_path, 1)
    other = partial(again, overrides=[('model.width', '32')])
    assert 'holds another experiment (model.width: 16 → 32)' in message(other, runs / 'plain', 1)


def test_nothing_is_written(runs):
    files = {file: file.stat().st_mtime_ns for file in (runs / 'plain').rglob('*')}
    again(runs / 'plain', STEPS)
    assert {file: file.stat().st_mtime_ns for file in (runs / 'plain').rglob('*')} == files


def test_where_it_began_to_be_wrong_is_shown(runs, monkeypatch):
    def change(batch, n):
        rows = batch(n)
        return rows | {'mask': np.where(np.arange(4)[:, None] == 2, np.nan, rows['mask']).astype(np.float32)}

    other_batches(monkeypatch, replays, change)
    found = again(runs / 'plain', STEPS)
    assert not found.finite and np.isnan(found.row['train/loss'])
    assert np.isnan(found.anatomy['loss'].losses).tolist() == [False, False, True, False]
    assert 'It came with the batch: mask has NaN.' in verb.as_text(found, 1)
