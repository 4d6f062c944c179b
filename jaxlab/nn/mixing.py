"""Examples between examples: two become one, and so do their targets."""

# b batch, h height, w width, c classes

import jax
import jax.numpy as jnp

Mixed = tuple[jax.Array, jax.Array]


def mixup(key: jax.Array, inputs: jax.Array, targets: jax.Array, mask: jax.Array, alpha: float) -> Mixed:
    """A mean of two examples (Zhang et al. 2017): each with the one as far from the other end of the batch.

    Args:
      key: of the share of the first, drawn from Beta(alpha, alpha), once for the batch.
      inputs: float [b …].
      targets: [b c].
      mask: [b]; a row whose partner does not count stays as it is.
      alpha: above 0; 1 draws every share alike.
    """
    share = jax.random.beta(key, alpha, alpha).astype(inputs.dtype)
    own = jnp.where(mask[::-1] > 0, share, 1)
    return _mean(own, inputs), _mean(own, targets)


def cutmix(key: jax.Array, inputs: jax.Array, targets: jax.Array, mask: jax.Array, alpha: float) -> Mixed:
    """A rectangle of one picture in another (Yun et al. 2019); its targets are mixed by the areas. Arguments as of
    `mixup`, inputs [b h w channels]."""
    share_key, *place_keys = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha))
    inside = jnp.ones((), bool)
    for axis, place_key in zip((1, 2), place_keys):
        size = inputs.shape[axis]
        middle, half = jax.random.randint(place_key, (), 0, size), jnp.round(side * size / 2)
        place = jnp.arange(size)
        within = (place >= middle - half) & (place < middle + half)
        inside = inside & within.reshape((size, 1) if axis == 1 else (1, size))
    there = (mask[::-1] > 0)[:, None, None, None] & inside[None, :, :, None]
    own = jnp.where(mask[::-1] > 0, 1 - inside.mean(), 1).astype(targets.dtype)
    return jnp.where(there, inputs[::-1], inputs), _mean(own, targets)


def _mean(own: jax.Array, x: jax.Array) -> jax.Array:
    own = own.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return own * x + (1 - own) * x[::-1]
