"""Train an experiment; the same command resumes it.

python -m jaxlab.main --config=configs/transformer.py
python -m jaxlab.main --config=configs/transformer.py:small --config.optimizer.learning_rate=1e-3 --config.mesh.fsdp=8
python -m jaxlab.main train --workdir=runs/transformer-1a2b3c4d --config.steps=4000
python -m jaxlab.main --config=configs/optimizers.py
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    nans = say('end at the first loss or gradient that is not finite, and name the module that it began in')
    parser.add_argument('--debug_nans', action='store_true', help=nans)


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.trust import writes

    with writes.printing():
        return run_aloud(parsed)


def run_aloud(parsed: argparse.Namespace) -> int:
    """Trains, and says so."""
    from jaxlab.trust.ledger import Ledger

    ledger = Ledger()  # from here on every moment counts, imports included

    from jaxlab import config as configs
    from jaxlab import config_text, determinism
    from jaxlab import workdir as workdirs
    from jaxlab.trust import place

    if not parsed.config and not parsed.workdir:
        raise UserError('say what to train: --config=configs/transformer.py (or --workdir=… to go on with a run).')
    if parsed.config:
        written, chosen, stem = config_text.load_all(parsed.config)
    else:
        written, chosen, stem = {'': workdirs.read_config(place.of(parsed.workdir), parsed.allow_import)}, [''], ''
    found = {}
    for name, config in written.items():
        try:
            found[name] = configs.check(config_text.override(config, parsed.overrides))
        except UserError as error:
            raise UserError('{name}: {error}', name=name, error=error) if name else error from None
    determinism.switch(any(config.deterministic for config in found.values()))
    folder = place.of(parsed.workdir) if parsed.workdir else workdirs.default(stem, *found.values())

    from jaxlab.parallel import cluster, multihost

    with multihost.together(cluster.find(), cluster.devices()):
        return train_all(parsed, found, written, chosen, folder, ledger)


def train_all(
    parsed: argparse.Namespace,
    found: Mapping[str, Any],
    written: Mapping[str, Any],
    chosen: Sequence[str],
    folder: Path,
    ledger: Any,
) -> int:
    """Trains the experiments of a config file, one or several, and says where they lie.

    Args:
      parsed: the command line.
      found: their resolved configs by name; a single one has the name ''.
      written: the configs as they stand in the file.
      chosen: the names of those to train, in order.
      folder: the workdir of one, or what the workdirs of several lie in.
      ledger: counts where the time of a single one goes.
    """
    import jax

    from jaxlab import report
    from jaxlab.observers import Observer
    from jaxlab.observers.background import Background
    from jaxlab.observers.history import History
    from jaxlab.observers.progress import Progress
    from jaxlab.observers.report import Report
    from jaxlab.observers.samples import Samples
    from jaxlab.observers.tensorboard import TensorBoard
    from jaxlab.observers.tracker import Tracker
    from jaxlab.observers.wandb import WandB
    from jaxlab.parallel import flags
    from jaxlab.race import race
    from jaxlab.train import train
    from jaxlab.trust.ledger import Ledger

    def train_one(name: str, workdir: Path, ledger: Ledger) -> int:
        config = found[name]
        config_file = f'{parsed.config}:{name}' if name else parsed.config
        with Progress() as progress:
            observers: list[Observer] = [progress, Tracker(), Samples(), History(config_file, written[name])]
            observers.append(Background('TensorBoard', TensorBoard()))
            if config.log.wandb:
                observers.append(Background('Weights & Biases', WandB(config.log.wandb)))
            observers.append(Report())  # after those whose files it shows
            return train(config, workdir, observers, ledger, debug_nans=parsed.debug_nans)

    speaks = jax.process_index() == 0  # of several processes the first alone
    if speaks and (line := flags.told()):
        print(line, flush=True)
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    main = f'{python} -m jaxlab.main'
    if '' not in found:
        racers = {name: found[name] for name in chosen}
        stopped_by = race(racers, folder, lambda name: train_one(name, folder / name, Ledger()))
        if stopped_by:
            if speaks:
                print(say('saved in {folder}; the same command goes on', folder=folder))
            return 128 + stopped_by
        if not speaks:
            return 0
        page = report.write([folder / name for name in chosen], folder / 'report.html')
        print('\n' + say('everything lies in {workdir}; look at {page}', workdir=folder, page=page))
        return 0
    stopped_by = train_one('', folder, ledger)
    if not speaks:
        return 128 + stopped_by if stopped_by else 0
    if stopped_by:
        command = f'{main} train --workdir={folder}'
        print(say('saved in {workdir}; to go on: {command}', workdir=folder, command=command))
        return 128 + stopped_by  # what a shell reports for a process that the signal ended
    use = f'{main} {use_of(found[""]).format(workdir=folder, prompt=found[""].log.prompt)}'
    evaluate = f'{main} evaluate --workdir={folder}'
    page = folder / 'report.html'
    print('\n' + say('everything lies in {workdir}; look at {page}', workdir=folder, page=page))
    print(say('next: {use}\n      {evaluate}', use=use, evaluate=evaluate))
    return 0


def use_of(config: Any) -> str:
    """Returns the verb, with its flags, that asks a trained experiment for what it has learned."""
    match config.task.name:
        case 'classification' | 'regression' | 'tagging' | 'question_answering' | 'masked_language_model':
            return 'predict --workdir={workdir} …'
        case 'gan':
            return 'generate --workdir={workdir}'
    return 'generate --workdir={workdir} --prompt={prompt}'
