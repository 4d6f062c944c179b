"""Several runs side by side: the table marks the best, curves lie over each other, configs show only what differs."""

import re

import pytest

from jaxlab import report
from jaxlab.report import comparison as comparisons
from jaxlab.report.comparison import comparison
from jaxlab.report.record import read
from tests.experiments import write_run
from tests.report.pages import Page


def rows(loss, accuracy, steps=100):
    for step in range(5, steps + 1, 5):
        yield {'step': step, 'train/loss': loss, 'train/examples_per_second': 10 / loss, 'train/gradient_norm': 1.0}
        if step % 50 == 0:
            # A loss that was lower half way.
            yield {
                'step': step,
                'eval/held_out/loss': loss - 0.5 * (step == 50),
                'eval/held_out/accuracy': accuracy,
                'eval/held_out/length': loss,
            }


@pytest.fixture
def race(tmp_path):
    runs = [{'seconds': {'train': 60.0}, 'ended': 'now', 'parameters': 5, 'config_file': 'a.py', 'step': 100}]
    folder = tmp_path / 'race'
    write_run(folder / 'slow', rows(3.0, 0.5), runs=runs)
    write_run(folder / 'fast', rows(2.0, 0.25), runs=runs, optimizer__learning_rate=1e-2)
    write_run(folder / 'new', rows(2.5, 0.125), optimizer__learning_rate=3e-2, seed=3)
    return folder


def texts(found):
    return re.sub(r'<span lang="zh">.*?</span>', '', found)


def table(page, section):
    """The cells of the first table of a section: rows of (English text, class)."""
    inside = re.search(rf'<section id="{section}">.*?<table>(.*?)</table>', page, re.DOTALL)[1]
    return [
        [
            (re.sub(r'<[^>]+>', '', texts(cell)).strip(), 'class="best"' in cell)
            for cell in re.findall(r'<t[hd][^>]*>(.*?)</t[hd]>', row, re.DOTALL)
        ]
        for row in re.findall(r'<tr>(.*?)</tr>', inside, re.DOTALL)
    ]


def test_the_table_of_scores_marks_the_best(race):
    head, *body = table(comparison([read(race / name) for name in ('fast', 'new', 'slow')]), 'scores')
    columns = {name: number for number, (name, _) in enumerate(head)}
    runs = {row[0][0]: row for row in body}
    assert list(runs) == ['fast', 'new', 'slow']

    def column(name):
        return {run: cells[columns[name]] for run, cells in runs.items()}

    assert column('Loss') == {'fast': ('2.0000', True), 'new': ('2.5000', False), 'slow': ('3.0000', False)}
    assert column('Loss, best') == {'fast': ('1.5000', True), 'new': ('2.0000', False), 'slow': ('2.5000', False)}
    assert column('Accuracy') == {'fast': ('0.2500', False), 'new': ('0.1250', False), 'slow': ('0.5000', True)}
    assert 'Accuracy, best' not in columns  # the last was the best
    assert not any(is_best for _, is_best in column('eval/held_out/length').values())  # nobody knows which way is up
    assert column('Examples per second')['fast'] == ('5', True)
    assert column('Time') == {'fast': ('1:00', False), 'new': ('–', False), 'slow': ('1:00', False)}
    assert column('Steps')['new'][0] == '100' and column('Parameters')['fast'][0] == '5'


def test_only_what_differs_is_shown(race):
    head, *body = table(comparison([read(race / name) for name in ('fast', 'new', 'slow')]), 'configs')
    shown = {row[0][0]: [text for text, _ in row[1:]] for row in body}
    assert [text for text, _ in head] == ['Key', 'fast', 'new', 'slow']
    assert shown.pop('optimizer.learning_rate') == ['0.01', '0.03', '0.003']
    assert shown.pop('seed') == ['0', '3', '0']
    assert len(set(shown.pop('data.path'))) == 3  # the folders that the test gave them
    assert shown.pop('Config file') == ['a.py', 'Not on record.', 'a.py']
    assert shown == {}


