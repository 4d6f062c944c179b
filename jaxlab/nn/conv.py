"""Convolution: a window slides over space, and at every place one matrix maps what it sees to the output."""

# b batch, i input channels, o output channels, g groups; space is any number of axes, such as time, or height and width

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.nn.parameter import as_it_is, parameter
from jaxlab.nn.windows import Each, Padding, Pairs, count_places, each, extent, fit, pads, shifted
from jaxlab.nn.winograd import winograd
from jaxlab.parallel import target
from jaxlab.parallel.layout import constrain

ALGORITHMS = ('library', 'patches', 'depthwise', 'winograd4', 'winograd6')


def conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: Each = 1,
    padding: Padding = 'same',
    dilation: Each = 1,
    groups: int = 1,
    algorithm: str = '',
) -> jax.Array:
    """The cross-correlation of x with kernel, as every deep learning library has it: [b *space i] -> [b *space' o].

    Args:
      x: [b *space i].
      kernel: [*window i/g o], of x's dtype; input channels of group n (the n-th i/g of them) make outputs of group n.
      stride: how far the window moves from one place to the next.
      padding: 'valid': none; 'same': as many zeros around the space as make ceil(size / stride) places, the odd one
        behind; or pairs (before, behind), one for each axis of space.
      dilation: how far the taps of the window lie apart.
      groups: g.
      algorithm: one of ALGORITHMS; by default what is fastest here, see `choose`. All give the same but for rounding.
    """
    space, window = x.shape[1:-1], kernel.shape[:-2]
    assert len(space) == len(window) > 0, f'x {x.shape} and kernel {kernel.shape} differ in the axes of space'
    assert x.shape[-1] == kernel.shape[-2] * groups, f'x {x.shape}, kernel {kernel.shape}, {groups} groups'
    assert kernel.shape[-1] % groups == 0, f'{groups} groups do not divide the outputs of kernel {kernel.shape}'
    strides, dilations = each(stride, len(space)), each(dilation, len(space))
    pairs = pads(padding, space, window, strides, dilations)
    algorithm = algorithm or choose(x, kernel, strides, pairs, dilations, groups)
    match algorithm:
        case 'winograd4' | 'winograd6':
            assert _plain(kernel, strides, dilations, groups), f'{algorithm} is for square windows that move by 1'
            return winograd(x, kernel, pairs, points=int(algorithm[-1]))
        case 'depthwise':
            return _depthwise(x, kernel, strides, pairs, dilations)
        case 'patches':
            return _patches(x, kernel, strides, pairs, dilations, groups)
        case 'library':
            return _library(x, kernel, strides, pairs, dilations, groups)
    raise AssertionError(f'algorithm {algorithm}: there are {ALGORITHMS}')


