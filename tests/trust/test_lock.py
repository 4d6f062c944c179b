"""Two runs never write into one workdir, and a dead one is in nobody's way."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxlab.errors import UserError
from jaxlab.train import train
from jaxlab.trust import faults, place
from jaxlab.trust import lock as locks
from jaxlab.trust.lock import Lock
from tests.experiments import message, tiny, write_corpus


def taken(workdir, **about):
    """Writes the lock of another run, of which `about` is known."""
    folder = workdir / '.lock'
    folder.mkdir(parents=True, exist_ok=True)
    mine = {'machine': locks.machine(), 'space': locks.space(), 'process': os.getpid(), 'since': 'then'}
    (folder / '4.json').write_text(json.dumps({'host': 'there', 'born': locks.born(os.getpid()), **mine, **about}))
    return folder / '4.json'


def names(workdir):
    return sorted(entry.name for entry in (workdir / '.lock').iterdir())


def test_the_second_is_refused_and_told_who_is_there(tmp_path):
    first = Lock(tmp_path)
    first.take()
    told = message(Lock(tmp_path).take)
    about = json.loads((tmp_path / '.lock' / '1.json').read_text())
    assert f'process {os.getpid()} on {socket.gethostname()}, since {about["since"]}' in told
    first.release()
    second = Lock(tmp_path)
    second.take()
    assert names(tmp_path) == ['2.json']
    second.release()
    assert names(tmp_path) == ['2.free']


def test_it_is_released_whatever_happens(tmp_path):
    with pytest.raises(ZeroDivisionError), locks.alone(tmp_path):
        assert names(tmp_path) == ['1.json']
        raise ZeroDivisionError
    with locks.alone(tmp_path):
        pass
    assert names(tmp_path) == ['2.free']


def winners(workdir, count=8):
    """How many of several that start at the same instant get it."""
    together = threading.Barrier(count)

    def start(_):
        lock = Lock(workdir)
        together.wait()
        try:
            lock.take()
        except UserError:
            return None
        return lock

    with ThreadPoolExecutor(count) as pool:
        found = [lock for lock in pool.map(start, range(count)) if lock]
    for lock in found:
        lock.release()
    return len(found)


@pytest.mark.parametrize('stale', [False, True])
def test_of_many_that_start_at_once_one_wins(tmp_path, stale):
    for n in range(10):
        if stale:
            taken(tmp_path / str(n), born='0')
        assert winners(tmp_path / str(n)) == 1


def test_making_what_is_there_is_noticed(tmp_path, monkeypatch):
    """The mutant of the test above."""
    monkeypatch.setattr(place, 'create', lambda file, data: (time.sleep(0.01), file.write_bytes(data)))
    assert max(winners(tmp_path / str(n)) for n in range(10)) > 1


def test_a_number_that_was_overtaken_holds_nothing(tmp_path, monkeypatch):
    """Held up between the look and the making, while another run came, went, and left a higher number."""
    (tmp_path / '.lock').mkdir()
    create = place.create

    def slow(file, data):
        monkeypatch.setattr(place, 'create', create)
        (tmp_path / '.lock' / '3.free').write_text('')
        create(file, data)

    monkeypatch.setattr(place, 'create', slow)
    lock = Lock(tmp_path)
    lock.take()
    assert names(tmp_path) == ['4.json']
    lock.release()


HOLD = """
import sys, time
from pathlib import Path
from jaxlab.trust.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.take()
print('taken', flush=True)
time.sleep(60)
"""


def test_a_killed_run_is_passed_at_once(tmp_path):
    """Even before anybody has asked what became of it (it is a zombie here); and while it lives nobody passes."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'taken\n'
    never = Lock(tmp_path, sleep=lambda seconds: pytest.fail('it waited'))
    assert f'process {process.pid} on' in message(never.take)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still there
    never.take()
    never.release()
    process.communicate()


@pytest.mark.parametrize(
    'about', [{'process': 2**22 + 5, 'born': '17'}, {'born': '17'}], ids=['it is gone', 'its number is of another one']
)
def test_a_process_that_is_gone(tmp_path, about):
    taken(tmp_path, **about)
    lock = Lock(tmp_path, sleep=lambda seconds: pytest.fail('it waited'))
    lock.take()
    assert names(tmp_path) == ['5.json']
    lock.release()


def test_a_second_training_run_has_touched_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    config = tiny(write_corpus(tmp_path / 'corpus'), mesh__data=1, steps=2)
    with locks.alone(tmp_path / 'run'):
        assert 'is in use by process' in message(train, config, tmp_path / 'run', [])
        assert names(tmp_path / 'run') == ['1.json']
        assert [entry.name for entry in (tmp_path / 'run').iterdir()] == ['.lock']
        assert not (tmp_path / 'cache').exists(), 'nothing is tokenized before it is refused'


