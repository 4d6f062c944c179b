"""Peaks of devices, and accelerators that jax does not see: a stand-in nvidia-smi, made-up /dev and /sys."""

import importlib.util
import os
import time
from pathlib import Path

import jax
import pytest

from jaxlab import devices
from jaxlab.parallel.mesh import make_mesh
from tests.experiments import ROOT

LISTED = """GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1f2e)
GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-2a3b)
"""


@pytest.mark.parametrize(
    ('kind', 'dtype', 'teraflops'),
    [
        ('NVIDIA H100 80GB HBM3', 'bfloat16', 989),
        ('NVIDIA H100 80GB HBM3', 'float32', 495),
        ('NVIDIA H100 PCIe', 'bfloat16', 756),
        ('NVIDIA H200', 'bfloat16', 989),
        ('NVIDIA A100-SXM4-40GB', 'bfloat16', 312),
        ('NVIDIA A100-SXM4-80GB', 'float64', 19.5),
        ('NVIDIA A100-PCIE-40GB', 'bfloat16', 312),
        ('NVIDIA A100 80GB PCIe', 'float32', 156),
        ('NVIDIA A800-SXM4-80GB', 'bfloat16', 312),
        ('Tesla V100-SXM2-16GB', 'float32', 15.7),
        ('Tesla V100-SXM2-16GB', 'bfloat16', 0),
        ('Tesla T4', 'float32', 8.1),
        ('NVIDIA L4', 'bfloat16', 121),
        ('NVIDIA L40S', 'bfloat16', 362),
        ('NVIDIA GeForce RTX 3090', 'bfloat16', 71),
        ('NVIDIA GeForce RTX 4090', 'bfloat16', 165.2),
        ('NVIDIA GeForce RTX 4090 Laptop GPU', 'bfloat16', 0),  # another chip
        ('NVIDIA GeForce RTX 4090 D', 'bfloat16', 0),
        ('TPU v2', 'bfloat16', 23),
        ('TPU v4', 'bfloat16', 275),
        ('TPU v5 lite', 'bfloat16', 197),
        ('TPU v5', 'bfloat16', 459),
        ('TPU v6 lite', 'bfloat16', 918),
        ('TPU7x', 'bfloat16', 1153.5),
        ('cpu', 'float32', 0),
        ('', 'float32', 0),
        ('NVIDIA H100 80GB HBM3', 'int4', 0),
    ],
)
def test_peaks(kind, dtype, teraflops):
    assert devices.peak(kind, dtype) == pytest.approx(1e12 * teraflops)


@pytest.mark.parametrize(
    ('shape', 'processes', 'text'),
    [
        ({'data': 8}, 1, '8 of 8 × cpu, mesh data 8'),
        ({'data': 2, 'fsdp': 4}, 2, '8 of 8 × cpu, mesh data 2 × fsdp 4, 2 processes'),
        ({'data': 3}, 1, '3 of 8 × cpu, mesh data 3'),
        ({'data': 1}, 1, '1 of 8 × cpu'),
    ],
)
def test_devices_in_use_and_seen(monkeypatch, shape, processes, text):
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    assert devices.summary(make_mesh(shape)) == text


def test_one_device(monkeypatch):
    monkeypatch.setattr(jax, 'device_count', lambda: 1)
    assert devices.summary(make_mesh({'data': 1})) == '1 × cpu'


# --- what jax does not see -------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A PATH and a /dev of its own; machine('…') puts a shell script in the place of nvidia-smi."""
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', f'{tmp_path}/bin:/usr/bin:/bin')
    monkeypatch.setenv('JAXLAB_SYSTEM_ROOT', f'{tmp_path}/system')
    for variable in ('CUDA_VISIBLE_DEVICES', 'TPU_ACCELERATOR_TYPE', 'TPU_WORKER_ID'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    monkeypatch.chdir(ROOT)

    def nvidia_smi(script: str) -> None:
        path = tmp_path / 'bin' / 'nvidia-smi'
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)

    return nvidia_smi


def test_a_gpu_that_jax_does_not_see(machine):
    machine(f'cat <<END\n{LISTED}END')
    assert devices.describe_unseen().split('\n') == [
        'nvidia-smi sees 2 × NVIDIA GeForce RTX 4090, and jax does not: this run is on the CPU.',
        'The jax that is installed here is for the CPU alone. To repair it:',
        '    bash launch/setup.sh --device=cuda',
    ]


def test_two_kinds_of_gpu(machine):
    machine("echo 'GPU 0: NVIDIA H100 PCIe (UUID: GPU-1)'; echo 'GPU 1: Tesla T4 (UUID: GPU-2)'")
    assert 'sees 1 × NVIDIA H100 PCIe, 1 × Tesla T4,' in devices.describe_unseen()


