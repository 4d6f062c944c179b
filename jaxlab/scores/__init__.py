"""Scores: how good a model is on a split of the data. One file each, with `make(info) -> Score | RowScore`; a config
lists them by name in `evaluate.scores`.

A score that is a sum is added batch by batch on the device, and finished on the host. A score that is none, such as the
area under a curve, for which rows must be sorted, takes from each row some small arrays, and is found on the host from
those of all rows. Where what is right is no array but a text, the split says how good they are: such a score is
`judged`.

Where nothing counts, a mean is 0. What is not defined on a split, as the area under a curve where all rows are of one
class, is NaN, which is never the best.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from jaxlab.task import Batch

Info = Mapping[str, Any]  # what models and tasks are told about the data; see `jaxlab.data.stream.Data`


class Score(Protocol):
    """Sums over a split: order and batch boundaries do not matter."""

    @property
    def better(self) -> Mapping[str, str]:
        """Of each name that `finish` returns: whether 'higher' or 'lower' is better, if one can say."""

    def start(self) -> Any:
        """Returns the empty sums, a pytree of arrays."""

    def add(self, carry: Any, outputs: Mapping[str, jax.Array], batch: Batch) -> Any:
        """Returns the sums with one batch more. Pure; `outputs` are what the task's `predict` returns."""

    def finish(self, carry: Any) -> dict[str, float]:
        """Returns the scores by name, on the host."""


class RowScore(Protocol):
    """What is found from all rows of a split at once."""

    @property
    def better(self) -> Mapping[str, str]:
        """As that of a `Score`."""

    def rows(self, outputs: Mapping[str, jax.Array], batch: Batch) -> Mapping[str, jax.Array]:
        """Returns what to keep of each row, by name: small arrays [b …]. Pure, and on the device.

        All of it is kept in the memory of the host until the split is read: 4 bytes × classes × rows of probabilities.
        """

    def finish(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Returns the scores by name, on the host.

        Args:
          rows: what was kept of the rows that count (mask is not 0), arrays [n …] in the order of the split; and
            'number', int64 [n]: the number of each within the split, where all rows are numbered from 0 on. {} where
            there was no batch.
        """
