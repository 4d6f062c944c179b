"""One short name for all that a data set is made from: it changes when the data change."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlab.messages import say

WHOLE = 1 << 30  # bytes of files that are read for it; of more, names and sizes have to do


def of_files(name: str, files: Mapping[str, Path], *rest: Any) -> str:
    """Returns the sha256, in hexadecimal digits, of files and of what else examples are made from.

    Of files of WHOLE bytes or less in all it is that of their names and contents, so it is the same wherever they lie
    and whenever they were copied. Of more it is that of their names and sizes, and the screen says so. A file that
    cannot be read counts as such: it is for who reads its records to say so.

    Args:
      name: of the data set, for the screen.
      files: {a name that is the same on every machine: the file}.
      *rest: any JSON values.
    """
    found = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    sizes = {file_name: _size(path) for file_name, path in files.items()}
    total = sum(sizes.values())
    if total > WHOLE:
        line = say(
            'note: {name} has {size:.1f} GB: it is known again by names and sizes, not by what the files hold',
            name=name,
            size=total / 1e9,
        )
        print(line, flush=True)
    for file_name in sorted(files):
        found.update(json.dumps([file_name, sizes[file_name]]).encode())
        if total <= WHOLE:
            found.update(_digest(files[file_name]))
    return found.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _digest(path: Path) -> bytes:
    try:
        with path.open('rb') as file:
            return hashlib.file_digest(file, 'sha256').digest()
    except OSError:
        return b'unreadable'
