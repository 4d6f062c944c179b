"""Spectral normalisation against the singular values that numpy finds."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Linear
from jaxlab.nn.spectral_norm import spectral_norm

X = np.random.default_rng(0).normal(size=(2, 6, 6, 5)).astype(np.float32)


def layer(train, kind):
    reparametrise = partial(spectral_norm, train=train)
    if kind == 'linear':
        return Linear(7, ('inputs', 'hidden'), reparametrise=reparametrise)
    return Conv(7, (3, 3), reparametrise=reparametrise)


def settled(kind, count):
    """A layer's variables after `count` steps of training, in which the kernel does not change."""
    variables = meta.unbox(jax.jit(layer(True, kind).init)(jax.random.key(0), X))
    step = jax.jit(lambda variables: layer(True, kind).apply(variables, X, mutable=['spectral'])[1])
    for _ in range(count):
        variables = variables | step(variables)
    return variables


@pytest.mark.parametrize('kind', ['linear', 'conv'])
def test_the_largest_singular_value_becomes_1(kind):
    variables = settled(kind, 100)
    kernel = np.asarray(variables['params']['kernel'])
    largest = np.linalg.svd(kernel.reshape(-1, 7), compute_uv=False)[0]
    plain = Linear(7, ('inputs', 'hidden')) if kind == 'linear' else Conv(7, (3, 3))
    wanted = plain.apply({'params': {'kernel': kernel / largest}}, X)
    for train in (False, True):
        np.testing.assert_allclose(layer(train, kind).apply(variables, X), wanted, rtol=1e-4, atol=1e-6)


def test_one_step_is_one_iteration():
    before, after = settled('linear', 0), settled('linear', 1)
    kernel, vector = np.asarray(before['params']['kernel']), np.asarray(before['spectral']['vector'])
    assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-5)
    wanted = kernel.T @ kernel @ vector
    np.testing.assert_allclose(after['spectral']['vector'], wanted / np.linalg.norm(wanted), rtol=1e-4, atol=1e-6)


def test_vectors_stay_where_they_are_not_mutable_or_nothing_is_trained():
    variables = settled('linear', 0)
    layer(True, 'linear').apply(variables, X)  # an update of what is not mutable would raise
    _, kept = layer(False, 'linear').apply(variables, X, mutable=['spectral'])
    np.testing.assert_array_equal(kept['spectral']['vector'], variables['spectral']['vector'])


def test_the_gradient_knows_that_length_does_not_matter():
    """Along the kernel itself there is no slope: a longer one is divided by more."""
    variables = settled('conv', 50)

    def loss(kernel):
        return jnp.sin(layer(True, 'conv').apply(variables | {'params': {'kernel': kernel}}, X)).sum()

    kernel = variables['params']['kernel']
    slope = jax.jit(jax.grad(loss))(kernel)
    assert abs((slope * kernel).sum()) < 1e-4 * np.linalg.norm(slope) * np.linalg.norm(kernel)
    assert np.linalg.norm(slope) > 0.1


def test_singular_values_are_computed_in_float32():
    half = jnp.bfloat16
    model = Linear(
        7, ('inputs', 'hidden'), dtype=half, param_dtype=half, reparametrise=partial(spectral_norm, train=True)
    )
    variables = meta.unbox(jax.jit(model.init)(jax.random.key(0), X))
    assert variables['params']['kernel'].dtype == half and variables['spectral']['vector'].dtype == jnp.float32
    assert model.apply(variables, X).dtype == half


def test_a_kernel_of_zeros_stays_one():
    variables = settled('linear', 0)
    zeros = {'params': {'kernel': jnp.zeros((5, 7))}, 'spectral': variables['spectral']}
    np.testing.assert_array_equal(layer(True, 'linear').apply(zeros, X), np.zeros((2, 6, 6, 7)))
