"""The Matthews correlation between what is and what the model says: 1 at best, 0 for a guess."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np

from jaxlab.scores import Info
from jaxlab.scores.classification import Counts


@dataclass(frozen=True)
class Matthews(Counts):
    """'matthews', of any number of classes (Matthews 1975, Gorodkin 2004), as GLUE counts CoLA.

    It is the correlation of two rows of indicators, and made of the margins of the confusion matrix alone. Where one of
    them never changes it is 0, as in scikit-learn.
    """

    better: ClassVar = {'matthews': 'higher'}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        there, said, both = (np.asarray(carry[name]).tolist() for name in ('there', 'said', 'both'))  # exact: Python's
        rows, right = sum(there), sum(both)
        together = right * rows - sum(a * b for a, b in zip(there, said))
        spread = (rows**2 - sum(a * a for a in there)) * (rows**2 - sum(a * a for a in said))
        return {'matthews': together / math.sqrt(spread) if spread else 0.0}


def make(info: Info) -> Matthews:
    return Matthews(info.get('classes', 0))
