"""How often the discriminator of a GAN believes that a picture is one of the data."""

# b batch

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class Believed:
    """'real_believed': of the pictures of the split; 'fake_believed': of as many that the generator makes. They are the
    shares of the logits 'real' and 'fake', [b], above 0.

    Of none is it known whether more is better: the two networks play against each other. Real pictures that are held
    out and believed less often than those of training say that the discriminator knows the latter by heart.
    """

    better: ClassVar[dict[str, str]] = {}

    def start(self) -> dict[str, jax.Array]:
        return {'real': jnp.zeros(()), 'fake': jnp.zeros(()), 'count': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        sums = {name: carry[name] + jnp.sum((outputs[name] > 0) * batch['mask']) for name in ('real', 'fake')}
        return sums | {'count': carry['count'] + jnp.sum(batch['mask'])}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        count = max(float(carry['count']), 1)
        return {f'{name}_believed': float(carry[name]) / count for name in ('real', 'fake')}


def make(info: Info) -> Believed:
    return Believed()
