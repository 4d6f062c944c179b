"""Exact match and F1 of answers that are pieces of a text, as SQuAD counts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from jaxlab.scores import Info
from jaxlab.task import Batch


@dataclass(frozen=True)
class Answers:
    """'exact_match' and 'f1', shares from 0 to 1: of each question the best answer of all windows of its text, and of
    all right answers the one that it is nearest to. See `jaxlab.data.answers`.

    What is right are texts, so the split marks them: see `jaxlab.data.squad.Part.judge`.
    """

    better: ClassVar = {'exact_match': 'higher', 'f1': 'higher'}
    judged: ClassVar = True

    def rows(self, outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, Any]:
        return {'span': outputs['span'], 'score': outputs['score'], 'number': batch['number']}

    def finish(self, rows: Mapping[str, Any]) -> dict[str, float]:
        raise AssertionError('the split marks answers')


def make(info: Info) -> Answers:
    return Answers()
