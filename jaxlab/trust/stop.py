"""Stopping when asked: Ctrl-C or a scheduler's SIGTERM ends a run wherever it is, with everything saved.

A handler only takes note. The loop asks `stop.asked()` wherever a run can end well: when its step is compiled, after
each call of it, between two batches of an evaluation; and what it waits for, it waits for through `stop.waits`.

One process hears the signal by itself. Several must end at the same step, or what they save together would be of two:
JAX's preemption service, told by whichever process the signal reached, makes them agree on a step that none of them
has passed. It listens to SIGTERM on its own, so there Ctrl-C becomes one; a second signal is left to the launcher.
"""

import os
import queue
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, TypeVar

import jax

from jaxlab.messages import say

Item = TypeVar('Item')

GLANCE = 0.1  # seconds between two looks at whether a run that waits was asked to end


class Stop:
    """A context in which the first SIGINT or SIGTERM is noted, and a second one ends the process at once.

    Outside the main thread (a notebook's worker, say) Python allows no handlers, and no signal is heard.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._asked = 0  # times, of several processes
        self._several = jax.process_count() > 1
        self._before: dict[int, Any] = {}

    def asked(self) -> int:
        """Returns the number of the signal that asks the run to end, or 0; once it is not 0, it stays.

        Several processes ask the same number of times, and get the same answers.
        """
        if self._several and not self._heard:
            from jax.experimental import multihost_utils

            self._asked += 1
            if multihost_utils.reached_preemption_sync_point(self._asked):
                self._heard = signal.SIGTERM
        return self._heard

    def waits(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items, which another thread takes ahead by one; ends early where the run is asked to end.

        An item that never comes holds nothing up: the thread that waits for it is left behind. What it raises is raised
        here. (Several processes cannot end while one of them waits: the others are in the next step already.)
        """
        ready: queue.Queue[tuple[str, Any]] = queue.Queue(1)
        over = threading.Event()

        def put(what: str, value: Any) -> bool:
            while not over.is_set():
                with suppress(queue.Full):
                    ready.put((what, value), timeout=GLANCE)
                    return True
            return False

        def take() -> None:
            taken = iter(items)
            try:
                for item in taken:
                    if not put('item', item):
                        break
                else:
                    put('end', None)
            except BaseException as error:  # SystemExit as well: it is the reader's end, not this thread's
                put('error', error)
            finally:
                if close := getattr(taken, 'close', None):
                    close()

        thread = threading.Thread(target=take, name='batches', daemon=True)
        thread.start()
        try:
            while True:
                try:
                    what, value = ready.get(timeout=GLANCE)
                except queue.Empty:
                    if self._heard:
                        return
                    continue
                if what == 'item':
                    yield value
                elif what == 'end':
                    return
                else:
                    raise value
        finally:
            over.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        with suppress(RuntimeError, OSError):  # it came in the middle of another print, or nobody reads
            print('\n' + say('{name}: saving, then ending; once more ends at once', name=name), flush=True)
        if self._several:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._heard = number
        for other in self._before:
            signal.signal(other, signal.SIG_DFL)  # the system's own, which waits for nothing

    def __enter__(self) -> 'Stop':
        if threading.current_thread() is threading.main_thread():
            for number in [signal.SIGINT] if self._several else [signal.SIGINT, signal.SIGTERM]:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
