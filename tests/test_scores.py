"""Scores against plain numpy; how a split is cut into batches changes none of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import config, evaluation
from jaxlab.errors import UserError
from jaxlab.evaluation import make_evaluate, make_scores
from jaxlab.parallel.mesh import make_mesh
from jaxlab.scores import believed

ROWS, LENGTH, VOCABULARY = 12, 5, 7
NAMES = ('accuracy', 'bits_per_byte', 'perplexity')
INFO = {'classes': 3, 'labels': ['cat', 'dog', 'fox']}
JUDGED = 'answers'  # which tests/data/test_squad.py marks
OF_ROWS = (  # see test_scores_of_rows.py
    'area',
    'calibration',
    'classification',
    'cross_entropy',
    'entities',
    'f1',
    'matthews',
    'per_class',
    'regression',
    'top_five',
)


def split(seed=0):
    """Rows of which some tokens count, as `mask` says, and stand for some bytes; 'logits' is what the model says."""
    draw = np.random.default_rng(seed)
    mask = (draw.random((ROWS, LENGTH)) < 0.7).astype(np.float32)
    return {
        'logits': draw.normal(size=(ROWS, LENGTH, VOCABULARY)).astype(np.float32) * 3,
        'targets': draw.integers(0, VOCABULARY, (ROWS, LENGTH), np.int32),
        'mask': mask,
        'bytes': mask * draw.integers(0, 5, (ROWS, LENGTH)),  # 0: the end of a text
    }


def by_hand(rows):
    nats, hits, tokens, size = 0.0, 0, 0, 0.0
    for i, j in np.ndindex(rows['mask'].shape):
        if rows['mask'][i, j]:
            logits = rows['logits'][i, j].astype(float)
            nats += np.log(np.exp(logits).sum()) - logits[rows['targets'][i, j]]
            hits += logits.argmax() == rows['targets'][i, j]
            tokens, size = tokens + 1, size + rows['bytes'][i, j]
    return {
        'accuracy': hits / tokens,
        'bits_per_byte': nats / math.log(2) / size,
        'loss': nats / tokens,
        'perplexity': math.exp(nats / tokens),
    }


class Says:
    """A task whose outputs lie in the batch."""

    def predict(self, params, extra, batch):
        return {'logits': batch['logits'] * params}


def evaluate(rows, sizes, params=1.0, accumulate=1):
    ends = np.cumsum(sizes)
    batches = [{name: x[end - size : end] for name, x in rows.items()} for size, end in zip(sizes, ends, strict=True)]
    return make_evaluate(Says(), make_scores(NAMES, {}), accumulate)(jnp.float32(params), {}, batches)


@pytest.mark.parametrize('sizes', [[12], [4, 4, 4], [1, 7, 4], [11, 1]])
def test_scores_are_those_of_the_whole_split(sizes):
    rows = split()
    assert evaluate(rows, sizes) == pytest.approx(by_hand(rows), rel=1e-6)


@pytest.mark.parametrize(('sizes', 'accumulate'), [([12], 4), ([4, 8], 2), ([12], 12)])
def test_micro_batches_change_none(sizes, accumulate):
    assert evaluate(split(), sizes, accumulate=accumulate) == pytest.approx(by_hand(split()), rel=1e-6)


def test_large_outputs_are_made_for_some_rows_at_a_time(monkeypatch):
    made = []

    class Watched(Says):
        def predict(self, params, extra, batch):
            made.append(len(batch['logits']))
            return super().predict(params, extra, batch)

    row = LENGTH * VOCABULARY * 4
    for most, accumulate, wanted in [(12, 1, 12), (5, 1, 4), (5, 4, 3), (1, 1, 1), (0.5, 2, 1)]:
        monkeypatch.setattr(evaluation, 'OUTPUTS', most * row)
        run = make_evaluate(Watched(), make_scores(NAMES, {}), accumulate)
        assert run(jnp.float32(1), {}, [split()]) == pytest.approx(by_hand(split()), rel=1e-6)
        assert made[-1] == wanted


def test_outputs_are_split_over_devices_first(monkeypatch):
    monkeypatch.setattr(evaluation, 'OUTPUTS', 200)
    outputs = {'logits': np.zeros((16, 25), np.float32)}  # a row is 100 bytes
    assert evaluation.micro_batches(outputs, 16, 1) == 8
    with jax.set_mesh(make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})):
        assert evaluation.micro_batches(outputs, 16, 1) == 2


def test_rows_that_only_fill_the_last_batch_do_not_count():
    rows = split()
    filled = {name: np.concatenate([x, x[:4] * (name not in ('mask', 'bytes'))]) for name, x in rows.items()}
    assert evaluate(filled, [8, 8]) == pytest.approx(by_hand(rows), rel=1e-6)


def test_a_model_that_knows_nothing():
    found = evaluate(split(), [12], params=0.0)
    assert found['loss'] == pytest.approx(math.log(VOCABULARY), rel=1e-6)
    assert found['perplexity'] == pytest.approx(VOCABULARY, rel=1e-5)


def test_nothing_that_counts():
    rows = split() | {'mask': np.zeros((ROWS, LENGTH)), 'bytes': np.zeros((ROWS, LENGTH))}
    assert evaluate(rows, [12]) == {'accuracy': 0, 'bits_per_byte': 0, 'loss': 0, 'perplexity': 1}


def test_a_loss_too_large_to_raise_e_to():
    rows = split()
    rows['logits'][...] = 0
    np.put_along_axis(rows['logits'], rows['targets'][..., None], -5000, axis=-1)
    found = evaluate(rows, [12])
    assert found['loss'] > 4999 and math.isfinite(found['perplexity'])


def test_sums_stay_on_the_device_and_one_program_serves_all_batches(monkeypatch):
    rows, reads, programs = split(), [], []
    read = jax.device_get
    monkeypatch.setattr(jax, 'device_get', lambda tree: reads.append(tree) or read(tree))

    class Counted(Says):
        def predict(self, params, extra, batch):
            programs.append(1)  # once for each time it is traced
            return super().predict(params, extra, batch)

    run = make_evaluate(Counted(), make_scores(NAMES, {}))
    for _ in range(2):
        run(jnp.float32(1), {}, ({name: x[start : start + 4] for name, x in rows.items()} for start in (0, 4, 8)))
    assert len(reads) == 2 and len(programs) == 1


def test_every_score_is_one_of_these():
    assert sorted(config.names('scores')) == sorted(
        [*NAMES, *OF_ROWS, JUDGED, 'believed', 'next_sentence']
    )  # a new score wants a line in one of these


@pytest.mark.parametrize('name', NAMES + OF_ROWS)
def test_a_score_says_which_is_better_of_every_number(name):
    (score,) = make_scores([name], INFO)
    assert set(score.better) == set(score.finish({} if hasattr(score, 'rows') else jax.device_get(score.start())))
    assert set(score.better.values()) <= {'higher', 'lower'}


def test_a_score_that_is_not_there():
    with pytest.raises(UserError, match='Did you mean "accuracy"'):
        make_scores(['acuracy'], {})


def test_believed_counts_what_the_discriminator_takes_for_real():
    score = believed.make({})
    outputs = {'real': jnp.array([1.0, -1.0, 2.0, 3.0]), 'fake': jnp.array([-1.0, -2.0, 0.5, 3.0])}
    batch = {'mask': jnp.array([1.0, 1.0, 1.0, 0.0])}
    carry = score.add(score.add(score.start(), outputs, batch), outputs, {'mask': jnp.zeros(4)})
    found = score.finish(carry)
    assert np.isclose(found['real_believed'], 2 / 3) and np.isclose(found['fake_believed'], 1 / 3)
    assert score.finish(score.start()) == {'real_believed': 0.0, 'fake_believed': 0.0} and score.better == {}