def choose(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], pairs: Pairs, dilations: Sequence[int], groups: int
) -> str:
    """Returns the algorithm that trains fastest: the one place that knows.

    On GPUs and TPUs it is the library's. On a CPU the library's gradients are slow, those of groups a hundredfold.
    Measured forward and backward on two cores with launch/bench/layers.py; its results say how each does beside torch.
    """
    if target.platform() != 'cpu':
        return 'library'
    inputs, outputs = kernel.shape[-2:]
    if groups > 1 and inputs == 1 and outputs == groups:
        return 'depthwise'
    window = kernel.shape[:-2]
    enough = min(inputs, outputs) >= 8 and x.dtype in (jnp.float32, jnp.float64)
    if enough and window in ((3, 3), (5, 5)) and _plain(kernel, strides, dilations, groups):
        places = count_places(x.shape[1:-1], window, strides, pairs, dilations)
        # Each matrix product is over all tiles: fewer make it too thin to pay for its larger kernels.
        for points in (6, 4):
            side = points - window[0] + 1
            if side > 1 and x.shape[0] * math.prod(-(-size // side) for size in places) >= 256:
                return f'winograd{points}'
    return 'patches'


def _plain(kernel: jax.Array, strides: Sequence[int], dilations: Sequence[int], groups: int) -> bool:
    return len(set(kernel.shape[:2])) == 1 and {*strides, *dilations, groups} == {1} and len(strides) == 2


def _copies(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], pairs: Pairs, dilations: Sequence[int]
) -> list[jax.Array]:
    """What each tap sees at every place, taps in the order of the kernel: arrays [b *space' i]."""
    places = count_places(x.shape[1:-1], window, strides, pairs, dilations)
    along = list(enumerate(zip(window, places, strides, dilations), start=1))
    for (axis, shape), (before, _) in zip(along, pairs):
        x = fit(x, axis, before, extent(*shape))
    copies = [x]
    for axis, shape in along:
        copies = [copy for one in copies for copy in shifted(one, axis, *shape)]
    return copies


@partial(jax.checkpoint, static_argnums=(2, 3, 4, 5))  # the copies are made again backwards: one for each tap is much
def _patches(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], pairs: Pairs, dilations: Sequence[int], groups: int
) -> jax.Array:
    """One matrix product of all that the windows see, [b·places taps·i], with the kernel, [taps·i o]."""
    *window, i, o = kernel.shape
    places = count_places(x.shape[1:-1], window, strides, pairs, dilations)
    if tuple(window) == tuple(strides) and set(dilations) == {1}:  # nothing is seen twice, as in patches of a ViT
        for axis, (count, taps, (before, _)) in enumerate(zip(places, window, pairs), start=1):
            x = fit(x, axis, before, count * taps)
        x = x.reshape(x.shape[0], *itertools.chain(*zip(places, window)), groups, i)
        axes = range(1, 2 * len(window) + 1)
        seen = x.transpose(0, *axes[::2], x.ndim - 2, *axes[1::2], x.ndim - 1)
    else:
        copies = _copies(x, window, strides, pairs, dilations)
        seen = jnp.concatenate([copy.reshape(-1, groups, i) for copy in copies], -1)
    seen = seen.reshape(-1, groups, math.prod(window) * i)  # [b·places g taps·i]
    kernel = kernel.reshape(-1, groups, o // groups)
    y = seen[:, 0] @ kernel[:, 0] if groups == 1 else jnp.einsum('ngk,kgo->ngo', seen, kernel)
    return y.reshape(-1, *places, o)


def _depthwise(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], pairs: Pairs, dilations: Sequence[int]
) -> jax.Array:
    """The sum of what each tap sees, times its weights: every channel has its own, and there is no matrix product."""
    *window, one, o = kernel.shape
    assert one == 1 and o == x.shape[-1], f'depthwise: x {x.shape}, kernel {kernel.shape}'
    copies = _copies(x, window, strides, pairs, dilations)
    weighted = [copy * weights for copy, weights in zip(copies, kernel.reshape(-1, o))]
    return sum(weighted[1:], weighted[0])


def _library(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], pairs: Pairs, dilations: Sequence[int], groups: int
) -> jax.Array:
    axes = range(len(strides))
    last = len(strides) + 1
    batch_first = (0, last, *(axis + 1 for axis in axes))
    specs = jax.lax.ConvDimensionNumbers(batch_first, (last, last - 1, *axes), batch_first)
    return jax.lax.conv_general_dilated(
        x, kernel, strides, pairs, rhs_dilation=dilations, dimension_numbers=specs, feature_group_count=groups
    )


class Conv(nn.Module):
    """y = conv(x, W) + b, [b *space i] -> [b *space' o]; the arguments of `conv` say how.

    `axes` names the last two axes of the kernel [*window i/g o]; `bias_axis` that of the bias [o], '' meaning that
    there is none. FSDP stores kernels split by outputs: the inputs of the first layer are the 3 colours of an image.
    `reparametrise` makes of (module, kernel) the kernel that is used, as spectral normalisation does.
    """

    features: int
    window: tuple[int, ...]
    stride: Each = 1
    padding: Padding = 'same'
    dilation: Each = 1
    groups: int = 1
    axes: tuple[str, str] = ('conv_in', 'conv_out')
    bias_axis: str = ''
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    reparametrise: Callable[[nn.Module, jax.Array], jax.Array] = as_it_is

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.window, x.shape[-1] // self.groups, self.features)
        names = (*('window',) * len(self.window), *self.axes)
        kernel = parameter(self, 'kernel', self.kernel_init, names, shape, self.param_dtype)
        kernel = self.reparametrise(self, kernel)
        # The kernel is gathered here, if it is stored in parts: what is computed of it may be larger, activations are.
        kernel = constrain(kernel.astype(self.dtype), *names)
        y = conv(x.astype(self.dtype), kernel, self.stride, self.padding, self.dilation, self.groups)
        if self.bias_axis:
            bias = parameter(self, 'bias', nn.initializers.zeros, (self.bias_axis,), shape[-1:], self.param_dtype)
            y += bias.astype(y.dtype)
        return constrain(y, 'batch', *(None,) * len(self.window), self.axes[1])
