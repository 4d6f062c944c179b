"""The one place that knows machines: the mesh, and the table that says which axis of which array is split over it.

Layers name the axes of their arrays ('embed', 'heads', …) and know nothing of devices. Here a name becomes a mesh
axis, so every way of training in parallel is a mesh shape in the config, and never another code path:

    c.mesh.data = 8      each device sees its own rows of the batch; parameters are copied (data parallel)
    c.mesh.fsdp = 8      the same, but parameters and optimizer state are stored in eighths (ZeRO-3, FSDP)
    c.mesh.tensor = 8    every matrix is cut between devices, Megatron's way (tensor parallel)
    c.mesh.data, .fsdp, .tensor = 2      all three

A mesh axis of size 1 splits nothing. XLA's partitioner (GSPMD, arXiv:2105.04663) writes the collectives that the
shardings imply.
"""

import itertools
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.core import meta
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jaxlab.errors import UserError, nearest
from jaxlab.messages import say

# Outer axes cross slow links (between hosts), inner axes fast ones: tensor parallelism talks most, so it is innermost.
AXES = ('data', 'fsdp', 'stage', 'expert', 'context', 'tensor')


class Row(NamedTuple):
    """The mesh axis (or axes) that splits a named array axis, by what the array is; None: it is not split."""

    activation: str | tuple[str, ...] | None
    parameter: str | tuple[str, ...] | None
    optimizer: str | tuple[str, ...] | None


TABLE: dict[str, Row] = {
    #                  activation          parameter             optimizer state
    'batch': Row(('data', 'fsdp'), None, None),
    'length': Row(None, None, None),
    # FSDP: parameters are stored along one more axis, and gathered where they are used.
    'embed': Row(None, 'fsdp', 'fsdp'),
    'heads': Row('tensor', 'tensor', 'tensor'),
    'kv_heads': Row('tensor', 'tensor', 'tensor'),
    'mlp': Row('tensor', 'tensor', 'tensor'),
    # Split on both of its axes, a table is copied whole at every look-up ("involuntary full rematerialization"): its
    # rows take both mesh axes, and its width ('table', not 'embed') takes none.
    'vocab': Row('tensor', ('tensor', 'fsdp'), ('tensor', 'fsdp')),
    'table': Row(None, None, None),
    'positions': Row(None, None, None),
    'window': Row(None, None, None),  # the taps of a convolution
    'conv_in': Row(None, None, None),  # the 3 colours of an image
    'conv_out': Row(None, 'fsdp', 'fsdp'),
    'channels': Row('tensor', 'tensor', 'tensor'),  # those between two convolutions of a block, as 'mlp' is in an MLP
    'hidden': Row('tensor', ('tensor', 'fsdp'), ('tensor', 'fsdp')),  # between dense layers whose other axis is odd
    'inputs': Row(None, None, None),  # pixels, columns: any number
    'classes': Row(None, None, None),
    'norm': Row(None, None, None),  # scales and biases as wide as the residual stream: small, so every device has them
    'gates': Row(None, None, None),  # those of a recurrent cell: each is a matrix, as each layer's is
    'rank': Row(None, None, None),  # between the two narrow matrices of an adapter
    'layers': Row(None, None, None),  # the leading axis of a scanned stack
}

Names = tuple[str | None, ...]


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
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices[:count])


