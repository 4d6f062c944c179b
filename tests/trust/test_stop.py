"""A signal is heard wherever a run is: it saves, ends, and goes on later as if nothing had been."""

import os
import signal
import threading
import time

import pytest

import jaxlab
from jaxlab import train as loop
from jaxlab.best import Best
from jaxlab.observers.tensorboard import TensorBoard, events
from jaxlab.observers.tracker import Tracker
from jaxlab.trust import faults, lines, manifest
from jaxlab.trust.stop import Stop
from tests.experiments import Recorder, parameters, rows, tiny

STEPS = 12


@pytest.fixture(scope='module')
def config(corpus):
    quiet = {'steps_per_call': 1, 'log__every': 1, 'log__sample_every': 4, 'log__sample_tokens': 4}
    due = {'evaluate__every': 4, 'evaluate__batches': 2, 'checkpoint__every': 5}
    return tiny(corpus, mesh__data=1, steps=STEPS, model__layers=1, **quiet, **due)


def train(config, workdir):
    looks = Recorder()
    return loop.train(config, workdir, [Tracker(), TensorBoard(), looks]), looks


@pytest.fixture(scope='module')
def unbroken(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('unbroken')
    code, looks = train(config, workdir)
    assert code == 0
    return workdir, looks.samples


# Where the signal comes, and the step that is saved then. 4 and 12 are looked at, 5 and 10 are saved anyway.
MOMENTS = [
    ('compile', 0, 0),
    ('step', 3, 3),
    ('step', 4, 4),
    ('log_flush', 6, 7),
    ('evaluate', 4, 4),
    ('evaluate', STEPS, STEPS),
    ('save_start', 5, 6),
    ('save_copied', 5, 6),
    ('between_commit_and_manifest', 5, 0),  # on a thread of its own, any time before the next save
    ('step', STEPS, STEPS),
]


@pytest.mark.parametrize('point, at, saved', MOMENTS)
def test_a_signal_at_any_moment(config, unbroken, tmp_path, point, at, saved):
    before = signal.getsignal(signal.SIGTERM)
    with faults.fail_at(point, at, 'sigterm'):
        code, looks = train(config, tmp_path)
    assert code == signal.SIGTERM and signal.getsignal(signal.SIGTERM) == before
    steps = manifest.steps(tmp_path / 'checkpoints')
    if saved:
        assert steps[-1] == saved
    samples = looks.samples
    code, looks = train(config, tmp_path)
    assert code == 0 and looks.run.start == (steps[-1] if steps else 0)
    assert rows(tmp_path) == rows(unbroken[0])
    assert parameters(tmp_path) == parameters(unbroken[0])
    assert samples + looks.samples == unbroken[1]
    assert jaxlab.load(tmp_path, step='best').step == jaxlab.load(unbroken[0], step='best').step


def test_what_is_owed_is_noticed(config, unbroken, tmp_path, monkeypatch):
    """The mutant of an evaluation that is forgotten, since the state after its step was saved."""
    monkeypatch.setattr(Best, 'resumed', lambda best, record: best)
    with pytest.raises(AssertionError):
        test_a_signal_at_any_moment(config, unbroken, tmp_path, 'evaluate', 4, 4)


def board(workdir):
    """What TensorBoard shows: [(step, name)], without what measures time."""
    found = [event for file in sorted((workdir / 'tensorboard').iterdir()) for _, event in events(file)]
    return [(event.step, value.tag) for event in found for value in event.summary.value if 'second' not in value.tag]


def test_what_is_owed_is_told_once(config, unbroken, tmp_path):
    """Also where the start that paid it was killed before that was saved."""
    with faults.fail_at('evaluate', 4, 'sigterm'):
        train(config, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Checkpoints, 'save', lambda *arguments, again: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config, tmp_path)
    assert rows(tmp_path)[-1]['step'] == 4 and 'eval/held_out/loss' in rows(tmp_path)[-1]
    code, looks = train(config, tmp_path)
    assert code == 0 and looks.run.start == 4
    assert rows(tmp_path) == rows(unbroken[0])
    assert sorted(board(tmp_path)) == sorted(board(unbroken[0]))


def test_what_is_told_twice_is_noticed(config, unbroken, tmp_path, monkeypatch):
    """The mutant of rows that stand though their evaluation is owed."""
    monkeypatch.setattr(lines, 'stands', lambda step, names, last: step <= last[0])
    with pytest.raises(AssertionError):
        test_what_is_owed_is_told_once(config, unbroken, tmp_path)


def test_while_it_waits_for_data(config, unbroken, tmp_path, monkeypatch):
    """A reader that hangs holds nothing up."""
    prefetch, asked = loop.prefetch, threading.Event()

    def hangs(batch, start, count, **options):
        for n, one in enumerate(prefetch(batch, start, count, **options)):
            if n == 7 and not asked.is_set() and count > 8:
                asked.set()
                time.sleep(1000)
            yield one

    def kill():
        asked.wait(60)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, 'prefetch', hangs)
    threading.Thread(target=kill).start()
    code, _ = train(config, tmp_path)
    assert code == signal.SIGINT and manifest.steps(tmp_path / 'checkpoints')[-1] == 7
    assert train(config, tmp_path)[0] == 0
    assert rows(tmp_path) == rows(unbroken[0]) and parameters(tmp_path) == parameters(unbroken[0])


def test_the_second_signal_is_the_systems(capsys):
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked() == stop.asked() == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == before
    assert capsys.readouterr().out == '\nSIGINT: saving, then ending; once more ends at once\n'


@pytest.mark.parametrize('error', [ValueError('no'), SystemExit(3), KeyboardInterrupt()])
def test_what_a_reader_raises(error):
    closed = []

    def items():
        try:
            yield 1
            yield 2
            raise error
        finally:
            closed.append(threading.current_thread().name)

    seen = []
    with pytest.raises(type(error)) as caught:
        for item in Stop().waits(items()):
            seen.append(item)
    assert seen == [1, 2] and caught.value is error and closed == ['batches']


def test_a_reader_is_let_go():
    closed = threading.Event()

    def items():
        try:
            yield from range(1000)
        finally:
            closed.set()

    assert next(Stop().waits(items())) == 0
    assert closed.wait(10)
    assert list(Stop().waits(range(5))) == list(range(5))
