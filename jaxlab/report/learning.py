"""The curves of a run: training against held-out loss with the gap between them, scores, and the course of training."""

from collections.abc import Iterable, Sequence

import numpy as np

from jaxlab.report.document import named, number, section
from jaxlab.report.fit import Fit, fit, held_out_loss, smooth, tail
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.pictures import Curve, Picture, draw, thin
from jaxlab.report.record import Record, Series, best

UNTOLD = ('train/loss', 'train/seconds_left')  # shown in a picture of its own, or no property of the run
PICTURES = 40  # more than a person looks at
NOISY = 60  # rows; a longer curve is drawn thin, with its mean over it


def overfitting(record: Record) -> Html:
    """The first thing asked of a run: the two losses, what they say together, and how to read them with care."""
    found = fit(record)
    parts: list[object] = []
    lost = record.broken.get('train/loss')
    if lost and lost.since >= 0:
        title = both('Training loss is NaN or infinite since step {step}.', step=f'{lost.since:,}')
        text = both(
            'Nothing is learned any more. Look at learning rate and gradient norm before that step; a lower learning'
            ' rate, a longer warm-up or gradient clipping may help.'
        )
        parts.append(tag('div', tag('p', tag('strong', title), ' ', text), class_='verdict unstable'))
    if found:
        parts.append(_verdict(found))
    elif 'train/loss' in record.series:
        parts.append(
            tag(
                'p',
                both(
                    'There is no held-out loss yet to compare with: the first evaluation is still to come, or measures'
                    ' no loss (evaluate.scores).'
                ),
                class_='note',
            )
        )
    if 'train/loss' in record.series:
        parts.append(_losses(record, found))
    parts.append(_cautions(record))
    return section(both('Is it over-fitting?'), *parts, name='over-fitting')


def _verdict(found: Fit) -> Html:
    values = found.held_out.values
    last, lowest, step = number(values[-1]), number(values[found.best]), f'{found.held_out.steps[found.best]:,}'
    training = [number(held_out - gap) for held_out, gap in zip(values, found.gap.values)]
    title, text = {
        'early': (
            both('Too early to say.'),
            both('It takes two evaluations to compare; so far there is one.'),
        ),
        'over': (
            both('Over-fitting since step {step}.', step=step),
            both(
                'Held-out loss was best there, at {best}, and has risen to {last}, while training loss went'
                ' from {before} to {now}: the model now learns its training data by heart. Keep the checkpoint nearest'
                ' to that step, or train with more data, more dropout or weight decay, a smaller model, or fewer'
                ' steps.',
                best=lowest,
                last=last,
                before=training[found.best],
                now=training[-1],
            ),
        ),
        'unstable': (
            both('Unstable since step {step}.', step=step),
            both(
                'Both losses have risen since then, held-out loss from {best} to {last}: this is not over-fitting. Look'
                ' at learning rate and gradient norm below around that step.',
                best=lowest,
                last=last,
            ),
        ),
        'under': (
            both('No over-fitting; rather the opposite.'),
            both(
                'Held-out loss was still falling at the end, and close to training loss: the model is under-fitted so'
                ' far. More steps, or a larger model, would lower both.'
            ),
        ),
        'falling': (
            both('No over-fitting so far.'),
            both(
                'Held-out loss was still falling at the end, although training loss is well below it: what the model'
                ' learns still carries over to data it has never seen. More steps may pay.'
            ),
        ),
        'level': (
            both('No over-fitting; learning has levelled off.'),
            both(
                'Held-out loss moved by less than 1 % over the last evaluations; its best was {best}, at step {step}.'
                ' More of the same steps would change little.',
                best=lowest,
                step=step,
            ),
        ),
    }[found.verdict]
    gap = both(
        'The gap at the end is {gap}: held-out loss {held_out} minus training loss {training}, {share} % of the former.'
        ' A gap that widens while held-out loss rises is over-fitting.',
        gap=tag('strong', number(found.gap.values[-1])),
        held_out=last,
        training=training[-1],
        share=f'{100 * found.gap.values[-1] / abs(values[-1] or 1):.1f}',
    )
    return tag('div', tag('p', tag('strong', title), ' ', text), tag('p', gap), class_=f'verdict {found.verdict}')


