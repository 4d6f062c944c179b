"""The page of several runs, side by side: scores in a table, curves in one picture, configs by what differs."""

import math
from collections.abc import Callable

import numpy as np

from jaxlab.report.document import document, duration, named, number, section, table
from jaxlab.report.facts import shown
from jaxlab.report.fit import held_out_loss, smooth
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.learning import PICTURES, course_names, grid, identifier, is_noisy, is_spread, later
from jaxlab.report.pictures import Curve, Picture, draw
from jaxlab.report.record import Record, Series, best, better, newest
from jaxlab.trust import place

COLOURS = 8  # then they begin again, with another dash
DASHES = ('-', '--', ':', '-.')


def comparison(records: list[Record], reload: float = 0) -> str:
    """Returns the page of several runs; `reload`: seconds after which it loads itself again, 0: never."""
    labels = _labels(records)
    head = tag('h1', both('{count} runs side by side', count=len(records))) + _legend(labels)
    body = [_scores(records, labels), *_curves(records), _configs(records, labels)]
    return document(f'{len(records)} × jaxlab', head, join(body), reload)


def _labels(records: list[Record]) -> list[str]:
    """Returns the runs' names, with as many of their parents as it takes to tell them apart."""
    parts = [place.whole(record.workdir).parts for record in records]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ['/'.join(part[-depth:]) for part in parts]


def _legend(labels: list[str]) -> Html:
    items = [
        tag(
            'li',
            tag(
                'button',
                tag('i', class_='dashed' if number >= COLOURS else '', style=f'--c: var(--run-{number % COLOURS})'),
                tag('code', label),
                type='button',
                aria_pressed='true',
                data_group=f'group-{number}',
            ),
        )
        for number, label in enumerate(labels)
    ]
    return tag('ul', *items, class_='legend')


# --- scores ----------------------------------------------------------------------------------------------------------


def _scores(records: list[Record], labels: list[str]) -> Html:
    """A table: a run a row; of each score its last and its best value, and in every column the best of all runs."""
    names = list(dict.fromkeys(name for record in records for name in record.scores()))
    main = _main(records)
    names.sort(key=lambda name: name != main)
    several = len({name.split('/')[1] for name in names}) > 1
    columns: list[
        tuple[Html, list[float], int, Callable[[float], str]]
    ] = []  # name, values, what is better, how to say
    for name in names:
        title = both('{name} on {split}', name=named(name), split=name.split('/')[1]) if several else named(name)
        series = [record.series.get(name) for record in records]
        last = [float(one.values[-1]) if one else math.nan for one in series]
        columns.append((title, last, better(name), number))
        if better(name):
            lowest = [float(one.values[best(name, one)]) if one else math.nan for one in series]  # type: ignore[index]
            if lowest != last:
                columns.append((both('{name}, best', name=title), lowest, better(name), number))
    training = [record.series.get('train/loss') for record in records]
    columns.append(
        (both('Training loss'), [float(smooth(one)[0].values[-1]) if one else math.nan for one in training], 0, number)
    )
    columns.append((both('Steps'), [float(record.step) for record in records], 0, _whole))
    seconds = [sum(record.seconds.values()) or math.nan for record in records]
    columns.append((both('Time'), seconds, 0, duration))
    for name in ('train/tokens_per_second', 'train/examples_per_second'):
        if any(name in record.series for record in records):
            speed = [record.series.get(name) for record in records]
            medians = [float(np.median(one.values)) if one else math.nan for one in speed]
            columns.append((named(name), medians, 1, _whole))
            break
    columns.append((both('Parameters'), [newest(record, 'parameters', 0) or math.nan for record in records], 0, _whole))
    columns = [column for column in columns if not all(map(math.isnan, column[1]))]
    rows = [
        [_swatch(row) + tag('code', label)]
        + [_cell(values, row, direction, say) for _, values, direction, say in columns]
        for row, label in enumerate(labels)
    ]
    head = [both('Run')] + [title for title, *_ in columns]
    note = [both('Last values; in each column the best of all runs is marked.')]
    if len({record.data.get('fingerprint') for record in records}) > 1:
        note.append(
            both(
                'These runs saw different data: losses and perplexities are per token of their own vocabularies, and'
                ' may not be compared; bits per byte may, on the same held-out text.'
            )
        )
    if any(not record.ended for record in records):
        note.append(both('Some have no end on record: they still run, or were interrupted.'))
    return section(
        both('Scores'),
        tag('p', join(note, ' '), class_='note'),
        table(head, rows, set(range(1, len(head)))),
        name='scores',
    )


def _cell(values: list[float], row: int, direction: int, say: Callable[[float], str]) -> Html:
    if math.isnan(values[row]):
        return tag('data', '–')
    known = [value for value in values if not math.isnan(value)]
    is_best = direction and len(known) > 1 and values[row] == max(known, key=lambda value: direction * value)
    return tag('data', say(values[row]), **({'class_': 'best'} if is_best else {}))


def _whole(value: float) -> str:
    return f'{value:,.0f}'


