"""The lock of a workdir: two runs never write into one.

    .lock/7.json     run number 7 is at work: host, process, since when; its time is renewed every ten seconds
    .lock/7.free     run number 7 has ended

Numbers only grow, and each is made by one process alone (see `place.create`); the highest one holds. So of several
that start at the same instant, or find the same dead run, one is first, and the others see it. Who has made a number
looks once more: somebody who was held up in between may have made a lower one than there is by then, and starts over.

A run that was killed leaves its number. It is passed at once where its process is known to be gone: on this machine
(told by the id of the kernel's start, since containers change their host's name), in this space of process numbers, by
number and time of birth; in another container of this machine by the kernel's own lock on the file, which ends with
the process. Of a run on another machine only the sign of life is known: silent for a minute, by the clock of the file
system itself, it is taken for dead. A run that was held up for longer than that finds itself replaced, and ends.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust import faults, place

BEAT = 10.0  # seconds between two signs of life
SEEN = 90.0  # seconds that a shared disk may take to show to all what one has written
SILENT = 60.0  # seconds after which a run on another machine is taken for dead
LOOK = 2.0  # seconds between two looks for a sign of life


@contextmanager
def alone(workdir: Path) -> Iterator['Lock']:
    """A context in which this run alone writes into the workdir. Of several processes the first takes the lock, and
    all agree on what came of it.

    Raises:
      UserError: another run is at work there, or the workdir cannot be written, or the processes have not the same one.
    """
    lock, refused = Lock(workdir), None
    if jax.process_index() == 0:
        try:
            lock.take()
        except UserError as error:
            refused = error
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        taken = int(multihost_utils.broadcast_one_to_all(np.int32(lock.number)))
        if refused is None and not taken:
            refused = UserError('--workdir={workdir}: process 0 cannot have it, and says why.', workdir=workdir)
        elif refused is None and not lock.is_seen(taken):
            refused = UserError(
                '--workdir={workdir} is another folder on {host} than for process 0. Several machines want one that'
                ' they share: on a network disk, or in a store (gs://…).',
                workdir=workdir,
                host=socket.gethostname(),
            )
    if refused:
        raise refused
    try:
        yield lock
    finally:
        lock.release()


class Lock:
    """The lock of one workdir; see above. `sleep` is how it waits between two looks for a sign of life."""

    def __init__(self, workdir: Path, sleep: Callable[[float], object] = time.sleep) -> None:
        self._workdir, self._folder, self._sleep = workdir, workdir / '.lock', sleep
        self._file: Path | None = None
        self._number = 0
        self._kernel = -1  # descriptor of the file, which the kernel's own lock is on
        self._by: Mapping[str, Any] | None = None  # the run that has taken over
        self._over = threading.Event()

    @property
    def number(self) -> int:
        """The number of this run; 0: it has none."""
        return self._number

    def is_seen(self, number: int) -> bool:
        """Whether the lock of that number is in the workdir as this process sees it; it is waited for."""
        for _ in range(int(SEEN / LOOK)):
            if newest(self._folder)[0] >= number:
                return True
            self._sleep(LOOK)
        return False

    def take(self) -> None:
        """Takes the lock.

        Raises:
          UserError: another run has it, or the workdir cannot be written.
        """
        try:
            faults.reach('lock')
            self._folder.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._try()
            for entry in place.entries(self._folder):
                if 0 < number(entry) < self._number:
                    place.remove(entry)
        except OSError as error:
            why = error.strerror or error
            raise UserError('--workdir={workdir}: {error}.', workdir=self._workdir, error=why) from None
        threading.Thread(target=self._beat, name='lock', daemon=True).start()

    def check(self) -> None:
        """Raises UserError where another run has taken over, since this one gave no sign of life for too long."""
        if self._by is not None:
            raise UserError(
                '--workdir={workdir} was taken over by process {process} on {host}: this run gave no sign of life for'
                ' {seconds:.0f} s.\nThat one goes on from the newest checkpoint.',
                workdir=self._workdir,
                process=self._by.get('process', '?'),
                host=self._by.get('host', '?'),
                seconds=SILENT,
            )

    def release(self) -> None:
        """Lets others have the workdir. Where that cannot be written, they will see that the process is gone."""
        self._over.set()
        mine, self._file = self._file, None
        if mine is not None and self._by is None:
            with suppress(OSError):
                place.move(mine, mine.with_suffix('.free'))
        if self._kernel >= 0:
            os.close(self._kernel)
            self._kernel = -1

    def _try(self) -> None:
        """Takes the lock, or finds that somebody was quicker, and is to be called again."""
        highest, holder = newest(self._folder)
        if holder is not None and self._lives(holder):
            about = read(holder)
            raise UserError(
                '--workdir={workdir} is in use by process {process} on {host}, since {since}.'
                '\nWait until it has ended, or end it; or give another --workdir.',
                workdir=self._workdir,
                **{name: about.get(name, '?') for name in ('process', 'host', 'since')},
            )
        mine = self._folder / f'{highest + 1}.json'
        about = {
            'host': socket.gethostname(),
            'process': os.getpid(),
            'since': time.strftime('%Y-%m-%d %H:%M:%S %z'),
            'machine': machine(),
            'space': space(),
            'born': born(os.getpid()),
            'nonce': uuid.uuid4().hex,
        }
        try:
            place.create(mine, json.dumps(about).encode())
        except FileExistsError:
            return
        if newest(self._folder)[1] != mine:
            place.remove(mine)
            return
        self._file, self._number = mine, highest + 1
        with suppress(BlockingIOError):  # somebody looks whether it is held, for an instant
            self._kernel = _lock_by_kernel(mine)

    def _lives(self, holder: Path) -> bool:
        """Whether the run that holds the lock lives; where only its sign of life can tell, it is waited for."""
        about = read(holder)
        here = about.get('machine') == machine()
        if here and about.get('space') == space():
            return born(about.get('process', 0)) == about.get('born')
        first = told = None
        while newest(self._folder)[1] == holder:
            try:
                seen = place.modified(holder)
            except FileNotFoundError:
                return False
            first = seen if first is None else first
            silent = place.now(self._folder) - seen
            held = _held_by_kernel(holder) if here else None
            if seen != first or held:
                return True
            if silent >= SILENT or (
                held is False and silent >= LOOK
            ):  # it takes the kernel's lock after making the file
                return False
            if not told:
                told = say(
                    '--workdir={workdir} was in use by process {process} on {host} {seconds:.0f} s ago: waiting for a'
                    ' sign of life',
                    workdir=self._workdir,
                    process=about.get('process', '?'),
                    host=about.get('host', '?'),
                    seconds=max(silent, 0),
                )
                print(told, flush=True)
            self._sleep(min(LOOK, SILENT - silent))
        return False

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):
                self._live()

    def _live(self) -> None:
        """Gives a sign of life, unless another run has taken over."""
        highest, holder = newest(self._folder)
        if highest > self._number:
            self._by = read(holder) if holder else {}
        elif (mine := self._file) is not None:
            place.renew(mine)


def number(entry: Path) -> int:
    """Returns the number of an entry of the folder; 0: it has none."""
    return int(entry.stem) if entry.stem.isdecimal() and entry.suffix in ('.json', '.free') else 0


def newest(folder: Path) -> tuple[int, Path | None]:
    """Returns (the highest number, its file); None where that run has ended, or there was none."""
    found = place.entries(folder)
    highest = max(map(number, found), default=0)
    free = any(number(entry) == highest and entry.suffix == '.free' for entry in found)
    return highest, None if free or not highest else folder / f'{highest}.json'


def read(holder: Path) -> dict[str, Any]:
    """Returns what the holder wrote; {} where it cannot be read, as while it is being written."""
    try:
        found = json.loads(holder.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# --- processes -------------------------------------------------------------------------------------------------------


def machine() -> str:
    """Returns what this machine is known by, from its start to its end, in all its containers."""
    try:
        return Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return socket.gethostname()


def space() -> str:
    """Returns which process numbers are seen from here: a container has its own."""
    try:
        return os.readlink('/proc/self/ns/pid')
    except OSError:
        return ''


def born(process: int) -> str:
    """Returns when a process of this machine and space was born, by a clock that nobody sets; '' where it is gone."""
    if Path('/proc/self/stat').exists():
        try:
            fields = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
        except OSError:
            return ''
        return '' if fields[0] in 'ZX' else fields[19]  # killed, and nobody has asked yet what became of it: gone
    import psutil

    try:
        return f'{psutil.Process(process).create_time():.2f}'
    except (psutil.Error, ValueError):
        return ''


def _lock_by_kernel(file: Path) -> int:
    """Returns a descriptor of the file under a lock that ends with the process; -1 where there are no such locks.

    Raises:
      BlockingIOError: another process has it.
    """
    if not place.can(file).local:
        return -1
    try:
        import fcntl

        descriptor = os.open(file, os.O_RDWR)
    except (ImportError, OSError):
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return -1
    return descriptor


def _held_by_kernel(file: Path) -> bool | None:
    """Returns whether a process of this machine has such a lock; None: it cannot be known."""
    try:
        descriptor = _lock_by_kernel(file)
    except BlockingIOError:
        return True
    if descriptor < 0:
        return None
    os.close(descriptor)
    return False
