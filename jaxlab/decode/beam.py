"""Beam search: the likeliest continuations that a search of limited width finds, over the same cached step as sampling.

It is the search of transformers' `generate`, rule for rule, so that the same model writes the same text: of every
prompt k beams are alive; each step looks at the 2 k likeliest ways to go on; those that end here and are among the
first k are finished, with a score of log-probability / length^penalty; the k best of the others live on.
"""

# b prompts, k beams, c = 2 k candidates, v vocabulary, n new tokens, p length of the prompts as padded

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.decode import sampling
from jaxlab.decode.sampling import Decoder, Params

EARLY = ('no', 'yes', 'never')
NONE = -1e9  # the score of what is not to be chosen
ROUND = 64  # the cache has a multiple of so many slots, so that few sizes compile


class Found(NamedTuple):
    """The k best texts of every prompt, the best first."""

    tokens: jax.Array  # int32 [b k n], `end` after the end of each
    lengths: jax.Array  # int32 [b k], how many are real, the end token included
    scores: jax.Array  # float32 [b k]: log-probability / length^penalty


class _Search(NamedTuple):
    """What stands between one step and the next."""

    step: jax.Array  # int32 []: new tokens so far
    cache: Any  # of rows b · k
    logits: jax.Array  # [b k v]
    positions: jax.Array  # int32 [b · k]
    alive: jax.Array  # int32 [b k n]
    alive_scores: jax.Array  # [b k], log-probabilities
    found: Found
    finished: jax.Array  # bool [b k]: which of these are texts
    hopeful: jax.Array  # bool [b]: whether something alive may still become better than what is finished
    going: jax.Array  # bool []


