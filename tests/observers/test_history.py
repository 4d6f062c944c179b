"""runs.json: one object a start, with what a reader asks of a result."""

import json
import socket

import pytest

from jaxlab.observers import history as histories
from jaxlab.observers.history import History, changes
from jaxlab.observers.tracker import Tracker
from jaxlab.report.record import read
from jaxlab.train import train
from tests.experiments import tiny, write_corpus


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    return write_corpus(tmp_path / 'corpus')


def short(corpus, **overrides):
    quiet = {'steps': 4, 'log__every': 1, 'log__sample_every': 0, 'evaluate__every': 2, 'evaluate__batches': 1}
    return tiny(corpus, mesh__data=1, **{**quiet, **overrides})


def test_two_starts_are_two_objects(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv('XLA_SOMETHING', '1')
    workdir = tmp_path / 'run'
    train(short(corpus), workdir, [History('a.py:tiny', tiny(corpus))])
    (first,) = json.loads((workdir / 'runs.json').read_text('utf-8'))
    assert first['changed']['steps'] == [200, 4] and 'seed' not in first['changed']
    assert (first['from_step'], first['step'], first['config_file']) == (0, 4, 'a.py:tiny')
    assert first['ended'] >= first['started'] and first['parameters'] > 1000 and first['devices'].endswith('cpu')
    assert {'jax', 'python', 'jaxlab', 'optax'} <= set(first['versions']) and first['versions']['jaxlab'] == '0.1.0'
    assert first['variables']['XLA_SOMETHING'] == '1' and first['machine']['cores'] >= 1
    assert {'start', 'compile', 'step', 'data', 'evaluate', 'checkpoint', 'observe'} <= set(first['seconds'])

    train(short(corpus, steps=6), workdir, [History()])
    before, second = json.loads((workdir / 'runs.json').read_text('utf-8'))
    assert before == first
    assert (second['from_step'], second['step'], second['config_file'], second['changed']) == (4, 6, '', {})


class Killed(Exception):
    pass


class Kill:
    """An observer that ends the process, as it were, at a row."""

    def __init__(self, step):
        self.step = step

    def start(self, run): ...

    def row(self, step, row):
        if step == self.step:
            raise Killed

    def sample(self, step, text): ...

    def end(self, step): ...


def test_a_killed_start_is_on_record_as_far_as_its_last_evaluation(corpus, tmp_path):
    with pytest.raises(Killed):
        train(short(corpus), tmp_path / 'run', [History(), Kill(3)])
    (only,) = json.loads((tmp_path / 'run' / 'runs.json').read_text('utf-8'))
    assert only['ended'] == '' and only['step'] == 2 and only['seconds']['evaluate'] > 0


def test_a_damaged_file_begins_anew(corpus, tmp_path):
    workdir = tmp_path / 'run'
    workdir.mkdir()
    (workdir / 'runs.json').write_text('[{"half', 'utf-8')
    train(short(corpus), workdir, [History()])
    assert len(json.loads((workdir / 'runs.json').read_text('utf-8'))) == 1


def test_changes_tell_old_and_new(corpus):
    old, new = tiny(corpus), tiny(corpus, seed=3, evaluate__scores=('accuracy',))
    with old.unlocked():
        del old.model['width']
    assert changes(old, new) == {
        'evaluate.scores': [('perplexity', 'bits_per_byte', 'accuracy'), ('accuracy',)],
        'seed': [0, 3],
        'model.width': [None, 64],
    }


def test_nobody_is_named(monkeypatch, corpus, tmp_path):
    """Which kind of machine, and not which one or whose."""
    monkeypatch.setenv('SECRET_TOKEN', 'hunter2')
    train(short(corpus, steps=1), tmp_path / 'run', [History()])
    text = (tmp_path / 'run' / 'runs.json').read_text('utf-8')
    assert 'hunter2' not in text and f'"{socket.gethostname()}"' not in text


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv('PATH', '')
    assert histories.commit() == ''


def test_the_report_reads_it(corpus, tmp_path):
    train(short(corpus), tmp_path / 'run', [Tracker(), History('a.py:tiny', tiny(corpus))])
    record = read(tmp_path / 'run')
    assert record.ended and record.step == record.steps == 4 and record.changed['steps'] == [200, 4]
    assert sum(record.seconds.values()) > 0 and record.config_file == 'a.py:tiny'
