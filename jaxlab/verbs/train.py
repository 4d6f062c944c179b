"""Train an experiment; the same command resumes it.

python -m jaxlab.main --config=configs/transformer.py
python -m jaxlab.main --config=configs/transformer.py:small --config.optimizer.learning_rate=1e-3 --config.mesh.fsdp=8
python -m jaxlab.main train --workdir=runs/transformer-1a2b3c4d --config.steps=4000      (goes on, from its config.json)
python -m jaxlab.main --config=configs/optimizers.py                       (several, one after another, and a table)
"""

import argparse
import os
import sys
from pathlib import Path

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--config', default='', help='the experiment: a file, with a size after a colon: configs/transformer.py:tiny'
    )
    parser.add_argument(
        '--workdir', default='', help='where everything lies; default: runs/<config>-<8 hex of the experiment>'
    )
    parser.add_argument(
        '--allow_import', action='append', default=[], help="a package that a workdir's config may import from"
    )


def run(parsed: argparse.Namespace) -> int:
    from jaxlab import config as configs
    from jaxlab import config_text
    from jaxlab import workdir as workdirs

    if not parsed.config and not parsed.workdir:
        raise UserError('say what to train: --config=configs/transformer.py (or --workdir=… to go on with a run).')
    if parsed.config:
        found, chosen, stem = config_text.load_all(parsed.config)
    else:
        found, chosen, stem = {'': workdirs.read_config(Path(parsed.workdir), parsed.allow_import)}, [''], ''
    for name, config in found.items():
        try:
            found[name] = configs.check(config_text.override(config, parsed.overrides))
        except UserError as error:
            raise UserError('{name}: {error}', name=name, error=error) if name else error from None
    folder = Path(parsed.workdir) if parsed.workdir else workdirs.default(stem, *found.values())

    from jaxlab.observers.progress import Progress
    from jaxlab.observers.samples import Samples
    from jaxlab.observers.tracker import Tracker
    from jaxlab.race import race
    from jaxlab.train import train

    def observers() -> list:
        return [Progress(), Tracker(), Samples()]

    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    main = f'{python} -m jaxlab.main'
    if '' not in found:
        stopped_by = race({name: found[name] for name in chosen}, folder, observers)
        if stopped_by:
            print(say('saved in {folder}; the same command goes on', folder=folder))
            return 128 + stopped_by
        print(say('\neverything lies in {folder}', folder=folder))
        print(say('to compare: {command}', command=f'{main} report {" ".join(str(folder / name) for name in chosen)}'))
        return 0
    stopped_by = train(found[''], folder, observers())
    if stopped_by:
        print(f'saved in {folder}; to go on: {main} train --workdir={folder}')
        return 128 + stopped_by  # what a shell reports for a process that the signal ended
    print(f'\neverything lies in {folder}\nnext: {main} generate --workdir={folder} --prompt=import')
    print(f'      {main} evaluate --workdir={folder}')
    return 0
