"""A stand-in for an object store: what such a store cannot do is an error, whoever asks for it.

Objects lie in a folder of this machine, and are there once they are written whole. Nothing can be appended to, made
exclusively, renamed, flushed or handed to the operating system; Orbax alone is given the folder, as it is given gs://.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from etils import epath
from etils.epath import stat_utils

SCHEME = 'stand-in:'


class Object(io.BytesIO):
    """An object that is being written."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target

    def close(self) -> None:
        if not self.closed:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            new = self.target.with_name(f'{self.target.name}.{id(self)}.uploading')
            new.write_bytes(self.getvalue())
            new.replace(self.target)
        super().close()


@epath.register_path_cls(f'{SCHEME}//')
class StandIn(epath.Path):
    """stand-in:///tmp/x is what lies in /tmp/x."""

    @property
    def _at(self) -> Path:
        assert self.parts[0] == SCHEME
        return Path('/', *self.parts[1:])

    def __str__(self) -> str:
        return f'{SCHEME}//{self._at}'

    def __repr__(self) -> str:
        return f'StandIn({str(self)!r})'

    def __fspath__(self) -> str:
        if (caller := sys._getframe(1).f_code.co_name) != 'native':
            raise OSError(f'{caller}: the operating system knows no object of a store')
        return str(self._at)

    def exists(self) -> bool:
        return self._at.is_file() or self.is_dir()

    def is_dir(self) -> bool:
        return self._at.is_dir() and any(files for _, _, files in os.walk(self._at))

    def is_file(self) -> bool:
        return self._at.is_file()

    def iterdir(self):
        if not self.is_dir():
            raise FileNotFoundError(f'{self}')
        for entry in self._at.iterdir():
            if entry.suffix != '.uploading' and (self / entry.name).exists():
                yield self / entry.name

    def open(self, mode='r', encoding=None, errors=None, **more):
        if mode.replace('b', '') not in ('r', 'w') or errors or more:
            raise OSError(f'{self}: a store cannot open in mode {mode}')
        if 'r' in mode:
            return self._at.open(mode, encoding=None if 'b' in mode else 'utf-8')
        return Object(self._at) if 'b' in mode else io.TextIOWrapper(Object(self._at), 'utf-8')

    def stat(self) -> stat_utils.StatResult:
        status = self._at.stat()
        return stat_utils.StatResult(self._at.is_dir(), status.st_size, int(status.st_mtime))

    def mkdir(self, mode=None, parents=False, exist_ok=False) -> None:
        """There are no folders."""

    def unlink(self, missing_ok=False) -> None:
        self._at.unlink(missing_ok)

    def rmtree(self, missing_ok=False) -> None:
        shutil.rmtree(self._at)

    def rename(self, target):
        raise OSError(f'{self}: a store renames nothing')

    replace = rename


def stand_in(folder: Path) -> StandIn:
    return epath.Path(f'{SCHEME}//{folder}')
