"""Dropout (Srivastava et al. 2014), and which of the numbers of an array it leaves out."""

# b batch, t time; ... any other axes

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.nn.ring_order import IN_RING_ORDER, order
from jaxlab.parallel import pipeline
from jaxlab.parallel.layout import splits


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

    It falls on the same places on every mesh. Rows in the order of a ring take what is drawn for their tokens as they
    were. In a pipeline x is but some rows of the batch, or parts of them: drawn is for all of them, and a micro-batch
    takes its part. That is so many times the work, which only who trains with dropout pays.
    """
    place = pipeline.PLACE.get()
    b, *rest = shape
    if place is not None:
        b *= place.parts_of_rows * place.micro_batches
        if rest:
            rest[0] *= place.parts_of_time
    found = jax.random.bernoulli(key, share, (b, *rest))
    if rest and IN_RING_ORDER.get():
        found = found[:, order(rest[0], splits('length') if place is None else place.parts_of_time)]
    if place is None:
        return found
    found = pipeline.cut(found, place.micro_batches)[place.micro_batch]
    if place.parts_of_rows > 1:
        found = part_of(found, pipeline.EXPERT, 0, shape[0])
    return part_of(found, pipeline.CONTEXT, 1, shape[1]) if place.parts_of_time > 1 and rest else found


def part_of(x: jax.Array, name: str, axis: int, size: int) -> jax.Array:
    """Returns the part of x, of so many along `axis`, that is for this device of mesh axis `name`."""
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(name) * size, size, axis)
