"""Drawing tokens: the rules of the draw, and that no way of cutting the work changes the text."""

# b batch, p prompt length, v vocabulary

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.decode import sampling
from jaxlab.decode.sampling import Decoder, Sampling, choose, generate, row_keys, stream
from jaxlab.errors import UserError
from jaxlab.models.gpt import make

KEY = jax.random.key(0)
LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.25, 0.2], np.float32))


def draws(how: Sampling, rows: int = 4000) -> np.ndarray:
    """How often each token of LOGITS is drawn, in parts of 1."""
    tokens = jax.jit(choose)(np.tile(LOGITS, (rows, 1)), row_keys(KEY, rows), how)
    return np.bincount(tokens, minlength=5) / rows


@pytest.mark.parametrize(
    ('how', 'wanted'),
    [
        (Sampling(), [0.1, 0.4, 0.05, 0.25, 0.2]),
        (Sampling(temperature=0.0), [0, 1, 0, 0, 0]),
        (Sampling(temperature=0.5), np.array([1, 16, 0.25, 6.25, 4]) / 27.5),
        (Sampling(top_k=1), [0, 1, 0, 0, 0]),
        (Sampling(top_k=3), np.array([0, 0.4, 0, 0.25, 0.2]) / 0.85),
        (Sampling(top_k=99), [0.1, 0.4, 0.05, 0.25, 0.2]),
        (Sampling(top_p=0.3), [0, 1, 0, 0, 0]),  # the first token that reaches it still counts
        (Sampling(top_p=0.6), np.array([0, 0.4, 0, 0.25, 0]) / 0.65),
        (
            Sampling(top_k=3, top_p=0.7),
            np.array([0, 0.4, 0, 0.25, 0]) / 0.65,
        ),  # p of what k has left: 0.76 of the three
    ],
)
def test_the_rules_of_the_draw(how, wanted):
    found = draws(how)
    np.testing.assert_allclose(found, wanted, atol=0.03)
    assert not np.any(found[np.asarray(wanted) == 0])


def test_each_row_may_have_rules_of_its_own():
    how = Sampling(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 0]), np.array([1.0, 1.0, 0.1]))
    np.testing.assert_array_equal(choose(np.tile(LOGITS, (3, 1)), row_keys(KEY, 3), how), [1, 1, 1])


def test_noise_belongs_to_the_token_and_not_to_its_rank():
    keys, flat = row_keys(KEY, 100), np.zeros((100, 5), np.float32)
    almost = flat + np.array([0, 1, 2, 3, 4], np.float32) * 1e-6  # another order, the same probabilities
    np.testing.assert_array_equal(choose(flat, keys, Sampling()), choose(almost, keys, Sampling()))


# --- with a model ----------------------------------------------------------------------------------------------------

MODEL = make({'vocabulary': 23, 'length': 16}, layers=1, width=16, heads=2, positions='rotary')
PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6]]


