"""ViT: published sizes, a forward pass by hand, what its arguments change, and what they refuse."""

# b batch, h height, w width, c channels, t patches (and the token), d width

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from scipy.special import erf

from jaxlab.errors import UserError
from jaxlab.models.vit import ViT, make
from jaxlab.parallel.layout import TABLE

INFO = {'shape': [8, 12, 3], 'classes': 5}
PICTURES = np.random.default_rng(0).normal(size=(4, 8, 12, 3)).astype(np.float32)


def small(**arguments) -> ViT:
    return make(INFO, **(dict(layers=2, width=16, heads=4, patch=4) | arguments))


@cache
def params_of(model: ViT):
    """The same for scanned and unrolled. Random everywhere: a bias that is still 0 could be dropped unseen."""
    if model.scan:
        return restacked(params_of(model.clone(scan=False)))
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), PICTURES))
    leaves, tree = jax.tree.flatten(shapes)
    random = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [random.normal(0, 0.3, leaf.shape).astype(np.float32) for leaf in leaves])


def restacked(params):
    stack = params['params']['stack']
    layers = [stack[f'layer_{i}'] for i in range(len(stack))]
    return {'params': params['params'] | {'stack': {'layers': jax.tree.map(lambda *x: np.stack(x), *layers)}}}


@cache
def logits(model: ViT) -> np.ndarray:
    return np.asarray(jax.jit(model.apply)(params_of(model), PICTURES))


SIZES = {
    'Ti': (5_717_416, dict(width=192, heads=3)),
    'S': (22_050_664, dict(width=384, heads=6)),
    'B': (86_567_656, dict(width=768, heads=12)),
    'L': (304_326_632, dict(width=1024, heads=16, layers=24, scan=True)),
}


@pytest.mark.parametrize('size', SIZES)
def test_published_sizes(size):
    count, arguments = SIZES[size]
    model = make({'shape': [224, 224, 3], 'classes': 1000}, **arguments)
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    assert sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0), x))) == count


@pytest.mark.parametrize('pool', ['token', 'mean'])
def test_one_block_by_hand(pool):
    model = small(layers=1, heads=1, pool=pool, representation=7)
    p = params_of(model)['params']
    block = p['stack']['layer_0']

    def linear(x, p):
        return x @ p['kernel'] + p['bias']

    def norm(x, p):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p['scale'] + p['bias']

    patches = PICTURES.reshape(4, 2, 4, 3, 4, 3).swapaxes(2, 3).reshape(4, 6, -1)
    x = patches @ p['patch_embedding']['kernel'].reshape(-1, 16) + p['patch_embedding']['bias']
    if pool == 'token':
        x = np.concatenate([np.tile(p['token'], (4, 1, 1)), x], 1)
    x = x + p['positions']
    h = norm(x, block['attention_norm'])
    q, k, v = (linear(h, block['attention'][name]) for name in ('query', 'key', 'value'))
    weights = np.exp(np.einsum('btd,bsd->bts', q, k) / 4)
    x = x + linear(weights @ v / weights.sum(-1, keepdims=True), block['attention']['out'])
    h = linear(norm(x, block['mlp_norm']), block['mlp']['up'])
    x = x + linear(h * (1 + erf(h / np.sqrt(2))) / 2, block['mlp']['down'])
    x = norm(x, p['final_norm'])
    x = np.tanh(linear(x[:, 0] if pool == 'token' else x.mean(1), p['representation']))
    found = jax.jit(lambda v: model.apply(v, PICTURES, method='features'))(params_of(model))
    np.testing.assert_allclose(found, x, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits(model), linear(x, p['head']), rtol=1e-3, atol=1e-3)


def test_features_need_no_head():
    model = small()
    params = dict(params_of(model)['params'])
    del params['head']
    x = jax.eval_shape(lambda p: model.apply({'params': p}, PICTURES, method='features', train=False), params)
    assert x.shape == (4, 16)


@pytest.mark.parametrize('scan', [False, True])
def test_every_parameter_names_its_axes(scan):
    boxed = jax.eval_shape(small(scan=scan, representation=8).init, jax.random.key(0), PICTURES)
    for path, leaf in jax.tree_util.tree_leaves_with_path(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata)):
        assert set(leaf.names) <= set(TABLE) and len(leaf.names) == leaf.value.ndim, (path, leaf)


@pytest.mark.parametrize('arguments', [dict(scan=True), dict(remat='dots'), dict(scan=True, remat='full')])
def test_ways_to_compile_give_the_same(arguments):
    np.testing.assert_allclose(logits(small(**arguments)), logits(small()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('arguments', [dict(dropout=0.5), dict(stochastic_depth=0.5)])
def test_what_is_random_is_for_training(arguments):
    model = small(**arguments)
    np.testing.assert_array_equal(logits(model), logits(small()))
    train = jax.jit(lambda key: model.apply(params_of(model), PICTURES, train=True, rngs={'dropout': key}))
    one, same, other = (np.asarray(train(jax.random.key(seed))) for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()


def test_bfloat16_gives_logits_in_float32():
    model = make(INFO, jnp.bfloat16, layers=2, width=16, heads=4, patch=4, pool='mean')
    assert logits(model).dtype == np.float32
    np.testing.assert_allclose(logits(model), logits(small(pool='mean')), atol=0.2)


def test_float64_is_float64_everywhere():
    with jax.enable_x64(True):
        arguments = dict(layers=2, width=16, heads=4, patch=4, pool='mean', scan=True, stochastic_depth=0.1)
        model = make(INFO, jnp.float64, jnp.float64, **arguments)
        x = PICTURES.astype(np.float64)
        params = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), x))
        key = {'dropout': jax.random.key(0)}
        assert 'f32[' not in str(jax.make_jaxpr(lambda p: model.apply(p, x, train=True, rngs=key))(params))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(patch=3), 'patch=3 does not divide a picture of 8 x 12 pixels; 2 would.'),
        (dict(patch=16), 'patch=16 does not divide a picture of 8 x 12 pixels; 4 would.'),
        (dict(heads=3), 'heads=3 do not divide width=16; 2 would'),
        (dict(layers=0), 'layers=0: at least 1'),
        (dict(pool='means'), 'pool=means: there are token, mean. Did you mean "mean"'),
        (dict(activation='swiglu'), 'activation=swiglu'),
        (dict(remat='some'), 'remat=some'),
        (dict(attention='cudnn'), 'attention=cudnn: it is for NVIDIA GPUs'),
        (dict(stochastic_depth=1.0), 'stochastic_depth=1.0'),
        (dict(norm_epsilon=0.0), 'norm_epsilon=0.0: more than 0'),
        (dict(classes=3), 'classes=3, and the data have 5'),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        small(**arguments)


def test_data_that_are_no_pictures_are_refused():
    with pytest.raises(UserError, match='this model sees pictures'):
        make({'shape': [13], 'classes': 2})


def test_pictures_of_another_size_are_refused():
    with pytest.raises(UserError, match='Pictures of 8 x 8 are 5 patches, and this model has positions for 7'):
        jax.eval_shape(small().apply, params_of(small()), PICTURES[:, :, :8])
    with pytest.raises(UserError, match='patch=4 does not divide a picture of 8 x 11'):
        jax.eval_shape(small().apply, params_of(small()), PICTURES[:, :, :11])
