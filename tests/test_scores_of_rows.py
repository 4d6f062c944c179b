"""Scores of classifications and regressions are those that scikit-learn finds on the whole arrays at once, however
these are cut into batches, micro-batches and parts on devices."""

# n rows of a split, c classes

import math
import warnings
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics
from sklearn.preprocessing import label_binarize

from jaxlab import evaluation
from jaxlab.evaluation import make_evaluate, make_scores
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.scores import area, classification
from tests.experiments import start_two

N, CLASSES = 45, 7
LABELS = ['cat', 'a dog', 'either/or', '狐狸', 'same', 'same', '']
INFO = {'classes': CLASSES, 'labels': LABELS}
NAMES = (
    'accuracy',
    'top_five',
    'cross_entropy',
    'classification',
    'per_class',
    'area',
    'calibration',
    'f1',
    'matthews',
)
GARBAGE = {'logits': np.nan, 'values': np.nan, 'targets': -1, 'mask': 0.0}  # what a row that pads may hold


class Says:
    """A task whose outputs lie in the batch."""

    def predict(self, params, extra, batch):
        return {name: batch[name] * params for name in ('logits', 'values') if name in batch}


def split(seed=0, n=N, classes=CLASSES):
    """Rows of a classification, of which some do not count; half of them are easy."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, n).astype(np.int32)
    logits = draw.normal(size=(n, classes)) * 2 + 4 * np.eye(classes)[targets] * (draw.random(n) < 0.5)[:, None]
    mask = (draw.random(n) < 0.8).astype(np.float32)
    logits[mask == 0], targets[mask == 0] = np.nan, -1
    return {'logits': logits.astype(np.float32), 'targets': targets, 'mask': mask}


def values(seed=0, n=N, mean=0.0):
    draw = np.random.default_rng(seed)
    targets = (mean + draw.normal(size=n)).astype(np.float32)
    said = (targets + 0.3 * draw.normal(size=n)).astype(np.float32)
    return {'values': said, 'targets': targets, 'mask': (draw.random(n) < 0.8).astype(np.float32)}


def filled(rows, size):
    """Returns the rows with some behind them that do not count, so that `size` divides them."""
    more = -len(rows['mask']) % size
    return {
        name: np.concatenate([x, np.full((more, *x.shape[1:]), GARBAGE[name], x.dtype)]) for name, x in rows.items()
    }


def batches(rows, sizes):
    ends = np.cumsum(sizes)
    return [{name: x[end - size : end] for name, x in rows.items()} for size, end in zip(sizes, ends, strict=True)]


def evaluate(rows, sizes, names=NAMES, accumulate=1, info=INFO):
    assert sum(sizes) == len(rows['mask'])
    return make_evaluate(Says(), make_scores(names, info), accumulate)(jnp.float32(1), {}, batches(rows, sizes))


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def by_sklearn(rows, classes=CLASSES):
    """What scikit-learn finds, on the rows that count."""
    real = rows['mask'] != 0
    targets, logits = rows['targets'][real], rows['logits'][real].astype(np.float64)
    probabilities, guesses, every = softmax(logits), logits.argmax(-1), np.arange(classes)
    found = {
        'accuracy': metrics.accuracy_score(targets, guesses),
        'top_five_accuracy': metrics.top_k_accuracy_score(targets, logits, k=5, labels=every),
        'loss': metrics.log_loss(targets, probabilities, labels=every),
        'roc_auc': metrics.roc_auc_score(targets, probabilities, multi_class='ovr', average='macro'),
        'average_precision': metrics.average_precision_score(label_binarize(targets, classes=every), probabilities),
        'brier': metrics.brier_score_loss(targets, probabilities, labels=every, scale_by_half=False),
        'f1': metrics.f1_score(targets, guesses, labels=every, average='macro', zero_division=0),
        'matthews': metrics.matthews_corrcoef(targets, guesses),
        'calibration_error': calibration_error(probabilities, guesses == targets),
    }
    names = ['cat', 'a_dog', 'either_or', '狐狸', '4', '5', '6']
    for average in ('macro', 'micro', 'weighted', None):
        three = metrics.precision_recall_fscore_support(
            targets, guesses, labels=every, average=average, zero_division=0
        )[:3]
        for name, value in zip(('precision', 'recall', 'f1'), three):
            of = (
                {f'{name}_{average}': value} if average else dict(zip((f'{name}_of_{label}' for label in names), value))
            )
            found |= of
    return found


def calibration_error(probabilities, hits):
    """One row after another, as the paper's formula says it."""
    bins = [[] for _ in range(15)]
    for confidence, hit in zip(probabilities.max(-1), hits):
        bins[math.ceil(confidence * 15) - 1].append((confidence, hit))
    gaps = [abs(sum(hit for _, hit in rows) - sum(confidence for confidence, _ in rows)) for rows in bins]
    return sum(gaps) / len(hits)


