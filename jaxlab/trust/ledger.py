"""Where the time goes: each moment of a run belongs to one kind of work, so all kinds add up to the wall clock."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar('Item')


class Ledger:
    """Counts the seconds of each kind of work. At any time there is one kind; it begins with 'start'.

    ledger.turn('train')                     from here on
    with ledger.of('evaluate'): …            meanwhile; what was before goes on afterwards
    evaluate = ledger.of('evaluate')(f)      whenever f is called
    for batch in ledger.waits('data', …):    whenever the loop waits for the next one

    It belongs to the thread of the training loop: what other threads do meanwhile costs the run nothing.
    """

    def __init__(self, kind: str = 'start') -> None:
        self._kind, self._since = kind, time.perf_counter()
        self._seconds: dict[str, float] = {kind: 0.0}

    def turn(self, kind: str) -> str:
        """Ends the kind of work that was, and begins `kind`; returns what was."""
        now = time.perf_counter()
        before = self._kind
        self._seconds[before] += now - self._since
        self._kind, self._since = kind, now
        self._seconds.setdefault(kind, 0.0)
        return before

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """A context, or a decorator, whose time is of this kind."""
        before = self.turn(kind)
        try:
            yield
        finally:
            self.turn(before)

    def waits(self, kind: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items; the time until each of them comes is of this kind."""
        waiting = iter(items)
        while True:
            with self.of(kind):
                try:
                    item = next(waiting)
                except StopIteration:
                    return
            yield item

    def seconds(self) -> dict[str, float]:
        """Returns {'start': 3.1, …} up to now, in the order in which each kind came first; they add up to the clock."""
        self.turn(self._kind)
        return dict(self._seconds)
