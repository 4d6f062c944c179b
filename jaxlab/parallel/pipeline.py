"""Pipeline parallelism: each stage of the mesh has some of the layers, and micro-batches move from stage to stage.

    tick        0    1    2    3    4           GPipe's schedule (Huang et al. 2018, arXiv:1811.06965): stage k is at
    stage 0     0    1    2    3    ·           micro-batch i in tick i + k. The dots are the bubble, a share
    stage 1     ·    0    1    2    3           (stages - 1) / ticks of all time: the more micro-batches, the smaller.

All stages run one program, a loop over ticks in one `jax.shard_map`. It is manual over 'stage' (and over 'context' and
'expert', whose collectives attention and experts then call by themselves: gradients of nested regions fail on jax
0.10.2); all other mesh axes stay with XLA's partitioner. Backwards, the ticks run from the last to the first:
differentiation sees to it.

Outside, rows are split over 'stage' as over 'data', so that embedding, head and loss are shared out too. A stage brings
its rows as micro-batches of its own, and gets them back.
"""

# b rows, t time, d width; m micro-batches, r = b / m rows of one; s stages, l layers

import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxlab.errors import UserError
from jaxlab.parallel.layout import TABLE, batch_shards

STAGE, CONTEXT, EXPERT = 'stage', 'context', 'expert'
MOST = 4  # micro-batches that a stage brings where nobody says how many: the bubble is then a fifth of the time or less


class Place(NamedTuple):
    """Where the rows that a stage is at belong in the whole batch."""

    micro_batch: jax.Array  # int32 []
    micro_batches: int
    parts_of_rows: int  # that `expert` splits a micro-batch into
    parts_of_time: int  # that `context` splits each row into


PLACE: ContextVar[Place | None] = ContextVar('PLACE', default=None)  # known while the program of a stage is traced


