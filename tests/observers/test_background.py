"""What an observer in the background suffers never reaches the run. Told by events, and never by the clock."""

import json
import threading

import pytest

from jaxlab.observers import background as backgrounds
from jaxlab.observers.background import Background
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from tests.experiments import tiny, write_corpus


@pytest.fixture(autouse=True)
def at_exit(monkeypatch):
    """What the process would do at its end."""
    found = []
    monkeypatch.setattr(backgrounds.atexit, 'register', lambda *call: found.append(call))
    return found


class Spy:
    """An observer that remembers what it was told, on which thread; it may do something first."""

    def __init__(self, first=lambda what: None):
        self.told, self.threads, self.first = [], set(), first

    def _tell(self, *what):
        self.threads.add(threading.current_thread())
        self.first(what)
        self.told.append(what)

    def start(self, run):
        self._tell('start', run)

    def row(self, step, row):
        self._tell('row', step, row)

    def sample(self, step, text):
        self._tell('sample', step, text)

    def end(self, step):
        self._tell('end', step)


class Hang:
    """Hangs when called, until it is let go."""

    def __init__(self, at='row'):
        self.at, self.reached, self.let_go = at, threading.Event(), threading.Event()

    def __call__(self, what):
        if what[0] == self.at:
            self.reached.set()
            assert self.let_go.wait(60)


def finished(observer):
    observer._thread.join(60)
    assert not observer._thread.is_alive()


def test_everything_is_handed_on_in_order_on_another_thread(at_exit, capfd):
    spy = Spy()
    observer = Background('Spy', spy)
    observer.start('run')
    row = {'train/loss': 1.0}
    observer.row(1, row)
    row['train/loss'] = 2.0  # the row is the caller's again
    observer.sample(1, 'text')
    observer.end(1)
    finished(observer)
    assert spy.told == [('start', 'run'), ('row', 1, {'train/loss': 1.0}), ('sample', 1, 'text'), ('end', 1)]
    assert threading.current_thread() not in spy.threads and len(spy.threads) == 1
    assert observer._thread.daemon and at_exit == [(observer._thread.join, backgrounds.PATIENCE)]
    assert capfd.readouterr() == ('', '')


def test_a_hung_observer_costs_its_own_rows_and_one_line(capfd):
    hang = Hang()
    spy = Spy(hang)
    observer = Background('Spy', spy, rows=3)
    observer.start('run')
    observer.row(0, {})
    assert hang.reached.wait(60)
    for step in range(1, 10):
        observer.row(step, {})  # would never come back if it waited
    observer.end(9)
    assert capfd.readouterr().err == 'jaxlab: Spy is too slow: rows are left out there. metrics.jsonl has them all.\n'
    hang.let_go.set()
    finished(observer)
    assert [what[1] for what in spy.told] == ['run', 0, 1, 2, 3, 9] and spy.told[-1] == ('end', 9)


@pytest.mark.parametrize('at', ['start', 'row', 'sample', 'end'])
@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), SystemExit(1), KeyboardInterrupt()])
def test_a_failure_is_one_line_and_the_last_call(at, error, capfd):
    def fail(what):
        if what[0] == at:
            raise error

    observer = Background('Spy', spy := Spy(fail))
    observer.start('run')
    for step in (1, 2):
        observer.row(step, {})
        observer.sample(step, 'text')
    observer.end(2)
    finished(observer)
    observer.row(3, {})
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('jaxlab: Spy failed (') and type(error).__name__ in line and 'goes on without it' in line
    assert not [what for what in spy.told if what[0] == at]


def test_a_failed_observers_queue_does_not_grow(capfd):
    def fail(what):
        raise ValueError('twice\nas long')

    observer = Background('Spy', Spy(fail), rows=2)
    observer.start('run')
    finished(observer)
    for step in range(10):
        observer.row(step, {})
    assert observer._waiting.qsize() == 0
    assert capfd.readouterr().err == 'jaxlab: Spy failed (ValueError: twice); the run goes on without it.\n'


@pytest.mark.parametrize('trouble', ['hangs', 'raises', 'hangs at start'])
def test_a_run_with_such_an_observer_ends_normally(trouble, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    corpus = write_corpus(tmp_path / 'corpus')
    quiet = {'steps': 6, 'log__every': 1, 'log__sample_every': 3, 'evaluate__every': 3, 'evaluate__batches': 1}
    config = tiny(corpus, mesh__data=1, **quiet)
    hang = Hang('start' if trouble == 'hangs at start' else 'row')

    def fail(what):
        raise ConnectionError('no route to host')

    observer = Background('Spy', Spy(fail if trouble == 'raises' else hang), rows=2)
    assert train(config, tmp_path / 'run', [observer, Tracker()]) == 0
    rows = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text('utf-8').splitlines()]
    assert [row['step'] for row in rows if 'train/loss' in row] == [1, 2, 3, 4, 5, 6] and len(rows) == 8
    assert observer._thread.is_alive() == (trouble != 'raises')  # the loop is through, and it still hangs
    hang.let_go.set()
    finished(observer)
    assert len([line for line in capfd.readouterr().err.splitlines() if line.startswith('jaxlab: Spy')]) == 1


def test_an_observer_in_the_way_is_noticed():
    """The mutant of this file: handing over by waiting for room."""
    hang = Hang()
    observer = Background('Spy', Spy(hang), rows=1)
    observer._waiting.put_nowait = observer._waiting.put
    observer.start('run')
    stuck = threading.Thread(target=lambda: [observer.row(step, {}) for step in range(5)], daemon=True)
    stuck.start()
    assert hang.reached.wait(60)
    stuck.join(0.2)
    assert stuck.is_alive()
    hang.let_go.set()
    stuck.join(60)
    observer.end(5)
    finished(observer)