def close(found, wanted, rel=2e-5):
    assert found.keys() == wanted.keys()
    assert found == pytest.approx(wanted, rel=rel, abs=1e-7, nan_ok=True)


@pytest.mark.parametrize('sizes', [[45], [16, 16, 13], [1, 43, 1], [9] * 5])
def test_a_split_in_batches_is_the_split_at_once(sizes):
    close(evaluate(split(), sizes), by_sklearn(split()))


@pytest.mark.parametrize('seed', range(5))
def test_of_two_classes_f1_is_that_of_the_second(seed):
    rows = split(seed, classes=2)
    real = rows['mask'] != 0
    targets, guesses = rows['targets'][real], rows['logits'][real].argmax(-1)
    found = evaluate(rows, [45], ('f1', 'matthews'), info={'classes': 2})
    close(found, {'f1': metrics.f1_score(targets, guesses), 'matthews': metrics.matthews_corrcoef(targets, guesses)})
    rows['logits'][:] = [1, 0]  # always the first
    assert evaluate(rows, [45], ('f1', 'matthews'), info={'classes': 2}) == {'f1': 0.0, 'matthews': 0.0}


@pytest.mark.parametrize(('sizes', 'accumulate'), [([15, 30], 5), ([45], 9), ([45], 45)])
def test_micro_batches_change_none(sizes, accumulate):
    close(evaluate(split(), sizes, accumulate=accumulate), by_sklearn(split()))


