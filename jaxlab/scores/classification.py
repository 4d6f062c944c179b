"""Precision, recall and F1 of all classes together: the macro, micro and weighted means.

A class's numbers are made of three counts: how many rows are of it, of how many the model says so, and of how many both
is true. These are summed on the device: 3 × classes integers, where the confusion matrix they are the margins of would
be classes × classes (1.9 GB for 21,841 classes).
"""

# b batch, c classes

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.scores import Info
from jaxlab.task import Batch

AVERAGES = ('macro', 'micro', 'weighted')


@dataclass(frozen=True)
class Counts:
    """Sums of how often classes are there, are said to be, and both, int32 [c] each; of rows, or of their words."""

    classes: int

    def start(self) -> dict[str, jax.Array]:
        return {name: jnp.zeros(self.classes, jnp.int32) for name in ('there', 'said', 'both')}

    def add(self, carry: dict[str, jax.Array], outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        targets, guesses = batch['targets'].reshape(-1), jnp.argmax(outputs['logits'], axis=-1).reshape(-1)
        real = batch['mask'].reshape(-1) != 0

        def count(numbers: jax.Array, which: jax.Array) -> jax.Array:
            return jnp.sum((numbers[:, None] == jnp.arange(self.classes)) & which[:, None], axis=0, dtype=jnp.int32)

        return {
            'there': carry['there'] + count(targets, real),
            'said': carry['said'] + count(guesses, real),
            'both': carry['both'] + count(targets, real & (targets == guesses)),
        }

    def numbers(self, carry: Mapping[str, jax.Array], average: str | None) -> Mapping[str, np.ndarray]:
        """Returns precision, recall and F1 as scikit-learn has them: means, or arrays [c] where `average` is None.

        What would be 0 / 0 is 0: the precision of a class that the model never says, and the recall of one that is not
        there. A macro mean is over all classes that the data know, be they in this split or not.
        """
        from sklearn.metrics import precision_recall_fscore_support

        if not np.any(carry['there']):  # which scikit-learn refuses
            return dict.fromkeys(('precision', 'recall', 'f1'), np.zeros(() if average else self.classes))
        # Weighted pairs with the same three counts: what is no hit meets a class of number -1, which is not asked for.
        own, other = np.arange(self.classes), np.full(self.classes, -1)
        there, said, both = (np.asarray(carry[name], np.float64) for name in ('there', 'said', 'both'))
        precision, recall, f1, _ = precision_recall_fscore_support(
            np.concatenate([own, own, other]),
            np.concatenate([own, other, own]),
            labels=own,
            average=average,
            sample_weight=np.concatenate([both, there - both, said - both]),
            zero_division=0.0,
        )
        return {'precision': precision, 'recall': recall, 'f1': f1}


@dataclass(frozen=True)
class Classification(Counts):
    """'precision_macro', 'f1_weighted' and so on: of each of three numbers three means."""

    @cached_property
    def better(self) -> dict[str, str]:
        return {f'{name}_{average}': 'higher' for average in AVERAGES for name in ('precision', 'recall', 'f1')}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        return {
            f'{name}_{average}': float(value)
            for average in AVERAGES
            for name, value in self.numbers(carry, average).items()
        }


def make(info: Info) -> Classification:
    return Classification(info.get('classes', 0))
