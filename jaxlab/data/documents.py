"""A corpus of documents: what is read, what of it is held out, and how a file becomes pieces of text."""

import codecs
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jaxlab.data.records import FEW, BadRecord, Omitted, Tolerance
from jaxlab.errors import UserError
from jaxlab.messages import say

PIECE_BYTES = 1 << 18  # documents are read and encoded in pieces of about this size
SHARD = re.compile(r'(.*)-(\d{5,6})-of-(\d{5,6})(\D.*)?')  # lessons-00002-of-00010.jsonl


@dataclass(frozen=True)
class File:
    """A file of the corpus: where it lies, and its name relative to the corpus, with '/' on every system."""

    path: Path
    name: str


@dataclass(frozen=True)
class Document:
    """One document, which takes up `size` bytes of its file.

    `pieces()` reads it anew on every call; the pieces, joined, are its text. It raises BadRecord where the document
    cannot be read.
    """

    name: str
    held_out: bool
    pieces: Callable[[], Iterator[str]]
    size: int


@dataclass(frozen=True)
class Corpus:
    """Documents, and the files they are made of.

    Attributes:
      name: for the screen.
      rule: how the held-out part is chosen, for the screen and for error messages.
      files: every file, sorted by name; finding them has opened none.
      documents: reads the documents, always in the same order.
      skips: whether documents that cannot be read are left out; see `without_bad`.
      omitted: says which those are.
      edition: of the way in which text is taken from the files: what was stored by another one is made anew.
    """

    name: str
    rule: str
    files: tuple[File, ...]
    documents: Callable[[], Iterator[Document]]
    skips: bool = False
    omitted: Callable[[], Omitted] = Omitted
    edition: str = ''

    def key(self) -> list[Any]:
        """Returns what changes when the documents may have changed: what is stored of them is found by it."""
        return [self.edition, self.stamps()]

    def stamps(self) -> list[tuple[str, int, int]]:
        """Returns (path, size in bytes, time of change in nanoseconds) of every file: changes when a file changes."""
        return [stamp(file.path) for file in self.files]


def existing(path: str, key: str) -> Path | None:
    """Returns the file or folder of a path that a config gives, with '~' for the user's own; None where there is none.

    Raises:
      UserError: nobody can say, since it is no path, or may not be looked at.
    """
    try:
        found = Path(path).expanduser()
        found.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError, ValueError) as error:  # too long, no permission; '~nobody/'; a zero byte
        why = getattr(error, 'strerror', None) or error
        raise UserError('{key}: nothing can be read at "{path}" ({error}).', key=key, path=path, error=why) from None
    return found


def stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # it is gone, or its disk fails; whoever reads it will say so
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def one_in_twenty(name: str) -> bool:
    """Says whether `name` is one of the twentieth of all names that are held out: the same ones on every machine."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20 == 0


# --- files -----------------------------------------------------------------------------------------------------------


def find_files(root: Path, suffixes: tuple[str, ...], skip: frozenset[str] = frozenset()) -> tuple[File, ...]:
    """Returns the files below `root` that end in one of `suffixes`, without folders named in `skip`, sorted by name.

    A folder that cannot be listed and a link that leads nowhere are among them, for whoever reads them to say so.
    """
    found = []

    def unlisted(error: OSError) -> None:
        path = Path(error.filename)
        found.append(File(path, path.relative_to(root).as_posix()))

    for folder, folders, names in os.walk(root, onerror=unlisted):
        folders[:] = [name for name in folders if name not in skip]
        for name in names:
            path = Path(folder, name)
            if path.suffix.lower() in suffixes and (path.is_file() or (path.is_symlink() and not path.exists())):
                found.append(File(path, path.relative_to(root).as_posix()))
    return tuple(sorted(found, key=lambda file: file.name))


def missing_shards(names: Iterable[str]) -> dict[str, int]:
    """Returns {'lessons-00001-of-00003.jsonl': 3} where, by the names of others, there are such files, and no such one.

    Shards are counted from 0, or from 1 where the last one has the number of how many there are.
    """
    groups: dict[tuple[str, str, str], set[str]] = {}
    for name in names:
        if match := SHARD.fullmatch(name):
            before, number, count, after = match.groups('')
            groups.setdefault((before, count, after), set()).add(number)
    missing: dict[str, int] = {}
    for (before, count, after), numbers in sorted(groups.items()):
        width = len(next(iter(numbers)))
        first = int(count in numbers and '0' * width not in numbers)
        wanted = [f'{number:0{width}}' for number in range(first, first + int(count))]
        missing |= {f'{before}-{number}-of-{count}{after}': int(count) for number in wanted if number not in numbers}
    return missing


# --- text ------------------------------------------------------------------------------------------------------------


def read_pieces(path: Path, begin: int = 0, end: int | None = None) -> Iterator[str]:
    """Yields the text of bytes begin..end-1 of a UTF-8 file in pieces of about PIECE_BYTES, cut after a line end.

    A piece without a line end is cut between two characters. Nothing is translated: the pieces, encoded again, are the
    bytes of the file.

    Raises:
      BadRecord: the file cannot be read, or is not UTF-8 text; then it names the first bad byte. (A byte 0 is text
        nowhere: it is found in other encodings, and where a file was never wholly written.)
    """
    decoder = codecs.getincrementaldecoder('utf-8')()
    position, text = begin, ''
    try:
        left = path.stat().st_size - begin if end is None else end - begin
        with path.open('rb') as file:
            file.seek(begin)
            while left > 0 and (block := file.read(min(left, PIECE_BYTES))):
                if (zero := block.find(0)) >= 0:
                    position += zero
                    decoder.decode(block[:zero], final=True)  # what is wrong before it comes first
                    raise not_utf8(f'"{path}"', 0, position)
                position, left = position + len(block), left - len(block)
                text += decoder.decode(block, final=left == 0)
                cut = text.rfind('\n') + 1 or len(text)
                if cut:
                    yield text[:cut]
                text = text[cut:]
    except UnicodeDecodeError as error:
        # What the decoder looked at (a character begun in the last block, then this block) ends at `position`.
        raise not_utf8(f'"{path}"', error.object[error.start], position - len(error.object) + error.start) from None
    except OSError as error:
        raise cannot_be_read(f'"{path}"', error) from None
    if left > 0:
        raise cannot_be_read(f'"{path}"', say('it has become shorter'))
    if text:
        yield text


def not_utf8(record: str, byte: int, position: int) -> BadRecord:
    return BadRecord(
        'config.data.path: {record} is not UTF-8 text: byte 0x{byte:02x} at position {position:,}.\n'
        'Convert it first, for example: iconv -f GB18030 -t UTF-8 old.txt > new.txt'
        ' (or leave it out: --config.data.bad=skip)',
        record=record,
        byte=byte,
        position=position,
    )


def cannot_be_read(record: str, error: OSError | str) -> BadRecord:
    why = error if isinstance(error, str) else error.strerror or error
    return BadRecord(
        'config.data.path: {record} cannot be read ({why}).\nMend it, or leave it out: --config.data.bad=skip',
        record=record,
        why=why,
    )


# --- documents that cannot be read -----------------------------------------------------------------------------------


def bad_document(name: str, error: BadRecord, size: int) -> Document:
    """Returns a document that stands where one cannot be read: whoever wants its text gets the error."""

    def pieces() -> Iterator[str]:
        raise error

    return Document(name, False, pieces, size)


def without_bad(corpus: Corpus, tolerated: Tolerance) -> Corpus:
    """Returns the corpus without documents that cannot be read, where these may be left out.

    Which they are is found once, when somebody wants the first document: all are read for it, since an error may come
    anywhere in a document, and no part of it may be used then.

    Raises:
      UserError: (where documents are read) more cannot be read than is tolerated.
    """
    if not tolerated.skip:
        return corpus

    @cache
    def survey() -> tuple[set[tuple[str, bool]], Omitted]:
        total = max(sum(size for _, size, _ in corpus.stamps()), 1)
        bad: set[tuple[str, bool]] = set()
        records = of = records_bytes = of_bytes = 0
        first: list[str] = []
        for document in corpus.documents():
            of, of_bytes = of + 1, of_bytes + document.size
            try:
                for _ in document.pieces():
                    pass
            except BadRecord as error:
                records, records_bytes = records + 1, records_bytes + document.size
                bad.add((document.name, document.held_out))
                first += [error.record][: FEW - len(first)]
                if records_bytes > tolerated.rate * (total + records_bytes):  # too much, whatever else there is
                    break
        omitted = Omitted(records, records_bytes, of, of_bytes, tuple(first))
        omitted.check(tolerated, corpus.name)
        if records:
            line = say(
                'warning: left out of {name}, since they cannot be read: {records:,} of {of:,} records ({first})',
                name=corpus.name,
                records=records,
                of=of,
                first=', '.join([*first, '…'] if records > len(first) else first),
            )
            print(line, flush=True)
        return bad, omitted

    def documents() -> Iterator[Document]:
        bad, _ = survey()
        return (document for document in corpus.documents() if (document.name, document.held_out) not in bad)

    return replace(corpus, documents=documents, skips=True, omitted=lambda: survey()[1])
