"""Flags of XLA for each kind of device: known to this jax, set before it starts, never over the user's own."""

import importlib.util
import os
import subprocess
import sys

import pytest

from jaxlab import main
from jaxlab.parallel import flags

START = 'import jax; print(jax.devices())'
TOPOLOGY = 'from jax.experimental import topologies as t; t.get_topology_desc(platform="tpu", topology_name="v5e:2x2")'


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for variable in ('XLA_FLAGS', 'LIBTPU_INIT_ARGS', 'JAX_PLATFORMS'):
        monkeypatch.setenv(variable, '')
    monkeypatch.setattr(flags, '_set', [])


def starts(program, **variables):
    """Whether a process with these variables ends well."""
    done = subprocess.run(
        [sys.executable, '-c', program],
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'TPU_SKIP_MDS_QUERY': '1'} | variables,
        capture_output=True,
        timeout=300,
    )
    return done.returncode == 0


def text(all_of_them):
    return ' '.join(f'{flag}={value}' for flag, value in all_of_them.items())


def test_xla_knows_each_of_them():
    assert starts(START, XLA_FLAGS=text(flags.GPU | flags.CPU | flags.SIMULATED))
    assert not starts(START, XLA_FLAGS=text(flags.GPU | {'--xla_gpu_enable_haste': 'true'}))


@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='wants libtpu')
def test_libtpu_knows_each_of_them():
    assert starts(TOPOLOGY, LIBTPU_INIT_ARGS=text(flags.TPU))
    assert not starts(TOPOLOGY, LIBTPU_INIT_ARGS=text(flags.TPU | {'--xla_tpu_enable_haste': 'true'}))


SOME = {'--xla_a': '1', '--xla_a_b': 'true'}


@pytest.mark.parametrize(
    ('given', 'then'),
    [
        ('', '--xla_a=1 --xla_a_b=true'),
        ('--xla_dump_to=x', '--xla_dump_to=x --xla_a=1 --xla_a_b=true'),
        ('--xla_a=2', '--xla_a=2 --xla_a_b=true'),
        ('--xla_a_b', '--xla_a_b --xla_a=1'),
        ('--noxla_a_b --xla_a=1', '--noxla_a_b --xla_a=1'),
        ('-xla_a_b=false --xla_a=', '-xla_a_b=false --xla_a='),
    ],
)
def test_the_users_own_stay(given, then, monkeypatch):
    monkeypatch.setenv('XLA_FLAGS', given)
    added = flags.add(SOME)
    assert os.environ['XLA_FLAGS'] == then == ' '.join([given, *added]).strip()
    assert flags.add(SOME) == []


def machine(monkeypatch, tmp_path, installed=(), *files):
    """Stands in for another machine: what is installed, and which files of devices it has."""
    for file in files:
        (tmp_path / 'dev' / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'dev' / file).touch()
    monkeypatch.setenv('JAXLAB_SYSTEM_ROOT', str(tmp_path))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name if name in installed else None)


@pytest.mark.parametrize(
    ('installed', 'files', 'platforms', 'kind'),
    [
        ([], [], '', 'cpu'),
        (['jax_cuda12_plugin'], ['nvidia0', 'nvidiactl'], '', 'gpu'),
        (['jax_cuda13_plugin'], ['dxg'], '', 'gpu'),
        (['jax_cuda12_plugin'], ['nvidiactl'], '', 'cpu'),
        ([], ['nvidia0'], '', 'cpu'),
        (['libtpu'], ['accel0'], '', 'tpu'),
        (['libtpu'], [], '', 'cpu'),
        (['jax_cuda12_plugin', 'libtpu'], ['nvidia0'], 'cpu', 'cpu'),
        ([], [], 'cuda,cpu', 'gpu'),
        ([], [], 'tpu', 'tpu'),
    ],
)
def test_the_kind_of_device(installed, files, platforms, kind, monkeypatch, tmp_path):
    machine(monkeypatch, tmp_path, installed, *files)
    monkeypatch.setenv('JAX_PLATFORMS', platforms)
    assert flags.kind() == kind


def test_each_kind_has_its_own_and_says_so(monkeypatch, tmp_path):
    machine(monkeypatch, tmp_path)
    flags.switch()
    assert os.environ['XLA_FLAGS'] == '' and flags.told() == ''
    monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
    monkeypatch.setenv('XLA_FLAGS', '--xla_gpu_enable_latency_hiding_scheduler=false')
    flags.switch()
    assert os.environ['XLA_FLAGS'].startswith('--xla_gpu_enable_latency_hiding_scheduler=false --xla_gpu_enable_pipel')
    assert 'pipelined_all_gather=true' in flags.told() and 'latency' not in flags.told()
    monkeypatch.setenv('JAX_PLATFORMS', 'tpu')
    flags.switch()
    assert os.environ['LIBTPU_INIT_ARGS'] == text(flags.TPU)


def test_devices_that_a_cpu_plays_have_one_order_of_collectives(monkeypatch):
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
    flags.switch()
    assert os.environ['XLA_FLAGS'].endswith(text(flags.SIMULATED)) and flags.told() == ''
    monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
    monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
    flags.switch()
    assert text(flags.SIMULATED) not in os.environ['XLA_FLAGS']


def test_they_are_set_before_a_verb_runs(monkeypatch):
    done = []
    monkeypatch.setattr(flags, 'switch', lambda: done.append('flags'))
    monkeypatch.setattr('jaxlab.verbs.report.run', lambda parsed: done.append('run') or 0)
    assert main.main(['report', 'runs']) == 0 and done == ['flags', 'run']
