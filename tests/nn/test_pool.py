"""Pooling against loops over its windows, and against the library's gradients."""

# b batch, c channels

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn.pool import average_pool, global_average, max_pool

# x, window, stride, padding
SHAPES = {
    'halves': ((2, 8, 6, 3), 2, 0, 'valid'),
    'odd sizes': ((2, 9, 7, 3), 2, 0, 'valid'),
    'as many as fit, and the rest': ((2, 9, 7, 3), 2, 0, 'same'),
    'stem': ((2, 11, 14, 3), 3, 2, ((1, 1), (1, 1))),
    'overlapping': ((1, 5, 6, 2), 3, 1, 'same'),
    'uneven': ((1, 7, 9, 2), (2, 3), (3, 1), ((0, 1), (2, 0))),
    'wide steps': ((1, 10, 7, 2), 2, 3, 'valid'),
    'time': ((3, 10, 4), 4, 2, ((3, 0),)),
    'a volume': ((1, 4, 5, 6, 2), 2, 0, 'valid'),
    'all of it': ((2, 5, 4, 3), (5, 4), 0, 'valid'),
}
KINDS = {
    'max': (max_pool, {}),
    'average': (average_pool, {}),
    'average with zeros': (average_pool, {'count_padding': True}),
}


def loop(x, window, stride, padding, kind):
    """Window by window; what lies outside is NaN."""
    axes = x.ndim - 2
    window = (window,) * axes if isinstance(window, int) else window
    strides = stride or window
    strides = (strides,) * axes if isinstance(strides, int) else strides
    if padding == 'valid':
        padding = ((0, 0),) * axes
    elif padding == 'same':
        missing = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[1:-1], window, strides)]
        padding = [(m // 2, m - m // 2) for m in missing]
    x = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=np.nan)
    places = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, strides)]
    y = np.zeros((x.shape[0], *places, x.shape[-1]))
    for place in itertools.product(*map(range, places)):
        region = tuple(slice(p * s, p * s + k) for p, s, k in zip(place, strides, window))
        seen = x[(slice(None), *region)].reshape(x.shape[0], -1, x.shape[-1])
        if kind == 'max':
            y[(slice(None), *place)] = np.nanmax(seen, 1)
        else:
            y[(slice(None), *place)] = np.nanmean(seen, 1) if kind == 'average' else np.nan_to_num(seen).mean(1)
    return y


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', SHAPES)
def test_every_window(shape, kind, float64):
    size, *how = SHAPES[shape]
    x = np.random.default_rng(0).normal(size=size) - 3  # all below 0: a zero that is added would be the largest
    pool, others = KINDS[kind]
    found = jax.jit(lambda x: pool(x, *how, **others))(x)
    np.testing.assert_allclose(found, loop(x, *how, kind), rtol=1e-12)


@pytest.mark.parametrize('shape', ['halves', 'stem', 'uneven'])
def test_gradients_are_those_of_the_library(shape, float64):
    size, window, stride, padding = SHAPES[shape]
    x = np.random.default_rng(0).normal(size=size)
    taps = (window,) * 2 if isinstance(window, int) else window
    stride_of_each = stride or window
    steps = (stride_of_each,) * 2 if isinstance(stride_of_each, int) else stride_of_each
    pairs = ((0, 0),) * 2 if padding == 'valid' else padding

    def library(x):
        around = ((0, 0), *pairs, (0, 0))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, *taps, 1), (1, *steps, 1), around)

    found, wanted = (
        jax.grad(lambda x, f=f: jnp.sin(f(x)).sum())(x)
        for f in (lambda x: max_pool(x, window, stride, padding), library)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_equal_numbers_share_one_gradient():
    gradient = jax.grad(lambda x: max_pool(x, 2).sum())(jnp.ones((1, 4, 4, 1)))
    np.testing.assert_allclose(gradient.reshape(2, 2, 2, 2).sum((1, 3)), np.ones((2, 2)))


@pytest.mark.parametrize('size', [(2, 5, 7, 3), (2, 9, 3), (2, 3)])
def test_global_average(size):
    x = np.random.default_rng(0).normal(size=size).astype(np.float32)
    np.testing.assert_allclose(global_average(x), x.reshape(2, -1, 3).mean(1), rtol=1e-6)


def test_global_average_of_many_small_numbers():
    x = jnp.ones((1, 64, 64, 2), jnp.bfloat16)  # one by one, bfloat16 counts to 256
    y = global_average(x)
    assert y.dtype == jnp.bfloat16 and (y == 1).all()


def test_a_window_without_a_place_is_refused():
    with pytest.raises(AssertionError, match='finds no place'):
        max_pool(jnp.ones((1, 1, 4, 2)), 2)
