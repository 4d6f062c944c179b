"""TensorBoard's events are the rows of metrics.jsonl, once each, whatever was killed and resumed."""

import json
import struct
import types
from pathlib import Path

import numpy as np
import pytest

from jaxlab.best import Best
from jaxlab.observers import tensorboard as tensorboards
from jaxlab.observers.tensorboard import TensorBoard, cut, events
from jaxlab.observers.tracker import Tracker


def run(workdir: Path, start: int = 0):
    workdir.mkdir(exist_ok=True)
    return types.SimpleNamespace(workdir=workdir, start=start, best=Best(), kept=[])


def told(workdir, steps, start=0, end=True, observers=()):
    """Tells an observer of these steps, as training does; without `end` it is killed, with half an event on disk."""
    board = TensorBoard()
    for observer in (board, *observers):
        observer.start(run(workdir, start))
    for step in steps:
        rows = [{'train/loss': 1 / step, 'train/gradient_norm': float(step)}]
        rows += [{'eval/held_out/loss': 2 / step}] * (step % 5 == 0)
        for row in rows:
            for observer in (board, *observers):
                observer.row(step, row)
        if step % 10 == 0:
            board.sample(step, f'text at {step}\n# not a heading')
    if end:
        for observer in (board, *observers):
            observer.end(steps[-1])
    elif steps:
        board._writer.flush()
        newest = Path(board._writer._file_name)
        with newest.open('ab') as file:
            file.write(struct.pack('<Q', 1000) + b'crc.' + b'half an event')
    return board


def read(workdir):
    """The rows of all files, in the order of their names, as TensorBoard reads them: [(step, {name: value})]."""
    rows, texts = [], []
    for file in sorted((workdir / 'tensorboard').iterdir()):
        for _, event in events(file):
            numbers = {value.tag: value.simple_value for value in event.summary.value if value.HasField('simple_value')}
            if numbers:
                rows.append((event.step, numbers))
            texts += [(event.step, v.tag, v.tensor.string_val[0].decode()) for v in event.summary.value if not numbers]
    return rows, texts


def equal(rows, lines):
    return [step for step, _ in rows] == [line['step'] for line in lines] and all(
        row == {name: np.float32(value) for name, value in line.items() if name != 'step'}
        for (_, row), line in zip(rows, lines)
    )


def lines(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]


def test_events_are_the_rows(tmp_path):
    told(tmp_path / 'run', range(1, 21), observers=[Tracker()])
    rows, texts = read(tmp_path / 'run')
    assert len(rows) == 24 and equal(rows, lines(tmp_path / 'run'))
    assert texts[0] == (10, 'sample/text_summary', '    text at 10\n    # not a heading\n') and len(texts) == 2


def resumed(workdir):
    """Killed at 17 with a checkpoint of 12, again at 30 with none since, then to the end."""
    told(workdir, range(1, 18), end=False, observers=[Tracker()])
    told(workdir, range(13, 31), start=12, end=False, observers=[Tracker()])
    told(workdir, range(13, 41), start=12, observers=[Tracker()])
    return read(workdir)


def test_no_row_comes_twice_after_kills(tmp_path):
    rows, texts = resumed(tmp_path / 'run')
    assert equal(rows, lines(tmp_path / 'run'))
    steps = [step for step, row in rows if 'train/loss' in row]
    assert steps == list(range(1, 41)) and [step for step, *_ in texts] == [10, 20, 30, 40]


def test_what_a_killed_process_had_not_flushed_is_added(tmp_path):
    told(tmp_path / 'run', range(1, 9), observers=[Tracker()])
    for file in (tmp_path / 'run' / 'tensorboard').iterdir():
        cut(file, (4, True))  # as if killed
    told(tmp_path / 'run', range(9, 12), start=8, observers=[Tracker()])
    assert equal(read(tmp_path / 'run')[0], lines(tmp_path / 'run'))


def test_a_run_that_is_not_cut_back_is_noticed(tmp_path, monkeypatch):
    """The mutant of this file."""
    monkeypatch.setattr(tensorboards, 'cut', lambda file, step: None)
    rows, _ = resumed(tmp_path / 'run')
    assert not equal(rows, lines(tmp_path / 'run'))


def test_a_run_that_begins_anew_keeps_nothing(tmp_path):
    told(tmp_path / 'run', range(1, 6), end=False)
    told(tmp_path / 'run', range(1, 4))
    assert [step for step, _ in read(tmp_path / 'run')[0]] == [1, 2, 3]
    assert len(list((tmp_path / 'run' / 'tensorboard').iterdir())) == 1


def test_nothing_is_written_or_imported_before_the_first_row(tmp_path, fresh):
    board = TensorBoard()
    board.start(run(tmp_path / 'run'))
    board.end(0)
    assert not (tmp_path / 'run' / 'tensorboard').exists()
    program = """if True:
        import sys, types, pathlib
        from jaxlab.best import Best
        from jaxlab.observers.tensorboard import TensorBoard
        TensorBoard().start(types.SimpleNamespace(workdir=pathlib.Path('.'), start=0, best=Best()))
        print('tensorboardX' in sys.modules)
    """
    assert fresh('-c', program).stdout == 'False\n'


def test_torch_is_not_imported_with_it(tmp_path, fresh):
    program = """if True:
        import sys, types, pathlib
        from jaxlab.best import Best
        from jaxlab.observers.tensorboard import TensorBoard
        board = TensorBoard()
        board.start(types.SimpleNamespace(workdir=pathlib.Path(sys.argv[1]), start=0, best=Best()))
        board.row(1, {'train/loss': 1.0})
        board.sample(1, 'text')
        board.end(1)
        print('tensorboardX' in sys.modules, 'torch' in sys.modules)
    """
    done = fresh('-c', program, str(tmp_path))
    assert (done.stdout, done.stderr) == ('True False\n', '')


def test_cutting_leaves_whole_files_alone(tmp_path):
    told(tmp_path / 'run', range(1, 11))
    (file,) = (tmp_path / 'run' / 'tensorboard').iterdir()
    before = file.read_bytes()
    cut(file, (10, True))
    assert file.read_bytes() == before
    cut(file, (9, True))
    assert before.startswith(file.read_bytes()) and [event.step for _, event in events(file)][-1] == 9


def test_tensorboardx_itself_reads_them(tmp_path):
    """Its checksums are right, by the library's own account."""
    from tensorboardX.crc32c import crc32c

    told(tmp_path / 'run', range(1, 4))
    (file,) = (tmp_path / 'run' / 'tensorboard').iterdir()
    data, position = file.read_bytes(), 0

    def masked(text):
        crc = crc32c(text)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    while position < len(data):
        length, crc = struct.unpack('<QI', data[position : position + 12])
        assert crc == masked(data[position : position + 8])
        body = data[position + 12 : position + 12 + length]
        assert struct.unpack('<I', data[position + 12 + length : position + 16 + length])[0] == masked(body)
        position += 16 + length


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 1e300])
def test_values_that_are_no_numbers_are_written(tmp_path, value):
    board = TensorBoard()
    board.start(run(tmp_path / 'run'))
    board.row(1, {'train/loss': value})
    board.end(1)
    assert len(read(tmp_path / 'run')[0]) == 1
