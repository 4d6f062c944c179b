"""The training step: one pure function for every task.

    step(state, frozen, batch) -> (state, terms)

A task gives the terms of its loss as sums with counts. The step adds them over micro-batches (a loop) and devices (XLA
does it: the arrays are global) and divides once, by the count of the whole batch. Whatever else happens to every model
happens here, once: phases, accumulation, averages.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.traverse_util import flatten_dict

from jaxlab import parameter_groups
from jaxlab.optim import Optimizer
from jaxlab.parallel import layout
from jaxlab.parameter_groups import merge
from jaxlab.task import Batch, Task, Term, Terms, Tree
from jaxlab.trust import numbers


class TrainState(struct.PyTreeNode):
    """All that changes from step to step: arrays only, so that it is saved, sharded and donated whole."""

    step: jax.Array  # [] int32: updates done
    params: Tree
    extra: Tree  # batch statistics and the like
    opt_state: tuple[Any, ...]  # one for each phase
    key: jax.Array  # the run's random key; step n uses fold_in(key, n), so no key is ever carried from step to step
    average: Tree  # exponential moving average of params; {} when there is none
    data_offset: jax.Array  # [] int32: step n trains on batch n + data_offset
    health: numbers.Health  # which updates were left out, and what a usual loss is


Step = Callable[[TrainState, Tree, Any], tuple[TrainState, Terms]]


def init(task: Task, optimizers: Sequence[Optimizer], average: float, shapes: Any, key: jax.Array) -> TrainState:
    """Returns the state before the first step: a pure function of the run's key. `shapes` are those of a batch."""
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    params, extra = layout.unbox(task.init(jax.random.fold_in(key, 0), batch))
    opt_state = tuple(
        optimizer.init(split(params, phase.trains)[0]) for phase, optimizer in zip(task.phases, optimizers, strict=True)
    )
    start = jnp.zeros((), jnp.int32)
    copy = jax.tree.map(jnp.copy, params) if average else {}  # a copy: both are donated to the step
    return TrainState(start, params, extra, opt_state, jax.random.fold_in(key, 1), copy, start, numbers.start())


def make_step(
    task: Task,
    optimizers: Sequence[Optimizer],
    *,
    accumulate: int = 1,
    average: float = 0.0,
    spike: float = 0.0,
    over: str = '',
) -> Step:
    """Returns the pure step of a task.

    Args:
      task: what to learn.
      optimizers: one for each phase of the task.
      accumulate: how many micro-batches the batch is cut into; the result equals that of the whole batch.
      average: decay of the moving average of the parameters; 0: none.
      spike: how far a loss may leap; see `numbers.judge`.
      over: the axis that `jax.pmap` maps, where this is a step of one device's rows; '': arrays are global.

    Returns:
      step(state, frozen, batch) -> (state, terms). `frozen` holds parameters that are used and never trained, under
      their own names: an argument of the step, and not saved with every checkpoint. The terms are those of the loss
      and, with weight 0, what people want to see beside it: 'gradient_norm', 'learning_rate', and how many updates
      were 'skipped', in all and 'skipped_in_a_row'. Such an update leaves all but the count of steps as it was.
    """

    def step(state: TrainState, frozen: Tree, batch: Batch) -> tuple[TrainState, Terms]:
        key = jax.random.fold_in(state.key, state.step)
        if over:  # or dropout would leave out the same on every device
            key = jax.random.fold_in(key, jax.lax.axis_index(over))
        micro_batches = cut(batch, accumulate)
        params, extra, opt_state = state.params, state.extra, state.opt_state
        report: dict[str, Term] = {}
        losses: list[jax.Array] = []
        norms: list[jax.Array] = []
        counted: list[jax.Array] = []
        left = sum(phase.repeat for phase in task.phases)  # updates
        for number, (phase, optimizer) in enumerate(zip(task.phases, optimizers, strict=True)):
            loss = getattr(task, phase.loss)
            for turn in range(phase.repeat):
                trained, rest = split(params, phase.trains)
                turn_key = jax.random.fold_in(jax.random.fold_in(key, number), turn)
                given = trained, merge(rest, frozen), extra, micro_batches, turn_key
                gradients, terms, extra, some = gradient(loss, *given, over)
                value, norm = mean_loss(terms), optimizer.norm(gradients)
                losses, norms, counted = [*losses, value], [*norms, norm], [*counted, some]
                rate = optimizer.rate(opt_state[number], value)
                update = partial(_update, optimizer, number, gradients, trained, rest, opt_state, value, norm)
                left -= 1
                if left:  # the last one waits for the judgement
                    params, opt_state = update()
            shown = {'gradient_norm': norms[-1], 'learning_rate': rate}
            of = '' if len(task.phases) == 1 else f'/{phase.loss}'
            assert not report.keys() & terms.keys(), f'two phases have terms of one name: {list(terms)}'
            report |= {**terms, **{name + of: Term(value, jnp.ones(()), weight=0.0) for name, value in shown.items()}}

        def new() -> dict[str, Any]:
            found, moments = update()
            averaged = state.average
            if average:
                averaged = jax.tree.map(lambda old, new: old + (1 - average) * (new - old), averaged, found)
            return {'params': found, 'extra': extra, 'opt_state': moments, 'average': averaged}

        good, health = numbers.judge(state.health, losses, norms, counted, spike)
        old = {name: getattr(state, name) for name in ('params', 'extra', 'opt_state', 'average')}
        state = state.replace(step=state.step + 1, health=health, **numbers.choose(good, new, old))
        counts = {'skipped': health.skipped, 'skipped_in_a_row': health.in_a_row}
        report |= {name: Term(count.astype(float), jnp.ones(()), weight=0.0) for name, count in counts.items()}
        return state, report

    return step


