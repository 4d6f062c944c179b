"""Length buckets: rows of about one length stand in one batch, and are padded to that alone: less is computed.

Which rows these are is a plan made of lengths and a seed: an endless sequence of rows, which is shuffled already, is
cut into pools of some batches; the rows of a pool are sorted by their bucket and cut into batches, whose order is
drawn. So batch n is a function of (seed, n), a pool holds the rows that it would hold without buckets, and a batch has
one of few shapes, each of which compiles once.
"""

# b rows of a global batch, p batches of a pool

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from jaxlab.data.stream import Batch
from jaxlab.errors import UserError

ORDER = 2  # what a seed chooses beside the order of examples; it keeps their draws apart
POOL = 64  # batches


@dataclass(frozen=True)
class Plan:
    """Which rows each batch has, and how long it is.

    Attributes:
      edges: lengths of the buckets, the largest last: that of a row.
      length_of: rows, int64 [n], numbers in the endless sequence -> how long each is, int [n].
      batch_size: b.
      seed: draws the order of batches.
      batches: how many there are; 0: no end.
      pool: p.
    """

    edges: tuple[int, ...]
    length_of: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    seed: int
    batches: int = 0
    pool: int = field(default_factory=lambda: POOL)

    def rows(self, n: int) -> np.ndarray:
        """Returns the rows of global batch n, int64 [b]."""
        pool, place = divmod(n, self.pool)
        return self._pools(pool)[0][place]

    def width(self, n: int) -> int:
        """Returns how long the rows of global batch n are: the smallest bucket that holds them all."""
        pool, place = divmod(n, self.pool)
        return self.edges[int(self._pools(pool)[1][place])]

    @cached_property
    def _pools(self) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        return lru_cache(maxsize=4)(self._planned)  # threads work at the end of one pool and the beginning of the next

    def _planned(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of each batch of a pool, int64 [p b], and the number of its bucket, int64 [p]."""
        count = min(self.pool, self.batches - pool * self.pool) if self.batches else self.pool
        row = pool * self.pool * self.batch_size + np.arange(count * self.batch_size)
        bucket = np.searchsorted(self.edges, self.length_of(row))
        order = np.argsort(bucket, kind='stable')
        draw = np.random.default_rng(np.random.SeedSequence([self.seed, pool], spawn_key=(ORDER,)))
        drawn = draw.permutation(count)
        shape = count, self.batch_size
        return row[order].reshape(shape)[drawn], bucket[order].reshape(shape).max(1)[drawn]

    def cut(self, batch: Batch, width: int) -> Batch:
        """Returns a batch whose rows are as long as the largest bucket, cut to `width`."""
        whole = self.edges[-1]
        return {
            name: array[:, :width] if array.ndim > 1 and array.shape[1] == whole else array
            for name, array in batch.items()
        }

    def shapes(self, batch: Batch) -> tuple[Batch, ...]:
        """Returns a batch of each shape that there may be, the longest first, of one that is not cut."""
        return tuple(self.cut(batch, width) for width in reversed(self.edges))


def planned(
    edges: tuple[int, ...], reader: Any, chosen: Callable[[np.ndarray], np.ndarray], batch_size: int, seed: int = 0
) -> Callable[[int], Plan | None]:
    """Returns batches (0: no end) -> the plan by which a reader's rows are put together; None where there are no edges.

    Args:
      edges: lengths of the buckets.
      reader: has `lengths()`, int [all], where there are edges.
      chosen: rows, int64 [n], numbers in the endless sequence -> the reader's.
      batch_size: rows of a global batch.
      seed: draws the order of batches.
    """
    if not edges:
        return lambda batches: None
    lengths = reader.lengths()
    return lambda batches: Plan(edges, lambda row: lengths[chosen(row)], batch_size, seed, batches)


def edges(buckets: tuple, length: int) -> tuple[int, ...]:
    """Returns the lengths of all buckets, which are those of a config and the whole row; () where there are none.

    Raises:
      UserError: they are no growing whole numbers below `length`.
    """
    if not buckets:
        return ()
    found = (*buckets, length)
    if not all(type(one) is int and one > 0 for one in found) or list(found) != sorted(set(found)):
        raise UserError(
            'buckets={buckets}: growing whole numbers below length={length} are wanted, such as (32, 64); () for none.',
            buckets=buckets,
            length=length,
        )
    return found
