"""Learning rates over time: functions of the step number. Config key: `optimizer.schedule`.

Each returns a *factor* of the learning rate: `schedule(n)` with n the number of updates done, a traced int32, gives a
  float32 in [0, 1].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxlab.errors import UserError

__all__ = ['constant', 'cosine']

Schedule = Callable[[jax.Array], jax.Array]


def constant(steps: int, *, warmup: int = 0) -> Schedule:
    """Always 1, after a linear rise over the first `warmup` steps."""
    _check(warmup)
    return lambda n: _rise(n, warmup)


def cosine(steps: int, *, warmup: int = 0, final: float = 0.1, horizon: int = 0) -> Schedule:
    """A linear rise over `warmup` steps, then half a cosine down to `final` (arXiv:1608.03983).

    Args:
      steps: steps of the run.
      warmup: steps of the rise.
      final: the factor at the end, in [0, 1].
      horizon: the step at which `final` is reached; 0: the run's last step. To be set where a run's length will change
        on resume.

    Raises:
      UserError: a value is out of range.
    """
    _check(warmup)
    if not 0 <= final <= 1:
        raise UserError(f'final={final}: a factor between 0 and 1 is wanted.')
    if horizon < 0:
        raise UserError(f"horizon={horizon}: a step number is wanted, or 0 for the run's last step.")
    length = max((horizon or steps) - warmup, 1)

    def schedule(n: jax.Array) -> jax.Array:
        progress = jnp.clip((n - warmup) / length, 0, 1)
        return _rise(n, warmup) * (final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))

    return schedule


def _rise(n: jax.Array, warmup: int) -> jax.Array:
    return jnp.minimum(1.0, (n + 1) / (warmup + 1))  # the first update already moves


def _check(warmup: int) -> None:
    if warmup < 0:
        raise UserError(f'warmup={warmup}: a number of steps is wanted, or 0 for none.')
