"""Spectral normalisation: a layer that lengthens no vector, which bounds how steep a discriminator is.

Miyato et al. 2018 (arXiv:1802.05957).
"""

# n all axes of a kernel but its outputs; o outputs

import flax.linen as nn
import jax
import jax.numpy as jnp


def spectral_norm(module: nn.Module, kernel: jax.Array, *, train: bool, name: str = 'vector') -> jax.Array:
    """Divides a kernel [*n o] by the largest singular value of the matrix that it is, [product of n, o].

    `module` keeps the singular vector that belongs to it, [o], in collection 'spectral' under `name`. In training one
    power iteration brings it nearer, and is kept where the collection is mutable: one for each step is enough, since a
    step changes a kernel little. The gradient knows that a kernel is divided by a number that is made of itself, and
    takes the vectors as they are. Computed in at least float32.
    """
    dtype = jnp.promote_types(kernel.dtype, jnp.float32)
    matrix = kernel.astype(dtype)
    fixed = jax.lax.stop_gradient(matrix)
    axes = matrix.ndim - 1

    def random() -> jax.Array:
        return _unit(jax.random.normal(module.make_rng('params'), matrix.shape[-1:], dtype))

    kept = module.variable('spectral', name, random)
    # Sums over the kernel's own axes: reshaped into a matrix, a kernel that is split over devices would be gathered.
    outputs = kept.value
    inputs = _unit(jnp.tensordot(fixed, outputs, 1))
    if train:
        outputs = _unit(jnp.tensordot(inputs, fixed, axes))
        if module.is_mutable_collection('spectral') and not module.is_initializing():
            kept.value = outputs
    largest = jnp.tensordot(jnp.tensordot(inputs, matrix, axes), outputs, 1)
    return (matrix / jnp.maximum(largest, 1e-12)).astype(kernel.dtype)


def _unit(x: jax.Array) -> jax.Array:
    """The same direction with length 1; zeros for zeros."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(), 1e-24))
