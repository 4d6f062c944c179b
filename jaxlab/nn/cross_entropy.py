"""The cross-entropy of a language model, fused with its output layer: the logits [b t v] never exist as a whole.

For a vocabulary of 50,000 they are the largest array of a training step, and their gradient is another. But the sum of
all losses is one number, so its gradients by the features and by the table are known up to a factor as soon as the loss
is: they are computed together, from the logits of some tokens at a time, and the backward pass only multiplies them by
that factor. Nothing is computed twice.
"""

# b batch, t time, d width, v rows of the output table; c time of one chunk, n chunks; s parts that devices split the
# batch into, r rows of a part

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import Dtype

from jaxlab.parallel.layout import constrain, splits

CHUNK = 1 << 22  # logits that a chunk may always have on each device
TOKENS = 1 << 11  # tokens that a chunk never needs more of on each device


def cross_entropy(
    x: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    *,
    vocabulary: int = 0,
    label_smoothing: float = 0.0,
    dtype: Dtype = jnp.float32,
    chunk: int = 0,
) -> jax.Array:
    """The sum of -log softmax(x · table)[target] over all tokens, each times its mask: [], in nats.

    It has gradients by x, table and mask, and no forward mode (`jax.jvp`).

    Args:
      x: [b t d], what the output layer sees.
      table: [v d], the vectors whose products with x are the logits; the products are taken in x's dtype.
      targets: int [b t]. One that is no token makes the sum NaN, unless its mask is 0: so it is noticed.
      mask: [b t], what each token counts.
      vocabulary: rows of the table that are tokens; those after them pad it, and are never predicted. 0: all.
      label_smoothing: the part of the probability that all tokens share, in [0, 1) (arXiv:1512.00567).
      dtype: of logits and sums, float32 at least.
      chunk: c; by default as long as its logits are few.
    """
    vocabulary = vocabulary or len(table)
    x, targets, mask = (in_parts(array) for array in (x, targets, mask))
    b, t, _ = x.shape
    chunk = min(chunk or chunk_length(b, t, *table.shape), t)
    targets, mask = _noticed(targets, mask.astype(dtype), vocabulary)
    return _total(x, table, targets, mask, vocabulary, label_smoothing, jnp.dtype(dtype), chunk)


