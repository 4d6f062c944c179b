"""Cross-entropy and perplexity of the tokens that count."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class Perplexity:
    """'loss': mean nats per token; 'perplexity': e to that power."""

    better: ClassVar = {'loss': 'lower', 'perplexity': 'lower'}

    def start(self) -> dict[str, jax.Array]:
        return {'nats': jnp.zeros(()), 'tokens': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        nats = optax.softmax_cross_entropy_with_integer_labels(outputs['logits'], batch['targets'])
        return {
            'nats': carry['nats'] + jnp.sum(nats * batch['mask']),
            'tokens': carry['tokens'] + jnp.sum(batch['mask']),
        }

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        loss = float(carry['nats']) / max(float(carry['tokens']), 1)
        return {'loss': loss, 'perplexity': math.exp(min(loss, 700.0))}


def make(info: Info) -> Perplexity:
    return Perplexity()
