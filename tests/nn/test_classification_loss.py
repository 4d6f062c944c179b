"""Losses of classes against what their papers write, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab.nn.classification_loss import losses
from jaxlab.parallel.mesh import make_mesh

MESHES = [{'data': 8}, {'fsdp': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}]


def arguments(soft):
    random = np.random.default_rng(0)
    targets = random.dirichlet(np.ones(5), 8) if soft else np.eye(5)[random.integers(0, 5, 8)]
    return 3 * random.normal(size=(8, 5)), targets


def reference(logits, targets, gamma):
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return -(targets * (1 - p) ** gamma * np.log(p)).sum(-1)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('soft', [False, True])
def test_it_is_the_papers(soft, gamma, float64):
    logits, targets = arguments(soft)
    np.testing.assert_allclose(losses(logits, targets, gamma=gamma), reference(logits, targets, gamma), rtol=1e-12)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_its_gradients_are_those_of_small_steps(gamma, float64):
    logits, targets = arguments(True)
    found = jax.grad(lambda logits: losses(logits, targets, gamma=gamma).sum())(logits)
    for i, j in ((0, 0), (3, 2), (7, 4)):
        step = np.zeros_like(logits)
        step[i, j] = 1e-6
        wanted = reference(logits + step, targets, gamma).sum() - reference(logits - step, targets, gamma).sum()
        np.testing.assert_allclose(found[i, j], wanted / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_what_is_surely_right_or_wrong_has_a_loss_and_a_gradient(gamma, dtype):
    logits = jnp.array([[1e4, 0, 0], [0, 1e4, 0], [30, 0, 0], [0, 0, 0]], dtype)
    targets = jnp.eye(3)[jnp.zeros(4, int)]
    found = losses(logits, targets, gamma=gamma)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found[:2], [0, float(logits[1, 1])], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda logits: losses(logits, targets, gamma=gamma).sum())(logits)).all()


def test_bfloat16_logits_are_computed_with_in_float32():
    logits, targets = arguments(True)
    rounded = jnp.asarray(logits, jnp.bfloat16)
    wanted = reference(np.asarray(rounded, np.float64), targets, 2.0)
    np.testing.assert_allclose(losses(rounded, targets, gamma=2.0), wanted, rtol=1e-5)


@pytest.mark.parametrize('shape', MESHES, ids=str)
def test_a_mesh_changes_no_number(shape, float64):
    logits, targets = arguments(True)

    def value(logits):
        return losses(logits, targets, gamma=1.5).sum()

    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        placed = jax.device_put(logits, NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), None)))
        found = jax.jit(jax.value_and_grad(value))(placed)
    for one, other in zip(found, jax.value_and_grad(value)(logits)):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)
