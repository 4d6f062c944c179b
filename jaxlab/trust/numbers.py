"""Numbers that must not reach the parameters: a loss or a gradient that is not finite, a loss that leaps, and the zeros
of a batch in which nothing counts, which momentum and decay would make an update of.

The step itself finds them, on the devices, and leaves everything as it was; so nothing has to be read before the next
step may start, and a bad batch costs one step and no more.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxlab.errors import UserError
from jaxlab.messages import say

MEMORY = 100  # accepted steps, about, that the usual loss is an average of
LEARN = 20  # accepted steps before a loss may be called unusual


class Health(struct.PyTreeNode):
    """What the steps so far say of the next one. Saved with the state: a resumed run judges alike."""

    skipped: jax.Array  # [] int32: updates left out, of the whole run
    in_a_row: jax.Array  # [] int32: of these, the last ones without an accepted update between them
    accepted: jax.Array  # [] int32
    loss: jax.Array  # [] float32: the usual loss, an average over accepted steps
    spread: jax.Array  # [] float32: its usual distance from that
    rollbacks: jax.Array  # [] int32: how often the run went back to an earlier step


def start() -> Health:
    """Returns what there is to say before the first step."""
    none, zero = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    return Health(none, none, none, zero, zero, none)


def judge(
    health: Health,
    losses: Iterable[jax.Array],
    norms: Iterable[jax.Array],
    counted: Iterable[jax.Array],
    spike: float,
) -> tuple[jax.Array, Health]:
    """Says whether an update may be made: ([] bool, the health after it).

    Args:
      health: before the step.
      losses: [] of each phase.
      norms: [] of the gradients of each phase; one number that is not finite makes the norm so.
      counted: [] bool of each phase: whether anything counts in its batch.
      spike: how many times its usual distance the loss may be above the usual loss; 0: any.
    """
    loss = sum(losses, jnp.zeros(())).astype(jnp.float32)
    good = jnp.isfinite(jnp.stack([loss, *(norm.astype(jnp.float32) for norm in norms)])).all()
    good &= jnp.stack(list(counted)).any()
    if spike:
        known = health.accepted >= LEARN
        good &= ~known | (loss <= health.loss + spike * health.spread)
    accepted = health.accepted + good
    weight = 1 / jnp.minimum(accepted, MEMORY).astype(jnp.float32)
    distance = jnp.abs(loss - health.loss)
    after = Health(
        skipped=health.skipped + ~good,
        in_a_row=jnp.where(good, 0, health.in_a_row + 1),
        accepted=accepted,
        loss=jnp.where(good, health.loss + weight * (loss - health.loss), health.loss),
        # The first loss has no usual one to be distant from.
        spread=jnp.where(
            good & (health.accepted > 0), health.spread + weight * (distance - health.spread), health.spread
        ),
        rollbacks=health.rollbacks,
    )
    return good, after


def choose(good: jax.Array, new: Callable[[], Any], old: Any) -> Any:
    """Returns the tree new() where the update may be made, and else `old`, to the last bit.

    A condition, and not a choice between numbers: that would have both of them at once, and an update could no longer
    take the place of what it changes (8 ms of 30 that AdamW takes for 10.7 M parameters on two cores; this takes 1).
    """
    return jax.lax.cond(good, new, lambda: old)


class TooMany(UserError):
    """Too many updates in a row were left out, the last one at `step`; the last good one was that of step `good`."""

    def __init__(self, template: str, /, *, step: int, good: int, **values: object) -> None:
        super().__init__(template, step=step, good=good, **values)
        self.step, self.good = step, good

    def told(self, to: int) -> str:
        """Returns one line: that the run goes back to step `to`."""
        return say(
            'warning: {count} updates in a row were left out after step {good}: back to step {to}, and on with other'
            ' data',
            count=self.step - self.good,
            good=self.good,
            to=to,
        )


def rolled_back(to: Any, state: Any, last: int) -> Any:
    """Returns the state from which a run goes on after a rollback.

    Args:
      to: the earlier state, as it was saved.
      state: the newest one, which says what rollbacks came before.
      last: the last step of the bad stretch: the batch that comes after its own is the next one.
    """

    def like(old: jax.Array, value: int) -> jax.Array:
        return jax.device_put(np.int32(value), old.sharding)

    offset = int(state.data_offset) + last - int(to.step)
    rollbacks = int(state.health.rollbacks) + 1
    health = to.health.replace(rollbacks=like(to.health.rollbacks, rollbacks))
    return to.replace(data_offset=like(to.data_offset, offset), health=health)


def check(step: int, terms: Mapping[str, Any], patience: int) -> None:
    """Ends the run where `patience` updates in a row were left out. `terms` are those of `step`, which is over.

    Raises:
      TooMany: it is so; what the last good update made is in the state.
    """
    if jax.device_get(terms['skipped_in_a_row'].total) < patience:
        return
    seen = {name: float(term.total / term.count) for name, term in jax.device_get(dict(terms)).items()}
    loss = next(value for name, value in seen.items() if not name.startswith('skipped'))
    norm = next(value for name, value in seen.items() if name.startswith('gradient_norm'))
    count = int(seen['skipped_in_a_row'])
    if loss == norm == 0:
        raise TooMany(
            'step {step}: in the batches of {count} steps in a row nothing counted (all of mask is 0), the last good'
            ' update was that of step {good}. Look at the data: `doctor` says what is in them.',
            step=step,
            count=count,
            good=step - count,
        )
    raise TooMany(
        'step {step}: {count} updates in a row were left out (loss {loss:.4g}, gradient norm {norm:.4g}), the last'
        ' good one was that of step {good}. Lower config.optimizer.learning_rate, or let the run go back and on'
        ' with other data: config.numbers.rollbacks=3.',
        step=step,
        count=count,
        loss=loss,
        norm=norm,
        good=step - count,
    )
