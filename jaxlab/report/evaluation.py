"""What a classification does on each split that was evaluated: which classes are taken for which, curves, calibration,
and the surest mistakes."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.report.assessment import read
from jaxlab.report.document import number, section, table
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.pictures import Curve, Picture, draw, short
from jaxlab.report.record import Record, Series
from jaxlab.trust import place

MATRIX = 50  # classes of a confusion matrix; where there are more, the pairs that are confused the most are told
COLOURED = 8  # classes whose curves have colours of their own
LINES = 20  # of a table that is shown at once
TEXT = 400  # characters of a text
SHEET_BYTES = 3_000_000  # of the sheet of pictures
DIAGONAL = Curve(Series(np.array([0.0, 1.0]), np.array([0.0, 1.0])), 'ink', 0.8, 0.6, dashes='--', read=False)


def evaluation(record: Record) -> Html:
    """All splits of which there is an assessment in the workdir; nothing where there is none."""
    parts = [_split(found, sheet, f'evaluation-{at}') for at, (found, sheet) in enumerate(read(record.workdir))]
    return section(both('Evaluation'), *parts, name='evaluation') if parts else Html()


def _split(found: Mapping[str, Any], sheet: Path, name: str) -> Html:
    what = {'split': tag('code', found['split']), 'step': f'{found["step"]:,}', 'rows': f'{found["rows"]:,}'}
    if found['complete']:
        about = both('{split} at step {step}: {rows} rows.', **what)
    else:
        about = both('{split} at step {step}: its first {rows} rows.', **what)
    parts: list[object] = [tag('h3', about)]
    if found['not_finite']:
        many = f'{found["not_finite"]:,}'
        parts.append(tag('p', both('Rows of which the model says NaN, and which are left out: {count}.', count=many)))
    parts.append(tag('div', *_curves(found, name), class_='grid'))
    if 0 < len(found['confusion']) <= MATRIX:
        parts.append(_confusion(found))
    parts += [_confused(found), _classes(found), _wrong(found, sheet)]
    return join(parts)


# --- curves ----------------------------------------------------------------------------------------------------------


def _curves(found: Mapping[str, Any], name: str) -> list[Html]:
    figures = []
    for key, title, axes, behind in (
        ('roc', both('ROC curve'), both('True positive rate by false positive rate.'), [DIAGONAL]),
        ('precision_recall', both('Precision-recall curve'), both('Precision by recall.'), []),
    ):
        if macro := found[key]['macro']:
            area = both('area of the macro mean: {value}', value=number(macro['area']))
            curves, legend = _lines(found['labels'], found[key])
            figures.append(_figure([*behind, *curves], f'{name}-{key}', title, axes, area, legend))
    bins = [one for one in found['reliability'] if one['rows']]
    if bins:
        rows = np.array([one['rows'] for one in bins])
        said, right = (np.array([one[key] for one in bins]) for key in ('confidence', 'accuracy'))
        error = float(np.sum(rows * np.abs(said - right)) / rows.sum())
        figures.append(
            _figure(
                [DIAGONAL, Curve(Series(said, right), 'held-out', dots=True)],
                f'{name}-reliability',
                both('Reliability'),
                both('Accuracy by confidence; below the dashed line the model is too sure of itself.'),
                both('expected calibration error: {value}', value=number(error)),
                Html(),
            )
        )
    return figures


def _lines(labels: Sequence[str], curves: Mapping[str, Any]) -> tuple[list[Curve], Html]:
    """Returns the curves of classes with the macro mean over them, and what their colours mean."""
    known = [(label, curve) for label, curve in zip(labels, curves['classes']) if curve]
    coloured = len(known) <= COLOURED
    lines, items = [], []
    for at, (label, curve) in enumerate(known):
        colour = f'run-{at}' if coloured else 'ink'
        lines.append(Curve(_series(curve), colour, 1.2, 0.9 if coloured else 0.3, read=False))
        if coloured:
            items.append((colour, tag('samp', _short(label))))
    lines.append(Curve(_series(curves['macro']), 'training' if not coloured else 'ink', 2.2))
    items.append((lines[-1].colour, both('macro mean')))
    legend = [tag('li', tag('i', style=f'--c: var(--{colour})'), text) for colour, text in items]
    return lines, tag('ul', *legend, class_='legend')


def _series(curve: Mapping[str, Any]) -> Series:
    return Series(np.array(curve['x'], np.float64), np.array(curve['y'], np.float64))


def _figure(curves: Sequence[Curve], name: str, title: Html, axes: Html, small: Html, legend: Html) -> Html:
    picture = draw(Picture(curves, from_zero=True), name, 'square')
    return tag('figure', tag('figcaption', tag('b', title), tag('small', axes), tag('small', small)), picture, legend)


# --- classes ---------------------------------------------------------------------------------------------------------


def _confusion(found: Mapping[str, Any]) -> Html:
    """A matrix: a row is what is, a column what the model says; the darker, the larger the share of its row."""
    labels, matrix = [_short(label, 14) for label in found['labels']], found['confusion']
    side = 36 if len(labels) <= LINES else 15
    left, above = 96, 92
    cells: list[Html] = []
    for i, line in enumerate(matrix):
        y, middle = above + i * side, side / 2 + 4
        cells.append(tag('text', labels[i], x=left - 6, y=y + middle, text_anchor='end'))
        turned = f'translate({left + i * side + middle:g} {above - 6}) rotate(-55)'
        cells.append(tag('text', labels[i], transform=turned))
        cells.append(tag('rect', x=left, y=y, width=side * len(labels) - 1, height=side - 1, class_='none'))
        for j, count in enumerate(line):
            if not count:
                continue
            x, share = left + j * side, count / sum(line)
            told = tag('title', f'{found["labels"][i]} → {found["labels"][j]}: {count:,}')
            kind, shade = (
                'right' if i == j else 'wrong',
                f'fill-opacity: {share**0.5:.3f}',
            )  # so that few mistakes are seen, too
            cells.append(tag('rect', told, x=x, y=y, width=side - 1, height=side - 1, class_=kind, style=shade))
            if side > 20:
                dark = 'on' if share > 0.3 else False
                at = {'x': f'{x + side / 2:g}', 'y': f'{y + middle:g}'}
                cells.append(tag('text', short(count), **at, text_anchor='middle', class_=dark))
    width, height = left + side * len(labels) + 40, above + side * len(labels) + 4
    size = {'viewBox': f'0 0 {width} {height}', 'style': f'max-width: {width}px'}
    note = both('A row is what an example is, a column what the model says it is.')
    title = tag('figcaption', tag('b', both('Confusion matrix')), tag('small', note))
    return tag('figure', title, tag('svg', *cells, class_='confusion', **size), style='margin-top: 24px')


def _confused(found: Mapping[str, Any]) -> Html:
    if not found['confused'] or len(found['labels']) < 3:
        return Html()
    head = [both('What it is'), both('What the model says'), both('Rows')]
    rows = [
        [_label(found, one['target']), _label(found, one['said']), tag('data', f'{one["rows"]:,}')]
        for one in found['confused'][:LINES]
    ]
    return _hidden(both('The pairs of classes that are confused the most'), table(head, rows, {2}))


def _classes(found: Mapping[str, Any]) -> Html:
    names = ('precision', 'recall', 'f1', 'roc_auc', 'average_precision')
    head = [both('Class'), both('Rows'), both('Precision'), both('Recall'), tag('data', 'F1'), tag('data', 'ROC AUC')]
    head.append(both('Average precision'))
    rows: list[list[object]] = []
    for at, one in enumerate(found['classes']):
        numbers = [tag('data', '–' if one[name] is None else f'{one[name]:.4f}') for name in names]
        rows.append([_label(found, at), tag('data', f'{one["rows"]:,}'), *numbers])
    whole = table(head, rows, set(range(1, len(head))))
    return whole if len(rows) <= LINES else _hidden(both('The numbers of each class'), whole)


def _hidden(title: Html, inside: Html) -> Html:
    return tag('details', tag('summary', title), inside)


def _wrong(found: Mapping[str, Any], sheet: Path) -> Html:
    if not found['wrong']:
        return Html()
    head = [both('Row'), both('What it is'), both('What the model says'), both('Probability')]
    rows: list[list[object]] = [
        [
            tag('data', f'{one["number"]:,}'),
            _label(found, one['target']),
            _label(found, one['said']),
            tag('data', f'{one["probability"]:.4f}'),
        ]
        for one in found['wrong']
    ]
    if any('text' in one for one in found['wrong']):
        head.append(both('Text, as far as its tokens know it'))
        for row, one in zip(rows, found['wrong'], strict=True):
            row.append(tag('q', _short(one.get('text', ''), TEXT)))
    whole = table(head, rows, {3})
    title = tag('h3', both('What it was most sure of, and wrong about'), style='margin-top: 28px')
    if not (picture := _picture(sheet)):
        return title + whole
    note = tag('p', both('The surest first, line by line; the table names them in the same order.'), class_='quiet')
    return title + note + picture + _hidden(both('Which they are'), whole)


def _picture(file: Path) -> Html:
    try:
        if place.is_link(file) or not file.is_file() or place.size(file) > SHEET_BYTES:
            return Html()
        content = base64.b64encode(file.read_bytes()).decode('ascii')
    except OSError:
        return Html()
    return tag('img', src=f'data:image/png;base64,{content}', alt='', class_='sheet')


def _label(found: Mapping[str, Any], at: int) -> Html:
    return tag('samp', _short(found['labels'][at], 40))


def _short(label: str, most: int = 24) -> str:
    """Returns a name of at most so many characters: what is too long keeps both ends, which tell it from others."""
    half = most // 2
    return label if len(label) <= most else f'{label[: most - half]}…{label[1 - half :]}'
