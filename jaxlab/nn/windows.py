"""The copies of an array that the taps of a sliding window see.

Plain slices and reshapes, chosen so that their gradients are plain as well: a strided slice would be transposed into a
scatter of zeros between numbers, which is slow on a CPU; a split into phases is transposed into a concatenation.
"""

import jax
import jax.numpy as jnp


def extent(taps: int, places: int, stride: int = 1, dilation: int = 1) -> int:
    """Returns how long an axis `shifted` wants, for windows of so many taps at so many places."""
    return stride * ((taps - 1) * dilation // stride + places)


def fit(x: jax.Array, axis: int, before: int, length: int) -> jax.Array:
    """Puts `before` zeros in front of an axis, and as many behind as make it `length` long; or cuts off its end."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (before, length - before - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), widths)


def shifted(x: jax.Array, axis: int, taps: int, places: int, stride: int = 1, dilation: int = 1) -> list[jax.Array]:
    """Returns for each tap i the array of x[stride · t + dilation · i] for t = 0 … places - 1, along `axis`.

    The axis is `extent(taps, places, stride, dilation)` long.
    """
    assert x.shape[axis] == extent(taps, places, stride, dilation), (x.shape, axis, taps, places, stride, dilation)
    phases = [x]
    if stride > 1:
        folded = x.reshape(*x.shape[:axis], -1, stride, *x.shape[axis + 1 :])
        phases = [phase.squeeze(axis + 1) for phase in jax.lax.split(folded, [1] * stride, axis + 1)]
    starts = [dilation * tap for tap in range(taps)]
    return [
        jax.lax.slice_in_dim(phases[start % stride], start // stride, start // stride + places, axis=axis)
        for start in starts
    ]


def woven(parts: list[jax.Array], axis: int) -> jax.Array:
    """Returns the array whose place n · t + i along `axis` is place t of part i of n."""
    y = jnp.stack(parts, axis + 1)
    return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
