"""The two layers that hold nearly every parameter: a matrix product and a table of vectors."""

# i input width, o output width, v table rows, d table width; ... any leading axes

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.nn import adapter
from jaxlab.nn.parameter import as_it_is, bare_parameter, parameter
from jaxlab.parallel import target
from jaxlab.parallel.layout import splits

NARROW = 32  # outputs


class Linear(nn.Module):
    """y = x W + b, [... i] -> [... o].

    `axes` names the two axes of the kernel [i o]; `bias_axis` that of the bias [o], '' meaning that there is none.
    `reparametrise` makes of (module, kernel) the kernel that is used, as spectral normalisation does.
    """

    features: int
    axes: tuple[str, str]
    bias_axis: str = ''
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    reparametrise: Callable[[nn.Module, jax.Array], jax.Array] = as_it_is

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1], self.features)
        kernel, parts = bare_parameter(self, 'kernel', self.kernel_init, self.axes, shape, self.param_dtype)
        x = x.astype(self.dtype)
        if parts is not None and self.reparametrise is as_it_is:
            # x W + scale · (x A) B: nobody wants the gradient of W, so a third of the work of training is left out.
            a, b, scale = (part.astype(self.dtype) for part in parts[:3])
            seen = adapter.dropped(self, x, parts.dropout)
            y = product(x, kernel.astype(self.dtype)) + scale * product(product(seen, a), b)
        else:
            kernel = kernel if parts is None else adapter.merged(self, 'kernel', kernel, parts)
            y = product(x, self.reparametrise(self, kernel).astype(self.dtype))
        if self.bias_axis:
            bias = parameter(self, 'bias', nn.initializers.zeros, (self.bias_axis,), shape[1:], self.param_dtype)
            y += bias.astype(y.dtype)
        return y


class Embedding(nn.Module):
    """A table [v d] that is read by row, and may be used once more as the output layer (Press & Wolf 2017, "tied").

    `axes` names its two axes. They are names of their own ('vocab', 'table'), not those of the layers: a table that is
    split over both would have to be gathered whole at every look-up.
    """

    rows: int
    features: int
    axes: tuple[str, str]
    table_init: Initializer = nn.initializers.normal(0.02)
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def setup(self):
        shape = (self.rows, self.features)
        self.table = parameter(self, 'table', self.table_init, self.axes, shape, self.param_dtype)

    def __call__(self, ids: jax.Array) -> jax.Array:
        """int [...] -> [... d]. An id beyond the table gives NaN, so that it is noticed (clamping would hide it)."""
        return jnp.take(self.table, ids, axis=0, mode='fill', fill_value=jnp.nan).astype(self.dtype)

    def attend(self, x: jax.Array, out_dtype: Dtype) -> jax.Array:
        """[... d] -> [... v]: the product of x with every row, summed in `out_dtype`."""
        return product(x.astype(self.dtype), self.table.astype(self.dtype).T, out_dtype)


def product(x: jax.Array, kernel: jax.Array, out_dtype: Dtype | None = None) -> jax.Array:
    """[... i] times [i o] -> [... o], summed in `out_dtype` where that is given.

    The leading axes are folded into one, so that the kernel's gradient is a product of two matrices as well. Of more
    axes XLA makes transposed copies on a CPU, each with a second computation of all that x was fused from. But an axis
    that devices split, as they may that of time, cannot be folded behind another without gathering it.
    """
    folded = splits('residual_length') == 1
    rows = x.reshape(-1, x.shape[-1]) if folded else x
    if target.platform() == 'cpu' and 1 < kernel.shape[-1] <= NARROW:
        y = _narrow(rows, kernel, out_dtype)
    else:
        y = jnp.dot(rows, kernel, preferred_element_type=out_dtype)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def _narrow(x: jax.Array, kernel: jax.Array, out_dtype: Dtype | None) -> jax.Array:
    """What `product` returns, of few outputs: such as a classifier's head.

    The barrier lets no transposed copy be undone: so the kernel's gradient is computed as [o i], with long rows. As
    [i o] XLA takes four times as long for it on a CPU, which is 1.1 to 3.7 times for a layer, there and back.
    """
    turned = jax.lax.optimization_barrier(kernel.T)
    along = ((x.ndim - 1,), (1,)), ((), ())
    return jax.lax.dot_general(x, turned, along, preferred_element_type=out_dtype)
