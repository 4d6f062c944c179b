"""Scores of a model on a split: used while training and by the evaluate verb."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from jaxlab import config as configs
from jaxlab.data.stream import Split
from jaxlab.messages import say
from jaxlab.scores import Score
from jaxlab.step import cut
from jaxlab.task import Batch, Task, Tree

Evaluate = Callable[[Tree, Tree, Iterable[Batch]], dict[str, float]]


def make_scores(names: Sequence[str]) -> list[Score]:
    """Returns the scores that a config lists in `evaluate.scores`; UserError for one that does not exist."""
    return [configs.part('scores', name)() for name in names]


def make_evaluate(task: Task, scores: Sequence[Score], accumulate: int = 1) -> Evaluate:
    """Returns evaluate(params, extra, batches) -> {'loss': 2.1, …}, compiled once.

    Batches are on the devices. Sums stay there from batch to batch, and the host reads them once, at the end. A batch
    is looked at in `accumulate` micro-batches: what is too large to train on whole is too large to evaluate whole.
    """

    @jax.jit
    def start() -> list[Any]:
        return [score.start() for score in scores]

    @jax.jit
    def add(carries: list[Any], params: Tree, extra: Tree, batch: Batch) -> list[Any]:
        def one(carries: list[Any], batch: Batch) -> tuple[list[Any], None]:
            outputs: Mapping[str, jax.Array] = task.predict(params, extra, batch)
            return [score.add(carry, outputs, batch) for score, carry in zip(scores, carries, strict=True)], None

        return jax.lax.scan(one, carries, cut(batch, accumulate), unroll=accumulate == 1)[0]

    def evaluate(params: Tree, extra: Tree, batches: Iterable[Batch]) -> dict[str, float]:
        carries = start()
        for batch in batches:
            carries = add(carries, params, extra, batch)
        found: dict[str, float] = {}
        for score, carry in zip(scores, jax.device_get(carries), strict=True):
            found |= score.finish(carry)
        return found

    return evaluate


def count(split: Split, wanted: int) -> int:
    """Returns how many batches of a split to read: `wanted`, or all of them where that is 0 or more than there are."""
    return min(wanted or split.batches, split.batches)


def summary(splits: Mapping[str, Split], wanted: int) -> str:
    """Returns one line for the screen: how much of each split is read when `wanted` batches are."""
    parts = []
    for name, split in splits.items():
        if (first := count(split, wanted)) < split.batches:
            some = say('the first {first} of {all} batches of {name}', first=first, all=split.batches, name=name)
            parts.append(some)
        else:
            parts.append(say('all of {name}', name=name))
    return ', '.join(parts)
