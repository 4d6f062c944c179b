"""Accuracy: the share of targets that the model holds most likely."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class Accuracy:
    """'accuracy': hits over targets that count; any shape of logits [..., classes] and targets [...]."""

    better: ClassVar = {'accuracy': 'higher'}

    def start(self) -> dict[str, jax.Array]:
        return {'hits': jnp.zeros(()), 'count': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        hits = (jnp.argmax(outputs['logits'], axis=-1) == batch['targets']) * batch['mask']
        return {'hits': carry['hits'] + jnp.sum(hits), 'count': carry['count'] + jnp.sum(batch['mask'])}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {'accuracy': float(carry['hits']) / max(float(carry['count']), 1)}


def make(info: Info) -> Accuracy:
    return Accuracy()
