"""What a path can do, asked in one place: a workdir lies on a disk, or in an object store (gs://, s3://).

A store has no folders and no files that grow: an object is written whole, and is there once all of it is. It cannot
append, rename or flush, and need not flush: what it has taken outlives its power cuts. Whatever is not a path of this
machine is taken for such a store; nobody looks at prefixes.

The functions below do what both can, each in the way that its path can. Errors are `OSError`, whatever a store's own
library raises.
"""

import inspect
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError

PAUSE = 2.0  # seconds in which two that write one object of a plain store are sure to have written


@dataclass(frozen=True)
class Abilities:
    """What a path can do."""

    append: bool  # a file can grow, line by line
    rename: bool  # a file or folder gets another name in one step, and takes the place of what had it
    flush: bool  # what was written reaches the disk when it is told to, and maybe not before
    local: bool  # the operating system knows the path: locks, times


DISK = Abilities(append=True, rename=True, flush=True, local=True)
STORE = Abilities(append=False, rename=False, flush=False, local=False)


def can(path: Path) -> Abilities:
    """Returns what a path can do."""
    return DISK if isinstance(path, Path) else STORE


def of(text: str | Path) -> Path:
    """Returns the path that a person named: 'runs/a', 'gs://bucket/a'.

    Raises:
      UserError: what reads such paths is not installed, or nothing does.
    """
    if not isinstance(text, str) or '://' not in text:
        return Path(text) if isinstance(text, str) else text
    from etils import epath

    scheme = text.partition('://')[0]
    try:
        path: Any = epath.Path(text)
        path.exists()
    except KeyError:
        raise UserError(
            '{path}: there is no kind of storage "{scheme}"; gs:// or s3:// is.', path=text, scheme=scheme
        ) from None
    except ImportError as error:
        raise UserError(
            '{path}: {error}.\ngs:// wants the package gcsfs, s3:// wants s3fs: pip install gcsfs',
            path=text,
            error=error,
        ) from None
    except Exception as error:
        raise UserError('{path}: {error}.', path=text, error=error) from None
    return path


def native(path: Path) -> Any:
    """Returns a path as a library takes it that reaches the same place by means of its own (Orbax)."""
    if can(path).local:
        return path.absolute()
    from etils import epath

    return epath.Path(os.fspath(path))


def whole(path: Path) -> Path:
    """Returns a path from the root; those of stores are."""
    return path.resolve() if can(path).local else path


def spool(workdir: Path, name: str) -> Path:
    """Returns a folder of this machine for what must be one: in the workdir, or of a store, one of this process's."""
    if can(workdir).local:
        return workdir / name
    return Path(tempfile.mkdtemp(prefix=f'jaxlab-{name}-'))


# --- reading ---------------------------------------------------------------------------------------------------------


def entries(folder: Path) -> list[Path]:
    """Returns what lies in a folder now, by name; nothing where there is none."""
    with _errors(folder):
        if not can(folder).local:
            _forget_listings(folder)
        try:
            return sorted(folder.iterdir())
        except FileNotFoundError:
            return []


def files(folder: Path) -> Iterator[Path]:
    """Yields all files below a folder."""
    for entry in entries(folder):
        if entry.is_dir():
            yield from files(entry)
        else:
            yield entry


def folders(folder: Path) -> Iterator[Path]:
    """Yields all folders below a folder."""
    for entry in entries(folder):
        if entry.is_dir():
            yield entry
            yield from folders(entry)


def is_link(path: Path) -> bool:
    """Whether a path is a symbolic link; stores have none."""
    return can(path).local and path.is_symlink()


def size(file: Path) -> int:
    """Returns bytes."""
    with _errors(file):
        status: Any = file.stat()
        return status.st_size if can(file).local else status.length


