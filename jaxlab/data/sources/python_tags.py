"""Words with tags that every machine already has: lines of Python's standard library, and what each word of them is.

The tags are Python's own: a keyword, a number, a string, an operator, a name, and where a name is defined or called.
What a name is stands in its neighbours: before "(" it is called, after "def" it is defined.
"""

import hashlib
import io
import itertools
import keyword
import platform
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from jaxlab.data import sentences
from jaxlab.data.sentences import Sentence, Sentences
from jaxlab.data.sources.python_topics import TOPICS
from jaxlab.errors import UserError
from jaxlab.messages import say

LEAST, MOST = 4, 40  # words of a line
KINDS = {tokenize.NUMBER: 'number', tokenize.STRING: 'string', tokenize.OP: 'operator'}
FILES = ('concurrency', 'language')  # topics whose files are enough


def make() -> Sentences:
    """Returns some thousand lines in the parts 'train', 'validation' and 'test' (80, 10 and 10 % by their sha256), each
    once. They are those of the Python that runs, so another version has others.

    Raises:
      UserError: this Python comes without its source text.
    """
    root = Path(sysconfig.get_paths()['stdlib'])
    files = [root / f'{name}.py' for topic in FILES for name in TOPICS[topic].split()]
    found = dict.fromkeys(line for file in files if file.is_file() for line in lines(file))
    parts = sentences.divided(list(found))
    name = say('lines of Python {version}', version=platform.python_version())
    if len(parts) < 3:
        raise UserError(
            'This Python has no source text of its standard library in "{folder}" to learn from.\n'
            'Give words of your own: --config.data.source.name=conll --config.data.source.path=FILE',
            folder=root,
        )
    digest = hashlib.sha256(repr([(one.words, one.tags) for one in found]).encode())
    return Sentences(name, parts, sentences.labels_of(name, parts), digest.hexdigest())


def lines(file: Path) -> Iterator[Sentence]:
    """Yields the logical lines of a program as words with tags."""
    words: list[str] = []
    tags: list[str] = []
    tokens = list(tokenize.tokenize(io.BytesIO(file.read_bytes()).readline))
    for token, after in itertools.pairwise(tokens):
        if token.type == tokenize.NEWLINE:
            if LEAST <= len(words) <= MOST:
                yield Sentence(tuple(words), tuple(tags))
            words, tags = [], []
        elif token.type == tokenize.NAME or token.type in KINDS:
            if not token.string.strip() or len(token.string.split()) > 12:
                continue  # a docstring
            words.append(token.string)
            tags.append(_tag(token, after, words[-2] if len(words) > 1 else ''))


def _tag(token: tokenize.TokenInfo, after: tokenize.TokenInfo, before: str) -> str:
    if token.type != tokenize.NAME:
        return KINDS[token.type]
    if keyword.iskeyword(token.string):
        return 'keyword'
    if before in ('def', 'class'):
        return 'definition'
    return 'call' if after.string == '(' else 'name'