class Clock:
    """Time by the clock of the file system, which passes when somebody sleeps; `beats` are when the holder lives."""

    def __init__(self, monkeypatch, holder, age, beats=()):
        self.holder, self.now, self.beats, self.slept = holder, 1e9, list(beats), 0.0
        os.utime(holder, (self.now - age,) * 2)
        monkeypatch.setattr(place, 'now', lambda folder: self.now)

    def sleep(self, seconds):
        self.slept += seconds
        self.now += seconds
        if self.beats and self.slept >= self.beats[0]:
            os.utime(self.holder, (self.now,) * 2)
            self.beats.pop(0)


def test_of_another_machine_the_sign_of_life_counts(tmp_path, monkeypatch, capsys):
    holder = taken(tmp_path, machine='another')
    clock = Clock(monkeypatch, holder, age=5, beats=[8])
    assert 'process' in message(Lock(tmp_path, clock.sleep).take) and 8 <= clock.slept < 12
    told = capsys.readouterr().out
    assert told.count('\n') == 1 and 'on there 5 s ago: waiting' in told


def test_another_machine_that_is_silent_is_dead(tmp_path, monkeypatch, capsys):
    clock = Clock(monkeypatch, taken(tmp_path, machine='another'), age=20)
    lock = Lock(tmp_path, clock.sleep)
    lock.take()
    assert clock.slept == pytest.approx(locks.SILENT - 20)
    lock.release()
    clock = Clock(monkeypatch, taken(tmp_path / 'b', machine='another'), age=61)
    lock = Lock(tmp_path / 'b', clock.sleep)
    lock.take()
    assert clock.slept == 0
    lock.release()


def test_it_may_end_while_one_waits(tmp_path, monkeypatch):
    holder = taken(tmp_path, machine='another')
    clock = Clock(monkeypatch, holder, age=5)
    lock = Lock(tmp_path, lambda seconds: (clock.sleep(seconds), holder.rename(holder.with_suffix('.free'))))
    lock.take()
    assert clock.slept == locks.LOOK
    lock.release()


def test_another_container_of_this_machine(tmp_path, monkeypatch):
    """Its processes are not seen from here; the kernel knows which of them lives."""
    held = Lock(tmp_path)
    held.take()
    monkeypatch.setattr(locks, 'space', lambda: 'another')
    assert 'in use' in message(Lock(tmp_path, sleep=lambda seconds: pytest.fail('it waited')).take)
    os.close(held._kernel)  # killed
    held._kernel = -1
    clock = Clock(monkeypatch, tmp_path / '.lock' / '1.json', age=3)
    lock = Lock(tmp_path, clock.sleep)
    lock.take()
    assert clock.slept == 0
    lock.release()
    held.release()


def test_the_time_is_that_of_the_file_system(tmp_path, monkeypatch):
    before = time.time()
    monkeypatch.setattr(time, 'time', lambda: 0.0)
    assert abs(place.now(tmp_path) - before) < 60 and list(tmp_path.iterdir()) == []


def test_it_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'BEAT', 0.01)
    lock = Lock(tmp_path)
    lock.take()
    os.utime(tmp_path / '.lock' / '1.json', (1, 1))
    for _ in range(1000):
        if place.modified(tmp_path / '.lock' / '1.json') > 1:
            break
        time.sleep(0.01)
    else:
        pytest.fail('no sign of life')
    lock.release()


def test_who_was_held_up_for_too_long_ends(tmp_path):
    lock = Lock(tmp_path)
    lock.take()
    lock._live()
    lock.check()
    (tmp_path / '.lock' / '2.json').write_text(json.dumps({'host': 'there', 'process': 7}))
    lock._live()
    assert 'taken over by process 7 on there' in message(lock.check)
    lock.release()
    assert names(tmp_path) == ['1.json', '2.json'], 'what is not ours is left alone'


@pytest.mark.parametrize('kind', ['enospc', 'erofs', 'eio'])
def test_a_workdir_that_cannot_be_written(tmp_path, kind):
    with faults.fail_at('lock', kind=kind):
        assert str(tmp_path) in message(Lock(tmp_path).take)
    lock = Lock(tmp_path)
    lock.take()
    lock.release()


@pytest.mark.parametrize('text', ['', '{"half', '[]', '{}'])
def test_a_lock_that_cannot_be_read_waits_for_a_sign_of_life(tmp_path, monkeypatch, text):
    holder = taken(tmp_path)
    holder.write_text(text)
    clock = Clock(monkeypatch, holder, age=50)
    lock = Lock(tmp_path, clock.sleep)
    lock.take()
    assert clock.slept == pytest.approx(10)
    lock.release()
