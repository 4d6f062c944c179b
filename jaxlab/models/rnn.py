"""A recurrent net that reads texts word by word: a classifier where the data have classes, else a language model.

In a notebook:

    model = make({'vocabulary': 2048, 'classes': 2}, cell='lstm', width=128, bidirectional=True)
    params = model.init(jax.random.key(0), tokens, lengths)['params']
    logits = model.apply({'params': params}, tokens, lengths)

    model = make({'vocabulary': 257}, layers=2, width=256)  # of bytes
    logits = model.apply(model.init(jax.random.key(0), tokens), tokens)
"""

# b batch, t time, v vocabulary, c classes
# e width of the embedding, h width of the state, d width of what the head sees

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.errors import UserError
from jaxlab.models.arguments import above_zero, between, one_of, outputs, shares, words
from jaxlab.nn.linear import Embedding, Linear
from jaxlab.nn.recurrent import CELLS, RecurrentStack
from jaxlab.parallel.layout import constrain

POOLS = ('last', 'max', 'mean')
MOST = 1 << 24
CONTEXT = 1 << 20  # tokens of a prompt: all that was read is in the state, so nothing else limits how far it looks back


class Cache(NamedTuple):
    """All that the model knows of the tokens so far. Its shape never changes."""

    filled: jax.Array  # int32 []: how many tokens were read
    states: Any  # those of the layers, [b h] each


class Words(nn.Module):
    """Tokens -> what the layers see of them: int [b t] -> [b t e]."""

    rows: int
    width: int
    dropout: float
    word_dropout: float
    init_scale: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        init = nn.initializers.normal(self.init_scale)
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        self.embedding = Embedding(self.rows, self.width, ('vocab', 'table'), init, **dtypes)
        self.dropouts = nn.Dropout(self.dropout)
        self.word_dropouts = nn.Dropout(self.word_dropout, broadcast_dims=(-1,))

    def __call__(self, tokens: jax.Array, *, train: bool = False) -> jax.Array:
        x = self.word_dropouts(self.embedding(tokens), deterministic=not train)
        return constrain(self.dropouts(x, deterministic=not train), 'batch', 'length', 'embed')

    def attend(self, x: jax.Array, out_dtype: Dtype) -> jax.Array:
        return self.embedding.attend(x, out_dtype)


