"""Dropout (Srivastava et al. 2014), and which of the numbers of an array it leaves out."""

# b batch, t time; ... any other axes

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.parallel import pipeline


class Dropout(nn.Module):
    """[...] -> [...], where a part `rate` of the numbers has become 0, and the others are 1 / (1 - rate) as large."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not train or self.rate == 0:
            return x
        return jnp.where(kept(self.make_rng('dropout'), 1 - self.rate, x.shape), x / (1 - self.rate), 0)


def kept(key: jax.Array, share: jax.Array | float, shape: tuple[int, ...]) -> jax.Array:
    """Draws what is kept, bool of `shape`, [b ...] or [b t ...]: a part `share`.

    In a pipeline x is but some rows of the batch. Drawn is for all of them, so that dropout falls on the same places on
    every mesh; a micro-batch takes its part. That is so many times the work, which only who trains with dropout pays.
    """
    place = pipeline.PLACE.get()
    if place is None:
        return jax.random.bernoulli(key, share, shape)
    b, *rest = shape
    if rest:
        rest[0] *= place.parts_of_time
    whole = jax.random.bernoulli(key, share, (b * place.parts_of_rows * place.micro_batches, *rest))
    found = pipeline.cut(whole, place.micro_batches)[place.micro_batch]
    if place.parts_of_rows > 1:
        found = jax.lax.dynamic_slice_in_dim(found, jax.lax.axis_index(pipeline.EXPERT) * b, b)
    if place.parts_of_time > 1 and rest:
        start = jax.lax.axis_index(pipeline.CONTEXT) * shape[1]
        found = jax.lax.dynamic_slice_in_dim(found, start, shape[1], axis=1)
    return found
