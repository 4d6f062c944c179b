"""Evaluate a trained experiment on all of its held-out part.

python -m jaxlab.main evaluate --workdir=runs/transformer-1a2b3c4d

Of a classification it also writes evaluations/<split>.json into the workdir: what is confused with what, curves,
calibration, the surest mistakes; and of pictures a sheet of these, evaluations/<split>_wrong.png. The report shows all.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlab.messages import say
from jaxlab.verbs import step

CLASSES = 20  # of so many there is a table on the screen
MISTAKES, TEXT = 5, 100  # how many texts, and characters of each


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    which = say('a checkpoint: its number, best or newest (default)')
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument(
        '--split', default='', help=say('which part of the data; default: the one that training looks at')
    )
    parser.add_argument('--batches', type=int, default=0, help=say('how many batches; default: all'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    package = say('a package that the config may import from')
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def told(name: str, count: int) -> str:
    """Returns how much of what was looked at, in words."""
    match name:
        case 'documents':
            return say('{count:,} documents', count=count)
        case 'bytes':
            return say('{count:,} bytes', count=count)
        case 'tokens':
            return say('{count:,} tokens', count=count)
    return say('{count:,} examples', count=count)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.experiment import load

    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    found, assessment, pictures = experiment.assess(parsed.split, parsed.batches)
    said = write(experiment.workdir, experiment.step, found, assessment, pictures) if assessment else ''
    if parsed.json:
        print(json.dumps({'workdir': str(Path(parsed.workdir)), 'step': experiment.step, **finite(found)}))
        return 0
    heading = say('{split} at step {step}', split=found.pop('split'), step=experiment.step)
    counts = [told(name, found.pop(name)) for name in COUNTS if name in found]
    print(f'{heading} ({", ".join(counts)})' if counts else heading)
    width = max([16, *map(len, found)])
    for name, value in found.items():
        print(f'  {name:{width}} {value:.4f}')
    if assessment and len(assessment['labels']) <= CLASSES:
        print('\n'.join(['', *table(assessment)]))
    if assessment and (lines := mistakes(assessment)):
        print('\n'.join(['', *lines]))
    if said:
        print(f'\n{said}')
    return 0


COUNTS = ('examples', 'documents', 'bytes', 'tokens')


def finite(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values as JSON has them, which knows no NaN: None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in found.items()
    }


def table(assessment: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a table: a class a line, and what it was called right and wrong; '-' is not defined."""
    from jaxlab.observers.screen import cells, pad

    names = ('precision', 'recall', 'f1', 'roc_auc', 'average_precision')
    lines = [[say('class'), say('rows'), say('precision'), say('recall'), 'F1', 'ROC AUC', say('average precision')]]
    for label, one in zip(assessment['labels'], assessment['classes'], strict=True):
        numbers = ['-' if one[name] is None else f'{one[name]:.4f}' for name in names]
        lines.append([plain(label), f'{one["rows"]:,}', *numbers])
    widths = [max(cells(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        '  '.join(
            ['', pad(line[0], widths[0])]
            + [' ' * (width - cells(text)) + text for text, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    ]


def mistakes(assessment: Mapping[str, Any]) -> list[str]:
    """Returns lines of the texts that the model is most sure of and wrong about; none where the rows are no texts."""
    texts = [one for one in assessment['wrong'] if 'text' in one][:MISTAKES]
    if not texts:
        return []
    lines = [say('what it is most sure of, and wrong about:')]
    for one in texts:
        target, said = (plain(assessment['labels'][one[key]]) for key in ('target', 'said'))
        lines.append(f'  {target} > {said} {one["probability"]:.4f}  {plain(one["text"], TEXT)}')
    return lines


def plain(label: str, most: int = 24) -> str:
    """Returns the name of a class as one line shows it: no control characters, and not too long."""
    shown = ''.join(c if c.isprintable() else '\ufffd' for c in label)
    return shown if len(shown) <= most else shown[: most - 1] + '…'


def write(
    workdir: Path, step: int, found: Mapping[str, Any], assessment: Mapping[str, Any], pictures: Sequence[Any]
) -> str:
    """Writes what was found on a split into the workdir; returns where, in words, or why that could not be."""
    import json

    from jaxlab.data import sheet
    from jaxlab.trust import place

    split = found['split']
    file = workdir / 'evaluations' / f'{split}.json'
    record = {
        'split': split,
        'step': step,
        'complete': any(name in found for name in COUNTS),
        'scores': finite({name: value for name, value in found.items() if isinstance(value, float)}),
        **assessment,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        place.write(file, json.dumps(record, ensure_ascii=False, allow_nan=False))
        wrong = file.with_name(f'{split}_wrong.png')
        if pictures:
            sheet.write_png(wrong, sheet.sheet(pictures, captions(assessment), columns=6, size=96))
        else:
            place.remove(wrong)  # one of before
    except OSError as error:
        return say('note: {file} could not be written ({reason})', file=file, reason=error.strerror or error)
    return say('curves, calibration and the surest mistakes: {file}', file=file)


def captions(assessment: Mapping[str, Any]) -> list[str]:
    """Returns 'cat > dog' for each of the wrong rows, what it is and what the model says, in letters that a sheet has:
    where a name has others, it is the number of the class."""

    def name(number: int) -> str:
        label = plain(assessment['labels'][number])
        return label if label.isascii() else str(number)

    return [f'{name(one["target"])} > {name(one["said"])}' for one in assessment['wrong']]
