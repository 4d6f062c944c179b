"""The verdict on over-fitting: curves whose story is known, and what is said of them."""

import numpy as np
import pytest

from jaxlab.report import fit as fits
from jaxlab.report.fit import fit, smooth
from jaxlab.report.record import Series, read
from tests.experiments import write_run

STEPS = np.arange(10, 1001, 10)


def falling(low, high=4.0):
    return low + (high - low) * np.exp(-STEPS / 150)


def told(tmp_path, training, held_out, every=100):
    rows = [{'step': int(step), 'train/loss': float(value)} for step, value in zip(STEPS, training)]
    rows += [
        {'step': int(step), 'eval/held_out/loss': float(value)}
        for step, value in zip(STEPS, held_out)
        if step % every == 0
    ]
    rows.sort(key=lambda row: row['step'])
    return fit(read(write_run(tmp_path / 'run', rows)))


def rising(after):
    return np.maximum(STEPS - after, 0) / 1000


@pytest.mark.parametrize(
    ('verdict', 'training', 'held_out'),
    [
        ('over', falling(1.0) - rising(0) / 2, falling(2.0) + rising(500)),
        ('over', falling(1.0), falling(2.0) + rising(500)),  # training loss stands still
        ('unstable', falling(2.0) + rising(500), falling(2.1) + rising(500)),
        ('under', 3 - STEPS / 1000, 3.1 - STEPS / 1000),
        ('falling', 3 - STEPS / 500, 3.1 - STEPS / 1000),
        ('level', falling(1.0), falling(2.0)),
    ],
)
def test_verdicts(tmp_path, verdict, training, held_out):
    assert told(tmp_path, training, held_out).verdict == verdict


def test_one_evaluation_is_too_early(tmp_path):
    assert told(tmp_path, falling(1.0), falling(2.0), every=1000).verdict == 'early'


def test_noise_is_no_overfitting(tmp_path):
    noise = 0.004 * np.random.default_rng(0).standard_normal(len(STEPS))
    assert told(tmp_path, np.full(len(STEPS), 2.0), 2.1 + noise).verdict == 'level'


def test_the_best_step_and_the_gap(tmp_path):
    found = told(tmp_path, np.full(len(STEPS), 1.5), 2 + np.abs(STEPS - 600) / 1000)
    assert found.held_out.steps[found.best] == 600
    assert found.gap.steps.tolist() == list(range(100, 1001, 100))
    assert np.allclose(found.gap.values, 0.5 + np.abs(found.gap.steps - 600) / 1000)


def test_the_gap_is_taken_at_the_same_step(tmp_path):
    training = 3 - STEPS / 1000  # a straight line: its mean around a step is its value there
    found = told(tmp_path, training, training + 0.25)
    assert np.allclose(found.gap.values[:-1], 0.25)


def test_a_mean_of_rows_that_lags_is_noticed(tmp_path, monkeypatch):
    def lagging(series):
        window = 5
        means = [series.values[max(0, n - window + 1) : n + 1].mean() for n in range(len(series))]
        return Series(series.steps, np.array(means)), window

    monkeypatch.setattr(fits, 'smooth', lagging)
    training = 3 - STEPS / 1000
    assert not np.allclose(told(tmp_path, training, training + 0.25).gap.values[:-1], 0.25)


def test_evaluations_before_the_first_row_have_nothing_to_compare_with(tmp_path):
    rows = [{'step': 5, 'eval/held_out/loss': 4.0}, {'step': 10, 'train/loss': 3.0}]
    assert fit(read(write_run(tmp_path / 'early', rows))) is None
    rows += [{'step': 15, 'eval/held_out/loss': 3.25}]
    assert fit(read(write_run(tmp_path / 'later', rows))).gap.values.tolist() == [0.25]


@pytest.mark.parametrize('rows', [1, 2, 5, 99, 1000])
def test_smooth_keeps_every_step_and_says_of_how_many_rows(rows):
    series = Series(np.arange(rows), np.random.default_rng(0).standard_normal(rows))
    smoothed, window = smooth(series)
    assert smoothed.steps.tolist() == series.steps.tolist()
    half = window // 2
    for at in {0, rows // 2, rows - 1}:
        assert np.isclose(smoothed.values[at], series.values[max(0, at - half) : at + half + 1].mean())
    assert np.isclose(smoothed.values[-1], series.values[-fits.tail(series) :].mean())
