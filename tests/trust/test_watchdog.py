"""A turn that takes many times as long as turns do ends the process, with the stacks of all threads."""

import threading
import time

import pytest

from jaxlab.trust import watchdog
from jaxlab.trust.watchdog import EXIT, Watchdog
from tests.experiments import ROOT, TRANSFORMER, run, write_corpus


@pytest.fixture
def ended(monkeypatch):
    """What the process would have ended with; and time that passes in a hundredth of it."""
    found, over = [], threading.Event()

    def end(code):
        found.append(code)
        over.set()

    monkeypatch.setattr(watchdog.os, '_exit', end)
    monkeypatch.setattr(watchdog, 'TICK', 0.02)
    found.append(over)
    return found


def turns(dog, count=12):
    for n in range(count):
        dog.turn(n)
        time.sleep(0.005)


def hang_here(over):
    assert over.wait(30)


def test_a_turn_that_hangs(tmp_path, ended, capfd):
    with Watchdog(5.0, 0.2, tmp_path / 'hang.txt') as dog:
        turns(dog)
        dog.turn(12)
        hang_here(ended[0])
    assert ended[1:] == [EXIT]
    text = (tmp_path / 'hang.txt').read_text('utf-8')
    assert 'step 12 has taken' in text and 'hang_here' in text and 'test_watchdog.py' in text
    assert 'hang_here' in capfd.readouterr().err


@pytest.mark.parametrize(
    'times, least, count', [(0.0, 0.0, 12), (5.0, 1000.0, 12), (5.0, 0.1, 3)], ids=['off', 'patient', 'unknown']
)
def test_what_is_no_hang(tmp_path, ended, times, least, count):
    with Watchdog(times, least, tmp_path / 'hang.txt') as dog:
        turns(dog, count)
        time.sleep(0.5)
    assert ended[1:] == [] and not list(tmp_path.iterdir())


def test_what_may_take_long(tmp_path, ended):
    with Watchdog(5.0, 0.1, tmp_path / 'hang.txt') as dog:
        turns(dog)
        with dog.resting():
            time.sleep(0.5)
        dog.turn(13)
    assert ended[1:] == []
    assert max(dog._turns) < 0.3, 'and it is not taken for a turn that was so long'


def test_a_process_that_was_stopped(tmp_path, ended, monkeypatch):
    """A laptop that sleeps, a debugger: the clock leaps, and no turn has taken long."""
    leap, now = [0.0], time.monotonic
    monkeypatch.setattr(watchdog.time, 'monotonic', lambda: now() + leap[0])
    with Watchdog(5.0, 1.0, tmp_path / 'hang.txt') as dog:
        turns(dog)
        leap[0] = 10_000.0
        time.sleep(0.2)
        dog.turn(13)
    assert ended[1:] == []


def test_a_run_that_hangs(tmp_path, monkeypatch):
    """Its reader waits forever: the run ends, says so, and names what waits."""
    (tmp_path / 'my_lab').mkdir()
    (tmp_path / 'my_lab' / 'stuck.py').write_text(
        'import dataclasses, time\n\n'
        'from jaxlab.data import text\n\n\n'
        'def make(batch_size, seed, rows, known=None, *, path="", length=64):\n'
        '    data = text.make(batch_size, seed, rows, known, path=path, length=length)\n\n'
        '    def batch_that_never_comes(n):\n'
        '        time.sleep(1000 * (n == 30))\n'
        '        return data.batch(n)\n\n'
        '    return dataclasses.replace(data, batch=batch_that_never_comes)\n',
        'utf-8',
    )
    flags = [
        f'--config={TRANSFORMER}:tiny',
        f'--workdir={tmp_path / "run"}',
        '--config.data.name=my_lab.stuck',
        f'--config.data.path={write_corpus(tmp_path / "corpus")}',
        '--config.checkpoint.every=10',
        '--config.steps_per_call=1',
        '--config.hang.least=2',
    ]
    code, output = run(*flags, cache=tmp_path / 'cache', PYTHONPATH=f'{tmp_path}:{ROOT}')
    assert code == EXIT, output
    assert 'batch_that_never_comes' in output and 'this run hangs, and ends' in output.splitlines()[-1]
    assert sorted(int(step.name) for step in (tmp_path / 'run' / 'checkpoints').iterdir())[-1] == 30
