"""The workdir is the experiment: config.json, processor/, checkpoints/, metrics.jsonl, samples/.

Every verb but train needs it alone.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust import faults, lines, place
from jaxlab.trust.secrets import without_secrets


def default(name: str, *configs: ConfigDict) -> Path:
    """Returns runs/<config>-<8 hex of what it is>: the same command resumes, a changed experiment is a new run."""
    return Path('runs') / f'{name}-{config_text.identity(*configs)}'


def check_identity(workdir: Path, config: ConfigDict) -> None:
    """Raises UserError when the workdir holds another experiment; its message lists the differences."""
    if (workdir / 'config.json').exists():
        old = read_config(workdir, allow_import=packages(config))
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
      UserError: there is no experiment in `workdir`, or it is damaged, or it names code that is not allowed.
    """
    file = workdir / 'config.json'
    if not file.is_file():
        raise UserError('--workdir={workdir}: there is no experiment here (no config.json).', workdir=workdir)
    return config_text.from_json(_read(file), allow_import)


def remember(workdir: Path, config: ConfigDict, data: Any, batch: Mapping[str, Any], *, writes: bool = True) -> None:
    """Writes what every later verb needs: config.json, and processor/, which turns raw input into the model's and back.

    Args:
      workdir: the experiment's; made if missing.
      config: the resolved config.
      data: see `jaxlab.data.stream.Data`.
      batch: shapes and dtypes of a global batch.
      writes: whether it is this process that writes; of several, one does, and all see that the data are the same.

    Raises:
      UserError: the experiment was begun on other data, or the workdir cannot be written.
    """
    folder = workdir / 'processor'
    file = folder / 'data.json'
    if file.exists():
        before = read_data(workdir)['fingerprint']
        if before != data.fingerprint:
            raise UserError(
                'the data have changed since {workdir} was begun (fingerprint {before} → {now}).'
                '\nGive a new --workdir to train on the new data, or bring the old data back.',
                workdir=workdir,
                before=before,
                now=data.fingerprint,
            )
    if not writes:
        return
    about = {
        'fingerprint': data.fingerprint,
        'info': dict(data.info),
        'batch': {name: (array.shape, array.dtype.name) for name, array in batch.items()},
    }
    try:
        faults.reach('remember')
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in data.processor.assets().items():
            _write_anew(folder / name, content)
        _write_anew(file, (json.dumps(about, indent=2) + '\n').encode())
        text = config_text.to_json(config)  # with secrets, where it has them: a run goes on from it
        values = json.loads(text)
        _write_anew(workdir / 'config.json', text.encode(), private=values != without_secrets(values))
    except OSError as error:
        raise UserError('--workdir={workdir}: {error}.', workdir=workdir, error=error.strerror or error) from None


def read_processor(workdir: Path, config: ConfigDict) -> Any:
    """Returns the processor that the experiment was begun with, or None: it is never learned twice.

    Raises:
      UserError: its files are damaged.
    """
    folder, node = workdir / 'processor', config.data.get('processor')
    if node is None or not (folder / 'data.json').is_file():
        return None
    module = configs.module('data.processors', node.name)
    around = getattr(configs.module('data', config.data.name), 'saved', None)  # what the data set adds to it
    try:
        found = module.load(folder)
        return around(folder, found) if around else found
    except Exception as error:  # whatever the files hold; `tokenizers` raises bare Exceptions
        raise UserError(
            '{folder} is damaged: it holds no processor "{name}" ({error}).\nBring it back from a copy, or give another'
            ' --workdir to start anew.',
            folder=folder,
            name=node.name,
            error=_first_line(error),
        ) from None


def read_data(workdir: Path) -> dict[str, Any]:
    """Returns what `remember` wrote: fingerprint, info, batch.

    Raises:
      UserError: training never got as far as the data, or what was written is damaged.
    """
    file = workdir / 'processor' / 'data.json'
    if not file.is_file():
        raise UserError('--workdir={workdir}: this experiment was never trained; run train first.', workdir=workdir)
    try:
        about = json.loads(_read(file))
        fingerprint, info, batch = about['fingerprint'], about['info'], about['batch']
        if not (isinstance(fingerprint, str) and all(map(_is_info, info.values()))):
            raise ValueError
        if not all(_is_shape(shape) and np.dtype(dtype).kind in 'biuf' for shape, dtype in batch.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            '{file} is damaged.\nBring it back from a copy, or give another --workdir to start anew.', file=file
        ) from None
    return about


def _is_info(value: Any) -> bool:
    return isinstance(value, str | float | list) or (isinstance(value, int) and 0 <= value < 2**31)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 < size < 2**31 for size in value)


def _read(file: Path) -> str:
    """Returns the text of a file of the workdir; UserError where it is none."""
    try:
        return file.read_text('utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('{file} cannot be read ({error}).', file=file, error=_first_line(error)) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [''])[0][:200] or type(error).__name__


def furthest(workdir: Path) -> int:
    """Returns the last step that was ever logged, whether a checkpoint holds it or not; 0 where none was."""
    found = (lines.parsed(line) for line in reversed(lines.read(workdir / 'metrics.jsonl').split(b'\n')))
    return next((row['step'] for row in found if row is not None), 0)


def _write_anew(file: Path, content: bytes, private: bool = False) -> None:
    """Writes what changes, so that going on wants no room on a disk that is full."""
    if not (file.exists() and file.read_bytes() == content):
        place.write(file, content, private)
