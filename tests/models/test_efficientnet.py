"""EfficientNet: published sizes, its parts against their formulas, what its arguments change, and what they refuse."""

# b batch, h height, w width, c channels

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models import efficientnet
from jaxlab.models.efficientnet import EfficientNet, make, scaled
from jaxlab.parallel.layout import TABLE

INFO = {'shape': [37, 33, 3], 'classes': 5}
PICTURES = np.random.default_rng(0).normal(size=(4, 37, 33, 3)).astype(np.float32)
TINY = dict(width=0.25, depth=0.3)


@cache
def variables_of(model: EfficientNet):
    """Random everywhere, variances around 1: a scale that is still 1 could be dropped unseen."""
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), PICTURES))
    leaves, tree = jax.tree.flatten(shapes)
    random = np.random.default_rng(1)
    leaves = [random.uniform(0.2, 0.6, leaf.shape).astype(leaf.dtype) * random.choice([-1, 1]) for leaf in leaves]
    variables = jax.tree.unflatten(tree, leaves)
    return variables | {'batch_stats': jax.tree.map(np.abs, variables['batch_stats'])}


PUBLISHED = [5288548, 7794184, 9109994, 12233232, 19341616, 30389784, 43040704, 66347960]


@pytest.mark.parametrize('size', [*range(4), *(pytest.param(size, marks=pytest.mark.slow) for size in range(4, 8))])
def test_published_sizes(size):
    model = make({'classes': 1000}, size=size)
    variables = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables['params'])) == PUBLISHED[size]


def test_channels_are_rounded_as_published():
    assert [scaled(features, 1.1) for features in (16, 24, 32, 40, 1280)] == [16, 24, 32, 48, 1408]  # B2's
    assert scaled(3, 1.0) == 8
    assert scaled(20, 0.57) == 16  # 8 would be less than nine tenths of 11.4


@pytest.mark.parametrize('first', [False, True])
def test_a_block_by_hand(first, float64):
    """Widened, filtered, weighed and narrowed, with the convolutions of the library."""
    stage = efficientnet.Stage(2, 5, 2, 6, 8)
    x = np.random.default_rng(0).normal(size=(2, 7, 10, 8))
    dtypes = dict(dtype=jnp.float64, param_dtype=jnp.float64)

    norm = partial(efficientnet.BatchNorm, 0.99, 1e-3, **dtypes)
    conv_norm = partial(efficientnet.ConvNorm, norm=norm, **dtypes)
    block = efficientnet.Block(stage, first, 0.0, conv_norm, partial(efficientnet.Linear, **dtypes))
    shapes = meta.unbox(jax.eval_shape(lambda: block.init(jax.random.key(0), x, False)))
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 1, leaf.shape), shapes)
    p, stats = variables['params'], variables['batch_stats']

    def layer(x, name, stride=1, groups=1):
        kernel, norm, running = p[name]['conv']['kernel'], p[name]['norm'], stats[name]['norm']
        order = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, ('NHWC', 'HWIO', 'NHWC'))
        strides = (stride, stride)
        x = jax.lax.conv_general_dilated(
            x, kernel, strides, 'SAME', dimension_numbers=order, feature_group_count=groups
        )
        return (x - running['mean']) / np.sqrt(running['variance'] + 1e-3) * norm['scale'] + norm['bias']

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def swish(x):
        return x * sigmoid(x)

    h = swish(layer(swish(layer(x, 'expand')), 'depthwise', 2 if first else 1, 48))
    squeezed = swish(h.mean((1, 2)) @ p['squeeze']['kernel'] + p['squeeze']['bias'])
    assert squeezed.shape == (2, 2)
    h = h * sigmoid(squeezed @ p['excite']['kernel'] + p['excite']['bias'])[:, None, None]
    wanted = layer(h, 'project') + (0 if first else x)
    np.testing.assert_allclose(block.apply(variables, x, False), wanted, rtol=1e-10)


@pytest.mark.parametrize('size', [(32, 32), (45, 61), (1, 2)])
def test_pictures_of_any_size(size):
    model = make({'classes': 5}, **TINY)
    x = jax.ShapeDtypeStruct((2, *size, 1), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert jax.eval_shape(model.apply, variables, x).shape == (2, 5)


def test_training_moves_the_statistics_alone():
    model = make(INFO, **TINY)
    variables = variables_of(model)

    def train(key):
        return model.apply(variables, PICTURES, train=True, mutable=['batch_stats'], rngs={'dropout': key})

    logits, changed = jax.jit(train)(jax.random.key(0))
    assert logits.shape == (4, 5) and logits.dtype == jnp.float32 and set(changed) == {'batch_stats'}
    before, after = jax.tree.leaves(variables['batch_stats']), jax.tree.leaves(changed['batch_stats'])
    assert len(before) == len(after) > 0 and all((one != other).any() for one, other in zip(before, after, strict=True))
    other, _ = jax.jit(train)(jax.random.key(1))
    assert (other != logits).any()


def test_rates_grow_with_depth():
    model = make(INFO, size=0, stochastic_depth=0.32).bind({})
    np.testing.assert_allclose([block.rate for block in model.blocks], 0.02 * np.arange(16))
    assert [i for i, block in enumerate(model.blocks) if block.first] == [0, 1, 3, 5, 8, 11, 15]


def test_the_head_reads_the_features():
    model = make(INFO, **TINY)
    variables = variables_of(model)
    head = variables['params']['head']
    logits, features = jax.jit(lambda v: (model.apply(v, PICTURES), model.apply(v, PICTURES, method='features')))(
        variables
    )
    assert features.shape == (4, 320)
    np.testing.assert_allclose(logits, features @ head['kernel'] + head['bias'], rtol=1e-3, atol=1e-4)


def test_every_parameter_names_its_axes():
    boxed = jax.eval_shape(make(INFO, **TINY).init, jax.random.key(0), PICTURES)['params']
    for path, leaf in jax.tree_util.tree_leaves_with_path(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata)):
        assert set(leaf.names) <= set(TABLE) and len(leaf.names) == leaf.value.ndim, (path, leaf)


def test_initial_weights_keep_the_size_of_the_signal():
    model = make(INFO, size=0)

    @jax.jit
    def born(key):
        params = meta.unbox(model.init(key, PICTURES[:1]))['params']
        return params['block_12'], params['head']

    block, head = born(jax.random.key(0))
    assert np.std(block['depthwise']['conv']['kernel']) == pytest.approx(np.sqrt(2 / 25), rel=0.05)
    assert np.std(block['project']['conv']['kernel']) == pytest.approx(np.sqrt(2 / 192), rel=0.05)
    assert np.abs(head['kernel']).max() == pytest.approx(1 / np.sqrt(5), rel=0.01)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(size=8), 'size=8: there are 0, 1, 2, 3, 4, 5, 6, 7'),
        (dict(width=-1.0), 'width=-1.0: more than 0'),
        (dict(depth=1000.0), 'depth=1000: at most 100'),
        (dict(dropout=1.0), 'dropout=1.0'),
        (dict(norm_epsilon=0.0), 'norm_epsilon=0.0: more than 0'),
        (dict(classes=3), 'classes=3, and the data have 5'),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        make(INFO, **arguments)
