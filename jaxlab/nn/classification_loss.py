"""The cross-entropy of classes, and the focal loss, of targets that may lie between classes."""

# b batch, c classes

import jax
import jax.numpy as jnp


def losses(logits: jax.Array, targets: jax.Array, *, gamma: float = 0.0) -> jax.Array:
    """Returns the loss of each row, [b], in nats: the sum over classes of -target · (1 - p)^gamma · log p.

    With gamma 0 that is the cross-entropy. Above, what is right already counts less (the focal loss: Lin et al. 2017,
    "Focal loss for dense object detection"); on targets of one class it is theirs, without their weights of classes.
    Smoothed labels, mixed ones and weights of classes are all in `targets`, or multiply what is returned.

    Args:
      logits: [b c], in any dtype; computed with in float32 at least.
      targets: [b c], what share of the row each class is; one-hot, or anything of sum 1.
      gamma: at least 0.
    """
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    log_p = jax.nn.log_softmax(logits.astype(dtype))
    if gamma:
        wrong = -jnp.expm1(log_p)  # 1 - p, without what a difference would lose where p is close to 1
        # A power below 1 has no gradient at 0, and 0 times infinity is none either.
        some = wrong > 0
        log_p *= jnp.where(some, jnp.where(some, wrong, 1) ** gamma, 0)
    return -jnp.sum(targets.astype(dtype) * log_p, -1)
