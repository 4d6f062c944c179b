"""Examples and what they are, in batches: shuffled for training, one after another for evaluation.

Which example stands in a row is computed from the row's number alone, and so is all that a transform draws for it. So
batch n is a function of (seed, n), whoever makes it.
"""

# b rows of this process

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from jaxlab.data.batch_groups import BatchGroups, batches_in_group
from jaxlab.data.buckets import Plan, planned
from jaxlab.data.records import BadRecord, Losses, Tolerance
from jaxlab.data.shuffle import ROUNDS, permute, shuffled
from jaxlab.data.sources import Arrays, Example, Part, Source
from jaxlab.data.stream import Batch, Data, Split
from jaxlab.data.transforms import Transform, rngs_of
from jaxlab.errors import UserError
from jaxlab.messages import say

VALIDATION = 1  # what a seed chooses beside the order of training; it keeps their draws apart
Change = Callable[[slice, np.ndarray], np.ndarray]  # (slots in the batch, inputs of their examples [n …]) -> inputs


class Rows(Protocol):
    """Examples of a part that are read into batches by their numbers; a `Reader`, or what lies ready in memory."""

    def batch(self, n: int, numbers: np.ndarray, change: Change | None = None) -> Batch:
        """Returns the examples with these numbers, int64 [b], as batch n: arrays [b …], one of them the mask."""
        ...


@dataclass(frozen=True)
class Reader:
    """Reads examples of a part into batches.

    Attributes:
      part: where they are.
      empty: inputs and targets of one that cannot be read: arrays of the shape and dtype that all have.
      losses: counts those that cannot be read.
    """

    part: Part
    empty: Mapping[str, np.ndarray]
    losses: Losses

    @property
    def ready(self) -> int:
        """Bytes of an example, where all lie in memory as they are wanted, so that none can fail; else 0."""
        ready = isinstance(self.part, Arrays) and self.part.inputs.shape[1:] == self.empty['inputs'].shape
        return sum(x.nbytes for x in self.empty.values()) if ready else 0

    def batch(self, n: int, numbers: np.ndarray, change: Change | None = None) -> Batch:
        """Returns the examples with these numbers, int64 [b], as batch n, each changed by `change`.

        They are inputs and targets [b …], and mask, float32 [b]: 0 for one that cannot be read.
        """
        if isinstance(self.part, Arrays):  # nothing that could fail, so nothing is done for each but what changes it
            found = {name: getattr(self.part, name).take(numbers, 0) for name in self.empty}
            if change:
                found['inputs'] = change(slice(0, len(numbers)), found['inputs'])
            if found['inputs'].shape[1:] == self.empty['inputs'].shape:
                return found | {'mask': np.ones(len(numbers), np.float32)}

        def read(record: tuple[int, int]) -> Example:
            slot, number = record
            example = self.part[number]
            inputs = example['inputs']
            if change:
                inputs = change(slice(slot, slot + 1), inputs[None])[0]
            if inputs.shape != (wanted := self.empty['inputs'].shape):
                raise BadRecord(
                    '{record} has the shape {shape}, and {wanted} is wanted.',
                    record=say('example {number}', number=number),
                    shape=inputs.shape,
                    wanted=wanted,
                )
            return {'inputs': inputs, 'targets': np.asarray(example['targets'], self.empty['targets'].dtype)}

        found, good = self.losses.rows(n, enumerate(numbers.tolist()), read, self.empty)
        return found | {'mask': good.astype(np.float32)}


@dataclass(frozen=True)
class Training:
    """Endless shuffled batches: every epoch has all examples once, in another order.

    Attributes:
      reader: of the training part.
      numbers: int64 [n]: which of its examples are trained on.
      batch_size: rows of a global batch.
      rows: which of them this process makes.
      seed: chooses orders, and what transforms draw.
      transform: changes each picture as it is read; None: nothing does.
      edges: lengths of the buckets that rows are put into; (): all are as long as the longest.
    """

    reader: Rows
    numbers: np.ndarray
    batch_size: int
    rows: slice
    seed: int
    transform: Transform | None = None
    edges: tuple[int, ...] = ()

    @cached_property
    def plan(self) -> Plan | None:
        return planned(self.edges, self.reader, self.chosen, self.batch_size, self.seed)(0)

    def chosen(self, row: np.ndarray) -> np.ndarray:
        """Returns which examples these rows of the endless sequence are, int64 [n]."""
        length = len(self.numbers)
        first, last = int(row.min()) // length, int(row.max()) // length
        if first == last:  # as of most batches
            return self.numbers.take(shuffled(self.seed, first, length, row - first * length))
        epoch = row // length
        found = np.empty_like(row)
        for one in range(first, last + 1):
            here = epoch == one
            found[here] = self.chosen(row[here])
        return found

    def batch(self, n: int) -> Batch:
        """Returns this process's rows of global batch n."""
        if plan := self.plan:
            return plan.cut(self.reader.batch(n, self.chosen(plan.rows(n)[self.rows])), plan.width(n))
        return self._groups(n)

    @cached_property
    def _groups(self) -> BatchGroups:
        size = self.reader.ready if isinstance(self.reader, Reader) else 0
        rows = len(range(self.batch_size)[self.rows])
        return BatchGroups(self._read, batches_in_group(size * rows) if size else 1)

    def _read(self, n: int, count: int) -> Batch:
        """Returns this process's rows of batches n … n + count - 1, one batch after another."""
        row = (n + np.arange(count)[:, None]) * self.batch_size + np.arange(self.batch_size)[self.rows]
        row = row.reshape(-1)
        if (transform := self.transform) is None:
            return self.reader.batch(n, self.chosen(row))
        rngs = rngs_of(self.seed, row)
        return self.reader.batch(n, self.chosen(row), lambda slots, pictures: transform(rngs[slots], pictures))


