"""Losses of classes."""

# b batch, c classes

import jax
import jax.numpy as jnp


def losses(logits: jax.Array, targets: jax.Array, *, gamma: float = 0.0) -> jax.Array:
    """Cross-entropy in nats, [b]; with `gamma` the focal loss (Lin et al. 2017), each class weighted by (1 - p)^gamma.

    Args:
      logits: [b c].
      targets: probabilities of the classes, [b c].
      gamma: how much less what is right already counts.
    """
    log = jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    if gamma:
        log *= (1 - jnp.exp(log)) ** gamma
    return -jnp.sum(targets * log, axis=-1)
