"""Texts as rows of tokens, and the processor that is saved with an experiment on them: tokens and names of classes."""

# n examples, b rows of a batch, t tokens of a row

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.processors import save_assets
from jaxlab.data.stream import Batch
from jaxlab.errors import UserError

FILE = 'texts.json'  # beside the files of the tokenizer

Raw = str | Sequence[str]  # a text; or two of them, in a tuple or with a tab between


@dataclass(frozen=True)
class LabelledText:
    """One text, or two, <-> a row of tokens; a class <-> its name.

    Attributes:
      tokenizer: text <-> tokens; see `jaxlab.data.encoder_tokens`.
      labels: names of the classes.
      length: tokens of a row at most, special ones included.
      pair: whether a row is two texts.
    """

    tokenizer: Any
    labels: tuple[str, ...]
    length: int
    pair: bool = False

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.vocabulary

    def encode(self, raw: Raw | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Returns a row of a batch, without the axis of rows: tokens and types, int32 [t], and lengths, int32 []. Of
        what is such a row already it is that.

        Raises:
          UserError: two texts are wanted, and one came, or the other way round.
        """
        if isinstance(raw, Mapping):
            return raw
        rows = self.rows([self.texts(raw)])
        return {name: array[0] for name, array in rows.batch(0, np.array([0])).items() if name in ENCODED}

    def texts(self, raw: Raw) -> tuple[str, ...]:
        """Returns one text or two, as the experiment has them.

        Raises:
          UserError: it is another number of texts.
        """
        found = tuple(raw.split('\t') if self.pair else [raw]) if isinstance(raw, str) else tuple(raw)
        if len(found) != 1 + self.pair or not all(isinstance(text, str) for text in found):
            raise UserError(
                'this experiment is about {wanted} text(s), and {count} came: two have a tab between them.',
                wanted=1 + self.pair,
                count=len(found),
            )
        return found

    def is_cut(self, raw: Raw) -> bool:
        """Whether a raw input has more tokens than a row, and so loses its end."""
        return bool(self.rows([self.texts(raw)]).cut)

    def rows(self, texts: Sequence[tuple[str, ...]], targets: np.ndarray | None = None) -> 'TextRows':
        """Returns texts as rows of tokens, with the number of their class each, int32 [n]."""
        targets = np.zeros(len(texts), np.int32) if targets is None else targets
        encoded = [self.tokenizer.encode_batch([one[place] for one in texts]) for place in range(1 + self.pair)]
        found, starts, seconds, cut = [], [0], [], 0
        for one in zip(*encoded):
            tokens, types = self.tokenizer.join(*one, length=self.length)
            cut += sum(map(len, one)) + self.tokenizer.around(len(one)) > len(tokens)
            found.append(tokens)
            starts.append(starts[-1] + len(tokens))
            seconds.append(len(types) - int(types.sum()))
        return TextRows(
            np.concatenate(found) if found else np.zeros(0, np.int32),
            np.array(starts, np.int64),
            np.array(seconds, np.int32),
            targets,
            self.length,
            self.tokenizer.padding,
            cut,
        )

    def text_of(self, row: Mapping[str, np.ndarray]) -> str:
        """Returns the text of a row as far as its tokens know it; of two, with a tab between."""
        tokens, types = (row[name][: row['lengths']] for name in ('tokens', 'types'))
        return '\t'.join(self.tokenizer.decode(tokens[types == kind]) for kind in range(1 + self.pair))

    def decode(self, probabilities: np.ndarray) -> str:
        """Returns the name of the likeliest class, given probabilities or logits [classes]."""
        return self.labels[int(np.argmax(probabilities))]

    def assets(self) -> dict[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        return {**self.tokenizer.assets(), FILE: json.dumps(self._settings(), ensure_ascii=False).encode()}

    def _settings(self) -> dict[str, Any]:
        return {'labels': self.labels, 'length': self.length, 'pair': self.pair}

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `load` reads them."""
        save_assets(self.assets(), folder)


ENCODED = ('tokens', 'types', 'lengths')


def load(folder: Path, tokenizer: Any) -> LabelledText:
    """Returns what `LabelledText.save` wrote, around its tokenizer.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found: Any = json.loads((folder / FILE).read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != {'labels', 'length', 'pair'}:
        raise ValueError(FILE)
    labels, length, pair = found['labels'], found['length'], found['pair']
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(FILE)
    if type(length) is not int or length < 1 or type(pair) is not bool:
        raise ValueError(FILE)
    return LabelledText(tokenizer, tuple(labels), length, pair)


@dataclass(frozen=True)
class TextRows:
    """Rows of tokens that lie in memory, one behind the other.

    Attributes:
      tokens: int32 [all].
      starts: int64 [n + 1]: where each begins.
      seconds: int32 [n]: how many tokens of each come before its second text; all of them where it has none.
      targets: int32 [n].
      length: t: what rows are padded to.
      padding: the token that does it.
      cut: how many of the texts were longer.
    """

    tokens: np.ndarray
    starts: np.ndarray
    seconds: np.ndarray
    targets: np.ndarray
    length: int
    padding: int
    cut: int

    def lengths(self) -> np.ndarray:
        """Returns how many tokens each row has, int32 [n]."""
        return np.diff(self.starts).astype(np.int32)

    def batch(self, n: int, numbers: np.ndarray, change: Any = None) -> Batch:
        """Returns the rows with these numbers, int64 [b]: tokens and types, int32 [b t], lengths and targets, int32
        [b], and mask, float32 [b]. Nothing changes them."""
        assert change is None
        begin = self.starts[numbers]
        lengths = (self.starts[numbers + 1] - begin).astype(np.int32)
        tokens = np.full((len(numbers), self.length), self.padding, np.int32)
        for row, (first, length) in enumerate(zip(begin.tolist(), lengths.tolist())):
            tokens[row, :length] = self.tokens[first : first + length]
        place = np.arange(self.length)
        types = (place >= self.seconds[numbers, None]) & (place < lengths[:, None])
        return {
            'tokens': tokens,
            'types': types.astype(np.int32),
            'lengths': lengths,
            'targets': self.targets[numbers],
            'mask': np.ones(len(numbers), np.float32),
        }
