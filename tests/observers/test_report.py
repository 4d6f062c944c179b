"""The report of a run that goes on: written when it is due, by another process, and never in the way."""

import sys
import time
import types

import pytest

from jaxlab import report as reports
from jaxlab.observers import report as observers
from jaxlab.observers.report import Report
from tests.experiments import write_run

ROWS = [{'step': 10, 'train/loss': 3.0}, {'step': 10, 'eval/held_out/loss': 3.5}]


STARTED = []


class Drawing:
    """Stands in for a process that draws."""

    def __init__(self, command, **options):
        self.command, self.pid, self.returncode, self.killed = command, 0, None, False
        STARTED.append(self)

    def poll(self):
        return self.returncode

    def kill(self):
        self.killed = True

    def wait(self):
        return self.returncode


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=time.time() + 1000)
    STARTED.clear()
    monkeypatch.setattr(observers, 'time', types.SimpleNamespace(time=lambda: clock.now))
    monkeypatch.setattr(observers.subprocess, 'Popen', Drawing)
    monkeypatch.setattr(observers.os, 'setpriority', lambda *arguments: None)
    return clock


@pytest.fixture
def workdir(tmp_path):
    return write_run(tmp_path / 'run', ROWS)


def begun(workdir):
    observer = Report(every=60)
    observer.start(types.SimpleNamespace(workdir=workdir))
    return observer


def evaluated(observer):
    observer.row(10, {'train/loss': 3.0})
    observer.row(10, {'eval/held_out/loss': 3.5})
    return len(STARTED)


def test_it_is_drawn_at_evaluations_when_the_last_page_is_old(workdir, clock):
    observer = begun(workdir)
    assert evaluated(observer) == 0
    clock.now += 59
    assert evaluated(observer) == 0
    clock.now += 1
    observer.row(11, {'train/loss': 3.0})
    assert STARTED == []  # a row of training is no occasion
    assert evaluated(observer) == 1
    assert STARTED[0].command == [sys.executable, '-m', 'jaxlab.main', 'report', f'--workdir={workdir}']
    clock.now += 100
    assert evaluated(observer) == 1  # the first still draws
    STARTED[0].returncode = 0
    assert evaluated(observer) == 2


def test_a_page_that_somebody_keeps_fresh_is_left_alone(workdir, clock):
    clock.now = time.time() - 3600
    observer = begun(workdir)
    (workdir / 'report.html').write_text('fresh')
    clock.now = time.time() + 30
    assert evaluated(observer) == 0
    clock.now = time.time() + 90
    assert evaluated(observer) == 1


def test_the_end_writes_it_and_stops_what_is_old(workdir, clock):
    observer = begun(workdir)
    clock.now += 60
    evaluated(observer)
    observer.end(10)
    assert STARTED[0].killed
    assert 'Held-out loss' in (workdir / 'report.html').read_text('utf-8')


@pytest.mark.parametrize('error', [ValueError('twice\nas long'), OSError(28, 'No space left on device'), MemoryError()])
def test_a_page_that_cannot_be_drawn_is_one_line(workdir, clock, monkeypatch, capfd, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(reports, 'write', fail)
    begun(workdir).end(10)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('jaxlab: the report could not be written (') and type(error).__name__ in line


def test_a_process_that_cannot_be_started_is_one_line(workdir, clock, monkeypatch, capfd):
    def fail(*arguments, **options):
        raise OSError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr(observers.subprocess, 'Popen', fail)
    observer = begun(workdir)
    clock.now += 60
    observer.row(10, {'eval/held_out/loss': 3.5})
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_real_process_draws_it(workdir):
    observer = Report(every=0)
    observer.start(types.SimpleNamespace(workdir=workdir))
    observer.row(10, {'eval/held_out/loss': 3.5})
    assert observer._drawing.wait(120) == 0
    assert (workdir / 'report.html').read_text('utf-8').endswith('</html>')
