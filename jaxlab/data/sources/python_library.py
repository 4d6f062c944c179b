"""The corpus every machine already has: the source text of the running Python's standard library."""

import platform
import sysconfig
from functools import partial
from pathlib import Path

from jaxlab.data.documents import Corpus, Document, File, find_files, one_in_twenty, read_pieces, stamp
from jaxlab.errors import UserError
from jaxlab.messages import say

# Tests and tables rather than programs, copies of programs (lib2to3), and what was installed on top of the library.
SKIP = frozenset(
    ('test', 'tests', 'idlelib', 'lib2to3', 'encodings', 'pydoc_data', 'site-packages', 'dist-packages', '__pycache__')
)


def corpus() -> Corpus:
    """Returns the library: a document a file, nothing downloaded and nothing copied.

    Held out are whole top-level modules and packages, those whose sha256(name) % 20 == 0. Held out file by file, a
    sixth of the lines would stand word for word in the training part: the files of a package resemble each other.

    Raises:
      UserError: this Python comes without its source text.
    """
    root = Path(sysconfig.get_paths()['stdlib'])
    files = find_files(root, ('.py',), SKIP)
    if not files:
        raise UserError(
            'This Python has no source text of its standard library in "{folder}" to learn from.\n'
            'Give text of your own: --config.data.path=FOLDER (or a .txt or .jsonl file).',
            folder=root,
        )
    return Corpus(
        name=say('the standard library of Python {version}', version=platform.python_version()),
        rule=say('whole modules and packages with sha256(name) % 20 == 0'),
        files=files,
        documents=lambda: (document(file) for file in files),
    )


def document(file: File) -> Document:
    return Document(file.name, one_in_twenty(module(file.name)), partial(read_pieces, file.path), stamp(file.path)[1])


def module(name: str) -> str:
    """Returns the top-level module that a file belongs to: 'json/decoder.py' -> 'json', 'ast.py' -> 'ast'."""
    return name.split('/')[0].removesuffix('.py')
