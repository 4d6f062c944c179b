"""The TPU kernel of attention, interpreted on a CPU, against ours; and where it is chosen."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn import splash
from jaxlab.nn.attention import attention, causal_mask, choose, refuses
from jaxlab.parallel import target
from jaxlab.parallel.mesh import make_mesh


def kinds(kind):
    return target.of(types.SimpleNamespace(platform='tpu', device_kind=kind))


def test_the_choice():
    assert choose(jnp.bfloat16, 128, causal=True) == 'blocks'  # here
    with kinds('TPU v5 lite'):
        assert choose(jnp.bfloat16, 128, causal=True) == 'splash'
        assert choose(jnp.bfloat16, 128) == choose(jnp.float64, 128, True) == choose(jnp.bfloat16, 80, True) == 'blocks'
        assert 'left to right' in refuses('splash', jnp.bfloat16, 128)
    assert 'it is for TPUs, and this is: cpu' in refuses('splash', jnp.bfloat16, 128, causal=True)


def test_documents():
    segments = np.array([[1, 1, 2, 2, 0], [0, 3, 3, 3, 5]])
    found = splash.documents_of(causal_mask(segments, segments))
    np.testing.assert_array_equal(found, [[0, 0, 2, 2, -1], [-1, 1, 1, 1, 4]])


def inputs(b=2, n=4, m=2, t=136, width=64):
    """Rows that are no multiple of LANES, of two documents and some padding."""
    draw = np.random.default_rng(0)
    q, k, v = (draw.normal(size=(b, heads, t, width)).astype(np.float32) for heads in (n, m, m))
    segments = np.ones((b, t), np.int32)
    segments[0, 50:], segments[1, 100:] = 2, 0
    counts = (segments > 0)[:, None, :, None]
    return q, k, v, causal_mask(segments, segments), counts


def values(function, q, k, v, counts):
    """The means of tokens that count, and their gradients by all three."""

    def total(q, k, v):
        y = jnp.where(counts, function(q, k, v), 0)
        return jnp.sum(jnp.sin(3 * y)), y

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)


@pytest.mark.parametrize('mesh', [{}, pytest.param({'data': 2, 'tensor': 2}, marks=pytest.mark.slow)])
def test_it_is_attention(mesh):
    q, k, v, mask, counts = inputs()
    (_, wanted), gradients = values(lambda q, k, v: attention(q, k, v, mask, True, 'blocks'), q, k, v, counts)
    with jax.set_mesh(make_mesh(mesh | ({} if mesh else {'data': 1}))):
        (_, found), ours = values(lambda q, k, v: splash.splash(q, k, v, mask, interpret=True), q, k, v, counts)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    for one, other in zip(ours, gradients):
        np.testing.assert_allclose(one, other, atol=2e-4)
    # Without documents it is something else.
    (_, other), _ = values(lambda q, k, v: splash.splash(q, k, v, mask | True, interpret=True), q, k, v, counts)
    assert np.abs(other - wanted).max() > 0.1
