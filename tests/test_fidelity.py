"""Fréchet distance, precision and recall, against formulas, scipy and counting by hand."""

import numpy as np
import pytest
import scipy.linalg

from jaxlab import fidelity
from jaxlab.fidelity import frechet_distance, precision_recall


def normal(rows, features, seed=0, mean=0.0, scale=1.0):
    return mean + scale * np.random.default_rng(seed).normal(size=(rows, features))


def test_the_distance_is_that_of_the_matrix_root():
    one, other = normal(200, 6) @ normal(6, 6, 1), normal(150, 6, 2, mean=1.0) @ normal(6, 6, 3)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    wanted = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert np.isclose(frechet_distance(one, other), wanted, rtol=1e-8)
    assert np.isclose(frechet_distance(other, one), wanted, rtol=1e-8)


def test_the_distance_of_known_distributions():
    one = normal(1000, 3)
    assert frechet_distance(one, one) < 1e-10
    assert np.isclose(frechet_distance(one, one + [3, 0, 4]), 25)
    assert np.isclose(frechet_distance(one, 3 * one), 4 * one.var(0, ddof=1).sum() + 4 * np.sum(one.mean(0) ** 2))
    assert np.isclose(
        frechet_distance(one[:, :1], 2 * one[:, :1] + 1), (one.mean(0)[0] + 1) ** 2 + one[:, 0].var(ddof=1)
    )


def test_fewer_rows_than_features_are_no_trouble():
    one, other = normal(10, 50), normal(12, 50, 1)
    assert np.isfinite(frechet_distance(one, other)) and frechet_distance(one, other) > 0
    assert frechet_distance(one.astype(np.float32), one.astype(np.float32)) < 1e-4


def by_hand(real, made, k):
    def share(by, of):
        reach = [np.sort(np.linalg.norm(by - x, axis=1))[k] for x in by]
        return np.mean([any(np.linalg.norm(x - y) <= r for y, r in zip(by, reach)) for x in of])

    return share(real, made), share(made, real)


@pytest.mark.parametrize('neighbours', [1, 3])
def test_precision_and_recall_are_counted(neighbours, monkeypatch):
    real, made = normal(60, 2), normal(40, 2, 1, mean=1.5)
    wanted = by_hand(real, made, neighbours)
    assert 0.1 < min(wanted) < max(wanted) < 1
    assert precision_recall(real, made, neighbours) == wanted
    monkeypatch.setattr(fidelity, 'ROWS', 7)
    assert precision_recall(real, made, neighbours) == wanted


def test_what_is_made_of_one_kind_alone_has_precision_and_no_recall():
    clusters = np.concatenate([normal(50, 4, seed=n, mean=20.0 * n, scale=0.5) for n in range(4)])
    precision, recall = precision_recall(clusters, normal(50, 4, seed=9, scale=0.5))
    assert precision > 0.7 and recall <= 0.25
    assert precision_recall(clusters, normal(50, 4, mean=-50.0)) == (0.0, 0.0)
