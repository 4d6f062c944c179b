"""What could be wrong with a data set, looked for before anybody trains on it: pictures, texts or rows of a table."""

# n examples of a part, h height, w width, c channels, f columns of a table

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxlab.data.records import BadRecord
from jaxlab.data.sources import Part, Source
from jaxlab.messages import say

FEW = 5  # examples that a finding names
UNEQUAL = 10  # times as many examples as another that a class may have before it is told


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
      kind: a word for programs: 'unreadable', 'duplicates', …
      part: where; of several, '' .
      count: how many examples, or classes, or columns.
      message: what a person reads.
      wrong: whether it is surely a mistake; else it may be as it should be.
    """

    kind: str
    part: str
    count: int
    message: str
    wrong: bool = True


@dataclass
class Seen:
    """What one look at every example of a part has shown. Lists are of readable examples, in their order."""

    size: int  # examples of the part, whether they were looked at or not
    part: str = ''
    names: Sequence[str] = ()  # of all examples, where they have some
    numbers: list[int] = field(default_factory=list)  # which of the part's they are
    targets: list[float] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)  # of the inputs, shape included
    unreadable: dict[int, str] = field(default_factory=dict)  # number -> why
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    lowest: float = np.inf
    highest: float = -np.inf
    flat: dict[int, float] = field(default_factory=dict)  # pictures of one value -> which
    not_finite: list[int] = field(default_factory=list)
    columns: tuple[np.ndarray, np.ndarray] | None = None  # lowest and highest of each, of a table

    def called(self, number: int) -> str:
        """Returns what a person finds an example by."""
        return self.names[number] if self.names else f'{self.part} {number}'

    def counts(self, classes: int) -> np.ndarray:
        """Returns how many examples each class has, int [classes]; those of no class are left out."""
        known = [int(target) for target in self.targets if _is_class(target, classes)]
        return np.bincount(np.array(known, int), minlength=classes)


@dataclass(frozen=True)
class Examination:
    """What was seen of each part, and what was found."""

    source: Source
    parts: Mapping[str, Seen]
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> bool:
        return any(finding.wrong for finding in self.findings)


def examine(source: Source, most: int = 0) -> Examination:
    """Looks at every example of a data set, one at a time.

    Args:
      source: what to look at.
      most: look at so many examples of each part, evenly spread; 0: at all.
    """
    parts = {name: look(name, part, most) for name, part in source.parts.items()}
    return Examination(source, parts, tuple(finding for check in CHECKS for finding in check(source, parts)))


def look(name: str, part: Part, most: int = 0) -> Seen:
    """Returns what is seen of a part."""
    seen = Seen(len(part), name, getattr(part, 'names', ()))  # those of files are known by their names
    for number in range(0, seen.size, max(1, -(-seen.size // most)) if most else 1):
        try:
            example = part[number]
            texts = example['inputs'] if isinstance(example['inputs'], tuple) else ()
            # Of texts their lengths are looked at: a row of numbers of characters.
            inputs = np.array(list(map(len, texts)), np.float32) if texts else np.asarray(example['inputs'])
            target = float(example['targets'])
        except (BadRecord, OSError) as error:
            seen.unreadable[number] = str(error).partition('\n')[0].rstrip('.。')
            continue
        seen.numbers.append(number)
        seen.targets.append(target)
        seen.shapes[inputs.shape] += 1
        seen.dtypes[str(inputs.dtype)] += 1
        shaped = repr((inputs.shape, inputs.dtype.str, texts)).encode() + inputs.tobytes()
        seen.digests.append(hashlib.blake2b(shaped, digest_size=16).digest())
        if not inputs.size:
            continue
        low, high = float(inputs.min()), float(inputs.max())
        if not np.isfinite(low) or not np.isfinite(high):
            seen.not_finite.append(number)
            continue
        seen.lowest, seen.highest = min(seen.lowest, low), max(seen.highest, high)
        if inputs.ndim > 1 and low == high:
            seen.flat[number] = low
        if inputs.ndim == 1 and (seen.columns is None or seen.columns[0].shape == inputs.shape):
            lows, highs = seen.columns or (inputs, inputs)
            seen.columns = np.minimum(lows, inputs), np.maximum(highs, inputs)
    return seen


# --- checks ----------------------------------------------------------------------------------------------------------

Parts = Mapping[str, Seen]


def absent(source: Source, parts: Parts) -> Iterator[Finding]:
    """Parts without examples, and no part to train on."""
    if 'train' not in parts:
        yield Finding('absent', 'train', 1, say('there is no part "train"'))
    for name, seen in parts.items():
        if not seen.size:
            yield Finding('empty', name, 1, say('{part}: there are no examples', part=name))


def unreadable(source: Source, parts: Parts) -> Iterator[Finding]:
    for name, seen in parts.items():
        if count := len(seen.unreadable):
            reasons = _few(seen.unreadable.values())
            message = say(
                '{part}: examples that cannot be read: {count:,} ({reasons})', part=name, count=count, reasons=reasons
            )
            yield Finding('unreadable', name, count, message)


def shapes(source: Source, parts: Parts) -> Iterator[Finding]:
    """Inputs that are neither pictures nor rows, or some of them of another kind than the rest."""
    kinds: Counter[tuple[int, ...]] = Counter()  # channels, or columns; sizes of pictures may differ
    for name, seen in parts.items():
        odd = [shape for shape in seen.shapes if not _is_shape(shape)]
        if odd:
            message = say(
                '{part}: inputs that are neither pictures [height, width, 1 or 3] nor rows of a table [columns]:'
                ' {count:,} ({shapes})',
                part=name,
                count=sum(seen.shapes[shape] for shape in odd),
                shapes=_few(odd),
            )
            yield Finding('shapes', name, sum(seen.shapes[shape] for shape in odd), message)
        for shape, count in seen.shapes.items():
            kinds[(len(shape), shape[-1] if shape else 0)] += count if _is_shape(shape) else 0
    kinds = +kinds
    if len(kinds) > 1:
        usual = max(kinds.values())
        message = say(
            'inputs are of several kinds: {kinds}',
            kinds=', '.join(f'{_kind(kind)}: {count:,}' for kind, count in kinds.most_common()),
        )
        yield Finding('kinds', '', sum(kinds.values()) - usual, message)


def values(source: Source, parts: Parts) -> Iterator[Finding]:
    """Types and values that no model is fed."""
    for name, seen in parts.items():
        pictures = any(len(shape) == 3 for shape in seen.shapes)
        wanted = 'uint8' if pictures else 'float32'
        if odd := {dtype: count for dtype, count in seen.dtypes.items() if dtype != wanted}:
            message = say(
                '{part}: inputs are {dtypes}, from {low:.4g} to {high:.4g}; {wanted} is wanted',
                part=name,
                dtypes=', '.join(odd),
                low=seen.lowest,
                high=seen.highest,
                wanted=wanted,
            )
            yield Finding('dtypes', name, sum(odd.values()), message)
        if seen.not_finite:
            yield _named('not_finite', seen, seen.not_finite, say('are not finite'))
        if seen.flat:
            black = sum(value == 0 for value in seen.flat.values())
            yield _named('flat', seen, [*seen.flat], say('are of one colour ({black:,} are black)', black=black))
        if seen.columns is not None and name == 'train':
            same = np.flatnonzero(seen.columns[0] == seen.columns[1])
            if len(same) and len(seen.numbers) > 1:
                message = say('{part}: columns that never change: {columns}', part=name, columns=_few(same.tolist()))
                yield Finding('constant_columns', name, len(same), message, wrong=False)


def targets(source: Source, parts: Parts) -> Iterator[Finding]:
    """Targets that are no class, or no number."""
    classes = len(source.labels)
    for name, seen in parts.items():
        good = [_is_class(target, classes) if classes else bool(np.isfinite(target)) for target in seen.targets]
        if bad := [number for number, is_good in zip(seen.numbers, good) if not is_good]:
            found = sorted({target for target, is_good in zip(seen.targets, good) if not is_good})
            what = (
                say('have a target other than 0 to {last}, as {targets}', last=classes - 1, targets=_few(found))
                if classes
                else say('have a target that is no number')
            )
            yield _named('targets', seen, bad, what)
        if not classes and len(set(seen.targets)) == 1 and len(seen.targets) > 1:
            message = say('{part}: all targets are {target}', part=name, target=seen.targets[0])
            yield Finding('constant_targets', name, len(seen.targets), message)


def balance(source: Source, parts: Parts) -> Iterator[Finding]:
    """Classes that a part has nothing of, or little."""
    if not source.labels:
        return
    for name, seen in parts.items():
        counts = seen.counts(len(source.labels))
        if not counts.any():
            continue
        if len(none := np.flatnonzero(counts == 0)):
            message = say(
                '{part}: classes without examples: {count:,} ({labels})',
                part=name,
                count=len(none),
                labels=_few(source.labels[i] for i in none),
            )
            yield Finding('absent_classes', name, len(none), message, wrong=name == 'train')
        present = np.where(counts > 0, counts, counts.max())
        most, least = int(counts.argmax()), int(present.argmin())
        if counts[most] > UNEQUAL * counts[least]:
            message = say(
                '{part}: of "{most}" there are {ratio:.1f} times as many as of "{least}" ({count:,} and {few:,})',
                part=name,
                most=source.labels[most],
                least=source.labels[least],
                ratio=counts[most] / counts[least],
                count=int(counts[most]),
                few=int(counts[least]),
            )
            yield Finding('unequal', name, int(counts[least]), message, wrong=False)


def duplicates(source: Source, parts: Parts) -> Iterator[Finding]:
    """The same inputs, byte by byte: in two parts, with two targets, or only twice."""
    first: dict[bytes, tuple[str, int, float]] = {}
    between: dict[tuple[str, str], list[str]] = {}
    within: dict[str, list[str]] = {}
    against: list[str] = []
    for name, seen in parts.items():
        for number, target, digest in zip(seen.numbers, seen.targets, seen.digests):
            part, other, known = first.setdefault(digest, (name, number, target))
            if (part, other) == (name, number):
                continue
            pair = f'{parts[part].called(other)} = {seen.called(number)}'
            if target != known:
                against.append(pair)
            if part == name:
                within.setdefault(name, []).append(pair)
            else:
                between.setdefault((part, name), []).append(pair)
    for (part, name), pairs in between.items():
        message = say(
            'examples of {part} that are in {other} as well: {count:,} ({pairs})',
            count=len(pairs),
            part=name,
            other=part,
            pairs=_few(pairs),
        )
        yield Finding('shared', name, len(pairs), message)
    if against:
        message = say('the same inputs with two targets: {count:,} ({pairs})', count=len(against), pairs=_few(against))
        yield Finding('contradictions', '', len(against), message)
    for name, pairs in within.items():
        message = say(
            '{part}: examples that are there already: {count:,} ({pairs})',
            part=name,
            count=len(pairs),
            pairs=_few(pairs),
        )
        yield Finding('duplicates', name, len(pairs), message, wrong=False)


def order(source: Source, parts: Parts) -> Iterator[Finding]:
    """Targets that the number of an example tells: harmless where batches are shuffled, as they are here."""
    for name, seen in parts.items():
        found = np.array(seen.targets)
        if len(found) < 20 or not np.isfinite(found).all() or len(set(seen.targets)) < 2:
            continue
        if source.labels:
            share = np.unique(found, return_counts=True)[1] / len(found)
            changes = (found[1:] != found[:-1]).mean() / (1 - (share**2).sum())  # 1 where they are shuffled
            told = changes < 0.5
        else:
            told = abs(np.corrcoef(np.arange(len(found)), found)[0, 1]) > 0.5
        if told:
            message = say('{part}: examples lie in the order of their targets (batches are shuffled)', part=name)
            yield Finding('order', name, len(found), message, wrong=False)


CHECKS: tuple[Callable[[Source, Parts], Iterable[Finding]], ...] = (
    absent,
    unreadable,
    shapes,
    values,
    targets,
    balance,
    duplicates,
    order,
)


def _is_class(target: float, classes: int) -> bool:
    return 0 <= target < classes and target == int(target)


def _is_shape(shape: Sequence[int]) -> bool:
    return min(shape, default=0) > 0 and (len(shape) == 1 or (len(shape) == 3 and shape[-1] in (1, 3)))


def _kind(kind: tuple[int, ...]) -> str:
    return f'[h w {kind[1]}]' if kind[0] == 3 else f'[{kind[1]}]'


def _named(kind: str, seen: Seen, numbers: list[int], what: str) -> Finding:
    message = say(
        '{part}: examples that {what}: {count:,} ({which})',
        part=seen.part,
        count=len(numbers),
        what=what,
        which=_few(map(seen.called, numbers)),
    )
    return Finding(kind, seen.part, len(numbers), message)


def _few(what: Iterable[Any]) -> str:
    """Returns the first few, and that there are more."""
    everything = [str(one) for one in what]
    return ', '.join([*everything[:FEW], '…'] if len(everything) > FEW else everything)
