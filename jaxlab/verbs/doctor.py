"""Look for what is wrong with a data set before anybody trains on it.

python -m jaxlab.main doctor --config=configs/mlp.py
python -m jaxlab.main doctor --config=configs/mlp.py --json --folder=doctor

It says what every part holds, and finds what cannot be read, wrong shapes, values and targets, duplicates, parts that
share examples, classes without examples. A sheet of pictures of each class is written for every part. Exit code 1:
something is wrong.
"""

import argparse
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say

CLASSES, PICTURES = 20, 10  # at most so many rows of a sheet, and so many pictures of each


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--config', required=True, help=say('the experiment whose data are looked at'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    folder = say('where sheets of pictures are written (default doctor); "": none are')
    parser.add_argument('--folder', default='doctor', help=folder)
    most = say('look at so many examples of each part, evenly spread; 0: at all (default)')
    parser.add_argument('--most', type=int, default=0, help=most)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab import config as configs
    from jaxlab import config_text
    from jaxlab.data.examination import examine
    from jaxlab.data.sources import Source

    if parsed.most < 0:
        raise UserError('--most={count}: at least 0 is wanted.', count=parsed.most)
    written, _ = config_text.load(parsed.config)
    config = configs.check(config_text.override(written, parsed.overrides))
    if 'source' not in config.data:
        raise UserError(
            'doctor looks at pictures, tables and texts with classes, and config.data.name={name} is none of these.',
            name=config.data.name,
        )
    source = configs.build(config.data.source, key='data.source')
    if not isinstance(source, Source):
        raise UserError(
            'doctor looks at pictures, tables and texts with classes, and config.data.name={name} is none of these.',
            name=config.data.name,
        )
    examination = examine(source, parsed.most)
    sheets = write_sheets(examination, parsed.folder, config.seed) if parsed.folder else []
    if parsed.json:
        print(json.dumps(as_json(examination, sheets), ensure_ascii=False))
    else:
        print('\n'.join(map(plain, lines(examination, sheets))))
    return int(examination.wrong)


def plain(line: str) -> str:
    """Returns a line without what a terminal would obey: names of files and classes are somebody else's."""
    return ''.join(letter if letter.isprintable() else '\ufffd' for letter in line)


def lines(examination: Any, sheets: list[str]) -> list[str]:
    """Returns what is said of an examination."""
    source = examination.source
    found = [say('{name}; fingerprint {fingerprint}', name=source.name, fingerprint=source.fingerprint[:16])]
    for name, seen in examination.parts.items():
        head = say('{part}: {count:,} examples', part=name, count=seen.size)
        if seen.size > (looked := len(seen.numbers) + len(seen.unreadable)):
            head += say(', of which {count:,} were looked at', count=looked)
        found.append(f'  {head}')
        if not seen.numbers:
            continue
        common = seen.shapes.most_common(3)
        shapes = ', '.join(
            f'{list(shape)} ({count:,})' if len(seen.shapes) > 1 else f'{list(shape)}' for shape, count in common
        )
        what = say(
            'inputs {shapes}{more} of {dtypes}, values {low:.4g} to {high:.4g}',
            shapes=shapes,
            more=' …' * (len(seen.shapes) > 3),
            dtypes=', '.join(seen.dtypes),
            low=seen.lowest,
            high=seen.highest,
        )
        found.append(f'    {what}')
        if source.labels:
            counts = seen.counts(len(source.labels))
            least, most = int(counts.argmin()), int(counts.argmax())
            what = say(
                '{classes:,} classes, {least:,} ("{rarest}") to {most:,} ("{commonest}") examples each',
                classes=len(counts),
                least=int(counts[least]),
                rarest=source.labels[least],
                most=int(counts[most]),
                commonest=source.labels[most],
            )
        else:
            what = say('targets {low:.4g} to {high:.4g}', low=min(seen.targets), high=max(seen.targets))
        found.append(f'    {what}')
    for finding in examination.findings:
        if finding.wrong:
            found.append(say('wrong: {message}', message=finding.message))
        else:
            found.append(say('note: {message}', message=finding.message))
    if not examination.wrong:
        found.append(say('nothing is wrong'))
    if sheets:
        found.append(say('pictures of each class: {sheets}', sheets=', '.join(sheets)))
    return found


def as_json(examination: Any, sheets: list[str]) -> dict[str, Any]:
    """Returns an examination as plain values."""
    import dataclasses
    import math

    source = examination.source
    parts = {
        name: {
            'examples': seen.size,
            'looked_at': len(seen.numbers) + len(seen.unreadable),
            'unreadable': len(seen.unreadable),
            'shapes': [[list(shape), count] for shape, count in seen.shapes.most_common()],
            'dtypes': dict(seen.dtypes),
            'values': [seen.lowest, seen.highest] if math.isfinite(seen.lowest) else [],
            'counts': seen.counts(len(source.labels)).tolist() if source.labels else [],
        }
        for name, seen in examination.parts.items()
    }
    return {
        'source': source.name,
        'fingerprint': source.fingerprint,
        'labels': list(source.labels),
        'wrong': examination.wrong,
        'parts': parts,
        'findings': [dataclasses.asdict(finding) for finding in examination.findings],
        'sheets': sheets,
    }


def write_sheets(examination: Any, folder: str, seed: int) -> list[str]:
    """Writes a sheet for each part with pictures: some of each class, chosen by `seed`, a class a row; returns where.

    Where there are more than CLASSES classes, those are evenly spread over all.
    """
    import re

    import numpy as np

    from jaxlab.data.sheet import sheet, write_png
    from jaxlab.trust import place

    source, written = examination.source, []
    for number, (name, seen) in enumerate(examination.parts.items()):
        if not source.labels or not any(len(shape) == 3 and shape[-1] in (1, 3) for shape in seen.shapes):
            continue
        draw = np.random.default_rng([seed, number])
        pictures, captions = [], []
        everyone, targets = np.array(seen.numbers), np.array(seen.targets)
        classes = np.unique(np.linspace(0, len(source.labels) - 1, CLASSES).astype(int))
        for label in classes.tolist():
            chosen = draw.permutation(everyone[targets == label])[:PICTURES]
            row = [np.asarray(source.parts[name][int(index)]['inputs']) for index in chosen]
            row = [picture for picture in row if picture.ndim == 3 and picture.shape[-1] in (1, 3) and picture.size]
            row += [np.zeros((1, 1, 1), np.uint8)] * (PICTURES - len(row))  # so that every class begins a row
            pictures += [np.clip(picture, 0, 255).astype(np.uint8) for picture in row]
            captions += [source.labels[label], *[''] * (PICTURES - 1)]
        file = place.of(folder) / f'{re.sub("[^A-Za-z0-9_-]", "_", name)}.png'
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(file, sheet(pictures, captions, columns=PICTURES))
        except OSError as error:
            raise UserError(
                '--folder={folder}: nothing can be written there ({error}).',
                folder=folder,
                error=error.strerror or error,
            ) from None
        written.append(str(file))
    return written
