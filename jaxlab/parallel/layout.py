"""The one place that knows machines: the mesh, and the table that says which axis of which array is split over it.

Layers name the axes of their arrays ('embed', 'heads', …) and know nothing of devices. Here a name becomes a mesh
axis, so every way of training in parallel is a mesh shape in the config, and never another code path:

    c.mesh.data = 8      each device sees its own rows of the batch; parameters are copied (data parallel)
    c.mesh.zero1 = 8     the same, but optimizer state and averages are stored in eighths (ZeRO-1, arXiv:1910.02054)
    c.mesh.fsdp = 8      the same, but parameters are stored in eighths too (ZeRO-3, FSDP)
    c.mesh.tensor = 8    every matrix is cut between devices, Megatron's way, and the residual stream along the rows
                         (tensor and sequence parallel)
    c.mesh.stage = 8     each device has an eighth of the layers of a scanned stack; see pipeline.py (pipeline parallel)
    c.mesh.expert = 8    each device has an eighth of the experts, and rows of its own; tokens travel to theirs and back
    c.mesh.context = 8   every row is cut along its length, for long ones (nn/ring_attention.py)
    c.mesh.data, .fsdp, .tensor = 2      three of them

A mesh axis of size 1 splits nothing. XLA's partitioner (GSPMD, arXiv:2105.04663) writes the collectives that the
shardings imply.
"""

import itertools
import math
import operator
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.core import meta
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxlab.errors import UserError, nearest
from jaxlab.messages import say


class Row(NamedTuple):
    """The mesh axis (or axes) that splits a named array axis, by what the array is; None: it is not split."""

    activation: str | tuple[str, ...] | None
    parameter: str | tuple[str, ...] | None
    optimizer: str | tuple[str, ...] | None


TABLE: dict[str, Row] = {
    #                  activation          parameter             optimizer state
    # Rows are split over 'stage' and 'expert' too: outside a pipeline, or between two layers of experts, their devices
    # train on rows of their own.
    'batch': Row(('data', 'zero1', 'fsdp', 'stage', 'expert'), None, None),
    'parts': Row(('context', 'data', 'zero1', 'fsdp', 'stage', 'expert'), None, None),  # of rows, as a loss takes them
    'length': Row('context', None, None),
    # The residual stream between two blocks is split by 'tensor' as well: norms and dropout, of which nothing else is
    # split, are then computed once (arXiv:2205.05198).
    'residual_length': Row(('context', 'tensor'), None, None),
    # FSDP: parameters are stored along one more axis, and gathered where they are used; optimizer state along two.
    'embed': Row(None, 'fsdp', ('fsdp', 'zero1')),
    'heads': Row('tensor', 'tensor', 'tensor'),
    'kv_heads': Row('tensor', 'tensor', 'tensor'),
    'mlp': Row('tensor', 'tensor', 'tensor'),
    'experts': Row('expert', 'expert', 'expert'),
    'routes': Row(None, None, None),  # what a router gives: a number for each expert, of which every device needs all
    # Split on both of its axes, a table is copied whole at every look-up ("involuntary full rematerialization"): its
    # rows take both mesh axes, and its width ('table', not 'embed') takes none.
    'vocab': Row('tensor', ('tensor', 'fsdp'), ('tensor', 'fsdp', 'zero1')),
    'table': Row(None, None, None),
    'positions': Row(None, None, None),
    'window': Row(None, None, None),  # the taps of a convolution
    'conv_in': Row(None, None, None),  # the 3 colours of an image
    'conv_out': Row(None, 'fsdp', ('fsdp', 'zero1')),
    'channels': Row('tensor', 'tensor', 'tensor'),  # those between two convolutions of a block, as 'mlp' is in an MLP
    'hidden': Row(
        'tensor', ('tensor', 'fsdp'), ('tensor', 'fsdp', 'zero1')
    ),  # between dense layers whose other axis is odd
    'inputs': Row(None, None, None),  # pixels, columns: any number
    'classes': Row(None, None, None),
    'norm': Row(None, None, None),  # scales and biases as wide as the residual stream: small, so every device has them
    'gates': Row(None, None, None),  # those of a recurrent cell: each is a matrix, as each layer's is
    'rank': Row(None, None, None),  # between the two narrow matrices of an adapter
    'layers': Row(None, 'stage', 'stage'),  # the leading axis of a scanned stack
}

LENGTHS = ('length', 'residual_length')

Names = tuple[str | None, ...]


