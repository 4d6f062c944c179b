"""Every row of a batch mixed with another one, inputs and targets alike, on the device that computes with it.

The other row is the next one, and for the last row the first. Rows are shuffled, so it is any row; and on a mesh only
one row of each device moves, where a reversed or shuffled batch would move all of them. Each row draws its own share,
where the papers draw one for a batch: the gradient varies less, and nothing depends on how large a batch is.

A row that does not count (mask 0) is in no other row, and a row whose partner would be such a one stays what it is.
"""

# b batch, h height, w width, c channels, n classes

import jax
import jax.numpy as jnp


def mixup(
    key: jax.Array, inputs: jax.Array, targets: jax.Array, mask: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Returns share · row + (1 - share) · partner, of inputs and of targets (Zhang et al. 2017, "mixup: Beyond
    empirical risk minimization").

    Args:
      key: draws the share of each row from Beta(alpha, alpha).
      inputs: floats [b …].
      targets: floats [b n], one-hot or soft.
      mask: [b], 0 where a row does not count.
      alpha: above 0; 1: all shares are as likely, towards 0: most are close to 0 or 1.
    """
    share = jnp.where(_paired(mask), _shares(key, len(inputs), alpha, targets.dtype), 1)
    return _mixed(inputs, share, mask), _mixed(targets, share, mask)


def cutmix(
    key: jax.Array, inputs: jax.Array, targets: jax.Array, mask: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Returns rows with a rectangle of their partner in them, and targets mixed by its area (Yun et al. 2019, "CutMix:
    Regularization strategy to train strong classifiers with localizable features").

    The rectangle has the shape of the picture, and its middle is any place; what lies beyond the edges is cut off, and
    its area is what is left.

    Args:
      key: draws the rectangles: the area of each, before it is cut, from Beta(alpha, alpha).
      inputs: floats [b h w c].
      targets: floats [b n], one-hot or soft.
      mask: [b], 0 where a row does not count.
      alpha: above 0.
    """
    b, h, w, _ = inputs.shape
    size_key, place_key = jax.random.split(key)
    side = jnp.sqrt(1 - _shares(size_key, b, alpha, targets.dtype))  # of the rectangle, as a part of the picture's
    middle = jax.random.uniform(place_key, (b, 2), targets.dtype)
    inside = _within(middle[:, 0], side, h)[:, :, None] & _within(middle[:, 1], side, w)[:, None, :]
    inside &= _paired(mask)[:, None, None]
    share = 1 - inside.mean((1, 2), targets.dtype)
    return jnp.where(inside[..., None], _partner(inputs), inputs), _mixed(targets, share, mask)


def _shares(key: jax.Array, b: int, alpha: float, dtype: jnp.dtype) -> jax.Array:
    """Draws from Beta(alpha, alpha), [b].

    `jax.random.beta` does so for any two parameters, by rejection, and takes seconds to compile. Of two that are equal
    it is a function of Student's t with 2 alpha degrees of freedom, which is one of two uniform numbers (Bailey 1994,
    "Polar generation of random variates with the t-distribution").
    """
    u, v = jax.random.uniform(key, (2, b), dtype, minval=jnp.finfo(dtype).tiny)
    t = jnp.sqrt(jnp.expm1(-jnp.log(u) / alpha)) * jnp.cos(2 * jnp.pi * v)  # divided by sqrt(2 alpha)
    return (1 + jnp.sign(t) / jnp.sqrt(1 + 1 / t**2)) / 2


def _partner(rows: jax.Array) -> jax.Array:
    return jnp.roll(rows, -1, 0)


def _paired(mask: jax.Array) -> jax.Array:
    """Whether a row and its partner both count, bool [b]."""
    return (mask > 0) & (_partner(mask) > 0)


def _mixed(rows: jax.Array, share: jax.Array, mask: jax.Array) -> jax.Array:
    """share · row + (1 - share) · partner, in the dtype of the rows; a row alone is not computed with, but kept."""
    each = (-1, *(1,) * (rows.ndim - 1))
    share = share.reshape(each).astype(rows.dtype)
    return jnp.where(_paired(mask).reshape(each), share * rows + (1 - share) * _partner(rows), rows)


def _within(middle: jax.Array, side: jax.Array, size: int) -> jax.Array:
    """Which of `size` pixels a piece covers, bool [b size], given its middle and its length in parts of all."""
    length = jnp.floor(side * size)
    begin = jnp.floor(middle * size) - length // 2
    places = jnp.arange(size)
    return (places >= begin[:, None]) & (places < (begin + length)[:, None])
