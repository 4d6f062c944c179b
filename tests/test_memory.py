"""What a step will take, and what there is."""

import mmap
import os

import jax
import jax.numpy as jnp
import psutil
import pytest

from jaxlab import memory
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

MIB = 2**20


def test_a_compiled_step(monkeypatch):
    """On each of eight devices: the state whole, an eighth of the batch, and what is computed between them."""
    mesh = make_mesh({'data': 8})
    rows, whole = layout.batch_sharding(mesh), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    state = jax.ShapeDtypeStruct((512, 512), jnp.float32, sharding=whole)  # 1 MiB
    batch = jax.ShapeDtypeStruct((2048, 512), jnp.float32, sharding=rows)  # 4 MiB, of which each has half a MiB

    def step(state, batch):
        return state - (batch @ state).T @ batch

    compiled = jax.jit(step, donate_argnums=0, out_shardings=whole).lower(state, batch).compile()
    between = compiled.memory_analysis().temp_size_in_bytes
    assert between >= MIB  # the gradient, at least
    monkeypatch.setattr(memory, 'limit', lambda: 4 * MIB)
    # The new state lies where the old one was.
    assert memory.expected(compiled) == memory.Expected(3 * MIB // 2 + between, 4 * MIB)


def test_a_backend_that_does_not_know():
    class Unknown:
        def memory_analysis(self):
            return None

    assert memory.expected(Unknown()).taken == 0


def test_bytes_of_a_state():
    mesh = make_mesh({'data': 2, 'fsdp': 4})
    arrays = {
        'w': jax.ShapeDtypeStruct((8, 6), jnp.float32),
        'b': jax.ShapeDtypeStruct((6,), jnp.bfloat16),
        'key': jax.eval_shape(lambda: jax.random.key(0)),
    }
    split, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(axis)) for axis in ('fsdp', None))
    assert memory.of_tree(arrays, {'w': split, 'b': whole, 'key': whole}) == 8 * 6 * 4 // 4 + 6 * 2 + 8


# --- what there is ---------------------------------------------------------------------------------------------------


class Device:
    platform = 'gpu'

    def __init__(self, **stats):
        self.memory_stats = lambda: stats or None


def test_devices_that_say_it(monkeypatch):
    gpus = [Device(bytes_limit=80, bytes_in_use=5, peak_bytes_in_use=12), Device(bytes_limit=80, bytes_in_use=9)]
    monkeypatch.setattr(jax, 'local_devices', lambda: gpus)
    assert (memory.limit(), memory.in_use()) == (80, 12)
    monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
    assert memory.limit() == 0  # unknown, and not a made-up number


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine({'proc/self/cgroup': '…'}) is what the machine says of this process's limits; 64 MiB are free."""
    own = psutil.Process().memory_info()
    monkeypatch.setattr(psutil, 'virtual_memory', lambda: type('Memory', (), {'available': 64 * MIB}))
    monkeypatch.setattr(psutil.Process, 'memory_info', lambda self: own)
    monkeypatch.setenv('JAXLAB_SYSTEM_ROOT', str(tmp_path))

    def files(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return memory.limit() * jax.local_device_count()

    return files, own.rss


def test_a_cpu_has_what_is_free_and_what_is_ours(machine):
    limit, own = machine
    assert limit({}) == pytest.approx(64 * MIB + own, abs=8)


@pytest.mark.parametrize(
    'files',
    [
        {'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': f'{MIB}\n'},  # a container
        {
            'proc/self/cgroup': '0::/slurm/job_7/step\n',
            'sys/fs/cgroup/slurm/job_7/memory.max': f'{MIB}\n',
            'sys/fs/cgroup/slurm/job_7/step/memory.max': 'max\n',
            'sys/fs/cgroup/memory.max': f'{9 * MIB}\n',
        },
        {
            'proc/self/cgroup': '5:cpu,cpuacct:/job\n4:memory:/job\n',
            'sys/fs/cgroup/memory/job/memory.limit_in_bytes': f'{MIB}\n',
            'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
        },
    ],
    ids=['container', 'version 2', 'version 1'],
)
def test_limits_of_a_container_or_a_scheduler(machine, files):
    assert machine[0](files) == MIB


def test_an_unlimited_group(machine):
    limit, own = machine
    files = {'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/memory.max': 'max\n'}
    assert limit(files) == pytest.approx(64 * MIB + own, abs=8)


def test_memory_of_this_process():
    before = memory.in_use()
    assert before == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.2)
    with mmap.mmap(-1, 64 * MIB) as block:  # new to the process, whatever its allocator has kept
        block.write(b'1' * (64 * MIB))
        assert memory.in_use() - before > 32 * MIB


@pytest.mark.parametrize(
    ('count', 'text'),
    [(0, '0 B'), (1023, '1023 B'), (1536, '1.5 KiB'), (8.5 * MIB, '8.5 MiB'), (2**34, '16.0 GiB'), (2**42, '4.0 TiB')],
)
def test_readable(count, text):
    assert memory.readable(count) == text
