"""Rows in a file of one JSON object a line, none missing and none twice, whatever becomes of the disk or the process.

On a disk the file grows, row by row. In an object store nothing can grow: rows are spooled in memory, and uploaded in
pieces, metrics/00000001.jsonl, metrics/00000002.jsonl, …, of which the last is written anew until it is full. What
comes after the last upload ends with the process; so a checkpoint does not count before all rows up to it are there
(`Lines.flush`), and what is lost is made again.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxlab.messages import say
from jaxlab.trust import faults, place
from jaxlab.trust.writes import Patience

PIECE = 1 << 20  # bytes of a full piece
UPLOAD = 30.0  # seconds between two uploads

Position = tuple[int, bool]  # the last step that stands, and whether its evaluation does


class Lines:
    """Rows that are added in the order of their steps.

    Args:
      file: such as metrics.jsonl.
      clock, sleep: how time is told and spent between attempts.
    """

    def __init__(
        self,
        file: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._file, self._clock, self._sleep = file, clock, sleep
        self._there: Disk | Pieces = Disk(file) if place.can(file).append else Pieces(file)
        self._patience = Patience(file, clock)
        self._waiting: list[tuple[int, bytes]] = []  # rows that are not written yet
        self._back: Position | None = None  # what is written must be cut back to it, first of all
        self._step = 0
        self._uploaded = clock()
        self._writing = threading.RLock()  # the checkpoint's thread writes too

    def start(self, step: int, owed: bool = False) -> None:
        """Begins after `step`: what a killed run wrote of later steps goes, and half lines with it.

        Args:
          step: the last one that stands.
          owed: whether it is still to be evaluated; see `stands`.

        Raises:
          UserError: see `Patience`.
        """
        self._cut_back((step, not owed))

    def add(self, step: int, row: Mapping[str, float]) -> None:
        """Adds a row. Where it cannot be written it waits, and is tried again with later ones.

        Raises:
          UserError: it has failed too often.
        """
        data = f'{json.dumps({"step": step, **row})}\n'.encode()
        with self._writing:
            self._step = step
            self._waiting.append((step, data))
            now = place.can(self._file).append or self._clock() - self._uploaded >= UPLOAD
            if now and not self._patience.pause:
                self._try()

    def back(self, step: int) -> None:
        """What was added of steps after `step` did not happen."""
        self._cut_back((step, True))

    def _cut_back(self, last: Position) -> None:
        with self._writing:
            self._step = last[0]
            self._waiting = [(at, data) for at, data in self._waiting if at <= last[0]]
            self._back = last if self._back is None else min(self._back, last)
            self._try()

    def flush(self) -> None:
        """Writes all that waits; when this returns, it outlives the process, and a power cut.

        Raises:
          OSError: it cannot be written.
        """
        with self._writing:
            self._write()
        self._there.flush()  # it may take long, and nobody has to wait for it

    def end(self) -> None:
        """Writes all that waits, with all attempts there are, and closes the file."""
        with self._writing:
            while self._back is not None or self._waiting:
                self._sleep(self._patience.pause)
                self._try()
            self._there.close()

    def _try(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._patience.failed(error)
        else:
            self._patience.worked()

    def _write(self) -> None:
        faults.reach('log_flush', self._step)
        if self._back is not None:
            self._there.cut(self._back)
            self._back = None
        if self._waiting:
            self._there.append(b''.join(data for _, data in self._waiting))
            self._waiting = []
        self._uploaded = self._clock()


class Disk:
    """A file that grows. What a failed write left of a row is cut off before the next one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1
        self._end = 0  # bytes of whole lines

    def cut(self, last: Position) -> None:
        """Cuts the file back to the rows up to `last`. A crash on the way leaves the old file or the new one."""
        self.close()
        old = read(self._file)
        new = kept(old, last, self._file)
        if old != new:
            faults.reach('log_cut', last[0])
            if old.startswith(new):
                os.truncate(self._file, len(new))  # wants no room on a disk that is full
                place.flush(self._file)
            else:
                place.write(self._file, new)
        self._end = len(new)

    def append(self, data: bytes) -> None:
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                if os.fstat(self._descriptor).st_size > self._end:
                    os.ftruncate(self._descriptor, self._end)
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            self.close()  # opened anew, it is cut back first
            raise
        self._end += len(data)

    def flush(self) -> None:
        if self._end:
            place.flush(self._file)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Pieces:
    """Objects of a store, each written whole: <name>/00000001.jsonl, …; only the last one changes."""

    def __init__(self, file: Path) -> None:
        self._file, self._folder = file, folder_of(file)
        self._number, self._last = 1, b''

    def cut(self, last: Position) -> None:
        """Cuts back to the rows up to `last`, from the end: a crash on the way leaves a beginning of the old rows."""
        old = pieces(self._folder)
        new = kept(b''.join(piece.read_bytes() for piece in old), last, self._file)
        parts = list(split(new))
        for piece in reversed(old[len(parts) :]):
            place.remove(piece)
        for number, part in reversed([*enumerate(parts, 1)]):
            if number > len(old) or old[number - 1].read_bytes() != part:
                place.write(self._piece(number), part)
        self._number, self._last = max(len(parts), 1), parts[-1] if parts else b''

    def append(self, data: bytes) -> None:
        for number, part in enumerate(split(self._last + data), self._number):
            place.write(self._piece(number), part)
            self._number, self._last = number, part

    def flush(self) -> None:
        pass  # what a store has taken, it has

    def close(self) -> None:
        pass

    def _piece(self, number: int) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f'{number:08}.jsonl'


