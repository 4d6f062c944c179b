"""What takes time to make is made once and kept: $JAXLAB_CACHE, else $XDG_CACHE_HOME/jaxlab, else ~/.cache/jaxlab."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from jaxlab.errors import UserError
from jaxlab.messages import say

T = TypeVar('T')


def root() -> Path:
    """Returns the folder that all caches lie in."""
    if folder := os.environ.get('JAXLAB_CACHE'):
        return Path(folder).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'jaxlab'


def cached(room: str, key: Any, build: Callable[[Path], None], open_folder: Callable[[Path], T | None]) -> T:
    """Opens the folder of `key`, and builds it first where there is none.

    A folder is filled under another name and renamed when it is complete, in one step: so it is complete or absent, and
    when two build it at the same time, one is first and both use the same.

    Args:
      room: what kind of thing it is: a folder of the cache.
      key: what it is made from: any JSON value.
      build: fills an empty folder.
      open_folder: reads a folder; None where there is none, or a damaged one.

    Raises:
      UserError: the cache cannot be written; and whatever `build` raises.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    final = root() / room / digest[:16]
    if (found := open_folder(final)) is not None:
        return found
    if final.exists():
        print(say('warning: {folder} is damaged, and is made anew', folder=final), flush=True)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='building-', dir=final.parent) as temporary:
            with suppress(FileNotFoundError):
                final.rename(Path(temporary, 'damaged'))
            filled = Path(temporary, 'filled')
            filled.mkdir()
            build(filled)
            try:
                filled.rename(final)
            except OSError:
                if open_folder(final) is None:  # else somebody was quicker: theirs is as good
                    raise
    except OSError as error:
        raise UserError(
            'Nothing can be written to the cache in "{folder}": {error}.\n'
            'The variable JAXLAB_CACHE can name another folder.',
            folder=root(),
            error=error,
        ) from None
    opened = open_folder(final)
    assert opened is not None, f'{final} was complete a moment ago'
    return opened
