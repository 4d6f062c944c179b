"""A convolutional network of the plain kind (LeCun et al. 1998): convolve, halve, convolve, halve, two dense layers.

In a notebook:

    model = make({'shape': [28, 28, 1], 'classes': 10})
    variables = model.init(jax.random.key(0), pictures)
    logits = model.apply(variables, pictures)
"""

# b batch, h height, w width, i and o channels in and out, d width of the dense layer, c classes

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.models.arguments import between, one_of, outputs, picture, shares, whole_numbers
from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Linear
from jaxlab.nn.norm import BatchNorm
from jaxlab.nn.pool import global_average, max_pool
from jaxlab.parallel.layout import constrain


class Layer(nn.Module):
    """Convolve, normalise if asked to, the largest of each 2 x 2, ReLU: [b h w i] -> [b h/2 w/2 o], rounded up."""

    features: int
    window: int
    axes: tuple[str, str]
    norm: bool
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        axis = 'channels' if self.axes[1] == 'channels' else 'norm'
        bias = '' if self.norm else axis  # a norm has its own
        init = nn.initializers.he_normal()
        window = (self.window, self.window)
        x = Conv(self.features, window, axes=self.axes, bias_axis=bias, kernel_init=init, name='conv', **dtypes)(x)
        if self.norm:
            x = BatchNorm(axis=axis, name='norm', **dtypes)(x, train=train)
        # As the other way round, but for rounding, and a quarter of the work for ReLU.
        return nn.relu(max_pool(x, 2, padding='same'))


class CNN(nn.Module):
    """Pictures -> logits. `make`, below, explains the fields, checks them, and fills in what they leave open."""

    takes = ('inputs',)

    classes: int
    widths: tuple[int, ...]
    window: int
    gather: str
    dense: int
    norm: bool
    dropout: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        layers = []
        for i, width in enumerate(self.widths):
            # On a tensor mesh two layers are a pair, as in an MLP: the channels between them are split.
            paired = i % 2 == 0 and i + 1 < len(self.widths)
            inputs = 'channels' if i % 2 else 'embed' if i and paired else 'conv_in'
            axes = (inputs, 'channels' if paired else 'conv_out')
            layers.append(Layer(width, self.window, axes, self.norm, name=f'layer_{i}', **dtypes))
        self.layers = layers
        seen = 'embed'
        if self.dense:
            self.hidden = Linear(self.dense, ('inputs', 'hidden'), 'hidden', nn.initializers.he_normal(), **dtypes)
            seen = 'hidden'
        self.head_dropout = nn.Dropout(self.dropout)
        logits = dtypes | dict(dtype=jnp.promote_types(self.dtype, jnp.float32))
        self.head = Linear(self.classes, (seen, 'classes'), 'classes', **logits)

    def __call__(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits [b c], in at least float32.

        Args:
          pictures: [b h w channels], normalised; h and w are those of the pictures that the model was born with, unless
            gather='mean'.
          train: whether dropout is on (`rngs={'dropout': key}`), and batches are normalised by their own statistics,
            where there are norms (`mutable=['batch_stats']`).
        """
        return self.head(self.head_dropout(self.features(pictures, train=train), deterministic=not train))

    def features(self, pictures: jax.Array, *, train: bool = False) -> jax.Array:
        """What `__call__` makes logits of, [b d]."""
        x = pictures
        for layer in self.layers:
            x = layer(x, train=train)
        x = x.reshape(x.shape[0], -1) if self.gather == 'all' else global_average(x)
        return constrain(nn.relu(self.hidden(x)), 'batch', 'hidden') if self.dense else x


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    widths: tuple = (32, 64),  # channels of each convolution; each halves height and width
    window: int = 3,  # how far a convolution reaches, in pixels
    gather: str = 'all',  # what the dense layer sees: 'all' places, or their 'mean' (then of pictures of any size)
    dense: int = 128,  # width of the layer before the head; 0: none
    norm: bool = False,  # whether each convolution is normalised over the batch
    dropout: float = 0.0,  # the part of the features that the head does not see in training
    classes: int = 0,  # how many there are; 0: as many as the data have
) -> CNN:
    """Returns the model.

    Args:
      info: what the data say of themselves: 'shape' [height, width, channels] and 'classes'.
      dtype: of activations; norms and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, or the data are no pictures.
    """
    picture(info)
    whole_numbers(widths=widths)
    between(1, 100, convolutions=len(widths), window=window)
    between(1, 1 << 14, **{f'widths[{i}]': width for i, width in enumerate(widths)})
    between(0, 1 << 24, dense=dense)
    one_of('gather', gather, ('all', 'mean'))
    shares(dropout=dropout)
    return CNN(
        classes=outputs(classes, info),
        widths=tuple(widths),
        window=window,
        gather=gather,
        dense=dense,
        norm=norm,
        dropout=dropout,
        dtype=dtype,
        param_dtype=param_dtype,
    )
