"""Samples that are pictures: files, the screen, TensorBoard, Weights & Biases, the report; texts stay as they are."""

import base64
import io
import types

import numpy as np
import pytest
from PIL import Image

from jaxlab.best import Best
from jaxlab.observers import wandb as wandbs
from jaxlab.observers.progress import Progress
from jaxlab.observers.samples import Samples
from jaxlab.observers.screen import Plain, Terminal
from jaxlab.observers.tensorboard import TensorBoard, events
from jaxlab.observers.wandb import WandB, row_of
from jaxlab.report import facts
from jaxlab.report.page import page
from jaxlab.report.record import read
from jaxlab.trust import place
from tests.experiments import write_run

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 1)).astype(np.uint8)


def run(workdir):
    return types.SimpleNamespace(workdir=workdir, start=0, best=Best(), kept=[])


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    observer = Samples()
    observer.start(run(tmp_path))
    observer.sample(10, PICTURE)
    observer.sample(20, 'a text')
    np.testing.assert_array_equal(pixels((tmp_path / 'samples/10.png').read_bytes()), PICTURE[..., 0])
    assert (tmp_path / 'samples/20.txt').read_text() == 'a text'

    def full(file, content, private=False):
        raise OSError(28, 'no space left')

    monkeypatch.setattr(place, 'write', full)
    observer.sample(30, PICTURE)
    assert sorted(file.name for file in (tmp_path / 'samples').iterdir()) == ['10.png', '20.txt']
    (tmp_path / 'samples/of_step_20_seed_0.png').write_bytes(b'by hand')
    observer.back(10)
    assert sorted(file.name for file in (tmp_path / 'samples').iterdir()) == ['10.png', 'of_step_20_seed_0.png']


def test_the_screen_says_where_it_lies(tmp_path, capsys):
    progress = Progress()
    progress._screen, progress._run = (
        Plain(),
        types.SimpleNamespace(workdir=tmp_path, config=types.SimpleNamespace(log=types.SimpleNamespace(prompt='def'))),
    )
    progress.sample(10, PICTURE)
    assert capsys.readouterr().out == f'sample at step 10: {tmp_path}/samples/10.png\n'
    progress.sample(20, 'def f')
    assert capsys.readouterr().out == 'sample at step 20:\n    | def f\n'


def test_a_terminal_shows_it_in_the_panel():
    from rich.console import Console

    written = io.StringIO()
    terminal = Terminal(
        Console(file=written, width=60, force_terminal=True, color_system=None, highlight=False, markup=False)
    )
    terminal.picture('sample at step 1', 'runs/a/samples/1.png\x1b[31m')
    assert 'runs/a/samples/1.png␛[31m' in written.getvalue() and '╭─ sample at step 1' in written.getvalue()


def test_tensorboard_has_an_image(tmp_path):
    board = TensorBoard()
    board.start(run(tmp_path))
    board.sample(10, PICTURE)
    board.sample(10, np.repeat(PICTURE, 3, axis=2))
    board.end(10)
    (file,) = (tmp_path / 'tensorboard').iterdir()
    found = [value for _, event in events(file) for value in event.summary.value]
    assert [value.tag for value in found] == ['sample'] * 2
    assert [(v.image.height, v.image.width, v.image.colorspace) for v in found] == [(20, 30, 1), (20, 30, 3)]
    np.testing.assert_array_equal(pixels(found[0].image.encoded_image_string), PICTURE[..., 0])


def test_wandb_has_an_image(monkeypatch):
    monkeypatch.setattr(wandbs.importlib.util, 'find_spec', lambda name: types.SimpleNamespace(origin=name))
    observer, told = WandB('cats'), []
    monkeypatch.setattr(observer, '_tell', told.append)
    observer.sample(10, PICTURE)
    observer.sample(20, 'a < b')
    stand_in = types.SimpleNamespace(Image=np.asarray, Html=str)
    np.testing.assert_array_equal(row_of(told[0], stand_in)['sample'], PICTURE[..., 0])
    assert row_of(told[1], stand_in) == {'sample': '<pre>a &lt; b</pre>'}
    assert row_of({'step': 1, 'row': {'train/loss': 1.0}}, stand_in) == {'train/loss': 1.0}


@pytest.mark.parametrize('count', [5, 100])
def test_the_report_shows_some_of_them(tmp_path, count):
    workdir = write_run(tmp_path / 'run', [{'step': 10 * count, 'train/loss': 1.0}])
    observer = Samples()
    observer.start(run(workdir))
    for step in range(1, count + 1):
        observer.sample(10 * step, PICTURE + np.uint8(step))
    text = page(read(workdir))
    assert text.count('data:image/png;base64,') == min(count, facts.GRIDS)
    for step in (1, count):
        content = (workdir / f'samples/{10 * step}.png').read_bytes()
        assert base64.b64encode(content).decode() in text
