"""The workdir is the experiment: config.json, processor/, checkpoints/, metrics.jsonl, samples/.

Every verb but train needs it alone.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.errors import UserError
from jaxlab.messages import say


def default(name: str, *configs: ConfigDict) -> Path:
    """Returns runs/<config>-<8 hex of what it is>: the same command resumes, a changed experiment is a new run."""
    return Path('runs') / f'{name}-{config_text.identity(*configs)}'


def check_identity(workdir: Path, config: ConfigDict) -> None:
    """Raises UserError when the workdir holds another experiment; its message lists the differences."""
    file = workdir / 'config.json'
    if file.exists():
        old = config_text.from_json(file.read_text('utf-8'), allow_import=packages(config))
        if differences := config_text.difference(old, config):
            shown = '; '.join(differences[:3])
            if len(differences) > 3:
                shown = say('{differences}; and {count} more', differences=shown, count=len(differences) - 3)
            raise UserError(
                '--workdir={workdir} holds another experiment ({differences}).'
                '\nGive another --workdir, or the same settings.',
                workdir=workdir,
                differences=shown,
            )


def packages(config: ConfigDict) -> set[str]:
    """Returns the packages of the user's own that a config names."""
    # What the command itself asks for is allowed; the workdir's own config adds nothing to it.
    return {package for _, package in config_text.outside(config)}


def read_config(workdir: Path, allow_import: Iterable[str] = ()) -> ConfigDict:
    """Returns the resolved config of an experiment.

    Raises:
      UserError: there is no experiment in `workdir`, or it names code that is not allowed.
    """
    file = workdir / 'config.json'
    if not file.is_file():
        raise UserError('--workdir={workdir}: there is no experiment here (no config.json).', workdir=workdir)
    return config_text.from_json(file.read_text('utf-8'), allow_import)


def remember(workdir: Path, config: ConfigDict, data: Any, batch: Mapping[str, Any]) -> None:
    """Writes what every later verb needs: config.json, and processor/, which turns raw input into the model's and back.

    Args:
      workdir: the experiment's; made if missing.
      config: the resolved config.
      data: see `jaxlab.data.stream.Data`.
      batch: shapes and dtypes of a global batch.

    Raises:
      UserError: the experiment was begun on other data, or the workdir cannot be written.
    """
    folder = workdir / 'processor'
    file = folder / 'data.json'
    if file.exists():
        before = json.loads(file.read_text('utf-8'))['fingerprint']
        if before != data.fingerprint:
            raise UserError(
                'the data have changed since {workdir} was begun (fingerprint {before} → {now}).'
                '\nGive a new --workdir to train on the new data, or bring the old data back.',
                workdir=workdir,
                before=before,
                now=data.fingerprint,
            )
    about = {
        'fingerprint': data.fingerprint,
        'info': dict(data.info),
        'batch': {name: (array.shape, array.dtype.name) for name, array in batch.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data.processor.save(folder)
        write(file, json.dumps(about, indent=2) + '\n')
        write(workdir / 'config.json', config_text.to_json(config))
    except OSError as error:
        raise UserError('--workdir={workdir}: {error}.', workdir=workdir, error=error.strerror or error) from None


def read_processor(workdir: Path, config: ConfigDict) -> Any:
    """Returns the processor that the experiment was begun with, or None: it is never learned twice."""
    if not (workdir / 'processor' / 'data.json').is_file():
        return None
    return configs.module('data.processors', config.data.processor.name).load(workdir / 'processor')


def read_data(workdir: Path) -> dict[str, Any]:
    """Returns what `remember` wrote: fingerprint, info, batch.

    Raises:
      UserError: training never got as far as the data.
    """
    file = workdir / 'processor' / 'data.json'
    if not file.is_file():
        raise UserError('--workdir={workdir}: this experiment was never trained; run train first.', workdir=workdir)
    return json.loads(file.read_text('utf-8'))


def furthest(workdir: Path) -> int:
    """Returns the last step that was ever logged, whether a checkpoint holds it or not; 0 where none was."""
    file = workdir / 'metrics.jsonl'
    lines = file.read_text('utf-8', errors='replace').splitlines() if file.is_file() else []
    for line in reversed(lines):
        with suppress(ValueError, TypeError, KeyError):  # half a line
            return int(json.loads(line)['step'])
    return 0


def write(file: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    new = file.with_name(f'.{file.name}.new')
    new.write_text(text, 'utf-8')
    new.replace(file)
