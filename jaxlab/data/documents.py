"""A corpus of documents: what is read, what of it is held out, and how a file becomes pieces of text."""

import codecs
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxlab.errors import UserError

PIECE_BYTES = 1 << 18  # documents are read and encoded in pieces of about this size


@dataclass(frozen=True)
class File:
    """A file of the corpus: where it lies, and its name relative to the corpus, with '/' on every system."""

    path: Path
    name: str


@dataclass(frozen=True)
class Document:
    """One document. `pieces()` reads it anew on every call; the pieces, joined, are its text."""

    name: str
    held_out: bool
    pieces: Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Corpus:
    """Documents, and the files they are made of.

    Attributes:
      name: for the screen.
      rule: how the held-out part is chosen, for the screen and for error messages.
      files: every file, sorted by name; finding them has opened none.
      documents: reads the documents, always in the same order.
    """

    name: str
    rule: str
    files: tuple[File, ...]
    documents: Callable[[], Iterator[Document]]

    def stamps(self) -> list[tuple[str, int, int]]:
        """Returns (path, size in bytes, time of change in nanoseconds) of every file: changes when a file changes."""
        return [stamp(file.path) for file in self.files]


def stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def one_in_twenty(name: str) -> bool:
    """Says whether `name` is one of the twentieth of all names that are held out: the same ones on every machine."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20 == 0


def find_files(root: Path, suffixes: tuple[str, ...], skip: frozenset[str] = frozenset()) -> tuple[File, ...]:
    """Returns the files below `root` that end in one of `suffixes`, without folders named in `skip`, sorted by name."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in skip]
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in suffixes and path.is_file():
                found.append(File(path, path.relative_to(root).as_posix()))
    return tuple(sorted(found, key=lambda file: file.name))


def read_pieces(path: Path, begin: int = 0, end: int | None = None) -> Iterator[str]:
    """Yields the text of bytes begin..end-1 of a UTF-8 file in pieces of about PIECE_BYTES, cut after a line end.

    A piece without a line end is cut between two characters. Nothing is translated: the pieces, encoded again, are the
    bytes of the file.

    Raises:
      UserError: the file is not UTF-8; names the first bad byte.
    """
    decoder = codecs.getincrementaldecoder('utf-8')()
    left = path.stat().st_size - begin if end is None else end - begin
    position, text = begin, ''
    with path.open('rb') as file:
        file.seek(begin)
        while left > 0 and (block := file.read(min(left, PIECE_BYTES))):
            position, left = position + len(block), left - len(block)
            try:
                text += decoder.decode(block, final=left == 0)
            except UnicodeDecodeError as error:
                # What the decoder looked at (a character begun in the last block, then this block) ends at `position`.
                raise not_utf8(path, error.object[error.start], position - len(error.object) + error.start) from None
            cut = text.rfind('\n') + 1 or len(text)
            if cut:
                yield text[:cut]
            text = text[cut:]
    if text:
        yield text


def not_utf8(path: Path, byte: int, position: int) -> UserError:
    return UserError(
        'config.data.path: "{path}" is not UTF-8: byte 0x{byte:02x} at position {position:,}.\n'
        'Convert it first, for example: iconv -f GB18030 -t UTF-8 old.txt > new.txt',
        path=path,
        byte=byte,
        position=position,
    )