def search(
    decoder: Decoder,
    params: Params,
    tokens: jax.Array,
    lengths: jax.Array,
    *,
    beams: int,
    count: int,
    end: int,
    length_penalty: float = 1.0,
    early: str = 'no',
) -> Found:
    """Continues prompts, tokens int32 [b p] of `lengths` [b], by at most `count` tokens.

    Args:
      decoder: the model.
      params: its parameters.
      tokens: a prompt a row, padded at its end with anything.
      lengths: how many tokens of each row are prompt; at least 1. The longest and `count` fit into the context.
      beams: k.
      count: n.
      end: the token that ends a text; -1: none does.
      length_penalty: above 0 it favours long texts, below 0 short ones.
      early: when to stop before `count`. 'yes': as soon as there are k texts; 'no': when by a guess nothing alive will
        become better; 'never': when nothing alive can (Wu et al. 2016; `early_stopping` of transformers: True, False,
        "never").
    """
    assert early in EARLY and beams > 0 and count > 0, (early, beams, count)
    wanted = tokens.shape[1] + count
    assert wanted <= decoder.context, f'{wanted} tokens do not fit into a context of {decoder.context}'
    slots = min(-(-wanted // ROUND) * ROUND, decoder.context)
    powers = np.arange(1, count + 1, dtype=np.float64) ** length_penalty
    how = {'beams': beams, 'count': count, 'early': early, 'longer': length_penalty > 0}
    return _search(decoder._replace(context=slots), params, tokens, lengths, end, powers.astype(np.float32), **how)


@partial(jax.jit, static_argnames=('decoder', 'beams', 'count', 'early', 'longer'))
def _search(
    decoder: Decoder,
    params: Params,
    tokens: jax.Array,
    lengths: jax.Array,
    end: jax.Array,
    powers: jax.Array,
    *,
    beams: int,
    count: int,
    early: str,
    longer: bool,
) -> Found:
    b, k = len(tokens), beams
    read = sampling.prefill(decoder, params, tokens, lengths, lengths)
    axes = _row_axes(decoder)
    each = jnp.repeat(jnp.arange(b), k)  # every prompt has k rows
    first_row = jnp.arange(k) == 0  # of which one is alive at first, or all would go on alike
    empty = jnp.broadcast_to(jnp.maximum(end, 0).astype(jnp.int32), (b, k, count))
    scores = jnp.full((b, k), NONE, jnp.float32)
    start = _Search(
        step=jnp.zeros((), jnp.int32),
        cache=_rows(read.cache, axes, each),
        logits=read.logits[each].reshape(b, k, -1),
        positions=read.positions[each],
        alive=empty,
        alive_scores=jnp.where(first_row, 0.0, NONE) + jnp.zeros((b, 1), jnp.float32),
        found=Found(empty, jnp.zeros((b, k), jnp.int32), scores),
        finished=jnp.zeros((b, k), bool),
        hopeful=jnp.ones(b, bool),
        going=jnp.ones((), bool),
    )

    def one(now: _Search) -> _Search:
        vocabulary = now.logits.shape[-1]
        likely = jax.nn.log_softmax(now.logits.astype(jnp.float32)) + now.alive_scores[..., None]
        scores, places = jax.lax.top_k(likely.reshape(b, -1), 2 * k)  # [b c]
        beam, token = places // vocabulary, (places % vocabulary).astype(jnp.int32)
        texts = _take(now.alive, beam).at[:, :, now.step].set(token)
        ends = (token == end) | (now.step + 1 >= count)

        # Those that end here and are among the k likeliest are finished; they compete with those that were before.
        ended = ends & (jnp.arange(2 * k) < k)
        allowed = now.hopeful & ~now.finished.all(1) if early == 'yes' else now.hopeful
        reached = scores / powers[now.step]
        reached += jnp.where(allowed, 0.0, NONE)[:, None]
        reached += jnp.where(ended, 0.0, NONE)
        length = jnp.full((b, 2 * k), now.step + 1)
        everything = Found(
            jnp.concatenate([now.found.tokens, texts], 1),
            jnp.concatenate([now.found.lengths, length], 1),
            jnp.concatenate([now.found.scores, reached], 1),
        )
        _, best = jax.lax.top_k(everything.scores, k)
        found = Found(*(_take(x, best) for x in everything))
        finished = _take(jnp.concatenate([now.finished, ended], 1), best)

        # The k best of the others live on; their rows of the cache come along.
        alive_scores, going_on = jax.lax.top_k(scores + jnp.where(ends, NONE, 0.0), k)
        from_beam, last = _take(beam, going_on), _take(token, going_on)
        rows = (jnp.arange(b)[:, None] * k + from_beam).reshape(-1)
        cache, positions = _rows(now.cache, axes, rows), now.positions[rows]
        row = last.reshape(-1, 1)
        logits, cache = decoder.step(params, row, positions[:, None], jnp.ones_like(row), cache)

        hypothetical = powers[count - 1] if early == 'never' and longer else powers[now.step]
        worst = jnp.where(finished, found.scores.min(1, keepdims=True), NONE)
        hopeful = now.hopeful & (alive_scores[:, :1] / hypothetical > worst).any(1)
        going = hopeful.any() & ~ends.all()
        return _Search(
            step=now.step + 1,
            cache=cache,
            logits=logits[:, 0].reshape(b, k, -1),
            positions=positions + 1,
            alive=_take(texts, going_on),
            alive_scores=alive_scores,
            found=found,
            finished=finished,
            hopeful=hopeful,
            going=going & ~finished.all() if early == 'yes' else going,
        )

    return jax.lax.while_loop(lambda now: now.going, one, start).found


def _take(x: jax.Array, index: jax.Array) -> jax.Array:
    """Takes entries of axis 1 by index [b m]: [b k ...] -> [b m ...]."""
    return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)


def _row_axes(decoder: Decoder) -> Any:
    """Returns which axis of each array of a cache counts its rows; -1 where none does."""
    one, two = (jax.eval_shape(partial(decoder.start_cache, rows, decoder.context)) for rows in (1, 2))

    def axis(x: Any, y: Any) -> int:
        return next((i for i, (n, m) in enumerate(zip(x.shape, y.shape, strict=True)) if n != m), -1)

    return jax.tree.map(axis, one, two)


def _rows(cache: Any, axes: Any, rows: jax.Array) -> Any:
    """Returns a cache of these rows of it."""
    return jax.tree.map(lambda x, axis: x if axis < 0 else jnp.take(x, rows, axis=axis), cache, axes)
