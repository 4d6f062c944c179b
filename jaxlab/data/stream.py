"""What every data set is to the rest of the house, and the threads that work ahead of the training loop."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """A part of the data that is only looked at, once from end to end.

    Attributes:
      batches: how many batches hold all of it.
      batch: n in 0..batches-1 -> this process's rows of global batch n; rows that pad the last batch have mask 0.
      tokens: how many targets count, over all batches and all processes.
      bytes: how many bytes of the files those targets stand for.
      documents: how many documents it consists of.
    """

    batches: int
    batch: Callable[[int], Batch]
    tokens: int
    bytes: int
    documents: int


@dataclass(frozen=True)
class Data:
    """A data set, ready to train on.

    Attributes:
      batch: n -> this process's rows of global batch n: a pure function of (seed, n), for every n >= 0.
      splits: the parts to evaluate on, by name.
      info: what models and tasks are told about the data (vocabulary, length, classes, …): plain JSON values.
      processor: raw <-> model; it is saved with the experiment.
      fingerprint: sha256 of everything a batch is made from, in hexadecimal digits.
      summary: one line for the screen.
      batches_per_epoch: how many batches go once through the training part.
    """

    batch: Callable[[int], Batch]
    splits: Mapping[str, Split]
    info: Mapping[str, Any]
    processor: Any
    fingerprint: str
    summary: str
    batches_per_epoch: float


def whole(data: Data, rows: slice, count: int) -> Data:
    """Returns data whose every batch is all of the training part, the same rows each time.

    Args:
      data: with batches of `count` rows or some more.
      rows: which rows of a global batch this process makes.
      count: rows of the training part. What a batch has beyond them does not count (mask 0): devices want rows that
        they divide.
    """
    batch = data.batch(0)
    first = rows.start or 0
    real = first + np.arange(len(batch['mask'])) < count
    batch['mask'] = np.where(real.reshape(-1, *[1] * (batch['mask'].ndim - 1)), batch['mask'], 0).astype(np.float32)
    return replace(data, batch=lambda n: batch, batches_per_epoch=1.0)


def prefetch(
    batch: Callable[[int], Batch], start: int, count: int, *, threads: int = 2, ahead: int = 4
) -> Iterator[Batch]:
    """Yields the `count` batches batch(start), batch(start + 1), … in order, built ahead of time by Grain's threads.

    Because a batch is a function of its number there is no state to save: whoever resumes begins at another `start`.
    What a thread raises is raised here, in the place of the batch that could not be built. Closing the iterator (or
    dropping it) ends the threads.

    Args:
      batch: builds batch n; called from several threads at once.
      start: number of the first batch.
      count: how many batches.
      threads: how many threads build batches.
      ahead: how many batches wait finished; at least `threads`.
    """
    import grain  # here and not above: it takes a second or two, and a first step without prefetching needs none of it

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    batches = iter(grain.MapDataset.range(start, start + count).map(batch).to_iter_dataset(options))
    try:
        yield from batches
    finally:
        batches.close()
