"""The feed-forward half of a transformer block."""

# b batch, t time, d width, f hidden width

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.nn.linear import Linear
from jaxlab.parallel.layout import constrain


class MLP(nn.Module):
    """[b t d] -> [b t d] through a hidden width f.

    activation 'gelu':       gelu(x U) D, gelu in its tanh form, which is GPT-2's (Hendrycks & Gimpel 2016).
    activation 'gelu_exact': the same with gelu as it is defined, by the normal distribution; so have BERT and ViT.
    activation 'swiglu':     (silu(x G) · x U) D (Shazeer 2020).
    `out_init` initialises D alone: what writes into the residual stream is often made smaller.
    """

    hidden: int
    activation: str = 'gelu'
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    out_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, ring: bool = False) -> jax.Array:
        # `train` and `ring` are for what may stand in its place: see `experts`.
        assert self.activation in ('gelu', 'gelu_exact', 'swiglu'), self.activation
        linear = partial(Linear, dtype=self.dtype, param_dtype=self.param_dtype)
        widen = partial(linear, self.hidden, ('embed', 'mlp'), 'mlp' if self.bias else '', self.kernel_init)
        h = widen(name='up')(x)
        if self.activation == 'swiglu':
            h = nn.silu(widen(name='gate')(x)) * h
        else:
            h = nn.gelu(h, approximate=self.activation == 'gelu')
        h = constrain(h, 'batch', 'length', 'mlp')
        return linear(x.shape[-1], ('mlp', 'embed'), 'norm' if self.bias else '', self.out_init, name='down')(h)
