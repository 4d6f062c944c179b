"""F1 as a single number: of two classes that of the second ("yes", 1), of more the mean of all."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from jaxlab.scores import Info
from jaxlab.scores.classification import Counts


@dataclass(frozen=True)
class F1(Counts):
    """'f1': the harmonic mean of precision and recall, as GLUE counts MRPC and QQP; see `Counts.numbers`."""

    better: ClassVar = {'f1': 'higher'}

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        found = self.numbers(carry, None)['f1']
        return {'f1': float(found[1] if self.classes == 2 else found.mean() if self.classes else 0.0)}


def make(info: Info) -> F1:
    return F1(info.get('classes', 0))
