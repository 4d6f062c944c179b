"""The disk fails at each place where a run writes, once, in each way: training goes on, or ends with a clear error; the
last good step is whole, and no row is missing or there twice.

What a failed save does is in test_checkpoint_saves.py, what rows do in trust/test_lines.py.
"""

import json
import shutil

import pytest

from jaxlab.checkpoint import Checkpoints
from jaxlab.errors import UserError
from jaxlab.observers import background, report
from jaxlab.observers.background import Background
from jaxlab.observers.history import History
from jaxlab.observers.report import Report
from jaxlab.observers.samples import Samples
from jaxlab.observers.tensorboard import TensorBoard
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from jaxlab.trust import faults, manifest, writes
from tests.experiments import rows, tiny

KINDS = ('enospc', 'erofs', 'eio')
STEPS = 12
# Where a run writes, and a step at which it does; what is not here are points at which nothing is written.
DURING = {
    'log_flush': 3,
    'sample': 6,
    'history': 4,
    'tensorboard': 5,
    'save_start': 2,
    'save_copied': 4,
    'between_commit_and_manifest': 8,
    'manifest_written': 10,
    'report': STEPS,
}
BEFORE = ('lock', 'remember')  # a run ends with a clear error
RESUMING = ('log_cut',)
NOT_WRITING = {'start', 'record', 'compile', 'step', 'evaluate'}


def test_every_point_is_looked_at():
    assert {*DURING, *BEFORE, *RESUMING} | NOT_WRITING == set(faults.POINTS)


@pytest.fixture(scope='module')
def config(corpus):
    often = {
        'checkpoint__retry': 0.0,
        'log__every': 1,
        'log__sample_every': 6,
        'evaluate__every': 4,
        'checkpoint__every': 2,
    }
    small = {'model__width': 32, 'model__layers': 1, 'batch_size': 2, 'evaluate__batches': 1, 'log__sample_tokens': 4}
    return tiny(corpus, mesh__data=1, steps=STEPS, steps_per_call=1, **often, **small)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(writes, 'FIRST', 0.001)
    monkeypatch.setattr(report.Report, '_draw', lambda self: None)


def run(config, workdir):
    board = Background('TensorBoard', TensorBoard())
    code = train(config, workdir, [Tracker(), Samples(), History(), board, Report()])
    board._thread.join(background.PATIENCE)
    return code


def good(workdir):
    folder = workdir / 'checkpoints'
    return [step for step in manifest.steps(folder) if not manifest.damage(folder / str(step), step)]


@pytest.fixture(scope='module')
def unbroken(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('unbroken') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report.Report, '_draw', lambda self: None)
        assert run(config, workdir) == 0
    return workdir


def warnings(told):
    return [line for line in (told.out + told.err).splitlines() if line.startswith(('warning: ', 'jaxlab: '))]


@pytest.mark.parametrize('kind', KINDS)
def test_every_write_of_one_run_fails_once(config, unbroken, tmp_path, monkeypatch, capfd, kind):
    monkeypatch.setattr(faults, '_set', [faults.Fault(point, step, kind) for point, step in DURING.items()])
    assert run(config, tmp_path) == 0
    assert rows(tmp_path) == rows(unbroken)
    assert good(tmp_path)[-1] == STEPS
    assert len(warnings(capfd.readouterr())) == len(DURING)
    assert {file.name for file in (tmp_path / 'samples').iterdir()} == {'12.txt'}
    assert [about['step'] for about in json.loads((tmp_path / 'runs.json').read_text('utf-8'))] == [STEPS]


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('point', DURING)
def test_one_write_fails_once(config, unbroken, tmp_path, capfd, point, kind):
    with faults.fail_at(point, DURING[point], kind):
        assert run(config, tmp_path) == 0
    assert rows(tmp_path) == rows(unbroken)
    assert good(tmp_path)[-1] == STEPS
    assert len(warnings(capfd.readouterr())) == 1


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('point', BEFORE)
def test_what_cannot_begin_says_so(config, tmp_path, point, kind):
    with faults.fail_at(point, kind=kind), pytest.raises(UserError) as caught:
        run(config, tmp_path / 'run')
    assert str(tmp_path / 'run') in str(caught.value)


@pytest.mark.parametrize('kind', KINDS)
def test_a_resumed_run_that_cannot_cut(config, unbroken, tmp_path, monkeypatch, kind):
    """Half a last line must go before anything is added, and can do so only later."""
    workdir = shutil.copytree(unbroken, tmp_path / 'run')
    with (workdir / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 13, "train/lo')
    config = config.copy_and_resolve_references()
    config.steps = STEPS + 1
    started = Tracker.start

    def start(self, run):
        with faults.fail_at('log_cut', STEPS, kind):
            started(self, run)

    monkeypatch.setattr(Tracker, 'start', start)
    assert run(config, workdir) == 0
    assert rows(workdir)[: len(rows(unbroken))] == rows(unbroken) and rows(workdir)[-1]['step'] == STEPS + 1


def test_a_disk_that_stays_full_ends_the_run_and_the_last_good_step_is_whole(config, unbroken, tmp_path, monkeypatch):
    """And it goes on from there, once there is room."""
    save = Checkpoints.save

    def save_at_once(self, *arguments):
        save(self, *arguments)
        self._settle(self._lost)

    monkeypatch.setattr(Checkpoints, 'save', save_at_once)
    every = [faults.Fault('log_flush', step, 'enospc') for step in range(6, STEPS + 1)]
    monkeypatch.setattr(faults, '_set', every)
    with pytest.raises(UserError, match='No space left'):
        run(config, tmp_path)
    assert good(tmp_path)[-1] == 4  # a checkpoint does not count without the rows up to it
    assert rows(tmp_path) == [row for row in rows(unbroken) if row['step'] <= 5]
    monkeypatch.setattr(faults, '_set', [])
    assert run(config, tmp_path) == 0
    assert rows(tmp_path) == rows(unbroken)


def rows_of_checkpoints(config, workdir):
    """Whether, at the moment a step counts, each row up to it is there."""
    found = []
    write = manifest.write

    def look(folder, step):
        found.append([row['step'] for row in rows(workdir) if 'train/loss' in row][:step] == [*range(1, step + 1)])
        write(folder, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, 'write', look)
        run(config, workdir)
    return len(found) == STEPS // 2 and all(found)


def test_no_checkpoint_is_ahead_of_its_rows(config, tmp_path, monkeypatch):
    config = config.copy_and_resolve_references()
    config.evaluate.every = config.log.sample_every = 0
    seen: list[int] = []

    def wait(self, step, row):
        with self._lines._writing:
            seen.append(step)
            self._lines._waiting.append((step, f'{json.dumps({"step": step, **row})}\n'.encode()))

    monkeypatch.setattr(Tracker, 'row', wait)  # rows that wait, as if the disk took none
    save, told = Checkpoints.save, []

    def look(self, step, *arguments):
        told.append(step in seen)
        save(self, step, *arguments)

    monkeypatch.setattr(Checkpoints, 'save', look)
    assert rows_of_checkpoints(config, tmp_path / 'right')
    assert len(told) >= STEPS // 2 and all(told), 'a step is observed before it is saved'
    monkeypatch.setattr(Checkpoints, 'first', property(lambda self: [], lambda self, value: None), raising=False)
    assert not rows_of_checkpoints(config, tmp_path / 'mutant')
