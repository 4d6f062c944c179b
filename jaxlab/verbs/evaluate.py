"""Evaluate a trained experiment on all of its held-out part.

python -m jaxlab.main evaluate --workdir=runs/transformer-1a2b3c4d
"""

import argparse
from pathlib import Path

from jaxlab.messages import say
from jaxlab.verbs import step


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    which = say('a checkpoint: its number, best or newest (default)')
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--split', default='held_out', help=say('which part of the data'))
    parser.add_argument('--batches', type=int, default=0, help=say('how many batches; default: all'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    package = say('a package that the config may import from')
    parser.add_argument('--allow_import', action='append', default=[], help=package)


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
    if 'documents' in found:  # all of the split was read
        heading = say(
            '{split} at step {step} ({documents:,} documents, {bytes:,} bytes, {tokens:,} tokens)',
            split=parsed.split,
            step=experiment.step,
            documents=found.pop('documents'),
            bytes=found.pop('bytes'),
            tokens=found.pop('tokens'),
        )
    else:
        heading = say('{split} at step {step}', split=parsed.split, step=experiment.step)
    print(heading)
    for name, value in found.items():
        print(f'  {name:16} {value:.4f}')
    return 0
