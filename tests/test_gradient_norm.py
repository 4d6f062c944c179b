"""The norm of all gradients is the same however it is computed, and is computed where the gradients lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab import gradient_norm
from jaxlab.gradient_norm import FEW, PARTS, global_norm
from jaxlab.parallel.mesh import make_mesh

SHAPES = [(), (1,), (FEW,), (FEW + 1,), (PARTS * FEW + 5,), (3, 7, 11), (784, 256), (PARTS**2, FEW + 3)]


def gradients(dtype=np.float32):
    random = np.random.default_rng(0)
    return {str(n): random.normal(0, 10.0 ** (n % 3), shape).astype(dtype) for n, shape in enumerate(SHAPES)}


def exact(tree):
    return np.sqrt(sum(np.square(np.asarray(x, np.float64)).sum() for x in jax.tree.leaves(tree)))


def test_every_number_counts_once():
    """Each number in turn is the largest by far, of a leaf whose parts are folded twice with some left over."""
    size = PARTS * (PARTS * FEW + 3) + 7
    norm = jax.jit(lambda place: global_norm({'w': jnp.zeros(size).at[place].set(3.0), 'b': jnp.full(2, 4.0)}))
    for place in [*range(5), *range(size - 30, size), *range(0, size, size // 97)]:
        assert norm(place) == pytest.approx(np.sqrt(9 + 32), rel=1e-6), place


def test_it_is_the_root_of_the_sum_of_squares(float64):
    tree = gradients(np.float64)
    assert float(jax.jit(global_norm)(tree)) == pytest.approx(exact(tree), rel=1e-14)
    assert global_norm({}) == 0 and jax.jit(global_norm)(tree).dtype == jnp.float64


def test_it_rounds_less_than_one_sum_after_another():
    tree = {'w': np.random.default_rng(0).random(1 << 22, np.float32)}
    in_a_row = np.sqrt(np.square(tree['w']).cumsum(dtype=np.float32)[-1])  # each onto the sum of those before
    error, worse = (abs(float(norm) / exact(tree) - 1) for norm in (jax.jit(global_norm)(tree), in_a_row))
    assert error < 3e-7 and 10 * error < worse, (error, worse)


def test_a_part_that_is_left_out_is_noticed(monkeypatch):
    folded = gradient_norm._folded
    monkeypatch.setattr(gradient_norm, '_folded', lambda x: [*folded(x)][-1:])
    with pytest.raises(AssertionError):
        test_every_number_counts_once()


@pytest.mark.parametrize('number', [np.nan, np.inf])
def test_what_is_not_finite_shows(number):
    tree = gradients()
    tree['6'][500, 100] = number
    assert not np.isfinite(jax.jit(global_norm)(tree))


def test_on_a_mesh_nothing_is_gathered(float64):
    """Where devices share a leaf they add what they have, and one number goes around."""
    mesh = make_mesh({'fsdp': 4, 'tensor': 2})
    at = NamedSharding(mesh, PartitionSpec('fsdp', 'tensor'))
    tree = {'w': jax.device_put(gradients(np.float64)['6'], at)}
    with jax.set_mesh(mesh):
        compiled = jax.jit(global_norm).lower(tree).compile()
    for moves in ('all-gather', 'all-to-all', 'collective-permute'):
        assert moves not in compiled.as_text()
    assert float(compiled(tree)) == pytest.approx(exact(tree), rel=1e-14)
