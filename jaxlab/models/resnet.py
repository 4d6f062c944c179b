"""Residual networks (He et al. 2015, arXiv:1512.03385): CIFAR's of depth 8 … 110, ImageNet's of depth 18 … 152.

In a notebook:

    model = make({'shape': [32, 32, 3], 'classes': 10}, depth=20)
    variables = model.init(jax.random.key(0), pictures)
    logits = model.apply(variables, pictures)
    logits, changed = model.apply(variables, pictures, train=True, mutable=['batch_stats'])

A block adds what it computes to what it is given: it need only learn what to change.
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

from jaxlab.models.arguments import above_zero, between, one_of, outputs, picture, shares, whole_numbers
from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Linear
from jaxlab.nn.norm import BatchNorm
from jaxlab.nn.pool import global_average, max_pool
from jaxlab.nn.windows import count_places, extent, fit, shifted


class Design(NamedTuple):
    """What the depth of a published network says of the rest of it."""

    blocks: tuple[
        int, ...
    ]  # in each stage; a stage has half the height and width of the one before, and twice its width
    bottleneck: bool  # three convolutions in a block, of which that in the middle is narrow, or two
    width: int  # of the first stage
    shortcut: str  # where a block changes the shape: 'A' or 'B'


CIFAR = {depth: Design(((depth - 2) // 6,) * 3, False, 16, 'A') for depth in (8, 20, 32, 44, 56, 110)}
IMAGENET = {
    18: Design((2, 2, 2, 2), False, 64, 'B'),
    34: Design((3, 4, 6, 3), False, 64, 'B'),
    50: Design((3, 4, 6, 3), True, 64, 'B'),
    101: Design((3, 4, 23, 3), True, 64, 'B'),
    152: Design((3, 8, 36, 3), True, 64, 'B'),
}
DESIGNS = dict(sorted((CIFAR | IMAGENET).items()))

EXPANSION = 4  # a bottleneck gives so many times the channels that it has between
SMALL = 96  # pictures with a side below this keep their size in the stem: there is little of it to lose
SAME = ((1, 1), (1, 1))  # around the space, for windows of 3 x 3; explicit, since 'same' pads strided ones otherwise


class ConvNorm(nn.Module):
    """A convolution, normalised over the batch: [b h w i] -> [b h/stride w/stride o], rounded up."""

    features: int
    window: int
    stride: int
    axes: tuple[str, str]
    norm: Any
    scale_init: Any = nn.initializers.ones
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        side = (self.window // 2,) * 2
        # Before a ReLU half of the signal is lost, so weights are twice as large in variance (He et al. 2015b).
        init = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        window = (self.window, self.window)
        x = Conv(
            self.features, window, self.stride, (side, side), axes=self.axes, kernel_init=init, name='conv', **dtypes
        )(x)
        axis = 'channels' if self.axes[1] == 'channels' else 'norm'
        return self.norm(scale_init=self.scale_init, axis=axis, name='norm', **dtypes)(x, train=train)


class Block(nn.Module):
    """y = relu(shortcut(x) + branch(x)), [b h w i] -> [b h/stride w/stride o].

    A bottleneck takes its stride in the middle, where it sees all that it steps over ("v1.5"). On a tensor mesh its
    first two convolutions are a pair as in an MLP: the one between is split, and m channels are summed, not the 4m.
    """

    features: int
    stride: int
    bottleneck: bool
    shortcut: str
    drop: float
    zero_init: bool
    conv_norm: Any

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        last = nn.initializers.zeros if self.zero_init else nn.initializers.ones
        inner, outer = ('embed', 'channels'), ('channels', 'conv_out')
        if self.bottleneck:
            narrow = self.features // EXPANSION
            y = nn.relu(self.conv_norm(narrow, 1, 1, inner, name='conv_0')(x, train=train))
            y = nn.relu(self.conv_norm(narrow, 3, self.stride, outer, name='conv_1')(y, train=train))
            widen = self.conv_norm(self.features, 1, 1, ('conv_in', 'conv_out'), scale_init=last, name='conv_2')
            y = widen(y, train=train)
        else:
            y = nn.relu(self.conv_norm(self.features, 3, self.stride, inner, name='conv_0')(x, train=train))
            y = self.conv_norm(self.features, 3, 1, outer, scale_init=last, name='conv_1')(y, train=train)
        # Whole blocks are left out, row by row (stochastic depth); those that are kept count for them.
        y = nn.Dropout(self.drop, broadcast_dims=(1, 2, 3))(y, deterministic=not train)
        if self.stride > 1 or x.shape[-1] != self.features:
            if self.shortcut == 'A':
                x = pad_channels(subsample(x, self.stride), self.features)
            else:
                project = self.conv_norm(self.features, 1, self.stride, ('conv_in', 'conv_out'), name='shortcut')
                x = project(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Pictures -> logits. `make`, below, explains the fields, checks them, and fills in what they leave open."""

    takes = ('inputs',)

    classes: int
    blocks: tuple[int, ...]
    bottleneck: bool
    width: int
    stem: str
    shortcut: str
    dropout: float
    stochastic_depth: float
    zero_init: bool
    norm_momentum: float
    norm_epsilon: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        norm = partial(BatchNorm, self.norm_momentum, self.norm_epsilon)
        conv_norm: Callable[..., nn.Module] = partial(ConvNorm, norm=norm, **dtypes)
        window, stride = (7, 2) if self.stem == 'imagenet' else (3, 1)
        self.first = conv_norm(self.width, window, stride, ('conv_in', 'conv_out'), name='stem')
        block = partial(
            Block,
            bottleneck=self.bottleneck,
            shortcut=self.shortcut,
            zero_init=self.zero_init,
            conv_norm=conv_norm,
        )
        stack: list[nn.Module] = []
        for stage, count in enumerate(self.blocks):
            features = self.width * 2**stage * (EXPANSION if self.bottleneck else 1)
            for i in range(count):
                drop = self.stochastic_depth * (len(stack) + 1) / sum(self.blocks)  # the deeper, the more often
                stride = 2 if stage > 0 and i == 0 else 1
                stack.append(block(features, stride, drop=drop, name=f'stage_{stage}_block_{i}'))
        self.stack = stack
        self.head_dropout = nn.Dropout(self.dropout)
        logits = dtypes | dict(dtype=jnp.promote_types(self.dtype, jnp.float32))
        self.head = Linear(self.classes, ('embed', 'classes'), 'classes', nn.initializers.normal(0.01), **logits)

    def __call__(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [b c], in at least float32.

        Args:
          pictures: [b h w channels], normalised.
          train: whether batches are normalised by their own statistics, which then move the running ones
            (`mutable=['batch_stats']`), and dropout is on (`rngs={'dropout': key}`, where its rates are above 0).
        """
        return self.head(self.head_dropout(self.features(pictures, train=train), deterministic=not train))

    def features(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """What `__call__` makes logits of: the mean over space of the last block's channels, [b o]."""
        x = nn.relu(self.first(pictures, train=train))
        if self.stem == 'imagenet':
            x = max_pool(x, 3, 2, SAME)
        for block in self.stack:
            x = block(x, train=train)
        return global_average(x)


def subsample(x: jax.Array, stride: int) -> jax.Array:
    """Every stride-th row and column, [b h w i] -> [b h/stride w/stride i], rounded up."""
    if stride == 1:
        return x
    for axis in (1, 2):
        (places,) = count_places((x.shape[axis],), (1,), (stride,), ((0, 0),), (1,))
        (x,) = shifted(fit(x, axis, 0, extent(1, places, stride)), axis, 1, places, stride)
    return x


def pad_channels(x: jax.Array, features: int) -> jax.Array:
    """Zeros before and after the channels, [b h w i] -> [b h w features]."""
    before = (features - x.shape[-1]) // 2
    return fit(x, 3, before, features)


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    depth: int = 20,  # layers with weights: 8, 20, 32, 44, 56, 110 are CIFAR's, 18, 34, 50, 101, 152 ImageNet's
    blocks: tuple = (),  # how many in each stage, where they are not those of the depth; (): those of the depth
    width: int = 0,  # channels of the first stage, for bottlenecks those between; 0: CIFAR's 16, ImageNet's 64
    stem: str = 'auto',  # 'small' (3 x 3, keeps the size), 'imagenet' (7 x 7, a quarter of it), 'auto': by the size
    shortcut: str = 'auto',  # 'A' (every other pixel, channels of zeros), 'B' (1 x 1 convolution), 'auto': by the depth
    dropout: float = 0.0,  # the part of the features that the head does not see in training
    stochastic_depth: float = 0.0,  # how often the last block is left out in training; those before it less often
    zero_init: bool = False,  # whether each block is born as its shortcut: its last scale is 0 (Goyal et al. 2017)
    norm_momentum: float = 0.9,  # what the running statistics keep of themselves at each step
    norm_epsilon: float = 1e-5,  # keeps the norm of a channel without variance finite
    classes: int = 0,  # how many there are; 0: as many as the data have
) -> ResNet:
    """Returns the model. The defaults are the network of 20 layers for CIFAR-10, of 269,722 parameters.

    Args:
      info: what the data say of themselves: 'shape' [height, width, channels] and 'classes'.
      dtype: of activations; norms and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above. Stochastic depth is that of Huang et al. 2016
        (arXiv:1603.09382), with the scale of those that are left out given to those that are not.

    Raises:
      UserError: a value is out of range, or the data are no pictures.
    """
    height, width_of_picture, _ = picture(info)
    one_of('depth', depth, DESIGNS)
    one_of('stem', stem, ('auto', 'small', 'imagenet'))
    one_of('shortcut', shortcut, ('auto', 'A', 'B'))
    shares(dropout=dropout, stochastic_depth=stochastic_depth, norm_momentum=norm_momentum)
    above_zero(norm_epsilon=norm_epsilon)
    design = DESIGNS[depth]
    blocks = tuple(blocks) or design.blocks
    whole_numbers(blocks=blocks)
    between(1, 10, stages=len(blocks))
    between(1, 1000, **{f'blocks[{stage}]': count for stage, count in enumerate(blocks)})
    width = width or design.width
    between(1, 1 << 14, width=width)
    if stem == 'auto':
        side = min(height, width_of_picture) or (math.inf if depth in IMAGENET else 0)
        stem = 'small' if side < SMALL else 'imagenet'
    return ResNet(
        classes=outputs(classes, info),
        blocks=blocks,
        bottleneck=design.bottleneck,
        width=width,
        stem=stem,
        shortcut=design.shortcut if shortcut == 'auto' else shortcut,
        dropout=dropout,
        stochastic_depth=stochastic_depth,
        zero_init=zero_init,
        norm_momentum=norm_momentum,
        norm_epsilon=norm_epsilon,
        dtype=dtype,
        param_dtype=param_dtype,
    )
