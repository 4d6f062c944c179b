"""Scores of a model on a split: used while training and by the evaluate verb."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxlab import config as configs
from jaxlab.data.stream import Split
from jaxlab.messages import say
from jaxlab.parallel.layout import batch_shards
from jaxlab.scores import Info, RowScore, Score
from jaxlab.step import cut, joined
from jaxlab.task import Batch, Task, Tree

Evaluate = Callable[..., dict[str, Any]]
Scores = Sequence[Score | RowScore]

OUTPUTS = 1 << 29  # bytes of what `predict` returns that may always be there at once on each device


def make_scores(names: Sequence[str], info: Info) -> list[Score | RowScore]:
    """Returns the scores that a config lists in `evaluate.scores`; UserError for one that does not exist."""
    return [configs.part('scores', name)(info) for name in names]


def make_evaluate(task: Task, scores: Scores, accumulate: int = 1) -> Evaluate:
    """Returns evaluate(params, extra, batches, asked=…, judge=…) -> {'loss': 2.1, …}, compiled once for each shape.

    `asked()` is called before each batch, and ends it all where it returns what is true: then nothing was found, {}.
    `judge` is the split's, and finishes scores that are `judged`.
    Batches are on the devices. Sums stay there from batch to batch, and the host reads them once, at the end; what is
    kept of rows it reads batch by batch, while the devices are at the next one. A batch is looked at in `accumulate`
    micro-batches: what is too large to train on whole is too large to evaluate whole. It is looked at in more where the
    outputs would be large: scores may see all logits, of which training never has many.
    """
    predict = jax.jit(task.predict)  # traced once, though only its shapes are wanted at first
    sums = [score for score in scores if not hasattr(score, 'rows')]
    of_rows = [score for score in scores if hasattr(score, 'rows')]

    @jax.jit
    def start() -> list[Any]:
        return [score.start() for score in sums]

    @jax.jit
    def add(carries: list[Any], params: Tree, extra: Tree, batch: Batch) -> tuple[list[Any], Any]:
        """Returns the sums with one batch more, and what is kept of its rows."""

        def one(carries: list[Any], batch: Batch) -> tuple[list[Any], Any]:
            outputs: Mapping[str, jax.Array] = predict(params, extra, batch)
            carries = [score.add(carry, outputs, batch) for score, carry in zip(sums, carries, strict=True)]
            return carries, [score.rows(outputs, batch) for score in of_rows]

        number = micro_batches(
            jax.eval_shape(predict, params, extra, batch), len(jax.tree.leaves(batch)[0]), accumulate
        )
        carries, rows = jax.lax.scan(one, carries, cut(batch, number), unroll=number == 1)
        return carries, (counts(batch), joined(rows)) if of_rows else ()

    def evaluate(
        params: Tree,
        extra: Tree,
        batches: Iterable[Batch],
        asked: Callable[[], int] = lambda: 0,
        judge: Callable[[Mapping[str, np.ndarray]], dict[str, float]] = lambda rows: {},
    ) -> dict[str, Any]:
        before, carries, rows, kept = start(), start(), (), Kept(len(of_rows))
        for batch in batches:
            if asked():
                return {}
            before, ready = carries, rows
            carries, rows = add(carries, params, extra, batch)
            kept.add(ready)
            jax.block_until_ready(before)  # the host is never more than one batch ahead, so it is heard soon
        kept.add(rows)
        found: dict[str, Any] = {}
        finished = iter(jax.device_get(carries)), iter(kept.whole())
        for score in scores:
            one: Any = next(finished[hasattr(score, 'rows')])
            found |= judge(one) if getattr(score, 'judged', False) else score.finish(one)
        return found

    return evaluate


class Probabilities:
    """What `jaxlab.assessment` is made of, as a score over rows: it finds the rows themselves, and {} where what the
    task predicts is no class for each row."""

    better: ClassVar[dict[str, str]] = {}

    def rows(self, outputs: Mapping[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        logits = outputs.get('logits')
        if logits is None or logits.ndim != 2:
            return {}
        return {'probabilities': jax.nn.softmax(logits, axis=-1), 'targets': batch['targets']}

    def finish(self, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {'rows': rows if 'targets' in rows else {}}


def counts(batch: Batch) -> jax.Array:
    """Returns which rows of a batch count, bool [rows]: those of which anything does."""
    return jnp.any(batch['mask'].reshape(len(batch['mask']), -1) != 0, axis=1)


class Kept:
    """What is kept of rows, on the host: of each batch the rows that count."""

    def __init__(self, scores: int) -> None:
        self._parts: list[list[dict[str, np.ndarray]]] = [[] for _ in range(scores)]
        self._seen = 0

    def add(self, rows: Any) -> None:
        """Takes one batch more, from the devices: which rows count, and their arrays for each score; () is none."""
        if not rows:
            return
        count, arrays = gathered(rows)
        number = self._seen + np.flatnonzero(count)
        self._seen += len(count)
        for parts, score in zip(self._parts, arrays, strict=True):
            parts.append({'number': number, **{name: array[count] for name, array in score.items()}})

    def whole(self) -> list[dict[str, np.ndarray]]:
        """Returns for each score the arrays of all rows, and the numbers of these; {} where there was no batch."""
        return [
            {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
            for parts in self._parts
        ]


def gathered(rows: Any) -> Any:
    """Returns global arrays on the host, whole, on each process."""
    if jax.process_count() > 1:
        return multihost_utils.process_allgather(rows, tiled=True)
    return jax.device_get(rows)


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
