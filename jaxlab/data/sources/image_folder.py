"""Pictures of your own: a folder for each class, with its pictures in it.

pets/cat/1.jpg  pets/dog/1.jpg …                               all of them are the training part
pets/train/cat/1.jpg …  pets/validation/cat/7.jpg …  pets/test/cat/9.jpg …        parts that you have chosen
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxlab.data.documents import existing
from jaxlab.data.fingerprints import of_files
from jaxlab.data.picture_files import SUFFIXES, check_channels, read_picture
from jaxlab.data.sources import Example, Source
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust.secrets import hidden

# What the folder of each part may be called, in any case of letters.
PARTS = {'train': ('train', 'training'), 'validation': ('validation', 'valid', 'val', 'dev'), 'test': ('test',)}
NOT_OURS = ('__macosx', 'thumbs.db', 'desktop.ini')  # what systems leave behind, besides names that begin with a dot


def make(*, path: str = '', channels: int = 3, upright: bool = True) -> Source:
    """Returns the pictures below a folder; their classes are the names of its subfolders, sorted.

    Which pictures there are is looked up once; each is read when it is asked for. A class may have further folders
    below its own. Files that are no pictures by their suffix are left out, and the screen says how many. Where the
    folder has a folder `train` that itself holds folders, these are the classes of the training part, and `validation`
    (also valid, val, dev) and `test` are the others.

    Args:
      path: the folder.
      channels: 1 (grey), 3 (colour) or 4 (colour and opacity): pictures of any kind become this; see picture_files.py.
      upright: turn each picture as its camera noted (EXIF).

    Returns:
      a Source of inputs uint8 [h w c] of any size, and targets from 0 to the number of classes - 1.

    Raises:
      UserError: there is no such folder, it has fewer than two classes, a class has no pictures, or parts differ in
        their classes.
    """
    if not path:
        raise UserError('path is not set: give a folder that has one folder of pictures for each class.')
    root = existing(path, 'config.data.source.path')
    if root is None or not root.is_dir():
        raise UserError('path: there is no folder "{path}" (looked from "{here}").', path=path, here=os.getcwd())
    check_channels(channels)
    name = f'"{hidden(path)}"'
    folders = parts_of(root)
    found = {part: {c.name: pictures_of(root, c) for c in folders_of(folder)} for part, folder in folders.items()}
    labels = sorted({label for classes in found.values() for label in classes})
    check_classes(root, folders, found, labels)
    names = {part: [name for label in labels for name in classes[label]] for part, classes in found.items()}
    others = sum(1 for _ in files_below(root)) - sum(map(len, names.values()))
    if others:
        note = say(
            'note: {name}: {count:,} files are left out: {suffixes} of the classes are read',
            name=name,
            count=others,
            suffixes=' '.join(SUFFIXES),
        )
        print(note, flush=True)
    parts = {}
    for part, classes in found.items():
        targets = np.repeat(np.arange(len(labels)), [len(classes[label]) for label in labels])
        parts[part] = Pictures(root, tuple(names[part]), targets, channels, upright)
    files = {file: root / file for part in names.values() for file in part}
    return Source(name, parts, tuple(labels), of_files(name, files, channels, upright, labels))


@dataclass(frozen=True)
class Pictures:
    """Files of pictures, by their names below `root`, and the class of each."""

    root: Path
    names: tuple[str, ...]
    targets: np.ndarray
    channels: int
    upright: bool

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Example:
        file = self.root / self.names[index]
        picture = read_picture(file, f'"{file}"', self.channels, self.upright)
        return {'inputs': picture, 'targets': int(self.targets[index])}


def folder_name(label: str) -> str:
    """Returns what the folder of a class is called: its name, without what no name of a folder may hold, or what would
    hide it."""
    found = ''.join('_' if c in '/\\:*?"<>|' or not c.isprintable() else c for c in label).strip()
    return f'_{found}' if not is_ours(found or '.') else found


def parts_of(root: Path) -> dict[str, Path]:
    """Returns {'train': its folder, …}: the folder itself, unless it holds folders of parts."""
    by_name = {folder.name.lower(): folder for folder in folders_of(root)}
    found = {}
    for part, names in PARTS.items():
        if there := [by_name[name] for name in names if name in by_name]:
            if len(there) > 1:
                raise UserError(
                    'path: both "{first}" and "{second}" would be the part "{part}"; take one away.',
                    first=there[0],
                    second=there[1],
                    part=part,
                )
            found[part] = there[0]
    if 'train' in found and folders_of(found['train']):
        return found
    return {'train': root}


def folders_of(folder: Path) -> list[Path]:
    """Returns the folders in a folder, sorted by name, without hidden ones."""
    try:
        entries = [entry for entry in folder.iterdir() if is_ours(entry.name) and entry.is_dir()]
    except OSError as error:
        raise not_listed(folder, error) from None
    return sorted(entries, key=lambda entry: entry.name)


def pictures_of(root: Path, folder: Path) -> list[str]:
    """Returns the pictures in a folder and below, by their names below `root`, sorted; '/' on every system."""
    found = []
    for path in files_below(folder):
        name = os.path.basename(path)
        if is_ours(name) and os.path.splitext(name)[1].lower() in SUFFIXES:
            found.append(os.path.relpath(path, root).replace(os.sep, '/'))
    return sorted(found)


def files_below(folder: Path) -> Iterator[str]:
    """Yields the paths of all files below a folder, those in hidden folders left out."""

    def unlisted(error: OSError) -> None:
        raise not_listed(error.filename, error)

    for place, folders, names in os.walk(folder, onerror=unlisted):
        folders[:] = [name for name in folders if is_ours(name)]
        yield from (os.path.join(place, name) for name in names)


def not_listed(folder: str | Path, error: OSError) -> UserError:
    why = error.strerror or error
    return UserError('path: the folder "{folder}" cannot be listed ({error}).', folder=folder, error=why)


def is_ours(name: str) -> bool:
    return not name.startswith('.') and name.lower() not in NOT_OURS


def check_classes(
    root: Path, folders: Mapping[str, Path], found: Mapping[str, Mapping[str, list[str]]], labels: list[str]
) -> None:
    """Raises UserError where the classes are not those of a classification."""
    if len(labels) < 2:
        raise UserError(
            'path: "{folder}" has {count} folders of pictures; a classification has two classes or more, each in a'
            ' folder of its own.',
            folder=root,
            count=len(labels),
        )
    for part, classes in found.items():
        for label in labels:
            if label not in classes:
                raise UserError(
                    'path: "{folder}" has no folder "{label}", which another part has; every part wants every class.',
                    folder=folders[part],
                    label=label,
                )
            if not classes[label]:
                raise UserError(
                    'path: the class "{folder}" holds no picture ({suffixes}).',
                    folder=folders[part] / label,
                    suffixes=' '.join(SUFFIXES),
                )
