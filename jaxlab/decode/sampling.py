"""Draws text from a model, token by token, over a key-value cache.

Another temperature or number of tokens compiles nothing anew, and prompts are padded to a power of two.
The key of the token at place i of row r is fold_in(fold_in(key, r), i): however the text is cut into chunks, and
whatever else is in the batch, a row comes out the same.
"""

# b batch, p length of the prompts as padded, v vocabulary, n tokens in a chunk

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxlab.errors import UserError

Params = Any
Cache = Any  # a NamedTuple of arrays, of which `filled` says how many slots are in use


class Decoder(NamedTuple):
    """What there is to know of a model. Make it once: compiled functions are found again by it.

    step: (params, tokens, positions, segments, cache) -> (logits [b t v], cache), the three in the middle int32 [b t].
    start_cache: (rows, slots) -> an empty cache.
    context: how many tokens the model can look back on.
    """

    step: Callable[[Params, jax.Array, jax.Array, jax.Array, Cache], tuple[jax.Array, Cache]]
    start_cache: Callable[[int, int], Cache]
    context: int


class Sampling(NamedTuple):
    """How a token is drawn from its logits. Each is a number, or an array [b] with a number for every row."""

    temperature: ArrayLike = 1.0  # 0: always the likeliest token
    top_k: ArrayLike = 0  # only the k likeliest tokens (Fan et al. 2018); 0: all
    top_p: ArrayLike = 1.0  # of these, the fewest that reach this probability (Holtzman et al. 2019); 1: all


class State(NamedTuple):
    """What stands between one token and the next."""

    cache: Cache
    logits: jax.Array  # [b v] of the token to come
    positions: jax.Array  # int32 [b], its position for the model
    places: jax.Array  # int32 [b], its place in the whole text, which the model may have forgotten the beginning of


def choose(logits: jax.Array, keys: jax.Array, sampling: Sampling) -> jax.Array:
    """Draws a token for every row: logits [b v], keys [b] -> int32 [b]."""
    temperature, top_k, top_p = (jnp.reshape(value, (-1, 1)) for value in sampling)
    vocabulary = logits.shape[-1]
    scaled = logits / jnp.maximum(temperature, 1e-6)
    ranked = jnp.sort(scaled, axis=-1, descending=True)
    among = jnp.arange(vocabulary) < jnp.where(top_k > 0, top_k, vocabulary)
    probabilities = jax.nn.softmax(jnp.where(among, ranked, -jnp.inf))
    likelier = jnp.cumsum(probabilities, axis=-1) - probabilities  # what the tokens above this one have together
    among &= (likelier < top_p) | (top_p >= 1)
    least = jnp.where(among, ranked, jnp.inf).min(axis=-1, keepdims=True)
    # Drawn in the tokens' own order: noise given out by rank would change hands where two are nearly equal.
    drawn = jax.vmap(jax.random.categorical)(keys, jnp.where(scaled >= least, scaled, -jnp.inf))
    return jnp.where(temperature[:, 0] > 0, drawn, logits.argmax(axis=-1)).astype(jnp.int32)


@partial(jax.jit, static_argnames='decoder')
def prefill(decoder: Decoder, params: Params, tokens: jax.Array, lengths: jax.Array, places: jax.Array) -> State:
    """Reads the prompts, all at once, into a new cache.

    Args:
      decoder: the model.
      params: its parameters.
      tokens: int32 [b p], a prompt a row, padded at its end with anything; p is at most the context.
      lengths: int32 [b], how many tokens of each row are prompt; at least 1.
      places: int32 [b], the place in the whole text of the token that comes after the prompt.
    """
    b, p = tokens.shape
    assert p <= decoder.context, f'{p} tokens do not fit into a context of {decoder.context}'
    # Rows share their slots, so all prompts must end in the same one: before the shorter ones stands padding, and after
    # all of them what was added to make p round. That will be written over: `filled` goes back to where prompts end.
    longest = lengths.max()
    positions = jnp.arange(p) - (longest - lengths)[:, None]
    real = (positions >= 0) & (positions < lengths[:, None])
    positions = jnp.where(real, positions, 0)
    tokens = jnp.take_along_axis(tokens, positions, axis=1)
    cache = decoder.start_cache(b, decoder.context)
    logits, cache = decoder.step(params, tokens, positions, real.astype(jnp.int32), cache)
    return State(cache._replace(filled=longest), logits[:, longest - 1], lengths, places)


