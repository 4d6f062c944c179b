"""Run any step of a run again, and look into it.

python -m jaxlab.main replay --workdir=runs/transformer-1a2b3c4d --step=137
python -m jaxlab.main replay --workdir=runs/transformer-1a2b3c4d --step=137 --rows=0 --json
"""

import argparse
import dataclasses
import re
from typing import TYPE_CHECKING, Any

from jaxlab.messages import say

if TYPE_CHECKING:
    from jaxlab.anatomy import Anatomy
    from jaxlab.replay import Replay

WIDTH = 72  # characters of a row that are shown


def arguments(parser: argparse.ArgumentParser) -> None:
    package = say('a package that the config may import from')
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--step', type=int, required=True, help=say('which step: 1 is the first'))
    parser.add_argument('--rows', type=int, default=-1, help=say('how many rows of the batch to show; default: all'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.replay import replay

    found = replay(
        parsed.workdir,
        parsed.step,
        overrides=parsed.overrides,
        allow_import=parsed.allow_import,
        tell=(lambda line: None) if parsed.json else lambda line: print(line, flush=True),
    )
    shown = len(next(iter(found.batch.values()))) if parsed.rows < 0 else parsed.rows
    if parsed.json:
        print(json.dumps(as_json(found, shown), ensure_ascii=False))
    else:
        print('\n'.join(as_text(found, shown)))
    return 2 if found.bitwise is False else 0


def as_text(found: 'Replay', rows: int) -> list[str]:
    """Returns lines for people. `rows`: how many rows of the batch are shown."""
    lines = [say('step {step}', step=found.step)]
    lines += [f'  {name.removeprefix("train/"):16} {value!r}' for name, value in found.row.items()]
    lines += verdict(found)
    if not found.finite:
        from jaxlab.debug_nans import told

        lines += ['', told(found.first)]
    for name, anatomy in found.anatomy.items():
        if len(found.anatomy) > 1:
            lines += ['', f'{name}:']
        lines += ['', *rows_as_text(found, anatomy, rows), '', *modules_as_text(anatomy)]
    return lines


def verdict(found: 'Replay') -> list[str]:
    """Returns whether the step came out as it was logged, and if not, what is not as it was."""
    if not found.logged:
        if not found.nearest:
            return [say('no step was logged')]
        return [say('this step was not logged; the nearest that was: {nearest}', nearest=found.nearest)]
    if not found.differs:
        return [say('bit for bit as it was logged')]
    if found.bitwise:
        lines = [say('the loss is bit for bit the logged one; not so: {names}', names=', '.join(found.differs))]
    else:
        lines = [say('not the logged loss, which is {logged!r}', logged=found.logged['train/loss'])]
    if found.changed:
        return [*lines, say('since then has changed: {changes}', changes='; '.join(found.changed))]
    return [*lines, say('nothing that is on record of the run has changed since then')]


def rows_as_text(found: 'Replay', anatomy: 'Anatomy', rows: int) -> list[str]:
    losses = anatomy.losses
    heading = say('rows of the batch: loss, how much of it counts, beginning')
    if not len(losses):
        heading = say('rows of the batch (the loss of this task is no sum over rows): beginning')
    lines = []
    for row in range(min(rows, len(next(iter(found.batch.values()))))):
        numbers = f'{losses[row]:10.4f} {anatomy.counts[row]:8,.0f}  ' if len(losses) else ''
        lines.append(f'  {row:5}  {numbers}{shortened(decoded(found, row))}')
    return [heading, *lines]


def decoded(found: 'Replay', row: int) -> str:
    """Returns a row of the batch as a person would read it."""
    tokens = found.batch.get('tokens')
    if tokens is not None and hasattr(found.processor, 'decode'):
        return found.processor.decode(tokens[row].tolist())
    return ', '.join(f'{name} {array[row].dtype}{list(array[row].shape)}' for name, array in found.batch.items())


def shortened(text: str) -> str:
    """Returns text on one line, cut where it is long."""
    text = ''.join(character if character.isprintable() else {'\n': '⏎'}.get(character, '·') for character in text)
    return text if len(text) <= WIDTH else f'{text[: WIDTH - 1]}…'


def modules_as_text(anatomy: 'Anatomy') -> list[str]:
    """Returns two tables, equal modules of all layers on one line."""
    lines = [say('norm of the gradient, layer by layer')]
    for name, (values,) in folded(anatomy.gradients).items():
        lines += columns(name, [f'{value:.3g}' for value in values])
    if anatomy.sizes:
        lines += ['', say('activations, layer by layer: root mean square (largest absolute value)')]
        for name, (sizes, largest) in folded(anatomy.sizes, anatomy.largest).items():
            lines += columns(name, [f'{size:.3g} ({most:.3g})' for size, most in zip(sizes, largest)])
    return lines


def folded(*tables: Any) -> dict[str, tuple[list[float], ...]]:
    """Returns {'stack/layer_*/mlp': ([values of all layers], …)} of tables by module."""
    found: dict[str, tuple[list[float], ...]] = {}
    for module in tables[0]:
        name = re.sub(r'(?<=_)\d+(?=/|$)', '*', module) or '.'
        lists = found.setdefault(name, tuple([] for _ in tables))
        for values, table in zip(lists, tables):
            values += table[module].reshape(-1).tolist()
    return found


def columns(name: str, values: list[str]) -> list[str]:
    """Returns a name and its values, on as many lines as they take."""
    rows = [values[first : first + 4] for first in range(0, len(values), 4)]
    return [
        f'  {"" if number else name:36}' + ''.join(f' {value:>16}' for value in row) for number, row in enumerate(rows)
    ]


def as_json(found: 'Replay', rows: int) -> dict[str, Any]:
    """Returns all that was found, as JSON values; see `jaxlab.replay.Replay` and `jaxlab.anatomy.Anatomy`."""
    first: Any = None
    if found.first is not None:
        first = {**dataclasses.asdict(found.first), 'result': ('finite', 'inf', 'nan')[found.first.result]}

    def plain(table: Any) -> dict[str, Any]:
        return {module: value.tolist() for module, value in table.items()}

    return {
        'step': found.step,
        'from': found.origin,
        'row': found.row,
        'logged': found.logged or None,
        'nearest_logged': found.nearest,
        'bitwise': found.bitwise,
        'differs': found.differs,
        'changed': found.changed,
        'finite': found.finite,
        'first_not_finite': first,
        'rows': [decoded(found, row) for row in range(min(rows, len(next(iter(found.batch.values())))))],
        'phases': {
            name: {
                'row_losses': anatomy.losses.tolist(),
                'row_counts': anatomy.counts.tolist(),
                'gradient_norms': plain(anatomy.gradients),
                'activation_rms': plain(anatomy.sizes),
                'activation_largest': plain(anatomy.largest),
            }
            for name, anatomy in found.anatomy.items()
        },
    }