def _losses(record: Record, found: Fit | None) -> Html:
    training = record.series['train/loss']
    smoothed, window = (found.smooth, found.window) if found else smooth(training)
    curves = [
        Curve(training, 'training', 0.8, 0.5, read=False),
        Curve(smoothed, 'training', 1.8),
    ]
    between, mark = None, []
    if found:
        curves.append(Curve(found.held_out, 'held-out', 1.8, dots=True))
        between, mark = _between(found), [float(found.held_out.steps[found.best])]
    top = max([later(training), *(found.held_out.values if found else [])])
    picture = Picture(curves, between, mark, top=top)
    legend = [
        ('training', 'thin', both('training loss, every row')),
        ('training', '', both('training loss, mean of {count} rows', count=f'{window:,}')),
    ]
    if found:
        legend += [
            ('held-out', '', both('held-out loss')),
            ('held-out', 'area', both('the gap')),
            ('held-out', 'dashed', both('best held-out loss')),
        ]
    items = [tag('li', tag('i', class_=kind, style=f'--c: var(--{colour})'), text) for colour, kind, text in legend]
    caption = [both('Loss by step.')]
    if training.values.max() > top:
        caption.append(
            both('The first steps, up to {value}, lie above the picture.', value=number(training.values.max()))
        )
    return tag('ul', *items, class_='legend') + tag(
        'figure',
        draw(picture, 'losses', 'wide'),
        draw(picture, 'losses-narrow', 'narrow'),
        tag('figcaption', join(caption, ' '), id='losses', class_='note'),
    )


