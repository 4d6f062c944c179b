"""The English that every machine already has: the prose of the docstrings and comments of Python's standard library,
and the topics that the interpreter's help explains.

A document is a module of the library, or a topic. Examples of code, tables and grammars are left out, by paragraphs:
what counts as prose is mostly words.
"""

import ast
import inspect
import platform
import re
import sysconfig
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from jaxlab.data.documents import Corpus, Document, File, find_files, one_in_twenty
from jaxlab.data.sources.python_library import SKIP, module
from jaxlab.errors import UserError
from jaxlab.messages import say

TOPICS = 'pydoc_data/topics.py'
LEAST_WORDS = 3  # of a paragraph
LEAST_WORDS_OF_COMMENT = 6  # shorter ones are labels, and code that is switched off
LEAST_LETTERS = 0.8  # the share of its characters that are letters, spaces and the marks of sentences


def corpus() -> Corpus:
    """Returns the documents. Held out are whole modules and topics, those whose sha256(name) % 20 == 0.

    Many paragraphs stand in several places: each is kept once, and one that is held out stands nowhere else.

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
    if (root / TOPICS).is_file():
        files = (*files, File(root / TOPICS, TOPICS))
    return Corpus(
        name=say('the English prose of Python {version}', version=platform.python_version()),
        rule=say('whole modules and topics with sha256(name) % 20 == 0'),
        files=files,
        documents=partial(documents, files),
        edition='docstrings, comments, topics',
    )


def documents(files: tuple[File, ...]) -> Iterator[Document]:
    """Yields the documents that have any prose."""
    for name, held_out, text in texts(files):
        yield Document(name, held_out, partial(iter, (text,)), len(text.encode()))


@cache
def texts(files: tuple[File, ...]) -> list[tuple[str, bool, str]]:
    """Returns (name, whether it is held out, prose) of each document, in the order of their names."""
    found: dict[str, list[str]] = {}
    for file in files:
        if file.name == TOPICS:
            for name, text in topics(file.path).items():
                found[f'{TOPICS}/{name}'] = [paragraph for paragraph in paragraphs(text)]
        else:
            found[file.name] = list(prose(file.path))

    def is_held_out(name: str) -> bool:
        return one_in_twenty(name if name.startswith(TOPICS) else module(name))

    seen: set[str] = set()
    kept: dict[str, str] = {}
    for name in sorted(found, key=lambda name: (not is_held_out(name), name)):
        new = [paragraph for paragraph in dict.fromkeys(found[name]) if paragraph not in seen]
        seen.update(new)
        kept[name] = '\n\n'.join(new)
    return [(name, is_held_out(name), kept[name]) for name in sorted(kept) if kept[name]]


def prose(path: Path) -> Iterator[str]:
    """Yields the paragraphs of a file's docstrings and comments, in the order in which they stand there."""
    source = path.read_bytes()
    tree = ast.parse(source)
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    found = [
        (node.body[0].lineno, LEAST_WORDS, text)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and (text := ast.get_docstring(node))
    ]
    found += [(line, LEAST_WORDS_OF_COMMENT, text) for line, text in comments(source, tree)]
    for _, least, text in sorted(found):
        yield from paragraphs(text, least)


def comments(source: bytes, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields (number of its first line, text) of each block of lines that are nothing but a comment."""
    quoted: set[int] = set()  # lines of a string may begin with # as well
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno:
            quoted.update(range(node.lineno + 1, node.end_lineno + 1))
    block: list[str] = []
    lines = [*source.decode('utf-8', errors='replace').split('\n'), '']
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text.startswith('#') and number not in quoted:
            block.append(text.lstrip('#'))
        elif block:
            yield number - len(block), '\n'.join(block)
            block = []


def topics(path: Path) -> dict[str, str]:
    """Returns the interpreter's topics, which lie in a file as one table: it is read, and not run."""
    for node in ast.parse(path.read_bytes()).body:
        value = getattr(node, 'value', None)
        if isinstance(value, ast.Dict):
            return {name: text for name, text in ast.literal_eval(value).items() if isinstance(text, str)}
    return {}


def paragraphs(text: str, least_words: int = LEAST_WORDS) -> Iterator[str]:
    """Yields the paragraphs of a text that are prose, each with one space between two words."""
    for paragraph in re.split(r'\n\s*\n', inspect.cleandoc(text)):
        words = paragraph.split()
        line = ' '.join(words)
        letters = len(re.findall(r'[A-Za-z ,.;:\'-]', line))
        code = re.search(r'>>>|^\s*\.\.\. |::=|\*{4}|={4}|-{4}|~{4}', paragraph)
        if len(words) >= least_words and not code and letters >= LEAST_LETTERS * len(line):
            yield line
