"""Questions about texts that are longer than a row: windows over the text, and the best answer of them all.

A row is [CLS] question [SEP] part of the text [SEP]. The processor that is saved with an experiment makes them, and
knows which characters of the text each of their tokens stands for.
"""

# n windows, t tokens of a row

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.processors import save_assets
from jaxlab.errors import UserError

FILE = 'questions.json'  # beside the files of the tokenizer
SETTINGS = ('length', 'stride', 'question')


@dataclass(frozen=True)
class Window:
    """A row, and what it shows.

    Attributes:
      tokens, types: int32 [t], without padding.
      first: place of the first token of the text in the row.
      begin, end: which tokens of the text it shows, the last one not included.
    """

    tokens: np.ndarray
    types: np.ndarray
    first: int
    begin: int
    end: int

    def target(self, answer: tuple[int, int]) -> tuple[int, int]:
        """Returns the places in the row of an answer's first and last token, given as tokens of the text; (0, 0), which
        is [CLS], where it is not all in this window."""
        if self.begin <= answer[0] and answer[1] < self.end:
            return answer[0] - self.begin + self.first, answer[1] - self.begin + self.first
        return 0, 0

    def tokens_of(self, place: int) -> int:
        """Returns which token of the text stands at a place of the row."""
        return place - self.first + self.begin


@dataclass(frozen=True)
class QuestionText:
    """A question and a text <-> rows of tokens; places in them <-> an answer.

    Attributes:
      tokenizer: text <-> tokens; see `jaxlab.data.encoder_tokens`.
      length: tokens of a row at most, special ones included.
      stride: how many tokens of the text a window begins after the one before.
      question: tokens of a question at most.
    """

    tokenizer: Any
    length: int
    stride: int
    question: int
    labels: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.vocabulary

    def windows(self, question: np.ndarray, text: np.ndarray) -> list[Window]:
        """Returns the rows that show a text for a question, both int32 tokens: each token of the text is in one."""
        question = question[: self.question]
        room = self.length - len(question) - self.tokenizer.around(2)
        found: list[Window] = []
        begin = 0
        while True:
            end = min(begin + room, len(text))
            tokens, types = self.tokenizer.join(question, text[begin:end], length=self.length)
            first = len(tokens) - 1 - (end - begin)
            found.append(Window(tokens, types, first, begin, end))
            if end == len(text):
                return found
            begin += min(self.stride, room)

    def texts(self, raw: str | Sequence[str]) -> tuple[str, str]:
        """Returns a question and a text.

        Raises:
          UserError: it is no such pair.
        """
        found = tuple(raw.split('\t', 1)) if isinstance(raw, str) else tuple(raw)
        if len(found) != 2 or not all(isinstance(one, str) and one.strip() for one in found):
            raise UserError('a question and a text are wanted, in a tuple or with a tab between.')
        return found[0], found[1]

    def encode(self, raw: str | Sequence[str]) -> tuple[str, str]:
        """Returns a question and a text; how many rows they are, `windows` says.

        Raises:
          UserError: as `texts`.
        """
        return self.texts(raw)

    def is_cut(self, raw: str | Sequence[str]) -> bool:
        """Whether a question is longer than the room for it: texts never are."""
        return len(self.tokenizer.encode(self.texts(raw)[0])) > self.question

    def rows(self, raw: str | Sequence[str]) -> tuple[list[dict[str, np.ndarray]], list[Window], np.ndarray]:
        """Returns the rows of a batch that show a question and its text, their windows, and the characters of the text
        that each of its tokens stands for, int32 [tokens 2]."""
        question, text = self.texts(raw)
        tokens, spans = self.tokenizer.spans(text)
        windows = self.windows(self.tokenizer.encode(question), tokens)
        found = []
        for window in windows:
            padded = np.full(self.length, self.tokenizer.padding, np.int32)
            padded[: len(window.tokens)] = window.tokens
            types = np.zeros(self.length, np.int32)
            types[: len(window.types)] = window.types
            found.append({'tokens': padded, 'types': types, 'lengths': np.array(len(window.tokens), np.int32)})
        return found, windows, spans

    def best(
        self, windows: Sequence[Window], spans: np.ndarray, places: np.ndarray, scores: np.ndarray
    ) -> tuple[int, int, int]:
        """Returns what the function `best` does."""
        return best(windows, spans, places, scores)

    def assets(self) -> dict[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {**self.tokenizer.assets(), FILE: json.dumps(settings).encode()}

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `load` reads them."""
        save_assets(self.assets(), folder)


def load(folder: Path, tokenizer: Any) -> QuestionText:
    """Returns what `QuestionText.save` wrote, around its tokenizer.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found: Any = json.loads((folder / FILE).read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != set(SETTINGS):
        raise ValueError(FILE)
    if not all(type(value) is int and value > 0 for value in found.values()):
        raise ValueError(FILE)
    return QuestionText(tokenizer, **found)


def tokens_of(spans: np.ndarray, begin: int, end: int) -> tuple[int, int] | None:
    """Returns the first and the last token of characters begin..end-1 of a text; None where no token stands for any.

    Args:
      spans: int32 [tokens 2], the characters that each token stands for.
      begin, end: of the characters.
    """
    inside = np.flatnonzero((spans[:, 1] > begin) & (spans[:, 0] < end))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None


def best(windows: Sequence[Window], spans: np.ndarray, places: np.ndarray, scores: np.ndarray) -> tuple[int, int, int]:
    """Returns the answer of the window with the highest score: the characters of the text, begin and end, and the
    number of the window.

    Args:
      windows: all of a question.
      spans: int32 [tokens 2], the characters that each token of the text stands for.
      places: int [n 2], first and last token of the best answer of each window, as places in its row.
      scores: float [n].
    """
    number = int(np.argmax(scores))
    first, last = (windows[number].tokens_of(int(place)) for place in places[number])
    count = len(spans)
    if not 0 <= first <= last < count:
        return 0, 0, number  # a model that says [CLS] says that there is none
    return int(spans[first, 0]), int(spans[last, 1]), number
