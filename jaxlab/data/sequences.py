"""Rows cut from stored documents: for training from their concatenation, for evaluation document by document.

Every row is computed from its number alone. Nothing depends on which rows were made before, or on who makes the others.
"""

# b rows of this process, t time (length)

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from jaxlab.data.records import Losses
from jaxlab.data.shuffle import permute
from jaxlab.data.stream import Batch
from jaxlab.data.token_store import Part

ROUNDS = 6  # of the shuffle


@dataclass(frozen=True)
class TrainingRows:
    """Endless shuffled rows of t tokens.

    The documents, joined, are laid out as a ring and cut into blocks of t tokens; the targets of a block are its tokens
    moved by one, so consecutive blocks share a token and every token is a target once. Each epoch cuts at other places
    (a random phase) and takes the blocks in another order.

    Attributes:
      part: the tokens; every document begins with end_of_text, which stands nowhere else.
      batch_size: rows of a global batch.
      rows: which of them this process makes.
      length: t.
      seed: chooses phases and orders.
      end_of_text: the token that begins a document.
      losses: reads the rows, and counts those that cannot be read.
    """

    part: Part
    batch_size: int
    rows: slice
    length: int
    seed: int
    end_of_text: int
    losses: Losses = field(default_factory=Losses)

    @property
    def blocks(self) -> int:
        """How many rows make an epoch; the fewer than t tokens left over are others in each epoch."""
        return max(1, len(self.part.tokens) // self.length)

    def batch(self, n: int) -> Batch:
        """Returns this process's rows of global batch n.

        They are tokens, targets, positions and segments, int32 [b t], and mask, float32 [b t]. Positions count from the
        beginning of each document in the row, segments count the row's documents from 1. All targets count: the last
        of a document is the end_of_text that begins the next one. A row that cannot be read is zeros, mask included.

        Raises:
          UserError: a row cannot be read, and may not be left out.
        """
        row = n * self.batch_size + np.arange(self.batch_size)[self.rows]
        epoch, place = np.divmod(row, self.blocks)
        start = np.empty_like(row)
        for one in np.unique(epoch):
            phase, *keys = np.random.SeedSequence([self.seed, int(one)]).generate_state(1 + ROUNDS, np.uint64)
            here = epoch == one
            block = permute(place[here], self.blocks, np.array(keys))
            start[here] = int(phase) % len(self.part.tokens) + block * self.length
        empty = {'row': np.zeros(self.length + 1, np.int32)}
        found, good = self.losses.rows(n, start.tolist(), self.read, empty)
        tokens, targets = found['row'][:, :-1], found['row'][:, 1:]

        begins = tokens == self.end_of_text
        begins[:, 0] = True  # a document cut by the row's edge begins there
        column = np.arange(self.length, dtype=np.int32)
        positions = column - np.maximum.accumulate(np.where(begins, column, 0), axis=1)
        segments = np.cumsum(begins, axis=1, dtype=np.int32)
        mask = np.ones(tokens.shape, np.float32)
        batch = {'tokens': tokens, 'targets': targets, 'positions': positions, 'segments': segments, 'mask': mask}
        return only(good, batch)

    def read(self, start: int) -> dict[str, np.ndarray]:
        """Returns t + 1 tokens of the ring from `start` on."""
        tokens, spans, left = self.part.tokens, [], self.length + 1
        while left:
            start %= len(tokens)
            spans.append(tokens[start : start + left])
            start, left = start + len(spans[-1]), left - len(spans[-1])
        return {'row': np.concatenate(spans).astype(np.int32)}


@dataclass(frozen=True)
class HeldOutWindows:
    """Every document by itself, in windows of t tokens, in one shuffled order: the first batches are a fair sample.

    The inputs are [end_of_text] + tokens; the targets, the tokens and a closing end_of_text, count in exactly one
    window each. Windows advance by `stride`; what one shares with the window before is context only. So with stride t
    the first tokens of a window have little to go by; with a smaller one all have t - stride tokens before them (or all
    of their document that there is), at the price of t / stride times the work.

    Attributes:
      part: the tokens.
      batch_size: rows of a global batch.
      rows: which of them this process makes.
      length: t.
      stride: 1..t.
      end_of_text: the token that begins and ends a document.
      token_bytes: int32 [vocabulary]: how many bytes each token stands for.
      lead: how many bytes of the first token of a document are none of its text.
      losses: reads the rows, and counts those that cannot be read.
    """

    part: Part
    batch_size: int
    rows: slice
    length: int
    stride: int
    end_of_text: int
    token_bytes: np.ndarray
    lead: int = 0
    losses: Losses = field(default_factory=Losses)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 [documents + 1]: where each document begins, and where the last one ends."""
        return self.part.offsets[:]

    @cached_property
    def windows_before(self) -> np.ndarray:
        """int64 [documents + 1]: how many windows come before each document's first; last, how many there are."""
        beyond = np.maximum(np.diff(self.offsets) - self.length, 0)
        windows = 1 + -(-beyond // self.stride)
        return np.concatenate([[0], np.cumsum(windows)])

    @cached_property
    def order(self) -> np.ndarray:
        """uint64 [rounds]: keys of the shuffle; the same for every experiment."""
        return np.random.SeedSequence(0).generate_state(ROUNDS, np.uint64)

    @property
    def batches(self) -> int:
        return -(-int(self.windows_before[-1]) // self.batch_size)

    def batch(self, n: int) -> Batch:
        """Returns this process's rows of global batch n: what TrainingRows.batch returns, and bytes, float32 [b t].

        Those are the bytes that a target stands for, where it counts. Behind a document's end segments are 0 and
        nothing counts; so it is in whole rows behind the last window. A row that cannot be read is zeros.

        Raises:
          UserError: a row cannot be read, and may not be left out.
        """
        before = self.windows_before
        row = n * self.batch_size + np.arange(self.batch_size)[self.rows]
        real = row < before[-1]
        window = permute(np.where(real, row, 0), int(before[-1]), self.order)
        document = np.searchsorted(before, window, side='right') - 1
        nth = window - before[document]
        begin, end = self.offsets[document] + nth * self.stride, self.offsets[document + 1]
        end = np.where(real, end, begin)  # where there is no window, there is nothing to read

        def read(span: tuple[int, int]) -> dict[str, np.ndarray]:
            row = empty['row'].copy()
            found = self.part.tokens[span[0] : min(span[1], span[0] + len(row))]
            row[: len(found)] = found
            return {'row': row}

        empty = {'row': np.full(self.length + 1, self.end_of_text, np.int32)}
        found, good = self.losses.rows(n, zip(begin.tolist(), end.tolist(), strict=True), read, empty)
        tokens, targets = found['row'][:, :-1], found['row'][:, 1:]

        column = np.arange(self.length)
        inside = begin[:, None] + column < end[:, None]
        seen = (nth > 0)[:, None] & (column < self.length - self.stride)  # counted in the window before
        mask = inside & ~seen

        batch = {
            'tokens': tokens,
            'targets': targets,
            'positions': np.where(inside, column, 0).astype(np.int32),
            'segments': inside.astype(np.int32),
            'mask': mask.astype(np.float32),
            'bytes': ((self.token_bytes[targets] - self.lead * (tokens == self.end_of_text)) * mask).astype(np.float32),
        }
        return only(good, batch)


def only(good: np.ndarray, batch: Batch) -> Batch:
    """Returns a batch whose rows are zeros where they are not `good`, bool [b]."""
    if good.all():
        return batch
    return {name: rows * good.reshape(-1, *[1] * (rows.ndim - 1)).astype(rows.dtype) for name, rows in batch.items()}
