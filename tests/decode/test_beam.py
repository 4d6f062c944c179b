"""Beam search: without a cache, against all texts that there are, and by the scores that its texts have."""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.decode import beam
from jaxlab.decode.sampling import Decoder, Sampling, generate
from jaxlab.models.gpt import make
from jaxlab.parallel import layout

PROMPTS, LENGTHS = (
    np.array([[3, 1, 4, 1, 5], [2, 2, 0, 0, 0], [6, 5, 3, 0, 0]], np.int32),
    np.array([5, 2, 3], np.int32),
)


def made(scan=False, **arguments):
    model = make({}, vocabulary=7, context=24, layers=2, width=16, heads=2, tied=False, scan=scan, **arguments)
    params = layout.unbox(jax.jit(model.init)(jax.random.key(0), PROMPTS))['params']
    random = np.random.default_rng(3)
    params = jax.tree.map(
        lambda x: random.normal(0, 0.6, x.shape).astype(np.float32), params
    )  # what was long ago counts

    def step(params, *inputs):
        return model.apply({'params': params}, *inputs, method='decode')

    return model, params, Decoder(step, model.start_cache, model.context)


class Tokens(NamedTuple):
    """A cache that remembers the tokens alone."""

    filled: jax.Array
    tokens: jax.Array
    positions: jax.Array
    segments: jax.Array


def uncached(model):
    def start(rows, slots):
        return Tokens(jnp.zeros((), jnp.int32), *(jnp.zeros((rows, slots), jnp.int32) for _ in range(3)))

    def step(params, tokens, positions, segments, cache):
        def put(old, new):
            return jax.lax.dynamic_update_slice_in_dim(old, new, cache.filled, axis=1)

        whole = [put(*pair) for pair in zip(cache[1:], (tokens, positions, segments), strict=True)]
        logits = model.apply({'params': params}, *whole)
        logits = jax.lax.dynamic_slice_in_dim(logits, cache.filled, tokens.shape[1], axis=1)
        return logits, Tokens(cache.filled + tokens.shape[1], *whole)

    return Decoder(step, start, model.context)


def found(decoder, params, **how):
    how = {'beams': 3, 'count': 6, 'end': 0} | how
    return jax.tree.map(np.asarray, beam.search(decoder, params, PROMPTS, LENGTHS, **how))


@pytest.mark.parametrize(
    ('scan', 'how'),
    [
        (False, dict(end=-1, count=12)),
        (True, dict(length_penalty=-0.7, early='yes', count=12)),
        (False, dict(early='never', beams=2)),
    ],
)
def test_cached_is_uncached(scan, how):
    model, params, decoder = made(scan, positions='rotary', kv_heads=1)
    one, two = found(decoder, params, **how), found(uncached(model), params, **how)
    np.testing.assert_array_equal(one.tokens, two.tokens)
    np.testing.assert_array_equal(one.lengths, two.lengths)
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-4)


def test_one_beam_without_an_end_is_greedy():
    _, params, decoder = made()
    one = found(decoder, params, beams=1, end=-1)
    greedy = generate(decoder, params, PROMPTS, LENGTHS, jax.random.key(0), Sampling(0.0), 6)
    np.testing.assert_array_equal(one.tokens[:, 0], greedy)
    assert (one.lengths == 6).all()


def test_wide_enough_it_finds_the_best_of_all():
    """Three tokens of a vocabulary of seven: 343 texts, of which each is asked for."""
    model, params, decoder = made()
    wide = found(decoder, params, beams=49, count=3, end=-1, length_penalty=0.0)
    every = np.array(list(itertools.product(range(7), repeat=3)), np.int32)
    for row, length in enumerate(LENGTHS):
        texts = np.concatenate([np.tile(PROMPTS[row, :length], (len(every), 1)), every], axis=1)
        logs = jax.nn.log_softmax(jax.jit(model.apply)({'params': params}, texts))[:, length - 1 : -1]
        total = np.take_along_axis(np.asarray(logs), every[..., None], 2)[..., 0].sum(1)
        np.testing.assert_array_equal(wide.tokens[row, 0], every[total.argmax()])
        assert wide.scores[row, 0] == pytest.approx(total.max(), rel=1e-4)
        assert (np.diff(wide.scores[row]) <= 0).all()


def test_texts_end_where_they_end_and_have_their_score():
    model, params, decoder = made()
    whole, apply = found(decoder, params, length_penalty=0.5), jax.jit(model.apply)
    for row in range(3):
        prompt = PROMPTS[row, : LENGTHS[row]]
        for text, length, score in zip(whole.tokens[row], whole.lengths[row], whole.scores[row]):
            assert (text[length:] == 0).all() and (text[: length - 1] != 0).all()
            assert length == 6 or text[length - 1] == 0
            tokens = np.concatenate([prompt, text])[None]
            logs = jax.nn.log_softmax(apply({'params': params}, tokens))[0, len(prompt) - 1 : -1]
            total = np.take_along_axis(np.asarray(logs), text[:, None], 1)[:length].sum()
            assert score == pytest.approx(total / length**0.5, rel=1e-4)
    assert (whole.lengths < 6).any(), 'some text ends'


def test_rows_are_their_own():
    _, params, decoder = made()
    whole = found(decoder, params)
    alone = beam.search(decoder, params, PROMPTS[1:2], LENGTHS[1:2], beams=3, count=6, end=0)
    np.testing.assert_array_equal(alone.tokens[0, 0], whole.tokens[1, 0])


def test_another_penalty_or_end_compiles_nothing_anew(compiled):
    _, params, decoder = made()
    search = partial(found, decoder, params)
    search(count=4)
    before = len(compiled)
    search(count=4, length_penalty=2.0)
    search(count=4, end=3)
    assert len(compiled) == before
