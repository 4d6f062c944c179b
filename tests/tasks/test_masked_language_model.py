"""Masked language modelling: two losses with their own counts, by numpy; it learns a batch by heart, and fills gaps."""

# b batch, t time, v vocabulary, m hidden tokens of a row

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxlab import config as configs
from jaxlab import optim
from jaxlab import step as steps
from jaxlab.errors import UserError
from jaxlab.evaluation import make_evaluate
from jaxlab.models import bert, gpt
from jaxlab.parallel import layout
from jaxlab.scores import accuracy, next_sentence
from jaxlab.tasks import masked_language_model

INFO = {'vocabulary': 30, 'length': 12, 'types': 2, 'padding': 0}
TINY = dict(layers=2, width=32, heads=4, dropout=0.0)


def batch(rows=4):
    draw = np.random.default_rng(0)
    tokens = draw.integers(5, 30, (rows, 12)).astype(np.int32)
    places = np.sort(draw.permuted(np.tile(np.arange(1, 11), (rows, 1)), axis=1)[:, :3], axis=1).astype(np.int32)
    targets = np.take_along_axis(tokens, places, 1)
    np.put_along_axis(tokens, places, 4, 1)
    return {
        'tokens': tokens,
        'types': (np.arange(12) > 5).astype(np.int32) * np.ones((rows, 1), np.int32),
        'lengths': np.full(rows, 12, np.int32),
        'places': places,
        'targets': targets,
        'next': np.arange(rows, dtype=np.int32) % 2,
        'mask': np.ones((rows, 3), np.float32),
    }


def make(**more):
    return masked_language_model.make(bert.make(INFO, **TINY | more), INFO)


def born(task, rows):
    return layout.unbox(task.init(jax.random.key(0), rows)[0])


def test_two_losses_each_with_its_count():
    task, rows = masked_language_model.make(bert.make(INFO, **TINY), INFO, next_weight=0.5), batch()
    rows['mask'][1, 2:] = 0
    rows['mask'][3] = 0  # a row that does not count, does not count for what follows either
    params = born(task, rows)
    terms, _ = jax.jit(task.loss)(params, {}, rows, jax.random.key(0))
    outputs = task.predict(params, {}, rows)
    nats = -np.take_along_axis(log_softmax(outputs['logits'], -1), rows['targets'][..., None], -1)[..., 0]
    np.testing.assert_allclose(terms['masked'].total, (nats * rows['mask']).sum(), rtol=1e-5)
    following = -log_softmax(outputs['next'], -1)[np.arange(4), rows['next']]
    np.testing.assert_allclose(terms['next'].total, following[:3].sum(), rtol=1e-5)
    assert float(terms['masked'].count) == 8 and float(terms['next'].count) == 3
    mean = nats[rows['mask'] > 0].mean() + 0.5 * following[:3].mean()
    np.testing.assert_allclose(steps.mean_loss(terms), mean, rtol=1e-5)


def test_without_pairs_there_is_one_loss():
    task, rows = make(next_sentence=False), batch()
    del rows['next']
    params = born(task, rows)
    assert set(task.loss(params, {}, rows, jax.random.key(0))[0]) == {'masked'}
    assert set(task.predict(params, {}, rows)) == {'logits'}
    with pytest.raises(UserError, match='next_sentence=True, and rows of these data are one text'):
        make().init(jax.random.key(0), rows)


def test_accumulated_is_the_whole():
    """Counts differ between micro-batches, of both terms."""
    task, rows = make(), batch(8)
    rows['mask'][1:4, 1:] = 0
    rows['mask'][5] = 0
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), rows)[0])
    found = []
    for accumulate in (1, 4):
        optimizer = optim.sgd(names, 10, learning_rate=1.0)
        state = steps.init(task, [optimizer], 0.0, rows, jax.random.key(0))
        state, terms = jax.jit(steps.make_step(task, [optimizer], accumulate=accumulate))(state, {}, rows)
        found.append((state.params, steps.mean_loss(terms)))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), *found)


def test_it_learns_one_batch_by_heart():
    task, rows = make(), batch()
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), rows)[0])
    schedule = configs.spec('schedules.cosine', final=0.0)
    optimizer = optim.adamw(names, 150, learning_rate=5e-3, weight_decay=0.0, schedule=schedule)
    state = steps.init(task, [optimizer], 0.0, rows, jax.random.key(0))
    step = jax.jit(steps.make_step(task, [optimizer]))
    for _ in range(150):
        state, terms = step(state, {}, rows)
    assert float(steps.mean_loss(terms)) < 0.02
    evaluate = make_evaluate(task, [accuracy.make(INFO), next_sentence.make(INFO)])
    assert evaluate(state.params, {}, [rows]) == {'accuracy': 1.0, 'next_sentence_accuracy': 1.0}


def test_the_score_of_what_follows():
    score = next_sentence.make(INFO)
    assert score.better == {'next_sentence_accuracy': 'higher'}
    rows = batch() | {'mask': np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)}
    logits = np.array([[2, 1], [9, 0], [0, 1], [0, 1]], np.float32)  # says 0, (0), 1, 1; right is 0, (1), 0, 1
    found = score.finish(score.add(score.start(), {'next': logits}, rows))
    assert found == {'next_sentence_accuracy': pytest.approx(2 / 3)}
    assert np.isnan(score.finish(score.add(score.start(), {}, rows))['next_sentence_accuracy'])


class Letters:
    """A processor of letters: a is 5, b is 6, …"""

    padding, first, separator, masked = 0, 2, 3, 4

    def encode(self, text):
        return np.array([ord(letter) - ord('a') + 5 for letter in text if letter.isalpha()], np.int32)

    def decode(self, ids):
        return ''.join(chr(int(id) + ord('a') - 5) for id in ids)

    def name_of(self, token):
        return {4: '[MASK]'}[token]

    def join(self, first, *, length):
        return np.concatenate([[2], first, [3]]).astype(np.int32)[:length], None


def test_gaps_are_filled():
    task = make()
    params = born(task, batch())
    found = task.answer(params, {}, Letters(), 'ab[MASK]c[MASK]', top=3)
    assert len(found) == 2 and all(len(gap) == 3 for gap in found)
    tokens = np.array([[2, 5, 6, 4, 7, 4, 3]], np.int32)
    probabilities = jax.nn.softmax(task.model.apply({'params': params}, tokens))[0]
    for gap, place in zip(found, (3, 5)):
        best = int(np.argmax(probabilities[place]))
        assert gap[0] == (Letters().decode([best]), pytest.approx(float(probabilities[place, best]), rel=1e-4))
    with pytest.raises(UserError, match='has no gap'):
        task.answer(params, {}, Letters(), 'abc')
    with pytest.raises(UserError, match='the text takes 13 tokens, and the model reads 12'):
        task.answer(params, {}, Letters(), 'abcdefghij[MASK]')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(label_smoothing=1.0), 'label_smoothing=1.0'),
        (dict(next_weight=-1.0), 'next_weight=-1.0'),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        masked_language_model.make(bert.make(INFO, **TINY), INFO, **arguments)


def test_models_of_another_purpose():
    with pytest.raises(UserError, match='head=tokens: this task fills gaps'):
        masked_language_model.make(bert.make(INFO | {'classes': 3}, head='tokens', **TINY), INFO)
    with pytest.raises(UserError, match='masked_language_model wants a model with masked'):
        masked_language_model.make(gpt.make(INFO), INFO)
    with pytest.raises(UserError, match='this task learns texts'):
        masked_language_model.make(bert.make(INFO, **TINY), {'shape': [8, 8, 1]})
