"""A checkpoint of each release is still read: the same parameters, bit for bit, and the whole state to go on from.

They were made by the release, from the root of its clone, and stay as they are:

    cp LICENSE licence.txt
    python -m jaxlab.main --config=configs/transformer.py:tiny --workdir=/golden --config.data.path=licence.txt \\
      --config.steps=2 --config.model.layers=1 --config.model.width=8 --config.model.heads=2 \\
      --config.model.vocabulary_multiple=1 --config.log.sample_every=0
    tar -C /golden -cJf tests/golden/0.1.0.tar.xz checkpoints config.json processor

The hash is what `digest` of this file says of them.
"""

import hashlib
import tarfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import step as steps
from jaxlab import workdir as workdirs
from jaxlab.checkpoint import Checkpoints
from jaxlab.config import build
from jaxlab.experiment import make_task
from jaxlab.parallel import layout

GOLDEN = Path(__file__).parent / 'golden'
DIGESTS = {
    '0.1.0': ('f3ac6f42b04be2b5', 'b5dbc48b8391c512')
}  # of the average, which is what is used; of the whole state


def digest(tree):
    """Returns a hash of names, dtypes, shapes and bits."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        leaf = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        found.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}\n'.encode())
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()[:16]


@pytest.fixture
def unpacked(tmp_path):
    def unpack(release):
        with tarfile.open(GOLDEN / f'{release}.tar.xz') as archive:
            archive.extractall(tmp_path, filter='data')
        return tmp_path

    return unpack


def state_of(workdir):
    """Restores the whole state, in the shapes that today's code gives it."""
    config, about = workdirs.read_config(workdir), workdirs.read_data(workdir)
    task = make_task(config, about['info'])
    batch = {name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in about['batch'].items()}
    optimizer = build(config.optimizer, names_of(task, batch), config.steps, key='optimizer')
    init = partial(steps.init, task, [optimizer], config.average, batch)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(init, jax.random.key(0))
    )
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.restore(abstract)
    finally:
        checkpoints.close()


def names_of(task, batch):
    return layout.names(jax.eval_shape(task.init, jax.random.key(0), batch)[0])


def test_every_release_has_one():
    """The release that is in the making writes its own when it is made."""
    assert {file.name.removesuffix('.tar.xz') for file in GOLDEN.iterdir()} == set(DIGESTS)


@pytest.mark.parametrize('release', DIGESTS)
def test_it_is_read(unpacked, release):
    workdir = unpacked(release)
    experiment = jaxlab.load(workdir)
    state = state_of(workdir)
    assert experiment.step == int(state.step) == 2
    assert (digest(experiment.params), digest(state)) == DIGESTS[release]
    assert digest(state.average) == digest(experiment.params) != digest(state.params)