def _swatch(run: int) -> Html:
    return tag('i', class_='swatch', style=f'--c: var(--run-{run % COLOURS})')


# --- curves ----------------------------------------------------------------------------------------------------------


def _main(records: list[Record]) -> str:
    """The score that most is said of: the held-out loss, or else the first that any run has."""
    for of in (held_out_loss, lambda record: next(iter(record.scores()), '')):
        names = [name for record in records if (name := of(record))]
        if names:
            return max(names, key=names.count)
    return ''


def _curves(records: list[Record]) -> list[Html]:
    main = _main(records)
    sections = []
    if main:
        measured = [record.series.get(main) for record in records]
        wide = _overlaid(measured, main, both('{name} by step', name=named(main)), sizes=('wide', 'narrow'))
        along: list[tuple[str, str, Callable[[Record, np.ndarray], np.ndarray]]] = [
            ('{name} by tokens seen', 'tokens', Record.tokens),
            ('{name} by examples seen', 'examples', Record.examples),
            ('{name} by seconds of training', 'seconds', Record.training_seconds),
        ]
        moved = {kind: [_along(*pair, of) for pair in zip(measured, records)] for _, kind, of in along}
        if any(moved['tokens']):
            del moved['examples']  # tokens say it already
        small = [
            _overlaid(moved[kind], f'{main}-{kind}', both(title, name=named(main)))
            for title, kind, _ in along
            if kind in moved
        ]
        title = both('{name} on held-out data', name=named(main))
        sections.append(section(title, wide, tag('div', *small, class_='grid'), name='main'))
    names = list(dict.fromkeys(name for record in records for name in record.series))
    others = ['train/loss'] * ('train/loss' in names) + course_names(names)
    others += [name for name in names if name.startswith('eval/') and name != main][:PICTURES]
    pictures = []
    for name in others:
        measured = [record.series.get(name) for record in records]
        measured = [smooth(series)[0] if series and is_noisy(name, series) else series for series in measured]
        pictures.append(_overlaid(measured, name, both('Training loss') if name == 'train/loss' else named(name)))
    sections.append(grid(both('Everything else, by step'), pictures, 'others'))
    return sections


def _along(series: Series | None, record: Record, of: Callable[[Record, np.ndarray], np.ndarray]) -> Series | None:
    """Returns a series along another axis than steps; None where the run does not tell it."""
    if not series:
        return None
    at = of(record, series.steps)
    return Series(at, series.values) if np.isfinite(at).all() and at[-1] > 0 else None


def _overlaid(measured: list[Series | None], name: str, caption: Html, sizes: tuple[str, ...] = ('small',)) -> Html:
    """Returns a picture with the curve of every run that has one; nothing where none has."""
    curves = [
        Curve(
            series,
            f'run-{run % COLOURS}',
            dots=name.startswith('eval/'),
            dashes=DASHES[run // COLOURS % len(DASHES)],
            group=f'group-{run}',
        )
        for run, series in enumerate(measured)
        if series
    ]
    if not curves:
        return Html()
    key = identifier(name)
    top = max(later(curve.series) for curve in curves) if name == 'train/loss' else math.inf
    log = is_spread(name, np.concatenate([curve.series.values for curve in curves]))
    picture = Picture(curves, top=top, log=log, from_zero=name.endswith('_per_second'))
    caption = both('{name} (logarithmic)', name=caption) if log else caption
    drawn = [draw(picture, f'{key}-{size}', size) for size in sizes]
    return tag('figure', tag('figcaption', tag('b', caption)), *drawn)


# --- configs ---------------------------------------------------------------------------------------------------------


def _configs(records: list[Record], labels: list[str]) -> Html:
    """The values in which the configs differ, a run a column; and what else differs of data, code and machine."""
    keys = dict.fromkeys(key for record in records for key in record.config)
    rows = []
    for key in keys:
        values = [record.config.get(key) for record in records]
        if any(value != values[0] for value in values):
            rows.append([tag('code', key), *map(_value, values)])
    beside: list[tuple[str, list[object]]] = [
        ('Config file', [record.config_file for record in records]),
        ('Fingerprint of the data', [record.data.get('fingerprint', '')[:12] for record in records]),
        ('Commit', [newest(record, 'commit')[:12] for record in records]),
        ('Devices', [newest(record, 'devices') for record in records]),
        ('jax', [newest(record, 'versions', {}).get('jax', '') for record in records]),
    ]
    for name, values in beside:
        if any(value != values[0] for value in values):
            title = tag('code', name) if name == 'jax' else both(name)
            rows.append([title, *(tag('code', value) if value else both('Not on record.') for value in values)])
    if not rows:
        return section(both('What differs'), tag('p', both('Nothing: these configs are the same.')), name='configs')
    head = [both('Key')] + [_swatch(run) + tag('code', label) for run, label in enumerate(labels)]
    return section(both('What differs'), table(head, rows, set()), name='configs')


def _value(value: object) -> Html:
    return both('(none)') if value is None else tag('code', shown(value))