@pytest.fixture(scope='module')
def params():
    shapes = meta.unbox(jax.eval_shape(MODEL.init, KEY, np.zeros((1, 4), np.int32)))
    leaves, tree = jax.tree.flatten(shapes)
    random = np.random.default_rng(0)
    values = [random.normal(0, 0.5, leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.device_put(jax.tree.unflatten(tree, values))


def step(params, *inputs):
    return MODEL.apply(params, *inputs, method='decode')


DECODER = Decoder(step, MODEL.start_cache, MODEL.context)


def text(params, prompts, count, how=Sampling(), chunk=16):
    return np.concatenate(list(stream(DECODER, params, prompts, count, KEY, how, chunk=chunk)), axis=1)


def uncached(params, prompt, count):
    """Greedy, with the whole text read again for every token: what the cache has to equal."""
    forward = jax.jit(MODEL.apply)
    tokens = list(prompt)
    for _ in range(count):
        padded = np.array([tokens + [0] * (16 - len(tokens))], np.int32)
        tokens.append(int(forward(params, padded)[0, len(tokens) - 1].argmax()))
    return tokens[len(prompt) :]


def test_greedy_is_uncached_for_prompts_of_unequal_length(params):
    found = text(params, PROMPTS, 11, Sampling(temperature=0.0))
    np.testing.assert_array_equal(found, [uncached(params, prompt, 11) for prompt in PROMPTS])


def test_chunks_and_other_rows_change_nothing(params):
    whole = text(params, PROMPTS, 30)
    assert whole.shape == (3, 30) and whole.dtype == np.int32 and len(np.unique(whole)) > 5
    np.testing.assert_array_equal(text(params, PROMPTS, 30, chunk=3), whole)
    np.testing.assert_array_equal(text(params, PROMPTS[:1], 11), whole[:1, :11])
    assert (text(params, [PROMPTS[0]] * 2, 11)[0] != text(params, [PROMPTS[0]] * 2, 11)[1]).any()


def test_the_text_goes_on_from_where_it_was_cut(params):
    whole = text(params, [PROMPTS[0]], 11)
    longer = [[*PROMPTS[0], *whole[0, :4].tolist()]]
    np.testing.assert_array_equal(text(params, longer, 7), whole[:, 4:])  # a key belongs to a place in the text


def test_a_full_context_goes_on_with_its_last_half(params):
    found = text(params, PROMPTS[:1], 20, Sampling(temperature=0.0))[0]
    whole = [*PROMPTS[0], *found]
    assert whole[16:24] == uncached(params, whole[8:16], 8)
    full = list(range(16))
    assert text(params, [full], 3, Sampling(temperature=0.0))[0].tolist() == uncached(params, full[8:], 3)


def test_generate_is_the_stream_inside_a_jit(params):
    tokens, lengths = np.array([[3, 1, 4, 1, 5], [9, 2, 0, 0, 0], [6, 0, 0, 0, 0]], np.int32), np.array([5, 2, 1])
    run = jax.jit(partial(generate, DECODER, count=11))
    np.testing.assert_array_equal(run(params, tokens, lengths, KEY, Sampling()), text(params, PROMPTS, 11))


def test_nothing_compiles_twice_and_nothing_moves_unasked(params):
    text(params, [[1, 2, 3]], 13)
    before = sampling.prefill._cache_size(), sampling.extend._cache_size()
    with jax.transfer_guard_host_to_device('disallow'):
        text(params, [[1, 2, 3, 4]], 5, Sampling(0.3, 4, 0.5))
        text(params, [[5, 2, 3]], 1, Sampling(0, 0, 1))
    assert before == (sampling.prefill._cache_size(), sampling.extend._cache_size())


# --- with a model that shows what it is given ------------------------------------------------------------------------


class Seen(NamedTuple):
    filled: jax.Array
    tokens: jax.Array
    positions: jax.Array


def count_up(params, tokens, positions, segments, cache):
    """Predicts its last token + 1, and remembers all that it saw; padding as -1."""
    write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=cache.filled, axis=1)
    tokens_seen = write(cache.tokens, jnp.where(segments > 0, tokens, -1))
    positions_seen = write(cache.positions, jnp.where(segments > 0, positions, -1))
    return jax.nn.one_hot(tokens + 1, 50), Seen(cache.filled + tokens.shape[1], tokens_seen, positions_seen)


def nothing_seen(rows, slots):
    return Seen(jnp.int32(0), jnp.full((rows, slots), -9), jnp.full((rows, slots), -9))


def test_every_slot_holds_what_it_should():
    counter = Decoder(count_up, nothing_seen, 12)
    tokens, lengths = np.array([[1, 2, 3, 0], [7, 0, 0, 0]], np.int32), np.array([3, 1], np.int32)
    state = sampling.prefill(counter, {}, tokens, lengths, lengths)
    drawn, state = sampling.extend(counter, {}, state, row_keys(KEY, 2), Sampling(0.0), 2, room=4)
    np.testing.assert_array_equal(drawn[:, :2], [[4, 5], [8, 9]])
    np.testing.assert_array_equal(state.cache.tokens[:, :5], [[1, 2, 3, 4, 5], [-1, -1, 7, 8, 9]])
    np.testing.assert_array_equal(state.cache.positions[:, :5], [[0, 1, 2, 3, 4], [-1, -1, 0, 1, 2]])
    assert state.cache.filled == 5 and state.positions.tolist() == state.places.tolist() == [5, 3]


def test_a_stream_is_as_long_as_asked_for_and_no_chunk_longer():
    counter = Decoder(count_up, nothing_seen, 12)
    chunks = list(stream(counter, {}, [[1, 2, 3]], 25, KEY, Sampling(0.0), chunk=4))
    assert [len(chunk[0]) for chunk in chunks] == [4, 4, 1, 4, 2, 4, 2, 4]  # 3 + 9 tokens fill the context, then 6 + 6
    assert np.concatenate(chunks, axis=1)[0].tolist() == list(range(4, 29))


def test_the_key_of_a_token_is_that_of_its_place_in_the_whole_text():
    def even(params, tokens, positions, segments, cache):  # every token is as likely as any other: only the keys decide
        return jnp.zeros((*tokens.shape, 50)), cache._replace(filled=cache.filled + tokens.shape[1])

    found = np.concatenate(list(stream(Decoder(even, nothing_seen, 12), {}, [[1, 2, 3], [4]], 30, KEY)), axis=1)
    for row, start in [(0, 3), (1, 1)]:
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(KEY, row)))(start + np.arange(30))
        np.testing.assert_array_equal(found[row], choose(np.zeros((30, 50), np.float32), keys, Sampling()))


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('prompt', 'how', 'message'),
    [
        (range(17), Sampling(), 'The prompt has 17 tokens, and the model looks back on 16'),
        ([], Sampling(), 'The prompt is empty'),
        ([1], Sampling(temperature=-1.0), 'temperature=-1.0'),
        ([1], Sampling(temperature=float('nan')), 'temperature=nan'),
        ([1], Sampling(top_k=-2), 'top_k=-2'),
        ([1], Sampling(top_p=0.0), 'top_p=0.0'),
        ([1], Sampling(top_p=1.5), 'top_p=1.5'),
    ],
)
def test_mistakes_are_named(prompt, how, message):
    with pytest.raises(UserError, match=message):
        next(stream(DECODER, {}, [[1], list(prompt)], 3, KEY, how))
