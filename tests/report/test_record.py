"""What is read from a workdir: whole, half written or damaged."""

import json
import math

import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.report.record import Broken, NothingYet, best, better, find, read, read_metrics
from tests.experiments import write_run


def test_rows_become_series(tmp_path):
    rows = [{'step': 10, 'train/loss': 3.0}, {'step': 10, 'eval/held_out/loss': 3.5}, {'step': 20, 'train/loss': 2.0}]
    record = read(write_run(tmp_path / 'run', rows))
    loss = record.series['train/loss']
    assert loss.steps.tolist() == [10, 20] and loss.values.tolist() == [3.0, 2.0]
    assert record.scores() == ['eval/held_out/loss'] and record.last == record.step == 20
    assert record.config['model.width'] == 64 and record.config['evaluate.scores'] == list(
        record.config['evaluate.scores']
    )
    assert record.broken == {} and record.unreadable == 0 and not record.ended


def test_what_is_no_number_is_counted_and_left_out(tmp_path):
    rows = [
        {'step': 1, 'train/loss': 3.0, 'train/gradient_norm': math.inf},
        {'step': 2, 'train/loss': math.nan, 'train/gradient_norm': 1.0},
        {'step': 3, 'train/loss': 2.0, 'train/gradient_norm': 2.0},
        {'step': 4, 'train/loss': math.nan, 'train/gradient_norm': 2.0},
        {'step': 5, 'train/loss': -math.inf, 'train/gradient_norm': 2.0},
    ]
    record = read(write_run(tmp_path / 'run', rows))
    assert record.series['train/loss'].steps.tolist() == [1, 3]
    assert record.broken == {
        'train/loss': Broken(count=3, first=2, since=4),
        'train/gradient_norm': Broken(count=1, first=1, since=-1),
    }
    assert record.last == 5


def test_nothing_but_nan_is_a_record_too(tmp_path):
    record = read(write_run(tmp_path / 'run', [{'step': 7, 'train/loss': math.nan}]))
    assert not record.series and record.broken['train/loss'].since == 7 and record.last == 7


@pytest.mark.parametrize(
    ('more', 'unreadable'),
    [
        (b'{"step": 30, "train/lo', 0),  # being written
        (b'{"step": 30, "train/lo\n{"step": 40, "train/loss": 1.5}\n', 1),
        (b'\xff\xfe\n', 1),
        (b'[]\n"text"\n{}\n', 3),
        (b'{"step": "x", "train/loss": 1}\n{"step": 50, "train/loss": "high"}\n', 2),
        (b'{"step": -1, "train/loss": 1}\n{"step": %d, "train/loss": 1}\n' % 2**70, 2),
        (b'\n', 1),
    ],
)
def test_damaged_lines_are_counted_and_left_out(tmp_path, more, unreadable):
    workdir = write_run(tmp_path / 'run', [{'step': 10, 'train/loss': 3.0}, {'step': 20, 'train/loss': 2.0}])
    with (workdir / 'metrics.jsonl').open('ab') as file:
        file.write(more)
    record = read(workdir)
    assert record.unreadable == unreadable
    assert record.series['train/loss'].values.tolist()[:2] == [3.0, 2.0]
    assert all(len(one.steps) == len(one.values) for one in record.series.values())


def test_the_later_of_two_rows_of_a_step_counts(tmp_path):
    rows = [{'step': step, 'train/loss': value} for step, value in [(1, 9.0), (2, 8.0), (3, 7.0), (2, 6.0), (3, 5.0)]]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    series, *_ = read_metrics(tmp_path / 'metrics.jsonl')
    assert series['train/loss'].steps.tolist() == [1, 2, 3] and series['train/loss'].values.tolist() == [9.0, 6.0, 5.0]


def test_samples_come_in_order_and_only_as_far_as_rows_do(tmp_path):
    workdir = write_run(tmp_path / 'run', [{'step': 100, 'train/loss': 1.0}], {9: 'a', 100: 'b', 20: 'c', 101: 'later'})
    (workdir / 'samples' / 'notes.txt').write_text('no step')
    assert [step for step, _ in read(workdir).samples] == [9, 20, 100]


