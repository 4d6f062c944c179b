"""What every data set is to the rest of the house, and the threads that work ahead of the training loop."""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxlab.errors import UserError
from jaxlab.messages import say

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """A part of the data that is only looked at, once from end to end.

    Attributes:
      batches: how many batches hold all of it.
      batch: n in 0..batches-1 -> this process's rows of global batch n; rows that pad the last batch have mask 0.
      counts: how much it is, over all processes, such as {'documents': 12, 'bytes': 3456} or {'examples': 1000}.
      judge: what is kept of rows -> scores by name, where what is right is no array but, say, a text.
    """

    batches: int
    batch: Callable[[int], Batch]
    counts: Mapping[str, int]
    judge: Callable[[Mapping[str, np.ndarray]], dict[str, float]] = lambda rows: {}


@dataclass(frozen=True)
class Data:
    """A data set, ready to train on.

    Attributes:
      batch: n -> this process's rows of global batch n: a pure function of (seed, n), for every n >= 0.
      splits: the parts to evaluate on, by name: what is chosen may be chosen by them.
      tests: the parts that training never looks at; `evaluate --split=test` reads one, once all is chosen.
      info: what models and tasks are told about the data (vocabulary, length, classes, …): plain JSON values.
      processor: raw <-> model; it is saved with the experiment.
      fingerprint: sha256 of everything a batch is made from, in hexadecimal digits.
      summary: one line for the screen.
      batches_per_epoch: how many batches go once through the training part.
      skipped: n -> how many records of the batches before n could not be read, of those that this process read.
      shapes: where batches differ in shape, one of each, the largest first; else ().
      width: where they do: n -> how many tokens a row of global batch n has, padding included; else None.
    """

    batch: Callable[[int], Batch]
    splits: Mapping[str, Split]
    info: Mapping[str, Any]
    processor: Any
    fingerprint: str
    summary: str
    batches_per_epoch: float
    tests: Mapping[str, Split] = field(default_factory=dict)
    skipped: Callable[[int], int] = lambda n: 0
    shapes: tuple[Batch, ...] = ()
    width: Callable[[int], int] | None = None

    def largest(self) -> Batch:
        """Returns a batch of the largest shape that there is."""
        return self.shapes[0] if self.shapes else self.batch(0)

    def row(self, n: int) -> dict[str, float]:
        """Returns what there is to tell when the batches before n are trained on: {} or {'data/skipped': 3.0}."""
        skipped = self.skipped(n)
        return {'data/skipped': float(skipped)} if skipped else {}


def whole(data: Data, rows: slice, count: int) -> Data:
    """Returns data whose every batch is all of the training part, the same rows each time.

    Args:
      data: with batches of `count` rows or some more.
      rows: which rows of a global batch this process makes.
      count: rows of the training part. What a batch has beyond them does not count (mask 0): devices want rows that
        they divide.
    """
    batch = dict(data.batch(0))
    first = rows.start or 0
    real = first + np.arange(len(batch['mask'])) < count
    batch['mask'] = np.where(real.reshape(-1, *[1] * (batch['mask'].ndim - 1)), batch['mask'], 0).astype(np.float32)
    return replace(data, batch=lambda n: batch, batches_per_epoch=1.0, shapes=())


class ReaderError(RuntimeError):
    """A thread that builds batches failed; the cause is what it raised, with its own traceback."""


@dataclass(frozen=True)
class Failure:
    """What stands among the batches in the place of one that could not be built."""

    error: BaseException


def prefetch(
    batch: Callable[[int], Batch], start: int, count: int, *, threads: int = 2, ahead: int = 4
) -> Iterator[Batch]:
    """Yields the `count` batches batch(start), batch(start + 1), … in order, built ahead of time by Grain's threads.

    Because a batch is a function of its number there is no state to save: whoever resumes begins at another `start`.
    What a thread raises is raised here, in the place of the batch that could not be built, and never later than the
    loop asks for it. Where the loop is busy with earlier batches then, it is printed meanwhile. Closing the iterator
    (or dropping it) ends the threads.

    Args:
      batch: builds batch n; called from several threads at once.
      start: number of the first batch.
      count: how many batches.
      threads: how many threads build batches.
      ahead: how many batches wait finished; at least `threads`.

    Raises:
      UserError: as a thread raised it.
      ReaderError: from any other exception of a thread, which is its cause.
    """
    import grain  # here and not above: it takes a second or two, and a first step without prefetching needs none of it

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    wanted = None  # the batch that the loop waits for
    told = False

    def build(n: int) -> Batch | Failure:
        nonlocal told
        try:
            found = batch(n)
            if found is None:
                raise TypeError(f'batch {n} is None')  # Grain would leave it out
            return found
        except BaseException as error:  # of every kind: SystemExit would end this thread, StopIteration the stream
            if n != wanted and not told:
                told = True
                told_of = error if isinstance(error, UserError) else ''.join(traceback.format_exception(error))
                line = say(
                    'warning: batch {n} of this stream cannot be built; the run ends there: {error}', n=n, error=told_of
                )
                print(line, file=sys.stderr, flush=True)
            return Failure(error)

    batches = iter(grain.MapDataset.range(start, start + count).map(build).to_iter_dataset(options))
    try:
        for wanted in range(start, start + count):
            n, found = wanted, next(batches)
            wanted = None
            if isinstance(found, Failure):
                if isinstance(found.error, UserError):
                    raise found.error
                raise ReaderError(say('batch {n} of this stream could not be built', n=n)) from found.error
            yield found
    finally:
        batches.close()
