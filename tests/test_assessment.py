"""What an evaluation tells beside its scores, against scikit-learn and a look at each row."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics

from jaxlab import assessment
from jaxlab.assessment import CONFUSED, CURVES, MATRIX, POINTS, WRONG, assess
from jaxlab.scores import calibration

LABELS = ('cat', 'dog', '狐狸', 'owl')


def rows(n=3000, classes=4, seed=0, skill=2.0):
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, n)
    odds = np.exp(draw.normal(size=(n, classes)) * 1.5 + skill * np.eye(classes)[targets])
    return (odds / odds.sum(1, keepdims=True)).astype(np.float32), targets.astype(np.int32)


@pytest.fixture(scope='module')
def found():
    return assess(*rows(), LABELS, numbers=np.arange(3000) * 2)


def test_it_is_plain_json(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found['rows'] == 3000 and found['labels'] == list(LABELS)


def test_confusion_and_the_numbers_of_classes(found):
    probabilities, targets = rows()
    guesses = probabilities.argmax(1)
    assert found['confusion'] == metrics.confusion_matrix(targets, guesses).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(targets, guesses)
    for number, one in enumerate(found['classes']):
        there = targets == number
        assert one == {
            'rows': support[number],
            'said': int((guesses == number).sum()),
            'precision': pytest.approx(precision[number]),
            'recall': pytest.approx(recall[number]),
            'f1': pytest.approx(f1[number]),
            'roc_auc': pytest.approx(metrics.roc_auc_score(there, probabilities[:, number])),
            'average_precision': pytest.approx(metrics.average_precision_score(there, probabilities[:, number])),
        }
    pairs = [(one['rows'], one['target'], one['said']) for one in found['confused']]
    assert len(pairs) == 12 <= CONFUSED and pairs == sorted(pairs, key=lambda pair: -pair[0])
    assert all(found['confusion'][target][said] == count and target != said for count, target, said in pairs)


@pytest.mark.parametrize(('name', 'area'), [('roc', 'roc_auc'), ('precision_recall', 'average_precision')])
def test_thinned_curves_are_the_curves(found, name, area):
    probabilities, targets = rows()
    whole = {
        'roc': lambda there, said: metrics.roc_curve(there, said)[:2],
        'precision_recall': lambda there, said: [x[::-1] for x in metrics.precision_recall_curve(there, said)[1::-1]],
    }[name]
    for number, curve in enumerate(found[name]['classes']):
        x, y = whole(targets == number, probabilities[:, number])
        assert 50 < len(curve['x']) == len(curve['y']) <= POINTS < len(x)
        assert (curve['x'][0], curve['x'][-1]) == (0, 1) and np.all(np.diff(curve['x']) >= 0)
        assert curve['y'][-1] == pytest.approx(y[-1], abs=1e-5)
        assert curve['area'] == found['classes'][number][area]
        assert metrics.auc(curve['x'], curve['y']) == pytest.approx(curve['area'], abs=0.01)
    macro = found[name]['macro']
    assert macro['area'] == pytest.approx(np.mean([one[area] for one in found['classes']]))
    assert metrics.auc(macro['x'], macro['y']) == pytest.approx(macro['area'], abs=0.01)


def test_reliability(found):
    assert assessment.BINS == calibration.BINS
    probabilities, targets = rows()
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == targets
    for number, one in enumerate(found['reliability']):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        assert one['rows'] == inside.sum()
        if inside.any():
            assert one['confidence'] == pytest.approx(confidence[inside].mean(), rel=1e-5)
            assert one['accuracy'] == pytest.approx(hits[inside].mean())
    assert found['reliability'][0] == {'rows': 0, 'confidence': None, 'accuracy': None}


def test_the_most_confident_mistakes(found):
    probabilities, targets = rows()
    guesses = probabilities.argmax(1)
    assert len(found['wrong']) == WRONG
    sure = [one['probability'] for one in found['wrong']]
    assert sure == sorted(sure, reverse=True)
    for one in found['wrong']:
        row = one['number'] // 2
        assert (one['target'], one['said']) == (targets[row], guesses[row]) and one['target'] != one['said']
    assert sure[0] == probabilities.max(1)[guesses != targets].max()


def test_classes_that_are_not_there():
    probabilities, targets = rows()
    targets[targets == 2] = 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = assess(probabilities, targets, LABELS[:2])
    assert found['labels'] == ['cat', 'dog', '2', '3']
    one = found['classes'][2]
    assert one['rows'] == 0 and one['recall'] is one['roc_auc'] is one['average_precision'] is None
    assert one['precision'] == 0 and one['f1'] == 0
    assert found['roc']['classes'][2] is None and found['roc']['macro']


@pytest.mark.parametrize('n', [0, 1])
def test_hardly_any_rows(n):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = assess(*rows(n), LABELS)
    json.dumps(found, allow_nan=False)
    assert found['rows'] == n and found['roc']['macro'] is None
    assert sum(one['rows'] for one in found['reliability']) == n


def test_a_model_that_says_nan():
    probabilities, targets = rows()
    probabilities[::3] = np.nan
    found = assess(probabilities, targets, LABELS)
    assert (found['rows'], found['not_finite']) == (2000, 1000)
    assert (
        found['confusion']
        == assess(probabilities[np.arange(3000) % 3 > 0], targets[np.arange(3000) % 3 > 0])['confusion']
    )


def test_many_classes_make_a_small_file():
    probabilities, targets = rows(500, MATRIX + 1)
    found = assess(probabilities, targets)
    assert found['confusion'] == [] and found['roc']['classes'] == [] and len(found['confused']) == CONFUSED
    assert len(found['classes']) == MATRIX + 1 and found['roc']['macro']
    assert len(json.dumps(found)) < 100_000
    assert len(json.dumps(assess(*rows(3000, CURVES)))) < 700_000


def test_a_curve_cut_off_at_its_end_is_noticed(monkeypatch):
    monkeypatch.setattr(assessment, 'thin', lambda curve: curve and {**curve, 'x': curve['x'][:POINTS]})
    assert assess(*rows())['roc']['classes'][0]['x'][-1] != 1
