"""Bits per byte: how far a model would compress the text, whatever its tokens are."""

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
class BitsPerByte:
    """'bits_per_byte': the code length of all tokens, ends of documents included, over their bytes."""

    better: ClassVar = {'bits_per_byte': 'lower'}

    def start(self) -> dict[str, jax.Array]:
        return {'nats': jnp.zeros(()), 'bytes': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        nats = optax.softmax_cross_entropy_with_integer_labels(outputs['logits'], batch['targets'])
        return {
            'nats': carry['nats'] + jnp.sum(nats * batch['mask']),
            'bytes': carry['bytes'] + jnp.sum(batch['bytes']),
        }

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {'bits_per_byte': float(carry['nats']) / math.log(2) / max(float(carry['bytes']), 1)}


def make(info: Info) -> BitsPerByte:
    return BitsPerByte()