class Classifier(nn.Module):
    """Texts -> logits of their classes, float32 [b c]. `make`, below, explains the fields."""

    takes = ('tokens', 'lengths')

    words: nn.Module
    stack: RecurrentStack
    pool: str
    dropout: float
    outputs: int
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        self.dropouts = nn.Dropout(self.dropout)
        self.head = Linear(self.outputs, ('embed', 'classes'), 'classes', **dtypes)

    def features(self, tokens: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """What the head sees, [b d]: the states at the ends, or the largest or mean output of all words."""
        lengths = jnp.maximum(lengths, 1)  # a row that only pads the batch
        moves = jnp.arange(tokens.shape[1]) < lengths[:, None]
        y, ends = self.stack(self.words(tokens, train=train), moves, train=train)
        if self.pool == 'last':
            last = ends[-2:] if self.stack.bidirectional else ends[-1:]
            x = jnp.concatenate([states[0] for states in last], axis=-1)
        elif self.pool == 'max':
            x = jnp.where(moves[..., None], y, jnp.finfo(y.dtype).min).max(1)
        else:
            x = y.sum(1) / lengths[:, None]
        return constrain(self.dropouts(x.astype(self.dtype), deterministic=not train), 'batch', 'embed')

    def __call__(self, tokens: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """tokens int [b t], of which the first `lengths`, int [b], are text -> float32 [b c].

        With `train` dropout is on, and wants `rngs={'dropout': key}`.
        """
        logits = self.head(self.features(tokens, lengths, train=train))
        return logits.astype(jnp.promote_types(self.dtype, jnp.float32))


class LanguageModel(nn.Module):
    """Tokens -> logits of the next token, float32 [b t v]. `make`, below, explains the fields."""

    takes = ('tokens', 'positions', 'segments')
    context = CONTEXT

    words: nn.Module
    stack: RecurrentStack
    tied: bool
    dropout: float
    vocabulary: int
    rows: int
    init_scale: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        self.dropouts = nn.Dropout(self.dropout)
        if not self.tied:
            init = nn.initializers.normal(self.init_scale)
            self.head = Embedding(self.rows, self.stack.width, ('vocab', 'table'), init, **dtypes)

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
          positions: int [b t], each token's place in its document: at 0 the state is 0 again, so that documents in one
            row do not know of each other. By default 0, 1, 2, … along the row.
          segments: int [b t], each token's document in its row, from 1; 0 is padding, which changes no state.
            By default a row is one document.
          train: whether dropout is on; it then wants a key, `rngs={'dropout': key}`.
        """
        x, _ = self._read(tokens, positions, segments, None, train)
        return self._logits(x)

    def features(
        self, tokens: jax.Array, positions: jax.Array, segments: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """What `__call__` makes logits of: features [b t d] and the output table [v d], whose products they are.

        The table is the parameter itself, in its own dtype. Its rows from `vocabulary` on only pad it.
        """
        x, _ = self._read(tokens, positions, segments, None, train)
        return x, self._output.table

    def decode(
        self, tokens: jax.Array, positions: jax.Array, segments: jax.Array, cache: Cache
    ) -> tuple[jax.Array, Cache]:
        """`__call__` for tokens that follow those that were read: logits [b t v], and the cache with the new ones.

        Padding, segment 0, may stand before a prompt or behind it.
        """
        x, states = self._read(tokens, positions, segments, cache.states, train=False)
        return self._logits(x), Cache(cache.filled + tokens.shape[1], states)

    def start_cache(self, batch: int, length: int) -> Cache:
        """The cache before any token; how long the text will be does not matter. Needs no parameters."""
        del length
        return Cache(jnp.zeros((), jnp.int32), self.stack.born(batch))

    @property
    def logits_dtype(self) -> Any:
        return jnp.promote_types(self.dtype, jnp.float32)

    @property
    def _output(self) -> Embedding:
        return self.words.embedding if self.tied else self.head

    def _read(
        self,
        tokens: jax.Array,
        positions: jax.Array | None,
        segments: jax.Array | None,
        states: Any,
        train: bool,
    ) -> tuple[jax.Array, Any]:
        moves = jnp.ones(tokens.shape, bool) if segments is None else segments > 0
        resets = jnp.zeros(tokens.shape, bool) if positions is None else positions == 0
        moves, resets = (jnp.broadcast_to(one, tokens.shape) for one in (moves, resets))
        x, states = self.stack(self.words(tokens, train=train), moves, resets, states, train=train)
        return self.dropouts(x, deterministic=not train), states

    def _logits(self, x: jax.Array) -> jax.Array:
        logits = self._output.attend(x, self.logits_dtype)
        if self.rows > self.vocabulary:  # rows that only pad the table to a round size are never predicted
            logits = jnp.where(jnp.arange(self.rows) < self.vocabulary, logits, -1e9)
        return constrain(logits, 'batch', 'length', 'vocab')


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    cell: str = 'lstm',  # 'vanilla' (Elman's), 'gru' or 'lstm'
    layers: int = 1,  # on each other
    width: int = 256,  # of the state, in each direction
    embedding: int = 0,  # width of a token's vector; 0: that of the state
    bidirectional: bool = False,  # whether each layer reads the text backwards as well; for classes alone
    pool: str = 'last',  # what a class is told from: the 'last' states, or the 'max' or 'mean' output of all words
    tied: bool = False,  # whether a language model's token table is its output layer too; embedding=0 goes with it
    dropout: float = 0.0,  # the part of what each layer is given, and of what the head is, that is dropped in training
    word_dropout: float = 0.0,  # the part of the words that are left out in training
    classes: int = 0,  # outputs; 0: as many as the data have
    vocabulary: int = 0,  # how many tokens there are; 0: as many as the data have
    vocabulary_multiple: int = 1,  # pad the token table to a multiple of this: meshes and matrix units like it round
    init_scale: float = 0.1,  # standard deviation of the initial tables
    unroll: int = 1,  # steps of time in one turn of the loop: more compile longer, and are seldom faster
) -> Classifier | LanguageModel:
    """Returns the model: a classifier where the data have classes (or `classes` says so), else a language model.

    Args:
      info: what the data say of themselves: 'vocabulary', and 'classes' where they have such.
      dtype: of activations; states and logits are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range, or two do not go together.
    """
    vocabulary = words(vocabulary, info)
    embedding = embedding or width
    one_of('cell', cell, CELLS)
    one_of('pool', pool, POOLS)
    between(1, 1000, layers=layers, unroll=unroll)
    sizes = dict(width=width, embedding=embedding, vocabulary=vocabulary, vocabulary_multiple=vocabulary_multiple)
    between(1, MOST, **sizes)
    shares(dropout=dropout, word_dropout=word_dropout)
    above_zero(init_scale=init_scale)
    dtypes: dict[str, Any] = dict(dtype=dtype, param_dtype=param_dtype)
    rows = -(-vocabulary // vocabulary_multiple) * vocabulary_multiple
    reading = Words(rows, embedding, dropout, word_dropout, init_scale, **dtypes)
    stack = partial(RecurrentStack, cell, layers, width, dropout=dropout, unroll=unroll, **dtypes)
    if classes or info.get('classes', 0):
        number = outputs(classes, info)
        return Classifier(reading, stack(bidirectional=bidirectional), pool, dropout, number, **dtypes)
    if bidirectional:
        raise UserError(
            'bidirectional=True: a language model would see the words that it is to guess; False is wanted.'
        )
    if tied and embedding != width:
        raise UserError(
            'tied=True: the table is the output layer too, so embedding={embedding} must be width={width}; 0 says so.',
            embedding=embedding,
            width=width,
        )
    return LanguageModel(reading, stack(), tied, dropout, vocabulary, rows, init_scale, **dtypes)
