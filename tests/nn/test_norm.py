"""LayerNorm, RMSNorm and BatchNorm against their formulas; BatchNorm's statistics on meshes."""

# b batch, h height, w width, c channels

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.nn.norm import BatchNorm, LayerNorm, RMSNorm
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

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


# --- statistics of the batch -----------------------------------------------------------------------------------------

PICTURES = np.random.default_rng(1).normal(2, 3, (8, 3, 5, 7))  # [b h w c]
STATS = {'mean': np.linspace(-1, 1, 7), 'variance': np.linspace(0.5, 2, 7)}
DOUBLE = dict(dtype=jnp.float64, param_dtype=jnp.float64)


def in_training(norm, x):
    """Output and statistics of one call that trains."""
    variables = {'params': {'scale': SCALE, 'bias': BIAS}, 'batch_stats': STATS}
    y, changed = norm.apply(variables, x, train=True, mutable=['batch_stats'])
    return y, changed['batch_stats']


def test_batch_norm_in_training(float64):
    y, stats = jax.jit(in_training, static_argnums=0)(BatchNorm(0.75, 1e-3, **DOUBLE), PICTURES)
    for c in range(7):
        x = PICTURES[..., c].ravel()
        variance = ((x - x.mean()) ** 2).sum() / len(x)
        wanted = (PICTURES[..., c] - x.mean()) / np.sqrt(variance + 1e-3) * SCALE[c] + BIAS[c]
        np.testing.assert_allclose(y[..., c], wanted, rtol=1e-12)
        np.testing.assert_allclose(stats['mean'][c], 0.75 * STATS['mean'][c] + 0.25 * x.mean(), rtol=1e-12)
        unbiased = variance * len(x) / (len(x) - 1)
        np.testing.assert_allclose(stats['variance'][c], 0.75 * STATS['variance'][c] + 0.25 * unbiased, rtol=1e-12)


def test_batch_norm_out_of_training():
    variables = {'params': {'scale': SCALE, 'bias': BIAS}, 'batch_stats': STATS}
    y = BatchNorm(epsilon=1e-3).apply(variables, PICTURES.astype(np.float32), train=False)
    wanted = (PICTURES - STATS['mean']) / np.sqrt(STATS['variance'] + 1e-3) * SCALE + BIAS
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('train', [False, True])
def test_batch_norm_at_birth(train):
    norm = BatchNorm(scale_init=jax.nn.initializers.zeros, axis='channels', dtype=jnp.bfloat16)
    y, born = norm.init_with_output(jax.random.key(0), jnp.asarray(PICTURES, jnp.bfloat16), train=train)
    assert y.dtype == jnp.bfloat16 and not y.any()
    assert {name: leaf.names for name, leaf in born['params'].items()} == dict.fromkeys(
        ('scale', 'bias'), ('channels',)
    )
    for name, number in (('mean', 0), ('variance', 1)):
        np.testing.assert_array_equal(born['batch_stats'][name], np.full(7, number, np.float32))


def test_statistics_of_small_numbers_are_computed_in_float32():
    x = jnp.asarray(PICTURES * 1e-2 + 1, jnp.bfloat16)
    y, stats = in_training(BatchNorm(dtype=jnp.bfloat16), x)
    wanted, wanted_stats = in_training(BatchNorm(), x.astype(jnp.float32))
    np.testing.assert_array_equal(y, wanted.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, stats, wanted_stats)


def test_one_number_for_each_channel_has_no_unbiased_variance():
    stats = in_training(BatchNorm(), PICTURES[:1, 0, 0].astype(np.float32))[1]
    np.testing.assert_allclose(stats['variance'], 0.9 * STATS['variance'], rtol=1e-6)


def of_each_device(norm, x):
    """A mistake: every device takes the statistics of its own rows."""
    y, stats = jax.vmap(lambda rows: in_training(norm, rows))(x.reshape(8, -1, *x.shape[1:]))
    return y.reshape(x.shape), jax.tree.map(lambda leaf: leaf.mean(0), stats)


@pytest.mark.parametrize(('call', 'right'), [(in_training, True), (of_each_device, False)])
def test_a_mesh_changes_no_statistic(call, right, float64):
    norm = BatchNorm(**DOUBLE)
    wanted = in_training(norm, PICTURES)
    mesh = make_mesh({'data': 8})
    with jax.set_mesh(mesh):
        x = jax.device_put(PICTURES, layout.batch_sharding(mesh))
        found = jax.jit(call, static_argnums=0)(norm, x)
    assert len(found[0].sharding.device_set) == 8
    output, mean, variance = jax.tree.leaves(jax.tree.map(lambda f, w: np.allclose(f, w, 1e-12, 1e-12), found, wanted))
    assert mean and output == variance == right


@pytest.mark.reference
def test_batch_norm_is_the_one_of_torch():
    torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
    theirs = torch.nn.BatchNorm2d(7, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        for mine, other in ((SCALE, theirs.weight), (BIAS, theirs.bias)):
            other.copy_(torch.from_numpy(mine))
        theirs.running_mean.copy_(torch.from_numpy(STATS['mean']))
        theirs.running_var.copy_(torch.from_numpy(STATS['variance']))
        wanted = theirs(torch.from_numpy(PICTURES.astype(np.float32).transpose(0, 3, 1, 2))).numpy()
    y, stats = in_training(BatchNorm(0.7, 1e-3), PICTURES.astype(np.float32))
    np.testing.assert_allclose(y, wanted.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats['mean'], theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats['variance'], theirs.running_var.numpy(), rtol=1e-5)
