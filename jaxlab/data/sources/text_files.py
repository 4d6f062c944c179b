"""Text of your own: a .txt or .jsonl file, or a folder of them."""

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jaxlab.data.documents import Corpus, Document, File, find_files, not_utf8, one_in_twenty, read_pieces
from jaxlab.errors import UserError
from jaxlab.messages import say

SUFFIXES = ('.txt', '.jsonl')
ENOUGH_FILES = 20  # from here on whole files are held out


def corpus(path: str) -> Corpus:
    """Returns the documents at `path`, a file or a folder searched through all its subfolders.

    Each .txt file is a document; so is each line of a .jsonl file, an object with its text under the key "text". A line
    must fit in memory, a .txt file need not. All text is UTF-8.

    Held out is about a twentieth:
      .jsonl: the documents whose sha256(text) % 20 == 0;
      .txt, 20 files or more: the files whose sha256(name) % 20 == 0, by their names relative to the folder;
      .txt, fewer: the end of each file, from the last line end in its first nineteen twentieths on. (A file that has no
      line end there is trained on whole.)

    Raises:
      UserError: nothing lies there, or nothing that can be read.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        files = find_files(root, SUFFIXES)
        if not files:
            raise UserError('config.data.path: the folder "{path}" holds no .txt or .jsonl file.', path=path)
    elif not root.exists():
        raise UserError(
            'config.data.path: there is nothing at "{path}" (looked from "{here}").', path=path, here=os.getcwd()
        )
    elif root.suffix.lower() not in SUFFIXES:
        raise UserError(
            'config.data.path: "{path}" is neither a .txt file, nor a .jsonl file, nor a folder of them.', path=path
        )
    else:
        files = (File(root, root.name),)

    for file in files:
        if not os.access(file.path, os.R_OK):
            raise UserError('config.data.path: no permission to read "{path}".', path=file.path)
    texts = sum(file.path.suffix.lower() == '.txt' for file in files)
    by_file = texts >= ENOUGH_FILES
    rule = say('files with sha256(name) % 20 == 0') if by_file else say('the last twentieth of every file')
    if texts < len(files):
        lines = say('lines with sha256(text) % 20 == 0')
        rule = say('{files} and {lines}', files=rule, lines=lines) if texts else lines
    return Corpus(
        name=f'"{path}"',
        rule=rule,
        files=files,
        documents=lambda: (document for file in files for document in documents_of(file, by_file)),
    )


def documents_of(file: File, by_file: bool) -> Iterator[Document]:
    if file.path.suffix.lower() == '.jsonl':
        yield from lines_of(file)
    elif by_file:
        yield Document(file.name, one_in_twenty(file.name), partial(read_pieces, file.path))
    else:
        size = file.path.stat().st_size
        cut = last_line_end(file.path, size * 19 // 20) or size
        yield Document(file.name, False, partial(read_pieces, file.path, 0, cut))
        yield Document(file.name, True, partial(read_pieces, file.path, cut, size))


def lines_of(file: File) -> Iterator[Document]:
    position = 0
    with file.path.open('rb') as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                text = text_of(file.path, number, line, position)
                yield Document(f'{file.name}:{number}', one_in_twenty(text), partial(iter, (text,)))
            position += len(line)


def text_of(path: Path, number: int, line: bytes, position: int) -> str:
    """Returns the text of one line of a .jsonl file; `number` and `position` say where it stands, for the errors."""
    try:
        text = json.loads(line.decode())['text']
        text.encode()  # JSON may spell half a character ("\ud83d"), which is no text
        return text
    except UnicodeDecodeError as error:
        raise not_utf8(path, line[error.start], position + error.start) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            'config.data.path: "{path}", line {number:,} is no text: {line}\n'
            'Every line of a .jsonl file is an object with its text under the key "text": {{"text": "Once …"}}',
            path=path,
            number=number,
            line=line[:50].decode(errors='replace').strip(),
        ) from None


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
