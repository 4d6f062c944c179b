"""EfficientNet-B0 … B7: one network, made wider, deeper and finer together (Tan & Le 2019, arXiv:1905.11946).

In a notebook:

    model = make({'shape': [224, 224, 3], 'classes': 1000}, size=0)
    variables = model.init(jax.random.key(0), pictures)
    logits = model.apply(variables, pictures)
    logits, changed = model.apply(variables, pictures, train=True, mutable=['batch_stats'], rngs={'dropout': key})

Published for pictures of 224, 240, 260, 300, 380, 456, 528 and 600 pixels; pictures of any size go through.
"""

# b batch, h height, w width, i and o channels in and out, m channels between, c classes

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.models.arguments import above_zero, between, one_of, outputs, picture, shares
from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Linear
from jaxlab.nn.norm import BatchNorm
from jaxlab.nn.pool import global_average
from jaxlab.nn.stochastic_depth import StochasticDepth
from jaxlab.parallel.layout import constrain


class Stage(NamedTuple):
    """Blocks that give the same number of channels; the first has the stride."""

    blocks: int
    window: int
    stride: int
    expansion: int  # a block computes with so many times the channels that it is given
    features: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, TOP = 32, 1280  # channels before the first stage and behind the last
# For each size, how many times the channels and the blocks of B0.
MULTIPLIERS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))
SQUEEZE = 4  # a quarter of a block's input channels decides how much of each channel passes


