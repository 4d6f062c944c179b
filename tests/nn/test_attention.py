"""Attention against a loop over queries, and the mask that keeps documents apart."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.models import gpt
from jaxlab.nn import attention as of_attention
from jaxlab.nn.attention import Attention, attention, causal_mask, scaled_dot_product, weights_of
from jaxlab.nn.position import Rotary

SEGMENTS = np.array([[1, 1, 1, 2, 2, 0], [0, 0, 1, 1, 1, 1]])
MASK = np.asarray(causal_mask(SEGMENTS, SEGMENTS))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_causal_mask():
    wanted = [[[row[i] == row[j] and row[j] > 0 and j <= i for j in range(6)] for i in range(6)] for row in SEGMENTS]
    np.testing.assert_array_equal(MASK, wanted)


def test_causal_mask_of_queries_that_start_later():
    np.testing.assert_array_equal(jax.jit(causal_mask)(SEGMENTS[:, 4:], SEGMENTS, 4), MASK[:, 4:])


@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_attention_is_a_weighted_mean(kv_heads):
    b, n, t, width = 2, 4, 6, 8
    q, k, v = random(b, n, t, width), random(b, kv_heads, t, width, seed=1), random(b, kv_heads, t, width, seed=2)
    found = np.asarray(jax.jit(attention)(q, k, v, MASK))
    for row in range(b):
        for head in range(n):
            shared = head // (n // kv_heads)  # neighbouring query heads share a key head
            for i in range(t):
                if SEGMENTS[row, i] == 0:
                    continue
                seen = np.flatnonzero(MASK[row, i])
                weights = np.exp([np.dot(q[row, head, i], k[row, shared, j]) / np.sqrt(width) for j in seen])
                wanted = sum(w * v[row, shared, j] for w, j in zip(weights, seen, strict=True)) / weights.sum()
                np.testing.assert_allclose(found[row, head, i], wanted, rtol=1e-5, atol=1e-5)


def test_large_scores_and_padding_stay_finite():
    x = random(2, 1, 6, 8) * 1e3
    value, gradient = jax.jit(jax.value_and_grad(lambda x: attention(x, x, x, MASK).sum()))(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_bfloat16_weights_sum_in_float32():
    t = 1024
    zeros, ones = jnp.zeros((1, 1, t, 2), jnp.bfloat16), jnp.ones((1, 1, t, 2), jnp.bfloat16)
    mean = attention(zeros, zeros, ones, jnp.ones((1, t, t), bool))
    assert mean.dtype == jnp.bfloat16 and (mean == 1).all()  # a sum of ones in bfloat16 stops at 256


@pytest.mark.parametrize('rotary', [None, Rotary()])
def test_cached_is_uncached(rotary):
    layer = Attention(heads=4, kv_heads=2, rotary=rotary)
    apply = jax.jit(layer.apply)
    x, positions, ones = random(2, 6, 16), np.arange(6)[None], np.ones((1, 6), np.int32)
    params = meta.unbox(jax.jit(layer.init)(jax.random.key(1), x, positions, causal_mask(ones, ones)))
    whole, _ = apply(params, x, positions, causal_mask(ones, ones))
    cache = (np.zeros((2, 2, 9, 4), np.float32), np.zeros((2, 2, 9, 4), np.float32))
    parts = []
    for start, end in [(0, 4), (4, 6)]:
        seen = (np.arange(9) < end).astype(np.int32)[None]
        mask = causal_mask(ones[:, start:end], seen, start)
        part, cache = apply(params, x[:, start:end], positions[:, start:end], mask, cache, start)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-6)


# --- cuDNN's ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('kv_heads', [4, 2, 1])
def test_the_librarys_attention_is_asked_what_is_meant(kv_heads, causal):
    """Through the same door as cuDNN's, which wants an NVIDIA GPU; the other implementation is for every device."""
    q, k, v = random(2, 4, 6, 8), random(2, kv_heads, 6, 8, seed=1), random(2, kv_heads, 6, 8, seed=2)
    seen = MASK if causal else np.broadcast_to(SEGMENTS[:, None] == SEGMENTS[:, :, None], MASK.shape)
    real = (SEGMENTS > 0)[:, None, :, None]  # what padding sees is of no use to anyone

    def both(implementation):
        def f(q, k, v):
            if implementation:
                return real * of_attention._library(q, k, v, seen, causal, implementation)
            return real * attention(q, k, v, seen, causal)

        y, pull = jax.vjp(f, q, k, v)
        return y, *pull(random(*y.shape, seed=3))

    for found, wanted in zip(jax.jit(both, static_argnums=0)('xla'), jax.jit(both, static_argnums=0)(''), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ('kind', 'dtype', 'width', 'chosen'),
    [
        ('NVIDIA H100 80GB HBM3', jnp.bfloat16, 64, 'cudnn'),
        ('NVIDIA H100 80GB HBM3', jnp.float32, 64, 'blocks'),
        ('NVIDIA H100 80GB HBM3', jnp.bfloat16, 60, 'blocks'),
        ('NVIDIA H100 80GB HBM3', jnp.bfloat16, 256, 'blocks'),
        ('TPU v5 lite', jnp.bfloat16, 64, 'blocks'),
        ('cpu', jnp.bfloat16, 64, 'blocks'),
    ],
)
def test_the_choice(kind, dtype, width, chosen, monkeypatch):
    used = []
    platform = {'NVIDIA': 'gpu', 'TPU': 'tpu'}.get(kind.split()[0], 'cpu')
    monkeypatch.setattr(jax, 'devices', lambda: [types.SimpleNamespace(device_kind=kind, platform=platform)])
    monkeypatch.setattr(of_attention, '_library', lambda *a: used.append(a[-1]) or a[0])
    layer = Attention(2, 2, dtype=dtype, causal=True)
    x = jax.ShapeDtypeStruct((1, 6, 2 * width), dtype)
    jax.eval_shape(layer.init, jax.random.key(0), x, jnp.arange(6)[None], MASK[:1])
    assert used == (['cudnn'] if chosen == 'cudnn' else [])


