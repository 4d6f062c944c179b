"""DCGAN: shapes, what labels and training change, gradients of both networks, and what is refused."""

# b batch, h height, w width, c channels, z noise

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models.dcgan import DCGAN, doublings, make, twice
from jaxlab.parallel.layout import TABLE

INFO = {'shape': [8, 12, 3], 'classes': 4}
NOISE = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1], np.int32)


def small(**arguments) -> DCGAN:
    return make(INFO, **(dict(noise=5, width=8, init_scale=0.1) | arguments))


@cache
def born(model: DCGAN):
    return meta.unbox(jax.jit(model.init)(jax.random.key(0), NOISE, LABELS))


@cache
def compiled(model: DCGAN, method: str, train: bool = False):
    mutable = ['batch_stats', 'spectral'] if train else False
    return jax.jit(partial(model.apply, train=train, method=method, mutable=mutable))


@pytest.mark.parametrize(
    ('shape', 'start', 'channels'),
    [
        ((28, 28, 1), (7, 7), [128, 64]),
        ((32, 32, 3), (4, 4), [256, 128, 64]),
        ((64, 64, 3), (4, 4), [512, 256, 128, 64]),
        ((36, 20, 2), (9, 5), [128, 64]),
        ((4, 4, 1), (1, 1), [128, 64]),
    ],
)
def test_pictures_of_any_size_that_4_divides(shape, start, channels):
    assert tuple(side >> doublings(*shape[:2]) for side in shape[:2]) == start
    model = make({'shape': shape, 'classes': 10})
    noise, labels = jax.ShapeDtypeStruct((3, 128), jnp.float32), jax.ShapeDtypeStruct((3,), jnp.int32)
    variables = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), noise, labels))
    assert set(variables['params']) == {'generator', 'discriminator'}
    assert set(variables) == {'params', 'batch_stats', 'spectral'}
    assert set(variables['batch_stats']) == {'generator'} and set(variables['spectral']) == {'discriminator'}
    generator = variables['params']['generator']
    assert generator['start']['kernel'].shape == (160, start[0] * start[1] * channels[0])
    found = [generator[f'conv_{i}']['kernel'].shape[-1] for i in range(len(channels) - 1)]
    assert [channels[0], *found] == channels
    pictures = jax.eval_shape(partial(model.apply, method='generate'), variables, noise, labels)
    assert pictures.shape == (3, *shape) and pictures.dtype == jnp.float32
    logits = jax.eval_shape(partial(model.apply, method='discriminate'), variables, pictures, labels)
    assert logits.shape == (3,) and logits.dtype == jnp.float32


def test_twice():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(twice(jnp.asarray(x)), np.repeat(np.repeat(x.astype(np.float32), 2, 1), 2, 2))


def test_pictures_are_between_minus_1_and_1():
    model = small(init_scale=2.0)
    pictures = compiled(model, 'generate')(born(model), 100 * NOISE, LABELS)
    assert np.abs(pictures).max() <= 1 and np.abs(pictures).max() > 0.9


@pytest.mark.parametrize('conditional', [True, False])
def test_labels_matter_where_they_should(conditional):
    model = small(conditional=conditional)
    variables, other = born(model), (LABELS + 1) % 4
    pictures = compiled(model, 'generate')(variables, NOISE, LABELS)
    assert (compiled(model, 'generate')(variables, NOISE, other) != pictures).any(axis=(1, 2, 3)).all() == conditional
    logits = compiled(model, 'discriminate')(variables, pictures, LABELS)
    assert (compiled(model, 'discriminate')(variables, pictures, other) != logits).all() == conditional


def test_a_label_that_there_is_not_is_noticed():
    model = small()
    wrong = LABELS.copy()
    wrong[2] = 4
    pictures = np.asarray(compiled(model, 'generate')(born(model), NOISE, wrong))
    np.testing.assert_array_equal(np.isnan(pictures).all((1, 2, 3)), np.arange(6) == 2)


