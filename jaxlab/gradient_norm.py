"""The norm of all gradients together: what is clipped, and what says whether a step is sound."""

# n numbers of a leaf

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxlab.parallel import target

PARTS = 8  # that are added at once
FEW = 4096  # numbers, whose sum takes next to no time


def global_norm(gradients: Any) -> jax.Array:
    """Returns √Σ g² over all numbers of a tree, [], in their dtype; 0 of an empty tree.

    On a GPU or TPU, and over several devices, each leaf is reduced where it lies. XLA's reductions on a CPU are slow
    (an eighth of an MLP's whole step): there eighths of a leaf are added to each other, number by number, until few are
    left, and these are reduced for all leaves at once. Added so, rounding also grows with log n instead of n.
    """
    leaves = jax.tree.leaves(gradients)
    if not leaves or target.platform() != 'cpu' or jax.sharding.get_abstract_mesh().size > 1:
        return optax.tree.norm(gradients)
    return jnp.sqrt(jnp.concatenate([part for leaf in leaves for part in _folded(leaf.reshape(-1))]).sum())


def _folded(x: jax.Array) -> Iterator[jax.Array]:
    """Yields arrays, of few numbers each, that together have the sum of the squares of x, [n]."""
    squares = jnp.square
    while x.size > FEW:
        size = x.size // PARTS
        yield squares(x[PARTS * size :])
        first, *others = (squares(x[part * size : (part + 1) * size]) for part in range(PARTS))
        # Without a barrier one loop would do all of it, with numbers from everywhere.
        x = jax.lax.optimization_barrier(sum(others, first))
        squares = jnp.asarray
    yield squares(x)
