"""Stopping when asked: Ctrl-C or a scheduler's SIGTERM ends the loop after its current step, with everything saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from jaxlab.messages import say


class Stop:
    """A context in which the first SIGINT or SIGTERM only sets `signal`, and a second one ends the process as usual.

    The training loop asks `if stop.signal:` where stopping is safe. Outside the main thread (a notebook's worker, say)
    Python allows no handlers, and the context does nothing.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        name = signal.Signals(number).name
        print('\n' + say('{name}: ending after this step; once more ends at once', name=name), flush=True)
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __enter__(self) -> 'Stop':
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
