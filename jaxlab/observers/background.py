"""An observer that works on a thread of its own, so that nothing it does or suffers reaches the run.

For observers that a run can do without, whose disk or network may be slow, full or gone. metrics.jsonl is not one.
"""

import atexit
import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from jaxlab.messages import say
from jaxlab.observers import Observer, Run, Sample
from jaxlab.trust.secrets import hidden

ROWS = 1000  # that may wait; a row is a few hundred bytes
PATIENCE = 10.0  # seconds that the process waits at its very end for rows still on their way


class Background:
    """Hands rows and samples to an observer by way of a queue, from which a daemon thread takes them.

    Whoever trains never waits: a row that finds the queue full is dropped. After the observer's first failure nothing
    more is handed to it. Either is said once, in one line.

    Args:
      name: of the observer, for that line.
      observer: who is told; only the thread ever calls it.
      rows: how many may wait in the queue.
    """

    def __init__(self, name: str, observer: Observer, rows: int = ROWS) -> None:
        self._name, self._observer = name, observer
        self._waiting: queue.Queue[Callable[[], Any]] = queue.Queue(rows)
        self._has_failed = self._has_dropped = self._has_ended = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self, run: Run) -> None:
        self._hand(lambda: self._observer.start(run))
        self._thread.start()

    def row(self, step: int, row: Mapping[str, float]) -> None:
        row = dict(row)
        self._hand(lambda: self._observer.row(step, row))

    def sample(self, step: int, sample: Sample) -> None:
        self._hand(lambda: self._observer.sample(step, sample))

    def back(self, step: int) -> None:
        self._hand(lambda: self._observer.back(step))

    def end(self, step: int) -> None:
        """Lets what waits be finished while the process ends; a hung observer is left behind after PATIENCE."""
        self._last_step, self._has_ended = step, True
        with contextlib.suppress(queue.Full):  # wakes the thread, which is awake where the queue is full
            self._waiting.put_nowait(lambda: None)
        atexit.register(self._thread.join, PATIENCE)

    def _hand(self, work: Callable[[], Any]) -> None:
        if self._has_failed:
            return
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            if not self._has_dropped:
                self._has_dropped = True
                _warn(say('{name} is too slow: rows are left out there. metrics.jsonl has them all.', name=self._name))

    def _work(self) -> None:
        try:
            while not (self._has_ended and self._waiting.empty()):
                self._waiting.get()()
            self._observer.end(self._last_step)
        except BaseException as error:  # SystemExit as well: whatever it is, it is not the run's
            self._has_failed = True
            reason = f'{type(error).__name__}: {error}'.splitlines()[0]
            _warn(say('{name} failed ({reason}); the run goes on without it.', name=self._name, reason=reason))


def _warn(sentence: str) -> None:
    print(f'jaxlab: {hidden(sentence)}', file=sys.stderr, flush=True)