def spec(names: Names, shape: tuple[int, ...], sizes: Mapping[str, int], kind: str = 'parameter', of: str = 'array'):
    """Turns the axis names of one array into a PartitionSpec, loudly where JAX would be silent.

    Args:
      names: one name of `TABLE`, or None (not split), for each axis.
      shape: the array's shape.
      sizes: the size of each mesh axis.
      kind: 'activation', 'parameter' or 'optimizer': the column of `TABLE`.
      of: what the array is called in an error.

    Raises:
      UserError: a name is unknown, two names want one mesh axis, or a mesh axis does not divide the array's axis.
    """
    assert len(names) == len(shape), f'{of}: axis names {names} for shape {shape}'
    entries: list[Any] = []
    taken: dict[str, str] = {}
    for name, size in zip(names, shape, strict=True):
        if name is None:
            entries.append(None)
            continue
        if name not in TABLE:
            raise UserError(
                '{of}: axis name "{name}" is not in the table of jaxlab/parallel/layout.py.{nearest}',
                of=of,
                name=name,
                nearest=nearest(name, TABLE),
            )
        axes = getattr(TABLE[name], kind)
        for axis in [axes] if isinstance(axes, str) else axes or ():
            if axis in taken:
                raise UserError(
                    '{of}: axis names "{one}" and "{other}" are both split over mesh axis "{axis}".',
                    of=of,
                    one=taken[axis],
                    other=name,
                    axis=axis,
                )
            taken[axis] = name
        split = math.prod(sizes[axis] for axis in ([axes] if isinstance(axes, str) else axes or ()))
        if size % split:
            where = axes if isinstance(axes, str) else ' × '.join(axes)
            raise UserError(
                '{of}: axis "{name}" of size {size} cannot be split over mesh axis {where} of size {split}.'
                ' Choose a mesh size that divides {size}, or a size that {split} divides.',
                of=of,
                name=name,
                size=size,
                where=where,
                split=split,
            )
        entries.append(axes)
    return PartitionSpec(*entries)


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
    """Pins how an activation is split over the ambient mesh (`jax.set_mesh`); does nothing where there is none.

    Inside a `shard_map`, axes that are already manual are left alone.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return x
    manual = set(mesh.manual_axes)
    sizes = {axis: 1 if axis in manual else size for axis, size in mesh.shape.items()}
    pinned = spec(names, x.shape, sizes, 'activation', of=f'activation {names}')
    pinned = PartitionSpec(*(_without(entry, manual) for entry in pinned))
    return jax.lax.with_sharding_constraint(x, pinned)


def _without(entry: Any, manual: set[str]) -> Any:
    if isinstance(entry, tuple):
        return tuple(axis for axis in entry if axis not in manual) or None
    return None if entry in manual else entry


# --- trees -----------------------------------------------------------------------------------------------------------


def names(tree: Any) -> Any:
    """Returns the axis names of every leaf of a boxed tree, () where it has none, as a tree without boxes."""
    return jax.tree.map(
        lambda leaf: tuple(leaf.names) if isinstance(leaf, meta.Partitioned) else (),
        tree,
        is_leaf=lambda leaf: isinstance(leaf, meta.AxisMetadata),
    )


def unbox(tree: Any) -> Any:
    """Drops the boxes that carry the axis names: optimizers, averages and checkpoints see bare arrays."""
    return meta.unbox(tree)


def shardings(abstract: Any, names_tree: Any, mesh: Mesh, kind: str = 'parameter') -> Any:
    """Returns a NamedSharding for every leaf of `abstract` (arrays or shapes) by its names in `names_tree`.

    A leaf of two or more dimensions without names is split along its largest dimension that mesh axis fsdp divides.
    """
    sizes = dict(mesh.shape)

    def one(path: Any, leaf: Any, leaf_names: Names) -> NamedSharding:
        if leaf_names:
            pinned = spec(leaf_names, leaf.shape, sizes, kind, of=path_name(path))
        else:
            pinned = PartitionSpec(*_largest(leaf.shape, sizes['fsdp']))
        return NamedSharding(mesh, pinned)

    return jax.tree_util.tree_map_with_path(one, abstract, names_tree)


def _largest(shape: tuple[int, ...], fsdp: int) -> list[str | None]:
    entries: list[str | None] = [None] * len(shape)
    fits = [i for i in range(len(shape)) if shape[i] % fsdp == 0 and shape[i] >= fsdp]
    if len(shape) > 1 and fits:
        entries[max(fits, key=lambda i: shape[i])] = 'fsdp'
    return entries


def follow(tree: Any, params: Any, names_tree: Any) -> Any:
    """Returns names for a tree that holds copies of parameters, as optimizer state does: a leaf takes the names of the
    parameter whose path its own path ends with, where the shapes agree; any other leaf has none."""
    known = {
        tuple(map(str, path)): (leaf.shape, leaf_names)
        for (path, leaf), leaf_names in zip(
            jax.tree_util.tree_leaves_with_path(params),
            jax.tree.leaves(names_tree, is_leaf=lambda x: isinstance(x, tuple)),
            strict=True,
        )
    }

    def one(path: Any, leaf: Any) -> Names:
        keys = tuple(map(str, path))
        for start in range(len(keys)):
            shape, leaf_names = known.get(keys[start:], (None, ()))
            if shape == leaf.shape:
                return leaf_names
        return ()

    return jax.tree_util.tree_map_with_path(one, tree)


def state_shardings(abstract: Any, names_tree: Any, mesh: Mesh, frozen: Any = None) -> Any:
    """Returns a NamedSharding for every leaf of an abstract TrainState. `frozen`: those of parameters beside it.

    Raises:
      UserError: an axis does not divide, or a mesh axis of more than one device is used by nothing.
    """
    nameless = jax.tree.map(lambda _: (), abstract)
    copies = follow(abstract.opt_state, abstract.params, names_tree)
    found = abstract.replace(
        step=NamedSharding(mesh, PartitionSpec()),
        params=shardings(abstract.params, names_tree, mesh),
        extra=shardings(abstract.extra, nameless.extra, mesh),
        opt_state=shardings(abstract.opt_state, copies, mesh, 'optimizer'),
        key=NamedSharding(mesh, PartitionSpec()),
        average=shardings(abstract.average, names_tree, mesh) if abstract.average else {},
        data_offset=NamedSharding(mesh, PartitionSpec()),
        health=shardings(abstract.health, nameless.health, mesh),
    )
    _check_used((found.params, frozen), mesh)
    return found


def with_shardings(abstract: Any, shardings_tree: Any) -> Any:
    """Returns shapes that know where they go. One sharding may serve for all shapes of a part."""
    of = jax.tree.broadcast(shardings_tree, abstract)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, of)


# --- batches ---------------------------------------------------------------------------------------------------------


def process_rows(batch_size: int, accumulate: int, mesh: Mesh) -> slice:
    """Returns which rows of the global batch this process brings: one contiguous block.

    Raises:
      UserError: the devices do not divide the rows of a micro-batch.
    """
    shards = batch_shards(mesh)
    if batch_size % (shards * accumulate):
        raise UserError(
            'config.batch_size={size}{cut} cannot be split over {shards} devices (mesh data × fsdp);'
            ' the nearest that can: {near}.',
            size=batch_size,
            cut=say(' in {count} micro-batches', count=accumulate) if accumulate > 1 else '',
            shards=shards,
            near=max(round(batch_size / (shards * accumulate)), 1) * shards * accumulate,
        )
    mine = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    blocks = sorted(
        {(rows[0].start or 0, batch_size if rows[0].stop is None else rows[0].stop) for rows in mine if rows}
    )
    assert all(one[1] == two[0] for one, two in itertools.pairwise(blocks)), f'not contiguous: {blocks}'
    return slice(blocks[0][0], blocks[-1][1])


def place(batch: Any, shardings: Any) -> Any:
    """Returns the global batch on the devices, from this process's rows of it. One sharding may serve many arrays."""
    put = jax.make_array_from_process_local_data
    return jax.tree.map(lambda sharding, part: jax.tree.map(partial(put, sharding), part), shardings, batch)