def stages() -> int:
    """Returns how many stages the ambient mesh has: 1 without one, or inside a region that is manual over them."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if STAGE in mesh.manual_axes else mesh.shape.get(STAGE, 1)


def check(layers: int, rows: int, micro_batches: int) -> int:
    """Returns how many micro-batches `rows` are cut into on the ambient mesh, which has more than one stage.

    Args:
      layers: of the stack.
      rows: b, of all devices.
      micro_batches: how many are wanted; 0: as many as divide the rows, up to `MOST` for each stage.

    Raises:
      UserError: stages do not divide the layers, or the micro-batches, or those do not divide the rows.
    """
    s, shards = stages(), batch_shards()
    if layers % s:
        raise UserError(
            'config.mesh.stage={stages} does not divide config.model.layers={layers}, and every stage has as many:'
            ' --config.model.layers={near} would do, or --config.mesh.stage={fewer}.',
            stages=s,
            layers=layers,
            near=max(round(layers / s), 1) * s,
            fewer=math.gcd(layers, s),
        )
    if micro_batches % s:
        raise UserError(
            'config.model.micro_batches={count}: every one of config.mesh.stage={stages} brings as many;'
            ' --config.model.micro_batches={near} would do, or 0, which finds a number.',
            count=micro_batches,
            stages=s,
            near=max(round(micro_batches / s), 1) * s,
        )
    found = micro_batches or s * max(n for n in range(1, MOST + 1) if n == 1 or rows % (n * shards) == 0)
    unit = shards // s * found
    if rows % unit:
        raise UserError(
            'config.mesh.stage={stages}: {rows} rows (config.batch_size / config.accumulate) cannot be cut into'
            ' config.model.micro_batches={count} on {shards} devices (mesh {axes}); the nearest that can: {near}.'
            ' --config.model.micro_batches=0 finds a number for any multiple of {shards} rows.',
            stages=s,
            rows=rows,
            count=found,
            shards=shards,
            axes=' × '.join(TABLE['batch'].activation or ()),
            near=max(round(rows / unit), 1) * unit,
        )
    return found


def pipelined(
    layer: Callable[..., tuple[jax.Array, Any]],
    layers: Any,
    x: jax.Array,
    *others: jax.Array,
    micro_batches: int = 0,
    shares: Any = PartitionSpec(STAGE),
) -> tuple[jax.Array, Any]:
    """Runs x through all layers, as `jax.lax.scan` over them would, in stages on the ambient mesh.

    Args:
      layer: (x, one of `layers`, *others) -> x and what is told of it, arrays [b ...], for any number of rows.
      layers: arrays [l ...]; each stage has l / s of them.
      x: [b t d].
      others: what all layers see beside x: [b t ...], or [1 t ...] where it is the same for all rows. These do not move
        with x: a stage has those of all rows, and takes the ones of the micro-batch that it is at.
      micro_batches: m, a multiple of s; 0: see `check`.
      shares: how `layers` are split, for the first dims of each: PartitionSpec(STAGE), or PartitionSpec(STAGE, EXPERT)
        of what holds experts; rows then are split over 'expert' where `layer` sees them.

    Returns:
      x, and what the layers told: [l b ...].

    Raises:
      UserError: as `check`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    s, m = stages(), check(len(jax.tree.leaves(layers)[0]), len(x), micro_batches)
    apart = any(EXPERT in spec for spec in jax.tree.leaves(shares))
    parts = mesh.shape.get(CONTEXT, 1)
    time, expert = CONTEXT if parts > 1 else None, EXPERT if apart else None
    each = [len(array) > 1 for array in others]
    others = tuple(cut(array, m) if has_rows else array for array, has_rows in zip(others, each, strict=True))
    rows, same, told_of = (
        PartitionSpec(STAGE, expert, time),
        PartitionSpec(None, time),
        PartitionSpec(None, STAGE, expert),
    )

    def on_each(layers: Any, x: jax.Array, *others: jax.Array) -> tuple[jax.Array, Any]:
        stage = jax.lax.axis_index(STAGE)
        x = gathered(x, s)  # [m r t d]
        others = tuple(gathered(array, s) if has_rows else array for array, has_rows in zip(others, each, strict=True))

        def tick(arrived: jax.Array, number: jax.Array) -> tuple[jax.Array, Any]:
            here = at(number, stage, m)
            seen = [array[here] if has_rows else array for array, has_rows in zip(others, each, strict=True)]
            token = PLACE.set(Place(here, m, mesh.shape[EXPERT] if apart else 1, parts))
            try:
                start = jnp.where(stage == 0, x[here], arrived)
                y, told = jax.lax.scan(lambda x, one: layer(x, one, *seen), start, layers)
            finally:
                PLACE.reset(token)
            return hop(y, s), (y, told)

        _, (y, told) = jax.lax.scan(tick, x[0], jnp.arange(ticks(m, s)))  # in the bubble, something finite nobody sees
        return scattered(finished(y, s), s), jax.tree.map(lambda array: of_its_ticks(array, stage, m), told)

    axes = {STAGE} | {axis for axis in (time, expert) if axis}
    specs = shares, rows, *(rows if has_rows else same for has_rows in each)
    y, told = jax.shard_map(on_each, in_specs=specs, out_specs=(rows, told_of), axis_names=axes, check_vma=False)(
        layers, cut(x, m), *others
    )
    return joined(y), jax.tree.map(of_layers, told)


def ticks(m: int, s: int) -> int:
    """Returns how many turns of the loop there are: until the last stage has done the last micro-batch."""
    return m + s - 1


def at(tick: jax.Array, stage: jax.Array, m: int) -> jax.Array:
    """Returns which micro-batch a stage is at: int32 []; in the bubble, one that is there."""
    return jnp.clip(tick - stage, 0, m - 1)


def hop(y: jax.Array, s: int) -> jax.Array:
    """Hands what every stage has computed to the one after it."""
    return jax.lax.ppermute(y, STAGE, [(k, k + 1) for k in range(s - 1)])


