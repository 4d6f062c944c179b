"""Windows that slide over space: where they stop, and the copies of an array that their taps see.

The copies are plain slices and reshapes, chosen so that their gradients are plain as well: a strided slice would be
transposed into a scatter of zeros between numbers, which is slow on a CPU; a split into phases is transposed into a
concatenation.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Each = int | Sequence[int]  # one number for every axis of space, or one for each
Padding = str | Sequence[tuple[int, int]]
Pairs = tuple[tuple[int, int], ...]


def each(value: Each, axes: int) -> tuple[int, ...]:
    """Returns one number for each axis of space."""
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    assert len(values) == axes and min(values) > 0, f'{value} for {axes} axes of space'
    return values


def pads(
    padding: Padding,
    space: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Pairs:
    """Returns how many places are added before and behind each axis of space; `conv` says what `padding` may be."""
    if isinstance(padding, str):
        assert padding in ('same', 'valid'), f"padding {padding}: 'same', 'valid' or pairs are wanted"
        seen = [dilation * (taps - 1) + 1 for dilation, taps in zip(dilations, window)]
        return tuple(jax.lax.padtype_to_pads(space, seen, strides, padding.upper()))
    assert len(padding) == len(space), f'padding {padding} for {len(space)} axes of space'
    return tuple((before, behind) for before, behind in padding)


def count_places(
    space: Sequence[int], window: Sequence[int], strides: Sequence[int], pairs: Pairs, dilations: Sequence[int]
) -> list[int]:
    """Returns how many places the window takes along each axis of space."""
    along = zip(space, window, strides, pairs, dilations)
    return [
        (size + sum(pair) - dilation * (taps - 1) - 1) // stride + 1 for size, taps, stride, pair, dilation in along
    ]


def extent(taps: int, places: int, stride: int = 1, dilation: int = 1) -> int:
    """Returns how long an axis `shifted` wants, for windows of so many taps at so many places."""
    return stride * ((taps - 1) * dilation // stride + places)


def fit(x: jax.Array, axis: int, before: int, length: int, fill: float = 0.0) -> jax.Array:
    """Puts `before` zeros (or another number) in front of an axis, and as many behind as make it `length` long; or cuts
    off its end."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (before, length - before - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.asarray(fill, x.dtype), widths)


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
