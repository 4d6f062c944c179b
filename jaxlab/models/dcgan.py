"""DCGAN: a generator makes pictures of noise, a discriminator tells them from those of the data (Radford et al. 2015).

In a notebook:

    model = make({'shape': [28, 28, 1], 'classes': 10})
    variables = model.init(jax.random.key(0), noise, labels)  # float32 [b 128], int32 [b]
    fakes = model.apply(variables, noise, labels, method='generate')
    logits = model.apply(variables, fakes, labels, method='discriminate')
    logits, changed = model.apply(
        variables, fakes, labels, train=True, method='discriminate', mutable=['batch_stats', 'spectral']
    )

Parameters are {'generator': …, 'discriminator': …}, and so are the collections: 'batch_stats', and 'spectral' with the
singular vectors of spectral normalisation.

Labels enter the generator as a vector beside the noise (Mirza & Osindero 2014), and the discriminator by a projection
(Miyato & Koyama 2018).
"""

# b batch, h height, w width, c channels, z noise, f features

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.errors import UserError
from jaxlab.models.arguments import above_zero, between, picture, shares
from jaxlab.nn.conv import Conv
from jaxlab.nn.linear import Embedding, Linear
from jaxlab.nn.norm import BatchNorm
from jaxlab.nn.parameter import as_it_is, parameter
from jaxlab.nn.spectral_norm import spectral_norm
from jaxlab.parallel.layout import constrain

SMALLEST = 4  # pictures are made of, and read down to, at least so many pixels of height and width
LABEL = 32  # width of the vector that stands for a label beside the noise


def doublings(height: int, width: int) -> int:
    """How often a picture is halved, or doubled to it: at least twice, and while no side is left below 4 pixels."""
    found = 0
    while height % 2 == width % 2 == 0 and (found < 2 or min(height, width) >= 2 * SMALLEST):
        height, width, found = height // 2, width // 2, found + 1
    return found


class Generator(nn.Module):
    """Noise [b z] -> pictures [b h w c] in -1 … 1."""

    shape: tuple[int, int, int]
    width: int
    classes: int  # 0: labels are not looked at
    init_scale: float
    norm_momentum: float
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, noise: jax.Array, labels: jax.Array, train: bool) -> jax.Array:
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        init = nn.initializers.normal(self.init_scale)
        norm = partial(BatchNorm, self.norm_momentum, **dtypes)
        height, width, colours = self.shape
        count = doublings(height, width)
        x = noise.astype(self.dtype)
        if self.classes:
            one = nn.initializers.normal(1.0)  # as large as noise
            label = Embedding(self.classes, LABEL, ('classes', 'table'), one, name='label', **dtypes)(labels)
            x = jnp.concatenate([x, label], axis=-1)

        features = self.width * 2 ** (count - 1)
        height, width = height >> count, width >> count
        x = Linear(features * height * width, ('inputs', 'hidden'), kernel_init=init, name='start', **dtypes)(x)
        # Channels come first, so that what is split over devices stays so where channels are taken apart.
        x = constrain(x, 'batch', 'hidden').reshape(-1, features, height, width)
        x = constrain(jnp.moveaxis(x, 1, -1), 'batch', None, None, 'channels')
        x = nn.relu(norm(axis='channels', name='start_norm')(x, train=train))
        for i in range(count - 1):
            features //= 2
            # Channels of every other layer are split over mesh axis tensor, as in an MLP.
            axes = ('channels', 'conv_out') if i % 2 == 0 else ('conv_in', 'channels')
            x = Conv(features, (3, 3), axes=axes, kernel_init=init, name=f'conv_{i}', **dtypes)(twice(x))
            axis = 'channels' if i % 2 else 'norm'
            x = nn.relu(norm(axis=axis, name=f'norm_{i}')(x, train=train))
        axes = ('channels' if count % 2 else 'conv_in', 'inputs')
        x = Conv(colours, (3, 3), axes=axes, bias_axis='inputs', kernel_init=init, name='paint', **dtypes)(twice(x))
        return jnp.tanh(x.astype(jnp.promote_types(self.dtype, jnp.float32)))


def twice(x: jax.Array) -> jax.Array:
    """Every pixel becomes four: [b h w c] -> [b 2h 2w c].

    The convolution behind it makes of this what the paper's transposed convolution makes, but of equally many pixels
    everywhere: one whose window the stride does not divide paints chequers (Odena et al. 2016). And it is a plain
    convolution, for which every backend has its fastest algorithm.
    """
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


