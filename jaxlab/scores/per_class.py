"""Precision, recall and F1 of each class: three numbers a class in every row of metrics.jsonl, so for few classes.

The verb `evaluate` writes them of any number of classes.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import jax

from jaxlab.scores import Info
from jaxlab.scores.classification import Counts


@dataclass(frozen=True)
class PerClass(Counts):
    """'precision_of_cat', 'recall_of_cat', 'f1_of_cat' and so on, by the names of the classes.

    Names of numbers have no spaces, and slashes for something else: both are '_' here. Where two names are then the
    same, or there are none, it is the number of the class.
    """

    labels: tuple[str, ...] = ()

    @cached_property
    def better(self) -> dict[str, str]:
        return {f'{name}_of_{label}': 'higher' for label in self._names for name in ('precision', 'recall', 'f1')}

    @cached_property
    def _names(self) -> list[str]:
        plain = ['_'.join(label.replace('/', ' ').split()) for label in self.labels[: self.classes]]
        plain += [''] * (self.classes - len(plain))
        often = Counter(plain)
        return [name if name and often[name] == 1 else str(number) for number, name in enumerate(plain)]

    def finish(self, carry: dict[str, jax.Array]) -> dict[str, float]:
        found = self.numbers(carry, None) if self.classes else {}
        return {
            f'{name}_of_{label}': float(found[name][number])
            for number, label in enumerate(self._names)
            for name in ('precision', 'recall', 'f1')
        }


def make(info: Info) -> PerClass:
    return PerClass(info.get('classes', 0), tuple(info.get('labels', ())))
