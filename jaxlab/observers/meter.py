"""The meter: from the terms of a step to the row that observers see."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab.observers import Compiled
from jaxlab.step import mean_loss
from jaxlab.task import Terms


class Meter:
    """Reads the terms of steps, and measures the speed between two rows, without evaluation and samples."""

    def __init__(
        self,
        config: ConfigDict,
        info: Mapping[str, Any],
        start: int,
        compiled: Compiled,
        width: Callable[[int], int] | None = None,
    ) -> None:
        """Starts at step `start`, of which the clock does not know when it ended.

        Args:
          config, info: of the experiment, and what its data say of themselves.
          start: the step that it goes on from.
          compiled: what a step is.
          width: where batches differ in it: the number of a batch -> tokens of a row of it, padding included.
        """
        self._config, self._info, self._compiled, self._width = config, info, compiled, width
        self._step, self._time = start, math.nan  # nan: the first row's time is mostly compilation

    def start(self, n: int) -> None:
        """Starts the clock anew at step n, after something that is not training."""
        self._step, self._time = n, time.perf_counter()

    def row(self, n: int, terms: Terms, offset: int = 0) -> dict[str, float]:
        """Returns {'train/loss': …, …} of step n, whose batch is n - 1 + offset. It reads from the devices: call it
        when the next step is under way. Tokens are all places of a batch, padding included: what is computed."""
        row = of_terms(terms)
        now = time.perf_counter()
        seconds = (now - self._time) / max(n - self._step, 1)
        if seconds > 0:  # not nan
            row['train/examples_per_second'] = self._config.batch_size / seconds
            if 'length' in self._info:
                tokens = self._config.batch_size * self._mean_width(n, offset)
                row['train/tokens_per_second'] = tokens / seconds
            if flops := self._compiled.flops:
                row['train/flops_per_second'] = flops / seconds
                if self._compiled.peak:  # where it is not known, nothing is said
                    row['train/mfu'] = flops / seconds / self._compiled.peak
            row['train/seconds_left'] = seconds * (self._config.steps - n)
        self._step, self._time = n, now
        return row

    def _mean_width(self, n: int, offset: int) -> float:
        """Returns how many tokens a row of the batches since the row before had."""
        if not self._width:
            return self._info['length']
        widths = [self._width(batch + offset) for batch in range(self._step, n)]
        return sum(widths) / max(len(widths), 1)


def of_terms(terms: Terms) -> dict[str, float]:
    """Returns the part of a row that does not depend on time, but on the step alone: {'train/loss': …, …}."""
    terms = jax.tree.map(float, jax.device_get(dict(terms)))
    hidden = {'loss', 'skipped_in_a_row'} | ({'skipped'} if not terms['skipped'].total else set())
    row = {'train/loss': mean_loss(terms)}
    return row | {f'train/{name}': term.total / term.count for name, term in terms.items() if name not in hidden}
