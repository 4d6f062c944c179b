"""Top-five accuracy: the share of rows whose class is among the five that the model holds most likely."""

# b batch, c classes

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class TopFive:
    """'top_five_accuracy' of logits [b c] and targets int [b]; with up to five classes it is always 1.

    Of classes that are equally likely the one with the higher number comes first, as in scikit-learn.
    """

    better: ClassVar = {'top_five_accuracy': 'higher'}

    def start(self) -> dict[str, jax.Array]:
        return {'hits': jnp.zeros(()), 'count': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        logits, targets = outputs['logits'], batch['targets'][:, None]
        classes = logits.shape[-1]
        own = jnp.take_along_axis(logits, jnp.clip(targets, 0, classes - 1), axis=-1)
        behind = (logits < own) | ((logits == own) & (jnp.arange(classes) < targets))  # none, where it is NaN
        hits = (jnp.sum(behind, axis=-1) >= classes - 5) & (batch['mask'] != 0)
        return {'hits': carry['hits'] + jnp.sum(hits), 'count': carry['count'] + jnp.sum(batch['mask'] != 0)}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {'top_five_accuracy': float(carry['hits']) / max(float(carry['count']), 1)}


def make(info: Info) -> TopFive:
    return TopFive()
