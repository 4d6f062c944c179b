"""ResNet: published sizes, its parts against their formulas, what its arguments change, and what they refuse."""

# b batch, h height, w width, c channels

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models import resnet
from jaxlab.models.resnet import make

SMALL = {'shape': [9, 7, 3], 'classes': 5}
KINDS = {'basic': dict(width=8, blocks=(1, 1)), 'bottleneck': dict(depth=50, width=4, blocks=(1, 1))}


def pictures(*size):
    return np.random.default_rng(0).normal(size=size or (4, 9, 7, 3)).astype(np.float32)


def born(model, x):
    return meta.unbox(jax.jit(model.init)(jax.random.key(0), x))


def apply(model, variables, x, seed=0, **how):
    """model.apply, compiled: op by op it would take longer."""
    rngs = {'dropout': jax.random.key(seed)}
    return jax.jit(lambda v, x, rngs: model.apply(v, x, rngs=rngs, **how))(variables, x, rngs)


def count(shape, classes, **arguments):
    model = make({'shape': shape, 'classes': classes}, **arguments)
    variables = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables['params']))


@pytest.mark.parametrize(
    ('depth', 'parameters'),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_published_sizes_for_imagenet(depth, parameters):
    assert count((224, 224, 3), 1000, depth=depth) == parameters


@pytest.mark.parametrize(('depth', 'parameters'), [(20, 269_722), (32, 464_154), (56, 853_018), (110, 1_727_962)])
def test_published_sizes_for_cifar(depth, parameters):
    assert count((32, 32, 3), 10, depth=depth) == parameters


def test_projections_have_parameters():
    # 1 x 1 kernels, scales and biases where the width changes
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert count((32, 32, 3), 10, depth=20, shortcut='B') == 269_722 + projections


def test_a_basic_block_by_hand(float64):
    """relu(x + norm(conv(relu(norm(conv(x)))))), with the convolutions of the library."""
    model = make(SMALL, jnp.float64, jnp.float64, width=4, blocks=(1,))
    x = pictures().astype(np.float64)
    variables = born(model, x)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * np.abs(rng.normal(size=leaf.shape)), variables)
    params, stats = variables['params'], variables['batch_stats']

    def layer(x, *path):
        p, s = params, stats
        for name in path:
            p, s = p[name], s[name]
        dimensions = jax.lax.conv_dimension_numbers(x.shape, p['conv']['kernel'].shape, ('NHWC', 'HWIO', 'NHWC'))
        x = jax.lax.conv_general_dilated(x, p['conv']['kernel'], (1, 1), 'SAME', dimension_numbers=dimensions)
        x = (x - s['norm']['mean']) / np.sqrt(s['norm']['variance'] + 1e-5)
        return x * p['norm']['scale'] + p['norm']['bias']

    first = jax.nn.relu(layer(x, 'stem'))
    inner = jax.nn.relu(layer(first, 'stage_0_block_0', 'conv_0'))
    features = jax.nn.relu(first + layer(inner, 'stage_0_block_0', 'conv_1')).mean((1, 2))
    wanted = features @ params['head']['kernel'] + params['head']['bias']
    np.testing.assert_allclose(apply(model, variables, x, method='features'), features, rtol=1e-10)
    np.testing.assert_allclose(apply(model, variables, x), wanted, rtol=1e-10)


@pytest.mark.parametrize('size', [(8, 8), (9, 7), (1, 1)])
def test_the_shortcut_without_parameters(size):
    x = pictures(2, *size, 3)
    np.testing.assert_array_equal(resnet.subsample(jnp.asarray(x), 2), x[:, ::2, ::2])
    wide = resnet.pad_channels(jnp.asarray(x), 8)
    np.testing.assert_array_equal(wide[..., 2:5], x)
    assert not wide[..., :2].any() and not wide[..., 5:].any()


@pytest.mark.parametrize('size', [(32, 32), (45, 61), (1, 2)])
@pytest.mark.parametrize('stem', ['small', 'imagenet'])
@pytest.mark.parametrize('shortcut', ['A', 'B'])
@pytest.mark.parametrize('kind', KINDS)
def test_pictures_of_any_size(kind, shortcut, stem, size):
    model = make({'classes': 5}, **KINDS[kind], shortcut=shortcut, stem=stem)
    x = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert jax.eval_shape(model.apply, variables, x).shape == (2, 5)


@pytest.mark.parametrize(
    ('shape', 'depth', 'stem'),
    [((32, 32, 3), 18, 'small'), ((95, 224, 3), 50, 'small'), ((96, 96, 3), 20, 'imagenet'), ((), 18, 'imagenet')],
)
def test_the_stem_goes_by_the_size(shape, depth, stem):
    info = {'classes': 5} | ({'shape': shape} if shape else {})
    assert make(info, depth=depth).stem == stem


