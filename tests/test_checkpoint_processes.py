"""Two processes write one step, share the work of checking it, and agree on what they find."""

import pytest

from jaxlab.trust import manifest
from tests.experiments import start_two

PROGRAM = """
import sys
from pathlib import Path

import jax

port, number, workdir, what, mutant = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{port}', 2, int(number))

import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.step import TrainState
from jaxlab.trust import manifest, numbers


def state(step):
    w = jnp.arange(8.0) + step
    return TrainState(jnp.int32(step), {'w': w}, {}, (), jax.random.key(0), {}, jnp.int32(0), numbers.start())


mesh = jax.make_mesh((2,), ('data',))
split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (['data'], []))
shardings = TrainState(whole, {'w': split}, {}, (), whole, {}, whole, jax.tree.map(lambda _: whole, numbers.start()))
checkpoints = Checkpoints(Path(workdir), 2)
if what == 'save':
    for step in (1, 2, 3):
        checkpoints.save(step, jax.jit(state, out_shardings=shardings)(step), ConfigDict({}), Best())
        checkpoints.check()
else:
    if mutant:  # each goes by what it found itself
        folder, share = Path(workdir, 'checkpoints'), (int(number), 2)
        checkpoints._damage = lambda step, parts: str(manifest.damage(folder / str(step), step, parts, share) or '')
    abstract = jax.tree.map(
        lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), jax.eval_shape(state, 0), shardings
    )
    if mutant:
        print('step', checkpoints._newest_good())
    else:
        restored = checkpoints.restore(abstract)
        (mine,) = restored.params['w'].addressable_shards
        print('step', int(restored.step), np.asarray(mine.data).tolist())
checkpoints.close()
"""


def both(workdir, what, mutant=''):
    """Runs both processes to their end; returns what each printed."""
    running = start_two(PROGRAM, str(workdir), what, mutant)
    found = [process.communicate(timeout=120) for process in running]
    for process, (out, errors) in zip(running, found):
        assert process.returncode == 0, out + errors
    return [out for out, _ in found]


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('processes')
    both(workdir, 'save')
    return workdir


def test_two_processes(saved):
    folder = saved / 'checkpoints'
    assert manifest.steps(folder) == [2, 3] and sorted(entry.name for entry in folder.iterdir()) == ['2', '3']
    assert not any(manifest.damage(folder / str(step), step) for step in (2, 3))
    written = {file.relative_to(folder / '3').parts[1] for file in (folder / '3').rglob('*') if 'process_' in str(file)}
    assert {'ocdbt.process_0', 'ocdbt.process_1'} <= written

    file = sorted((folder / '3' / 'params').rglob('d/*'))[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = both(saved, 'restore')
    assert [out.splitlines()[-1] for out in found] == ['step 2 [2.0, 3.0, 4.0, 5.0]', 'step 2 [6.0, 7.0, 8.0, 9.0]']
    warnings = [line for out in found for line in out.splitlines() if line.startswith('warning: ')]
    name = file.relative_to(folder / '3').as_posix()
    assert len(warnings) == 2 and sum(f'({name}: other bytes' in line for line in warnings) == 1
    assert sum('(another process says where)' in line for line in warnings) == 1
    assert sorted(out.splitlines()[-1] for out in both(saved, 'restore', 'alone')) == ['step 2', 'step 3']