# --- reading ---------------------------------------------------------------------------------------------------------


def folder_of(file: Path) -> Path:
    """Returns the folder of the pieces of a file."""
    return file.with_suffix('')


def pieces(folder: Path) -> list[Path]:
    return [entry for entry in place.entries(folder) if entry.stem.isdecimal() and entry.suffix == '.jsonl']


def split(data: bytes) -> Iterator[bytes]:
    """Yields pieces of whole lines; each is full, once one more line would be too much."""
    start = end = 0
    for found in data.splitlines(keepends=True):
        if end > start and end + len(found) - start > PIECE:
            yield data[start:end]
            start = end
        end += len(found)
    if end > start:
        yield data[start:end]


def read(file: Path) -> bytes:
    """Returns all that was written, in one piece or many; b'' where nothing was.

    Raises:
      OSError: it cannot be read.
    """
    try:
        if place.can(file).append:
            return file.read_bytes()
        return b''.join(piece.read_bytes() for piece in pieces(folder_of(file)))
    except FileNotFoundError:
        return b''


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file, and passes over what is none."""
    for line in read(file).split(b'\n'):
        if (row := parsed(line)) is not None:
            yield row


def parsed(line: bytes) -> dict[str, Any] | None:
    """Returns the row that a line holds; None: it holds none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get('step')) is int else None


def kept(data: bytes, last: Position, file: Path) -> bytes:
    """Returns the lines of the rows up to `last`, in the order of steps; of two of one step and kind, the later.

    Half of a last line, which a killed process leaves, goes without a word. Other lines that are no rows (a power cut
    leaves zeros, a bad disk anything) are a warning.
    """
    *whole, _ = data.split(b'\n')
    found: dict[tuple[int, frozenset[str]], bytes] = {}
    damaged = []
    for number, line in enumerate(whole, 1):
        line = line.strip(b'\0')
        if (row := parsed(line)) is None:
            damaged.append(number)
        elif stands(row['step'], row, last):
            found[row['step'], kind(row)] = line
    if damaged:
        told = say(
            'warning: {file}: {count} lines could not be read and are left out, the first of them line {number}',
            file=file,
            count=len(damaged),
            number=damaged[0],
        )
        print(told, flush=True)
    return b''.join(line + b'\n' for _, line in sorted(found.items(), key=lambda item: item[0][0]))


def stands(step: int, names: Iterable[str], last: Position) -> bool:
    """Whether what was told of `step`, under such names, stands where training goes on after `last`.

    A run that was asked to end while it evaluated a step is saved at it, and owes the evaluation. What a start that was
    killed meanwhile has told of it is told once more.
    """
    return step < last[0] or (step == last[0] and (last[1] or not kind(names) & {'eval', 'sample'}))


def kind(names: Iterable[str]) -> frozenset[str]:
    """Returns what a row tells of: {'train'} or {'eval'}."""
    return frozenset(name.partition('/')[0] for name in names if name != 'step')
