"""Calls: the steps of a run in groups, each of which is one dispatch to the devices.

A step of a tiny model is done before the host has started the next one, so the devices wait. With
`config.steps_per_call` above 1 they are given several steps and their batches at once. Nothing else changes: a call
ends where something is due, and its steps are the same program however they are put together.
"""

# k slots of a call, one for each step

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxlab import step as steps
from jaxlab.data.stream import Batch, prefetch
from jaxlab.messages import say
from jaxlab.parallel import layout


def ends(start: int, last: int, most: int, every: Iterable[int]) -> np.ndarray:
    """Returns the number of the last step of each call, int [calls], for steps start + 1 … last.

    A call has at most `most` steps, and none goes beyond a multiple of a number of `every` (0: never due).
    """
    due = [np.arange(start - start % one + one, last, one) for one in every if one]
    marks = np.unique(np.concatenate([[start], *due, [last]])).astype(int)
    counts = -(-np.diff(marks) // most)  # how many calls lie between two marks
    number = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    return np.minimum(np.repeat(marks[:-1], counts) + (number + 1) * most, np.repeat(marks[1:], counts))


def batches(batch: Callable[[int], Batch], start: int, ends: np.ndarray, most: int) -> Callable[[int], Any]:
    """Returns call -> what it trains on: a batch, or where `most` is above 1 a stack of them and how many there are.

    Args:
      batch: n -> the batch of step n + 1.
      start: steps done before the first call.
      ends: of the calls.
      most: k.
    """

    def one(n: int) -> Batch:
        try:
            return batch(n)
        except BaseException as error:
            error.add_note(say('(while the batch of step {step} was read)', step=n + 1))
            raise

    if most == 1:
        return lambda call: one(start + call)

    def stacked(call: int) -> tuple[Batch, np.ndarray]:
        first, end = int(ends[call - 1]) if call else start, int(ends[call])
        found = [one(n) for n in range(first, end)]
        found += found[-1:] * (most - len(found))  # slots that are not used
        return {name: np.stack([one[name] for one in found]) for name in found[0]}, np.array(end - first, np.int32)

    return stacked


def prepare(
    step: steps.Step, batch: Mapping[str, jax.ShapeDtypeStruct], mesh: Mesh, most: int
) -> tuple[steps.Step, Any, Any]:
    """Returns the step that a call runs, the shapes of what it trains on, and their shardings."""
    sharding = layout.batch_sharding(mesh)
    if most == 1:
        return step, batch, sharding
    stack = {name: jax.ShapeDtypeStruct((most, *x.shape), x.dtype) for name, x in batch.items()}
    shardings = NamedSharding(mesh, PartitionSpec(None, *sharding.spec)), NamedSharding(mesh, PartitionSpec())
    return steps.several(step), (stack, jax.ShapeDtypeStruct((), jnp.int32)), shardings


def run(
    call: Callable[..., Any],
    state: steps.TrainState,
    batch: Callable[[int], Batch],
    last: int,
    most: int,
    shardings: Any,
    frozen: Any,
) -> tuple[steps.TrainState, Any]:
    """Runs the steps that lie between a state and step `last`; returns the state after it, and the terms of that step.

    Args:
      call: a compiled call of up to `most` steps.
      state: before them; donated where the call was compiled so.
      batch: n -> batch n of the data.
      last: the number of the last step, one at least after the state.
      most: k.
      shardings: of what a call trains on.
      frozen: parameters that are used and never trained.
    """
    start, offset = int(state.step), int(state.data_offset)
    stops = ends(start, last, most, ())
    given = batches(lambda n: batch(n + offset), start, stops, most)
    terms: Any = None
    for mine in prefetch(given, 0, len(stops)):
        state, terms = call(state, frozen, layout.place(mine, shardings))
    return state, terms
