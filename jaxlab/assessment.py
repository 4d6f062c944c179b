"""What no single number tells of a classification: which classes are taken for which, curves, calibration, and the rows
that the model is most sure of and wrong about. Plain JSON values, made by NumPy and scikit-learn on the host."""

# n rows, c classes

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BINS = 15  # of confidence, as in scores/calibration.py
POINTS = 200  # of a curve, at most
CURVES = 50  # classes with curves of their own; where there are more, a picture shows none
MATRIX = 200  # classes with a matrix; where there are more, what is confused the most says more
CONFUSED = 20  # pairs of classes
WRONG = 36  # rows


def assess(
    probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str] = (), numbers: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns what a classification did on some rows, as JSON values; what is not defined is None.

    Args:
      probabilities: [n c].
      targets: int [n], in 0..c-1.
      labels: names of the classes; where they are fewer than c, the rest are called by their numbers.
      numbers: int [n], what each row is called; by default 0..n-1.

    Returns: of the rows whose probabilities are all finite,
      'rows': n, and 'not_finite': how many more there were
      'labels': c names
      'confusion': [true][said] -> rows; [] with more than 200 classes
      'confused': the pairs of classes that are confused the most, {'target', 'said', 'rows'}, the most first
      'classes': of each class {'rows', 'said', 'precision', 'recall', 'f1', 'roc_auc', 'average_precision'}. Precision
        of a class that is never said is None, recall and areas of one that has no row; no ROC curve is there without
        other rows either
      'roc', 'precision_recall': {'macro': curve, 'classes': [curve or None, …]}. A curve is {'x', 'y', 'area'}, of at
        most 200 points: false and true positive rate, or recall and precision. The macro curve is the mean of those of
        the classes at each x, and None where there are none; those of the classes are [] with more than 50
      'reliability': of each of 15 bins of confidence {'rows', 'confidence', 'accuracy'}: the last two are means
      'wrong': the rows that are wrong with the highest probabilities, {'number', 'target', 'said', 'probability'}
    """
    from sklearn.metrics import auc, precision_recall_curve, roc_curve

    numbers = np.arange(len(targets)) if numbers is None else numbers
    finite = np.isfinite(probabilities).all(axis=1)
    probabilities, targets, numbers = probabilities[finite], targets[finite], numbers[finite]
    classes = probabilities.shape[1]
    guesses = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (targets, guesses), 1)

    def roc(there: np.ndarray, said: np.ndarray) -> dict[str, np.ndarray] | None:
        if there.all():
            return None
        x, y, _ = roc_curve(there, said)
        return {'x': x, 'y': y, 'area': min(auc(x, y), 1.0)}

    def precision_recall(there: np.ndarray, said: np.ndarray) -> dict[str, np.ndarray] | None:
        precision, recall, _ = precision_recall_curve(there, said)
        average = -np.sum(np.diff(recall) * precision[:-1])  # the average precision, without another sort
        return {'x': recall[::-1], 'y': precision[::-1], 'area': min(average, 1.0)}

    def of_classes(curve: Callable[..., Any]) -> list[Any]:
        found = []
        for number in range(classes):
            there = targets == number
            found.append(curve(there, probabilities[:, number]) if there.any() else None)
        return found

    curves = {'roc': of_classes(roc), 'precision_recall': of_classes(precision_recall)}
    areas = {'roc_auc': curves['roc'], 'average_precision': curves['precision_recall']}
    return {
        'rows': len(targets),
        'not_finite': int(np.sum(~finite)),
        'labels': [*labels[:classes], *map(str, range(len(labels), classes))],
        'confusion': confusion.tolist() if classes <= MATRIX else [],
        'confused': confused(confusion),
        'classes': [
            {**numbers_of(confusion, number), **{name: _area(found[number]) for name, found in areas.items()}}
            for number in range(classes)
        ],
        **{
            name: {'macro': macro(found), 'classes': [thin(curve) for curve in found] if classes <= CURVES else []}
            for name, found in curves.items()
        },
        'reliability': reliability(probabilities.max(axis=1, initial=0), guesses == targets),
        'wrong': wrong(probabilities, targets, numbers),
    }


def numbers_of(confusion: np.ndarray, number: int) -> dict[str, Any]:
    """Returns how many rows are of a class, how many are said to be, and what follows from that."""
    there, said, both = (
        int(x) for x in (confusion[number].sum(), confusion[:, number].sum(), confusion[number, number])
    )
    return {
        'rows': there,
        'said': said,
        'precision': both / said if said else None,
        'recall': both / there if there else None,
        'f1': 2 * both / (there + said) if there + said else None,
    }


def confused(confusion: np.ndarray) -> list[dict[str, int]]:
    """Returns the pairs of classes that are confused the most."""
    mistakes = confusion * ~np.eye(len(confusion), dtype=bool)
    most = np.argsort(-mistakes, axis=None, kind='stable')[:CONFUSED]
    pairs = [tuple(map(int, np.unravel_index(at, mistakes.shape))) for at in most]
    return [
        {'target': target, 'said': said, 'rows': int(mistakes[target, said])}
        for target, said in pairs
        if mistakes[target, said]
    ]


def thin(curve: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns a curve through at most `POINTS` of its points, evenly along its way, and both ends."""
    if curve is None:
        return None
    x, y = np.asarray(curve['x'], np.float64), np.asarray(curve['y'], np.float64)
    if len(x) > POINTS:
        way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)))
        x, y = x[kept], y[kept]
    return {'x': x.round(5).tolist(), 'y': y.round(5).tolist(), 'area': _area(curve)}


def macro(curves: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Returns the mean of curves at each x; its area is the mean of theirs."""
    known = [curve for curve in curves if curve is not None]
    if not known:
        return None
    x = np.linspace(0, 1, POINTS)
    y = np.mean([_at(x, curve) for curve in known], axis=0)
    return thin({'x': x, 'y': y, 'area': np.mean([curve['area'] for curve in known])})


def _at(x: np.ndarray, curve: dict[str, Any]) -> np.ndarray:
    """Returns how high a curve is at each x: where it stands upright, as high as it gets there."""
    places, first = np.unique(curve['x'], return_index=True)
    return np.interp(x, places, np.maximum.reduceat(curve['y'], first))


def reliability(confidence: np.ndarray, hits: np.ndarray) -> list[dict[str, Any]]:
    """Returns of each bin ((m - 1) / 15, m / 15] how many rows are in it, how sure the model is and how often right."""
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1].astype(confidence.dtype), confidence)
    found = []
    for number in range(BINS):
        inside = bins == number
        rows = int(inside.sum())
        found.append(
            {
                'rows': rows,
                'confidence': float(confidence[inside].mean(dtype=np.float64)) if rows else None,
                'accuracy': float(hits[inside].mean()) if rows else None,
            }
        )
    return found


def wrong(probabilities: np.ndarray, targets: np.ndarray, numbers: np.ndarray) -> list[dict[str, Any]]:
    """Returns the rows that the model is most sure of and wrong about, the surest first."""
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1, initial=0)
    rows = np.flatnonzero(guesses != targets)
    rows = rows[np.argsort(-confidence[rows], kind='stable')][:WRONG]
    return [
        {
            'number': int(numbers[row]),
            'target': int(targets[row]),
            'said': int(guesses[row]),
            'probability': float(confidence[row]),
        }
        for row in rows
    ]


def _area(curve: dict[str, Any] | None) -> float | None:
    return None if curve is None else float(curve['area'])
