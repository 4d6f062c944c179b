"""Sentences whose words have tags, as rows of tokens: the first token of each word is asked for its tag."""

# n sentences, b rows of this process, t tokens of a row

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data import examples
from jaxlab.data.buckets import edges
from jaxlab.data.processors import save_assets
from jaxlab.data.sentences import Sentence, Sentences
from jaxlab.data.stream import Batch, Data
from jaxlab.data.text import check_memory, learned
from jaxlab.errors import UserError
from jaxlab.messages import say

FILE = 'tags.json'  # beside the files of the tokenizer


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: 'TaggedText | None' = None,
    *,
    source: ConfigDict = spec('data.sources.python_tags'),
    processor: ConfigDict = spec('data.processors.wordpiece'),
    length: int = 128,
    buckets: tuple = (),
) -> Data:
    """Reads sentences, learns their tokens where these are not published, and makes rows of them.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: a new one, with the tokens of `processor`.
      source: where the sentences come from; a file of sources/.
      processor: text <-> tokens; a file of processors/, such as wordpiece.
      length: tokens in a row, special ones included. Sentences with more are cut, and the words lost are counted.
      buckets: lengths below `length`, such as (32, 64): rows of about one length stand in one batch, which is padded to
        the smallest that holds them, so that short ones take less time; (): all are padded to `length`.

    Returns:
      Data with the split 'validation' and the test 'test', as far as there are such parts; batches of tokens and types,
      int32 [b t], lengths, int32 [b], targets, int32 [b t], and mask, float32 [b t]: 1 for the first token of a word;
      info {'vocabulary', 'length', 'types', 'padding', 'classes', 'labels', 'class_counts'}.

    Raises:
      UserError: an argument is out of range, the source has no sentences, or its tags have changed.
    """
    if length < (least := 8):
        raise UserError('length={length}: a row has at least {least} tokens.', length=length, least=least)
    bounds = edges(buckets, length)
    check_memory(len(range(batch_size)[rows]), length)
    found = build(source, key='data.source')
    if not isinstance(found, Sentences):
        raise UserError('{source} has no words with tags: sources such as conll do.', source=found.name)
    if known and known.labels != found.labels:
        raise UserError(
            'the classes have changed since this experiment was begun: they were {before}, and are {now}.',
            before=', '.join(known.labels[:20]),
            now=', '.join(found.labels[:20]),
        )

    def texts() -> Iterator[str]:
        return (' '.join(one.words) for one in found.parts['train'])

    tokenizer = known.tokenizer if known else learned(processor, texts, found.fingerprint, 'separator')
    encoder = TaggedText(tokenizer, found.labels, length)
    parts = {name: encoder.rows(part) for name, part in found.parts.items()}
    counts = np.bincount(parts['train'].targets[parts['train'].is_asked], minlength=len(found.labels))
    lost = sum(part.lost for part in parts.values())
    summary = say(
        '{name}: {counts} sentences of {classes} tags; fingerprint {fingerprint}',
        name=found.name,
        counts=', '.join(f'{name} {len(part):,}' for name, part in found.parts.items()),
        classes=len(found.labels),
        fingerprint=found.fingerprint[:16],
    )
    if lost:
        summary = say(
            '{line}; {count:,} words are beyond {length} tokens and were cut', line=summary, count=lost, length=length
        )
    return examples.of_rows(
        lambda name, losses: parts[name],
        {name: (name, np.arange(len(part))) for name, part in found.parts.items()},
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        info={
            'vocabulary': tokenizer.vocabulary,
            'length': length,
            'types': 2,
            'padding': tokenizer.padding,
            'classes': len(found.labels),
            'labels': list(found.labels),
            'class_counts': counts.tolist(),
        },
        processor=encoder,
        fingerprint=found.fingerprint,
        edges=bounds,
        summary=summary,
    )


