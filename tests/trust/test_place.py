"""A workdir in an object store: nothing there grows, is renamed or known to the operating system."""

import json
import os
import threading

import fsspec
import pytest

import jaxlab
from jaxlab import main
from jaxlab.errors import UserError
from jaxlab.observers import report as reports
from jaxlab.observers.history import History
from jaxlab.observers.progress import Progress
from jaxlab.observers.report import Report
from jaxlab.observers.samples import Samples
from jaxlab.observers.tensorboard import TensorBoard, events
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from jaxlab.trust import faults, lines, manifest, place
from jaxlab.trust.lines import Lines
from jaxlab.trust.lock import Lock
from tests.experiments import message, tiny
from tests.stores import stand_in


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(place, 'PAUSE', 0.05)
    return stand_in(tmp_path / 'bucket')


def test_a_disk_and_a_store(tmp_path, store):
    assert place.can(tmp_path) == place.DISK and place.can(store) == place.STORE
    assert place.of('runs/a') == place.Path('runs/a') and place.of(str(store)) == store


@pytest.mark.parametrize(
    ('text', 'wanted'), [('gs://bucket/run', 'gcsfs'), ('nowhere://bucket', 'no kind of storage "nowhere"')]
)
def test_a_store_that_cannot_be_reached(text, wanted, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'gcsfs', None)
    assert wanted in message(place.of, text)


@pytest.mark.parametrize(
    'call',
    [
        lambda file: file.open('a'),
        lambda file: file.open('xb'),
        lambda file: file.open('r+'),
        lambda file: os.open(file, os.O_RDONLY),
        lambda file: os.truncate(file, 0),
        lambda file: file.rename(file),
        lambda file: file.replace(file),
    ],
)
def test_the_stand_in_refuses(store, call):
    place.write(store / 'file', 'text')
    with pytest.raises(OSError, match=r'store'):
        call(store / 'file')


@pytest.mark.parametrize('kind', ['disk', 'store'])
def test_both_do_the_same(tmp_path, store, kind):
    folder = store / 'folder' if kind == 'store' else tmp_path / 'folder'
    folder.mkdir(parents=True, exist_ok=True)
    assert place.entries(folder / 'none') == []
    place.write(folder / 'a', 'text')
    place.write(folder / 'a', 'other')
    place.create(folder / 'b', b'123')
    with pytest.raises(FileExistsError):
        place.create(folder / 'b', b'456')
    place.move(folder / 'b', folder / 'c')
    place.flush(folder / 'c')
    assert [entry.name for entry in place.entries(folder)] == ['a', 'c'] and place.size(folder / 'c') == 3
    before = place.modified(folder / 'c')
    place.renew(folder / 'c')
    assert abs(place.now(folder) - place.modified(folder / 'c')) < 5 and place.modified(folder / 'c') >= before
    (folder / 'in').mkdir(exist_ok=True)
    place.write(folder / 'in' / 'd', b'')
    assert [file.name for file in place.files(folder)] == ['a', 'c', 'd']
    assert [entry.name for entry in place.folders(folder)] == ['in']
    place.remove(folder / 'a')
    place.remove(folder / 'a')
    place.remove(folder)
    assert place.entries(folder) == []
    with pytest.raises(FileNotFoundError):
        place.modified(folder / 'c')


