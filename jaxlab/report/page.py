"""The page of one run, in the order of the questions that a reader asks."""

import numpy as np

from jaxlab.report import evaluation, facts, learning
from jaxlab.report.document import document, duration, named, number
from jaxlab.report.fit import held_out_loss
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.record import Record, best, newest


def page(record: Record, reload: float = 0) -> str:
    """Returns report.html of a run; `reload`: seconds after which the page loads itself again, 0: never."""
    body = [
        _tiles(record),
        learning.overfitting(record),
        learning.scores(record),
        learning.course(record),
        evaluation.evaluation(record),
        facts.samples(record),
        facts.times(record),
        facts.again(record),
        facts.configuration(record),
        facts.environment(record),
    ]
    return document(record.name, _head(record), join(body), reload)


def _head(record: Record) -> Html:
    step, steps = f'{record.step:,}', f'{record.steps:,}'
    if record.ended and record.step >= record.steps:
        status = both('Finished: {steps} steps.', steps=step)
    elif record.ended:
        status = both('Ended at step {step} of {steps}.', step=step, steps=steps)
    else:
        status = both(
            'At step {step} of {steps}; no end is on record: it is still running, or was interrupted.',
            step=step,
            steps=steps,
        )
    return tag('h1', tag('code', record.name)) + tag('p', status, class_='note')


def _tiles(record: Record) -> Html:
    tiles = []

    def tile(name: Html, value: str, *small: Html) -> None:
        tiles.append(tag('div', tag('dt', name), tag('dd', tag('data', value), *(tag('small', one) for one in small))))

    main = held_out_loss(record)
    for name in [main] * bool(main) + [name for name in record.scores() if name != main][:2]:
        series = record.series[name]
        at = best(name, series)
        small = []
        if at is not None and at != len(series) - 1:
            value, step = number(series.values[at]), f'{series.steps[at]:,}'
            small.append(both('best: {value} at step {step}', value=value, step=step))
        tile(both('Held-out loss') if name == main else named(name), number(series.values[-1]), *small)
    if end := learning.losses_at_end(record):
        tile(both('Training loss'), number(end[0]), both('mean of the last {count} rows', count=end[1]))
    for name in ('train/tokens_per_second', 'train/examples_per_second'):
        if name in record.series:
            tile(named(name), number(float(np.median(record.series[name].values))), both('median'))
            break
    if seconds := record.seconds:
        total = sum(seconds.values())
        small = [both('{share} % in training steps', share=f'{100 * seconds.get("step", 0) / (total or 1):.0f}')]
        if len(record.runs) > 1:
            small.append(both('{count} starts', count=len(record.runs)))
        tile(both('Time'), duration(total), *small)
    if parameters := newest(record, 'parameters', 0):
        tile(both('Parameters'), f'{parameters:,}')
    return tag('dl', *tiles, class_='tiles')
