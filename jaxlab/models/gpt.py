"""A decoder that predicts the next token: GPT-2 (Radford et al. 2019) or Llama (Touvron et al. 2023) by its arguments.

In a notebook:

    model = make({'vocabulary': 2048, 'length': 256}, layers=4, width=192)
    params = model.init(jax.random.key(0), tokens)['params']
    logits = model.apply({'params': params}, tokens)
"""

# b batch, t time, v vocabulary, d width; in the cache: l layers, m key/value heads, s slots, k head width

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.errors import UserError
from jaxlab.models.arguments import above_zero, between, one_of, row, shares, words
from jaxlab.nn.attention import IMPLEMENTATIONS, Attention, causal_mask, refuses
from jaxlab.nn.dropout import Dropout
from jaxlab.nn.experts import Experts
from jaxlab.nn.linear import Embedding
from jaxlab.nn.mlp import MLP
from jaxlab.nn.norm import LayerNorm, RMSNorm
from jaxlab.nn.position import SCALINGS, Rotary
from jaxlab.nn.ring_attention import Sight, ring_order, row_order, sight
from jaxlab.nn.ring_order import in_ring_order
from jaxlab.nn.transformer import POLICIES, Block, Stack
from jaxlab.parallel.layout import constrain

MOST_LAYERS = 10_000  # each is traced by itself, where they are not scanned


class Cache(NamedTuple):
    """The keys and values of all tokens so far, so that the next costs one token's work. Its shape never changes."""

    filled: jax.Array  # int32 []: how many slots are in use
    segments: jax.Array  # int32 [b s]: the document in each slot; 0 is padding
    layers: Any  # for each layer its keys and values, both [b m s k]; where scanned one stacked pair, [l b m s k]


