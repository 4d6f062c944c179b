"""Attention: every token looks at the others and takes a weighted mean of what they offer (Vaswani et al. 2017)."""

# b batch, t time of the queries, s time of the keys, d width, k head width
# n query heads, m key/value heads, g = n / m query heads that share one key head

import functools
import re
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax.ad_checkpoint import checkpoint_name

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.nn import splash
from jaxlab.nn.linear import Linear
from jaxlab.nn.position import Rotary, rotate
from jaxlab.nn.ring_attention import Sight, ring_attention
from jaxlab.parallel import target
from jaxlab.parallel.layout import constrain

Mask = jax.Array | Sight  # what Attention is told of who may look at whom: bool [b t s], or what makes such
KeysValues = tuple[jax.Array, jax.Array]  # each [b m s k]
QUERY_KEY_VALUE = ('query', 'key', 'value')  # as policies call them that keep them for the backward pass


def causal_mask(segments: jax.Array, key_segments: jax.Array, start: jax.Array | int = 0) -> jax.Array:
    """Says who may look at whom: bool [b t s], true where key j lies in query i's document and not after it.

    Args:
      segments: int [b t], the queries' document numbers within the row, from 1; 0 is padding.
      key_segments: int [b s], those of the keys; padding is looked at by nobody.
      start: the place of the first query among the keys (0 without a cache).
    """
    query = start + jnp.arange(segments.shape[1])[:, None]
    key = jnp.arange(key_segments.shape[1])[None, :]
    same = segments[:, :, None] == key_segments[:, None, :]
    return same & (key_segments > 0)[:, None, :] & (key <= query)


def scaled_dot_product(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Attention as the paper writes it, softmax(q · k / √width) · v, with the weights for whoever wants to see them.

    `attention` gives the same means and is made to be fast; this is made to be read.

    Args:
      q: queries [… t k].
      k: keys [… s k].
      v: what they offer [… s d].
      mask: bool [… t s]: which keys a query may look at; None: all.

    Returns:
      the means [… t d], and the weights [… t s], in at least float32: from 0 up, and 1 in sum over s. A key that may
      not be looked at has weight 0; a query that may look at none has weights of 0, and mean 0.
    """
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum('...tk,...sk->...ts', q, k, preferred_element_type=dtype) * q.shape[-1] ** -0.5
    seen = jnp.broadcast_to(True if mask is None else mask, scores.shape)
    largest = jnp.max(scores, axis=-1, keepdims=True, where=seen, initial=jnp.finfo(dtype).min)
    weights = jnp.where(seen, jnp.exp(jnp.where(seen, scores - largest, 0)), 0)
    whole = weights.sum(-1, keepdims=True)
    weights /= jnp.where(whole > 0, whole, 1)
    return jnp.einsum('...ts,...sd->...td', weights.astype(v.dtype), v), weights


def weights_of(model: nn.Module, variables: Any, *inputs: jax.Array) -> list[jax.Array]:
    """Returns where the heads of a model look, for each layer [b n t s]; [] where it has no such layers.

    A model that is asked for them computes each layer's weights beside its attention, which stays as it is; nobody
    else's program has them.
    """
    _, kept = model.apply(variables, *inputs, mutable=[WEIGHTS])
    found: dict[tuple[str | int, ...], jax.Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(kept.get(WEIGHTS, {})):
        words = re.split(r'(\d+)', jax.tree_util.keystr(path))  # layer_10 comes after layer_9
        found[tuple(int(word) if word.isdecimal() else word for word in words)] = leaf
    ordered = [found[path] for path in sorted(found)]
    return [layer for leaf in ordered for layer in (leaf if leaf.ndim == 5 else [leaf])]  # scanned: [l b n t s]


WEIGHTS = 'attention'  # the collection of what `weights_of` asks for

IMPLEMENTATIONS = ('blocks', 'cudnn', 'splash')


def choose(dtype: Dtype, head_width: int, causal: bool = False) -> str:
    """Returns the implementation that is fastest here: the one place that knows.

    NVIDIA's cuDNN has attention as one kernel, for halves and heads of limited width; for TPUs JAX brings one, for
    texts. Elsewhere XLA compiles ours.
    """
    kernels = ['splash', 'cudnn']
    if jax.sharding.get_abstract_mesh().manual_axes:  # splash opens a region of its own: in another it has no gradient
        kernels.remove('splash')
    return next((name for name in kernels if not refuses(name, dtype, head_width, causal)), 'blocks')


def refuses(implementation: str, dtype: Dtype, head_width: int, causal: bool = False) -> str:
    """Says why an implementation cannot compute attention with its gradients here; '' where it can."""
    match implementation:
        case 'cudnn':
            return cudnn_refuses(dtype, head_width)
        case 'splash':
            return splash.refuses(dtype, head_width, causal)
    return ''


def cudnn_refuses(dtype: Dtype, head_width: int) -> str:
    """`refuses` of cuDNN."""
    device = target.kind()
    if 'NVIDIA' not in device:
        return say('it is for NVIDIA GPUs, and this is: {device}', device=device)
    if dtype not in (jnp.bfloat16, jnp.float16):
        return say('it computes in bfloat16, and this is {dtype}', dtype=jnp.dtype(dtype).name)
    if head_width % 8 or head_width > 128:
        return say('heads are multiples of 8 wide, up to 128, and these are {width}', width=head_width)
    return ''


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, causal: bool = False, implementation: str = 'auto'
) -> jax.Array:
    """The mean of v, weighted by softmax(q · k / √width): q [b n t k], k and v [b m s k] -> [b n t k].

    Args:
      q, k, v: queries, keys and values. Heads stand before time: both products are plain batched matrix products. The g
        query heads that share one key head (Ainslie et al. 2023) are laid end to end in time, so keys and values are
        never repeated.
      mask: bool [b t s] or [1 t s]: which keys a query may look at. One that may look at none gets some finite mean.
      causal: whether no query may look at a key after its own place, and there are as many of both; `mask` says so too.
        Then the queries are taken in blocks, and what comes after a block is not computed at all.
      implementation: one of IMPLEMENTATIONS, or 'auto'; see `choose`. All give the same but for rounding.

    Scores and weights are in at least float32.
    """
    if implementation == 'auto':
        implementation = choose(q.dtype, q.shape[-1], causal)
    if implementation == 'cudnn':
        return _library(q, k, v, mask, causal, 'cudnn')
    if implementation == 'splash':
        return splash.splash(q, k, v, mask)
    t = q.shape[2]
    # Four blocks need 5/8 of the work and longer rows approach half of it; shorter blocks make too small matrices.
    length = min(max(t // 4, SHORTEST_BLOCK), LONGEST_BLOCK) if causal else t
    block = jax.checkpoint(attend) if t > KEEP_WEIGHTS else attend
    means = []
    for start in range(0, t, length):
        end = min(start + length, t)
        seen = end if causal else k.shape[2]
        means.append(block(q[:, :, start:end], (k[:, :, :seen], v[:, :, :seen], mask[:, start:end, :seen])))
    return jnp.concatenate(means, axis=2) if len(means) > 1 else means[0]


def _library(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array, causal: bool, which: Any) -> jax.Array:
    """`attention` by a kernel of JAX's: it wants time before the heads."""
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    mask = mask[:, None]  # the same for all heads
    y = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=causal, implementation=which)
    return y.swapaxes(1, 2)