def of_logits(logits: jax.Array, targets: jax.Array, mask: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """`cross_entropy` of logits [b t v] that are there already, as of a model that has no output table."""
    targets, mask = _noticed(targets, mask, logits.shape[-1])
    nats, _ = _nats(logits, targets, logits.shape[-1], label_smoothing)
    return jnp.sum(nats * mask)


def chunk_length(b: int, t: int, v: int, d: int) -> int:
    """Returns how many tokens of each row are taken at a time: the one place that knows.

    To add a chunk's gradient to the table's is to read and write d numbers for each row of the table. The logits of a
    chunk are several times as much from 4 d tokens on; and its products take far longer from TOKENS on, whatever d is.
    """
    tokens = max(min(4 * d, TOKENS), CHUNK // v)  # on each device
    least = -(-t // max(tokens * splits('parts') // b, 1))
    chunks = next((n for n in range(least, min(2 * least, t)) if t % n == 0), least)
    return -(-t // chunks)  # of equal length, but for the last


def in_parts(array: jax.Array) -> jax.Array:
    """[b t …] -> [c·b t/c …]: each of the c parts of a row that mesh axis context splits is a row of its own."""
    b, t = array.shape[:2]
    c = splits('length')
    if c == 1:
        return array
    return array.reshape(b, c, t // c, *array.shape[2:]).swapaxes(0, 1).reshape(c * b, t // c, *array.shape[2:])


def _noticed(targets: jax.Array, mask: jax.Array, vocabulary: int) -> tuple[jax.Array, jax.Array]:
    """Targets that are all tokens, and the mask, NaN where one counts that was none."""
    known = (targets >= 0) & (targets < vocabulary)
    return jnp.where(known, targets, 0), jnp.where(known | (mask == 0), mask, jnp.nan)


def _gathered(table: jax.Array, dtype: np.dtype) -> jax.Array:
    """The table as the products take it; where it is stored in parts, gathered here, once, and not in every turn."""
    return constrain(table.astype(dtype), 'vocab', 'table')


def _stored(by_table: jax.Array) -> jax.Array:
    """The table's gradient, split over devices as the table itself is stored, and now: it is used at the end of the
    backward pass only, and the whole of it would lie there all the while."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.manual_axes or by_table.shape[0] % splits('vocab', 'parameter'):
        return by_table
    return jax.lax.optimization_barrier(constrain(by_table, 'vocab', 'table', kind='parameter'))


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def _total(
    x: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    vocabulary: int,
    label_smoothing: float,
    dtype: np.dtype,
    chunk: int,
) -> jax.Array:
    output = _gathered(table, x.dtype)

    def add(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        x, targets, mask = part
        nats, _ = _nats(_logits(x, output, vocabulary, dtype), targets, vocabulary, label_smoothing)
        return total + jnp.sum(nats * mask), None

    return _over_chunks(add, jnp.zeros((), dtype), (x, targets, mask), chunk)[0]


def _forward(
    x: jax.Array,
    table: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    vocabulary: int,
    label_smoothing: float,
    dtype: np.dtype,
    chunk: int,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The sum, and its gradients."""
    # The sum over rows is over devices as well. Each keeps its own until the end: else they would meet in every turn.
    parts, output = splits('parts'), _gathered(table, x.dtype)

    def add(carry: tuple[jax.Array, jax.Array], part: tuple[jax.Array, ...]) -> tuple[tuple, tuple]:
        (total, by_table), (x, targets, mask) = carry, part
        nats, by_logits = _nats(_logits(x, output, vocabulary, dtype), targets, vocabulary, label_smoothing)
        by_logits = (by_logits * mask[..., None]).astype(x.dtype)
        rows, by_rows = (array.reshape(parts, -1, array.shape[-1]) for array in (x, by_logits))
        rows, by_rows = constrain(rows, 'parts', None, 'embed'), constrain(by_rows, 'parts', None, 'vocab')
        more = jnp.einsum('srv,srd->svd', by_rows, rows, preferred_element_type=dtype)
        by_x = jnp.einsum('btv,vd->btd', by_logits, output, preferred_element_type=dtype).astype(x.dtype)
        by_table = constrain(by_table + more, 'parts', 'vocab', 'table')
        return (total + jnp.sum(nats * mask), by_table), (by_x, nats)

    start = jnp.zeros((), dtype), jnp.zeros((parts, *table.shape), dtype)
    (total, by_table), (by_x, nats) = _over_chunks(add, start, (x, targets, mask), chunk)
    return total, (by_x, _stored(by_table.sum(0).astype(table.dtype)), nats)


def _backward(
    vocabulary: int, label_smoothing: float, dtype: np.dtype, chunk: int, gradients: tuple[jax.Array, ...], g: jax.Array
) -> tuple[jax.Array | None, ...]:
    by_x, by_table, by_mask = gradients
    # In the dtype of g: rounded to a coarser one, it would be a wrong learning rate.
    return (g * by_x).astype(by_x.dtype), (g * by_table).astype(by_table.dtype), None, g * by_mask


_total.defvjp(_forward, _backward)


def _logits(x: jax.Array, table: jax.Array, vocabulary: int, dtype: np.dtype) -> jax.Array:
    rows = x.reshape(-1, x.shape[-1])
    logits = jnp.dot(rows, table.T, preferred_element_type=dtype).reshape(*x.shape[:-1], len(table))
    if vocabulary < len(table):
        logits = jnp.where(jnp.arange(len(table)) < vocabulary, logits, -jnp.inf)
    return constrain(logits, 'parts', None, 'vocab')


def _nats(
    logits: jax.Array, targets: jax.Array, vocabulary: int, label_smoothing: float
) -> tuple[jax.Array, jax.Array]:
    """The losses [b c] of logits [b c v], and their gradients by the logits [b c v]."""
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    whole = weights.sum(-1, keepdims=True)
    expected = (1 - label_smoothing) * jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    # A comparison and not an index: where v is split over devices, each has its part of it.
    places = jnp.arange(logits.shape[-1])
    chances = (1 - label_smoothing) * (places == targets[..., None])
    if label_smoothing:
        real = places < vocabulary
        expected += label_smoothing / vocabulary * jnp.where(real, logits, 0).sum(-1)
        chances += jnp.where(real, label_smoothing / vocabulary, 0)
    return jnp.log(whole[..., 0]) + largest[..., 0] - expected, weights * (1 / whole) - chances


def _over_chunks(add: Callable[..., Any], start: Any, arrays: tuple[jax.Array, ...], chunk: int) -> tuple[Any, Any]:
    """`jax.lax.scan` over `chunk` tokens of each row at a time, of arrays [b t …]; also what it returns is [b t …]."""
    b, t = arrays[0].shape[:2]
    if chunk == t:
        return add(start, arrays)
    n = -(-t // chunk)

    def cut(array: jax.Array) -> jax.Array:
        padded = jnp.pad(array, ((0, 0), (0, n * chunk - t), *[(0, 0)] * (array.ndim - 2)))  # of mask 0
        return padded.reshape(b, n, chunk, *array.shape[2:]).swapaxes(0, 1)

    def join(array: jax.Array) -> jax.Array:
        return array.swapaxes(0, 1).reshape(b, n * chunk, *array.shape[3:])[:, :t]

    carry, found = jax.lax.scan(add, start, jax.tree.map(cut, arrays))
    return carry, jax.tree.map(join, found)
