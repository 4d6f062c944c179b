"""Questions about texts: what sources of them give, and the files of SQuAD."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlab.data.answers import place
from jaxlab.data.records import cannot_be_read
from jaxlab.errors import UserError


@dataclass(frozen=True)
class Question:
    """A question about a text, and what answers it.

    Attributes:
      question: what is asked.
      context: the text.
      texts: its right answers, one at least.
      begins: where each is said to begin in the text.
    """

    question: str
    context: str
    texts: tuple[str, ...]
    begins: tuple[int, ...]

    def place(self) -> tuple[int, int] | None:
        """Returns the characters of the text, begin and end, that are the first answer which stands in it."""
        for text, begin in zip(self.texts, self.begins, strict=True):
            if (found := place(self.context, text, begin)) >= 0:
                return found, found + len(text)
        return None


@dataclass(frozen=True)
class Questions:
    """What a source of questions gives.

    Attributes:
      name: for the screen.
      parts: 'train', and where there are such 'validation' and 'test'.
      fingerprint: sha256, in hexadecimal digits, of everything that they are made from.
      without: how many questions have no answer at all, and so are none of them.
    """

    name: str
    parts: Mapping[str, Sequence[Question]]
    fingerprint: str
    without: int = 0


def read(path: Path) -> tuple[list[Question], int]:
    """Returns the questions of a file as SQuAD v1.1 has them, and how many have no answer at all.

    Raises:
      UserError: it cannot be read, or is something else.
    """
    found: list[Question] = []
    without = 0
    try:
        for article in json.loads(path.read_text('utf-8'))['data']:
            for paragraph in article['paragraphs']:
                context = _text(paragraph['context'])
                for one in paragraph['qas']:
                    answers = [(_text(answer['text']), int(answer['answer_start'])) for answer in one['answers']]
                    if not answers:
                        without += 1
                        continue
                    texts, begins = zip(*answers, strict=True)
                    found.append(Question(_text(one['question']), context, texts, begins))
    except OSError as error:
        raise cannot_be_read(f'"{path}"', error) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            '"{path}" is no file of SQuAD v1.1 ({error}): data, paragraphs, context, qas, question, answers, text,'
            ' answer_start.',
            path=path,
            error=f'{type(error).__name__}: {error}'.splitlines()[0][:100],
        ) from None
    if not found:
        raise UserError('"{path}" has no question with an answer.', path=path)
    return found, without


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{type(value).__name__} in place of a text')
    return value


def divided(questions: Sequence[Question]) -> dict[str, list[Question]]:
    """Returns the parts 'train' (80 %), 'validation' and 'test' (10 % each), by the sha256 of the text: a text and all
    questions about it are in one."""
    found: dict[str, list[Question]] = {'train': [], 'validation': [], 'test': []}
    for one in questions:
        tenth = int(hashlib.sha256(one.context.encode()).hexdigest(), 16) % 10
        found['train' if tenth < 8 else 'validation' if tenth == 8 else 'test'].append(one)
    return {name: part for name, part in found.items() if part}
