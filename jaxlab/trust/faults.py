"""Faults on purpose: what a test makes go wrong, at a named point of a run.

    with faults.fail_at('save_start', 20, 'enospc'): …                    in this process
    JAXLAB_FAIL_AT=between_commit_and_manifest:20:kill python -m jaxlab.main …    in another one

The code of a run says `faults.reach('save_start', step)` where the point lies: one look at an empty list when no fault
is set. A new feature gets its faults tested by a line in `POINTS` and a call of `reach`.
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxlab.errors import UserError, alternatives

# In the order in which a run comes to them; the step is the number of steps done.
POINTS = (
    'start',  # nothing is built yet
    'lock',  # the workdir is about to be locked
    'record',  # one is about to be read, for the batch of this number, training or not
    'remember',  # config.json and the processor's files are about to be written
    'compile',  # on the thread that compiles the step
    'step',  # a step was handed to the devices
    'log_flush',  # rows are about to be written to metrics.jsonl
    'log_cut',  # metrics.jsonl is about to be cut back
    'sample',  # a sample is about to be written
    'history',  # runs.json is about to be written
    'tensorboard',  # an event is about to be written
    'evaluate',  # a part of the data is about to be evaluated
    'save_start',  # nothing is copied yet
    'save_copied',  # the state is copied, and is being written
    'between_commit_and_manifest',  # everything is written but the manifest
    'manifest_written',  # the manifest as well, but the step has not got its name yet
    'report',  # report.html is about to be written
)
KINDS = {
    'kill': signal.SIGKILL,
    'sigterm': signal.SIGTERM,
    'enospc': errno.ENOSPC,  # no space left on device
    'erofs': errno.EROFS,  # read-only file system
    'eio': errno.EIO,  # input/output error
}
ANY = -1  # a step: whichever it is


@dataclass(frozen=True)
class Fault:
    """Strikes each time that `point` is reached at `step`."""

    point: str
    step: int
    kind: str


def reach(point: str, step: int = 0) -> None:
    """Says that a run has come to a point.

    Raises:
      OSError: a fault of such a kind was set there.
    """
    if _set:
        _strike(point, step)


@contextmanager
def fail_at(point: str, step: int = ANY, kind: str = 'eio') -> Iterator[None]:
    """Sets a fault while the context lasts, for all threads of this process."""
    fault = _checked(Fault(point, step, kind))
    _set.append(fault)
    try:
        yield
    finally:
        _set.remove(fault)


def read(text: str) -> list[Fault]:
    """Returns the faults of 'save_start:20:enospc,step:*:kill'.

    Raises:
      UserError: it is written otherwise, or there is no such point or kind.
    """
    found = []
    for part in filter(None, text.split(',')):
        point, step, kind = [*part.split(':'), '', '', ''][:3]
        if part.count(':') != 2 or not (step == '*' or step.isdecimal()):
            raise UserError('JAXLAB_FAIL_AT={text}: point:step:kind is wanted, such as save_start:20:kill.', text=text)
        found.append(_checked(Fault(point, ANY if step == '*' else int(step), kind)))
    return found


def _checked(fault: Fault) -> Fault:
    for name, names in ((fault.point, POINTS), (fault.kind, KINDS)):
        if name not in names:
            raise UserError('fault "{name}": {alternatives}', name=name, alternatives=alternatives(name, names))
    return fault


def _strike(point: str, step: int) -> None:
    for fault in _set:
        if fault.point == point and fault.step in (ANY, step):
            if fault.kind in ('kill', 'sigterm'):
                os.kill(os.getpid(), KINDS[fault.kind])
            else:
                raise OSError(KINDS[fault.kind], os.strerror(KINDS[fault.kind]), f'{point}:{step}')


_set = read(os.environ.get('JAXLAB_FAIL_AT', ''))
