"""In 32 bits, as people train, twenty losses on every mesh are those of one device to 1e-6, and a run made again is the
same to the last bit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.models import gpt
from jaxlab.tasks.language_model import LanguageModel
from tests.test_parallel import INFO, MESHES, MODELS, parameters, stacked, train

COUNT, RATE = 20, 0.02
FIRST = ('data 2, fsdp 2, tensor 2', 'stage 2, context 2, tensor 2')  # the default tier; the rest is marked slow


@functools.cache
def task(scan=True):
    return LanguageModel(gpt.make(INFO, **MODELS['gpt2'], scan=scan))


def losses(mesh):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), stacked(parameters(task(scan=False))))
    return train(task(), params, mesh, learning_rate=RATE, count=COUNT)


@functools.cache
def on_one_device():
    return losses({'data': 1})[0]


@pytest.mark.parametrize(
    'mesh', [pytest.param(mesh, marks=() if mesh in FIRST else pytest.mark.slow) for mesh in MESHES]
)
def test_twenty_losses_and_a_rerun(mesh):
    (found, gradients), (again, same) = losses(MESHES[mesh]), losses(MESHES[mesh])
    wanted = on_one_device()
    assert wanted.dtype == np.float64 and gradients['final_norm']['scale'].dtype == np.float32  # floats of Python; ours
    assert wanted[-1] < wanted[0] - 0.1
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(found, again)
    jax.tree.map(np.testing.assert_array_equal, gradients, same)


def test_a_rate_that_is_a_little_off_is_noticed():
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), stacked(parameters(task(scan=False))))
    other, _ = train(task(), params, {'data': 1}, learning_rate=RATE * (1 + 1e-4), count=COUNT)
    assert np.abs(other / on_one_device() - 1).max() > 1e-6