@pytest.mark.parametrize('kind', KINDS)
def test_training_moves_the_statistics_alone(kind):
    model, x = make(SMALL, **KINDS[kind]), pictures()
    variables = born(model, x)
    logits, changed = apply(model, variables, x, train=True, mutable=['batch_stats'])
    assert logits.shape == (4, 5) and logits.dtype == jnp.float32 and set(changed) == {'batch_stats'}
    before, after = jax.tree.leaves(variables['batch_stats']), jax.tree.leaves(changed['batch_stats'])
    assert len(before) == len(after) > 0
    assert all((one != other).any() for one, other in zip(before, after))


def test_bfloat16_gives_logits_in_float32():
    model, x = make(SMALL, jnp.bfloat16, **KINDS['basic']), pictures()
    logits, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    assert jax.eval_shape(lambda v: model.apply(v, x, method='features'), variables).dtype == jnp.bfloat16


def test_blocks_that_are_born_as_their_shortcut():
    model, x = make(SMALL, width=8, blocks=(1, 1), zero_init=True), pictures()
    variables = born(model, x)
    first = jax.nn.relu(apply(model, variables, x, method=lambda m, x: m.first(x, train=False)))
    wanted = resnet.pad_channels(resnet.subsample(first, 2), 16).mean((1, 2))
    np.testing.assert_allclose(apply(model, variables, x, method='features'), wanted, rtol=1e-5, atol=1e-6)


def test_stochastic_depth_leaves_out_whole_blocks_of_a_row():
    model, x = make(SMALL, width=8, blocks=(1,), stochastic_depth=0.5), pictures(1, 9, 7, 3).repeat(64, 0)
    variables = born(model, x[:1])

    features = np.asarray(apply(model, variables, x, train=True, mutable=['batch_stats'], method='features')[0])
    kinds = np.unique(features.round(4), axis=0)  # the shortcut alone, or with twice the branch
    assert len(kinds) == 2
    first = apply(model, variables, x, method=lambda m, x: m.first(x, train=True), mutable=['batch_stats'])[0]
    dropped = np.isclose(features, jax.nn.relu(first).mean((1, 2)), atol=1e-5).all(1)
    assert 16 < dropped.sum() < 48
    still = apply(model, variables, x)
    assert (still == still[:1]).all()


def test_deeper_blocks_are_left_out_more_often():
    model = make(SMALL, depth=8, stochastic_depth=0.3).bind({'params': {}})
    np.testing.assert_allclose([block.drop for block in model.stack], [0.1, 0.2, 0.3])


def test_dropout_is_before_the_head():
    model, x = make(SMALL, dropout=0.5, width=4, blocks=(1,)), pictures()
    variables = born(model, x)

    def logits(seed, train):
        return model.apply(variables, x, train=train, rngs={'dropout': jax.random.key(seed)}, mutable=['batch_stats'])[
            0
        ]

    assert (logits(0, True) != logits(1, True)).any()
    np.testing.assert_array_equal(logits(0, False), logits(1, False))


def test_as_many_outputs_as_the_data_have_classes():
    assert make(SMALL).classes == 5 and make(SMALL, classes=7).classes == 7
    assert make({'shape': [9, 7, 3], 'classes': 0}).classes == 1  # a regression


@pytest.mark.parametrize(
    ('arguments', 'info', 'message'),
    [
        (dict(depth=19), SMALL, 'depth=19: there are 8, 18, 20, 32, 34, 44, 50, 56, 101, 110, 152.'),
        (dict(stem='big'), SMALL, 'stem=big: there are auto, small, imagenet.'),
        (dict(shortcut='C'), SMALL, 'shortcut=C: there are auto, A, B.'),
        (dict(dropout=1.0), SMALL, 'dropout=1.0: at least 0 and below 1'),
        (dict(stochastic_depth=-0.1), SMALL, 'stochastic_depth=-0.1: at least 0'),
        (dict(norm_epsilon=0.0), SMALL, 'norm_epsilon=0.0: more than 0'),
        (dict(width=-1), SMALL, 'width=-1: at least 1'),
        (dict(blocks=(2, 0)), SMALL, r'blocks\[1\]=0: at least 1'),
        (dict(blocks=(2, 'two')), SMALL, 'a tuple of whole numbers'),
        (dict(classes=4), SMALL, 'classes=4, and the data have 5'),
        ({}, {'shape': [13], 'classes': 0}, r'this model sees pictures, .* of shape \[13\]'),
    ],
)
def test_what_cannot_be_is_said(arguments, info, message):
    with pytest.raises(UserError, match=message):
        make(info, **arguments)