SHORTEST_BLOCK, LONGEST_BLOCK = 64, 512
KEEP_WEIGHTS = 1024  # of longer rows the weights are computed again in the backward pass: memory grows with t, not t²


def attend(q: jax.Array, *parts: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    """`attention` of one block of queries, whose keys, values and masks come in one or more parts."""
    b, n, t, width = q.shape
    m = parts[0][0].shape[1]
    g = n // m
    dtype = jnp.promote_types(q.dtype, jnp.float32)
    q = (q * width**-0.5).reshape(b, m, g * t, width)

    def score(k: jax.Array, mask: jax.Array) -> jax.Array:
        hidden = jnp.where(mask, 0, jnp.finfo(dtype).min)  # added to the scores: exp() of it is exactly 0
        scores = jnp.einsum('bmtk,bmsk->bmts', q, k, preferred_element_type=dtype)
        return scores + jnp.tile(hidden[:, None], (1, 1, g, 1))

    scores = [score(k, mask) for k, _, mask in parts]
    largest = functools.reduce(jnp.maximum, [part.max(-1, keepdims=True) for part in scores])
    weights = [jnp.exp(part - jax.lax.stop_gradient(largest)) for part in scores]
    mean = functools.reduce(
        jnp.add,
        [
            jnp.einsum('bmts,bmsk->bmtk', weight.astype(v.dtype), v, preferred_element_type=dtype)
            for weight, (_, v, _) in zip(weights, parts, strict=True)
        ],
    )
    # To divide the means, [t k], and not the weights, [t s], saves a sixth of the time on a CPU.
    mean /= functools.reduce(jnp.add, [weight.sum(-1, keepdims=True) for weight in weights])
    return mean.astype(q.dtype).reshape(b, n, t, width)


def mimetic(noise: float) -> Initializer:
    """Returns an initializer of the matrices of queries and of keys [d n·k] that lets every token look at its like.

    Both are 0.8 times the identity, and some noise, with standard deviation `noise`: so what a token looks for is what
    it is (Trockman & Kolter 2023). Where positions are waves (`position.sinusoidal`), its like are its neighbours, in
    the first heads more than in the last.
    """

    def init(key: jax.Array, shape: tuple[int, int], dtype: Dtype = jnp.float32) -> jax.Array:
        return 0.8 * jnp.eye(*shape, dtype=dtype) + noise * jax.random.normal(key, shape, dtype)

    return init


class Attention(nn.Module):
    """Self-attention with its four projections.

    `kv_heads` below `heads` is grouped-query attention. `rotary` turns queries and keys by position. `head_width` 0 is
    d / heads. `causal` says that masks let nobody look ahead, which saves nearly half of the work. `implementation` is
    that of `attention`; with a cache it is ours. `look_init` is that of queries and keys, where theirs is another.
    """

    heads: int
    kv_heads: int
    rotary: Rotary | None = None
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    out_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32
    causal: bool = False
    implementation: str = 'auto'
    head_width: int = 0
    look_init: Initializer | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: Mask,
        cache: KeysValues | None = None,
        index: jax.Array | int = 0,
    ) -> tuple[jax.Array, KeysValues]:
        """x [b t d], positions [b t], mask [b t s] -> [b t d], and the keys and values [b m s k] that were looked at.

        Without a cache these are x's own, and s = t. With one, x's are written into it at `index`, and s is its length;
        of its other slots only those before `index` are looked at. Where mesh axis context splits rows, a Sight is the
        mask.

        Raises:
          UserError: what is asked for cannot be had of rows that are split.
        """
        b, t, d = x.shape
        linear = partial(Linear, dtype=self.dtype, param_dtype=self.param_dtype)

        def project(name: str, heads: int, axis: str, init: Initializer) -> jax.Array:
            features = heads * (self.head_width or d // self.heads)  # the heads side by side: one 2-D matrix product
            y = linear(features, ('embed', axis), axis if self.bias else '', init, name=name)(x)
            return constrain(y.reshape(b, t, heads, -1).swapaxes(1, 2), 'batch', 'heads', 'length', None)

        look_init = self.look_init or self.kernel_init
        q = project('query', self.heads, 'heads', look_init)
        k = project('key', self.kv_heads, 'kv_heads', look_init)
        v = project('value', self.kv_heads, 'kv_heads', self.kernel_init)
        if self.rotary:
            q, k = rotate(q, positions, self.rotary), rotate(k, positions, self.rotary)
        q, k, v = (checkpoint_name(x, name) for x, name in zip((q, k, v), QUERY_KEY_VALUE))
        if isinstance(mask, Sight):
            self._check_ring()
        elif self.is_mutable_collection(WEIGHTS) and not self.is_initializing():
            keys, values = (jnp.repeat(x, self.heads // self.kv_heads, axis=1) for x in (k, v))
            self.sow(WEIGHTS, 'weights', scaled_dot_product(q, keys, values, mask[:, None])[1])
        if isinstance(mask, Sight):
            y = ring_attention(q, k, v, mask, self.causal)
        elif cache is None:
            y = attention(q, k, v, mask, self.causal, self.implementation)
        else:
            # The cache is read as it was, and x's own keys beside it. Read after the writing, it would be copied whole
            # for every token, since it must not change under its reader. That the writing waits until y is there must
            # be seen from the numbers: XLA forgets a barrier before it decides what to copy.
            own = jax.lax.dynamic_slice_in_dim(mask, index, t, axis=2)
            before = mask & (jnp.arange(mask.shape[2]) < index)
            y = attend(q, (*cache, before), (k, v, own))
            nothing = 0 * y[:, :1, :1, :1]  # of each row's own: rows do not touch each other
            k = jax.lax.dynamic_update_slice_in_dim(cache[0], k + nothing, index, axis=2)
            v = jax.lax.dynamic_update_slice_in_dim(cache[1], v + nothing, index, axis=2)
        y = y.swapaxes(1, 2).reshape(b, t, -1)
        y = linear(d, ('heads', 'embed'), 'norm' if self.bias else '', self.out_init, name='out')(y)
        return y, (k, v)

    def _check_ring(self) -> None:
        if self.implementation not in ('auto', 'blocks'):
            raise UserError(
                'attention={name}: rows that mesh axis "context" splits go around a ring of devices, in blocks of our'
                ' own; auto takes what there is.',
                name=self.implementation,
            )
        if self.is_mutable_collection(WEIGHTS) and not self.is_initializing():
            raise UserError('where heads look is told of whole rows, and config.mesh.context splits them: set it to 1.')
