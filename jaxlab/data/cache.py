"""What takes time to make is made once and kept: $JAXLAB_CACHE, else $XDG_CACHE_HOME/jaxlab, else ~/.cache/jaxlab.

It is its owner's alone: compiled programs lie in it, and are run as they are found.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from jaxlab.errors import UserError
from jaxlab.messages import say

T = TypeVar('T')

PATIENCE = 1.0  # seconds that a process waits for another before it says so


def root() -> Path:
    """Returns the folder that all caches lie in."""
    if folder := os.environ.get('JAXLAB_CACHE'):
        return Path(folder).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'jaxlab'


def room(name: str) -> Path:
    """Returns a folder of the cache that nobody else can write to or look into; it is made if missing.

    Where others could write to it, it is closed to them, and what lies there is made anew.

    Raises:
      UserError: it belongs to another user, or cannot be written.
    """
    folder = root() / name
    try:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        if not hasattr(os, 'getuid'):  # Windows, where the profile's folder is its user's
            return folder
        owners = {folder.stat().st_uid, folder.lstat().st_uid}  # of the folder, and of a link to it
        if owners != {os.getuid()}:
            raise UserError(
                'The cache in "{folder}" belongs to another user, who could change the programs that are run from it.\n'
                'The variable JAXLAB_CACHE can name another folder.',
                folder=folder,
            )
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077:
            folder.chmod(0o700)
        if mode & 0o022:
            for entry in folder.iterdir():
                if re.fullmatch(r'[0-9a-f]{16}|.*-(cache|atime)', entry.name):  # as `cached` and JAX name theirs
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            note = say('note: others could write to {folder}: it is closed now, and made anew', folder=folder)
            print(note, flush=True)
    except OSError as error:
        raise unwritable(error) from None
    return folder


def unwritable(error: OSError) -> UserError:
    return UserError(
        'Nothing can be written to the cache in "{folder}": {error}.\n'
        'The variable JAXLAB_CACHE can name another folder.',
        folder=root(),
        error=error,
    )


def cached(kind: str, key: Any, build: Callable[[Path], None], open_folder: Callable[[Path], T | None]) -> T:
    """Opens the folder of `key`, and builds it first where there is none.

    A folder is filled under another name and renamed when it is complete, in one step: so it is complete or absent. Of
    several processes that want it at the same time, one builds it and the others wait for it.

    Args:
      kind: what kind of thing it is: a folder of the cache.
      key: what it is made from: any JSON value.
      build: fills an empty folder.
      open_folder: reads a folder; None where there is none, or a damaged one.

    Raises:
      UserError: the cache cannot be written; and whatever `build` raises.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    final = room(kind) / digest[:16]
    if (found := open_folder(final)) is not None:
        return found
    try:
        with alone(final):
            if (found := open_folder(final)) is not None:
                return found
            return built(final, build, open_folder)
    except OSError as error:
        raise unwritable(error) from None


@contextmanager
def alone(final: Path) -> Iterator[None]:
    """A context that one process at a time is in, for each folder; it is left when the process ends, however it does.

    Two that found nothing at the same time would clear away each other's work: what one takes for damaged, the other
    has completed since.
    """
    lock = FileLock(f'{final}.lock')
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(say('waiting for another process, which makes {folder}', folder=final), flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def built(final: Path, build: Callable[[Path], None], open_folder: Callable[[Path], T | None]) -> T:
    """Fills a folder that is not there, or damaged, and opens it."""
    with tempfile.TemporaryDirectory(prefix='building-', dir=final.parent) as temporary:
        if final.exists():
            print(say('warning: {folder} is damaged, and is made anew', folder=final), flush=True)
            final.rename(Path(temporary, 'damaged'))
        filled = Path(temporary, 'filled')
        filled.mkdir()
        build(filled)
        filled.rename(final)
    opened = open_folder(final)
    assert opened is not None, f'{final} was complete a moment ago'
    return opened
