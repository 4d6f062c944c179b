"""What the verb `evaluate` has written of a classification, as far as it can be trusted: see `jaxlab.assessment`."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlab.trust import place

CLASSES = 100_000  # and no file of more is read
BYTES = 100 << 20


@dataclass(frozen=True)
class Maybe:
    """What may also be None."""

    kind: Any


class Share:
    """A number between 0 and 1."""


NUMBERS = dict.fromkeys(('precision', 'recall', 'f1', 'roc_auc', 'average_precision'), Maybe(Share))
CURVE = {'x': [Share], 'y': [Share], 'area': Share}
CURVES = {'macro': Maybe(CURVE), 'classes': [Maybe(CURVE)]}
KINDS = {
    'split': str,
    'step': int,
    'complete': bool,
    'rows': int,
    'not_finite': int,
    'labels': [str],
    'confusion': [[int]],
    'confused': [{'target': int, 'said': int, 'rows': int}],
    'classes': [{'rows': int, 'said': int, **NUMBERS}],
    'roc': CURVES,
    'precision_recall': CURVES,
    'reliability': [{'rows': int, 'confidence': Maybe(Share), 'accuracy': Maybe(Share)}],
    'wrong': [{'number': int, 'target': int, 'said': int, 'probability': Share}],
}


def read(workdir: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yields what was written of each split, and where its sheet of pictures would lie. What is damaged, or not as
    `evaluate` writes it, is left out, and links are not followed."""
    folder = workdir / 'evaluations'
    if place.is_link(folder):
        return
    for file in place.entries(folder):
        if file.suffix == '.json' and not place.is_link(file) and (found := _one(file)):
            yield found, file.with_name(f'{file.stem}_wrong.png')


def _one(file: Path) -> dict[str, Any] | None:
    try:
        if place.size(file) > BYTES:
            return None
        found: dict[str, Any] = json.loads(file.read_text('utf-8'))
    except (OSError, ValueError, RecursionError):
        return None
    return found if fits(found, KINDS) and _hangs_together(found) else None


def fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a kind: a type, [kind] a list of such, {name: kind} an object that has these."""
    match kind:
        case Maybe():
            return value is None or fits(value, kind.kind)
        case [inner]:
            return isinstance(value, list) and all(fits(one, inner) for one in value)
        case {}:
            return isinstance(value, dict) and all(name in value and fits(value[name], of) for name, of in kind.items())
    if kind is Share:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(value) and 0 <= value <= 1
    if kind is int:
        return type(value) is int and 0 <= value < 2**53
    return isinstance(value, kind)


def _hangs_together(found: dict[str, Any]) -> bool:
    """Whether all is of the same classes."""
    count = len(found['labels'])
    named = [one[name] for one in (*found['confused'], *found['wrong']) for name in ('target', 'said')]
    curves = [found[name]['macro'] for name in ('roc', 'precision_recall')]
    curves += [one for name in ('roc', 'precision_recall') for one in found[name]['classes']]
    return (
        all(isinstance(one.get('text', ''), str) for one in found['wrong'])
        and 0 < count == len(found['classes']) <= CLASSES
        and all(number < count for number in named)
        and all(len(found[name]['classes']) in (0, count) for name in ('roc', 'precision_recall'))
        and len(found['confusion']) in (0, count)
        and all(len(line) == count for line in found['confusion'])
        and all(one is None or 2 <= len(one['x']) == len(one['y']) for one in curves)
        and all(one['rows'] == 0 or None not in one.values() for one in found['reliability'])
    )
