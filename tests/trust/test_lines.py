"""Rows: none missing and none twice, whatever the disk does, and whatever was left of an earlier process."""

import errno
import json
import os
import resource
import signal
from itertools import pairwise

import pytest

from jaxlab.errors import UserError
from jaxlab.trust import faults, lines, place, writes
from jaxlab.trust.lines import Lines


class Clock:
    """A clock on the wall that passes when somebody sleeps, or when it is told."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def open_at(folder, step=0, clock=None):
    clock = clock or Clock()
    found = Lines(folder / 'metrics.jsonl', clock, clock.sleep)
    found.start(step)
    return found


def steps(folder):
    """The steps of the rows, of which each must be whole."""
    return [json.loads(line)['step'] for line in (folder / 'metrics.jsonl').read_text('utf-8').splitlines()]


def told(found, *numbers):
    for step in numbers:
        found.add(step, {'train/loss': 1 / step})


@pytest.mark.parametrize('kind', ['enospc', 'erofs', 'eio'])
def test_rows_wait_while_the_disk_takes_none(tmp_path, clock, capsys, kind):
    found = open_at(tmp_path, clock=clock)
    told(found, 1, 2)
    with faults.fail_at('log_flush', kind=kind):
        told(found, 3, 4, 5)
    assert steps(tmp_path) == [1, 2]
    told(found, 6)  # the pause is not over yet
    assert steps(tmp_path) == [1, 2]
    clock.now += writes.FIRST
    told(found, 7)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('warning: ') and os.strerror(faults.KINDS[kind]) in first and 'is written again' in second
    found.end()


def test_pauses_double_and_the_run_ends_after_so_many(tmp_path, clock, capsys):
    found = open_at(tmp_path, clock=clock)
    told(found, 1)
    attempts = []
    with faults.fail_at('log_flush', kind='enospc'), pytest.raises(UserError) as caught:
        for step in range(2, 10_000):
            clock.now += 0.5
            before = found._patience._failed
            told(found, step)
            if found._patience._failed > before:
                attempts.append(clock.now)
    pauses = [b - a for a, b in pairwise(attempts)]
    assert pauses == [writes.FIRST * 2**n for n in range(len(pauses))] and len(attempts) == writes.ATTEMPTS - 1
    assert str(tmp_path / 'metrics.jsonl') in str(caught.value) and 'No space left' in str(caught.value)
    assert len(capsys.readouterr().out.splitlines()) == 3  # the first, the second, the fourth
    assert steps(tmp_path) == [1]


def test_the_end_has_patience(tmp_path, clock):
    found = open_at(tmp_path, clock=clock)
    with faults.fail_at('log_flush', kind='eio'):
        told(found, 1)
        with pytest.raises(UserError):
            found.end()
    assert clock.slept == [writes.FIRST * 2**n for n in range(writes.ATTEMPTS - 1)]
    found = open_at(tmp_path, clock=clock)
    with faults.fail_at('log_flush', 7, kind='eio'):
        told(found, 6, 7)
    found._step = 8
    found.end()
    assert steps(tmp_path) == [6, 7]


def limited(folder, bytes_, call):
    """Calls while no file may grow beyond so many bytes: what is written ends in the middle of a row."""
    before, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, limit[1]))
        return call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


def half_a_row(folder):
    clock = Clock()
    found = open_at(folder, clock=clock)
    told(found, 1, 2)
    size = (folder / 'metrics.jsonl').stat().st_size
    limited(folder, size + 10, lambda: told(found, 3, 4))
    assert (folder / 'metrics.jsonl').stat().st_size == size + 10  # the disk took half a row
    clock.now += 60
    told(found, 5)
    found.end()
    return (folder / 'metrics.jsonl').read_text('utf-8')


def test_half_a_row_is_cut_off_before_the_next_attempt(tmp_path, monkeypatch):
    text = half_a_row(tmp_path)
    assert [json.loads(line)['step'] for line in text.splitlines()] == [1, 2, 3, 4, 5]
    monkeypatch.setattr(os, 'ftruncate', lambda descriptor, size: None)  # the mutant
    (tmp_path / 'mutant').mkdir()
    with pytest.raises(json.JSONDecodeError):
        [json.loads(line) for line in half_a_row(tmp_path / 'mutant').splitlines()]


def test_what_is_flushed_is_on_the_disk_or_an_error(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda descriptor: synced.append(os.readlink(f'/proc/self/fd/{descriptor}')))
    found = open_at(tmp_path)
    with faults.fail_at('log_flush', kind='enospc'):
        told(found, 1)
        with pytest.raises(OSError) as caught:
            found.flush()
        assert caught.value.errno == errno.ENOSPC and not synced
    found.flush()  # whatever the pause
    assert steps(tmp_path) == [1] and synced == [str(tmp_path / 'metrics.jsonl')]


# --- cutting back ----------------------------------------------------------------------------------------------------

GARBAGE = {
    'half a last line': (b'{"step": 1, "train/loss": 1}\n{"step": 2, "tr', [1]),
    'a corrupt line': (b'{"step": 1, "train/loss": 1}\n{"step": 2, \xff"tr\n{"step": 3, "train/loss": 1}\n', [1, 3]),
    'zeros at the end': (b'{"step": 1, "train/loss": 1}\n' + bytes(5000), [1]),
    'zeros before a row': (b'{"step": 1, "train/loss": 1}\n' + bytes(99) + b'{"step": 2, "train/loss": 1}\n', [1, 2]),
    'no row': (b'3\nnull\n[]\n{}\n{"step": "1"}\n{"step": true}\n\n{"step": 1, "train/loss": NaN}\n', [1]),
    'deep': (b'[' * 100_000 + b'\n{"step": 1, "train/loss": 1}\n', [1]),
    'out of order': (b'{"step": 3, "a/b": 1}\n{"step": 9, "a/b": 1}\n{"step": 2, "a/b": 1}\n', [2, 3]),
    'twice': (b'{"step": 1, "train/a": 1}\n{"step": 1, "eval/a": 1}\n{"step": 1, "train/a": 2}\n', [1, 1]),
    'empty': (b'', []),
    'later ones': (b'{"step": 5, "train/loss": 1}\n{"step": 6, "train/loss": 1}\n', [5]),
}
QUIET = {'half a last line', 'zeros at the end', 'zeros before a row', 'out of order', 'twice', 'empty', 'later ones'}


@pytest.mark.parametrize('name', GARBAGE)
def test_what_is_left_of_an_earlier_process(tmp_path, capsys, name):
    data, wanted = GARBAGE[name]
    (tmp_path / 'metrics.jsonl').write_bytes(data)
    found = open_at(tmp_path, 5)
    told(found, 6)
    found.end()
    assert steps(tmp_path) == [*wanted, 6]
    out = capsys.readouterr().out
    assert out == '' if name in QUIET else 'could not be read and are left out, the first of them line' in out
    if name == 'twice':
        rows = list(lines.rows(tmp_path / 'metrics.jsonl'))
        assert rows[:2] == [{'step': 1, 'train/a': 2}, {'step': 1, 'eval/a': 1}]


def test_a_file_that_needs_no_cut_is_not_touched(tmp_path):
    open_at(tmp_path).add(1, {'train/loss': 1.0})
    before = (tmp_path / 'metrics.jsonl').stat()
    open_at(tmp_path, 1).end()
    after = (tmp_path / 'metrics.jsonl').stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_cutting_wants_no_room(tmp_path):
    """On a full disk: rows at the end go by truncation."""
    found = open_at(tmp_path)
    told(found, *range(1, 100))
    found.end()
    limited(tmp_path, 100, lambda: open_at(tmp_path, 3))
    assert steps(tmp_path) == [1, 2, 3]


def survives(folder, monkeypatch, write):
    """Whether a crash of a cut that writes the file anew leaves the old rows."""
    (folder / 'metrics.jsonl').write_bytes(GARBAGE['out of order'][0])

    def crash(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, 'write', write)
    monkeypatch.setattr(os, 'fsync', crash)
    with pytest.raises(KeyboardInterrupt):
        open_at(folder, 5)
    return (folder / 'metrics.jsonl').read_bytes() == GARBAGE['out of order'][0]


def test_a_crash_of_the_cut_loses_nothing(tmp_path, monkeypatch):
    def in_place(file, data):
        file.write_bytes(b'')
        os.fsync(0)

    assert survives(tmp_path, monkeypatch, place.write)
    assert not survives(tmp_path, monkeypatch, in_place)


def test_a_cut_that_fails_comes_first_later(tmp_path, clock, capsys):
    (tmp_path / 'metrics.jsonl').write_bytes(GARBAGE['out of order'][0])
    with faults.fail_at('log_cut', kind='enospc'):
        found = open_at(tmp_path, 5, clock)
        told(found, 6)
    assert (tmp_path / 'metrics.jsonl').read_bytes() == GARBAGE['out of order'][0]
    clock.now += 60
    told(found, 7)
    assert steps(tmp_path) == [2, 3, 6, 7]


def test_going_back_while_rows_wait(tmp_path, clock):
    found = open_at(tmp_path, clock=clock)
    told(found, 1, 2, 3)
    with faults.fail_at('log_flush', kind='enospc'):
        told(found, 4, 5)
        found.back(4)
        told(found, 5)
        found.back(2)
    told(found, 3)
    clock.now += 600
    told(found, 4)
    found.end()
    assert steps(tmp_path) == [1, 2, 3, 4]
