"""The plain convolutional network: sizes, shapes, and what its arguments change and refuse."""

# b batch, h height, w width, c channels

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models.cnn import make


def pictures(*size):
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def shapes(shape, **arguments):
    model = make({'shape': shape, 'classes': 10}, **arguments)
    return model, jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32))


def test_its_size():
    _, variables = shapes((28, 28, 1))
    layers = [9 * 32 + 32, 9 * 32 * 64 + 64, 7 * 7 * 64 * 128 + 128, 128 * 10 + 10]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables)) == sum(layers) == 421_642
    assert set(variables) == {'params'}


def test_it_is_what_it_says(float64):
    """Convolve, ReLU, halve, twice; a dense layer; the head. By numpy."""
    model = make({'shape': [5, 4, 2], 'classes': 3}, jnp.float64, jnp.float64, widths=(3, 4), dense=6)
    x = pictures(2, 5, 4, 2).astype(np.float64)
    params = meta.unbox(jax.jit(model.init)(jax.random.key(0), x))['params']
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1, params)

    def layer(x, conv):
        around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        b, h, w, _ = x.shape
        y = np.zeros((b, h, w, conv['kernel'].shape[-1])) + conv['bias']
        for i in range(3):
            for j in range(3):
                y += around[:, i : i + h, j : j + w] @ conv['kernel'][i, j]
        y = np.maximum(y, 0)
        y = np.pad(y, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), constant_values=-np.inf)
        return y.reshape(b, -(-h // 2), 2, -(-w // 2), 2, y.shape[-1]).max((2, 4))

    seen = layer(layer(x, params['layer_0']['conv']), params['layer_1']['conv']).reshape(2, -1)
    features = np.maximum(seen @ params['hidden']['kernel'] + params['hidden']['bias'], 0)
    found = jax.jit(lambda p: (model.apply(p, x, method='features'), model.apply(p, x)))({'params': params})
    np.testing.assert_allclose(found[0], features, rtol=1e-10)
    wanted = features @ params['head']['kernel'] + params['head']['bias']
    np.testing.assert_allclose(found[1], wanted, rtol=1e-10)


@pytest.mark.parametrize('shape', [(28, 28, 1), (45, 61, 3), (13, 200, 1), (1, 1, 3)])
@pytest.mark.parametrize(
    'arguments', [{}, dict(widths=(4,), dense=0), dict(widths=(4, 8, 8), gather='mean', norm=True)]
)
def test_pictures_of_any_size(shape, arguments):
    model, variables = shapes(shape, **arguments)
    logits = jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
    assert logits.shape == (2, 10) and logits.dtype == jnp.float32


def test_the_mean_of_all_places_takes_pictures_of_other_sizes():
    model, variables = shapes((28, 28, 1), gather='mean')
    assert jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct((2, 31, 9, 1), jnp.float32)).shape == (2, 10)


def test_norms_take_the_place_of_biases_and_move_in_training():
    model, x = make({'classes': 3}, widths=(4, 8), norm=True, dense=0), pictures(4, 8, 8, 1)
    variables = meta.unbox(jax.jit(model.init)(jax.random.key(0), x))
    assert set(variables['params']['layer_0']['conv']) == {'kernel'}
    _, changed = jax.jit(lambda v: model.apply(v, x, train=True, mutable=['batch_stats']))(variables)
    moved = jax.tree.map(lambda one, other: (one != other).any(), variables['batch_stats'], changed['batch_stats'])
    assert all(jax.tree.leaves(moved)) and len(jax.tree.leaves(moved)) == 4


def test_dropout_is_before_the_head():
    model, x = make({'classes': 3}, widths=(4,), dense=16, dropout=0.5), pictures(4, 8, 8, 1)
    variables = meta.unbox(jax.jit(model.init)(jax.random.key(0), x))

    def logits(seed, train):
        return model.apply(variables, x, train=train, rngs={'dropout': jax.random.key(seed)})

    assert (logits(0, True) != logits(1, True)).any()
    np.testing.assert_array_equal(logits(0, False), logits(1, False))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(widths=()), 'convolutions=0: at least 1'),
        (dict(widths=(32, 0)), r'widths\[1\]=0: at least 1'),
        (dict(widths=(32, 1.5)), 'a tuple of whole numbers'),
        (dict(window=0), 'window=0: at least 1'),
        (dict(dense=-1), 'dense=-1: at least 0'),
        (dict(gather='max'), 'gather=max: there are all, mean.'),
        (dict(dropout=1.0), 'dropout=1.0'),
    ],
)
def test_what_cannot_be_is_said(arguments, message):
    with pytest.raises(UserError, match=message):
        make({'shape': [8, 8, 1], 'classes': 2}, **arguments)