def _update(
    optimizer: Optimizer,
    number: int,
    gradients: Tree,
    trained: Tree,
    rest: Tree,
    opt_state: tuple[Any, ...],
    loss: jax.Array,
    norm: jax.Array,
) -> tuple[Tree, tuple[Any, ...]]:
    """Returns parameters and the optimizers' states after one update of phase `number`."""
    updates, after = optimizer.update(gradients, opt_state[number], trained, loss, norm)
    return merge(rest, optax.apply_updates(trained, updates)), (*opt_state[:number], after, *opt_state[number + 1 :])


def several(step: Step) -> Step:
    """Returns a step that does up to k of them in one dispatch: for models so small that the host is what takes time.

    Its batch is a pair: the batches, stacked to arrays [k, rows, ...], and how many of them count, int32 []. The terms
    are those of the last step. However steps are put together, each is the same program, so the numbers are the same.
    """

    def steps(state: TrainState, frozen: Tree, batches: tuple[Batch, jax.Array]) -> tuple[TrainState, Terms]:
        stack, count = batches

        def one(number: jax.Array, carry: tuple[TrainState, Terms]) -> tuple[TrainState, Terms]:
            batch = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, number, keepdims=False), stack)
            return step(carry[0], frozen, batch)

        shapes = jax.eval_shape(one, count, (state, {}))[1]
        terms = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.fori_loop(0, count, one, (state, terms))

    return steps


def gradient(
    loss: Callable[..., tuple[Terms, Tree]],
    trained: Tree,
    rest: Tree,
    extra: Tree,
    micro_batches: Batch,
    key: jax.Array,
    over: str = '',
) -> tuple[Tree, Terms, Tree, jax.Array]:
    """Returns (gradients, terms, extra, counted) of the whole batch, and never a mean of means; `counted`, [] bool, is
    whether anything counts in it.

    Args:
      loss: (params, extra, batch, key) -> (terms, extra).
      trained: the parameters to differentiate by.
      rest: all other parameters.
      extra: what the loss carries along.
      micro_batches: arrays [a, rows, ...]: a micro-batches.
      key: the random key of this update; micro-batch i uses fold_in(key, i).
      over: the axis that `jax.pmap` maps; '': arrays are global.
    """
    everywhere = partial(jax.lax.psum, axis_name=over) if over else lambda here: here
    loss = jax.jit(loss)  # traced once, though it is used twice below
    number = jax.tree.leaves(micro_batches)[0].shape[0]
    items = jnp.arange(number), micro_batches

    def terms_of(trained: Tree, extra: Tree, item: tuple[jax.Array, Batch]) -> tuple[Terms, Tree]:
        index, batch = item
        return loss(merge(rest, trained), extra, batch, jax.random.fold_in(key, index))

    # The counts come first, since the first gradient is already divided by them all. They depend on the batch alone:
    # XLA sees that the rest of this forward pass is unused, and drops it.
    _, terms = jax.lax.scan(lambda carry, item: (carry, terms_of(trained, extra, item)[0]), None, items)
    counts = everywhere({name: term.count.sum() for name, term in terms.items()})
    counted = jnp.stack([count > 0 for count in counts.values()]).any()
    counts = {name: jnp.where(count > 0, count, 1) for name, count in counts.items()}  # where nothing counts, 0 / 1
    weights = {name: term.weight[0] for name, term in terms.items()}

    def share(trained: Tree, extra: Tree, item: tuple[jax.Array, Batch]) -> tuple[Any, tuple[dict, Tree]]:
        terms, extra = terms_of(trained, extra, item)
        totals = {name: term.total for name, term in terms.items()}
        return sum(weights[name] * total / counts[name] for name, total in totals.items()), (totals, extra)

    one = jax.grad(share, has_aux=True)

    def add(carry: tuple[Tree, Tree], item: tuple[jax.Array, Batch]) -> tuple[tuple[Tree, Tree], dict]:
        gradients, extra = carry
        more, (totals, extra) = one(trained, extra, item)
        return (jax.tree.map(jnp.add, gradients, more), extra), totals

    if number == 1:  # no loop, and no sum that starts from zeros
        gradients, (totals, extra) = one(trained, extra, jax.tree.map(lambda x: x[0], items))
    else:
        (gradients, extra), totals = jax.lax.scan(add, (jax.tree.map(jnp.zeros_like, trained), extra), items)
    gradients, totals = everywhere((gradients, {name: total.sum() for name, total in totals.items()}))
    terms = {name: Term(totals[name], counts[name], weights[name]) for name in counts}
    return gradients, terms, extra, counted


def mean_loss(terms: Mapping[str, Term]) -> Any:
    """Returns the loss that terms add up to: sum of weight * total / count."""
    return sum(term.weight * term.total / term.count for term in terms.values())


def cut(batch: Batch, number: int) -> Batch:
    """Cuts arrays [rows, ...] into [number, rows / number, ...]: micro-batch i has rows i, i + number, i + 2 number, …

    Strided, so that each device's contiguous rows are spread over all micro-batches and no row moves between devices.
    """
    return jax.tree.map(lambda x: x.reshape(-1, number, *x.shape[1:]).swapaxes(0, 1), batch)


def joined(micro_batches: Tree) -> Tree:
    """Puts arrays [number, rows / number, ...] together to [rows, ...], in the order from before `cut`."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), micro_batches)


def split(tree: Tree, pattern: str) -> tuple[Tree, Tree]:
    """Splits nested dicts into (leaves whose name matches `pattern`, all others)."""
    return parameter_groups.split(tree, [name for name in flatten_dict(tree, sep='/') if re.match(pattern, name)])
