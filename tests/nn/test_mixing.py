"""Rows mixed with their neighbours: against NumPy, with rows that do not count, and on every mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import stats

from jaxlab.nn import mixing
from jaxlab.nn.mixing import cutmix, mixup
from jaxlab.parallel.mesh import make_mesh

B, H, W, N = 16, 6, 9, 4
MESHES = [{'data': 8}, {'fsdp': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}]
BOTH = pytest.mark.parametrize('mix', [mixup, cutmix])


def mixed_by(mix, n, inputs, targets, mask, alpha=1.0):
    """(inputs, targets), mixed with key n, compiled as in training."""
    compiled = jax.jit(lambda key, *rows: mix(key, *rows, alpha))
    return tuple(map(np.asarray, compiled(jax.random.key(n), inputs, targets, mask)))


def arguments(mask=None, b=B):
    random = np.random.default_rng(0)
    targets = np.eye(N)[random.integers(0, N, b)]
    return random.normal(size=(b, H, W, 3)), targets, np.ones(b) if mask is None else np.array(mask, float)


def shares_of(inputs, mixed):
    """What share of each row is its own, [b], by least squares, and how far the rest is from that [b]."""
    partner = np.roll(inputs, -1, 0)
    away, found = (inputs - partner).reshape(len(inputs), -1), (mixed - partner).reshape(len(inputs), -1)
    shares = (away * found).sum(1) / (away**2).sum(1)
    return shares, np.abs(found - shares[:, None] * away).max(1)


def test_mixup_is_a_line_between_neighbours(float64):
    inputs, targets, mask = arguments()
    mixed, soft = mixed_by(mixup, 0, inputs, targets, mask)
    shares, rest = shares_of(inputs, np.asarray(mixed))
    assert rest.max() < 1e-12 and len(set(np.round(shares, 6))) == B, 'each row has a share of its own'
    assert (shares > 0).all() and (shares < 1).all()
    wanted = shares[:, None] * targets + (1 - shares[:, None]) * np.roll(targets, -1, 0)
    np.testing.assert_allclose(soft, wanted, atol=1e-12)


def test_cutmix_is_a_rectangle_of_a_neighbour_whose_area_is_its_share(float64):
    inputs, targets, mask = arguments()
    sizes, compiled = set(), jax.jit(cutmix, static_argnums=4)
    for n in range(10):
        mixed, soft = map(np.asarray, compiled(jax.random.key(n), inputs, targets, mask, 1.0))
        foreign = (mixed != inputs).any(-1)
        rows, columns = foreign.any(2), foreign.any(1)
        np.testing.assert_array_equal(foreign, rows[:, :, None] & columns[:, None, :])
        assert (np.abs(np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(int))).sum(1) <= 2).all(), 'in one piece'
        np.testing.assert_array_equal(mixed[foreign], np.roll(inputs, -1, 0)[foreign])
        share = 1 - foreign.mean((1, 2))[:, None]
        np.testing.assert_allclose(soft, share * targets + (1 - share) * np.roll(targets, -1, 0), atol=1e-12)
        sizes |= set(zip(rows.sum(1).tolist(), columns.sum(1).tolist()))
    assert {height for height, _ in sizes} >= set(range(1, H)) and {width for _, width in sizes} >= set(range(1, W))


@pytest.mark.parametrize('alpha', [0.05, 0.2, 0.5, 1.0, 5.0, 500.0])
def test_shares_are_those_of_beta(alpha):
    found = np.asarray(mixing._shares(jax.random.key(1), 20_000, alpha, jnp.float32))
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1

    def distance(a, b):
        places = np.linspace(0.001, 0.999, 999)  # what is closer to 1 than 1e-7 is 1 in 32 bits
        return np.abs((found[:, None] <= places).mean(0) - stats.beta(a, b).cdf(places)).max() * np.sqrt(len(found))

    assert distance(alpha, alpha) < 1.7 and distance(alpha, 1.2 * alpha) > 3  # Kolmogorov's: 0.6 % are above 1.7


@BOTH
@pytest.mark.parametrize('mask', [[1, 1, 0, 1, 1, 1], [0, 0, 1, 0, 1, 1], [0] * 6, [0, 1, 1, 1, 1, 0]])
def test_a_row_that_does_not_count_is_in_no_other(mix, mask, float64):
    inputs, targets, mask = arguments(mask, 6)
    inputs[mask == 0] = np.nan
    for n in range(3):
        mixed, soft = mixed_by(mix, n, inputs, targets, mask)
        assert np.isfinite(mixed[mask == 1]).all()
        alone = (mask == 0) | (np.roll(mask, -1) == 0)
        np.testing.assert_array_equal(mixed[alone], inputs[alone])
        np.testing.assert_array_equal(soft[alone], targets[alone])
        assert (soft >= 0).all() and np.allclose(soft.sum(1), 1)


@BOTH
def test_a_mask_that_is_forgotten_is_noticed(mix, float64, monkeypatch):
    monkeypatch.setattr(mixing, '_paired', lambda mask: jnp.ones(mask.shape, bool))
    with pytest.raises(AssertionError):
        for n in range(3):
            inputs, targets, mask = arguments([1, 1, 0, 1, 1, 1], 6)
            inputs[2] = np.nan
            assert np.isfinite(mixed_by(mix, n, inputs, targets, mask)[0][1]).all()


@BOTH
def test_it_is_a_function_of_the_key(mix, float64):
    drawn = [mixed_by(mix, n, *arguments())[0].tobytes() for n in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@BOTH
def test_types_stay(mix):
    inputs, targets, mask = arguments()
    inputs, targets = jnp.asarray(inputs, jnp.bfloat16), jnp.asarray(targets, jnp.float32)
    mixed, soft = jax.eval_shape(mix, jax.random.key(0), inputs, targets, mask, 1.0)
    assert (mixed.shape, mixed.dtype, soft.shape, soft.dtype) == (inputs.shape, jnp.bfloat16, (B, N), jnp.float32)


@BOTH
def test_a_row_that_is_alone_stays(mix, float64):
    inputs, targets, mask = arguments(b=1)
    for found, wanted in zip(mixed_by(mix, 0, inputs, targets, mask), (inputs, targets)):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


@BOTH
@pytest.mark.parametrize('shape', MESHES, ids=str)
def test_a_mesh_changes_no_number(mix, shape, float64):
    inputs, targets, mask = arguments([1] * 13 + [0] * 3)

    def value(inputs, targets, mask):
        mixed, soft = mix(jax.random.key(3), inputs, targets, mask, 0.7)
        return jnp.sum(jnp.sin(mixed).sum((1, 2, 3)) * (soft @ jnp.arange(N)) * mask), (mixed, soft)

    differentiated = jax.value_and_grad(value, has_aux=True)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        rows = NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))
        found = jax.jit(differentiated)(*(jax.device_put(array, rows) for array in (inputs, targets, mask)))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(jax.jit(differentiated)(inputs, targets, mask))):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)