def test_a_list_in_another_form_is_still_a_gpu(machine):
    machine("echo '| NVIDIA-SMI 999.1   Driver Version: 999.1 |'")
    assert 'nvidia-smi sees 1 × NVIDIA GPU, and jax does not' in devices.describe_unseen()


def test_the_command_is_right_from_any_folder(machine, monkeypatch, tmp_path):
    machine(f'cat <<END\n{LISTED}END')
    monkeypatch.chdir(tmp_path)
    command = devices.describe_unseen().split('\n')[-1].split()
    assert command[0] == 'bash' and (tmp_path / command[1]).resolve() == ROOT / 'launch' / 'setup.sh'


def test_a_plugin_that_does_not_start(machine, monkeypatch):
    machine(f'cat <<END\n{LISTED}END')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name == 'jax_cuda13_plugin')
    assert "jax's CUDA plugin is here and did not start" in devices.describe_unseen()


@pytest.mark.parametrize(
    ('value', 'hides'), [('', True), ('-1', True), ('0', False), ('1,0', False), ('GPU-1f', False)]
)
def test_a_gpu_that_is_hidden(machine, monkeypatch, value, hides):
    machine(f'cat <<END\n{LISTED}END')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', value)
    text = devices.describe_unseen()
    assert text.endswith('    unset CUDA_VISIBLE_DEVICES') == hides
    assert text.endswith('    bash launch/setup.sh --device=cuda') != hides


@pytest.mark.parametrize(
    'script',
    ['echo No devices were found; exit 6', 'echo No devices found.', 'exit 0', f'echo {LISTED.split()[0]}; exit 9'],
)
def test_a_machine_without_a_gpu(machine, script):
    machine(script)
    assert devices.describe_unseen() == ''


def test_without_nvidia_smi(machine):
    assert devices.describe_unseen() == ''
    text = devices.describe_unseen('cuda,cpu')
    assert 'JAX_PLATFORMS=cuda,cpu asks for more than a CPU' in text and '\n' not in text


def test_an_nvidia_smi_that_hangs(machine):
    machine('sleep 60')
    start = time.monotonic()
    assert devices.describe_unseen(timeout=0.2) == ''
    assert time.monotonic() - start < 30


def test_an_nvidia_smi_that_cannot_run(machine, tmp_path):
    machine('')
    (tmp_path / 'bin' / 'nvidia-smi').write_bytes(b'\x7fELF no program')
    assert devices.describe_unseen() == ''


@pytest.mark.parametrize(
    ('files', 'environment', 'seen'),
    [
        ({}, {}, False),
        ({'dev/accel0': ''}, {}, True),
        ({'dev/accel/accel0': ''}, {}, False),
        ({'dev/vfio/0': ''}, {}, False),
        ({'dev/vfio/0': ''}, {'TPU_WORKER_ID': '0'}, True),
        ({'dev/vfio/0': '', 'sys/bus/pci/devices/0/vendor': '0x1ae0\n'}, {}, True),
        ({'dev/vfio/0': '', 'sys/bus/pci/devices/0/vendor': '0x10de\n'}, {}, False),
    ],
    ids=str,
)
def test_tpus_as_setup_sees_them(machine, monkeypatch, tmp_path, files, environment, seen):
    for name, text in files.items():
        path: Path = tmp_path / 'system' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert devices.describe_unseen().endswith('--device=tpu') == seen


def ask(monkeypatch, platforms: str, backend: str) -> bool:
    """Whether `unseen` looks at all."""
    looked = []
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    monkeypatch.setattr(devices, 'describe_unseen', lambda *_: looked.append(True) or 'seen')
    monkeypatch.setattr(type(jax.config), 'jax_platforms', platforms or None)
    found = devices.unseen().result(timeout=20)
    assert found == ('seen' if looked else '')
    return bool(looked)


def test_it_looks_only_where_the_cpu_was_not_asked_for(monkeypatch):
    assert ask(monkeypatch, '', 'cpu')
    assert ask(monkeypatch, 'cuda,cpu', 'cpu')
    assert not ask(monkeypatch, 'cpu', 'cpu')  # as --device=cpu sets it
    assert not ask(monkeypatch, '', 'gpu')


def test_nobody_waits_for_it(machine, monkeypatch):
    """It answers on a daemon thread: neither the start nor the end of a run waits for a driver that hangs."""
    machine('sleep 5')
    monkeypatch.setattr(type(jax.config), 'jax_platforms', None)
    assert not devices.unseen().done()
    assert os.environ['PATH'].startswith('/')
