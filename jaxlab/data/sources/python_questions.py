"""Questions that every machine already has: what a function of Python's standard library does, and which one does it.

A text names some functions, each with the first sentence of its docstring; the answers are these sentences and names.
To find them is to look for the words of a question in the text, which is where a model of answers begins.
"""

import ast
import hashlib
import platform
import sysconfig
from pathlib import Path

from jaxlab.data.questions import Question, Questions, divided
from jaxlab.data.sources.python_topics import TOPICS
from jaxlab.errors import UserError
from jaxlab.messages import say

TOGETHER = 6  # functions that a text is about
WORDS = range(4, 20)  # of a sentence


def make() -> Questions:
    """Returns some thousand questions in the parts 'train', 'validation' and 'test' (80, 10 and 10 % of the texts, by
    their sha256). They are those of the Python that runs, so another version has others.

    Raises:
      UserError: this Python comes without its source text.
    """
    root = Path(sysconfig.get_paths()['stdlib'])
    found: list[Question] = []
    for module in sorted(name for names in TOPICS.values() for name in names.split()):
        functions = sorted(sentences(root, module).items())
        for begin in range(0, len(functions), TOGETHER):
            found += about(functions[begin : begin + TOGETHER])
    parts = divided(found)
    if len(parts) < 3:
        raise UserError(
            'This Python has no source text of its standard library in "{folder}" to learn from.\n'
            'Give questions of your own: --config.data.source.name=squad_files --config.data.source.path=FILE',
            folder=root,
        )
    digest = hashlib.sha256('\0'.join(f'{one.question}\0{one.context}\0{one.texts}' for one in found).encode())
    name = say('questions about Python {version}', version=platform.python_version())
    return Questions(name, parts, digest.hexdigest())


def about(functions: list[tuple[str, str]]) -> list[Question]:
    """Returns two questions about each function: what it does, and what does that."""
    context = ' '.join(f'{name}: {sentence}.' for name, sentence in functions)
    found, at = [], 0
    for name, sentence in functions:
        found.append(Question(f'What does {name} do?', context, (sentence,), (at + len(name) + 2,)))
        found.append(Question(f'What is it that does this: {sentence}?', context, (name,), (at,)))
        at += len(name) + len(sentence) + 4
    return found


def sentences(root: Path, module: str) -> dict[str, str]:
    """Returns {name of a function: the first sentence of its docstring, without its end}, each sentence once."""
    folder = root / module
    files = sorted(folder.glob('*.py')) if folder.is_dir() else [root / f'{module}.py']
    found: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith('_'):
                first = ' '.join((ast.get_docstring(node) or '').split('\n\n')[0].split()).split('. ')[0].rstrip('.')
                if len(first.split()) in WORDS and first not in found.values():
                    found.setdefault(node.name, first)
    return found
