"""Attention over rows that are split along their length, as mesh axis `context` splits them: keys and values go around
a ring of devices, and every device's queries meet each part of them in turn (Liu et al. 2023, arXiv:2310.01889).

What is seen in one turn and in the next is joined as flash attention joins its blocks, by the logarithms of the sums of
their weights (Dao et al. 2022). A device never has more of a row than its own part of it and one other, and that holds
for the backward pass too: keys and values go around once more, and their gradients with them.

Where nobody looks ahead, a row is cut into twice as many chunks as there are devices, c, and device i has the chunks i
and 2c-1-i (`ring_order`). Of any two devices' parts then exactly half is looked at, so that none waits for another.
"""

# b batch, t time of the queries, s time of the keys, k head width, d width
# m key/value heads, g query heads that share one; p chunks of a device's part: 1, or 2 where nobody looks ahead

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from jaxlab.errors import UserError
from jaxlab.nn.ring_order import order
from jaxlab.parallel.layout import splits

AXIS = 'context'
ALONG = PartitionSpec(None, AXIS)  # of rows [b t …]
RING = ('ring_mean', 'ring_sum')  # what the backward pass needs of the forward one, as policies call it
LONGEST_TILE = 512  # queries whose scores exist at a time


class Sight(NamedTuple):
    """Who may look at whom, told by what is known of each token: a mask [b t s] would be as large as rows are long².

    A query sees the keys that are no padding; where nobody looks ahead, of those only the ones of its own document that
    do not come after it.
    """

    places: jax.Array  # int [1 t], from 0: where in its row a token stands
    segments: jax.Array  # int [b t] or [1 t]: its document in the row, from 1; 0 is padding


class Queries(NamedTuple):
    """What stays. Time is the last axis but one of everything here, so that all is cut alike."""

    q: jax.Array  # [b m g t k], as long as 1/√k
    places: jax.Array  # [1 1 1 t 1]
    segments: jax.Array  # [b 1 1 t 1]


class Keys(NamedTuple):
    """What goes around the ring."""

    k: jax.Array  # [b m s k]
    v: jax.Array  # [b m s k]
    places: jax.Array  # [1 1 s 1]
    segments: jax.Array  # [b 1 s 1]


class Seen(NamedTuple):
    """What queries have seen so far, in at least float32."""

    total: jax.Array  # [b m g t k]: the values, times their weights: exp(score - largest)
    largest: jax.Array  # [b m g t 1]: of the scores
    whole: jax.Array  # [b m g t 1]: the sum of the weights


# --- rows in the order of the ring -----------------------------------------------------------------------------------


def ring_order(*rows: jax.Array) -> tuple[jax.Array, ...]:
    """Returns rows [b t] or [1 t] in the order in which a ring is balanced where nobody looks ahead; as they are where
    rows are whole.

    Raises:
      UserError: the ring cannot share the rows out evenly.
    """
    size = splits('length')
    if size == 1:
        return rows
    _check(rows[0].shape[1], 2 * size)

    def part(*rows: jax.Array) -> tuple[jax.Array, ...]:
        mine = jnp.asarray(order(rows[0].shape[1], size)).reshape(size, -1)[jax.lax.axis_index(AXIS)]
        return tuple(row[:, mine] for row in rows)

    # Every device has whole rows of these, which are small, and takes its part.
    return _on_each(part, PartitionSpec(), ALONG)(*rows)


def row_order(x: jax.Array) -> jax.Array:
    """Returns [b t d], in the order of `ring_order`, in the order of the row: each device sends away two chunks."""
    return x if splits('length') == 1 else _on_each(_to_row_order, ALONG, ALONG)(x)


def back_in_ring_order(x: jax.Array) -> jax.Array:
    """Undoes `row_order`."""
    return x if splits('length') == 1 else _on_each(_to_ring_order, ALONG, ALONG)(x)


def _on_each(function: Callable[..., Any], given: Any, found: Any) -> Callable[..., Any]:
    """Returns `function` of each device's part along the ring; all other mesh axes stay with XLA's partitioner, which
    is why it is compiled even where nothing else is: JAX runs no such region operation by operation."""
    return jax.jit(jax.shard_map(function, in_specs=given, out_specs=found, axis_names={AXIS}, check_vma=False))


def _to_row_order(x: jax.Array) -> jax.Array:
    """`row_order` of a device's part."""
    first, last = jnp.split(x, 2, axis=1)
    even, odd = _in_turn(first, last)
    evens, odds = _travels(jax.lax.axis_size(AXIS))
    back = [[(there, here) for here, there in pairs] for pairs in (evens, odds)]
    return jnp.concatenate([jax.lax.ppermute(even, AXIS, back[0]), jax.lax.ppermute(odd, AXIS, back[1])], axis=1)


