"""How far values are from what they should be: MSE, RMSE, MAE and R²."""

# b batch

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class Regression:
    """'mse', 'rmse', 'mae' and 'r2' of values float32 [b] and targets float32 [b], in the units of the targets.

    R² is the share of the targets' variance that is explained: 1 at best, 0 for what always says their mean. Where they
    do not vary, it is 1 if there is no error at all, and else 0; of fewer than two rows it is NaN, as in scikit-learn.
    """

    better: ClassVar = {'mse': 'lower', 'rmse': 'lower', 'mae': 'lower', 'r2': 'higher'}

    def start(self) -> dict[str, jax.Array]:
        return {name: jnp.zeros(()) for name in ('count', 'squared', 'absolute', 'mean', 'spread')}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        targets, real = batch['targets'], batch['mask'] != 0
        errors = jnp.where(real, outputs['values'] - targets, 0)
        # The spread is the sum of (target - mean)²: that of this batch and that of those before are put together by the
        # distance of their means (Chan et al. 1983). Sums of squares would lose it where the mean is far from 0.
        before, new = carry['count'], jnp.sum(real)
        count = before + new
        mean = jnp.sum(jnp.where(real, targets, 0)) / jnp.maximum(new, 1)
        spread = jnp.sum(jnp.where(real, targets - mean, 0) ** 2)
        distance = mean - carry['mean']
        share = new / jnp.maximum(count, 1)
        return {
            'count': count,
            'squared': carry['squared'] + jnp.sum(errors**2),
            'absolute': carry['absolute'] + jnp.sum(jnp.abs(errors)),
            'mean': carry['mean'] + distance * share,
            'spread': carry['spread'] + spread + distance**2 * before * share,
        }

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        rows, squared, spread = (float(carry[name]) for name in ('count', 'squared', 'spread'))
        count = max(rows, 1)
        if spread <= count * (1e-6 * float(carry['mean'])) ** 2:  # no more than their rounding
            r2 = float(not squared)
        else:
            r2 = 1 - squared / spread
        return {
            'mse': squared / count,
            'rmse': math.sqrt(squared / count),
            'mae': float(carry['absolute']) / count,
            'r2': r2 if rows > 1 else math.nan,
        }


def make(info: Info) -> Regression:
    return Regression()
