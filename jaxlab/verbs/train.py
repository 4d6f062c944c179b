"""Train an experiment; the same command resumes it.

python -m jaxlab.main --config=configs/transformer.py
python -m jaxlab.main --config=configs/transformer.py:small --config.optimizer.learning_rate=1e-3 --config.mesh.fsdp=8
python -m jaxlab.main train --workdir=runs/transformer-1a2b3c4d --config.steps=4000
"""

import argparse
import os
import sys
from pathlib import Path

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    config = say(
        'the experiment: a file, with a size after a colon: configs/transformer.py:tiny;'
        ' default: the config.json of --workdir'
    )
    workdir = say('where everything lies; default: runs/<config>-<8 hex of the experiment>')
    package = say('a package that the config may import from')
    parser.add_argument('--config', default='', help=config)
    parser.add_argument('--workdir', default='', help=workdir)
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.trust.ledger import Ledger

    ledger = Ledger()  # from here on every moment counts, imports included

    from jaxlab import config as configs
    from jaxlab import config_text
    from jaxlab import workdir as workdirs

    if not parsed.config and not parsed.workdir:
        raise UserError('say what to train: --config=configs/transformer.py (or --workdir=… to go on with a run).')
    if parsed.config:
        config, name = config_text.load(parsed.config)
    else:
        config, name = workdirs.read_config(Path(parsed.workdir), parsed.allow_import), ''
    written = config
    config = configs.check(config_text.override(config, parsed.overrides))
    workdir = Path(parsed.workdir) if parsed.workdir else workdirs.default(name, config)

    import jax

    from jaxlab.observers import Observer
    from jaxlab.observers.background import Background
    from jaxlab.observers.history import History
    from jaxlab.observers.progress import Progress
    from jaxlab.observers.report import Report
    from jaxlab.observers.samples import Samples
    from jaxlab.observers.tensorboard import TensorBoard
    from jaxlab.observers.tracker import Tracker
    from jaxlab.observers.wandb import WandB
    from jaxlab.train import train

    with Progress() as progress:
        observers: list[Observer] = [progress, Tracker(), Samples(), History(parsed.config, written)]
        observers.append(Background('TensorBoard', TensorBoard()))
        if config.log.wandb:
            observers.append(Background('Weights & Biases', WandB(config.log.wandb)))
        observers.append(Report())  # after those whose files it shows
        stopped_by = train(config, workdir, observers, ledger)
    if jax.process_index() > 0:
        return 128 + stopped_by if stopped_by else 0
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    if stopped_by:
        command = f'{python} -m jaxlab.main train --workdir={workdir}'
        print(say('saved in {workdir}; to go on: {command}', workdir=workdir, command=command))
        return 128 + stopped_by  # what a shell reports for a process that the signal ended
    generate, evaluate = (f'{python} -m jaxlab.main {verb} --workdir={workdir}' for verb in ('generate', 'evaluate'))
    print('\n' + say('everything lies in {workdir}; look at {workdir}/report.html', workdir=workdir))
    print(say('next: {generate} --prompt=import\n      {evaluate}', generate=generate, evaluate=evaluate))
    return 0
