"""Learning rates over time. Config key: `optimizer.schedule`.

Each makes a `Schedule`, which gives a *factor* of the learning rate for every update, a float32 in [0, 1]. Most are
functions of the number of updates done; `plateau` looks at the loss. All of them begin with a linear rise, and most
end at a horizon. What they share:

  steps: steps of the run.
  warmup: steps of the rise.
  final: the factor at the end, in [0, 1].
  horizon: the step at which `final` is reached; 0: the run's last step. To be set where a run's length will change on
    resume.

A value out of range raises UserError.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlab.errors import UserError

__all__ = ['constant', 'cosine', 'exponential', 'inverse_sqrt', 'linear', 'plateau', 'step', 'warmup_stable_decay']


class Schedule(NamedTuple):
    """Two pure functions. The state is a tree of arrays, and a part of the optimizer's."""

    init: Callable[[], Any]  # () -> state, before the first update
    update: Callable[[Any, jax.Array], tuple[jax.Array, Any]]  # (state, the batch's mean loss) -> (factor, state)


def by_step(factor: Callable[[jax.Array], jax.Array]) -> Schedule:
    """Returns the schedule of a function of n, the number of updates done, a traced int32: its state is n."""
    return Schedule(lambda: jnp.zeros((), jnp.int32), lambda n, loss: (jnp.float32(factor(n)), n + 1))


def constant(steps: int, *, warmup: int = 0) -> Schedule:
    """Always 1."""
    return _fall(warmup, steps, 0, lambda progress: jnp.ones_like(progress))


def step(steps: int, *, warmup: int = 0, at: tuple = (0.5, 0.75), drop: float = 0.1, horizon: int = 0) -> Schedule:
    """Stairs: times `drop` at each of the parts `at` of the way from the end of the rise to the horizon."""
    if not all(isinstance(part, int | float) and 0 <= part <= 1 for part in at):
        raise UserError('at={at}: parts of the way, between 0 and 1, are wanted, such as (0.5, 0.75).', at=at)
    _check_factor(drop=drop)
    return _fall(warmup, steps, horizon, lambda progress: drop ** sum((progress >= part) * 1.0 for part in at))


def exponential(steps: int, *, warmup: int = 0, final: float = 0.01, horizon: int = 0) -> Schedule:
    """The same part less at each step, down to `final`."""
    _check_factor(final=final)
    if final == 0:
        raise UserError('final=0: an exponential never gets there; take more than 0, such as 0.01.')
    return _fall(warmup, steps, horizon, lambda progress: final**progress)


def linear(steps: int, *, warmup: int = 0, final: float = 0.0, horizon: int = 0) -> Schedule:
    """A straight line down to `final`."""
    _check_factor(final=final)
    return _fall(warmup, steps, horizon, lambda progress: 1 - (1 - final) * progress)


def cosine(steps: int, *, warmup: int = 0, final: float = 0.1, horizon: int = 0) -> Schedule:
    """Half a cosine down to `final` (arXiv:1608.03983)."""
    _check_factor(final=final)
    return _fall(warmup, steps, horizon, lambda progress: final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))


def inverse_sqrt(steps: int, *, warmup: int = 100) -> Schedule:
    """Falls as 1 / √step for ever (arXiv:1706.03762, section 5.3): the longer the rise, the slower."""
    _check(warmup, 0)
    return by_step(lambda n: jnp.minimum(_rise(n, warmup), jnp.sqrt(float(warmup + 1) / (n + 1))))


def warmup_stable_decay(
    steps: int, *, warmup: int = 0, decay: float = 0.2, final: float = 0.0, horizon: int = 0
) -> Schedule:
    """Stays at 1, then falls in a straight line to `final` over the last part `decay` of the way (arXiv:2404.06395).

    A run can be made longer from any checkpoint before the fall.
    """
    _check_factor(final=final)
    if not 0 < decay <= 1:
        raise UserError('decay={decay}: a part of the way, above 0 and up to 1, is wanted.', decay=decay)
    return _fall(warmup, steps, horizon, lambda progress: 1 - (1 - final) * jnp.maximum(1 - (1 - progress) / decay, 0))


def plateau(
    steps: int,
    *,
    warmup: int = 0,
    drop: float = 0.5,
    window: int = 20,
    patience: int = 5,
    cooldown: int = 0,
    least: float = 0.0,
    final: float = 0.0,
) -> Schedule:
    """Times `drop` whenever the loss stops to fall; optax.contrib.reduce_on_plateau.

    The loss is the training batches' mean over `window` updates: single batches are too noisy to be compared. What
    comes before the end of the rise is not looked at.

    Args:
      steps: of no use here: nobody knows beforehand when the loss stops to fall.
      warmup: steps of the rise.
      drop: the factor of a fall, above 0 and below 1.
      window: updates in one mean.
      patience: windows in a row, without a mean below the lowest so far, that make the rate fall.
      cooldown: windows after a fall that do not count for the next one.
      least: by how much a mean must lie below the lowest so far, in units of the loss.
      final: the rate falls no further than to this factor.
    """
    _check(warmup, 0)
    _check_factor(final=final)
    for name, value, low in (('window', window, 1), ('patience', patience, 1), ('cooldown', cooldown, 0)):
        if value < low:
            raise UserError('{name}={value}: at least {low} is wanted.', name=name, value=value, low=low)
    if not 0 < drop < 1:
        raise UserError('drop={drop}: a factor above 0 and below 1 is wanted.', drop=drop)
    if least < 0:
        raise UserError('least={least}: a number from 0 up is wanted.', least=least)
    # An absolute improvement, since a relative one is none where the loss is negative; optax wants one above 0.
    atol = max(least, 1e-30)
    fall = optax.contrib.reduce_on_plateau(
        drop, patience, rtol=0.0, atol=atol, cooldown=cooldown, accumulation_size=window, min_scale=final
    )
    one = np.ones((), np.float32)  # what the fall is applied to; of numpy, since nothing is computed yet

    def update(state: tuple[jax.Array, Any], loss: jax.Array) -> tuple[jax.Array, Any]:
        n, before = state
        factor, after = fall.update(one, before, value=loss)
        after = jax.tree.map(partial(jnp.where, n < warmup), before, after)
        return factor * _rise(n, warmup), (n + 1, after)

    return Schedule(lambda: (jnp.zeros((), jnp.int32), fall.init(one)), update)


def _fall(warmup: int, steps: int, horizon: int, shape: Callable[[jax.Array], jax.Array]) -> Schedule:
    """The rise, times `shape` of how far it is from the rise's end to the horizon: from 0 to 1, where it stays."""
    _check(warmup, horizon)
    length = max((horizon or steps) - warmup, 1)
    return by_step(lambda n: _rise(n, warmup) * shape(jnp.clip((n - warmup) / length, 0, 1)))


def _rise(n: jax.Array, warmup: int) -> jax.Array:
    return jnp.minimum(1.0, (n + 1) / float(warmup + 1))  # the first update already moves


def _check(warmup: int, horizon: int) -> None:
    if warmup < 0:
        raise UserError('warmup={warmup}: a number of steps is wanted, or 0 for none.', warmup=warmup)
    if horizon < 0:
        raise UserError("horizon={horizon}: a step number is wanted, or 0 for the run's last step.", horizon=horizon)


def _check_factor(**factors: float) -> None:
    for name, value in factors.items():
        if not 0 <= value <= 1:
            raise UserError('{name}={value}: a factor between 0 and 1 is wanted.', name=name, value=value)
