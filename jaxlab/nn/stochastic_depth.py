"""Stochastic depth: in training, what a block adds is left out of some rows of the batch (Huang et al. 2016)."""

# b batch; ... any other axes

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.nn.dropout import kept


def rates(last: float, count: int) -> list[float]:
    """How often each of `count` blocks is left out: 0 for the first, `last` for the last, evenly between."""
    return [last * i / max(count - 1, 1) for i in range(count)]


class StochasticDepth(nn.Module):
    """[b ...] -> [b ...], where a part `rate` of the rows has become 0, and the others are 1 / (1 - rate) as large.

    A whole row is kept or lost, while dropout takes each number by itself. It wants the key that dropout has.
    """

    @nn.compact
    def __call__(self, x: jax.Array, rate: jax.Array | float, train: bool) -> jax.Array:
        if not train or (isinstance(rate, float) and rate == 0):
            return x
        rows = kept(self.make_rng('dropout'), 1 - rate, x.shape[:1]).reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(rows, x / (1 - rate), 0).astype(x.dtype)
