"""Precision, recall and F1 of entities: runs of words that tags such as B-PER and I-PER mark, all of a run or nothing.

As the script conlleval of CoNLL-2000 counts them, which knows IOB1, IOB2 and IOBES alike.
"""

# n rows of a split, t tokens of a row

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.scores import Info
from jaxlab.task import Batch

MARKS = frozenset('BIESLUM')  # begin, inside, end, single; and what others call the last three


@dataclass(frozen=True)
class Entities:
    """'entity_precision', 'entity_recall' and 'entity_f1' over all entities of a split (micro means).

    An entity is right where its first word, its last word and its kind are. Tags without a kind ('name', 'O') mark
    none; where there is no entity the score is 0.
    """

    labels: tuple[str, ...]
    better: ClassVar = {f'entity_{name}': 'higher' for name in ('f1', 'precision', 'recall')}

    def rows(self, outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        said = jnp.argmax(outputs['logits'], axis=-1)
        # One small array: a word that does not count is -1.
        pairs = jnp.where(batch['mask'] != 0, said * len(self.labels) + batch['targets'], -1)
        return {'pairs': pairs.astype(jnp.int32)}

    def finish(self, rows: Mapping[str, np.ndarray]) -> dict[str, float]:
        there = said = both = 0
        for pairs in rows.get('pairs', ()):
            words = pairs[pairs >= 0]
            guesses, targets = (
                entities([self.labels[tag] for tag in tags.tolist()])
                for tags in (words // len(self.labels), words % len(self.labels))
            )
            there, said, both = there + len(targets), said + len(guesses), both + len(targets & guesses)
        precision, recall = both / max(said, 1), both / max(there, 1)
        f1 = 2 * both / max(there + said, 1)
        return {'entity_f1': f1, 'entity_precision': precision, 'entity_recall': recall}


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Returns (first word, last word, kind) of each entity of a sentence."""
    found = set()
    before, of = 'O', ''
    begin = 0
    for at, tag in enumerate([*tags, 'O']):
        mark, _, kind = tag.partition('-')
        if not kind or mark not in MARKS:
            mark, kind = 'O', ''
        if before != 'O' and (mark in 'OBSU' or before in 'ESLU' or kind != of):
            found.add((begin, at - 1, of))
            before = 'O'
        if mark != 'O' and before == 'O':
            begin = at
        before, of = mark, kind
    return found


def make(info: Info) -> Entities:
    return Entities(tuple(info.get('labels', ())))
