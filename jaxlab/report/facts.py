"""What a run made and was made of: samples, where the time went, the command, configuration, data, environment."""

import base64
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.report.document import command, duration, memory, section, table
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.record import Record, newest
from jaxlab.report.words import WORK
from jaxlab.trust import place

SAMPLES = 60  # so many are shown, evenly spaced
GRIDS = 12  # so many of them that are pictures
CHARACTERS = 4000  # of one sample
PICTURE_BYTES = 400_000  # of one sample that is a picture; a larger one is named only
PICTURES = {
    '.png': 'image/png',
    '.jpg': 'image/jpeg',
    '.jpeg': 'image/jpeg',
    '.gif': 'image/gif',
    '.webp': 'image/webp',
}


def samples(record: Record) -> Html:
    """What the model made over time: text, or pictures, the newest first to be seen."""
    if not record.samples:
        return Html()
    most = GRIDS if record.samples[-1][1].suffix.lower() in PICTURES else SAMPLES
    chosen = sorted({round(n) for n in np.linspace(0, len(record.samples) - 1, min(len(record.samples), most))})
    about = both('What the model made as training went on.')
    if len(chosen) < len(record.samples):
        about = both(
            'Of {count} samples, {shown} are shown, evenly spaced; all of them lie in {folder}.',
            count=f'{len(record.samples):,}',
            shown=len(chosen),
            folder=tag('code', record.workdir / 'samples'),
        )
    items = [
        tag('li', tag('b', both('step {step}', step=f'{step:,}'), class_='quiet'), _sample(file), data_step=f'{step:,}')
        for step, file in (record.samples[n] for n in chosen)
    ]
    slider = tag(
        'div',
        tag('label', both('Step'), ' ', tag('output'), for_='sample'),
        tag('input', type='range', min=0, value=0, id='sample'),
        class_='slider',
        hidden=True,
        data_script=True,
    )
    whole = [slider] * (len(items) > 1)
    return section(
        both('Samples over time'),
        tag('p', about, class_='note'),
        *whole,
        tag('ol', *items, class_='samples'),
        name='samples',
    )


def _sample(file: Path) -> Html:
    try:
        if kind := PICTURES.get(file.suffix.lower()):
            if place.size(file) <= PICTURE_BYTES:
                content = base64.b64encode(file.read_bytes()).decode('ascii')
                return tag('div', tag('img', src=f'data:{kind};base64,{content}', alt=''))
        elif file.suffix == '.txt':
            with file.open('rb') as opened:
                text = opened.read(4 * CHARACTERS + 4).decode('utf-8', 'replace')[: CHARACTERS + 1]
            cut = tag('p', both('cut after {count} characters', count=f'{CHARACTERS:,}'), class_='quiet')
            return tag('pre', tag('samp', text[:CHARACTERS])) + (cut if len(text) > CHARACTERS else '')
    except OSError:
        pass
    return tag(
        'p', both('not a kind of file that this page can show: {name}', name=tag('code', file.name)), class_='note'
    )


def times(record: Record) -> Html:
    """Where the time went, over all starts: a bar, and a table that adds up to the clock."""
    seconds = {kind: value for kind, value in record.seconds.items() if value >= 0.0005}
    total = sum(seconds.values())
    if not total:
        return Html()
    order = sorted(seconds, key=lambda kind: -seconds[kind])
    colour = {kind: f'--c: var(--run-{n % 8})' for n, kind in enumerate(order)}
    bar = tag(
        'div',
        *(tag('span', style=f'{colour[kind]}; width: {100 * seconds[kind] / total:.2f}%') for kind in order),
        class_='bar',
        aria_hidden='true',
    )
    rows = [
        [
            tag('i', class_='swatch', style=colour[kind]) + (both(WORK[kind]) if kind in WORK else tag('code', kind)),
            tag('data', f'{seconds[kind]:,.1f}'),
            tag('data', f'{100 * seconds[kind] / total:.1f} %'),
        ]
        for kind in order
    ]
    head = [both('Work'), both('Seconds'), both('Share')]
    foot = [both('All of it, by the clock'), tag('data', f'{total:,.1f}'), tag('data', duration(total))]
    note = both(
        'Each moment of the training loop belongs to one kind of work. The page itself is written last, and does not'
        ' count.'
    )
    return section(
        both('Where the time went'), bar, table(head, rows, {1, 2}, foot), tag('p', note, class_='quiet'), name='time'
    )


def again(record: Record) -> Html:
    """The command that trains the same experiment anew."""
    python = newest(record, 'python') or 'python'
    commit = newest(record, 'commit')
    parts = []
    if record.config_file:
        parts += [
            tag(
                'p',
                both(
                    'From the clone, with the same data, this trains the same experiment anew, in a folder of its own:'
                ),
            ),
            command(command_line(record, python, f'{record.workdir}-again')),
        ]
    else:
        parts += [
            tag(
                'p',
                both(
                    'The config file is not on record, so there is no command that makes this run anew; this one'
                    ' goes on with it:'
                ),
            ),
            command(shlex.join([python, '-m', 'jaxlab.main', 'train', f'--workdir={record.workdir}'])),
        ]
    if commit:
        clean = commit.removesuffix('-dirty')
        template = (
            'The code was at commit {commit}.'
            if clean == commit
            else 'The code was at commit {commit}, with changes that were not committed.'
        )
        parts.append(tag('p', both(template, commit=tag('code', clean[:12])), class_='quiet'))
    return section(both('Run it again'), *parts, name='again')


