"""Cross-entropy: how many nats the model is surprised by a row's class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class CrossEntropy:
    """'loss': mean nats of the targets that count; logits [..., classes] and int targets [...]."""

    better: ClassVar = {'loss': 'lower'}

    def start(self) -> dict[str, jax.Array]:
        return {'nats': jnp.zeros(()), 'count': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        nats = optax.softmax_cross_entropy_with_integer_labels(outputs['logits'], batch['targets'])
        real = batch['mask'] != 0
        nats = jnp.where(real, nats, 0)  # and no product: what pads may have any target, and then NaN for nats
        return {'nats': carry['nats'] + jnp.sum(nats), 'count': carry['count'] + jnp.sum(real)}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {'loss': float(carry['nats']) / max(float(carry['count']), 1)}


def make(info: Info) -> CrossEntropy:
    return CrossEntropy()