class GPT(nn.Module):
    """Tokens -> logits of the next token. `make`, below, explains the fields, checks them, and fills in the zeros."""

    takes = ('tokens', 'positions', 'segments')

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    context: int
    vocabulary: int
    vocabulary_multiple: int
    positions: str
    norm: str
    norm_epsilon: float
    activation: str
    experts: int
    experts_per_token: int
    capacity_factor: float
    bias: bool
    attention_bias: bool
    tied: bool
    dropout: float
    rotary: Rotary
    attention: str
    init_scale: float
    scan: bool
    remat: str
    micro_batches: int
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        init = nn.initializers.normal(self.init_scale)
        # 2 · layers branches add to the residual stream; made that much smaller, their sum is as large as one (GPT-2).
        out_init = nn.initializers.normal(self.init_scale / (2 * self.layers) ** 0.5)

        norm: Callable[..., nn.Module] = partial(RMSNorm, self.norm_epsilon, **dtypes)
        if self.norm == 'layer':
            norm = partial(LayerNorm, self.norm_epsilon, self.bias, **dtypes)
        rotary = self.rotary if self.positions == 'rotary' else None
        heads = partial(Attention, self.heads, self.kv_heads, rotary, self.attention_bias, init, out_init, **dtypes)
        attention = partial(heads, causal=True, implementation=self.attention, head_width=self.head_width)
        mlp: Callable[..., nn.Module] = partial(
            MLP, self.mlp_width, self.activation, self.bias, init, out_init, **dtypes
        )
        if self.experts:
            mlp = partial(Experts, self.experts, self.experts_per_token, mlp, self.capacity_factor, init, **dtypes)

        rows = -(-self.vocabulary // self.vocabulary_multiple) * self.vocabulary_multiple
        self.token_embedding = Embedding(rows, self.width, ('vocab', 'table'), init, **dtypes)
        if self.positions == 'learned':
            self.position_embedding = Embedding(self.context, self.width, ('positions', 'table'), init, **dtypes)
        self.embedding_dropout = Dropout(self.dropout)
        block = partial(Block, norm, attention, mlp, self.dropout)
        self.stack = Stack(block, self.layers, self.scan, self.remat, micro_batches=self.micro_batches)
        self.final_norm = norm()
        if not self.tied:
            self.head = Embedding(rows, self.width, ('vocab', 'table'), init, **dtypes)

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Logits of the token after each token: float32 [b t v].

        Args:
          tokens: int [b t].
          positions: int [b t], each token's place in its document; by default 0, 1, 2, … along the row.
          segments: int [b t], each token's document in its row, from 1; 0 is padding. Tokens see their own document.
            By default a row is one document.
          train: whether dropout is on; it then wants a key, `rngs={'dropout': key}`.

        Raises:
          UserError: the row is longer than the table of learned positions.
        """
        return self._logits(self._features(tokens, positions, segments, train))

    def features(
        self, tokens: jax.Array, positions: jax.Array, segments: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """What `__call__` makes logits of: features [b t d] and the output table [v d], whose products they are.

        The table is the parameter itself, in its own dtype. Its rows from `vocabulary` on only pad it.
        """
        x = self._features(tokens, positions, segments, train)
        return x.astype(self.dtype), self._output.table

    def decode(
        self, tokens: jax.Array, positions: jax.Array, segments: jax.Array, cache: Cache
    ) -> tuple[jax.Array, Cache]:
        """`__call__` for tokens that follow those in the cache: logits [b t v], and the cache with the new ones in it.

        Rows share their slots: of prompts of unequal length, the shorter begin with padding (segment 0).
        There must be t free slots in the cache: nothing under `jit` can say that there are not.
        """
        seen = jax.lax.dynamic_update_slice_in_dim(cache.segments, segments, cache.filled, axis=1)
        mask = causal_mask(segments, seen, start=cache.filled)
        x = self._embed(tokens, positions, train=False)
        x, layers = self.stack(x, positions, mask, cache.layers, cache.filled)
        return self._logits(self.final_norm(x)), Cache(cache.filled + tokens.shape[1], seen, layers)

    def start_cache(self, batch: int, length: int) -> Cache:
        """An empty cache of `length` slots for `batch` rows. Needs no parameters."""

        def empty(*stacked: int) -> tuple[jax.Array, jax.Array]:
            shape = (*stacked, batch, self.kv_heads, length, self.head_width)
            return jnp.zeros(shape, self.dtype), jnp.zeros(shape, self.dtype)

        layers = empty(self.layers) if self.scan else tuple(empty() for _ in range(self.layers))
        return Cache(jnp.zeros((), jnp.int32), jnp.zeros((batch, length), jnp.int32), layers)

    @property
    def logits_dtype(self) -> Any:
        return jnp.promote_types(self.dtype, jnp.float32)

    @property
    def _output(self) -> Embedding:
        return self.token_embedding if self.tied else self.head

    def _features(
        self, tokens: jax.Array, positions: jax.Array | None, segments: jax.Array | None, train: bool
    ) -> jax.Array:
        t = tokens.shape[1]
        if positions is None:
            if self.positions == 'learned' and t > self.context:
                raise UserError(
                    '{count} tokens in a row, and positions for context={context}: shorten the row.',
                    count=t,
                    context=self.context,
                )
            positions = jnp.arange(t)[None]
        if segments is None:
            segments = jnp.ones((1, t), jnp.int32)
        tokens, positions, segments, places = ring_order(tokens, positions, segments, jnp.arange(t)[None])
        mask = sight(segments, places) or causal_mask(segments, segments)
        with in_ring_order(isinstance(mask, Sight)):
            x = self._embed(tokens, positions, train)
            # Or the compiler would split what rotary makes of them as it does x, and gather that for every layer.
            positions = constrain(positions, 'batch' if len(positions) > 1 else None, 'length')
            x, _ = self.stack(x, positions, mask, train=train)
        return row_order(constrain(self.final_norm(x), 'batch', 'length', 'embed'))

    def _embed(self, tokens: jax.Array, positions: jax.Array, train: bool) -> jax.Array:
        x = self.token_embedding(tokens)
        if self.positions == 'learned':
            x += self.position_embedding(positions)
        return constrain(self.embedding_dropout(x, train), 'batch', 'residual_length', 'embed')

    def _logits(self, x: jax.Array) -> jax.Array:
        logits = self._output.attend(x, self.logits_dtype)
        rows = logits.shape[-1]
        if rows > self.vocabulary:  # rows that only pad the table to a round size are never predicted
            logits = jnp.where(jnp.arange(rows) < self.vocabulary, logits, -1e9)
        return constrain(logits, 'batch', 'length', 'vocab')


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    layers: int = 6,  # how many blocks
    width: int = 256,  # of the residual stream
    heads: int = 4,  # of attention
    kv_heads: int = 0,  # heads of keys and values, each shared by heads / kv_heads queries; 0: as many as heads
    head_width: int = 0,  # of each head; 0: width / heads, which must then be a whole number
    mlp_width: int = 0,  # hidden width of an MLP; 0: 4 · width, for swiglu 8/3 · width, up to a multiple of 64
    context: int = 0,  # the longest text the model looks back on, in tokens; 0: the length of a training row
    vocabulary: int = 0,  # how many tokens there are; 0: as many as the data have
    vocabulary_multiple: int = 1,  # pad the token table to a multiple of this: meshes and matrix units like it round
    positions: str = 'learned',  # 'learned' (a table, GPT-2) or 'rotary' (Llama)
    norm: str = 'layer',  # 'layer' (GPT-2) or 'rms' (Llama)
    norm_epsilon: float = 1e-5,  # keeps the norm of a zero vector finite
    activation: str = 'gelu',  # 'gelu' (GPT-2), 'gelu_exact' or 'swiglu' (Llama)
    experts: int = 0,  # MLPs in each block, of which every token goes through some (Mixtral: 8); 0: one MLP for all
    experts_per_token: int = 2,  # how many
    capacity_factor: float = 2.0,  # places for training tokens, over those an even spread would take; 0: for any spread
    bias: bool = True,  # whether linear layers and layer norms have one (GPT-2: yes, Llama: no)
    attention_bias: bool = False,  # whether those of attention have one even where bias=False
    tied: bool = True,  # whether the token table is the output layer too (GPT-2: yes, Llama: no)
    dropout: float = 0.0,  # the part of what each half of a block adds that is dropped in training
    rotary_base: float = 10000.0,  # longest rotary wavelength over 2π (Llama 2: 10000, Llama 3: 500000)
    rotary_scaling: str = 'none',  # to longer texts than were learned: 'linear', 'llama3' (3.1 and later), 'yarn'
    rotary_factor: float = 1.0,  # how many times longer
    rotary_context: int = 0,  # llama3, yarn: the longest text before, in tokens (Llama 3.1: 8192); 0: `context`
    rotary_slow: float = 1.0,  # llama3, yarn: pairs that turn less often in that context are slowed by the factor
    rotary_fast: float = 4.0,  # llama3, yarn: pairs that turn more often are left as they are (yarn: 32)
    rotary_attention: float = 0.0,  # yarn: queries and keys are longer by this; 0: 0.1 ln(factor) + 1
    attention: str = 'auto',  # 'blocks' (XLA's), 'cudnn' (NVIDIA's kernel), 'splash' (TPUs), or the fastest here
    init_scale: float = 0.02,  # standard deviation of the initial weights (GPT-2)
    scan: bool = False,  # compile one block and loop over it: deep models compile much faster, small ones run slower
    remat: str = 'none',  # 'none', 'dots', 'attention', 'full' or 'offload': what is computed again, to save memory
    micro_batches: int = 0,  # on a mesh with stages: parts of the batch that follow one another; 0: up to 4 for each
) -> GPT:
    """Returns the model. The defaults are a small GPT-2.

    Args:
      info: what the data say of themselves: 'vocabulary', and 'length' in tokens; unused where both are given below.
      dtype: of activations; norms, softmax and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, or two do not go together.
    """
    context = row(context, info)
    vocabulary = words(vocabulary, info)
    kv_heads = kv_heads or heads
    one_of('positions', positions, ('learned', 'rotary'))
    one_of('norm', norm, ('layer', 'rms'))
    one_of('activation', activation, ('gelu', 'gelu_exact', 'swiglu'))
    one_of('attention', attention, ('auto', *IMPLEMENTATIONS))
    one_of('remat', remat, ('none', *POLICIES))
    one_of('rotary_scaling', rotary_scaling, SCALINGS)
    between(1, MOST_LAYERS, layers=layers)
    mlp_width = mlp_width or (-(-8 * width // (3 * 64)) * 64 if activation == 'swiglu' else 4 * width)
    sizes = dict(width=width, heads=heads, kv_heads=kv_heads, mlp_width=mlp_width, context=context)
    between(1, 1 << 24, **sizes, vocabulary=vocabulary, vocabulary_multiple=vocabulary_multiple)
    between(0, 1 << 24, head_width=head_width, rotary_context=rotary_context)
    between(0, 1 << 24, micro_batches=micro_batches, experts=experts)
    above_zero(norm_epsilon=norm_epsilon, rotary_base=rotary_base, init_scale=init_scale)
    above_zero(rotary_factor=rotary_factor, rotary_slow=rotary_slow)
    shares(dropout=dropout)
    if not 0 <= rotary_attention < math.inf:
        raise UserError('{name}={value}: 0 or more is wanted.', name='rotary_attention', value=rotary_attention)
    if not rotary_slow < rotary_fast < math.inf:
        raise UserError(
            'rotary_fast={fast}: more than rotary_slow={slow} is wanted.', fast=rotary_fast, slow=rotary_slow
        )
    if rotary_scaling == 'yarn' and rotary_base <= 1:
        raise UserError('{name}={value}: more than 1 is wanted.', name='rotary_base', value=rotary_base)
    if not head_width and width % heads:
        raise UserError(
            'heads={heads} do not divide width={width}; {near} would.',
            heads=heads,
            width=width,
            near=_near(heads, width),
        )
    head_width = head_width or width // heads
    if heads % kv_heads:
        raise UserError(
            'kv_heads={kv_heads} do not divide heads={heads}; {near} would.',
            kv_heads=kv_heads,
            heads=heads,
            near=_near(kv_heads, heads),
        )
    if positions == 'rotary' and head_width % 2:
        raise UserError(
            'positions=rotary turn pairs, and width / heads = {size} is odd; change one of them.', size=head_width
        )
    if experts:
        between(1, experts, experts_per_token=experts_per_token)
    if not 0 <= capacity_factor < math.inf:
        raise UserError('{name}={value}: 0 or more is wanted.', name='capacity_factor', value=capacity_factor)
    if why := refuses(attention, dtype, head_width, causal=True):
        raise UserError('attention={name}: {why}; auto takes what there is.', name=attention, why=why)
    rotary = Rotary(rotary_base)
    if rotary_scaling != 'none':
        rotary = Rotary(rotary_base, rotary_scaling, rotary_factor)
    if rotary_scaling in ('llama3', 'yarn'):
        rotary = replace(rotary, context=rotary_context or context, slow=rotary_slow, fast=rotary_fast)
    if rotary_scaling == 'yarn':
        rotary = replace(rotary, attention=rotary_attention)
    return GPT(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        mlp_width=mlp_width,
        context=context,
        vocabulary=vocabulary,
        vocabulary_multiple=vocabulary_multiple,
        positions=positions,
        norm=norm,
        norm_epsilon=norm_epsilon,
        activation=activation,
        experts=experts,
        experts_per_token=experts_per_token,
        capacity_factor=capacity_factor,
        bias=bias,
        attention_bias=bias or attention_bias,
        tied=tied,
        dropout=dropout,
        rotary=rotary,
        attention=attention,
        init_scale=init_scale,
        scan=scan,
        remat=remat,
        micro_batches=micro_batches,
        dtype=dtype,
        param_dtype=param_dtype,
    )


def _near(value: int, total: int) -> int:
    """The divisor of `total` that is nearest to `value`."""
    small = [d for d in range(1, math.isqrt(total) + 1) if total % d == 0]
    return min(small + [total // d for d in small], key=lambda d: abs(d - value))