def finished(y: jax.Array, s: int) -> jax.Array:
    """Of what a stage computed in all ticks, [m + s - 1 ...]: what, on the last one, has gone through all layers,
    [m ...]."""
    return y[s - 1 :]


def of_its_ticks(told: jax.Array, stage: jax.Array, m: int) -> jax.Array:
    """Of what the layers of a stage told in all ticks: that of micro-batches, [m ...], not of the bubble."""
    return jax.lax.dynamic_slice_in_dim(told, stage, m)


# None has a sum over stages, forwards or backwards: XLA's CPU compiler dies of such sums in bfloat16 (jax 0.10.2).


def gathered(x: jax.Array, s: int) -> jax.Array:
    """Of every stage's [m/s ...] makes those of all stages, on every stage: [m ...]."""
    return exchanged(jnp.broadcast_to(x, (s, *x.shape)), STAGE).reshape(-1, *x.shape[1:])


def scattered(y: jax.Array, s: int) -> jax.Array:
    """Gives each stage back the rows that it brought, [m ...] -> [m/s ...], as they are on the last stage."""
    return exchanged(y.reshape(s, -1, *y.shape[1:]), STAGE)[-1]


def exchanged(parts: jax.Array, axis: str) -> jax.Array:
    """Hands part k of [n ...] to device k of the n along a mesh axis; what device k has handed here is part k, [n ...].

    That is `jax.lax.all_to_all`, before which XLA's partitioner gathers whatever its own mesh axes split; a permutation
    it leaves split.
    """
    here, n = jax.lax.axis_index(axis), jax.lax.axis_size(axis)

    def part(of: jax.Array, number: jax.Array) -> jax.Array:
        return jax.lax.dynamic_index_in_dim(of, number % n, keepdims=False)

    came = [part(parts, here)]
    for far in range(1, n):  # from the device so many places before this one
        way = [(k, (k + far) % n) for k in range(n)]
        came.append(jax.lax.ppermute(part(parts, here + far), axis, way))
    return jnp.stack([part(jnp.stack(came), here - k) for k in range(n)])


def cut(x: jax.Array, m: int) -> jax.Array:
    """[b ...] -> [m r ...]: the m / s micro-batches that the first stage brings, then those of the second, ….

    Every device keeps its rows: of those that lie together on one, m / s in turn go to different micro-batches. Of a
    micro-batch, the rows of each of the mesh axes inside 'stage' lie together.
    """
    outer, s, inner = _shards()
    return jnp.moveaxis(x.reshape(outer, s, inner, -1, m // s, *x.shape[1:]), (1, 4, 2), (0, 1, 2)).reshape(
        m, -1, *x.shape[1:]
    )


def joined(x: jax.Array) -> jax.Array:
    """[m r ...] -> [b ...], in the order from before `cut`."""
    (outer, s, inner), m = _shards(), len(x)
    x = x.reshape(s, m // s, inner, outer, -1, *x.shape[2:])
    return jnp.moveaxis(x, (0, 1, 2), (1, 4, 2)).reshape(-1, *x.shape[5:])


def of_layers(told: jax.Array) -> jax.Array:
    """Of what each layer told of each micro-batch, [m l r ...], makes [l b ...]."""
    return jnp.moveaxis(joined(jnp.moveaxis(told, 1, 2)), 1, 0)


def _shards() -> tuple[int, int, int]:
    """Returns over how many parts rows are split by the mesh axes outside 'stage', by it, and by those inside."""
    shape, axes = jax.sharding.get_abstract_mesh().shape, TABLE['batch'].activation
    assert isinstance(axes, tuple) and STAGE in axes, axes
    place = axes.index(STAGE)
    return (
        math.prod(shape[axis] for axis in axes[:place]),
        shape[STAGE],
        math.prod(shape[axis] for axis in axes[place + 1 :]),
    )