def test_missing_files_are_no_obstacle(tmp_path):
    workdir = write_run(tmp_path / 'run', [{'step': 1, 'train/loss': 1.0}])
    (workdir / 'processor' / 'data.json').unlink()
    (workdir / 'runs.json').write_text('{"half')
    record = read(workdir)
    assert record.data == {} and record.runs == [] and record.seconds == {} and record.config_file == ''


def test_no_rows_yet(tmp_path):
    workdir = write_run(tmp_path / 'run', [])
    with pytest.raises(NothingYet, match='no metrics yet'):
        read(workdir)
    (workdir / 'metrics.jsonl').unlink()
    with pytest.raises(NothingYet):
        read(workdir)


def test_changes_add_up_over_starts(tmp_path):
    runs = [
        {'config_file': 'a.py:tiny', 'changed': {'steps': [200, 300], 'log.every': [10, 5], 'seed': [0, 1]}},
        {'config_file': '', 'changed': {'steps': [300, 400], 'log.every': [5, 10]}},
        {'config_file': '', 'changed': {'evaluate.every': [100, 50]}},
    ]
    record = read(write_run(tmp_path / 'run', [{'step': 1, 'train/loss': 1.0}], runs=runs))
    assert record.config_file == 'a.py:tiny'
    assert record.changed == {'steps': [200, 400], 'seed': [0, 1], 'evaluate.every': [100, 50]}


def test_time_adds_up_over_starts(tmp_path):
    runs = [{'seconds': {'start': 3.0, 'train': 5.0}}, {'seconds': {'start': 1.0, 'data': 0.5}, 'ended': 'now'}]
    record = read(write_run(tmp_path / 'run', [{'step': 1, 'train/loss': 1.0}], runs=runs))
    assert record.seconds == {'start': 4.0, 'train': 5.0, 'data': 0.5} and record.ended


def test_tokens_and_seconds_by_step(tmp_path):
    rows = [{'step': 10, 'train/loss': 1.0}]
    rows += [{'step': step, 'train/examples_per_second': speed} for step, speed in [(20, 8.0), (30, 16.0)]]
    record = read(write_run(tmp_path / 'run', rows, batch_size=16))
    steps = np.array([10, 20, 25, 30])
    assert record.examples(steps).tolist() == [160, 320, 400, 480]
    assert record.tokens(steps).tolist() == [160 * 64, 320 * 64, 400 * 64, 480 * 64]
    # 20 steps of 16 at 8 a second, then 10 steps at 16 a second.
    assert record.training_seconds(steps).tolist() == [20, 40, 45, 50]


@pytest.mark.parametrize(
    ('name', 'direction'),
    [
        ('eval/held_out/loss', -1),
        ('eval/held_out/bits_per_byte', -1),
        ('eval/test/word_error_rate', -1),
        ('eval/held_out/accuracy', 1),
        ('eval/held_out/accuracy_top5', 1),
        ('eval/held_out/macro_f1', 1),
        ('eval/held_out/length', 0),
        ('eval/held_out/glossary', 0),
    ],
)
def test_what_is_better(tmp_path, name, direction):
    assert better(name) == direction
    series = read(
        write_run(tmp_path / 'run', [{'step': step, name: value} for step, value in [(1, 2.0), (2, 1.0), (3, 4.0)]])
    ).series[name]
    assert best(name, series) == {-1: 1, 1: 2, 0: None}[direction]


def test_a_folder_of_runs(tmp_path):
    a, b = (write_run(tmp_path / 'race' / name, [{'step': 1, 'train/loss': 1.0}]) for name in ('a', 'b'))
    (tmp_path / 'race' / 'notes').mkdir()
    assert find(tmp_path / 'race') == [a, b] and find(a) == [a]
    for folder, reason in [('race/notes', 'no experiment here'), ('nowhere', 'no such folder')]:
        with pytest.raises(UserError, match=reason):
            find(tmp_path / folder)