def scaled(features: int, width: float) -> int:
    """Channels times `width`, to a multiple of 8, the nearest that is not more than a tenth too few."""
    nearest = max(8, int(features * width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * features * width else nearest + 8


def stages(width: float, depth: float) -> tuple[Stage, ...]:
    """The stages of B0, made wider and deeper."""
    return tuple(
        stage._replace(blocks=math.ceil(depth * stage.blocks), features=scaled(stage.features, width))
        for stage in STAGES
    )


class ConvNorm(nn.Module):
    """A convolution, normalised over the batch, and swish where it is wanted.

    Padding is TensorFlow's 'same', whose odd row and column are behind: the published weights were trained so.
    """

    features: int
    window: int
    norm: Callable[..., nn.Module]
    axes: tuple[str, str]
    stride: int = 1
    depthwise: bool = False
    swish: bool = True
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        # Of a depthwise kernel the taps are all that an output sees, and all that an input is seen by.
        init = nn.initializers.variance_scaling(2.0, 'fan_in' if self.depthwise else 'fan_out', 'normal')
        x = Conv(
            self.features,
            (self.window, self.window),
            self.stride,
            groups=self.features if self.depthwise else 1,
            axes=self.axes,
            kernel_init=init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name='conv',
        )(x)
        axis = 'channels' if self.axes[1] == 'channels' else 'norm'
        x = self.norm(axis=axis, name='norm')(x, train=train)
        return nn.silu(x) if self.swish else x


class Block(nn.Module):
    """An inverted bottleneck (Sandler et al. 2018) with squeeze-and-excitation (Hu et al. 2018).

    [b h w i] -> [b h/stride w/stride o], rounded up: widened to m channels, each filtered by itself and weighed by what
    all say of the whole picture, and narrowed. To this x is added, but for the first block of a stage. The m channels
    are split over mesh axis tensor.
    """

    stage: Stage
    first: bool  # of its stage
    rate: float  # of stochastic depth
    conv_norm: Callable[..., nn.Module]
    linear: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        i, m, o = x.shape[-1], x.shape[-1] * self.stage.expansion, self.stage.features
        stride = self.stage.stride if self.first else 1
        h = x
        if self.stage.expansion > 1:
            h = self.conv_norm(m, 1, axes=('embed', 'channels'), name='expand')(h, train)
        filtered = self.conv_norm(
            m, self.stage.window, axes=('conv_in', 'channels'), stride=stride, depthwise=True, name='depthwise'
        )
        h = filtered(h, train)
        seen = self.linear(max(1, i // SQUEEZE), ('channels', 'inputs'), 'norm', name='squeeze')(global_average(h))
        passes = self.linear(m, ('inputs', 'channels'), 'channels', name='excite')(nn.silu(seen))
        h *= nn.sigmoid(constrain(passes, 'batch', 'channels'))[:, None, None]
        h = self.conv_norm(o, 1, axes=('channels', 'conv_out'), swish=False, name='project')(h, train)
        return h if self.first else x + StochasticDepth()(h, self.rate, train)


class EfficientNet(nn.Module):
    """Pictures -> logits. `make`, below, explains the fields, checks them, and fills in what they leave open."""

    takes = ('inputs',)

    width: float
    depth: float
    classes: int
    dropout: float
    stochastic_depth: float
    norm_momentum: float
    norm_epsilon: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        norm: Callable[..., nn.Module] = partial(BatchNorm, self.norm_momentum, self.norm_epsilon, **dtypes)
        conv_norm: Callable[..., nn.Module] = partial(ConvNorm, norm=norm, **dtypes)
        squeeze_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
        linear = partial(Linear, kernel_init=squeeze_init, **dtypes)

        self.stem = conv_norm(scaled(STEM, self.width), 3, axes=('conv_in', 'conv_out'), stride=2)
        parts = stages(self.width, self.depth)
        total = sum(stage.blocks for stage in parts)
        blocks: list[nn.Module] = []
        for stage in parts:
            for k in range(stage.blocks):
                rate = self.stochastic_depth * len(blocks) / total  # the deeper, the more often
                blocks.append(Block(stage, k == 0, rate, conv_norm, linear, name=f'block_{len(blocks)}'))
        self.blocks = blocks
        self.top = conv_norm(scaled(TOP, self.width), 1, axes=('conv_in', 'conv_out'))
        self.head_dropout = nn.Dropout(self.dropout)
        head_init = nn.initializers.variance_scaling(1 / 3, 'fan_out', 'uniform')
        logits_dtype = jnp.promote_types(self.dtype, jnp.float32)
        self.head = Linear(self.classes, ('embed', 'classes'), 'classes', head_init, logits_dtype, self.param_dtype)

    def __call__(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [b c], in at least float32.

        Args:
          pictures: [b h w channels], normalised.
          train: whether batches are normalised by their own statistics, which then move the running ones
            (`mutable=['batch_stats']`), and dropout is on (`rngs={'dropout': key}`, where its rates are above 0).
        """
        return self.head(self.head_dropout(self.features(pictures, train=train), deterministic=not train))

    def features(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """What `__call__` makes logits of: the mean over space of the last channels, [b o]."""
        x = self.stem(pictures, train)
        for block in self.blocks:
            x = block(x, train)
        return global_average(self.top(x, train))


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    size: int = 0,  # 0 … 7: B0 … B7
    width: float = 0.0,  # how many times the channels of B0; 0: those of the size
    depth: float = 0.0,  # how many times the blocks of B0; 0: those of the size
    classes: int = 0,  # how many there are; 0: as many as the data have
    dropout: float = 0.2,  # the part of the features the head does not see in training (B0, B2, B4, B6: 0.2 … 0.5)
    stochastic_depth: float = 0.2,  # how often the last block is left out in training; those before it less often
    norm_momentum: float = 0.99,  # what the running statistics keep of themselves at each step; for short runs 0.9
    norm_epsilon: float = 1e-3,  # keeps the norm of a channel without variance finite
) -> EfficientNet:
    """Returns the model. The defaults are B0.

    Args:
      info: what the data say of themselves: 'shape' [height, width, channels] and 'classes'.
      dtype: of activations; norms and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, or the data are no pictures.
    """
    picture(info)
    one_of('size', size, range(len(MULTIPLIERS)))
    shares(dropout=dropout, stochastic_depth=stochastic_depth, norm_momentum=norm_momentum)
    above_zero(norm_epsilon=norm_epsilon)
    width, depth = width or MULTIPLIERS[size][0], depth or MULTIPLIERS[size][1]
    above_zero(width=width, depth=depth)
    between(1, 100, width=math.ceil(width), depth=math.ceil(depth))
    return EfficientNet(
        width=width,
        depth=depth,
        classes=outputs(classes, info),
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        norm_momentum=norm_momentum,
        norm_epsilon=norm_epsilon,
        dtype=dtype,
        param_dtype=param_dtype,
    )
