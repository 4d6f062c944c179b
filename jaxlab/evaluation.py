"""Scores of a model on a split: used while training and by the evaluate verb."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax

from jaxlab import config as configs
from jaxlab.data.stream import Split
from jaxlab.messages import say
from jaxlab.parallel.layout import batch_shards
from jaxlab.scores import Score
from jaxlab.step import cut
from jaxlab.task import Batch, Task, Tree

Evaluate = Callable[..., dict[str, float]]

OUTPUTS = 1 << 29  # bytes of what `predict` returns that may always be there at once on each device


def make_scores(names: Sequence[str]) -> list[Score]:
    """Returns the scores that a config lists in `evaluate.scores`; UserError for one that does not exist."""
    return [configs.part('scores', name)() for name in names]


def make_evaluate(task: Task, scores: Sequence[Score], accumulate: int = 1) -> Evaluate:
    """Returns evaluate(params, extra, batches, asked=…) -> {'loss': 2.1, …}, compiled once.

    `asked()` is called before each batch, and ends it all where it returns what is true: then nothing was found, {}.
    Batches are on the devices. Sums stay there from batch to batch, and the host reads them once, at the end. A batch
    is looked at in `accumulate` micro-batches: what is too large to train on whole is too large to evaluate whole. It
    is looked at in more where the outputs would be large: scores may see all logits, of which training never has many.
    """
    predict = jax.jit(task.predict)  # traced once, though only its shapes are wanted at first

    @jax.jit
    def start() -> list[Any]:
        return [score.start() for score in scores]

    @jax.jit
    def add(carries: list[Any], params: Tree, extra: Tree, batch: Batch) -> list[Any]:
        def one(carries: list[Any], batch: Batch) -> tuple[list[Any], None]:
            outputs: Mapping[str, jax.Array] = predict(params, extra, batch)
            return [score.add(carry, outputs, batch) for score, carry in zip(scores, carries, strict=True)], None

        number = micro_batches(
            jax.eval_shape(predict, params, extra, batch), len(jax.tree.leaves(batch)[0]), accumulate
        )
        return jax.lax.scan(one, carries, cut(batch, number), unroll=number == 1)[0]

    def evaluate(
        params: Tree, extra: Tree, batches: Iterable[Batch], asked: Callable[[], int] = lambda: 0
    ) -> dict[str, float]:
        before, carries = start(), start()
        for batch in batches:
            if asked():
                return {}
            before, carries = carries, add(carries, params, extra, batch)
            jax.block_until_ready(before)  # the host is never more than one batch ahead, so it is heard soon
        found: dict[str, float] = {}
        for score, carry in zip(scores, jax.device_get(carries), strict=True):
            found |= score.finish(carry)
        return found

    return evaluate


def micro_batches(outputs: Any, rows: int, least: int) -> int:
    """Returns how many micro-batches to cut a batch of `rows` into, at least `least`, so that the outputs of one are
    not large. `outputs` are those of the whole batch, or their shapes."""
    shards = batch_shards()
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(outputs)) / shards
    fitting = [n for n in range(least, rows // shards + 1) if rows % (n * shards) == 0]
    return next((n for n in fitting if each <= n * OUTPUTS), fitting[-1] if fitting else least)


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
