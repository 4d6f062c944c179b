"""Data sets that TensorFlow Datasets has prepared, as folders: which are there, and whether they can be read."""

import json
import os
import re
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError, alternatives, nearest

FORMAT = 'array_record'  # of the files: the one that finds a record by its number
FEATURES = 'tensorflow_datasets.core.features.'  # whose classes a set may name


def library() -> Any:
    """Returns the module tensorflow_datasets; UserError says how to install it."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        raise UserError(
            'this source wants TensorFlow Datasets ({error}); bash launch/setup.sh --extras=tfds installs it.',
            error=error,
        ) from None
    return tensorflow_datasets


def home(dir: str) -> Path:
    """Returns the folder that holds sets."""
    return Path(dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()


def prepared(set: str, dir: str, version: str) -> Path | None:
    """Returns the folder of a prepared set, <dir>/<set>/<version>, by default of its newest; None where there is none.

    Raises:
      UserError: this is no name of a set.
    """
    if not re.fullmatch(r'\w+(/[\w.+-]*\w)?', set):
        raise UserError('set="{set}": the name of a set is wanted, such as mnist or cifar10_1/v6.', set=set)
    folder = home(dir) / set
    versions = versions_of(folder)
    if version:
        return folder / version if version in versions else None
    return folder / versions[-1] if versions else None


def folder_of(set: str, dir: str, version: str) -> Path:
    """Returns the folder of a prepared set.

    Raises:
      UserError: there is none; it says how to prepare it.
    """
    if found := prepared(set, dir, version):
        return found
    root = home(dir)
    if versions := versions_of(root / set):
        raise UserError(
            'version="{version}" of {set} is not in "{folder}"; {alternatives}',
            version=version,
            set=set,
            folder=root,
            alternatives=alternatives(version, versions),
        )
    if configurations := [entry.name for entry in entries(root / set) if versions_of(entry)]:
        raise UserError(
            'set="{set}": this set has configurations: set="{set}/{first}"; {alternatives}',
            set=set,
            first=configurations[0],
            alternatives=alternatives('', configurations),
        )
    raise UserError(
        'set="{set}" is not prepared in "{folder}".{nearest} To prepare it, once:'
        ' python -m jaxlab.main prepare --config=…\n'
        'If it lies elsewhere: --config.data.source.dir=…, or the variable TFDS_DATA_DIR.',
        set=set,
        folder=root,
        nearest=nearest(set, [entry.name for entry in entries(root) if entry.name != 'downloads']),
    )


def versions_of(folder: Path) -> list[str]:
    """Returns the versions of a set that are prepared, the newest last."""
    names = [entry.name for entry in entries(folder) if (entry / 'dataset_info.json').is_file()]
    names = [name for name in names if re.fullmatch(r'\d+\.\d+\.\d+', name)]
    return sorted(names, key=lambda name: [int(number) for number in name.split('.')])


def entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def check_files(folder: Path) -> None:
    """Raises UserError where a set cannot be read by number, or where its features would be code from elsewhere."""
    try:
        info = json.loads((folder / 'dataset_info.json').read_text('utf-8'))
        features = json.loads((folder / 'features.json').read_text('utf-8'))
        form = info.get('fileFormat', info.get('file_format', 'tfrecord'))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            'the prepared set in "{folder}" cannot be read ({error}).', folder=folder, error=error
        ) from None
    if form != FORMAT:
        raise UserError(
            'the set in "{folder}" consists of {form} files, which cannot be read by number.\n'
            'Prepare it in another folder: python -m jaxlab.main prepare --config=… --config.data.source.dir=…',
            folder=folder,
            form=form,
        )
    for name in classes_in(features):
        if not name.startswith(FEATURES):
            raise UserError(
                'the set in "{folder}" has a feature "{name}", which is code from outside TensorFlow Datasets.',
                folder=folder,
                name=name,
            )


def classes_in(node: Any) -> list[str]:
    """Returns the Python classes that a features.json names: TFDS imports their modules."""
    if isinstance(node, list):
        return [name for child in node for name in classes_in(child)]
    if not isinstance(node, dict):
        return []
    own = [
        value
        for key, value in node.items()
        if key.replace('_', '').lower() in ('pythonclassname', 'type', 'protocls') and isinstance(value, str)
    ]
    return own + classes_in(list(node.values()))
