"""A watchdog: a run that hangs ends by itself, and says where it hung, so that whoever started it can start it again.

A lost network, a reader on a dead disk, a device that never answers, a process that waits for one that is gone: none
of them raises anything. What shows them is a turn of the loop that takes many times as long as turns do.
"""

import faulthandler
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxlab.messages import say

EXIT = 75  # EX_TEMPFAIL of sysexits.h: whoever is told so tries again
KNOWN = 10  # turns before it is known how long they take
MEMORY = 100  # turns that the median is taken of
TICK = 0.5  # seconds between two looks


class Watchdog:
    """Ends the process when a turn of the loop takes too long.

    with Watchdog(5.0, 60.0, workdir / 'hang.txt') as watchdog:
        for n in …:
            watchdog.turn(n)             a turn begins
            with watchdog.resting(): …   what may take as long as it likes

    The time that the whole process is stopped for, by a debugger or a laptop that sleeps, does not count.

    Args:
      times: how many times the median turn one may take; 0: nothing is watched.
      least: seconds that any turn may take.
      file: gets the stacks of all threads, as the screen does.
    """

    def __init__(self, times: float, least: float, file: Path) -> None:
        self._times, self._least, self._file = times, least, file
        self._turns: deque[float] = deque(maxlen=MEMORY)  # seconds of each
        self._number, self._since, self._rests = 0, 0.0, 0.0
        self._running = self._resting = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='watchdog', daemon=True)

    def turn(self, number: int) -> None:
        """Says that turn `number` begins, and the one before is over."""
        now = time.monotonic()
        if self._running:
            self._turns.append(now - self._since - self._rests)
        self._number, self._since, self._rests, self._running = number, now, 0.0, True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """A context whose time is not the turn's."""
        began = time.monotonic()
        self._resting = True
        try:
            yield
        finally:
            self._resting = False
            self._rests += time.monotonic() - began

    def __enter__(self) -> 'Watchdog':
        if self._times:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._running = False
        self._over.set()

    def _watch(self) -> None:
        waited, of, before = 0.0, self._since, time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            ran, before = min(now - before, 2 * TICK), now  # more than that: this thread was stopped as well
            if of != self._since:
                waited, of = 0.0, self._since
            if not self._running or self._resting or len(self._turns) < KNOWN:
                continue
            waited += ran
            usual = statistics.median(tuple(self._turns))
            if waited > max(self._least, self._times * usual):
                return self._end(waited, usual)

    def _end(self, waited: float, usual: float) -> None:
        told = say(
            'step {step} has taken {waited:,.0f} s, where a step takes {usual:.3g} s: this run hangs, and ends. The'
            ' same command goes on from the newest checkpoint. What each thread does: {file}',
            step=self._number,
            waited=waited,
            usual=usual,
            file=self._file,
        )
        with suppress(OSError), self._file.open('w', encoding='utf-8') as file:
            print(told, file=file, flush=True)
            faulthandler.dump_traceback(file)
        with suppress(OSError, ValueError):
            faulthandler.dump_traceback(2)
            print(f'jaxlab: {told}', file=sys.__stderr__, flush=True)
        os._exit(EXIT)  # what hangs would hold up any other way out