def _to_ring_order(x: jax.Array) -> jax.Array:
    """`back_in_ring_order` of a device's part."""
    even, odd = jnp.split(x, 2, axis=1)
    evens, odds = _travels(jax.lax.axis_size(AXIS))
    return jnp.concatenate(_in_turn(jax.lax.ppermute(even, AXIS, evens), jax.lax.ppermute(odd, AXIS, odds)), axis=1)


def _travels(size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Returns from which device to which chunks go that are put into the order of the ring: the even, and the odd ones.

    Device i has the chunks 2i and 2i+1 of a row. Of the two that it is to have, one is even, and the other odd.
    """

    def holder(chunk: int) -> int:
        return min(chunk, 2 * size - 1 - chunk)

    return [(i, holder(2 * i)) for i in range(size)], [(i, holder(2 * i + 1)) for i in range(size)]


def _in_turn(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Exchanges a device's two chunks where the first that it has of a ring is odd."""
    is_even = jax.lax.axis_index(AXIS) % 2 == 0
    return jnp.where(is_even, one, other), jnp.where(is_even, other, one)


def filled_up(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns rows [b t d], with padding behind them where mesh axis context could not share them out; and their
    segments [1 t]: 1, or 0 where they are padding. A class token makes the length of a row of patches odd."""
    t = x.shape[1]
    more = -t % splits('length')
    segments = (jnp.arange(t + more) < t).astype(jnp.int32)[None]
    return jnp.pad(x, ((0, 0), (0, more), (0, 0))) if more else x, segments


def sight(segments: jax.Array, places: jax.Array | None = None) -> Sight | None:
    """Returns what `ring_attention` goes by where mesh axis context splits rows; None where a mask will do.

    Raises:
      UserError: it does not divide the length of the rows.
    """
    size = splits('length')
    if size == 1:
        return None
    _check(segments.shape[1], size)
    return Sight(jnp.arange(segments.shape[1])[None] if places is None else places, segments)


def _check(length: int, multiple: int) -> None:
    if length % multiple:
        raise UserError(
            'config.mesh.context={size}: rows of {length} tokens cannot be shared out evenly over mesh axis "context".'
            ' Choose a length that {multiple} divides, such as {near}, or another size of the mesh axis.',
            size=splits('length'),
            length=length,
            multiple=multiple,
            near=max(round(length / multiple), 1) * multiple,
        )


# --- the ring --------------------------------------------------------------------------------------------------------


def ring_attention(q: jax.Array, k: jax.Array, v: jax.Array, sight: Sight, causal: bool) -> jax.Array:
    """`attention` where mesh axis context splits rows: q [b n t k], k and v [b m t k] -> [b n t k].

    Args:
      q, k, v: queries, keys and values, in parts along t. Inside a `shard_map` over that axis they are a device's own.
      sight: who may look at whom, in the same order, and split alike. A query that may look at nobody gets 0.
      causal: whether nobody looks ahead; rows are then in the order of `ring_order`.

    Scores, weights and sums are in at least float32. It has gradients by q, k and v, and no forward mode.
    """
    if AXIS in jax.sharding.get_abstract_mesh().manual_axes:  # two regions, one in another, have no gradient
        return _of_part(q, k, v, sight, causal=causal)
    heads = PartitionSpec(None, None, AXIS)
    return _on_each(partial(_of_part, causal=causal), (heads, heads, heads, ALONG), heads)(q, k, v, sight)


def _of_part(q: jax.Array, k: jax.Array, v: jax.Array, sight: Sight, *, causal: bool) -> jax.Array:
    b, n, t, width = q.shape
    q = (q * width**-0.5).reshape(b, k.shape[1], -1, t, width)
    places, segments = (row[:, None, :, None] for row in sight)
    chunks = 2 if causal else 1
    mean = _ring(q, k, v, places, segments, chunks)
    return mean.reshape(b, n, t, width)


def rotate(tree: Any) -> Any:
    """Hands each device's part on to the next device of the ring."""
    size = jax.lax.axis_size(AXIS)
    return jax.tree.map(lambda x: jax.lax.ppermute(x, AXIS, [(i, (i + 1) % size) for i in range(size)]), tree)


def pairs(queries: Queries, keys: Keys, own: bool) -> list[tuple[Any, Any]]:
    """Returns which chunk of queries meets which chunk of keys: every pair of which anything may be seen, and as many
    on all devices. Where keys are of an earlier device, all queries see the first chunk; where of a later one, the last
    queries see both.

    Args:
      queries: a device's part, cut [p …].
      keys: those it holds, cut [p …].
      own: whether these are its own.
    """
    if len(queries.q) == 1:
        return [(0, 0)]
    if own:
        return [(0, 0), (1, 0), (1, 1)]
    earlier = keys.places.ravel()[0] < queries.places.ravel()[0]
    which = jnp.where(earlier, 0, 1)
    return [(1, 0), (which, which)]


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _ring(q: jax.Array, k: jax.Array, v: jax.Array, places: jax.Array, segments: jax.Array, chunks: int) -> jax.Array:
    return _forward(q, k, v, places, segments, chunks)[0]


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, places: jax.Array, segments: jax.Array, chunks: int
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The means [b m g t k], and what the backward pass needs: with them, the logarithms of the sums of weights."""
    queries = cut(Queries(q, places[:, None], segments[:, None]), chunks)
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    nothing = jnp.zeros((*queries.q.shape[:-1], 1), dtype)
    seen = Seen(jnp.zeros(queries.q.shape, dtype), nothing + jnp.finfo(dtype).min, nothing)

    def turn(seen: Seen, keys: Keys, own: bool = False) -> Seen:
        keys = cut(keys, chunks)
        for i, j in pairs(queries, keys, own):
            seen = put(seen, i, joined(at(seen, i), look(at(queries, i), at(keys, j), chunks > 1)))
        return seen

    seen = go_round(turn, seen, Keys(k, v, places, segments))
    whole = jnp.where(seen.whole > 0, seen.whole, 1)
    mean, total = join((seen.total / whole).astype(q.dtype)), join(seen.largest + jnp.log(whole))
    mean, total = (checkpoint_name(x, name) for x, name in zip((mean, total), RING, strict=True))
    return mean, (q, k, v, places, segments, mean, total)


def _backward(chunks: int, kept: tuple[jax.Array, ...], by_mean: jax.Array) -> tuple[jax.Array | None, ...]:
    q, k, v, places, segments, mean, total = kept
    dtype = total.dtype
    queries = cut(Queries(q, places[:, None], segments[:, None]), chunks)
    # The gradient by the scores of a row is zero in sum: what one weight gains, all others lose (Dao et al. 2022).
    lost = jnp.sum(by_mean.astype(dtype) * mean.astype(dtype), axis=-1, keepdims=True)
    beside = cut((by_mean, total, lost), chunks)

    def turn(found: Any, keys: Keys, own: bool = False) -> Any:
        by_q, by_keys = found
        cut_keys, by_keys = cut(keys, chunks), cut(by_keys, chunks)
        for i, j in pairs(queries, cut_keys, own):
            more, more_keys = gradients(at(queries, i), at(cut_keys, j), *at(beside, i), causal=chunks > 1)
            by_q = put(by_q, i, at(by_q, i) + more)
            by_keys = put(by_keys, j, jax.tree.map(jnp.add, at(by_keys, j), more_keys))
        return by_q, rotate(join(by_keys))  # to where the keys go next; after the last turn that is home

    start = jnp.zeros(queries.q.shape, dtype), (jnp.zeros(k.shape, dtype), jnp.zeros(v.shape, dtype))
    by_q, (by_k, by_v) = go_round(turn, start, Keys(k, v, places, segments))
    return join(by_q).astype(q.dtype), by_k.astype(k.dtype), by_v.astype(v.dtype), None, None


_ring.defvjp(_forward, _backward)


def go_round(turn: Callable[..., Any], carry: Any, keys: Keys) -> Any:
    """Returns what `turn`(carry, keys, own) makes of all devices' keys, one after another, beginning with its own."""
    size = jax.lax.axis_size(AXIS)

    def one(state: tuple[Any, Keys], _: None) -> tuple[tuple[Any, Keys], None]:
        carry, keys = state
        following = rotate(keys)  # on their way while these are looked at
        return (turn(carry, keys), following), None

    following = rotate(keys) if size > 1 else keys
    carry = turn(carry, keys, own=True)
    if size > 2:  # a loop: of unrolled turns the compiler might begin all, and hold all keys at once
        (carry, following), _ = jax.lax.scan(one, (carry, following), None, size - 2)
    return turn(carry, following) if size > 1 else carry


# --- one chunk of queries and one of keys ----------------------------------------------------------------------------


def visible(queries: Queries, keys: Keys, causal: bool) -> jax.Array:
    """Returns bool [b 1 1 t s]."""
    places, segments = (x[:, :, None].swapaxes(-1, -2) for x in (keys.places, keys.segments))  # [b 1 1 1 s]
    if not causal:
        return segments > 0
    return (segments > 0) & (segments == queries.segments) & (places <= queries.places)


def look(queries: Queries, keys: Keys, causal: bool) -> Seen:
    """Returns what queries see of these keys alone."""
    dtype = jnp.promote_types(queries.q.dtype, jnp.float32)

    def of_tile(queries: Queries) -> Seen:
        seen = visible(queries, keys, causal)
        scores = jnp.einsum('bmgtk,bmsk->bmgts', queries.q, keys.k, preferred_element_type=dtype)
        largest = jnp.where(seen, scores, jnp.finfo(dtype).min).max(-1, keepdims=True)
        weights = jnp.where(seen, jnp.exp(scores - largest), 0)
        total = jnp.einsum('bmgts,bmsk->bmgtk', weights.astype(keys.v.dtype), keys.v, preferred_element_type=dtype)
        return Seen(total, largest, weights.sum(-1, keepdims=True))

    return join(jax.lax.map(of_tile, cut(queries, tiles(queries.q.shape[-2]))))


def joined(one: Seen, other: Seen) -> Seen:
    """Returns what queries have seen that saw `one` and then `other`."""
    largest = jnp.maximum(one.largest, other.largest)
    of_one, of_other = jnp.exp(one.largest - largest), jnp.exp(other.largest - largest)
    total = of_one * one.total + of_other * other.total
    return Seen(total, largest, of_one * one.whole + of_other * other.whole)


def gradients(
    queries: Queries, keys: Keys, by_mean: jax.Array, total: jax.Array, lost: jax.Array, *, causal: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns what these keys add to the gradient by q, and these queries to those by k and v.

    Args:
      queries, keys: a chunk of each.
      by_mean: [b m g t k], the gradient by what the queries got.
      total: [b m g t 1], the logarithm of the sum of their weights over all keys.
      lost: [b m g t 1], what is taken off the gradient by each weight, so that it is one by a score.
    """
    dtype = total.dtype

    def of_tile(by_keys: tuple[jax.Array, jax.Array], part: Any) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        queries, by_mean, total, lost = part
        product = partial(jnp.einsum, preferred_element_type=dtype)
        scores = product('bmgtk,bmsk->bmgts', queries.q, keys.k)
        weights = jnp.where(visible(queries, keys, causal), jnp.exp(scores - total), 0)
        by_weights = product('bmgtk,bmsk->bmgts', by_mean, keys.v)
        by_scores = (weights * (by_weights - lost)).astype(keys.k.dtype)
        by_k = product('bmgts,bmgtk->bmsk', by_scores, queries.q)
        by_v = product('bmgts,bmgtk->bmsk', weights.astype(keys.v.dtype), by_mean)
        return (by_keys[0] + by_k, by_keys[1] + by_v), product('bmgts,bmsk->bmgtk', by_scores, keys.k)

    start = jnp.zeros(keys.k.shape, dtype), jnp.zeros(keys.v.shape, dtype)
    parts = cut((queries, by_mean, total, lost), tiles(queries.q.shape[-2]))
    by_keys, by_q = jax.lax.scan(of_tile, start, parts)
    return join(by_q), by_keys


def tiles(length: int) -> int:
    """Returns into how many tiles so many queries are cut: equal ones, of LONGEST_TILE at most where that goes."""
    least = -(-length // LONGEST_TILE)
    return next((count for count in range(least, min(4 * least, length) + 1) if length % count == 0), 1)


# --- trees of arrays, cut along their last axis but one --------------------------------------------------------------


def cut(tree: Any, count: int) -> Any:
    """[... t k] -> [count ... t/count k]."""

    def one(x: jax.Array) -> jax.Array:
        return jnp.moveaxis(x.reshape(*x.shape[:-2], count, -1, x.shape[-1]), -3, 0)

    return jax.tree.map(one, tree)


def join(tree: Any) -> Any:
    """The inverse of `cut`."""

    def one(x: jax.Array) -> jax.Array:
        x = jnp.moveaxis(x, 0, -3)
        return x.reshape(*x.shape[:-3], -1, x.shape[-1])

    return jax.tree.map(one, tree)


def at(tree: Any, i: Any) -> Any:
    """[p ...] -> [...]: element i."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, 0, keepdims=False), tree)


def put(tree: Any, i: Any, new: Any) -> Any:
    """The tree, with `new` as its element i."""
    return jax.tree.map(lambda x, y: jax.lax.dynamic_update_index_in_dim(x, y, i, 0), tree, new)