def test_values_that_one_run_lacks_are_differences(race, tmp_path):
    muon = write_run(tmp_path / 'muon', rows(2.0, 0.5))
    text = (muon / 'config.json').read_text().replace('"beta2"', '"momentum"')
    (muon / 'config.json').write_text(text)
    _, *body = table(comparison([read(race / 'fast'), read(muon)]), 'configs')
    shown = {row[0][0]: [text for text, _ in row[1:]] for row in body}
    assert shown['optimizer.beta2'] == ['0.95', '(none)'] and shown['optimizer.momentum'] == ['(none)', '0.95']


def test_curves_lie_over_each_other_by_step_tokens_and_time(race):
    page = comparison([read(race / name) for name in ('fast', 'new', 'slow')])
    parsed = Page(page)
    assert parsed.untranslated() == [] and '://' not in page
    shown = {re.sub(r'<[^>]+>', '', caption) for caption in re.findall(r'<figcaption><b>.*?</b>', texts(page))}
    assert {'Loss by step', 'Loss by tokens seen', 'Loss by seconds of training', 'Training loss', 'Accuracy'} <= shown
    assert 'Loss by examples seen' not in shown
    for svg in re.findall(r'<svg class="(?:wide|small)".*?</svg>', page, re.DOTALL):
        assert {f'group-{n}' for n in range(3)} <= set(re.findall(r'class="(group-\d)"', svg))
    toggles = [attributes['data-group'] for _, attributes in parsed.elements if 'data-group' in attributes]
    assert toggles == ['group-0', 'group-1', 'group-2']


def test_by_time_the_slower_run_reaches_further(race):
    fast, slow = read(race / 'fast'), read(race / 'slow')
    page = comparison([fast, slow])
    svg = next(svg for svg in re.findall(r'<svg class="small".*?</svg>', page, re.DOTALL) if 'seconds-small' in svg)
    ends = {}
    for group, path in re.findall(r'class="(group-\d)" data-read="[\w-]+">\s*<path d="([^"]*)"', svg):
        ends[group] = float(re.findall(r'([\d.]+) [\d.]+', path)[-1])
    _, _, left, right = map(float, re.search(r'data-x="([^"]*)"', svg)[1].split())
    assert ends['group-1'] == right and left < ends['group-0'] < right


def test_other_data_are_said_to_be_other_data(race):
    records = [read(race / name) for name in ('fast', 'slow')]
    assert 'saw different data' not in Page(comparison(records)).shown('en')
    file = race / 'slow' / 'processor' / 'data.json'
    file.write_text(file.read_text().replace('f1f1', 'abcd'))
    shown = Page(comparison([read(race / name) for name in ('fast', 'slow')])).shown('en')
    assert 'saw different data' in shown and 'Fingerprint of the data' in shown


def test_names_tell_runs_apart(tmp_path):
    paths = [write_run(tmp_path / parent / 'run', rows(2.0, 0.5)) for parent in ('a', 'b')]
    assert comparisons._labels([read(path) for path in paths]) == ['a/run', 'b/run']


def test_more_runs_than_colours(tmp_path):
    records = [read(write_run(tmp_path / f'run{n}', rows(2.0 + n, 0.5))) for n in range(11)]
    page = comparison(records)
    Page(page)
    assert page.count('stroke-dasharray') >= 3  # those that begin the colours again are dashed


def test_runs_with_nothing_in_common(tmp_path):
    one = write_run(tmp_path / 'one', [{'step': 1, 'train/loss': 1.0}])
    two = write_run(tmp_path / 'two', [{'step': 1, 'eval/held_out/fluency': 1.0}])
    page = comparison([read(one), read(two)])
    assert Page(page).untranslated() == []


def test_where_it_goes(race, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.write([race]) == race / 'report.html'
    assert report.write([race / 'fast', race / 'slow']) == race / 'report.html'
    other = write_run(tmp_path / 'other' / 'run', rows(2.0, 0.5))
    assert report.write([race / 'fast', other]).resolve() == tmp_path / 'runs' / 'report.html'


def test_a_run_that_has_measured_nothing_yet_is_left_out(race):
    write_run(race / 'waiting', [])
    assert [cells[0][0] for cells in table(report.write([race]).read_text('utf-8'), 'scores')[1:]] == [
        'fast',
        'new',
        'slow',
    ]
