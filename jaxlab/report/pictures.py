"""Curves as SVG that lives inside a page: no font, no colour and no size of its own.

Matplotlib draws; what it writes is then fitted to the page: colours become the page's variables, so that one picture
serves light, dark and paper; words are left to the page, which knows two languages.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlab.report.html import Html
from jaxlab.report.record import Series

POINTS = 400  # a curve is drawn through at most three times so many points, however long the run
SIZES = {'wide': (900, 320), 'narrow': (360, 240), 'small': (300, 170), 'square': (300, 280)}  # in pixels of the page

# What a curve may be coloured with: variables of page.css. Matplotlib knows only fixed colours, so each has one that
# nothing else has, and is put back afterwards.
COLOURS = ('ink', 'faint', 'training', 'held-out', *(f'run-{n}' for n in range(8)))
_FIXED = {name: f'#0{number:02x}fe{number:x}'.ljust(7, '0')[:7] for number, name in enumerate(COLOURS, 1)}


@dataclass(frozen=True)
class Curve:
    """A line of a picture."""

    series: Series
    colour: str = 'training'
    width: float = 1.6
    opacity: float = 1.0
    dots: bool = False  # marks every point, as for evaluations, which are few
    dashes: str = '-'
    group: str = ''  # class of its element, so that the page can hide it
    read: bool = True  # whether the number under the pointer is told


@dataclass(frozen=True)
class Picture:
    """What a picture shows.

    Attributes:
      curves: its lines, those behind first.
      between: (steps, low, high) of an area to shade, such as the gap between two losses.
      mark: steps at which a thin line stands upright.
      top: the largest value to show; what lies above leaves the picture.
      log: whether the vertical axis is logarithmic.
      from_zero: whether the vertical axis begins at 0.
    """

    curves: Sequence[Curve]
    between: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    mark: Sequence[float] = field(default=())
    top: float = math.inf
    log: bool = False
    from_zero: bool = False


def thin(series: Series, points: int = POINTS) -> Series:
    """Returns at most about 2 * points of a series: of each stretch its lowest and its highest value, and both ends.

    So a spike of one step stays to be seen, whatever the length of the run.
    """
    count = len(series)
    if count <= 2 * points:
        return series
    edges = np.linspace(0, count, points + 1).astype(int)
    keep = {0, count - 1}
    for start, end in pairwise(edges):
        stretch = series.values[start:end]
        keep |= {start + int(np.argmin(stretch)), start + int(np.argmax(stretch))}
    kept = np.array(sorted(keep))
    return Series(series.steps[kept], series.values[kept])


def draw(picture: Picture, name: str, size: str = 'small') -> Html:
    """Returns a picture as an <svg> element; the same picture gives the same text.

    Args:
      picture: what to draw.
      name: unique in the page, since what the picture refers to within itself is named after it.
      size: a key of SIZES.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    width, height = SIZES[size]
    left, right, above, below = 46, 14, 10, 24
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name, 'path.simplify': False}):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_axes((left / width, below / height, 1 - (left + right) / width, 1 - (above + below) / height))
        axes.patch.set_visible(False)
        for side in ('top', 'right', 'left'):
            axes.spines[side].set_visible(False)
        axes.spines['bottom'].set_color(_FIXED['faint'])
        axes.tick_params(which='both', length=0, labelsize=11, labelcolor=_FIXED['ink'], pad=5)
        axes.grid(axis='y', color=_FIXED['faint'], linewidth=0.6, alpha=0.6)
        axes.set_axisbelow(True)
        if picture.between:
            steps, low, high = picture.between
            axes.fill_between(steps, low, high, color=_FIXED['held-out'], alpha=0.14, linewidth=0)
        for step in picture.mark:
            axes.axvline(step, color=_FIXED['held-out'], linewidth=1, linestyle=(0, (3, 3)))
        for number, curve in enumerate(picture.curves):
            shown = thin(curve.series)
            (line,) = axes.plot(
                shown.steps,
                shown.values,
                color=_FIXED[curve.colour],
                linewidth=curve.width,
                alpha=curve.opacity,
                linestyle=curve.dashes,
                solid_joinstyle='round',
            )
            if (curve.dots and len(shown) <= 60) or len(shown) == 1:
                inside = shown.values <= picture.top
                dots: dict[str, Any] = {'color': _FIXED[curve.colour], 'clip_on': False}  # whole, at the edges too
                (marks,) = axes.plot(
                    shown.steps[inside], shown.values[inside], 'o', markersize=4.5, markeredgewidth=0, **dots
                )
                marks.set_gid(f'dots-{number}')
            line.set_gid(f'curve-{number}')
        _limits(axes, picture)
        if picture.log:
            axes.yaxis.set_major_locator(LogLocator(numticks=5))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5 if height < 200 else 7, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_locator(MaxNLocator(4 if width < 500 else 8, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        written = io.StringIO()
        figure.savefig(written, format='svg', metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None})
        scale = {
            'x': ' '.join(f'{x:.8g}' for x in (*axes.get_xlim(), left, width - right)),
            'y': ' '.join(f'{y:.8g}' for y in (*axes.get_ylim(), height - below, above)),
        }
    return _fit(written.getvalue(), picture, name, size, scale)


def _limits(axes: Any, picture: Picture) -> None:
    """Fits the axes to what is drawn: to all of it, but for what lies above `top`."""
    steps = np.concatenate([curve.series.steps[[0, -1]] for curve in picture.curves if curve.series])
    values = np.concatenate([curve.series.values for curve in picture.curves if curve.series])
    first, last = float(steps.min()), float(steps.max())
    axes.set_xlim(*((first, last) if last > first else (first - 1, first + 1)))
    low, high = float(values.min()), min(float(values.max()), picture.top)
    if picture.log:
        axes.set_yscale('log')
        axes.set_ylim(low / 1.2, high * 1.2)
        return
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low = 0.0 if picture.from_zero and low >= 0 else low - room
    axes.set_ylim(low, high + room)


def _fit(svg: str, picture: Picture, name: str, size: str, scale: dict[str, str]) -> Html:
    """Makes matplotlib's file a part of the page."""
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
    svg = re.sub(r'<defs>\s*<style.*?</style>\s*</defs>', '', svg, flags=re.DOTALL)  # says it of the whole page
    for number, curve in enumerate(picture.curves):
        words = [f'class="{curve.group}"'] * bool(curve.group)
        words += [f'data-read="{curve.colour}"'] * (curve.read and len(curve.series) > 1)
        svg = svg.replace(f' id="curve-{number}"', ''.join(f' {word}' for word in words))
        svg = svg.replace(f' id="dots-{number}"', ''.join(f' {word}' for word in words[:1] * bool(curve.group)))
    used = set(re.findall(r'url\(#(\w+)\)', svg)) | set(re.findall(r'xlink:href="#(\w+)"', svg))
    svg = re.sub(r' id="([\w.]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else '', svg)
    svg = re.sub(r'url\(#(\w+)\)', rf'url(#{name}-\1)', svg)
    svg = re.sub(r'xlink:href="#(\w+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r'<!--.*?-->\s*', '', svg, flags=re.DOTALL)
    svg = re.sub(r'(font: |font-size|font-family)[^;\"]*;? ?', '', svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"|<g/>\s*', '', svg)
    svg = re.sub(r'(\d\.\d)\d+(?=[^<>]*>)', r'\1', svg)  # in tags, a tenth of a pixel is enough
    for colour, fixed in _FIXED.items():
        svg = svg.replace(fixed, f'var(--{colour})')
    width, height = SIZES[size]
    start = f'<svg class="{size}" viewBox="0 0 {width} {height}" aria-hidden="true"'
    start += f' data-x="{scale["x"]}" data-y="{scale["y"]}"' + ' data-log' * picture.log + '>'
    return Html(re.sub(r'\s*\n\s*', '\n', re.sub(r'^<svg[^>]*>', start, svg)).strip())


def short(value: float) -> str:
    """Returns a number as people write it on an axis: '0.25', '12k', '1.5M', '3e-4'."""
    size = abs(value)
    if size >= 1e13 or 0 < size < 1e-3:
        return f'{value:.3g}'.replace('e-0', 'e-').replace('e+', 'e')
    for unit, name in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e4, 'k')):
        if size >= unit:
            return f'{value / (1e3 if name == "k" else unit):.4g}{name}'
    return f'{value:.4g}'
