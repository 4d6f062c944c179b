"""The mesh: the devices of all machines in one grid, with a name for each of its axes."""

import math
from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxlab.errors import UserError

# Outer axes cross slow links (between hosts), inner axes fast ones: tensor parallelism talks most, so it is innermost.
AXES = ('data', 'zero1', 'fsdp', 'stage', 'expert', 'context', 'tensor')
BATCH = ('data', 'zero1', 'fsdp', 'expert')  # those that split the rows of a batch; see TABLE of layout.py


def make_mesh(shape: Mapping[str, int], devices: list[jax.Device] | None = None) -> Mesh:
    """Returns the device mesh with all of `AXES`, for the partitioner to propagate shardings over (type Auto).

    Args:
      shape: the size of each axis; a missing one is 1; at most one is -1 and takes what the others leave.
      devices: what to lay the mesh over, by default all that JAX sees; where the shape wants fewer, the first ones.

    Raises:
      UserError: an axis is unknown or has a size below 1, two are -1, the shape wants more devices than there are, or
        there is none.
    """
    try:
        devices = list(jax.devices() if devices is None else devices)
    except RuntimeError as error:  # JAX_PLATFORMS, which --device sets, names one that does not start
        raise UserError('JAX has no device to run on. {error}', error=error) from None
    for axis, size in shape.items():
        if axis not in AXES:
            raise UserError(
                'config.mesh.{axis}: there is no such mesh axis; they are {axes}.', axis=axis, axes=', '.join(AXES)
            )
        if size < 1 and size != -1:
            raise UserError(
                'config.mesh.{axis}={size}: a mesh axis has at least 1 device (or -1: all that are left).',
                axis=axis,
                size=size,
            )
    sizes = dict.fromkeys(AXES, 1) | dict(shape)
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise UserError(
            'config.mesh: {one} and {other} are both -1; only one axis can take all devices that are left.',
            one=free[0],
            other=free[1],
        )
    fixed = math.prod(size for size in sizes.values() if size != -1)
    text = ' × '.join(f'{axis} {size}' for axis, size in sizes.items() if size not in (1, -1)) or 'data 1'
    if fixed > len(devices):
        raise UserError(
            'config.mesh: {mesh} wants {wanted} devices, and JAX sees {seen} ({platform}).'
            ' Make the axes smaller; to try a mesh without the machines:'
            ' XLA_FLAGS=--xla_force_host_platform_device_count={wanted}',
            mesh=text,
            wanted=fixed,
            seen=len(devices),
            platform=devices[0].platform,
        )
    if free:
        if len(devices) % fixed:
            raise UserError(
                'config.mesh: {axis}=-1 cannot share out {count} devices, since {mesh} does not divide them.',
                axis=free[0],
                count=len(devices),
                mesh=text,
            )
        sizes[free[0]] = len(devices) // fixed
    count = math.prod(sizes.values())
    types, shaped = (AxisType.Auto,) * len(AXES), tuple(sizes.values())
    try:
        grid = jax.make_mesh(shaped, AXES, axis_types=types, devices=devices[:count]).devices
    except NotImplementedError:  # a part of a torus dim: tensor=4 where each is 8 long
        from jax.experimental import mesh_utils

        grid = mesh_utils.create_device_mesh(shaped, devices[:count], allow_split_physical_axes=True)
    return Mesh(by_process(grid), AXES, axis_types=types)


def by_process(grid: np.ndarray) -> np.ndarray:
    """Returns a grid of devices in which those of each process come one after another, as far as rows of a batch go.

    Each process brings one contiguous block of rows. JAX orders devices by where they stand in the torus, and there a
    process has a square of chips, not a piece of a line. Neighbours in rows of a batch need not be neighbours there:
    what they send goes around all of them anyway, in an order of XLA's own.

    Args:
      grid: devices, with the axes of `AXES`.
    """
    order = [AXES.index(axis) for axis in BATCH]
    order += [number for number in range(len(AXES)) if number not in order]
    moved = grid.transpose(order)
    flat = moved.reshape(math.prod(moved.shape[: len(BATCH)]), -1)
    first = [min(device.process_index for device in row) for row in flat]  # of each row's processes
    seen = {process: number for number, process in enumerate(dict.fromkeys(first))}
    places = sorted(range(len(flat)), key=lambda place: seen[first[place]])
    return flat[places].reshape(moved.shape).transpose(np.argsort(order))
