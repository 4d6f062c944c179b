"""Rows to learn language from by filling gaps (Devlin et al. 2018): some tokens are hidden, and half of the second
texts do not follow the first.

Every row is computed from its number alone. Nothing depends on which rows were made before, or on who makes the others.
"""

# b rows of this process, t time (length), m hidden tokens of a row at most, n anchors

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from jaxlab.data.records import Losses
from jaxlab.data.sentence_store import Part
from jaxlab.data.sequences import ROUNDS, only
from jaxlab.data.shuffle import permute
from jaxlab.data.stream import Batch


@dataclass(frozen=True)
class Hiding:
    """What is hidden of a row.

    Attributes:
      share: of its tokens.
      masked, swapped: of the hidden ones, how many become [MASK], and how many some other token; the rest stays.
      whole_words: whether all pieces of a word are hidden, or none.
    """

    share: float = 0.15
    masked: float = 0.8
    swapped: float = 0.1
    whole_words: bool = False

    def most(self, length: int) -> int:
        """Returns m: how many tokens of a row of `length` are hidden at most."""
        return max(round(self.share * length), 1)

    def places(self, ordinary: np.ndarray, continues: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Returns which tokens are hidden, in order.

        Args:
          ordinary: int [k], the places of tokens that may be.
          continues: bool [k], which of them go on with the word before.
          draw: draws them.
        """
        count = min(max(round(self.share * len(ordinary)), 1), len(ordinary))
        if not self.whole_words:
            return np.sort(draw.choice(ordinary, count, replace=False))
        apart = np.diff(ordinary, prepend=-2) > 1  # a word does not reach across a special token
        words = np.split(ordinary, np.flatnonzero(~continues | apart)[1:])
        chosen: list[np.ndarray] = []
        left = count
        for i in draw.permutation(len(words)):
            if len(words[i]) <= left:
                chosen.append(words[i])
                left -= len(words[i])
        return np.sort(np.concatenate(chosen)) if chosen else words[0][:count]

    def shown(self, hidden: np.ndarray, processor: Any, draw: np.random.Generator) -> np.ndarray:
        """Returns what stands in the places of the hidden tokens, int32 [k]."""
        kind = draw.random(len(hidden))
        others = processor_words(processor)
        other = others[draw.integers(0, len(others), len(hidden))]
        found = np.where(kind < self.masked, processor.masked, hidden)
        swapped = (kind >= self.masked) & (kind < self.masked + self.swapped)
        return np.where(swapped, other, found).astype(np.int32)


def processor_words(processor: Any) -> np.ndarray:
    """Returns the tokens that a text can be made of."""
    return np.flatnonzero(~processor.special)


@dataclass(frozen=True)
class MaskedRows:
    """Rows of t tokens, of which m are hidden.

    A row begins at an anchor: a sentence behind which its document still fills the row; or the first of a document that
    is too short. The first text is so many sentences that they fill a quarter to three quarters of the row, at random;
    the second is what follows, or what follows as many tokens behind another anchor, in another document: so neither
    its length nor its place in a document tells one from the other.

    Attributes:
      part: sentences in their documents.
      processor: of the tokens.
      batch_size: rows of a global batch.
      rows: which of them this process makes.
      length: t.
      seed: chooses everything.
      hiding: what is hidden.
      pairs: whether a row is two texts; else it is one, and there is no 'next'.
      once: evaluation: each document is read once from end to end, in one shuffled order; the row behind the last one
        is 0, and counts for nothing.
      losses: reads the rows, and counts those that cannot be read.
    """

    part: Part
    processor: Any
    batch_size: int
    rows: slice
    length: int
    seed: int
    hiding: Hiding
    pairs: bool = True
    once: bool = False
    losses: Losses = field(default_factory=Losses)

    @cached_property
    def document(self) -> np.ndarray:
        """int64 [sentences]: the document that each sentence belongs to."""
        return np.repeat(np.arange(len(self.part.documents) - 1), np.diff(self.part.documents))

    @property
    def room(self) -> int:
        """How many tokens of a row are no special ones."""
        return self.length - self.processor.around(1 + self.pairs)

    @cached_property
    def anchors(self) -> np.ndarray:
        """int64 [n]: the sentences at which rows begin."""
        begins, ends = self.part.documents[:-1], self.part.documents[1:]
        least = 2 if self.pairs else 1  # sentences of a row
        if self.once:
            return np.array([anchor for span in zip(begins, ends) for anchor in self._along(*span, least)], np.int64)
        sentence = np.arange(len(self.document))
        end = ends[self.document]
        fills = self.part.sentences[end] - self.part.sentences[:-1] >= self.room
        first = np.zeros(len(sentence), bool)
        first[begins] = True
        return np.flatnonzero((fills | first) & (sentence <= end - least))

    def _along(self, begin: int, end: int, least: int) -> Iterator[int]:
        """Yields anchors such that rows from each to the next hold a document once."""
        while begin <= end - least:
            yield begin
            full = self.part.sentences[begin] + self.room
            begin = max(int(np.searchsorted(self.part.sentences[: end + 1], full, 'right')) - 1, begin + 1)

    @property
    def batches(self) -> int:
        """How many batches hold all rows once."""
        return -(-len(self.anchors) // self.batch_size)

    def batch(self, n: int) -> Batch:
        """Returns this process's rows of global batch n.

        They are tokens and types, int32 [b t], padded at the end; lengths, int32 [b]; places, int32 [b m], of the
        hidden tokens, targets, int32 [b m], what these were, and mask, float32 [b m], which of the m there are; and
        with pairs next, int32 [b]: 0 where the second text follows the first, 1 where it does not.

        Raises:
          UserError: a row cannot be read, and may not be left out.
        """
        row = n * self.batch_size + np.arange(self.batch_size)[self.rows]
        count = len(self.anchors)
        epoch, place = np.divmod(row, count)
        if self.once:
            epoch = 0 * epoch
        start = np.empty_like(row)
        for one in np.unique(epoch):
            keys = np.random.SeedSequence([self.seed, int(one)]).generate_state(ROUNDS, np.uint64)
            here = epoch == one
            start[here] = self.anchors[permute(place[here], count, keys)]
        found, good = self.losses.rows(n, zip(row.tolist(), start.tolist(), strict=True), self._read, self._empty)
        return only(good & (row < count) if self.once else good, found)

    @cached_property
    def _empty(self) -> dict[str, np.ndarray]:
        t, m = self.length, self.hiding.most(self.length)
        integers = {'tokens': (t,), 'types': (t,), 'lengths': (), 'places': (m,), 'targets': (m,)}
        integers |= {'next': ()} if self.pairs else {}
        found = {name: np.zeros(shape, np.int32) for name, shape in integers.items()}
        return found | {'mask': np.zeros(m, np.float32)}

    def _read(self, where: tuple[int, int]) -> dict[str, np.ndarray]:
        """Returns one row: its number, and the sentence at which it begins."""
        number, anchor = where
        draw = np.random.default_rng([self.seed, number, 1])
        found = {name: array.copy() for name, array in self._empty.items()}
        if self.pairs:
            wanted = int(draw.integers(self.room // 4, 3 * self.room // 4 + 1))
            middle = self._behind(anchor, wanted)
            first = int(self.part.sentences[anchor]), int(self.part.sentences[middle])
            other = bool(draw.random() < 0.5)
            if other:
                middle = self._behind(self._elsewhere(anchor, draw), wanted)
            following = self._filling(middle, self.room - (first[1] - first[0]))
            found['next'] = np.array(other, np.int32)
            # Of texts that are too long the first loses its beginning, so that the second still follows it.
            least = min(following[1] - following[0], self.room // 4)
            first = max(first[0], first[1] - (self.room - least)), first[1]
            texts = self._tokens(first), self._tokens(following)
            tokens, types = self.processor.join(*texts, length=self.length)
        else:
            end = self.part.documents[self.document[anchor] + 1]
            whole = int(self.part.sentences[anchor]), int(self.part.sentences[end])
            tokens, types = self.processor.join(self._tokens(whole), length=self.length)
        count = len(tokens)
        ordinary = np.flatnonzero((tokens != self.processor.first) & (tokens != self.processor.separator))
        places = self.hiding.places(ordinary, self.processor.continues[tokens[ordinary]], draw)
        found['targets'][: len(places)] = tokens[places]
        found['places'][: len(places)] = places
        found['mask'][: len(places)] = 1
        found['tokens'][:] = self.processor.padding
        found['tokens'][:count] = tokens
        found['tokens'][places] = self.hiding.shown(tokens[places], self.processor, draw)
        found['types'][:count] = types
        found['lengths'] = np.array(count, np.int32)
        return found

    def _behind(self, anchor: int, wanted: int) -> int:
        """Returns the first sentence `wanted` tokens behind an anchor; there is one before it and one more in its
        document."""
        end = self.part.documents[self.document[anchor] + 1]
        found = np.searchsorted(self.part.sentences, self.part.sentences[anchor] + wanted)
        return int(np.clip(found, anchor + 1, end - 1))

    def _filling(self, sentence: int, room: int) -> tuple[int, int]:
        """Returns where the sentences lie that begin with this one and fill so many tokens, among all: (begin, end)."""
        sentences, end = self.part.sentences, self.part.documents[self.document[sentence] + 1]
        last = np.searchsorted(sentences, sentences[sentence] + room, 'right') - 1
        return int(sentences[sentence]), int(sentences[int(np.clip(last, sentence + 1, end))])

    def _elsewhere(self, anchor: int, draw: np.random.Generator) -> int:
        """Returns an anchor in another document; where some tries find none, the farthest of them."""
        tries = self.anchors[draw.integers(0, len(self.anchors), 8)]
        others = tries[self.document[tries] != self.document[anchor]]
        return int(others[0]) if len(others) else int(tries[np.argmax(np.abs(tries - anchor))])

    def _tokens(self, span: tuple[int, int]) -> np.ndarray:
        """Returns the tokens of a span, and no more than a row can hold."""
        return self.part.tokens[span[0] : min(span[1], span[0] + self.room)].astype(np.int32)
