"""A picture cut into patches, which a transformer reads like words: ViT (Dosovitskiy et al. 2020), in DeiT's sizes too.

In a notebook:

    model = make({'shape': [32, 32, 3], 'classes': 10}, patch=4)
    params = model.init(jax.random.key(0), pictures)['params']
    logits = model.apply({'params': params}, pictures)

Published sizes, at 224 x 224 pixels: Ti (12 layers, width 192, 3 heads), S (12, 384, 6), B (12, 768, 12), L (24, 1024,
16), all with patch=16.
"""

# b batch, h height, w width, c channels, t patches (and the token), d width

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.errors import UserError
from jaxlab.models.arguments import above_zero, between, one_of, outputs, picture, shares
from jaxlab.nn.attention import IMPLEMENTATIONS, Attention, refuses
from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Linear
from jaxlab.nn.mlp import MLP
from jaxlab.nn.norm import LayerNorm
from jaxlab.nn.parameter import parameter
from jaxlab.nn.ring_attention import filled_up, sight
from jaxlab.nn.transformer import POLICIES, Block, Stack
from jaxlab.parallel.layout import constrain


class ViT(nn.Module):
    """Pictures -> logits of the classes. `make`, below, explains the fields, checks them, and fills in the zeros.

    The parameters fit pictures of one size: there is a position for each patch.
    """

    takes = ('inputs',)

    layers: int
    width: int
    heads: int
    mlp_width: int
    patch: int
    classes: int
    pool: str
    representation: int
    activation: str
    norm_epsilon: float
    dropout: float
    stochastic_depth: float
    attention: str
    init_scale: float
    scan: bool
    remat: str
    micro_batches: int
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        logits_dtype = jnp.promote_types(self.dtype, jnp.float32)
        init = nn.initializers.normal(self.init_scale)
        axis = 'mlp' if self.representation else 'embed'
        self.head = Linear(self.classes, (axis, 'classes'), 'classes', init, logits_dtype, self.param_dtype)

    def __call__(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [b classes], in at least float32.

        Args:
          pictures: [b h w c], normalised.
          train: whether dropout and stochastic depth are on (`rngs={'dropout': key}`, where their rates are above 0).

        Raises:
          UserError: patches do not divide the picture, or it has another number of them than there are positions.
        """
        return self.head(self.features(pictures, train=train))

    @nn.compact
    def features(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """What `__call__` makes logits of: [b d], or [b representation] where there is one."""
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        init = nn.initializers.normal(self.init_scale)
        check_patches(pictures.shape[1], pictures.shape[2], self.patch)

        window = (self.patch, self.patch)
        x = Conv(self.width, window, self.patch, 'valid', bias_axis='norm', name='patch_embedding', **dtypes)(pictures)
        x = x.reshape(x.shape[0], -1, self.width)
        if self.pool == 'token':
            token = parameter(self, 'token', init, ('positions', 'table'), (1, self.width), self.param_dtype)
            token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], 1, self.width))
            x = jnp.concatenate([token, x], axis=1)
        t = x.shape[1]
        if self.has_variable('params', 'positions'):
            there = jax.tree.leaves(self.get_variable('params', 'positions'))[0].shape[0]
            if there != t:
                raise UserError(
                    'Pictures of {height} x {width} are {count} patches, and this model has positions for {there}:'
                    ' give it pictures of the size that it was made for.',
                    height=pictures.shape[1],
                    width=pictures.shape[2],
                    count=t,
                    there=there,
                )
        positions = parameter(self, 'positions', init, ('positions', 'table'), (t, self.width), self.param_dtype)
        x = nn.Dropout(self.dropout, deterministic=not train)(x + positions.astype(x.dtype))
        x, real = filled_up(x)
        x = constrain(x, 'batch', 'residual_length', 'embed')

        norm = partial(LayerNorm, self.norm_epsilon, **dtypes)
        heads = partial(Attention, self.heads, self.heads, kernel_init=init, out_init=init, **dtypes)
        attention = partial(heads, implementation=self.attention)
        mlp = partial(MLP, self.mlp_width, self.activation, kernel_init=init, out_init=init, **dtypes)
        block = partial(Block, norm, attention, mlp, self.dropout)
        how = self.scan, self.remat, self.stochastic_depth, self.micro_batches
        stack = Stack(block, self.layers, *how, name='stack')
        mask = sight(real) or jnp.ones((1, t, t), bool)
        x, _ = stack(x, jnp.arange(x.shape[1])[None], mask, train=train)
        x = constrain(norm(name='final_norm')(x), 'batch', 'length', 'embed')[:, :t]

        summed = jnp.promote_types(self.dtype, jnp.float32)
        x = x[:, 0] if self.pool == 'token' else x.mean(1, dtype=summed).astype(self.dtype)
        if self.representation:
            x = Linear(self.representation, ('embed', 'mlp'), 'mlp', init, name='representation', **dtypes)(x)
            x = constrain(nn.tanh(x), 'batch', 'mlp')
        return x


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    layers: int = 12,  # how many blocks
    width: int = 192,  # of the residual stream
    heads: int = 3,  # of attention; they divide the width
    mlp_width: int = 0,  # hidden width of the MLP; 0: 4 · width
    patch: int = 16,  # height and width of a patch in pixels; it divides those of the picture
    classes: int = 0,  # how many there are; 0: as many as the data have
    pool: str = 'token',  # 'token' (the head sees a token that stands before the patches) or 'mean' (of the patches)
    representation: int = 0,  # width of a layer, with tanh, before the head, as in the paper's pretraining; 0: none
    activation: str = 'gelu_exact',  # 'gelu_exact' (the paper's) or 'gelu' (in its tanh form, a little faster)
    norm_epsilon: float = 1e-6,  # keeps the norm of a zero vector finite (1e-6: the paper's, 1e-12: transformers')
    dropout: float = 0.0,  # the part of what each half of a block adds that is dropped in training
    stochastic_depth: float = 0.0,  # how often the last block is left out in training (DeiT: 0.1); others less
    attention: str = 'auto',  # 'blocks' (XLA's), 'cudnn' (NVIDIA's kernel, for bfloat16), or which of them is fastest
    init_scale: float = 0.02,  # standard deviation of the initial weights (DeiT)
    scan: bool = False,  # compile one block and loop over it: deep models compile much faster, small ones run slower
    remat: str = 'none',  # 'none', 'dots', 'attention', 'full' or 'offload': what is computed again, to save memory
    micro_batches: int = 0,  # on a mesh with stages: parts of the batch that follow one another; 0: up to 4 for each
) -> ViT:
    """Returns the model. The defaults are DeiT-Ti, ViT's smallest.

    Args:
      info: what the data say of themselves: 'shape' [height, width, channels] and 'classes'.
      dtype: of activations; norms, softmax and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, two do not go together, or the data are no pictures.
    """
    height, width_of_picture, _ = picture(info)
    mlp_width = mlp_width or 4 * width
    between(1, 10_000, layers=layers)
    between(1, 1 << 24, width=width, heads=heads, mlp_width=mlp_width, patch=patch)
    between(0, 1 << 24, representation=representation, micro_batches=micro_batches)
    one_of('pool', pool, ('token', 'mean'))
    one_of('activation', activation, ('gelu_exact', 'gelu'))
    one_of('attention', attention, ('auto', *IMPLEMENTATIONS))
    one_of('remat', remat, ('none', *POLICIES))
    above_zero(norm_epsilon=norm_epsilon, init_scale=init_scale)
    shares(dropout=dropout, stochastic_depth=stochastic_depth)
    if width % heads:
        raise UserError(
            'heads={heads} do not divide width={width}; {near} would.',
            heads=heads,
            width=width,
            near=nearest_divisor(heads, width),
        )
    if why := refuses(attention, dtype, width // heads):
        raise UserError('attention={name}: {why}; auto takes what there is.', name=attention, why=why)
    check_patches(height, width_of_picture, patch)
    return ViT(
        layers=layers,
        width=width,
        heads=heads,
        mlp_width=mlp_width,
        patch=patch,
        classes=outputs(classes, info),
        pool=pool,
        representation=representation,
        activation=activation,
        norm_epsilon=norm_epsilon,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        attention=attention,
        init_scale=init_scale,
        scan=scan,
        remat=remat,
        micro_batches=micro_batches,
        dtype=dtype,
        param_dtype=param_dtype,
    )


def check_patches(height: int, width: int, patch: int) -> None:
    """Raises UserError where patches of `patch` pixels do not cover a picture, naming the nearest that would."""
    if height % patch or width % patch:
        raise UserError(
            'patch={patch} does not divide a picture of {height} x {width} pixels; {near} would.',
            patch=patch,
            height=height,
            width=width,
            near=nearest_divisor(patch, math.gcd(height, width)),
        )


def nearest_divisor(value: int, total: int) -> int:
    """Returns the divisor of `total` that is nearest to `value`."""
    small = [d for d in range(1, math.isqrt(total) + 1) if total % d == 0]
    return min(small + [total // d for d in small], key=lambda d: abs(d - value))
