"""A step taken apart: the loss of each row, and the norms of gradients and activations, layer by layer.

All of it is computed as the step itself computes its gradients: in the same micro-batches, with the same random keys.
Where a task has several phases, each is looked at with the parameters that the step begins with.
"""

# a micro-batches, r rows of one, l layers of a scanned stack

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from jaxlab import step as steps
from jaxlab.nn.listening import SCANNED, first_array
from jaxlab.parameter_groups import merge
from jaxlab.step import TrainState
from jaxlab.task import Batch, Task, Tree


@dataclass(frozen=True)
class Anatomy:
    """What is found of one phase. Arrays are numpy's; of a module in a scanned stack [l], else [].

    Attributes:
      losses: [rows], in the order of the batch: what the loss would be if this row alone counted, with the same random
        numbers; NaN where nothing in it counts. Empty where the loss is no sum over rows that 'mask' weighs.
      counts: [rows]: how many things of a row count, in the first term of the loss.
      gradients: module, such as 'stack/layer_0/mlp/up' -> the norm of the gradient of its own parameters.
      sizes: module -> the root mean square of its activation: of what it gives back, of several arrays the first; where
        it is called more than once, of all calls.
      largest: module -> the largest absolute value of it.
    """

    losses: np.ndarray
    counts: np.ndarray
    gradients: Mapping[str, np.ndarray]
    sizes: Mapping[str, np.ndarray]
    largest: Mapping[str, np.ndarray]


def dissect(task: Task, accumulate: int, state: TrainState, frozen: Tree, batch: Batch) -> dict[str, Anatomy]:
    """Returns the anatomy of each phase of the step after `state`, by the name of its loss.

    Args:
      task: what is learned.
      accumulate: how many micro-batches the batch is cut into.
      state: before the step.
      frozen: parameters that are used and never trained.
      batch: of the step, on the devices.
    """

    @jax.jit
    def look(state: TrainState, frozen: Tree, batch: Batch) -> dict[str, Any]:
        key = jax.random.fold_in(state.key, state.step)
        micro_batches = steps.cut(batch, accumulate)
        found = {}
        for number, phase in enumerate(task.phases):
            turn_key = jax.random.fold_in(jax.random.fold_in(key, number), 0)
            trained, rest = steps.split(state.params, phase.trains)
            loss = getattr(task, phase.loss)
            gradients, terms, *_ = steps.gradient(
                loss, trained, merge(rest, frozen), state.extra, micro_batches, turn_key
            )

            def one(extra: Tree, item: Any, name: str = phase.loss, turn_key: jax.Array = turn_key) -> Any:
                index, rows = item
                arguments = merge(state.params, frozen), extra, rows, jax.random.fold_in(turn_key, index)
                shares = _of_rows(getattr(task, name), *arguments)
                extra, heard = _listen(task, name, *arguments)
                return extra, (shares, heard)

            _, (shares, heard) = jax.lax.scan(one, state.extra, (jnp.arange(accumulate), micro_batches))
            shares = jax.tree.map(_in_order, shares)
            found[phase.loss] = terms, shares, _norms(gradients), _joined(heard)
        return found

    return {
        name: Anatomy(*_losses(terms, shares), gradients, *activations)
        for name, (terms, shares, gradients, activations) in jax.device_get(look(state, frozen, batch)).items()
    }


# --- rows ------------------------------------------------------------------------------------------------------------


