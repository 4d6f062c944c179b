"""An encoder that reads a text in both directions: BERT (Devlin et al. 2018); RoBERTa (Liu et al. 2019) and DistilBERT
(Sanh et al. 2019) by its arguments.

In a notebook:

    model = make({'vocabulary': 8192, 'length': 128}, layers=4, width=256, heads=4)
    params = model.init(jax.random.key(0), tokens, types, lengths)['params']
    logits = model.apply({'params': params}, tokens, types, lengths)

Its last layer, under 'head', is one of four: 'masked' (what it learns language with), 'classes' (of a text, or of two),
'tokens' (a tag for each), 'span' (where an answer begins and ends). All else is the same for all of them.

Published sizes: base (12 layers, width 768, 12 heads) and large (24, 1024, 16). RoBERTa: types=1, position_offset=2,
next_sentence=False, pooler=False, norm_epsilon=1e-5. DistilBERT: layers=6, types=0, next_sentence=False, pooler=False,
head_activation='relu'.
"""

# b batch, t time, d width, v vocabulary, m masked tokens of a row, c classes

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.errors import UserError
from jaxlab.models.arguments import above_zero, between, one_of, outputs, row, shares, words
from jaxlab.models.vit import nearest_divisor
from jaxlab.nn.attention import IMPLEMENTATIONS, Attention, mimetic, refuses
from jaxlab.nn.linear import Embedding, Linear
from jaxlab.nn.mlp import MLP
from jaxlab.nn.norm import LayerNorm
from jaxlab.nn.parameter import parameter
from jaxlab.nn.position import sinusoidal
from jaxlab.nn.ring_attention import sight
from jaxlab.nn.transformer import POLICIES, Block, Stack
from jaxlab.parallel.layout import constrain

HEADS = ('masked', 'classes', 'tokens', 'span')


class Embeddings(nn.Module):
    """Tokens, their places and their types -> [b t d]: three tables, whose sum is normalised."""

    vocabulary: int
    context: int
    kinds: int
    position_offset: int
    width: int
    epsilon: float
    dropout: float
    kernel_init: Initializer
    position_init: Initializer
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        table = partial(Embedding, features=self.width, table_init=self.kernel_init, dtype=self.dtype)
        table = partial(table, param_dtype=self.param_dtype)
        self.tokens = table(self.vocabulary, axes=('vocab', 'table'))
        rows = self.context + self.position_offset
        self.positions = table(rows, axes=('positions', 'table'), table_init=self.position_init)
        if self.kinds:
            self.types = table(self.kinds, axes=('positions', 'table'))
        self.norm = LayerNorm(self.epsilon, dtype=self.dtype, param_dtype=self.param_dtype)
        self.dropping = nn.Dropout(self.dropout)

    def __call__(self, tokens: jax.Array, types: jax.Array, train: bool) -> jax.Array:
        x = self.tokens(tokens)
        # A few rows are chosen, not looked up: so the gradient of so small a table is a sum, and no race for two rows.
        types = jnp.minimum(types, self.kinds - 1)
        for i in range(self.kinds):
            x += jnp.where((types == i)[..., None], self.types.table[i].astype(x.dtype), 0)
        begin, end = self.position_offset, self.position_offset + tokens.shape[1]
        x += self.positions.table[None, begin:end].astype(x.dtype)
        return self.dropping(self.norm(x), deterministic=not train)


class MaskedHead(nn.Module):
    """Which token stands in a place, [b m d] -> [b m v]; and, of two texts, whether the second one followed the first,
    [b d] -> [b 2]."""

    activation: str
    epsilon: float
    kernel_init: Initializer
    next_sentence: bool
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, tokens: Embedding, pooled: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        x = Linear(x.shape[-1], ('embed', 'mlp'), 'mlp', self.kernel_init, name='transform', **dtypes)(x)
        x = constrain(nn.gelu(x, approximate=self.activation == 'gelu'), 'batch', 'length', 'mlp')
        x = constrain(LayerNorm(self.epsilon, name='norm', **dtypes)(x), 'batch', 'length', 'embed')
        logits = tokens.attend(x, jnp.promote_types(self.dtype, jnp.float32))
        bias = parameter(self, 'bias', nn.initializers.zeros, ('vocab',), logits.shape[-1:], self.param_dtype)
        logits = constrain(logits + bias.astype(logits.dtype), 'batch', 'length', 'vocab')
        if pooled is None:
            return logits, None
        following = Linear(
            2, ('mlp', 'classes'), 'classes', self.kernel_init, logits.dtype, self.param_dtype, name='next'
        )
        return logits, following(pooled)