@dataclass(frozen=True)
class Once:
    """Batches of a part from end to end, in one shuffled order: the first of them are a fair sample.

    Attributes:
      reader: of the part.
      numbers: int64 [n]: which of its examples.
      batch_size: rows of a global batch.
      rows: which of them this process makes.
      edges: as of Training.
    """

    reader: Rows
    numbers: np.ndarray
    batch_size: int
    rows: slice
    edges: tuple[int, ...] = ()

    def split(self) -> Split:
        return Split(self.batches, self.batch, {'examples': len(self.numbers)})

    @property
    def batches(self) -> int:
        return -(-len(self.numbers) // self.batch_size)

    @cached_property
    def plan(self) -> Plan | None:
        return planned(self.edges, self.reader, self.chosen, self.batch_size)(self.batches)

    def chosen(self, row: np.ndarray) -> np.ndarray:
        """Returns which examples these rows are, int64 [n]; behind the last, the first."""
        keys = np.random.SeedSequence(0).generate_state(ROUNDS, np.uint64)  # the same for every experiment
        return self.numbers[permute(np.where(row < len(self.numbers), row, 0), len(self.numbers), keys)]

    def batch(self, n: int) -> Batch:
        """Returns rows of global batch n, and number, int32 [b]: which example of the part each is.

        Rows behind the last example repeat the first one, with mask 0.
        """
        row = (self.plan.rows(n) if self.plan else n * self.batch_size + np.arange(self.batch_size))[self.rows]
        real, numbers = row < len(self.numbers), self.chosen(row)
        found = self.reader.batch(n, numbers)
        found = self.plan.cut(found, self.plan.width(n)) if self.plan else found
        real = real.reshape(-1, *[1] * (found['mask'].ndim - 1))
        return found | {'mask': found['mask'] * real, 'number': numbers.astype(np.int32)}


def divide(source: Source, share: float, seed: int) -> dict[str, tuple[str, np.ndarray]]:
    """Returns {'train', 'validation', 'test': (part, int64 [n] numbers of its examples)}.

    Where no validation part is published, a share of the training part that the seed chooses is left out of it for
    that. Choices are made on it, so that the test part says what they are worth.

    Raises:
      UserError: there is no training part, or a part is empty, or the share is out of range.
    """
    if not 0 <= share < 1:
        raise UserError(
            '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.', name='validation', value=share
        )
    if 'train' not in source.parts:
        raise UserError(
            '{source} has no part "train" to learn from; it has {parts}.',
            source=source.name,
            parts=', '.join(source.parts),
        )
    found = {name: (name, np.arange(len(part))) for name, part in source.parts.items()}
    if 'validation' not in found and (count := round(share * len(source.parts['train']))):
        draw = np.random.default_rng(np.random.SeedSequence([seed, VALIDATION], spawn_key=(VALIDATION,)))
        order = draw.permutation(len(source.parts['train']))
        found['train'] = 'train', np.sort(order[count:])
        found['validation'] = 'train', np.sort(order[:count])
    for name, (_, numbers) in found.items():
        if not len(numbers):
            raise UserError('{source}: its part "{part}" is empty.', source=source.name, part=name)
    return found


def make_data(
    source: Source,
    parts: Mapping[str, Part],
    divided: Mapping[str, tuple[str, np.ndarray]],
    *,
    batch_size: int,
    seed: int,
    rows: slice,
    shape: tuple[int, ...],
    dtype: Any,
    tolerated: Tolerance,
    info: Mapping[str, Any],
    processor: Any,
    transform: Transform | None = None,
) -> Data:
    """Returns Data of a source.

    Args:
      source: where the examples come from.
      parts: its parts, with inputs as a model takes them: of one shape and dtype.
      divided: what is trained on, evaluated on and tested on; see `divide`.
      batch_size: rows of a global batch.
      seed: chooses the order of training.
      rows: which rows of a global batch this process makes.
      shape: of an example's inputs.
      dtype: of inputs.
      tolerated: what becomes of those that cannot be read.
      info: what models and tasks are told.
      processor: raw <-> model.
      transform: changes each picture of training as it is read.
    """
    target = np.zeros((), np.int32 if source.labels else np.float32)
    empty = {'inputs': np.zeros(shape, dtype), 'targets': target}
    count = len(source.labels)

    def reader(part: str, losses: Losses) -> Reader:
        read = parts[part]
        if isinstance(read, Arrays):
            read = Arrays(read.inputs.astype(dtype, copy=False), read.targets.astype(target.dtype, copy=False))
            beyond = (read.targets < 0) | (read.targets >= count) if count else ~np.isfinite(read.targets)
            if beyond.any():
                where = int(beyond.argmax())
                raise _beyond(where, read.targets[where], count)
            return Reader(read, empty, losses)
        return Reader(Checked(read, count), empty, losses)

    summary = say(
        '{name}: {counts} examples of shape {shape}; fingerprint {fingerprint}',
        name=source.name,
        counts=', '.join(f'{part} {len(numbers):,}' for part, (_, numbers) in divided.items()),
        shape=' × '.join(map(str, shape)),
        fingerprint=source.fingerprint[:16],
    )
    return of_rows(
        reader,
        divided,
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        info=info,
        processor=processor,
        fingerprint=source.fingerprint,
        summary=summary,
        tolerated=tolerated,
        transform=transform,
    )


def of_rows(
    readers: Callable[[str, Losses], Rows],
    divided: Mapping[str, tuple[str, np.ndarray]],
    *,
    batch_size: int,
    seed: int,
    rows: slice,
    info: Mapping[str, Any],
    processor: Any,
    fingerprint: str,
    summary: str,
    tolerated: Tolerance = Tolerance(),
    transform: Transform | None = None,
    edges: tuple[int, ...] = (),
) -> Data:
    """Returns Data of what reads rows.

    Args:
      readers: (name of a part of the source, what counts its bad records) -> what reads it.
      divided: what is trained on, evaluated on and tested on; see `divide`.
      batch_size, seed, rows, tolerated, info, processor, transform: as those of `make_data`.
      fingerprint, summary: of the Data.
      edges: as of Training.
    """
    losses = Losses(tolerated)
    name, numbers = divided['train']
    training = Training(readers(name, losses), numbers, batch_size, rows, seed, transform, edges)
    longest = training.reader.batch(0, training.chosen(np.arange(batch_size)[rows])) if edges else {}
    once = {
        part: Once(readers(name, Losses(tolerated)), numbers, batch_size, rows, edges).split()
        for part, (name, numbers) in divided.items()
        if part != 'train'
    }
    return Data(
        batch=training.batch,
        splits={part: split for part, split in once.items() if not part.startswith('test')},
        tests={part: split for part, split in once.items() if part.startswith('test')},
        info=info,
        processor=processor,
        fingerprint=fingerprint,
        summary=summary,
        batches_per_epoch=len(numbers) / batch_size,
        skipped=losses.before,
        shapes=training.plan.shapes(longest) if training.plan else (),
        width=training.plan.width if training.plan else None,
    )


@dataclass(frozen=True)
class Checked:
    """A part whose targets are looked at: a class beyond those that there are makes a bad record."""

    part: Part
    count: int  # classes; 0: targets are numbers

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Example:
        example = self.part[index]
        target = example['targets']
        if not (0 <= target < self.count if self.count else np.isfinite(target)):
            raise _beyond(index, target, self.count)
        return example


def _beyond(number: int, target: Any, count: int) -> BadRecord:
    record = say('example {number}', number=number)
    if not count:
        return BadRecord('{record} has the target {target}, which is no number.', record=record, target=target)
    return BadRecord(
        '{record} has the class {target}, and there are classes 0 to {last}.',
        record=record,
        target=int(target),
        last=count - 1,
    )


def target_statistics(source: Source, part: Part, numbers: np.ndarray) -> dict[str, Any]:
    """Returns what `info` says of the targets: classes and labels, how many of each there are where that is known
    without reading them all; or mean and deviation of numbers."""
    targets = part.targets[numbers] if isinstance(part, Arrays) else None
    if source.labels:
        counts = (
            {} if targets is None else {'class_counts': np.bincount(targets, minlength=len(source.labels)).tolist()}
        )
        return {'classes': len(source.labels), 'labels': list(source.labels)} | counts
    if targets is None:
        targets = np.array([part[number]['targets'] for number in numbers.tolist()])
    return {
        'classes': 0,
        'target_mean': float(targets.mean(dtype=np.float64)),
        'target_deviation': float(targets.std(dtype=np.float64)) or 1.0,
    }