@pytest.mark.parametrize('mesh', [{'data': 8}, {'fsdp': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_devices_change_none(mesh, accumulate):
    rows = filled(split(), 16)
    devices = make_mesh(mesh)
    place = layout.batch_sharding(devices)
    with jax.set_mesh(devices):
        run = make_evaluate(Says(), make_scores(NAMES, INFO), accumulate)
        found = run(jnp.float32(1), {}, (layout.place(batch, place) for batch in batches(rows, [16] * 3)))
    close(found, by_sklearn(split()))


@pytest.mark.parametrize('mean', [0.0, 2000.0])
@pytest.mark.parametrize(('sizes', 'accumulate'), [([45], 1), ([16, 16, 13], 1), ([15, 30], 5)])
def test_regression(mean, sizes, accumulate):
    rows = values(mean=mean)
    real = rows['mask'] != 0
    targets, said = rows['targets'][real].astype(np.float64), rows['values'][real].astype(np.float64)
    wanted = {
        'mse': metrics.mean_squared_error(targets, said),
        'rmse': metrics.root_mean_squared_error(targets, said),
        'mae': metrics.mean_absolute_error(targets, said),
        'r2': metrics.r2_score(targets, said),
    }
    rows['values'][~real] = rows['targets'][~real] = np.nan
    close(evaluate(rows, sizes, ('regression',), accumulate), wanted)


@pytest.mark.parametrize(('said', 'r2'), [(0.1, 1.0), (0.2, 0.0)])
def test_regression_of_what_does_not_vary(said, r2):
    rows = values() | {'values': np.full(N, said, np.float32), 'targets': np.full(N, 0.1, np.float32)}
    assert evaluate(rows, [16, 16, 13], ('regression',))['r2'] == r2


def test_r2_of_one_row_is_not_defined():
    assert math.isnan(evaluate(values(n=1) | {'mask': np.ones(1)}, [1], ('regression',))['r2'])


def test_classes_that_a_split_has_not():
    """They are left out where nothing can be said of them, and none in the sum else; nothing is warned of."""
    rows = split()
    rows['targets'][rows['targets'] > 3] = 3
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = evaluate(rows, [45])
    real = rows['mask'] != 0
    targets, probabilities = rows['targets'][real], softmax(rows['logits'][real])
    areas = [metrics.roc_auc_score(targets == c, probabilities[:, c]) for c in range(4)]
    assert found['roc_auc'] == pytest.approx(np.mean(areas))
    assert found['recall_of_4'] == found['f1_of_4'] == 0
    guesses = probabilities.argmax(-1)
    wanted = metrics.f1_score(targets, guesses, labels=range(CLASSES), average='macro', zero_division=0)
    assert found['f1_macro'] == pytest.approx(wanted)


def test_a_split_of_one_class_and_one_of_none():
    one = split() | {'targets': np.full(N, 2, np.int32)}
    found = evaluate(one, [45], ('area',))
    assert math.isnan(found['roc_auc']) and found['average_precision'] == 1
    none = evaluate(one | {'mask': np.zeros(N)}, [45])
    assert math.isnan(none.pop('roc_auc')) and math.isnan(none.pop('average_precision'))
    assert set(none.values()) == {0.0}


def test_two_classes():
    rows = split(classes=2)
    real = rows['mask'] != 0
    found = evaluate(rows, [45], info={'classes': 2, 'labels': ['no', 'yes']})
    targets, said = rows['targets'][real], softmax(rows['logits'][real])[:, 1]
    assert found['roc_auc'] == pytest.approx(metrics.roc_auc_score(targets, said), abs=1e-6)
    assert found['f1_of_yes'] == pytest.approx(metrics.f1_score(targets, said > 0.5))
    assert found['top_five_accuracy'] == 1


def test_logits_beyond_what_e_can_be_raised_to():
    rows = split()
    rows['logits'] *= 1e4
    found = evaluate(rows, [45], ('cross_entropy', 'calibration', 'area'))
    real = rows['mask'] != 0
    logits = rows['logits'][real].astype(np.float64)
    nats = logits.max(-1) - np.take_along_axis(logits, rows['targets'][real][:, None], -1)[:, 0]
    assert found['loss'] == pytest.approx(nats.mean(), rel=1e-5)
    assert all(map(math.isfinite, found.values()))


def test_a_model_that_says_nan_is_no_good_one():
    rows = split() | {'logits': np.full((N, CLASSES), np.nan, np.float32)}
    found = evaluate(rows, [45], ('top_five', 'cross_entropy', 'area'))
    assert found.pop('top_five_accuracy') == 0 and all(map(math.isnan, found.values()))


def test_ties_among_the_first_five_are_those_of_sklearn():
    rows = split()
    rows['logits'] = np.round(rows['logits'] / 4)
    real = rows['mask'] != 0
    wanted = metrics.top_k_accuracy_score(rows['targets'][real], rows['logits'][real], k=5, labels=np.arange(CLASSES))
    assert evaluate(rows, [45], ('top_five',))['top_five_accuracy'] == pytest.approx(wanted)
    assert wanted < 1


# --- rows ------------------------------------------------------------------------------------------------------------


class Order:
    """A score that tells what it was given."""

    better: ClassVar = {'rows': 'higher'}

    def rows(self, outputs, batch):
        return {'at': batch['at'], 'double': 2 * outputs['values']}

    def finish(self, rows):
        return {'rows': {name: x.tolist() for name, x in rows.items()}}


def in_order(accumulate=1, mesh=None):
    at = np.arange(48, dtype=np.int32)
    rows = {'at': at, 'values': at / 2, 'mask': (at % 5 != 0).astype(np.float32)}
    devices = make_mesh(mesh or {'data': 1})
    with jax.set_mesh(devices):
        placed = (layout.place(batch, layout.batch_sharding(devices)) for batch in batches(rows, [16] * 3))
        found = make_evaluate(Says(), [Order()], accumulate)(jnp.float32(1), {}, placed)['rows']
    wanted = [n for n in range(48) if n % 5]
    return found == {'number': wanted, 'at': wanted, 'double': wanted}


@pytest.mark.parametrize(('accumulate', 'mesh'), [(1, {}), (4, {}), (1, {'data': 8}), (2, {'data': 4, 'tensor': 2})])
def test_rows_come_in_the_order_of_the_split(accumulate, mesh):
    assert in_order(accumulate, mesh)


def test_rows_in_the_order_of_micro_batches_are_noticed(monkeypatch):
    wrong = lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)  # noqa: E731
    monkeypatch.setattr(evaluation, 'joined', wrong)
    assert in_order() and not in_order(accumulate=4)


def test_rows_that_do_not_count_but_are_kept_are_noticed(monkeypatch):
    monkeypatch.setattr(evaluation, 'counts', lambda batch: batch['mask'] >= 0)
    found = evaluate(split(), [45], ('area',))
    assert found['roc_auc'] != pytest.approx(by_sklearn(split())['roc_auc'], rel=1e-3)


def test_a_sum_where_a_class_of_padding_counts_is_noticed(monkeypatch):
    add = classification.Counts.add
    monkeypatch.setattr(
        classification.Counts,
        'add',
        lambda self, carry, outputs, batch: add(self, carry, outputs, batch | {'mask': jnp.ones_like(batch['mask'])}),
    )
    assert evaluate(split(), [45], ('classification',))['f1_macro'] != pytest.approx(by_sklearn(split())['f1_macro'])


def test_a_batch_is_under_way_while_rows_of_the_one_before_are_read(monkeypatch):
    """Of no more than two batches the rows are on the devices, and each is read once the next was dispatched."""
    events, read = [], jax.device_get
    monkeypatch.setattr(jax, 'device_get', lambda tree: events.append('read') or read(tree))

    def watched():
        for batch in batches(split(), [15] * 3):
            events.append('batch')
            yield batch

    make_evaluate(Says(), [area.make(INFO)])(jnp.float32(1), {}, watched())
    assert events == ['batch', 'batch', 'read', 'batch', 'read', 'read', 'read']  # the last is of the sums


def test_asked_to_end_it_finds_nothing():
    asked = iter([0, 1])
    run = make_evaluate(Says(), make_scores(NAMES, INFO))
    assert run(jnp.float32(1), {}, batches(split(), [15] * 3), lambda: next(asked)) == {}


PROGRAM = """
import sys

import jax

port, number = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{port}', 2, int(number))

import numpy as np

from jaxlab.evaluation import make_evaluate
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from tests.test_scores_of_rows import Order, Says

mesh = make_mesh({'data': 2})
place = layout.batch_sharding(mesh)
mine = layout.process_rows(8, 2, mesh)
at = np.arange(16, dtype=np.int32)
rows = {'at': at, 'values': at / 2, 'mask': (at % 5 != 0).astype(np.float32)}
parts = [{name: x[start : start + 8][mine] for name, x in rows.items()} for start in (0, 8)]
with jax.set_mesh(mesh):
    found = make_evaluate(Says(), [Order()], 2)(np.float32(1), {}, (layout.place(part, place) for part in parts))
assert [int(n) for n in found['rows']['double']] == found['rows']['at'] == found['rows']['number'], found
print(found['rows']['at'])
"""


def test_two_processes_have_all_rows():
    running = start_two(PROGRAM)
    for process in running:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, out + errors
        assert out.splitlines()[-1] == str([n for n in range(16) if n % 5])
