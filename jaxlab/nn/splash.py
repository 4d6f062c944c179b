"""Attention by the TPU kernel that comes with JAX ("splash"): causal, of rows that hold several documents.

The scores never leave the chip, and blocks of them that nobody may see are not computed. `attention.choose` takes it.
"""

# b batch, t time, k head width; n query heads, m key/value heads

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jax.sharding import PartitionSpec

from jaxlab.messages import say
from jaxlab.parallel import target
from jaxlab.parallel.layout import free_sizes, spec

LANES = 128  # of a TPU's vector unit: rows are a multiple of it
BLOCK = 512  # of queries and of keys that are looked at together
# Keys that one turn of the backward kernel holds. For each such part it writes gradients of all queries, and XLA adds
# them: the longer, the less memory and traffic, and the more products that the mask hides.
HELD = 2048
NOWHERE = -1  # the document of padding


def refuses(dtype: Dtype, head_width: int, causal: bool) -> str:
    """Says why the kernel cannot compute attention with its gradients here; '' where it can."""
    if not causal:
        return say('it is for text that is read from left to right')
    if 'TPU' not in target.kind():
        return say('it is for TPUs, and this is: {device}', device=target.kind())
    if dtype not in (jnp.bfloat16, jnp.float32):
        return say('it computes in bfloat16 or float32, and this is {dtype}', dtype=jnp.dtype(dtype).name)
    if head_width % 64:
        return say('heads are multiples of 64 wide, and these are {width}', width=head_width)
    return ''


def splash(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, interpret: bool = False) -> jax.Array:
    """`attention` with causal=True: q [b n t k], k and v [b m t k], mask bool [b t t] or [1 t t] -> [b n t k].

    Each device computes its own rows and heads, in a `shard_map` over the mesh axes that split 'batch' and 'heads'.

    Args:
      mask: as `attention.causal_mask` makes it: a query sees what stands before it in its own document.
      interpret: whether JAX interprets the kernel, slowly, as it does in tests, where there is no TPU.
    """
    documents = jnp.broadcast_to(documents_of(mask), (q.shape[0], q.shape[2]))
    each = partial(_each, interpret=interpret)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return each(q, k, v, documents)
    sizes = free_sizes(mesh)

    def split(names: tuple[str | None, ...], x: jax.Array) -> PartitionSpec:
        return spec(names, x.shape, sizes, 'activation', of=f'activation {names}')

    heads: Any = ('batch', 'heads', 'length', None)
    specs = split(heads, q), *[split(('batch', 'kv_heads', 'length', None), x) for x in (k, v)]
    specs = *specs, split(('batch', 'length'), documents)
    free = frozenset(mesh.axis_names) - set(mesh.manual_axes)
    return jax.shard_map(each, in_specs=specs, out_specs=specs[0], axis_names=free, check_vma=False)(q, k, v, documents)


def documents_of(mask: jax.Array) -> jax.Array:
    """Returns a number for each token of a row that those of its document share, int32 [b t]: the place of the first
    token that it sees. Padding, which sees nothing, is NOWHERE."""
    return jnp.where(mask.any(-1), jnp.argmax(mask, -1), NOWHERE).astype(jnp.int32)


def flops(shape: tuple[int, ...], backward: bool) -> float:
    """Returns the products that one call of the kernel computes, masked ones of its blocks included.

    Args:
      shape: of the queries, [b n t k] or [n t k].
      backward: whether it is that of the gradients: five products of matrices, and not two.
    """
    *heads, t, width = shape
    block = min(HELD if backward else BLOCK, t)
    return (10.0 if backward else 4.0) * math.prod(heads) * t * (t + block) / 2 * width


def _each(q: jax.Array, k: jax.Array, v: jax.Array, documents: jax.Array, interpret: bool) -> jax.Array:
    """`splash` of the rows and heads of one device."""
    from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

    t, width = q.shape[2:]
    more = -t % LANES
    q, k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0))) for x in (q, k, v))
    documents = jnp.pad(documents, ((0, 0), (0, more)), constant_values=NOWHERE)
    kernel = _kernel(q.shape[1], t + more, interpret)
    scale = jnp.asarray(width**-0.5, jnp.float32)

    def row(q: jax.Array, k: jax.Array, v: jax.Array, documents: jax.Array) -> jax.Array:
        return kernel(q, k, v, segment_ids=SegmentIds(documents, documents))

    return jax.vmap(row)((q * scale).astype(q.dtype), k, v, documents)[:, :, :t]


def _kernel(heads: int, length: int, interpret: bool) -> Any:
    from jax.experimental.pallas.ops.tpu import splash_attention as of

    block = next(size for size in (BLOCK, 384, 256, LANES) if length % size == 0)
    held = next(size for size in (HELD, HELD // 2, block) if length % size == 0 and size % block == 0)
    # One backward kernel computes all three gradients: scores are made once instead of twice.
    backward: dict[str, Any] = dict(block_q_dkv=block, block_kv_dkv=held, block_kv_dkv_compute=block)
    sizes = of.BlockSizes(block, block, block, **backward, use_fused_bwd_kernel=True)
    mask = of.MultiHeadMask([of.CausalMask((length, length))] * heads)
    return of.make_splash_mha(mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)
