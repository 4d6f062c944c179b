"""Check every file of every checkpoint against its checksums.

python -m jaxlab.main verify --workdir=runs/transformer-1a2b3c4d
"""

import argparse

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--workdir', required=True, help=say('the experiment'))


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.trust import manifest, place

    folder = place.of(parsed.workdir) / 'checkpoints'
    steps = manifest.steps(folder)
    if not steps:
        raise UserError('{workdir}: there is no checkpoint yet.', workdir=parsed.workdir)
    damaged = 0
    for step in steps:
        if found := manifest.damage(folder / str(step), step):
            damaged += 1
            print(say('{step}: damaged: {damage}', step=step, damage=manifest.told(found)), flush=True)
        else:
            files = list(place.files(folder / str(step)))
            size = sum(map(place.size, files)) / 1e6
            print(
                say('{step}: good ({files} files, {size:,.1f} MB)', step=step, files=len(files), size=size), flush=True
            )
    return 2 if damaged else 0