def _of_rows(loss: Callable[..., Any], params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> dict[str, Any]:
    """Returns the part of each row [r] in the total and in the count of every term.

    They are sums of things times their mask. So the derivative by the mask is what a thing adds, and the mask times it,
    summed over a row, is what the row adds: all rows come from one backward pass.
    """
    if 'mask' not in batch or not jnp.issubdtype(batch['mask'].dtype, jnp.inexact):
        return {}

    def sums(mask: jax.Array) -> dict[str, list[jax.Array]]:
        terms, _ = loss(params, extra, {**batch, 'mask': mask}, key)
        return {name: [term.total, jnp.asarray(term.count, float)] for name, term in terms.items()}

    mask = batch['mask']
    values, pull = jax.vjp(sums, mask)
    leaves, tree = jax.tree.flatten(values)

    def part(number: int) -> jax.Array:
        wanted = [jnp.ones_like(leaf) if i == number else jnp.zeros_like(leaf) for i, leaf in enumerate(leaves)]
        (by_mask,) = pull(jax.tree.unflatten(tree, wanted))
        return jnp.where(mask == 0, 0, mask * by_mask).reshape(len(mask), -1).sum(1)

    return jax.tree.unflatten(tree, [part(number) for number in range(len(leaves))])


def _in_order(x: jax.Array) -> jax.Array:
    """Returns [a r] as the rows of the batch, which `steps.cut` has cut."""
    return x.swapaxes(0, 1).reshape(-1)


def _losses(terms: Mapping[str, Any], shares: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the losses and counts of all rows; both empty where the parts of the rows are not the whole."""
    for name, (totals, counts) in shares.items():
        for parts, whole in ((totals, terms[name].total), (counts, terms[name].count)):
            sums = parts.sum(), whole if counts.any() else 0  # the step takes 1 for a count of 0
            if np.isfinite(sums).all() and not np.isclose(*sums, rtol=1e-2, atol=1e-6):
                return np.zeros(0), np.zeros(0)
    if not shares:
        return np.zeros(0), np.zeros(0)
    means = [
        terms[name].weight * np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts != 0)
        for name, (totals, counts) in shares.items()
    ]
    return np.sum(means, axis=0), next(iter(shares.values()))[1]


# --- modules ---------------------------------------------------------------------------------------------------------


def _axes(module: str, x: Any) -> tuple[int, ...]:
    """Returns the axes of an array of a module, without that of the layers."""
    return tuple(range(1 if SCANNED in module.split('/') else 0, x.ndim))


def _norms(gradients: Tree) -> dict[str, jax.Array]:
    squares: dict[str, Any] = {}
    for name, leaf in flatten_dict(gradients, sep='/').items():
        module = name.rpartition('/')[0]
        size = jnp.square(jnp.abs(leaf).astype(jnp.promote_types(leaf.dtype, jnp.float32))).sum(_axes(module, leaf))
        squares[module] = squares.get(module, 0) + size
    return {module: jnp.sqrt(square) for module, square in squares.items()}


class Listener:
    """A model whose modules are heard: each `apply` adds what they gave back to `heard`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.heard: list[Tree] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def apply(self, *arguments: Any, mutable: Any = False, **keywords: Any) -> Any:
        asked = [mutable] if isinstance(mutable, str) else list(mutable or ())
        keywords |= {'mutable': [*asked, 'intermediates'], 'capture_intermediates': True}
        y, changed = self._model.apply(*arguments, **keywords)
        changed = dict(changed)
        self.heard.append(changed.pop('intermediates', {}))
        return y if mutable is False else (y, changed)  # as Flax: of [] nothing has changed


def _listen(task: Task, loss: str, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Tree, Any]:
    """Returns extra after a loss, and {module: (sum of squares, how many numbers, largest absolute value)} of it."""
    models = {of.name: getattr(task, of.name) for of in fields(task)}  # type: ignore[arg-type]
    listeners = {name: Listener(model) for name, model in models.items() if hasattr(model, 'apply')}
    _, extra = getattr(replace(task, **listeners), loss)(params, extra, batch, key)  # type: ignore[type-var]
    own = {name.rpartition('/')[0] for name in flatten_dict(params, sep='/')}
    found: dict[str, Any] = {}
    for name, listener in listeners.items():
        for heard in listener.heard:
            for path, calls in flatten_dict(heard, sep='/').items():
                module = path.rpartition('/')[0]
                if not any(f'{of}/'.startswith(f'{module}/') for of in own):
                    continue  # dropout and the like: it has no parameters
                module = module if len(listeners) == 1 else f'{name}/{module}'
                for x in map(first_array, calls):
                    if x is not None:
                        found[module] = _added(found.get(module), _measured(module, x))
    return extra, found


def _measured(module: str, x: jax.Array) -> tuple[jax.Array, ...]:
    x, axes = jnp.abs(x).astype(jnp.promote_types(x.dtype, jnp.float32)), _axes(module, x)
    square, largest = jnp.square(x).sum(axes), x.max(axes)
    return square, jnp.full(square.shape, x.size / max(square.size, 1)), largest


def _added(before: Any, new: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    if before is None:
        return new
    return before[0] + new[0], before[1] + new[1], jnp.maximum(before[2], new[2])


def _joined(heard: Mapping[str, Iterable[jax.Array]]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns root mean squares and largest values, of what was heard in a micro-batches."""
    sizes, largest = {}, {}
    for module, (square, count, most) in heard.items():
        sizes[module], largest[module] = jnp.sqrt(square.sum(0) / count.sum(0)), most.max(0)
    return sizes, largest
