"""Evaluate a trained experiment on all of its held-out part.

python -m jaxlab.main evaluate --workdir=runs/transformer-1a2b3c4d
"""

import argparse
from pathlib import Path

from jaxlab.verbs import step


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--workdir', required=True, help='the experiment')
    parser.add_argument(
        '--step', type=step, default='newest', help='a checkpoint: its number, best or newest (default)'
    )
    parser.add_argument('--split', default='held_out', help='which part of the data')
    parser.add_argument('--batches', type=int, default=0, help='how many batches; default: all')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--allow_import', action='append', default=[], help='a package that the config may import from')


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.experiment import load

    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    found = experiment.evaluate(parsed.split, parsed.batches)
    if parsed.json:
        print(
            json.dumps({'workdir': str(Path(parsed.workdir)), 'step': experiment.step, 'split': parsed.split, **found})
        )
        return 0
    counts = ', '.join(f'{found.pop(name):,} {name}' for name in ('documents', 'bytes', 'tokens') if name in found)
    print(f'{parsed.split} at step {experiment.step}' + (f' ({counts})' if counts else ''))
    for name, value in found.items():
        print(f'  {name:16} {value:.4f}')
    return 0
