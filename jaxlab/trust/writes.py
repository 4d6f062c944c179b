"""Writes that fail: a disk that is full, read-only or broken, a store that is out of reach.

What a run can do without is a warning. What it cannot do without waits in memory, and is tried again after longer and
longer pauses, until it has failed too often. Printing is what it can do without most easily.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from jaxlab.errors import UserError
from jaxlab.messages import say

ATTEMPTS = 8  # failures in a row after which a run ends: about four minutes
FIRST = 2.0  # seconds from the first failure to the second attempt; each pause is twice the one before


class Patience:
    """Counts failures in a row of what a run cannot do without, and says when the next attempt is due.

    Args:
      file: what is written, for the messages.
      clock: seconds, by the clock on the wall.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._failed, self._next = 0, 0.0

    @property
    def pause(self) -> float:
        """Seconds until an attempt is due; 0: now."""
        return max(0.0, self._next - self._clock()) if self._failed else 0.0

    def failed(self, error: OSError) -> None:
        """Notes a failure; warns of the first, the second, the fourth.

        Raises:
          UserError: it was the last one.
        """
        self._failed += 1
        self._next = self._clock() + FIRST * 2 ** (self._failed - 1)
        about = {'file': self._file, 'error': error.strerror or error}
        if self._failed >= ATTEMPTS:
            raise UserError(
                '{file} could not be written {count} times in a row ({error}).\nMake room or mend the disk; the same'
                ' command then goes on from the newest checkpoint.',
                count=self._failed,
                **about,
            ) from error
        if _is_told(self._failed):
            _tell(
                say(
                    'warning: {file} could not be written ({error}); training goes on, and its rows wait in memory',
                    **about,
                )
            )

    def worked(self) -> None:
        """Notes that all is written."""
        if self._failed:
            _tell(say('{file} is written again, and no row is missing', file=self._file))
        self._failed = 0


class Optional:
    """Writes that a run can do without: a failure is a warning (the first, the second, the fourth, … of them)."""

    def __init__(self) -> None:
        self._failed = 0

    @contextmanager
    def writing(self, what: Path) -> Iterator[None]:
        """A context in which `what` is written, and that swallows an OSError."""
        try:
            yield
        except OSError as error:
            self._failed += 1
            if _is_told(self._failed):
                about = {'file': what, 'error': error.strerror or error}
                _tell(say('warning: {file} could not be written ({error}); training goes on', **about))


class Tolerant:
    """A stream to print to that never raises an OSError: what it does not take is lost, and `other` says so, once."""

    def __init__(self, stream: TextIO, other: TextIO) -> None:
        self._stream, self._other, self._told = stream, other, False

    def write(self, text: str) -> int:
        with self._trying():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._trying():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _trying(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._told:
                self._told = True
                said = say('warning: nothing more can be printed ({error}); training goes on', error=error.strerror)
                with suppress(OSError):
                    print(f'jaxlab: {said}', file=self._other, flush=True)


@contextmanager
def printing() -> Iterator[None]:
    """A context in which a full disk, or a reader that has gone, ends nothing by being printed to."""
    streams = out, error = sys.stdout, sys.stderr
    with (
        redirect_stdout(cast(TextIO, Tolerant(out, error))),
        redirect_stderr(cast(TextIO, Tolerant(error, out))),
    ):
        yield
    for stream in streams:
        try:
            stream.flush()
        except OSError:  # or Python fails over what is left to print, at its exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _tell(text: str) -> None:
    with suppress(OSError):  # the screen may be a file on the same disk
        print(text, flush=True)


def _is_told(count: int) -> bool:
    return count & (count - 1) == 0
