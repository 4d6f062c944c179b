"""Numbers that must not reach the parameters: a loss or a gradient that is not finite, and a loss that leaps.

The step itself finds them, on the devices, and leaves everything as it was; so nothing has to be read before the next
step may start, and a bad batch costs one step and no more.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxlab.errors import UserError

MEMORY = 100  # accepted steps, about, that the usual loss is an average of
LEARN = 20  # accepted steps before a loss may be called unusual


class Health(struct.PyTreeNode):
    """What the steps so far say of the next one. Saved with the state: a resumed run judges alike."""

    skipped: jax.Array  # [] int32: updates left out, of the whole run
    in_a_row: jax.Array  # [] int32: of these, the last ones without an accepted update between them
    accepted: jax.Array  # [] int32
    loss: jax.Array  # [] float32: the usual loss, an average over accepted steps
    spread: jax.Array  # [] float32: its usual distance from that


def start() -> Health:
    """Returns what there is to say before the first step."""
    none, zero = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
    return Health(none, none, none, zero, zero)


def judge(
    health: Health, losses: Iterable[jax.Array], norms: Iterable[jax.Array], spike: float
) -> tuple[jax.Array, Health]:
    """Says whether an update may be made: ([] bool, the health after it).

    Args:
      health: before the step.
      losses: [] of each phase.
      norms: [] of the gradients of each phase; one number that is not finite makes the norm so.
      spike: how many times its usual distance the loss may be above the usual loss; 0: any.
    """
    loss = sum(losses, jnp.zeros(())).astype(jnp.float32)
    good = jnp.isfinite(jnp.stack([loss, *(norm.astype(jnp.float32) for norm in norms)])).all()
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
    )
    return good, after


def choose(good: jax.Array, new: Any, old: Any) -> Any:
    """Returns tree `new` where the update may be made, and else `old`, to the last bit."""
    return jax.tree.map(lambda one, other: jnp.where(good, one, other), new, old)


def check(step: int, terms: Mapping[str, Any], patience: int) -> None:
    """Ends the run where `patience` updates in a row were left out. `terms` are those of `step`, which is over.

    Raises:
      UserError: it is so; what the last good update made is in the state, and in the newest checkpoint before it.
    """
    if jax.device_get(terms['skipped_in_a_row'].total) < patience:
        return
    seen = {name: float(term.total / term.count) for name, term in jax.device_get(dict(terms)).items()}
    loss = next(value for name, value in seen.items() if not name.startswith('skipped'))
    norm = next(value for name, value in seen.items() if name.startswith('gradient_norm'))
    raise UserError(
        'step {step}: {count} updates in a row were left out (loss {loss:.4g}, gradient norm {norm:.4g}), the last good'
        ' one was that of step {good}. Lower config.optimizer.learning_rate, and begin at an earlier checkpoint.',
        step=step,
        count=int(seen['skipped_in_a_row']),
        loss=loss,
        norm=norm,
        good=step - int(seen['skipped_in_a_row']),
    )
