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
    found = experiment.evaluate(parsed.split, parsed.batches)
    if parsed.json:
        print(json.dumps({'workdir': str(Path(parsed.workdir)), 'step': experiment.step, **found}))
        return 0
    heading = say('{split} at step {step}', split=found.pop('split'), step=experiment.step)
    counts = [told(name, found.pop(name)) for name in ('examples', 'documents', 'bytes', 'tokens') if name in found]
    print(f'{heading} ({", ".join(counts)})' if counts else heading)
    for name, value in found.items():
        print(f'  {name:16} {value:.4f}')
    return 0
