"""Calibration: whether what is said with a probability of 80 % is right in 80 of 100 cases."""

# b batch, c classes

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.scores import Info
from jaxlab.task import Batch

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Two scores of logits [b c] and targets int [b].

    'calibration_error': the expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    Rows are put by their confidence, the highest of their probabilities, into 15 bins of one width, of which the m-th
    is ((m - 1) / 15, m / 15]; the score is the mean over rows of |accuracy - mean confidence| of their bin.

    'brier': the mean over rows of the squared distance between the probabilities and what is true, summed over classes,
    between 0 and 2 (Brier 1950, "Verification of forecasts expressed in terms of probability").
    """

    better: ClassVar = {'calibration_error': 'lower', 'brier': 'lower'}

    def start(self) -> dict[str, jax.Array]:
        bins = {name: jnp.zeros(BINS) for name in ('count', 'hits', 'confidence')}
        return {**bins, 'brier': jnp.zeros(())}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        logits, targets, real = outputs['logits'], batch['targets'], batch['mask'] != 0
        probabilities = jax.nn.softmax(logits, axis=-1)
        confidence = jnp.max(probabilities, axis=-1)
        hits = jnp.argmax(logits, axis=-1) == targets
        edges = jnp.linspace(0, 1, BINS + 1)[1:-1]
        bins = (jnp.searchsorted(edges, confidence)[:, None] == jnp.arange(BINS)) & real[:, None]  # [b bins]
        wrong = probabilities - (targets[:, None] == jnp.arange(logits.shape[-1]))
        brier = jnp.where(real, jnp.sum(wrong**2, axis=-1), 0)
        return {
            'count': carry['count'] + jnp.sum(bins, axis=0),
            'hits': carry['hits'] + jnp.sum(bins & hits[:, None], axis=0),
            'confidence': carry['confidence'] + jnp.sum(jnp.where(bins, confidence[:, None], 0), axis=0),
            'brier': carry['brier'] + jnp.sum(brier),
        }

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        count = max(float(np.sum(carry['count'])), 1)
        gaps = np.abs(np.asarray(carry['hits'], np.float64) - carry['confidence'])
        return {'calibration_error': float(gaps.sum()) / count, 'brier': float(carry['brier']) / count}


def make(info: Info) -> Calibration:
    return Calibration()
