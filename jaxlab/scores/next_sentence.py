"""How often a model is right about whether the second text follows the first."""

# b batch

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class NextSentence:
    """'next_sentence_accuracy': of outputs 'next' [b 2] and the batch's next [b]; rows count of which any token does.

    Where the model does not say it, it is NaN.
    """

    better: ClassVar = {'next_sentence_accuracy': 'higher'}

    def start(self) -> dict[str, jax.Array]:
        return {'hits': jnp.zeros(()), 'count': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        if 'next' not in outputs:
            return {'hits': carry['hits'] + jnp.nan, 'count': carry['count']}
        counts = jnp.any(batch['mask'] > 0, axis=1)
        hits = (jnp.argmax(outputs['next'], axis=-1) == batch['next']) & counts
        return {'hits': carry['hits'] + jnp.sum(hits), 'count': carry['count'] + jnp.sum(counts)}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {'next_sentence_accuracy': float(carry['hits']) / max(float(carry['count']), 1)}


def make(info: Info) -> NextSentence:
    return NextSentence()