def spec(names: Names, shape: tuple[int, ...], sizes: Mapping[str, int], kind: str = 'parameter', of: str = 'array'):
    """Turns the axis names of one array into a PartitionSpec, loudly where JAX would be silent.

    Mesh axes of size 1 split nothing, and are not in it.

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
        axes = tuple(axis for axis in ([axes] if isinstance(axes, str) else axes or ()) if sizes[axis] > 1)
        if name in LENGTHS:
            axes = that_divide(size, axes, sizes)
        for axis in axes:
            if axis in taken:
                raise UserError(
                    '{of}: axis names "{one}" and "{other}" are both split over mesh axis "{axis}".',
                    of=of,
                    one=taken[axis],
                    other=name,
                    axis=axis,
                )
            taken[axis] = name
        split = math.prod(sizes[axis] for axis in axes)
        if size % split:
            raise UserError(
                '{of}: axis "{name}" of size {size} cannot be split over mesh axis {where} of size {split}.'
                ' Choose a mesh size that divides {size}, or a size that {split} divides.',
                of=of,
                name=name,
                size=size,
                where=' × '.join(axes),
                split=split,
            )
        entries.append(axes[0] if len(axes) == 1 else axes or None)
    return PartitionSpec(*entries)


def that_divide(length: int, axes: tuple[str, ...], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the first of the mesh axes, as far as they divide the length of rows: a class token makes it odd, and
    where a text is written it is 1. (What 'context' must divide, nn/ring_attention.py checks.)"""
    products = itertools.accumulate((sizes[axis] for axis in axes), operator.mul)
    return tuple(axis for axis, _ in itertools.takewhile(lambda pair: length % pair[1] == 0, zip(axes, products)))


def constrain(x: jax.Array, *names: str | None, kind: str = 'activation') -> jax.Array:
    """Pins how an activation is split over the ambient mesh (`jax.set_mesh`); does nothing where there is none.

    `kind` is that of `spec`: a gradient may be split as its parameter is.

    Inside a `shard_map`, axes that are already manual are left alone.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return x
    return jax.lax.with_sharding_constraint(x, spec(names, x.shape, free_sizes(mesh), kind, of=f'{kind} {names}'))


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


def state_shardings(abstract: Any, names_tree: Any, mesh: Mesh, frozen: Any = None, of_all: Any = None) -> Any:
    """Returns a NamedSharding for every leaf of an abstract TrainState.

    Args:
      abstract: the state's shapes.
      names_tree: the axis names of its parameters.
      mesh: the devices.
      frozen: the shardings of parameters beside it.
      of_all: the axis names of those and its own, where there are such.

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
        average=shardings(abstract.average, names_tree, mesh, 'optimizer') if abstract.average else {},
        data_offset=NamedSharding(mesh, PartitionSpec()),
        health=shardings(abstract.health, nameless.health, mesh),
    )
    _check_used((found.params, frozen), mesh, of_all or names_tree)
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
            'config.batch_size={size}{cut} cannot be split over {shards} devices (mesh {axes});'
            ' the nearest that can: {near}.',
            size=batch_size,
            cut=say(' in {count} micro-batches', count=accumulate) if accumulate > 1 else '',
            shards=shards,
            axes=' × '.join(TABLE['batch'].activation or ()),
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
    return math.prod(mesh.shape[axis] for axis in batch_axes(mesh))


def batch_axes(mesh: Mesh | AbstractMesh | None = None) -> tuple[str, ...]:
    """Returns the mesh axes, of more than one device, that split the rows of a batch; else as `batch_shards`."""
    sizes = free_sizes(jax.sharding.get_abstract_mesh() if mesh is None else mesh)
    return tuple(axis for axis in TABLE['batch'].activation or () if sizes.get(axis, 1) > 1)


def free_sizes(mesh: Mesh | AbstractMesh) -> dict[str, int]:
    """Returns the size of each mesh axis; inside a `shard_map`, 1 for those that are already manual."""
    return {axis: 1 if axis in mesh.manual_axes else size for axis, size in mesh.shape.items()}


def splits(name: str, kind: str = 'activation') -> int:
    """Returns into how many parts the ambient mesh splits an axis of that name; else as `batch_shards`."""
    sizes, axes = free_sizes(jax.sharding.get_abstract_mesh()), getattr(TABLE[name], kind) or ()
    return math.prod(sizes.get(axis, 1) for axis in ([axes] if isinstance(axes, str) else axes))


def _check_used(param_shardings: Any, mesh: Mesh, names_tree: Any = ()) -> None:
    used = {'data', 'zero1', 'fsdp'}  # 'stage' and 'expert' split rows as well, but are for what has layers and experts
    if any('heads' in leaf_names for leaf_names in jax.tree.leaves(names_tree, is_leaf=lambda x: isinstance(x, tuple))):
        used.add('context')  # rows are split along their length where attention, which has heads, puts them together
    for sharding in jax.tree.leaves(param_shardings):
        for entry in sharding.spec:
            used.update(entry if isinstance(entry, tuple) else [entry])
    for axis, size in mesh.shape.items():
        if size > 1 and axis not in used and axis == 'stage':
            raise UserError(
                'config.mesh.stage={size}: stages share out the layers of a scanned stack, and this model has none.'
                ' Set --config.model.scan=True where the model has that argument, or --config.mesh.stage=1'
                ' --config.mesh.data={data}.',
                size=size,
                data=size * mesh.shape['data'],
            )
        if size > 1 and axis not in used:
            raise UserError(
                'config.mesh.{axis}={size}: nothing in this model is split over mesh axis "{axis}", so'
                ' {idle} of every {size} devices would repeat the work of the first.'
                ' Set config.mesh.{axis}=1 and config.mesh.data={size}.',
                axis=axis,
                size=size,
                idle=size - 1,
            )


def path_name(path: Any) -> str:
    """Returns 'layer_0/attention/query/kernel' for a JAX key path."""
    return jax.tree_util.keystr(path, simple=True, separator='/')
