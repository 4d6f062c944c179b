"""`config.compile=pmap`: the same step by `jax.pmap`: each device computes by itself, and adds up over a name.

    what jit does                                   what pmap wants to be told
    arrays are of the whole batch                   arrays are of this device's rows: [rows / devices, ...]
    `x.sum()` is of all rows                        `psum(x.sum(), AXIS)` is; see `over` in step.py
    a key draws one mask for all rows               a key draws the same mask on every device: fold in `axis_index`
    the mesh says what is split, and how            parameters are copied, rows are split, and there is nothing else

It is here to be read, and for those who have code of that kind; `jit` does all of it, and meshes beside. jax itself has
made `pmap` of `jit` and `shard_map` since 0.8.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh

from jaxlab.errors import UserError

AXIS = 'data'  # what the mapped axis is called


def mapped(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Returns step(state, frozen, batch) -> (state, terms) of global arrays, of one that sees a device's rows alone.

    Args:
      step: adds up over `AXIS`, so that the state and the terms that it returns are the same on every device.
      mesh: the devices, in the order of their rows.
    """
    devices = list(mesh.devices.flat)
    on_each = jax.pmap(step, AXIS, in_axes=(None, None, 0), out_axes=(None, None), devices=devices)

    def whole(state: Any, frozen: Any, batch: Any) -> tuple[Any, Any]:
        rows = jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch)  # nothing moves
        with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):  # pmap makes its own
            return on_each(state, frozen, rows)

    return whole


def check(mesh: Mesh, losses: list[str], carried: bool) -> None:
    """Sees that pmap can do what is wanted.

    Args:
      mesh: the devices.
      losses: the names of the losses of a step's phases.
      carried: whether the model carries anything from batch to batch that is not trained.

    Raises:
      UserError: it cannot.
    """
    for axis, size in mesh.shape.items():
        if size > 1 and axis != AXIS:
            raise UserError(
                'config.compile=pmap copies a model to every device, and config.mesh.{axis}={size} splits it: take'
                ' config.mesh.data, or config.compile=jit.',
                axis=axis,
                size=size,
            )
    if jax.process_count() > 1:
        raise UserError(
            'config.compile=pmap is for one process here, and these are {processes}: config.compile=jit trains with'
            ' any number.',
            processes=jax.process_count(),
        )
    if len(losses) > 1:
        raise UserError(
            'config.compile=pmap is for tasks of one phase, and this one has {losses}: config.compile=jit trains it.',
            losses=', '.join(losses),
        )
    if carried:
        raise UserError(
            'config.compile=pmap: this model carries statistics of whole batches, and here each device sees its own'
            ' rows alone: config.compile=jit trains it.'
        )
