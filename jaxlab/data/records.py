"""Records that cannot be read: each is named, and then it is left out and counted, or the run ends.

Whatever a data set is, somewhere it reads records: lines, files, images, spans of stored tokens. One that cannot be
read raises BadRecord, or OSError where a disk or a network fails. What follows is for the user to say:

  bad='raise'   the run ends, and says which record it was
  bad='skip'    the record is left out, up to `bad_rate` of all; beyond that the run ends

A record that is read once, to be stored, is left out of the store. One that is read while training keeps its slot: a
row of zeros with mask 0. So every other row stays where it was, and batch n is still a function of n.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from jaxlab.errors import UserError, alternatives
from jaxlab.messages import say
from jaxlab.trust import faults

LEAST = 1000  # records that a rate is at least taken of: the first one that is bad is not all there are
FEW = 5  # bad records that are named; all are counted

Record = TypeVar('Record')
Example = Mapping[str, np.ndarray]  # one row of a batch, without the axis of rows


class BadRecord(UserError):
    """A record that cannot be read: BadRecord('{record} is empty.', record='"texts/a.txt"').

    Attributes:
      record: its file, and which record of the file it is.
    """

    def __init__(self, template: str, /, *, record: str, **values: object) -> None:
        super().__init__(template, record=record, **values)
        self.record = record


@dataclass(frozen=True)
class Tolerance:
    """What becomes of bad records: with `skip` they are left out, up to `rate` of all; else the first ends the run."""

    skip: bool = False
    rate: float = 0.0


def tolerance(bad: str, bad_rate: float) -> Tolerance:
    """Returns what the arguments of a data set mean.

    Raises:
      UserError: one of them is out of range.
    """
    if bad not in (kinds := ('raise', 'skip')):
        raise UserError('bad="{bad}": {alternatives}', bad=bad, alternatives=alternatives(bad, kinds))
    if not 0 <= bad_rate <= 1:
        raise UserError('bad_rate={rate}: a share of all records is wanted, from 0 to 1.', rate=bad_rate)
    return Tolerance(bad == 'skip', bad_rate)


# --- read once, to be stored -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Omitted:
    """What was left out of a store, and what of: numbers of records, and bytes of their files. `first` names a few."""

    records: int = 0
    bytes: int = 0
    all_records: int = 0
    all_bytes: int = 0
    first: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The share of all that was left out, in records or in bytes, whichever is more: files differ in size."""
        return max(self.records / max(self.all_records, 1), self.bytes / max(self.all_bytes, 1))

    def check(self, tolerated: Tolerance, name: str) -> None:
        """Raises UserError where more was left out of the corpus `name` than is tolerated."""
        if self.share > tolerated.rate:
            raise UserError(
                'config.data.path: more of {name} cannot be read than config.data.bad_rate={rate} allows: {records:,}'
                ' records or more.\nMend them, or allow more. The first: {first}.',
                name=name,
                rate=tolerated.rate,
                records=self.records,
                first='; '.join(self.first),
            )


# --- read while training ---------------------------------------------------------------------------------------------


class Losses:
    """Reads rows record by record, and counts those that could not be read. Several threads may read at once.

    Args:
      tolerated: how many may be bad.
    """

    def __init__(self, tolerated: Tolerance = Tolerance()) -> None:
        self._tolerated = tolerated
        self._lock = threading.Lock()
        self._read = self._bad = 0
        self._of_batch: dict[int, int] = {}  # those of batches that nobody asked about yet
        self._asked = 0
        self._told: set[str] = set()

    def rows(
        self, n: int, records: Iterable[Record], read: Callable[[Record], Example], empty: Example
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Reads the rows of batch n.

        Args:
          n: number of the batch.
          records: which record belongs in each of its b slots.
          read: returns a record's arrays; raises BadRecord or OSError where it cannot.
          empty: what stands in the slot of a record that cannot be read.

        Returns:
          ({name: [b, …]}, good, bool [b]: which slots hold what they should). The mask of all others must be 0.

        Raises:
          UserError: a record cannot be read and none may be left out, or too many cannot.
        """
        found: list[Example] = []
        bad: dict[int, BadRecord] = {}
        for slot, record in enumerate(records):
            try:
                faults.reach('record', n)
                found.append(read(record))
            except (BadRecord, OSError) as error:
                bad[slot] = error if isinstance(error, BadRecord) else _named(error, n, slot)
                if not self._tolerated.skip:
                    raise bad[slot] from None
                found.append(empty)
        self._count(n, len(found), list(bad.values()))
        good = np.array([slot not in bad for slot in range(len(found))], bool)
        return {name: np.stack([example[name] for example in found]) for name in empty}, good

    def before(self, n: int) -> int:
        """Returns how many records of the batches before n could not be read, of those that were. n never falls."""
        with self._lock:
            self._asked += sum(self._of_batch.pop(batch) for batch in [*self._of_batch] if batch < n)
            return self._asked

    def _count(self, n: int, read: int, bad: list[BadRecord]) -> None:
        with self._lock:
            self._read += read
            self._bad += len(bad)
            if bad:
                self._of_batch[n] = len(bad)  # a batch that is built twice counts once
            for error in bad:
                self._tell(error)
            if bad and self._bad > self._tolerated.rate * max(self._read, LEAST):
                raise UserError(
                    '{bad:,} of {read:,} records could not be read, more than config.data.bad_rate={rate} allows.\n'
                    'The last, in batch {n}: {error}',
                    bad=self._bad,
                    read=self._read,
                    rate=self._tolerated.rate,
                    n=n,
                    error=_first_line(bad[-1]),
                )

    def _tell(self, error: BadRecord) -> None:
        if error.record in self._told or len(self._told) > FEW:
            return
        self._told.add(error.record)
        if len(self._told) <= FEW:
            line = say('warning: {error} Its row counts for nothing.', error=_first_line(error))
        else:
            line = say('warning: there are more records that cannot be read; data/skipped counts them')
        print(line, flush=True)


def _named(error: OSError, n: int, slot: int) -> BadRecord:
    record = f'"{error.filename}"' if error.filename else say('row {slot} of batch {n}', slot=slot, n=n)
    return cannot_be_read(record, error)


def cannot_be_read(record: str, error: OSError) -> BadRecord:
    """Returns what is said of a record whose file system fails."""
    return BadRecord(
        '{record} cannot be read ({error}).\nMend it, or leave such records out: --config.data.bad=skip',
        record=record,
        error=error.strerror or error,
    )


def _first_line(error: BadRecord) -> str:
    return str(error).partition('\n')[0]