def global_shapes(batch: Mapping[str, np.ndarray], batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the global batch, from this process's rows of it."""
    return {name: jax.ShapeDtypeStruct((batch_size, *rows.shape[1:]), rows.dtype) for name, rows in batch.items()}


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over every mesh axis that splits 'batch'; all other axes whole."""
    return NamedSharding(mesh, PartitionSpec(TABLE['batch'].activation))


def batch_shards(mesh: Mesh | AbstractMesh | None = None) -> int:
    """Returns how many parts the rows of a batch are split into, by default over the ambient mesh (1 without one).

    Inside a `shard_map`, axes that are already manual split nothing more.
    """
    mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
    axes = TABLE['batch'].activation or ()
    return math.prod(mesh.shape.get(axis, 1) for axis in axes if axis not in mesh.manual_axes)


def _check_used(param_shardings: Any, mesh: Mesh) -> None:
    used = set(TABLE['batch'].activation or ())
    for sharding in jax.tree.leaves(param_shardings):
        for entry in sharding.spec:
            used.update(entry if isinstance(entry, tuple) else [entry])
    for axis, size in mesh.shape.items():
        if size > 1 and axis not in used:
            raise UserError(
                'config.mesh.{axis}={size}: nothing in this model is split over mesh axis "{axis}", so'
                ' {idle} of every {size} devices would repeat the work of the first.'
                ' Set config.mesh.{axis}=1 and config.mesh.data={size}.',
                axis=axis,
                size=size,
                idle=size - 1,
            )


# --- for people ------------------------------------------------------------------------------------------------------


def describe(params: Any, names_tree: Any, param_shardings: Any) -> list[dict[str, Any]]:
    """Returns a row for each kind of parameter, equal layers folded into one, for people to read."""
    rows: dict[Any, dict[str, Any]] = {}

    def add(path: Any, leaf: Any, leaf_names: Names, sharding: NamedSharding) -> None:
        name = re.sub(r'(?<=_)\d+(?=/)', '*', path_name(path))  # layer_0/… and layer_1/… are rows of one kind
        row = rows.setdefault(
            (name, leaf.shape),
            {
                'name': name,
                'times': 0,
                'names': leaf_names or (None,) * len(leaf.shape),
                'shape': leaf.shape,
                'count': 0,
                'split': '' if sharding.is_fully_replicated else str(sharding.spec).removeprefix('PartitionSpec'),
                'bytes_per_device': 0,
            },
        )
        row['times'] += 1
        row['count'] += math.prod(leaf.shape)
        row['bytes_per_device'] += math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    jax.tree_util.tree_map_with_path(add, params, names_tree, param_shardings)
    return list(rows.values())


def path_name(path: Any) -> str:
    """Returns 'layer_0/attention/query/kernel' for a JAX key path."""
    return jax.tree_util.keystr(path, simple=True, separator='/')
