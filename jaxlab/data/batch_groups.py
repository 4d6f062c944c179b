"""Batches of small examples that lie in memory: several are made at once, for the price of little more than one."""

# k batches of a group, b rows of one

import threading
from collections.abc import Callable

from jaxlab.data.stream import Batch

SIZE = 1 << 20  # bytes of a group, about: it stays in the cache of a core
MOST = 32  # batches of one
KEPT = 4  # groups; threads work on neighbours


class BatchGroups:
    """n -> batch n, which is cut out of the group of batches that it lies in. The newest groups are kept.

    Args:
      read: (n, k) -> batches n … n + k - 1 in one, their rows one after another: arrays [k·b …]; called from several
        threads at once.
      count: k, of all groups.
    """

    def __init__(self, read: Callable[[int, int], Batch], count: int) -> None:
        self._read, self._count = read, count
        self._kept: list[tuple[int, list[Batch]]] = [(-1, [])] * KEPT
        self._locks = [threading.Lock() for _ in range(KEPT)]  # neighbours are made at the same time, each once

    def __call__(self, n: int) -> Batch:
        if self._count == 1:
            return self._read(n, 1)
        number, place = divmod(n, self._count)
        at = number % KEPT
        with self._locks[at]:
            if self._kept[at][0] != number:
                self._kept[at] = number, self._cut(self._read(number * self._count, self._count))
            return dict(self._kept[at][1][place])

    def _cut(self, group: Batch) -> list[Batch]:
        for x in group.values():
            x.setflags(write=False)  # what is given out stays as it is
        parts = {name: x.reshape(self._count, -1, *x.shape[1:]) for name, x in group.items()}
        return [{name: x[place] for name, x in parts.items()} for place in range(self._count)]


def batches_in_group(bytes_of_batch: int) -> int:
    """Returns how many batches of this size make a group."""
    return min(max(SIZE // max(bytes_of_batch, 1), 1), MOST)
