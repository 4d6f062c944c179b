"""The workdir is the experiment: config.json, processor/, checkpoints/, metrics.jsonl, samples/. Every verb but train needs it alone."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab.errors import UserError


def default(name: str, config: ConfigDict) -> Path:
    """Returns runs/<config>-<8 hex of what identifies the experiment>: the same command resumes, a changed flag is a new run."""
    return Path('runs') / f'{name}-{configs.identity(config)}'


def open_for_training(workdir: Path, config: ConfigDict) -> None:
    """Makes the workdir, or checks that it holds this very experiment; writes config.json.

    Raises:
      UserError: it holds another experiment (the differences are listed), or it cannot be written.
    """
    file = workdir / 'config.json'
    if file.exists():
        old = configs.from_json(file.read_text('utf-8'), allow_import=_packages(config))
        if differences := configs.difference(old, config):
            shown = '; '.join(differences[:3]) + (f'; and {len(differences) - 3} more' if len(differences) > 3 else '')
            raise UserError(
                f'--workdir={workdir} holds another experiment ({shown}).\nGive another --workdir, or the same settings.'
            )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write(file, configs.to_json(config))
    except OSError as error:
        raise UserError(f'--workdir={workdir}: {error.strerror or error}.') from None


def _packages(config: ConfigDict) -> set[str]:
    # What the command itself asks for is allowed; the workdir's own config adds nothing to it.
    return {package for _, package in configs.outside(config)}


def read_config(workdir: Path, allow_import: Iterable[str] = ()) -> ConfigDict:
    """Returns the resolved config of an experiment.

    Raises:
      UserError: there is no experiment in `workdir`, or it names code that is not allowed.
    """
    file = workdir / 'config.json'
    if not file.is_file():
        raise UserError(f'--workdir={workdir}: there is no experiment here (no config.json).')
    return configs.from_json(file.read_text('utf-8'), allow_import)


def remember_data(workdir: Path, data: Any, batch: Mapping[str, Any]) -> None:
    """Writes processor/: what turns raw input into the model's and back, and what the model was told about the data.

    Args:
      workdir: the experiment's.
      data: see `jaxlab.data.stream.Data`.
      batch: shapes and dtypes of a global batch.

    Raises:
      UserError: the experiment was begun on other data.
    """
    folder = workdir / 'processor'
    file = folder / 'data.json'
    if file.exists():
        before = json.loads(file.read_text('utf-8'))['fingerprint']
        if before != data.fingerprint:
            raise UserError(
                f'the data have changed since {workdir} was begun (fingerprint {before} → {data.fingerprint}).'
                '\nGive a new --workdir to train on the new data, or bring the old data back.'
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    data.processor.save(folder)
    about = {
        'fingerprint': data.fingerprint,
        'info': dict(data.info),
        'batch': {name: (array.shape, array.dtype.name) for name, array in batch.items()},
    }
    write(file, json.dumps(about, indent=2) + '\n')


def read_processor(workdir: Path, config: ConfigDict) -> Any:
    """Returns the processor that the experiment was begun with, or None where it was not yet: it is never learned twice."""
    if not (workdir / 'processor' / 'data.json').is_file():
        return None
    return configs.module('data.processors', config.data.processor.name).load(workdir / 'processor')


def read_data(workdir: Path) -> dict[str, Any]:
    """Returns what `remember_data` wrote: fingerprint, info, batch.

    Raises:
      UserError: training never got as far as the data.
    """
    file = workdir / 'processor' / 'data.json'
    if not file.is_file():
        raise UserError(f'--workdir={workdir}: this experiment was never trained; run train first.')
    return json.loads(file.read_text('utf-8'))


def write(file: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    new = file.with_name(f'.{file.name}.new')
    new.write_text(text, 'utf-8')
    new.replace(file)
