"""LayerNorm and RMSNorm against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.nn.norm import LayerNorm, RMSNorm

X = np.random.default_rng(0).normal(2, 3, (3, 7)).astype(np.float32)
SCALE, BIAS = np.linspace(0.5, 2, 7, dtype=np.float32), np.linspace(-1, 1, 7, dtype=np.float32)


def test_layer_norm():
    wanted = [(x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-3) * SCALE + BIAS for x in X]
    y = jax.jit(LayerNorm(1e-3).apply)({'params': {'scale': SCALE, 'bias': BIAS}}, X)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_layer_norm_without_bias():
    assert set(jax.eval_shape(LayerNorm(bias=False).init, jax.random.key(0), X)['params']) == {'scale'}


def test_rms_norm():
    wanted = [x / np.sqrt((x**2).mean() + 1e-3) * SCALE for x in X]
    y = jax.jit(RMSNorm(1e-3).apply)({'params': {'scale': SCALE}}, X)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('norm', [LayerNorm, RMSNorm])
def test_computed_in_float32_and_given_back_in_dtype(norm):
    x = jnp.asarray(X * 1e-2 + 1, jnp.bfloat16)  # so near to each other that bfloat16 could not tell their mean
    params = meta.unbox(jax.jit(norm().init)(jax.random.key(0), x))
    y = jax.jit(norm(dtype=jnp.bfloat16).apply)(params, x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, jax.jit(norm().apply)(params, x.astype(jnp.float32)).astype(jnp.bfloat16))
