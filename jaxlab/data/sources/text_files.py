"""Text of your own: a .txt or .jsonl file, or a folder of them."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jaxlab.data.documents import (
    Corpus,
    Document,
    File,
    bad_document,
    cannot_be_read,
    existing,
    find_files,
    missing_shards,
    not_utf8,
    one_in_twenty,
    read_pieces,
    stamp,
)
from jaxlab.data.records import BadRecord
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust.secrets import hidden

SUFFIXES = ('.txt', '.jsonl')
ENOUGH_FILES = 20  # from here on whole files are held out


def corpus(path: str) -> Corpus:
    """Returns the documents at `path`, a file or a folder searched through all its subfolders.

    Each .txt file is a document; so is each line of a .jsonl file, an object with its text under the key "text". A line
    must fit in memory, a .txt file need not. All text is UTF-8. What cannot be read is a document that says so: a file
    or line that is no text, an empty file, a shard that is missing (see `missing_shards`).

    Held out is about a twentieth:
      .jsonl: the documents whose sha256(text) % 20 == 0;
      .txt, 20 files or more: the files whose sha256(name) % 20 == 0, by their names relative to the folder;
      .txt, fewer: the end of each file, from the last line end in its first nineteen twentieths on. (A file that has no
      line end there is trained on whole.)

    Raises:
      UserError: nothing lies there, or nothing that can be read.
    """
    root = existing(path, 'config.data.path')
    missing: dict[str, int] = {}
    if root is None:
        raise UserError(
            'config.data.path: there is nothing at "{path}" (looked from "{here}").', path=path, here=os.getcwd()
        )
    if root.is_dir():
        files = find_files(root, SUFFIXES)
        if not files:
            raise UserError('config.data.path: the folder "{path}" holds no .txt or .jsonl file.', path=path)
        missing = missing_shards(file.name for file in files)
    elif root.suffix.lower() not in SUFFIXES:
        raise UserError(
            'config.data.path: "{path}" is neither a .txt file, nor a .jsonl file, nor a folder of them.', path=path
        )
    else:
        files = (File(root, root.name),)

    texts = sum(file.path.suffix.lower() == '.txt' for file in files)
    by_file = texts >= ENOUGH_FILES
    rule = say('files with sha256(name) % 20 == 0') if by_file else say('the last twentieth of every file')
    if texts < len(files):
        lines = say('lines with sha256(text) % 20 == 0')
        rule = say('{files} and {lines}', files=rule, lines=lines) if texts else lines

    def documents() -> Iterator[Document]:
        mean = sum(stamp(file.path)[1] for file in files) // len(files)  # what is missing is like what is there
        for name, count in missing.items():
            yield bad_document(name, is_missing(f'"{root / name}"', count), mean)
        for file in files:
            yield from documents_of(file, by_file)

    return Corpus(name=f'"{hidden(path)}"', rule=rule, files=files, documents=documents)


def documents_of(file: File, by_file: bool) -> Iterator[Document]:
    """Yields the documents of a file. Where it cannot be read from some place on, the last one says so."""
    if file.path.suffix.lower() == '.jsonl':
        yield from lines_of(file)
        return
    try:
        size = file.path.stat().st_size
        cut = size if by_file else last_line_end(file.path, size * 19 // 20) or size
    except OSError as error:
        yield bad_document(file.name, cannot_be_read(f'"{file.path}"', error), stamp(file.path)[1])
        return
    if size == 0:
        yield bad_document(file.name, is_empty(file.path), size)
    elif by_file:
        yield Document(file.name, one_in_twenty(file.name), partial(read_pieces, file.path), size)
    else:
        yield Document(file.name, False, partial(read_pieces, file.path, 0, cut), cut)
        yield Document(file.name, True, partial(read_pieces, file.path, cut, size), size - cut)


def lines_of(file: File) -> Iterator[Document]:
    position = number = found = 0
    try:
        with file.path.open('rb') as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found += 1
                    yield document_of(file, number, line, position)
                position += len(line)
    except OSError as error:
        rest = max(stamp(file.path)[1] - position, 0)
        record = named(file.path, number + 1) if number else f'"{file.path}"'
        yield bad_document(f'{file.name}:{number + 1}', cannot_be_read(record, error), rest)
        return
    if not found:
        yield bad_document(file.name, is_empty(file.path), position)


def document_of(file: File, number: int, line: bytes, position: int) -> Document:
    """Returns the document of one line of a .jsonl file; `number` and `position` say where it stands."""
    name = f'{file.name}:{number}'
    try:
        text = text_of(file.path, number, line, position)
    except BadRecord as error:
        return bad_document(name, error, len(line))
    return Document(name, one_in_twenty(text), partial(iter, (text,)), len(line))


def text_of(path: Path, number: int, line: bytes, position: int) -> str:
    """Returns the text of one line. Raises BadRecord where it is none."""
    try:
        text = json.loads(line.decode())['text']
        text.encode()  # JSON may spell half a character ("\ud83d"), which is no text
        return text
    except UnicodeDecodeError as error:
        raise not_utf8(named(path, number), line[error.start], position + error.start) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadRecord(
            'config.data.path: {record} is no text: {line}\n'
            'Every line of a .jsonl file is an object with its text under the key "text": {{"text": "Once …"}}'
            ' (--config.data.bad=skip leaves others out)',
            record=named(path, number),
            line=line[:50].decode(errors='replace').strip(),
        ) from None


def named(path: Path, number: int) -> str:
    return say('"{path}", line {number:,}', path=path, number=number)


def is_empty(path: Path) -> BadRecord:
    return BadRecord(
        'config.data.path: {record} is empty: it holds no text.\n'
        'Bring it back, take it away, or leave it out: --config.data.bad=skip',
        record=f'"{path}"',
    )


def is_missing(record: str, count: int) -> BadRecord:
    return BadRecord(
        'config.data.path: {record} is missing: there are others of these {count:,} files.\n'
        'Bring it back, or go on without it: --config.data.bad=skip',
        record=record,
        count=count,
    )


def last_line_end(path: Path, position: int) -> int:
    """Returns where the last line that ends at or before `position` ends, as a count of bytes; 0 where none does."""
    with path.open('rb') as file:
        while position > 0:
            begin = max(0, position - (1 << 16))
            file.seek(begin)
            if (found := file.read(position - begin).rfind(b'\n')) >= 0:
                return begin + found + 1
            position = begin
    return 0