def modified(file: Path) -> float:
    """Returns the time of the last change, in seconds by the clock of the place itself; FileNotFoundError: none."""
    with _errors(file):
        if can(file).local:
            descriptor = os.open(file, os.O_RDONLY)  # what is opened is asked of the server anew (NFS)
            try:
                return os.fstat(descriptor).st_mtime
            finally:
                os.close(descriptor)
        _forget_listings(file.parent)
        status: Any = file.stat()
        return float(status.mtime)


def now(folder: Path) -> float:
    """Returns what time it is by the clock of the place itself, as a file that is written shows it."""
    probe = folder / f'.{uuid.uuid4().hex}'
    write(probe, b'now')
    try:
        return modified(probe)
    finally:
        with suppress(OSError):
            remove(probe)


# --- writing ---------------------------------------------------------------------------------------------------------


def write(file: Path, content: str | bytes, private: bool = False) -> None:
    """Writes a file whole or not at all; when this returns, it outlives a power cut.

    On a disk a private file can be read by its owner alone; in a store it is for the bucket to say who reads.
    """

    def open_new(path: str, flags: int) -> int:  # a link that somebody has laid there is not followed
        descriptor = os.open(path, flags | getattr(os, 'O_NOFOLLOW', 0), 0o600 if private else 0o666)
        if private:
            os.chmod(path, 0o600)  # where a process that died has left one
        return descriptor

    data = content.encode() if isinstance(content, str) else content
    with _errors(file):
        if not can(file).rename:
            file.write_bytes(data)  # a store has it once it has all of it
            return
        new = file.with_name(f'.{file.name}.new')
        with open(new, 'wb', opener=open_new) as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
        flush(file.parent)


def create(file: Path, data: bytes) -> None:
    """Writes a file that is not there yet.

    On a disk, and in a store that offers conditional writes (Google's and Amazon's do, by way of fsspec), one of
    several that do this at the same time succeeds. In a plain store the file is written and read again after
    `PAUSE`: the last writer of it succeeds, provided that none of them took longer than that from its look to its
    write.

    Raises:
      FileExistsError: it is there, or somebody else was quicker.
    """
    with _errors(file):
        if can(file).local:
            with open(file, 'xb') as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            return
        if (store := _store(file)) is not None and 'mode' in inspect.signature(_pipe(store)).parameters:
            store.pipe_file(str(file), data, mode='create')
            return
        if file.exists():
            raise FileExistsError(f'{file}')
        file.write_bytes(data)
        time.sleep(PAUSE)
        if file.read_bytes() != data:
            raise FileExistsError(f'{file}')


def renew(file: Path) -> None:
    """Makes the time of the last change of a file the present one, by the clock of the place itself."""
    with _errors(file):
        if can(file).local:
            os.utime(file)
        else:
            file.write_bytes(file.read_bytes())


def move(file: Path, target: Path) -> None:
    """Gives a file another name; in a store both are there for a moment."""
    with _errors(file):
        if can(file).rename:
            file.replace(target)
        else:
            target.write_bytes(file.read_bytes())
            file.unlink()


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it; what is not there is removed already."""
    with _errors(path), suppress(FileNotFoundError):
        if is_link(path) or not path.is_dir():
            path.unlink()
        elif can(path).local:
            shutil.rmtree(path)
        else:
            path.rmtree()  # type: ignore[attr-defined]


def flush(path: Path) -> None:
    """Makes what was written to a file, or the names within a folder, outlive a power cut."""
    if not can(path).flush:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- stores ----------------------------------------------------------------------------------------------------------


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Makes an OSError of whatever the library of a store raises; see its text for what it was."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if can(path).local:
            raise
        raise OSError(f'{type(error).__name__}: {error}') from error


def _store(path: Path) -> Any:
    """Returns the file system of fsspec that a path of a store lies on; None where fsspec has none."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(str(path))[0]
    except (ValueError, ImportError):
        return None


def _pipe(store: Any) -> Any:
    return getattr(store, '_pipe_file', store.pipe_file)


def _forget_listings(folder: Path) -> None:
    """Others write there too, and fsspec keeps what it has listed."""
    if (store := _store(folder)) is not None:
        store.invalidate_cache()
