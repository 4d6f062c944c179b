"""The two feed-forward layers against their formulas."""

import math

import jax
import numpy as np
import pytest
from flax.core import meta

from jaxlab.nn.mlp import MLP

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize('activation', ['gelu', 'gelu_exact'])
def test_gelu(activation):
    layer = MLP(6, activation)
    params = jax.tree.map(np.asarray, meta.unbox(jax.jit(layer.init)(jax.random.key(1), X)))['params']
    h = X @ params['up']['kernel'] + params['up']['bias']
    inner = {
        'gelu': lambda h: np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)),
        'gelu_exact': np.vectorize(lambda h: math.erf(h / math.sqrt(2))),
    }
    h = 0.5 * h * (1 + inner[activation](h))
    wanted = h @ params['down']['kernel'] + params['down']['bias']
    np.testing.assert_allclose(jax.jit(layer.apply)({'params': params}, X), wanted, rtol=1e-5, atol=2e-6)
    other = {'gelu': 'gelu_exact', 'gelu_exact': 'gelu'}[activation]
    assert np.abs(MLP(6, other).apply({'params': params}, X) - wanted).max() > 1e-5


def test_swiglu():
    layer = MLP(6, activation='swiglu', bias=False)
    params = jax.tree.map(np.asarray, meta.unbox(jax.jit(layer.init)(jax.random.key(1), X)))['params']
    assert {(name, *part) for name, part in params.items()} == {(name, 'kernel') for name in ('up', 'gate', 'down')}
    gate = X @ params['gate']['kernel']
    wanted = (gate / (1 + np.exp(-gate)) * (X @ params['up']['kernel'])) @ params['down']['kernel']
    np.testing.assert_allclose(jax.jit(layer.apply)({'params': params}, X), wanted, rtol=1e-5, atol=1e-6)


def test_only_the_last_matrix_takes_out_init():
    zeros = jax.nn.initializers.zeros
    params = meta.unbox(jax.jit(MLP(6, out_init=zeros).init)(jax.random.key(1), X))['params']
    assert not np.any(params['down']['kernel']) and np.any(params['up']['kernel'])