@partial(jax.jit, static_argnames=('decoder', 'room'), donate_argnames='state')
def extend(
    decoder: Decoder,
    params: Params,
    state: State,
    keys: jax.Array,
    sampling: Sampling,
    count: jax.Array | int,
    room: int,
) -> tuple[jax.Array, State]:
    """Draws the next `count` tokens: int32 [b room], filled up to column `count`, and the state after them.

    `keys` [b] are those of the rows, the same in every call. `count` is at most `room`, and at most the slots free.
    """

    def one(i: jax.Array, carry: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
        drawn, (cache, logits, positions, places) = carry
        token = choose(logits, jax.vmap(jax.random.fold_in)(keys, places), sampling)[:, None]
        logits, cache = decoder.step(params, token, positions[:, None], jnp.ones_like(token), cache)
        drawn = jax.lax.dynamic_update_slice_in_dim(drawn, token, i, axis=1)
        return drawn, State(cache, logits[:, 0], positions + 1, places + 1)

    return jax.lax.fori_loop(0, count, one, (jnp.zeros((len(keys), room), jnp.int32), state))


def generate(
    decoder: Decoder,
    params: Params,
    tokens: jax.Array,
    lengths: jax.Array,
    key: jax.Array,
    sampling: Sampling,
    count: int,
) -> jax.Array:
    """Continues prompts, tokens [b p] of `lengths` [b], by `count` tokens: int32 [b count]. Pure, so it can be jitted.

    The longest prompt and `count` must fit into the context together; `stream` has no such limit.
    """
    state = prefill(decoder, params, tokens, lengths, lengths)
    return extend(decoder, params, state, row_keys(key, len(tokens)), sampling, count, room=count)[0]


@partial(jax.jit, static_argnames='rows')
def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """A key for each row: [rows]."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(rows))


def stream(
    decoder: Decoder,
    params: Params,
    prompts: Sequence[Sequence[int]],
    count: int,
    key: jax.Array,
    sampling: Sampling = Sampling(),
    *,
    chunk: int = 16,
) -> Iterator[np.ndarray]:
    """Continues prompts chunk by chunk: yields int32 arrays [b n], n at most `chunk`, until there were `count` tokens.

    When the context is full, its last half is read once more, and so the text can go on for ever.

    Args:
      decoder: the model.
      params: its parameters.
      prompts: token ids, at least one for each row.
      count: how many tokens to make.
      key: of the draws.
      sampling: how to draw.
      chunk: how many tokens to make between two looks of the host.

    Raises:
      UserError: a prompt is empty or longer than the context, or a number of `sampling` is out of range.
    """
    context = decoder.context
    temperature, top_k, top_p = (np.asarray(value) for value in sampling)
    if not (temperature >= 0).all():
        raise UserError(
            'temperature={temperature}: 0 (always the likeliest token) or more is wanted, such as 0.8.',
            temperature=temperature,
        )
    if not (top_k >= 0).all():
        raise UserError('top_k={top_k}: 0 (all tokens) or more is wanted, such as 50.', top_k=top_k)
    if not ((top_p > 0) & (top_p <= 1)).all():
        raise UserError('top_p={top_p}: more than 0 and at most 1 (all tokens) is wanted, such as 0.95.', top_p=top_p)
    longest = max(len(prompt) for prompt in prompts)
    if min(len(prompt) for prompt in prompts) == 0:
        raise UserError('The prompt is empty: give at least one token, such as end-of-text, after which texts begin.')
    if longest > context:
        raise UserError(
            'The prompt has {count} tokens, and the model looks back on {context}: shorten the prompt.',
            count=longest,
            context=context,
        )

    assert context > 1 and chunk > 0, (context, chunk)
    texts = [np.asarray(prompt, np.int32) for prompt in prompts]
    keys = row_keys(key, len(texts))
    sampling = jax.device_put(Sampling(np.float32(temperature), np.int32(top_k), np.float32(top_p)))
    free = 0  # slots of the cache
    while count > 0:
        if free == 0:
            recent = texts if longest < context else [text[-(context // 2) :] for text in texts]
            state = prefill(decoder, params, *jax.device_put(_padded(recent, context)), jax.device_put(_lengths(texts)))
            free = context - max(len(text) for text in recent)
        n = min(chunk, free, count)
        tokens, state = extend(decoder, params, state, keys, sampling, jax.device_put(np.int32(n)), room=chunk)
        tokens = np.asarray(tokens)[:, :n]
        yield tokens
        texts = [np.concatenate([text, row]) for text, row in zip(texts, tokens, strict=True)]
        longest, free, count = longest + n, free - n, count - n


def _padded(texts: list[np.ndarray], context: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = _lengths(texts)
    width = min(1 << (int(lengths.max()) - 1).bit_length(), context)
    return np.stack([np.pad(text, (0, width - len(text))) for text in texts]), lengths


def _lengths(texts: list[np.ndarray]) -> np.ndarray:
    return np.array([len(text) for text in texts], np.int32)
