"""Recurrent models: their cache, their documents, padding, and what does not go together."""

# b batch, t time, v vocabulary

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.decode import sampling
from jaxlab.errors import UserError
from jaxlab.models.rnn import make
from jaxlab.nn.recurrent import CELLS
from jaxlab.parallel import layout
from jaxlab.task import Told
from jaxlab.tasks.language_model import LanguageModel

INFO = Told({'vocabulary': 11, 'length': 12})
TEXTS = Told({'vocabulary': 11, 'length': 12, 'classes': 3})
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 12)).astype(np.int32)
LENGTHS = np.array([12, 1, 7], np.int32)
ONES = np.ones_like(TOKENS)
PLACES = np.broadcast_to(np.arange(12, dtype=np.int32), TOKENS.shape)


@cache
def model_of(cell='lstm', tied=False):
    return make(INFO, cell=cell, layers=2, width=8, tied=tied, vocabulary_multiple=8)


@cache
def params_of(model, *inputs):
    """Random everywhere: a bias that is still 0 could be dropped unseen."""
    given = {'tokens': TOKENS, 'lengths': LENGTHS, 'positions': PLACES, 'segments': ONES}
    boxed = jax.eval_shape(model.init, jax.random.key(0), *(given[name] for name in model.takes))
    draw = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: draw.normal(0, 0.5, leaf.shape).astype(np.float32), layout.unbox(boxed))


def logits(model, *inputs):
    return np.asarray(jax.jit(model.apply)(params_of(model), *inputs))


# --- the language model ----------------------------------------------------------------------------------------------


def test_documents_in_one_row_do_not_know_of_each_other():
    model = model_of()
    positions = np.tile(np.r_[np.arange(5), np.arange(7)], (3, 1))
    segments = np.tile(np.r_[[1] * 5, [2] * 7], (3, 1))
    other = np.where(segments == 1, (TOKENS + 1) % 11, TOKENS)
    found, beside = logits(model, TOKENS, positions, segments), logits(model, other, positions, segments)
    np.testing.assert_array_equal(found[:, 5:], beside[:, 5:])  # bitwise
    assert (found[:, :5] != beside[:, :5]).any()
    alone = logits(model, TOKENS[:, 5:], PLACES[:, :7], ONES[:, :7])
    np.testing.assert_allclose(found[:, 5:], alone, rtol=1e-5, atol=1e-5)


def test_a_row_is_one_document_by_default():
    np.testing.assert_array_equal(logits(model_of(), TOKENS), logits(model_of(), TOKENS, PLACES, ONES))


@pytest.mark.parametrize('cell', CELLS)
def test_cached_equals_uncached(cell):
    model = model_of(cell)
    step = jax.jit(lambda params, *inputs: model.apply(params, *inputs, method='decode'))
    known, found = model.start_cache(3, 12), []
    for begin, end in ((0, 5), (5, 6), (6, 12)):
        cut = [array[:, begin:end] for array in (TOKENS, PLACES, ONES)]
        part, known = step(params_of(model), *cut, known)
        found.append(part)
    assert known.filled == 12
    np.testing.assert_allclose(np.concatenate(found, axis=1), logits(model, TOKENS), rtol=1e-5, atol=1e-5)


def test_prompts_of_unequal_length_are_read_beside_each_other():
    """Padding stands before the shorter ones and behind them all; none of it changes the state."""
    model = model_of()
    task = LanguageModel(model)
    greedy = sampling.Sampling(temperature=0.0)
    key, params = jax.random.key(0), params_of(model)['params']
    lengths = np.array([7, 1, 4])
    padded = np.where(lengths[:, None] <= PLACES, 9, TOKENS)
    together = task.generate(params, {}, (padded, lengths), key, greedy, count=5)
    for row, length in enumerate(lengths):
        text = TOKENS[row : row + 1, :length]
        for n in range(5):
            found = logits(model, text)[:, -1].argmax(-1)
            assert found[0] == together[row, n] < 11
            text = np.concatenate([text, found[None].astype(np.int32)], axis=1)