def _between(found: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The area between the two losses, from the first evaluation to the last."""
    first, last = found.held_out.steps[[0, -1]]
    training = thin(found.smooth)
    steps = np.union1d(training.steps[(training.steps >= first) & (training.steps <= last)], found.held_out.steps)
    return (
        steps,
        np.interp(steps, training.steps, training.values),
        np.interp(steps, found.held_out.steps, found.held_out.values),
    )


def _cautions(record: Record) -> Html:
    config, notes = record.config, []
    on = [
        f'{key}={value:g}'
        for key, value in config.items()
        if key.rpartition('.')[2] in ('dropout', 'label_smoothing', 'drop_path') and isinstance(value, float) and value
    ]
    if on and held_out_loss(record):
        notes.append(
            both(
                'Training loss is measured with {what} on, which raises it; held-out loss without. So the gap looks'
                ' smaller than it is.',
                what=join((tag('code', what) for what in on), ', '),
            )
        )
    if config.get('average') and held_out_loss(record):
        notes.append(
            both(
                'Training loss is of batches that the model had not learned yet, and of the parameters before each'
                ' step; held-out loss is of the moving average of the parameters (average={decay}).',
                decay=config['average'],
            )
        )
    if terms := [name for name in record.series if name.startswith('train/') and name in _terms(record)]:
        notes.append(
            both(
                'Training loss includes further terms: {terms}. Held-out loss may not.',
                terms=join((tag('code', name) for name in terms), ', '),
            )
        )
    for name, broken in record.broken.items():
        notes.append(
            both(
                '{name}: values that were NaN or infinite: {count}, the first at step {step}. Curves leave them out.',
                name=tag('code', name),
                count=f'{broken.count:,}',
                step=f'{broken.first:,}',
            )
        )
    if record.unreadable:
        notes.append(
            both('Lines of metrics.jsonl that could not be read, and are left out: {count}.', count=record.unreadable)
        )
    return tag('ul', *(tag('li', note) for note in notes), class_='quiet') if notes else Html()


def _terms(record: Record) -> list[str]:
    """Terms that a task adds to its loss: what is logged beside the loss, and is no property of the step."""
    known = ('loss', 'gradient_norm', 'learning_rate', 'skipped')
    return [
        name
        for name in record.series
        if name.startswith('train/')
        and name.split('/')[1] not in known
        and not name.endswith(('_second', 'seconds_left'))
    ]


def scores(record: Record) -> Html:
    """What evaluations measured, one picture each."""
    main, found, figures = held_out_loss(record), fit(record), []
    for name in record.scores()[:PICTURES]:
        if name != main:
            figures.append(_figure(record, name, 'held-out', dots=True))
    if found and len(found.gap) > 1:
        small = both('last {value}', value=number(found.gap.values[-1]))
        curve = Curve(found.gap, 'held-out', dots=True)
        figures.append(_drawn([curve], 'gap', both('The gap: held-out minus training loss'), small))
    return grid(both('Scores on held-out data'), figures, 'scores')


def course(record: Record) -> Html:
    """Learning rate, gradient norm, speed, and whatever else was logged of training."""
    names = course_names(record.series)
    return grid(both('The course of training'), [_figure(record, name, 'training') for name in names], 'course')


def course_names(names: Iterable[str]) -> list[str]:
    """Returns which numbers make up the course of training."""
    found = [name for name in names if not name.startswith('eval/') and name not in UNTOLD]
    if 'train/tokens_per_second' in found and 'train/examples_per_second' in found:
        found.remove('train/examples_per_second')  # the same curve twice
    return found[:PICTURES]


def grid(title: Html, figures: Sequence[Html], name: str) -> Html:
    """Returns a section of small pictures, or nothing where there are none."""
    return section(title, tag('div', *figures, class_='grid'), name=name) if any(figures) else Html()


def _figure(record: Record, name: str, colour: str, dots: bool = False) -> Html:
    series = record.series[name]
    values, caption = series.values, named(name)
    if len({other.split('/')[1] for other in record.scores()}) > 1 and name.startswith('eval/'):
        caption = both('{name} on {split}', name=caption, split=tag('code', name.split('/')[1]))
    log = is_spread(name, values)
    if log:
        caption = both('{name} (logarithmic)', name=caption)
    at = best(name, series)
    if name.endswith('_per_second'):
        small = both('median {value}', value=number(float(np.median(values))))
    elif at == len(series) - 1 and name.startswith('eval/'):
        small = both('last {value}, the best so far', value=number(values[-1]))
    elif at is not None and name.startswith('eval/'):
        small = both(
            'last {value}, best {best} at step {step}',
            value=number(values[-1]),
            best=number(values[at]),
            step=f'{series.steps[at]:,}',
        )
    else:
        small = both('last {value}', value=number(values[-1]))
    curves = [Curve(series, colour, dots=dots)]
    if is_noisy(name, series):
        curves = [Curve(series, colour, 0.8, 0.4, read=False), Curve(smooth(series)[0], colour)]
    return _drawn(curves, name, caption, small, log)


def _drawn(curves: list[Curve], name: str, caption: Html, small: Html, log: bool = False) -> Html:
    picture = Picture(curves, log=log, from_zero=name.endswith('_per_second'))
    name = identifier(name)
    return tag(
        'figure', tag('figcaption', tag('b', caption), tag('small', small), id=name), draw(picture, name, 'small')
    )


def losses_at_end(record: Record) -> tuple[float, int] | None:
    """Returns (training loss at the end, how many rows it is the mean of); None where there is none."""
    if 'train/loss' not in record.series:
        return None
    training = record.series['train/loss']
    return float(smooth(training)[0].values[-1]), tail(training)


def later(series: Series) -> float:
    """Returns the highest value after the first tenth of a run, which falls from a height that would press the rest
    flat. Of what comes later no spike is left out."""
    first, last = series.steps[[0, -1]]
    return float(series.values[series.steps >= first + 0.1 * (last - first)].max())


def is_spread(name: str, values: np.ndarray) -> bool:
    """Whether values want a logarithmic axis: some are ten times as high as what is usual, and would press it flat."""
    return name.endswith(('norm', 'perplexity')) and bool(values.min() > 0 and values.max() > 10 * np.median(values))


def is_noisy(name: str, series: Series) -> bool:
    """Whether a curve is better read with its mean: rows of single batches, and many of them."""
    return len(series) > NOISY and not name.startswith(('eval/', 'train/learning_rate'))


def identifier(name: str) -> str:
    """Returns a name as the page refers to it within itself."""
    return 'picture-' + ''.join(c if c.isascii() and c.isalnum() else '-' for c in name)