# --- attention by itself ---------------------------------------------------------------------------------------------


def by_hand(q, k, v, mask):
    """Query after query: means and weights."""
    means, weights = np.zeros((len(q), v.shape[-1])), np.zeros((len(q), len(k)))
    for i, query in enumerate(q):
        seen = np.flatnonzero(mask[i])
        if len(seen):
            each = np.array([np.exp(query @ k[j] / np.sqrt(len(query))) for j in seen])
            weights[i, seen] = each / each.sum()
            means[i] = sum(w * v[j] for w, j in zip(weights[i, seen], seen, strict=True))
    return means, weights


def test_scaled_dot_product_is_the_formula(float64):
    draw = np.random.default_rng(0)
    q, k, v = draw.normal(size=(2, 3, 5, 4)), draw.normal(size=(2, 3, 7, 4)), draw.normal(size=(2, 3, 7, 6))
    mask = draw.random((2, 1, 5, 7)) < 0.5
    mask[0, 0, 2] = False  # a query that may look at nothing
    for given, which in ((mask, mask), (None, np.ones_like(mask))):
        means, weights = jax.jit(scaled_dot_product)(q, k, v, given)
        for b in range(2):
            for n in range(3):
                wanted = by_hand(q[b, n], k[b, n], v[b, n], which[b, 0])
                np.testing.assert_allclose(means[b, n], wanted[0], atol=1e-13)
                np.testing.assert_allclose(weights[b, n], wanted[1], atol=1e-13)
    assert weights.shape == (2, 3, 5, 7)


def test_scaled_dot_product_stays_finite_and_takes_one_query():
    x = random(6, 8) * 1e4
    assert np.isfinite(scaled_dot_product(x, x, x, np.zeros((6, 6), bool))[0]).all()
    value, gradient = jax.value_and_grad(lambda x: scaled_dot_product(x, x, x, MASK[0])[0].sum())(x)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert scaled_dot_product(x[:1], x, x)[1].shape == (1, 6)


@pytest.mark.parametrize('scan', [False, True])
def test_a_model_tells_where_its_heads_look_and_stays_as_it_is(scan):
    model = gpt.make({'vocabulary': 11, 'length': 6}, layers=11, width=16, heads=4, kv_heads=2, scan=scan)
    tokens = np.arange(12).reshape(2, 6) % 11
    variables = meta.unbox(model.init(jax.random.key(0), tokens))
    assert set(variables) == {'params'}
    positions = np.broadcast_to(np.arange(6), (2, 6))
    inputs = tokens, positions, SEGMENTS
    found = weights_of(model, variables, *inputs)
    assert [layer.shape for layer in found] == [(2, 4, 6, 6)] * 11
    for layer in found:
        assert not np.asarray(layer)[~np.broadcast_to(MASK[:, None], layer.shape)].any()
        np.testing.assert_allclose(layer.sum(-1), np.broadcast_to(MASK.any(-1)[:, None], (2, 4, 6)), atol=1e-6)
    plain = jax.make_jaxpr(model.apply)(variables, *inputs)
    with_weights = jax.make_jaxpr(lambda *given: weights_of(model, *given))(variables, *inputs)
    assert str(with_weights).count('dot_general') > str(plain).count('dot_general')
    beside, _ = model.apply(variables, *inputs, mutable=['attention'])
    np.testing.assert_array_equal(beside, model.apply(variables, *inputs))


def test_the_layers_come_in_their_order_and_mean_what_they_mean():
    layer = Attention(4, 2)
    x, positions = random(2, 6, 16), np.zeros((2, 6), int)
    variables = meta.unbox(layer.init(jax.random.key(0), x, positions, MASK))
    (found,) = weights_of(layer, variables, x, positions, MASK)
    params = variables['params']
    q, k, v = ((x @ params[name]['kernel']).reshape(2, 6, -1, 4).swapaxes(1, 2) for name in ('query', 'key', 'value'))
    k, v = (array.repeat(2, axis=1) for array in (k, v))
    means, wanted = scaled_dot_product(q, k, v, MASK[:, None])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    y = means.swapaxes(1, 2).reshape(2, 6, 16) @ params['out']['kernel'] + params['out']['bias']
    np.testing.assert_allclose(y[SEGMENTS > 0], layer.apply(variables, x, positions, MASK)[0][SEGMENTS > 0], atol=1e-5)
