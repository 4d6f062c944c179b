"""Curves: bounded, with their spikes, and the same text each time."""

import re

import numpy as np
import pytest

from jaxlab.report import pictures
from jaxlab.report.pictures import Curve, Picture, draw, short, thin
from jaxlab.report.record import Series


def noisy(rows=100_000):
    values = np.random.default_rng(0).standard_normal(rows)
    if rows > 67_890:
        values[12_345], values[67_890] = 50.0, -60.0
    return Series(np.arange(rows) * 10, values)


def test_thinning_keeps_extremes_and_ends():
    series = noisy()
    thinned = thin(series)
    assert 2 * pictures.POINTS - 10 <= len(thinned) <= 2 * pictures.POINTS + 2
    assert thinned.values.max() == 50.0 and thinned.steps[thinned.values.argmax()] == 123_450
    assert thinned.values.min() == -60.0 and thinned.steps[thinned.values.argmin()] == 678_900
    assert thinned.steps[0] == series.steps[0] and thinned.steps[-1] == series.steps[-1]
    assert (np.diff(thinned.steps) > 0).all() and set(thinned.values) <= set(series.values)


def test_taking_every_nth_point_would_lose_the_spikes():
    series = noisy()
    assert series.values[:: len(series) // pictures.POINTS].max() < 50.0


def test_a_short_curve_is_drawn_as_it_is():
    series = Series(np.arange(700), np.arange(700.0))
    assert thin(series) is series


def points(svg):
    """The corners of every drawn curve, in pixels."""
    return [
        [tuple(map(float, pair.split())) for pair in re.findall(r'[\d.-]+ [\d.-]+', path)]
        for path in re.findall(r'data-read="[\w-]+">\s*<path d="([^"]*)"', svg)
    ]


def scale(svg, axis):
    return [float(word) for word in re.search(rf'data-{axis}="([^"]*)"', svg)[1].split()]


@pytest.mark.parametrize('log', [False, True])
def test_drawn_points_are_the_numbers(log):
    series = Series(np.array([10, 20, 40]), np.array([3.0, 1.0, 2.0]))
    svg = draw(Picture([Curve(series)], log=log), 'one')
    x0, x1, left, right = scale(svg, 'x')
    y0, y1, bottom, top = scale(svg, 'y')
    (drawn,) = points(svg)
    for (x, y), step, value in zip(drawn, series.steps, series.values):
        part = np.log(value / y0) / np.log(y1 / y0) if log else (value - y0) / (y1 - y0)
        assert x == pytest.approx(left + (step - x0) / (x1 - x0) * (right - left), abs=0.2)
        assert y == pytest.approx(bottom + part * (top - bottom), abs=0.2)


def test_the_same_picture_is_the_same_text_and_has_names_of_its_own():
    picture = Picture([Curve(noisy(500), dots=True, group='group-3')])
    one, again, other = draw(picture, 'a'), draw(picture, 'a'), draw(picture, 'b')
    assert one == again
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert names[0] and not names[0] & names[1]
    for svg, ids in zip((one, other), names):
        assert (
            set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg))
            and {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)} == ids
        )
    assert one.count('class="group-3"') == 1


def test_pictures_wear_the_colours_of_the_page_and_carry_nothing_else():
    curves = [Curve(noisy(50), colour, dots=True) for colour in pictures.COLOURS]
    svg = draw(Picture(curves, mark=[100.0]), 'all', 'wide')
    assert not re.search(r'#[0-9a-f]{6}', svg)
    for colour in pictures.COLOURS:
        assert f'var(--{colour})' in svg
    for word in ('://', '<style', '<metadata', 'font', 'DejaVu', 'xmlns', '<?xml', 'matplotlib'):
        assert word not in svg


@pytest.mark.parametrize(
    'series',
    [
        Series(np.array([5]), np.array([2.0])),
        Series(np.array([5, 6]), np.array([0.0, 0.0])),
        Series(np.array([5, 6]), np.array([-1e30, 1e30])),
        Series(np.array([5, 2**40]), np.array([1e-12, 3e-12])),
    ],
)
def test_odd_curves_are_drawn(series):
    for size in pictures.SIZES:
        assert draw(Picture([Curve(series, dots=True)], from_zero=True), 'odd', size).endswith('</svg>')


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0, '0'),
        (0.25, '0.25'),
        (1000, '1000'),
        (12_000, '12k'),
        (1_500_000, '1.5M'),
        (3e-4, '0.0003'),
        (3e-5, '3e-5'),
        (-2.5e9, '-2.5G'),
        (4e15, '4e15'),
    ],
)
def test_short_numbers(value, text):
    assert short(value) == text
