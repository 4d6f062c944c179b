"""--debug_nans: the run ends at the first loss or gradient that is not finite, and says in which module it began.

The numbers of a step are read when the next one is under way, as always. By then its state is one step further, so the
states before the last two calls are kept, where they are otherwise overwritten: the memory of two more states is what
this costs, and a little time. From there the step is run again, with every number watched: `jaxlab.trust.first_bad`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab import calls
from jaxlab.blueprint import Blueprint
from jaxlab.data.stream import Batch
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.observers.meter import of_terms
from jaxlab.parallel import layout
from jaxlab.step import Step, TrainState
from jaxlab.trust import first_bad


class DebugNaNs:
    """Looks at the calls of a run, in their order: `hold` before each, `look` when its numbers are read.

    Args:
      plan: of the run.
      call: compiled, and its state is not donated.
      batch: n -> batch n of the data.
      most: how many steps a call may have.
      frozen: parameters that are used and never trained.
    """

    def __init__(
        self, plan: Blueprint, call: Callable[..., Any], batch: Callable[[int], Batch], most: int, frozen: Any
    ) -> None:
        self._plan, self._call, self._batch, self._most, self._frozen = plan, call, batch, most, frozen
        self._held: deque[TrainState] = deque()
        self._skipped = -1  # updates left out so far; not known yet

    def hold(self, state: TrainState) -> None:
        """Keeps the state before a call."""
        if self._skipped < 0:
            self._skipped = int(state.health.skipped)
        self._held.append(state)

    def look(self, n: int, terms: Mapping[str, Any]) -> None:
        """Looks at the terms of step n, the last of the oldest call that is held, and lets go of its state.

        Raises:
          UserError: the loss or a gradient of one of its steps is not finite. Leaps of the loss are no such thing.
        """
        state = self._held.popleft()
        skipped = int(jax.device_get(terms['skipped'].total))
        if skipped == self._skipped:
            return
        self._skipped = skipped
        shardings = self._plan.given_shardings
        for step in range(int(state.step) + 1, n + 1):
            after, one = calls.run(self._call, state, self._batch, step, self._most, shardings, self._frozen)
            row = of_terms(one)
            if not finite(row, after):
                where = told(culprit(self._plan, state, self._batch, self._frozen))
                raise UserError(
                    'step {step}: the loss or a gradient is not finite (loss {loss:.4g}, gradient norm {norm:.4g}).'
                    '\n{where}',
                    step=step,
                    loss=row['train/loss'],
                    norm=next(value for name, value in row.items() if name.startswith('train/gradient_norm')),
                    where=where,
                )
            state = after


def finite(row: Mapping[str, float], after: TrainState) -> bool:
    """Whether what a step logs, and the parameters after it, are all finite."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params)]
    return bool(np.isfinite(list(row.values())).all() and np.all(jax.device_get(leaves)))


def culprit(
    plan: Blueprint, state: TrainState, batch: Callable[[int], Batch], frozen: Any
) -> first_bad.Operation | first_bad.Argument | None:
    """Returns where the first number that is not finite came from in the step after `state`, of those that reach its
    loss, its gradients, or the parameters after it; None where all these are finite."""
    rows = batch(int(state.step) + int(state.data_offset))
    given = {'state': state, 'frozen': frozen, 'batch': layout.place(rows, layout.batch_sharding(plan.mesh))}
    return first_bad.find(watched(plan.step), given)


def watched(step: Step) -> Callable[[Any], tuple[Any, Any]]:
    """Returns given -> (the terms of the loss, what comes of their gradients) of a step."""

    def run(given: Any) -> tuple[Any, Any]:
        after, terms = step(given['state'], given['frozen'], given['batch'])
        totals = {name: term.total for name, term in terms.items()}
        norms = {name: totals.pop(name) for name in terms if name.startswith(('gradient_norm', 'learning_rate'))}
        return totals, (norms, after.params)

    return run


RESULTS = {first_bad.INFINITE: 'inf', first_bad.NAN: 'NaN'}


def told(found: first_bad.Operation | first_bad.Argument | None) -> str:
    """Returns one sentence for people."""
    if found is None:
        return say('With every operation watched, all numbers are finite: it depends on how the compiler fuses them.')
    if isinstance(found, first_bad.Argument):
        what, _, name = found.name.removeprefix('state/').partition('/')
        if what == 'batch':
            return say('It came with the batch: {name} has {result}.', name=name, result=RESULTS[found.result])
        return say(
            'It was there before the step: {name} has {result}.', name=f'{what}/{name}', result=RESULTS[found.result]
        )
    module = found.module or say('outside of the model')
    turns = ''.join(
        say(', turn {number} of {all} of the loop in {source}', number=turn.number, all=turn.of, source=turn.source)
        for turn in found.turns
    )
    words = {
        'module': module,
        'operation': found.name,
        'source': found.source,
        'result': RESULTS[found.result],
        'turns': turns,
    }
    if found.backward:
        return say('It began in the gradient of {module}: {operation} of {source} gave {result}{turns}.', **words)
    return say('It began in {module}: {operation} in {source} gave {result}{turns}.', **words)
