"""A save that fails, or a process that dies on the way, costs that save alone: the last good step stays whole."""

import resource
import signal
import time
from shutil import rmtree

import pytest
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.errors import UserError
from jaxlab.trust import faults, manifest
from tests.experiments import message
from tests.test_checkpoint_damage import numbers, save, state, wanted

SAVING = ('save_start', 'save_copied', 'between_commit_and_manifest', 'manifest_written')
ERRORS = ('enospc', 'erofs', 'eio')


def start(checkpoints, step, best=0):
    checkpoints.save(step, state(step), ConfigDict({}), Best('held_out/loss', value=1.0, step=best))


def settled(checkpoints):
    """Calls `check` as a loop does, until the save is over; returns how often it was called before."""
    for times in range(6000):
        if checkpoints._saving is None:
            return times
        checkpoints.check()
        time.sleep(0.01)
    raise AssertionError('never over')


def good(workdir):
    """The steps that are good, by their manifests; and nothing else may lie there."""
    folder = workdir / 'checkpoints'
    return [step for step in manifest.steps(folder) if not manifest.damage(folder / str(step), step)]


def left(workdir):
    return sorted(entry.name for entry in (workdir / 'checkpoints').iterdir())


def test_the_points_are_those_of_a_save():
    assert {point for point in faults.POINTS if 'save' in point or 'manifest' in point} == set(SAVING)


@pytest.mark.parametrize('kind', ERRORS)
@pytest.mark.parametrize('point', SAVING)
def test_a_save_that_fails_is_a_warning_and_the_next_one_is_good(tmp_path, capsys, point, kind):
    checkpoints = Checkpoints(tmp_path, keep=1)
    start(checkpoints, 1)
    settled(checkpoints)
    with faults.fail_at(point, 2, kind):
        start(checkpoints, 2)
        settled(checkpoints)
    told = capsys.readouterr().out
    assert told.startswith('warning: the checkpoint of step 2 could not be saved (') and told.count('\n') == 1
    assert good(tmp_path) == [1] and checkpoints.latest() == 1
    start(checkpoints, 3)
    settled(checkpoints)
    assert capsys.readouterr().out == '' and good(tmp_path) == [3] and left(tmp_path) == ['3']
    assert numbers(checkpoints.restore(wanted())) == numbers(state(3))
    checkpoints.close()


def test_a_disk_that_takes_no_more_bytes(tmp_path, capsys):
    """What the libraries below write fails, not what this code does."""
    save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, keep=1)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
        start(checkpoints, 2)
        settled(checkpoints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert 'warning: the checkpoint of step 2 could not be saved (' in capsys.readouterr().out
    assert good(tmp_path) == [1]
    start(checkpoints, 3)
    checkpoints.wait()
    assert good(tmp_path) == [3] and left(tmp_path) == ['3']
    checkpoints.close()


def test_looking_does_not_wait(tmp_path, monkeypatch):
    """While it is being written, `check` returns, and nothing has happened yet."""
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(manifest, 'write', lambda *arguments: time.sleep(0.5))
    start(checkpoints, 1)
    assert settled(checkpoints) >= 3
    checkpoints.close()


@pytest.mark.parametrize('point', SAVING)
def test_five_in_a_row_end_the_run(tmp_path, capsys, point):
    save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path)
    with faults.fail_at(point, kind='enospc'):
        for step in (2, 3, 4, 5):
            start(checkpoints, step)
            settled(checkpoints)
        with pytest.raises(UserError) as caught:
            start(checkpoints, 6)
            settled(checkpoints)
    first, second = str(caught.value).splitlines()
    assert 'step 6 could not be saved' in first and 'No space left' in first and 'that of step 1.' in first
    assert str(tmp_path / 'checkpoints') in second and len(capsys.readouterr().out.splitlines()) == 4
    assert good(tmp_path) == [1]
    checkpoints.close()


def test_not_in_a_row(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 9):
        with faults.fail_at('manifest_written', step if step % 3 else 99):
            start(checkpoints, step)
            settled(checkpoints)
    assert len(capsys.readouterr().out.splitlines()) == 6 and good(tmp_path) == [6]
    checkpoints.close()


def test_the_last_save_fails(tmp_path, capsys):
    """There is no later one that could make up for it: the run has not ended well."""
    checkpoints = Checkpoints(tmp_path)
    with faults.fail_at('manifest_written'):
        start(checkpoints, 1)
        assert 'step 1 could not be saved' in (text := message(checkpoints.wait)) and 'there is no other' in text
        start(checkpoints, 2)
        checkpoints.close()  # as after another error, which is the one to see
    assert capsys.readouterr().out.startswith('the checkpoint of step 2 could not be saved (')


PROGRAM = """
import sys
from pathlib import Path
from tests.test_checkpoint_damage import save
save(Path(sys.argv[1]), 1, 2)
"""


@pytest.mark.parametrize('point', SAVING)
def test_killed_on_the_way(tmp_path, fresh, capsys, monkeypatch, point):
    """The step whose save was not over is no step: nothing warns of it, and the next save clears it away."""
    monkeypatch.setenv('JAXLAB_FAIL_AT', f'{point}:2:kill')
    done = fresh('-c', PROGRAM, str(tmp_path))
    assert done.returncode == -signal.SIGKILL, done.stderr
    monkeypatch.delenv('JAXLAB_FAIL_AT')
    assert good(tmp_path) == manifest.steps(tmp_path / 'checkpoints') == [1]
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert numbers(checkpoints.restore(wanted())) == numbers(state(1))
    assert capsys.readouterr().out == ''
    start(checkpoints, 2)
    checkpoints.close()
    assert good(tmp_path) == [2] and left(tmp_path) == ['2']


def never_alone(tmp_path):
    """Saves steps one after another and keeps one; at each point of each save, is there a good one?"""
    checkpoints, found = Checkpoints(tmp_path, keep=1), []
    reach = faults.reach

    def look(point, step=0):
        found.append(step == 1 or bool(good(tmp_path)))
        reach(point, step)

    faults.reach = look
    try:
        for step in range(1, 5):
            start(checkpoints, step)
            checkpoints.wait()
    finally:
        faults.reach = reach
        checkpoints.close()
    return len(found) == 16 and all(found)


def test_there_is_always_a_good_step(tmp_path, monkeypatch):
    assert never_alone(tmp_path / 'right')
    write = manifest.write

    def forgets_too_early(folder, step):
        for entry in folder.parent.iterdir():
            if entry != folder:
                rmtree(entry)
        write(folder, step)

    monkeypatch.setattr(manifest, 'write', forgets_too_early)
    assert not never_alone(tmp_path / 'mutant')


def kept_beside_damaged(tmp_path):
    """Damaged steps are newer than the good ones; two are to be kept. Returns what is, after another save."""
    save(tmp_path, 10, 20, 30, 40)
    for step in (30, 40):
        (tmp_path / 'checkpoints' / str(step) / 'params' / '_METADATA').write_bytes(b'')
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert int(checkpoints.restore(wanted()).step) == 20
    start(checkpoints, 25)
    checkpoints.close()
    return good(tmp_path)


def test_damaged_steps_do_not_count_among_those_that_are_kept(tmp_path, monkeypatch):
    assert kept_beside_damaged(tmp_path / 'right') == [20, 25]
    newest = Checkpoints._forget

    def by_number(self, step, best):
        self._damaged.clear()
        newest(self, step, best)

    monkeypatch.setattr(Checkpoints, '_forget', by_number)
    assert kept_beside_damaged(tmp_path / 'mutant') != [20, 25]