def command_line(record: Record, python: str, workdir: str) -> str:
    """Returns the command: the config file, and a flag for each value that differs from it."""
    flags = [f'--config={record.config_file}']
    flags += [f'--config.{key}={flag(new)}' for key, (_, new) in record.changed.items() if new is not None]
    return shlex.join([python, '-m', 'jaxlab.main', 'train', *flags, f'--workdir={workdir}'])


def flag(value: Any) -> str:
    """Returns a value as `jaxlab.config.override` reads it; lists stand for tuples."""

    def plain(value: Any) -> Any:
        return tuple(map(plain, value)) if isinstance(value, list) else value

    return str(plain(value))


def configuration(record: Record) -> Html:
    """Every value of the resolved config, and which of them differ from the config file."""
    changed = record.changed
    file = tag('code', record.config_file)
    if not record.config_file:
        about = tag(
            'p', both('Which config file it came from, and what differs from that, is not on record.'), class_='note'
        )
    elif not changed:
        about = tag('p', both('Nothing differs from {file}.', file=file))
    else:
        head = [both('Key'), both('In the file'), both('In this run')]
        rows = [[tag('code', key), _value(old), _value(new)] for key, (old, new) in changed.items()]
        about = tag('p', both('These values differ from {file}:', file=file)) + table(head, rows, set())
    groups: dict[str, list[tuple[str, str, Any]]] = {}
    for key, value in record.config.items():
        group, _, rest = key.rpartition('.')
        groups.setdefault(group, []).append((key, rest, value))
    sections = []
    for group, leaves in groups.items():
        lines = [
            tag(
                'div',
                tag('dt', tag('code', name)),
                tag('dd', tag('code', shown(value))),
                **({'class_': 'changed'} if key in changed else {}),
            )
            for key, name, value in leaves
        ]
        title = [tag('h3', tag('code', group))] if group else []
        sections.append(tag('section', *title, tag('dl', *lines)))
    note = tag('p', both('All of it, as it was resolved; what differs from the file is in colour.'), class_='quiet')
    return section(both('Configuration'), about, note, tag('div', *sections, class_='groups'), name='configuration')


def shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _value(value: Any) -> Html:
    return both('(none)') if value is None else tag('code', shown(value))


def environment(record: Record) -> Html:
    """Data, seed, devices, machine, versions: what else a result depends on."""
    machine = newest(record, 'machine', {})
    versions = newest(record, 'versions', {})
    variables = newest(record, 'variables', {})
    devices = newest(record, 'devices')
    kind = newest(record, 'device_kind')
    info = record.data.get('info', {})
    facts: list[tuple[str, object]] = [
        ('Data', _lines([newest(record, 'data')])),
        ('Evaluated on', _lines([newest(record, 'evaluation')])),
        ('Fingerprint of the data', _lines([record.data.get('fingerprint', '')])),
        ('Seed', _lines([str(record.config.get('seed', ''))])),
        ('Devices', _lines([f'{devices} ({kind})' if kind and kind not in devices else devices])),
        ('Processes', _lines([str(newest(record, 'processes'))])),
    ]
    if machine:
        what = {key: tag('samp', machine.get(key, '')) for key in ('processor', 'cores')}
        size = tag('samp', memory(machine.get('memory', 0)))
        facts.append(('Machine', both('{processor}, {cores} cores, {memory}', **what, memory=size)))
        facts.append(('System', _lines([machine.get('system', '')])))
    facts += [
        ('Versions', _lines(f'{name} {version}' for name, version in versions.items())),
        ('Commit', _lines([newest(record, 'commit')])),
        ('Environment variables', _lines(f'{name}={value}' for name, value in variables.items())),
        ('Folder', _lines([str(record.workdir)])),
    ]
    if info:
        facts[2:2] = [('Told about the data', _lines(f'{name} {shown(value)}' for name, value in info.items()))]
    rows = [[both(name), value] for name, value in facts if value]
    missing = tag('p', both('Of code, machine and time nothing is on record (no runs.json).'), class_='quiet')
    return section(
        both('Data and environment'),
        table(['', ''], rows, set()),
        _starts(record) if record.runs else missing,
        name='environment',
    )


def _lines(values: Iterable[str]) -> Html:
    return join((tag('samp', value) for value in values if value), Html('<br>'))


def _starts(record: Record) -> Html:
    if len(record.runs) < 2:
        return Html()
    head = [
        both('Started'),
        both('From step'),
        both('To step'),
        both('Ended'),
        both('Time'),
        both('Commit'),
    ]
    rows = []
    for run in record.runs:
        ended = run.get('ended')
        rows.append(
            [
                tag('time', run.get('started', '')),
                tag('data', f'{run.get("from_step", 0):,}'),
                tag('data', f'{run.get("step", 0):,}'),
                tag('time', ended) if ended else both('no end on record'),
                tag('data', duration(sum(run.get('seconds', {}).values()))),
                tag('code', run.get('commit', '')[:12]),
            ]
        )
    return tag('h3', both('Starts'), style='margin-top: 28px') + table(head, rows, {1, 2, 4})