def saved(folder: Path, tokenizer: Any) -> 'TaggedText':
    """Returns the processor of an experiment, of which `tokenizer` was read from the same folder already.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found: Any = json.loads((folder / FILE).read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != {'labels', 'length'}:
        raise ValueError(FILE)
    labels, length = found['labels'], found['length']
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(FILE)
    if type(length) is not int or length < 3:
        raise ValueError(FILE)
    return TaggedText(tokenizer, tuple(labels), length)


@dataclass(frozen=True)
class TaggedText:
    """Words <-> a row of tokens; tags <-> their names.

    Attributes:
      tokenizer: text <-> tokens; see `jaxlab.data.encoder_tokens`.
      labels: names of the tags.
      length: tokens of a row at most, special ones included.
    """

    tokenizer: Any
    labels: tuple[str, ...]
    length: int

    @property
    def vocabulary(self) -> int:
        return self.tokenizer.vocabulary

    def words(self, raw: str | Sequence[str]) -> tuple[str, ...]:
        """Returns the words of a text, which are those between spaces, or of what is a list of words already.

        Raises:
          UserError: there is none.
        """
        found = tuple(raw.split() if isinstance(raw, str) else raw)
        if not found:
            raise UserError('a text has no word to tag.')
        return found

    def encode(self, raw: str | Sequence[str]) -> tuple[str, ...]:
        """Returns the words; which tokens they are, `row` says."""
        return self.words(raw)

    def is_cut(self, raw: str | Sequence[str]) -> bool:
        """Whether a text has more tokens than a row, so that its last words have no tags."""
        return bool(self.rows([Sentence(self.words(raw), ())]).lost)

    def row(self, raw: str | Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns a row of a batch, without the axis of rows, and the place in it of the first token of each word that
        is not cut, int [words]."""
        made = self.rows([Sentence(self.words(raw), ())])
        batch = made.batch(0, np.array([0]))
        row = {name: batch[name][0] for name in ('tokens', 'types', 'lengths')}
        return row, np.flatnonzero(batch['mask'][0])

    def rows(self, sentences: Sequence[Sentence]) -> 'TagRows':
        """Returns sentences as rows; the tags of one without are 0."""
        place = {label: number for number, label in enumerate(self.labels)}
        tokens: list[np.ndarray] = []
        targets: list[int] = []
        asked: list[bool] = []
        starts, lost, room = [0], 0, self.length - self.tokenizer.around(1)
        unknown = np.array([self.tokenizer.unknown], np.int32)  # of a word that has no tokens, such as a lone accent
        for one in sentences:
            pieces = [found if len(found) else unknown for found in self.tokenizer.encode_words(one.words)]
            firsts = np.cumsum([0, *map(len, pieces)])[:-1]
            lost += int((firsts >= room).sum())
            joined, _ = self.tokenizer.join(np.concatenate(pieces), length=self.length)
            target, ask = np.zeros(len(joined), np.int32), np.zeros(len(joined), bool)
            kept = firsts[firsts < room] + 1
            ask[kept] = True
            if one.tags:
                target[kept] = [place[tag] for tag in one.tags[: len(kept)]]
            tokens.append(joined)
            targets += target.tolist()
            asked += ask.tolist()
            starts.append(starts[-1] + len(joined))
        return TagRows(
            np.concatenate(tokens),
            np.array(targets, np.int32),
            np.array(asked, bool),
            np.array(starts, np.int64),
            self.length,
            self.tokenizer.padding,
            lost,
        )

    def assets(self) -> Mapping[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        settings = {'labels': self.labels, 'length': self.length}
        return {**self.tokenizer.assets(), FILE: json.dumps(settings, ensure_ascii=False).encode()}

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `saved` reads them."""
        save_assets(self.assets(), folder)


@dataclass(frozen=True)
class TagRows:
    """Rows of tokens with tags that lie in memory, one behind the other.

    Attributes:
      tokens, targets: int32 [all].
      is_asked: bool [all], which of them are the first of a word.
      starts: int64 [n + 1]: where each row begins.
      length: t: what rows are padded to.
      padding: the token that does it.
      lost: how many words are beyond the end of their row.
    """

    tokens: np.ndarray
    targets: np.ndarray
    is_asked: np.ndarray
    starts: np.ndarray
    length: int
    padding: int
    lost: int

    def lengths(self) -> np.ndarray:
        """Returns how many tokens each row has, int32 [n]."""
        return np.diff(self.starts).astype(np.int32)

    def batch(self, n: int, numbers: np.ndarray, change: Any = None) -> Batch:
        """Returns the rows with these numbers, int64 [b]: tokens, types and targets, int32 [b t], lengths, int32 [b],
        and mask, float32 [b t]. Nothing changes them."""
        assert change is None
        shape = len(numbers), self.length
        tokens, targets, mask = (
            np.full(shape, self.padding, np.int32),
            np.zeros(shape, np.int32),
            np.zeros(shape, np.float32),
        )
        begins, ends = self.starts[numbers], self.starts[numbers + 1]
        for row, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist())):
            tokens[row, : end - begin] = self.tokens[begin:end]
            targets[row, : end - begin] = self.targets[begin:end]
            mask[row, : end - begin] = self.is_asked[begin:end]
        return {
            'tokens': tokens,
            'types': np.zeros(shape, np.int32),
            'lengths': (ends - begins).astype(np.int32),
            'targets': targets,
            'mask': mask,
        }