@pytest.mark.parametrize('before', [0, 3])
def test_padding_changes_no_state(before):
    """Around a prompt of five tokens, as many columns of padding as make twelve."""
    model = model_of()
    step = jax.jit(lambda params, *inputs: model.apply(params, *inputs, method='decode'))
    real = np.isin(PLACES, np.arange(before, before + 5))
    places = np.where(real, PLACES - before, 0)
    _, known = step(params_of(model), TOKENS, places, real.astype(np.int32), model.start_cache(3, 12))
    following = TOKENS[:, :1]
    found, _ = step(params_of(model), following, ONES[:, :1] * 5, ONES[:, :1], known)
    text = np.concatenate([TOKENS[:, before : before + 5], following], axis=1)
    np.testing.assert_allclose(found[:, 0], logits(model, text)[:, -1], rtol=1e-5, atol=1e-5)


def test_features_and_their_table_make_the_logits():
    for tied in (False, True):
        model = model_of(tied=tied)
        params = params_of(model)
        x, table = model.apply(params, TOKENS, PLACES, ONES, method='features')
        assert table.shape == (16, 8) and ('head' in params['params']) != tied
        np.testing.assert_allclose((x @ table.T)[..., :11], logits(model, TOKENS)[..., :11], rtol=1e-4, atol=1e-5)
    assert not np.any(jax.nn.softmax(logits(model, TOKENS))[..., 11:])


# --- the classifier --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('bidirectional', [False, True])
@pytest.mark.parametrize('pool', ['last', 'max', 'mean'])
def test_padding_changes_nothing(pool, bidirectional):
    model = make(TEXTS, layers=2, width=8, embedding=4, pool=pool, bidirectional=bidirectional)
    found = logits(model, TOKENS, LENGTHS)
    behind = np.arange(12) >= LENGTHS[:, None]
    np.testing.assert_array_equal(found, logits(model, np.where(behind, 3, TOKENS), LENGTHS))
    for row, length in enumerate(LENGTHS):
        alone = logits(model, TOKENS[row : row + 1, :length], LENGTHS[row : row + 1])
        np.testing.assert_allclose(found[row], alone[0], rtol=1e-5, atol=1e-5)
        for place in (0, length - 1):  # both ends count
            other = TOKENS.copy()
            other[row, place] = (other[row, place] + 1) % 11
            assert (found[row] != logits(model, other, LENGTHS)[row]).any()
    assert found.shape == (3, 3) and found.dtype == np.float32


def test_a_row_of_no_words_is_finite():
    for pool in ('last', 'max', 'mean'):
        model = make(TEXTS, width=8, pool=pool)
        assert np.isfinite(logits(model, TOKENS, np.array([0, 2, 0], np.int32))).all()


def test_words_are_left_out_whole():
    model = make(TEXTS, width=8, word_dropout=0.5)
    rows = {'rngs': {'dropout': jax.random.key(0)}, 'mutable': 'intermediates', 'capture_intermediates': True}
    _, kept = model.apply(params_of(model), TOKENS, LENGTHS, train=True, **rows)
    (x,) = kept['intermediates']['words']['__call__']
    gone = (x == 0).all(-1)
    assert 0.2 < gone.mean() < 0.8 and not (x[~gone] == 0).any()


def test_precision_is_kept():
    for info in (INFO, TEXTS):
        model = make(info, jnp.bfloat16, width=8, layers=2)
        inputs = (TOKENS,) if info is INFO else (TOKENS, LENGTHS)
        assert logits(model, *inputs).dtype == np.float32


@pytest.mark.parametrize(
    ('info', 'arguments', 'words'),
    [
        (INFO, dict(cell='ltsm'), 'cell=ltsm'),
        (INFO, dict(bidirectional=True), 'bidirectional=True: a language model would see'),
        (INFO, dict(tied=True, embedding=4, width=8), 'embedding=4 must be width=8'),
        (INFO, dict(vocabulary=5), 'vocabulary=5, and the data have 11'),
        (TEXTS, dict(pool='first'), 'pool=first'),
        (TEXTS, dict(classes=2), 'classes=2, and the data have 3'),
        (TEXTS, dict(layers=0), 'layers=0'),
        (TEXTS, dict(dropout=1.0), 'dropout=1.0'),
        (TEXTS, dict(init_scale=0.0), 'init_scale=0.0'),
        (Told({'shape': [8, 8, 1], 'classes': 10}), {}, 'this model reads texts'),
    ],
)
def test_what_does_not_go_together_is_said(info, arguments, words):
    with pytest.raises(UserError, match=words):
        make(info, **arguments)