class DenseHead(nn.Module):
    """[b d] -> [b c] through a layer of its own: what RoBERTa and DistilBERT have where BERT has a pooler."""

    classes: int
    activation: str
    dropout: float
    kernel_init: Initializer
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = Linear(x.shape[-1], ('embed', 'mlp'), 'mlp', self.kernel_init, self.dtype, self.param_dtype, name='dense')(
            x
        )
        x = constrain(nn.relu(x) if self.activation == 'relu' else nn.tanh(x), 'batch', 'mlp')
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        dtype = jnp.promote_types(self.dtype, jnp.float32)
        return Linear(
            self.classes, ('mlp', 'classes'), 'classes', self.kernel_init, dtype, self.param_dtype, name='out'
        )(x)


class BERT(nn.Module):
    """Texts -> logits. `make`, below, explains the fields, checks them, and fills in the zeros.

    Dropout falls on the sum of the embeddings, on what each half of a block adds, and on what a head sees; not on the
    attention weights, as in the paper: fused attention kernels have no place for it.
    """

    takes = ('tokens', 'types', 'lengths')

    purpose: str
    classes: int
    layers: int
    width: int
    heads: int
    mlp_width: int
    context: int
    vocabulary: int
    vocabulary_multiple: int
    types: int
    position_offset: int
    with_pooler: bool
    next_sentence: bool
    activation: str
    head_activation: str
    norm_epsilon: float
    dropout: float
    attention: str
    init_scale: float
    mimetic: bool
    scan: bool
    remat: str
    micro_batches: int
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        init = nn.initializers.normal(self.init_scale)
        epsilon = self.norm_epsilon
        rows = -(-self.vocabulary // self.vocabulary_multiple) * self.vocabulary_multiple
        tables = rows, self.context, self.types, self.position_offset, self.width
        position_init, look_init = init, init
        if self.mimetic:
            position_init, look_init = sinusoidal(self.init_scale), mimetic(self.init_scale / 2)
        self.embeddings = Embeddings(*tables, epsilon, self.dropout, init, position_init, **dtypes)

        norm = partial(LayerNorm, epsilon, **dtypes)
        heads = partial(
            Attention, self.heads, self.heads, kernel_init=init, out_init=init, look_init=look_init, **dtypes
        )
        attention = partial(heads, implementation=self.attention)
        mlp = partial(MLP, self.mlp_width, self.activation, kernel_init=init, out_init=init, **dtypes)
        block = partial(Block, norm, attention, mlp, self.dropout, norm_first=False)
        self.stack = Stack(block, self.layers, self.scan, self.remat, micro_batches=self.micro_batches)

        if self.pools:
            self.pooler = Linear(self.width, ('embed', 'mlp'), 'mlp', init, **dtypes)
        self.dropping = nn.Dropout(self.dropout)
        self.head: Any
        if self.purpose == 'masked':
            self.head = MaskedHead(self.activation, epsilon, init, self.next_sentence, **dtypes)
        elif self.purpose == 'classes' and not self.with_pooler:
            self.head = DenseHead(self.classes, self.head_activation, self.dropout, init, **dtypes)
        else:
            axis = 'mlp' if self.purpose == 'classes' else 'embed'
            logits_dtype = jnp.promote_types(self.dtype, jnp.float32)
            self.head = Linear(self.classes, (axis, 'classes'), 'classes', init, logits_dtype, self.param_dtype)

    @property
    def pools(self) -> bool:
        """Whether there is a pooler: only where the head sees what it makes."""
        return self.with_pooler and (self.purpose == 'classes' or (self.purpose == 'masked' and self.next_sentence))

    def __call__(
        self,
        tokens: jax.Array,
        types: jax.Array | None = None,
        lengths: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Logits, in at least float32: [b t v] of each token where the head is 'masked', [b c] of 'classes', [b t c] of
        'tokens', and [b t 2] of 'span': of its begin, and of its last token.

        Args:
          tokens: int [b t]; what is behind a row's length pads it.
          types: int [b t], 0 in the first text and 1 in the second; by default 0.
          lengths: int [b], how many tokens of each row are real; by default all.
          train: whether dropout is on; it then wants a key, `rngs={'dropout': key}`.

        Raises:
          UserError: the row is longer than the table of positions.
        """
        if self.purpose == 'masked':
            return self.masked(tokens, types, lengths, train=train)[0]
        x = self.features(tokens, types, lengths, train=train)
        if self.purpose == 'classes' and not self.with_pooler:
            return self.head(self.dropping(x, deterministic=not train), train)
        return self.head(self.dropping(x, deterministic=not train))

    def masked(
        self,
        tokens: jax.Array,
        types: jax.Array | None = None,
        lengths: jax.Array | None = None,
        places: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Logits [b m v] of the tokens at `places`, int [b m], and those that the second text is not the next one,
        [b 2]: index 0 says that it follows, 1 that it does not; None where `next_sentence` is off.

        By default the places are all: [b t v]. Logits are a row's largest array: in training only few are wanted.
        """
        x = self.hidden(tokens, types, lengths, train=train)
        pooled = self._pooled(x) if self.pools else None
        if places is not None:
            x = jnp.take_along_axis(x, places[..., None], axis=1)
        logits, following = self.head(x, self.embeddings.tokens, pooled)
        if logits.shape[-1] > self.vocabulary:  # rows that only pad the table to a round size are never predicted
            logits = jnp.where(jnp.arange(logits.shape[-1]) < self.vocabulary, logits, -1e9)
        return logits, following

    def features(
        self,
        tokens: jax.Array,
        types: jax.Array | None = None,
        lengths: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """What the head sees: [b d] of 'classes', and else [b t d]."""
        x = self.hidden(tokens, types, lengths, train=train)
        if self.purpose != 'classes':
            return x
        return self._pooled(x) if self.pools else x[:, 0]

    def hidden(
        self,
        tokens: jax.Array,
        types: jax.Array | None = None,
        lengths: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """What the last block gives: [b t d]."""
        t = tokens.shape[1]
        if t > self.context:
            raise UserError(
                '{count} tokens in a row, and positions for context={context}: shorten the row.',
                count=t,
                context=self.context,
            )
        types = jnp.zeros((1, t), jnp.int32) if types is None else types
        real = jnp.ones((1, t), bool) if lengths is None else jnp.arange(t) < lengths[:, None]
        x = constrain(self.embeddings(tokens, types, train), 'batch', 'residual_length', 'embed')
        mask = sight(real.astype(jnp.int32)) or jnp.broadcast_to(real[:, None], (len(real), t, t))
        x, _ = self.stack(x, jnp.arange(t)[None], mask, train=train)
        return constrain(x, 'batch', 'length', 'embed')

    def _pooled(self, x: jax.Array) -> jax.Array:
        return constrain(nn.tanh(self.pooler(x[:, 0])), 'batch', 'mlp')


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    head: str = 'masked',  # 'masked' (to learn language), 'classes', 'tokens' (tags) or 'span' (an answer)
    classes: int = 0,  # how many there are; 0: as many as the data have
    layers: int = 12,  # how many blocks
    width: int = 768,  # of the residual stream
    heads: int = 12,  # of attention; they divide the width
    mlp_width: int = 0,  # hidden width of the MLP; 0: 4 · width
    context: int = 0,  # the longest text, in tokens; 0: the length of a row of the data
    vocabulary: int = 0,  # how many tokens there are; 0: as many as the data have
    vocabulary_multiple: int = 1,  # pad the token table to a multiple of this: meshes and matrix units like it round
    types: int = 2,  # rows of the table of types: 2 (BERT), 1 (RoBERTa: the same for both texts) or 0 (DistilBERT)
    position_offset: int = 0,  # rows of the table of positions before the first (RoBERTa: 2)
    pooler: bool = True,  # whether classes come through a layer that pre-training learns too (BERT), or one of the head
    next_sentence: bool = True,  # whether the head 'masked' also says if the second text follows the first (BERT)
    activation: str = 'gelu_exact',  # 'gelu_exact' (the paper's) or 'gelu' (in its tanh form, a little faster)
    head_activation: str = 'tanh',  # in the head's own layer, without a pooler: 'tanh' (RoBERTa) or 'relu' (DistilBERT)
    norm_epsilon: float = 1e-12,  # keeps the norm of a zero vector finite (RoBERTa: 1e-5)
    dropout: float = 0.1,  # the part of what each half of a block adds that is dropped in training
    attention: str = 'auto',  # 'blocks' (XLA's), 'cudnn' (NVIDIA's kernel, for bfloat16), or which of them is fastest
    init_scale: float = 0.02,  # standard deviation of the initial weights
    init: str = 'normal',  # 'normal' (BERT), or 'mimetic': tokens look at neighbours and likes at first; learns sooner
    scan: bool = False,  # compile one block and loop over it: deep models compile much faster, small ones run slower
    remat: str = 'none',  # 'none', 'dots', 'attention', 'full' or 'offload': what is computed again, to save memory
    micro_batches: int = 0,  # on a mesh with stages: parts of the batch that follow one another; 0: up to 4 for each
) -> BERT:
    """Returns the model. The defaults are BERT-base.

    Args:
      info: what the data say of themselves: 'vocabulary', 'length' in tokens, and 'classes' where there are such.
      dtype: of activations; norms, softmax and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, two do not go together, or the data are no texts.
    """
    one_of('head', head, HEADS)
    mlp_width = mlp_width or 4 * width
    context = row(context, info)
    vocabulary = words(vocabulary, info)
    between(1, 10_000, layers=layers)
    between(1, 1 << 24, width=width, heads=heads, mlp_width=mlp_width, context=context, vocabulary=vocabulary)
    between(1, 1 << 24, vocabulary_multiple=vocabulary_multiple)
    between(0, 16, types=types, position_offset=position_offset)
    between(0, 1 << 24, micro_batches=micro_batches)
    one_of('activation', activation, ('gelu_exact', 'gelu'))
    one_of('head_activation', head_activation, ('tanh', 'relu'))
    one_of('attention', attention, ('auto', *IMPLEMENTATIONS))
    one_of('init', init, ('normal', 'mimetic'))
    one_of('remat', remat, ('none', *POLICIES))
    above_zero(norm_epsilon=norm_epsilon, init_scale=init_scale)
    shares(dropout=dropout)
    if width % heads:
        raise UserError(
            'heads={heads} do not divide width={width}; {near} would.',
            heads=heads,
            width=width,
            near=nearest_divisor(heads, width),
        )
    if head == 'masked' and next_sentence and not pooler:
        raise UserError(
            'next_sentence=True is told from what the pooler makes: set pooler=True, or next_sentence=False.'
        )
    if why := refuses(attention, dtype, width // heads):
        raise UserError('attention={name}: {why}; auto takes what there is.', name=attention, why=why)
    return BERT(
        purpose=head,
        classes={'masked': 0, 'span': 2}[head] if head in ('masked', 'span') else outputs(classes, info),
        layers=layers,
        width=width,
        heads=heads,
        mlp_width=mlp_width,
        context=context,
        vocabulary=vocabulary,
        vocabulary_multiple=vocabulary_multiple,
        types=types,
        position_offset=position_offset,
        with_pooler=pooler,
        next_sentence=head == 'masked' and next_sentence,
        activation=activation,
        head_activation=head_activation,
        norm_epsilon=norm_epsilon,
        dropout=dropout,
        attention=attention,
        init_scale=init_scale,
        mimetic=init == 'mimetic',
        scan=scan,
        remat=remat,
        micro_batches=micro_batches,
        dtype=dtype,
        param_dtype=param_dtype,
    )
