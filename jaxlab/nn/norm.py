"""Normalisation, [... d] -> [... d]: computed in at least float32, given back in `dtype`.

RMSNorm and LayerNorm take each vector by itself, BatchNorm each of the d channels over the whole batch.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.nn.parameter import parameter


class RMSNorm(nn.Module):
    """x / rms(x) · scale (Zhang & Sennrich 2019)."""

    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = parameter(self, 'scale', nn.initializers.ones, ('norm',), x.shape[-1:], self.param_dtype)
        x = x.astype(jnp.promote_types(self.dtype, jnp.float32))
        x *= jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon)
        return (x * scale).astype(self.dtype)


class LayerNorm(nn.Module):
    """(x - mean(x)) / deviation(x) · scale + bias (Ba, Kiros & Hinton 2016)."""

    epsilon: float = 1e-5
    bias: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = parameter(self, 'scale', nn.initializers.ones, ('norm',), x.shape[-1:], self.param_dtype)
        x = x.astype(jnp.promote_types(self.dtype, jnp.float32))
        x -= x.mean(-1, keepdims=True)
        x *= jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon) * scale
        if self.bias:
            x += parameter(self, 'bias', nn.initializers.zeros, ('norm',), x.shape[-1:], self.param_dtype)
        return x.astype(self.dtype)


class BatchNorm(nn.Module):
    """(x - mean) / deviation · scale + bias, with the statistics of each channel (Ioffe & Szegedy 2015).

    In training they are those of the batch, over all axes but the last: of the whole batch, whatever mesh its rows are
    split over, because a mean of a global array is a global mean. (Rows that only pad the batch are among them.)

    Otherwise they are running averages, kept in collection 'batch_stats' as 'mean' and 'variance' [d], which training
    moves: running = momentum · running + (1 - momentum) · batch. As in torch (whose momentum is 1 - ours), the batch is
    normalised with its own variance, and its unbiased one goes into the average.

    `axis` names the axis of scale and bias: 'norm', or 'channels' where those are split.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Initializer = nn.initializers.ones
    axis: str = 'norm'
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        scale = parameter(self, 'scale', self.scale_init, (self.axis,), x.shape[-1:], self.param_dtype)
        bias = parameter(self, 'bias', nn.initializers.zeros, (self.axis,), x.shape[-1:], self.param_dtype)
        kept = jnp.promote_types(self.param_dtype, jnp.float32)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, x.shape[-1:], kept)
        running_variance = self.variable('batch_stats', 'variance', jnp.ones, x.shape[-1:], kept)
        x = x.astype(jnp.promote_types(self.dtype, jnp.float32))
        if train:
            axes = tuple(range(x.ndim - 1))
            mean = x.mean(axes)
            variance = jnp.square(x - mean).mean(axes)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = variance * (count / max(count - 1, 1))
                for running, batch in ((running_mean, mean), (running_variance, unbiased)):
                    moved = self.momentum * running.value + (1 - self.momentum) * batch
                    running.value = moved.astype(kept)
        else:
            mean, variance = running_mean.value, running_variance.value
        return ((x - mean) * (jax.lax.rsqrt(variance + self.epsilon) * scale) + bias).astype(self.dtype)
