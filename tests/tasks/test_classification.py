"""Classification and regression: losses by numpy, what counts and what does not, answers to raw inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab import optim
from jaxlab import step as steps
from jaxlab.data.processors.table import Table
from jaxlab.models import mlp
from jaxlab.parallel import layout
from jaxlab.tasks import classification, regression
from tests.experiments import message

INFO = {'shape': [4], 'classes': 3, 'labels': list('abc'), 'mean': [1.0] * 4, 'deviation': [2.0] * 4}
NUMBERS = {'shape': [4], 'classes': 0, 'mean': [0.0] * 4, 'deviation': [1.0] * 4} | {
    'target_mean': 10.0,
    'target_deviation': 5.0,
}


def batch(rows=8, seed=0):
    draw = np.random.default_rng(seed)
    return {
        'inputs': draw.normal(size=(rows, 4)).astype(np.float32),
        'targets': draw.integers(0, 3, rows).astype(np.int32),
        'mask': (np.arange(rows) < rows - 2).astype(np.float32),
    }


def classify(**options):
    info = INFO | {'class_counts': [1, 2, 5]}
    return classification.make(mlp.make(info, widths=(8,)), info, **options)


def of_numpy(task, params, rows, weights=(1, 1, 1), smoothing=0.0):
    x = (rows['inputs'] - 1) / 2
    params = jax.tree.map(np.asarray, params)
    hidden = np.maximum(x @ params['layer_0']['kernel'] + params['layer_0']['bias'], 0)
    logits = hidden @ params['head']['kernel'] + params['head']['bias']
    log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = np.eye(3)[rows['targets']] * (1 - smoothing) + smoothing / 3
    each = np.array(weights)[rows['targets']] * rows['mask']
    return -(wanted * log).sum(1) @ each, each.sum()


@pytest.mark.parametrize(
    ('options', 'weights', 'smoothing'),
    [
        ({}, (1, 1, 1), 0.0),
        ({'label_smoothing': 0.1}, (1, 1, 1), 0.1),
        ({'class_weights': 'balanced'}, (8 / 3, 4 / 3, 8 / 15), 0.0),
    ],
)
def test_the_loss_is_that_of_numpy(options, weights, smoothing):
    task, rows = classify(**options), batch()
    params, extra = layout.unbox(task.init(jax.random.key(0), rows))
    terms, _ = task.loss(params, extra, rows, jax.random.key(1))
    total, count = of_numpy(task, params, rows, weights, smoothing)
    assert np.isclose(terms['loss'].total, total, rtol=1e-5) and np.isclose(terms['loss'].count, count, rtol=1e-5)


def test_pictures_are_normalised_as_parts_of_255():
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    found = classification.normalised(jnp.asarray(pictures), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert np.allclose(found, (pictures / 255 - [0.1, 0.2, 0.3]) / [1.0, 2.0, 3.0], atol=1e-6)


@pytest.mark.parametrize('which', ['classification', 'regression'])
def test_one_batch_is_learned_by_heart(which):
    rows = batch()
    task = classify() if which == 'classification' else regression.make(mlp.make(NUMBERS, widths=(64,)), NUMBERS)
    if which == 'regression':
        rows['targets'] = np.linspace(0, 20, 8, dtype=np.float32)
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), rows)[0])
    optimizer = optim.adamw(names, 400, learning_rate=3e-2, weight_decay=0.0, schedule=configs.spec('schedules.cosine'))
    state = steps.init(task, [optimizer], 0.0, rows, jax.random.key(0))
    step = jax.jit(steps.make_step(task, [optimizer]))
    for _ in range(400):
        state, terms = step(state, {}, rows)
    assert float(steps.mean_loss(terms)) < 0.02
    if which == 'regression':
        found = task.answers(state.params, {}, Table(4), rows['inputs'])
        assert np.allclose(found[:6], rows['targets'][:6], atol=1.0)


def test_answers_are_the_likeliest_classes_first():
    task, rows = classify(), batch(rows=70)
    params, extra = layout.unbox(task.init(jax.random.key(0), rows))
    processor = Table(4, ('a', 'b', 'c'))
    found = task.answers(params, extra, processor, list(rows['inputs']), top=3)
    p = np.asarray(jax.nn.softmax(task.predict(params, extra, rows)['logits']))
    for answer, row in zip(found, p, strict=True):
        assert [label for label, _ in answer] == ['abc'[i] for i in np.argsort(-row)]
        assert np.allclose([value for _, value in answer], np.sort(row)[::-1], rtol=1e-5)
    assert task.answer(params, extra, processor, rows['inputs'][3], top=3)[0][0] == found[3][0][0]


def test_huber_counts_outliers_by_their_size():
    rows = batch() | {'targets': np.full(8, 1000.0, np.float32)}
    losses = []
    for huber in (0.0, 1.0):
        task = regression.make(mlp.make(NUMBERS, widths=()), NUMBERS, huber=huber)
        params, _ = layout.unbox(task.init(jax.random.key(0), rows))
        losses.append(task.loss(params, {}, rows, jax.random.key(0))[0]['loss'])
    errors = np.sqrt(float(losses[0].total) / 6)
    assert np.isclose(losses[1].total / 6, 2 * errors - 1, rtol=1e-2)


def test_of_two_ways_to_mix_each_batch_draws_one(monkeypatch):
    for name in ('mixup', 'cutmix'):

        def mix(key, inputs, targets, mask, alpha, number=len(name)):
            return inputs, targets * number

        monkeypatch.setattr(classification, name, mix)
    task, rows = classify(mixup=0.5, cutmix=0.5), batch()
    params, extra = layout.unbox(task.init(jax.random.key(0), rows))
    plain = float(classify().loss(params, extra, rows, jax.random.key(0))[0]['loss'].total)
    found = {
        round(float(task.loss(params, extra, rows, jax.random.key(n))[0]['loss'].total) / plain) for n in range(20)
    }
    assert found == {5, 6}


def test_mistakes_are_one_sentence():
    assert 'numbers, not classes' in message(classification.make, None, NUMBERS)
    assert 'classes, not numbers' in message(regression.make, None, INFO)
    assert 'label_smoothing=1.0' in message(classify, label_smoothing=1.0)
    assert 'mixup=-1' in message(classify, mixup=-1)
    assert 'class_weights=balance:' in message(classify, class_weights='balance')
    assert 'is not known' in message(classification.make, None, INFO, class_weights='balanced')
    assert 'widths[0]=0' in message(mlp.make, INFO, widths=(0,))
    assert 'activation=rel' in message(mlp.make, INFO, activation='rel')
    assert 'dropout=1.0' in message(mlp.make, INFO, dropout=1.0)