class Discriminator(nn.Module):
    """Pictures [b h w c] in -1 … 1 -> logits [b], above 0 for those that look like data.

    Each convolution halves the size and doubles the channels. Spectral normalisation takes the place of BatchNorm.
    """

    width: int
    classes: int  # 0: labels are not looked at
    spectral: bool
    slope: float
    init_scale: float
    norm_momentum: float
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, pictures: jax.Array, labels: jax.Array, train: bool) -> jax.Array:
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        logits_dtype = jnp.promote_types(self.dtype, jnp.float32)
        init = nn.initializers.normal(self.init_scale)
        reparametrise: Callable[[nn.Module, jax.Array], jax.Array] = as_it_is
        if self.spectral:
            reparametrise = partial(spectral_norm, train=train)
        conv: Callable[..., nn.Module] = partial(Conv, kernel_init=init, reparametrise=reparametrise, **dtypes)
        count = doublings(pictures.shape[1], pictures.shape[2])
        x = pictures.astype(self.dtype)
        for i in range(count):
            split = (count - i) % 2 == 0  # so that the last channels, which the head reads, are whole
            axes = ('conv_in', 'channels') if split else ('channels' if i else 'conv_in', 'conv_out')
            axis = 'channels' if split else 'norm'
            plain = self.spectral or i == 0  # without BatchNorm: the first layer sees the colours as they are
            bias_axis = axis if plain else ''
            x = conv(self.width * 2**i, (4, 4), 2, axes=axes, bias_axis=bias_axis, name=f'conv_{i}')(x)
            if not plain:
                x = BatchNorm(self.norm_momentum, axis=axis, name=f'norm_{i}', **dtypes)(x, train=train)
            x = nn.leaky_relu(x, self.slope)
        x = x.reshape(x.shape[0], -1).astype(logits_dtype)
        head = partial(Linear, 1, ('inputs', 'classes'), 'classes', init, logits_dtype, self.param_dtype)
        logits = head(reparametrise=reparametrise, name='head')(x)[:, 0]
        if self.classes:
            shape = (self.classes, x.shape[-1])
            table = parameter(self, 'projection', init, ('classes', 'table'), shape, self.param_dtype)
            if self.spectral:
                table = spectral_norm(self, table, train=train, name='projection_vector')
            rows = jnp.take(table.astype(logits_dtype), labels, axis=0, mode='fill', fill_value=jnp.nan)
            logits += (x * rows).sum(-1)
        return logits


class DCGAN(nn.Module):
    """Both networks; `make`, below, explains the fields and checks them."""

    takes = ('noise', 'labels')

    shape: tuple[int, int, int]
    noise: int
    width: int
    classes: int
    spectral: bool
    slope: float
    init_scale: float
    norm_momentum: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        shared: dict[str, Any] = dict(
            width=self.width,
            classes=self.classes,
            init_scale=self.init_scale,
            norm_momentum=self.norm_momentum,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        self.generator = Generator(self.shape, **shared)
        self.discriminator = Discriminator(spectral=self.spectral, slope=self.slope, **shared)

    def __call__(self, noise: jax.Array, labels: jax.Array, train: bool = False) -> jax.Array:
        """What the discriminator says of generated pictures: logits [b]. By this both are initialised."""
        return self.discriminate(self.generate(noise, labels, train), labels, train)

    def generate(self, noise: jax.Array, labels: jax.Array, train: bool = False) -> jax.Array:
        """Pictures in -1 … 1: [b h w c], in at least float32.

        Args:
          noise: [b z], of a normal distribution.
          labels: int [b]; not looked at where the model is not conditional.
          train: whether batches are normalised by their own statistics, which then move the running ones
            (`mutable=['batch_stats']`).
        """
        return self.generator(noise, labels, train)

    def discriminate(self, pictures: jax.Array, labels: jax.Array, train: bool = False) -> jax.Array:
        """Logits [b], in at least float32: above 0 for pictures that look like those of the data.

        Args:
          pictures: [b h w c] in -1 … 1.
          labels: int [b]; not looked at where the model is not conditional.
          train: whether singular vectors are brought nearer, and statistics moved (`mutable=['batch_stats',
            'spectral']`). A step that calls this more than once may let one of the calls alone keep them.
        """
        return self.discriminator(pictures, labels, train)


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    noise: int = 128,  # how many random numbers a picture is made of
    width: int = 64,  # channels beside the picture; they double where its size is halved (the paper: 128)
    conditional: bool = True,  # whether pictures are made, and judged, by the labels of the data
    spectral: bool = True,  # whether the discriminator has spectral normalisation, and no BatchNorm
    slope: float = 0.2,  # of the discriminator's leaky ReLU, below 0
    init_scale: float = 0.02,  # standard deviation of the initial weights
    norm_momentum: float = 0.9,  # what the running statistics keep of themselves at each step
) -> DCGAN:
    """Returns the model.

    Args:
      info: what the data say of themselves: 'shape' [height, width, channels] and 'classes'.
      dtype: of activations; norms, singular values, pictures and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, or the data are no pictures, or of a size that 4 does not divide.
    """
    height, wide, channels = picture(info)
    if height % 4 or wide % 4 or not min(height, wide, channels):
        raise UserError(
            'DCGAN makes pictures whose height and width 4 divides, and these data have {height} x {width} pixels; the'
            ' nearest such size: {near_height} x {near_width}.',
            height=height,
            width=wide,
            near_height=max(4 * round(height / 4), 4),
            near_width=max(4 * round(wide / 4), 4),
        )
    between(1, 1 << 24, noise=noise, width=width)
    shares(slope=slope, norm_momentum=norm_momentum)
    above_zero(init_scale=init_scale)
    classes = info.get('classes', 0) if conditional else 0
    if conditional and not classes:
        raise UserError('conditional=True: these data have no labels; set conditional=False.')
    return DCGAN(
        shape=(height, wide, channels),
        noise=noise,
        width=width,
        classes=classes,
        spectral=spectral,
        slope=slope,
        init_scale=init_scale,
        norm_momentum=norm_momentum,
        dtype=dtype,
        param_dtype=param_dtype,
    )