@pytest.mark.parametrize('spectral', [True, False])
def test_training_moves_what_it_should(spectral):
    model = small(spectral=spectral)
    variables = born(model)
    pictures, changed = compiled(model, 'generate', train=True)(variables, NOISE, LABELS)
    moved = changed['batch_stats']['generator']
    assert all(
        (one != other).any()
        for one, other in zip(*map(jax.tree.leaves, (moved, variables['batch_stats']['generator'])), strict=True)
    )
    _, changed = compiled(model, 'discriminate', train=True)(variables, pictures, LABELS)
    name = 'spectral' if spectral else 'batch_stats'
    assert ('spectral' in variables) == spectral
    before, after = variables[name]['discriminator'], changed[name]['discriminator']
    assert all(
        (one != other).any() for one, other in zip(*map(jax.tree.leaves, (before, after)), strict=True) if one.size > 1
    )


@pytest.mark.parametrize('spectral', [True, False])
def test_gradients_reach_every_parameter(spectral):
    """Of both networks' losses, each with the other's parameters held (the generator's not to saturate)."""
    model = small(spectral=spectral)
    variables = born(model)
    others = {name: value for name, value in variables.items() if name != 'params'}

    def losses(params):
        call = partial(model.apply, {'params': params} | others, train=True, mutable=['batch_stats', 'spectral'])
        logits, _ = call(NOISE, LABELS)
        return jax.nn.softplus(-logits).mean()

    gradient = jax.jit(jax.grad(losses))(variables['params'])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and (leaf != 0).any(), path


def test_spectral_norm_bounds_the_slope():
    """Ten times the weights change nothing but the biases' share: the discriminator is as steep as before."""
    model = small()
    variables = born(model)
    pictures = np.random.default_rng(0).uniform(-1, 1, (6, 8, 12, 3)).astype(np.float32)
    larger = variables | {'params': jax.tree.map(lambda leaf: 10 * leaf, variables['params'])}  # biases are 0
    one, other = (compiled(model, 'discriminate')(each, pictures, LABELS) for each in (variables, larger))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    model = small(spectral=False)
    variables = born(model)
    larger = variables | {'params': jax.tree.map(lambda leaf: 10 * leaf, variables['params'])}
    one, other = (compiled(model, 'discriminate')(each, pictures, LABELS) for each in (variables, larger))
    assert np.abs(other).max() > 10 * np.abs(one).max()


def test_bfloat16_gives_logits_in_float32():
    model = make(INFO, jnp.bfloat16, noise=5, width=8)
    variables = jax.eval_shape(model.init, jax.random.key(0), NOISE, LABELS)
    pictures = jax.eval_shape(partial(model.apply, method='generate'), meta.unbox(variables), NOISE, LABELS)
    assert pictures.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert jax.eval_shape(model.apply, meta.unbox(variables), NOISE, LABELS).dtype == jnp.float32


def test_every_parameter_names_its_axes():
    boxed = jax.eval_shape(small(spectral=False).init, jax.random.key(0), NOISE, LABELS)['params']
    for path, leaf in jax.tree_util.tree_leaves_with_path(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata)):
        assert set(leaf.names) <= set(TABLE) and len(leaf.names) == leaf.value.ndim, (path, leaf)


@pytest.mark.parametrize(
    ('info', 'arguments', 'message'),
    [
        (INFO, dict(width=0), 'width=0: at least 1'),
        (INFO, dict(slope=1.0), 'slope=1.0'),
        (INFO, dict(init_scale=0.0), 'init_scale=0.0: more than 0'),
        ({'shape': [30, 33, 3]}, {}, '30 x 33 pixels; the nearest such size: 32 x 32'),
        ({'shape': [13]}, {}, 'this model sees pictures'),
        ({'shape': [8, 8, 1], 'classes': 0}, {}, 'conditional=True: these data have no labels'),
    ],
)
def test_mistakes_are_named(info, arguments, message):
    with pytest.raises(UserError, match=message):
        make(info, **arguments)
