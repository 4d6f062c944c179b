"""Scores: how good a model is, as sums that are added batch by batch on the device and finished on the host.

One file each, with `make() -> Score`; a config lists them by name in `evaluate.scores`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from jaxlab.task import Batch


class Score(Protocol):
    """Sums over a split: order and batch boundaries do not matter."""

    better: Mapping[str, str]  # of each name that `finish` returns: whether 'higher' or 'lower' is better

    def start(self) -> Any:
        """Returns the empty sums, a pytree of arrays."""

    def add(self, carry: Any, outputs: Mapping[str, jax.Array], batch: Batch) -> Any:
        """Returns the sums with one batch more. Pure; `outputs` are what the task's `predict` returns."""

    def finish(self, carry: Any) -> dict[str, float]:
        """Returns the scores by name, on the host."""
