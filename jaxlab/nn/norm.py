"""Normalisation over the last axis, [... d] -> [... d]: computed in at least float32, given back in `dtype`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

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