def created(make, count=6):
    """How many of several that make one file at the same instant succeed."""
    together, found = threading.Barrier(count), []

    def start(n):
        together.wait()
        try:
            make(f'{n}'.encode())
        except FileExistsError:
            return
        found.append(n)

    threads = [threading.Thread(target=start, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(found)


def test_of_many_that_make_one_object_one_succeeds(store):
    assert created(lambda data: place.create(store / 'lock', data)) == 1


def test_a_store_that_offers_conditional_writes_is_asked_for_them(store, monkeypatch):
    """Without any pause, and whatever the look before it saw."""
    memory = fsspec.filesystem('memory')
    monkeypatch.setattr(place, '_store', lambda path: memory)
    monkeypatch.setattr(place, 'PAUSE', None)
    place.create(store / 'conditional', b'1')
    with pytest.raises(FileExistsError):
        place.create(store / 'conditional', b'2')
    assert memory.cat_file(str(store / 'conditional')) == b'1'


def test_what_a_stores_library_raises_is_an_error_of_the_system(store, monkeypatch):
    monkeypatch.setattr(type(store), 'write_bytes', lambda self, data: 1 / 0)
    with pytest.raises(OSError, match='ZeroDivisionError'):
        place.write(store / 'a', 'text')


def test_the_lock_goes_by_numbers(store):
    first = Lock(store)
    first.take()
    assert 'is in use by' in message(Lock(store).take)
    first._live()
    first.check()
    first.release()
    second = Lock(store)
    second.take()
    assert [entry.name for entry in place.entries(store / '.lock')] == ['2.json']
    second.release()


# --- rows in pieces --------------------------------------------------------------------------------------------------


def numbers(file):
    return [row['step'] for row in lines.rows(file)]


def test_rows_go_up_in_pieces(store, monkeypatch):
    monkeypatch.setattr(lines, 'PIECE', 100)
    now = [0.0]
    found = Lines(store / 'metrics.jsonl', clock=lambda: now[0])
    found.start(0)
    for step in range(1, 8):
        found.add(step, {'train/loss': 0.5})
    assert numbers(store / 'metrics.jsonl') == []
    now[0] += lines.UPLOAD
    found.add(8, {'train/loss': 0.5})
    assert numbers(store / 'metrics.jsonl') == [*range(1, 9)]
    found.add(9, {'train/loss': 0.5})
    found.flush()
    found.add(10, {'train/loss': 0.5})
    found.end()
    pieces = lines.pieces(store / 'metrics')
    assert [piece.name for piece in pieces] == [f'{n:08}.jsonl' for n in range(1, len(pieces) + 1)] and len(pieces) > 3
    assert all(0 < place.size(piece) <= 100 for piece in pieces) and numbers(store / 'metrics.jsonl') == [*range(1, 11)]

    again = Lines(store / 'metrics.jsonl')
    again.start(4)
    again.add(5, {'train/loss': 0.5})
    again.end()
    assert numbers(store / 'metrics.jsonl') == [1, 2, 3, 4, 5]


def test_a_crash_while_pieces_are_cut_leaves_a_beginning(store, monkeypatch):
    monkeypatch.setattr(lines, 'PIECE', 100)
    found = Lines(store / 'metrics.jsonl')
    found.start(0)
    for step in range(1, 20):
        found.add(step, {'train/loss': 0.5})
    found.end()
    remove, left = place.remove, [2]

    def crash(path):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(path)

    monkeypatch.setattr(place, 'remove', crash)
    with pytest.raises(KeyboardInterrupt):
        Lines(store / 'metrics.jsonl').start(3)
    seen = numbers(store / 'metrics.jsonl')
    assert seen == [*range(1, len(seen) + 1)] and 3 < len(seen) < 19


def test_rows_wait_while_the_store_is_out_of_reach(store):
    found = Lines(store / 'metrics.jsonl', clock=lambda: 0.0)
    found.start(0)
    found.add(1, {'train/loss': 0.5})
    with faults.fail_at('log_flush', kind='eio'), pytest.raises(OSError):
        found.flush()
    found.flush()
    assert numbers(store / 'metrics.jsonl') == [1]


# --- a whole run -----------------------------------------------------------------------------------------------------


def logged(workdir):
    """The rows, without what measures time."""
    found = lines.rows(workdir / 'metrics.jsonl')
    return [{key: value for key, value in row.items() if 'second' not in key} for row in found]


def run(config, workdir):
    with Progress() as progress:
        observers = [progress, Tracker(), Samples(), History(), TensorBoard(), Report()]
        return train(config, workdir, observers)


def test_a_run_there_is_the_run_on_a_disk(corpus, tmp_path, store, monkeypatch, capsys):
    """Killed, as it were, between two saves, resumed, reported, verified, loaded."""
    monkeypatch.setattr(reports.Report, '_draw', lambda self: None)
    often = {'log__every': 1, 'log__sample_every': 4, 'evaluate__every': 4, 'checkpoint__every': 4}
    small = {'model__width': 32, 'model__layers': 1, 'batch_size': 2, 'evaluate__batches': 1, 'log__sample_tokens': 4}
    config = tiny(corpus, mesh__data=1, steps=12, steps_per_call=1, **often, **small)
    assert run(config, tmp_path / 'disk') == 0
    with faults.fail_at('step', 11, 'enospc'), pytest.raises(OSError):
        run(config, store / 'run')
    assert run(config, store / 'run') == 0
    assert 'resumed at step 8' in capsys.readouterr().out

    assert logged(store / 'run') == logged(tmp_path / 'disk') != []
    assert manifest.steps(store / 'run' / 'checkpoints') == manifest.steps(tmp_path / 'disk' / 'checkpoints')
    assert [about['step'] for about in json.loads((store / 'run' / 'runs.json').read_text())] == [8, 12]
    seen = []
    for file in place.entries(store / 'run' / 'tensorboard'):
        local = tmp_path / file.name
        local.write_bytes(file.read_bytes())
        seen += [(event.step, event.summary.value[0].tag) for _, event in events(local) if event.summary.value]
    assert [step for step, tag in seen if tag == 'train/loss'] == [*range(1, 13)]

    workdir = f'--workdir={store / "run"}'
    assert main.main(['verify', workdir]) == 0
    assert '12: good (' in capsys.readouterr().out
    assert main.main(['report', workdir]) == 0
    assert 'Samples over time' in (store / 'run' / 'report.html').read_text()
    here, there = jaxlab.load(tmp_path / 'disk'), jaxlab.load(str(store / 'run'))
    assert there.step == 12 and there('the', tokens=5, temperature=0) == here('the', tokens=5, temperature=0)

    # An unfinished step is none, and a damaged one is named.
    place.write(store / 'run' / 'checkpoints' / '99' / 'params' / 'half', b'')
    assert manifest.steps(store / 'run' / 'checkpoints')[-1] == 12
    (damaged,) = [file for file in place.files(store / 'run' / 'checkpoints' / '12') if file.name == '_METADATA'][:1]
    place.write(damaged, b'')
    assert main.main(['verify', workdir]) == 2 and '12: damaged: ' in capsys.readouterr().out
    with pytest.raises(UserError):
        jaxlab.load(store / 'run', step=12)
