"""Observers that are told to go back to an earlier step end as those of a run that was never beyond it."""

import ast
import io
import json
import types

import pytest

from jaxlab.best import Best
from jaxlab.observers import progress as progresses
from jaxlab.observers import tensorboard as tensorboards
from jaxlab.observers.background import Background
from jaxlab.observers.history import History
from jaxlab.observers.progress import Progress
from jaxlab.observers.samples import Samples
from jaxlab.observers.tensorboard import TensorBoard, events
from jaxlab.observers.tracker import Tracker
from jaxlab.observers.wandb import WandB
from jaxlab.trust.ledger import Ledger
from tests.experiments import ROOT, tiny

LOSSES = {5: 3.0, 10: 2.0, 15: 1.0, 20: 1.5}  # of evaluations


def told(observers, steps, scale=1.0):
    """Tells observers of steps, as training does."""
    for step in steps:
        for observer in observers:
            observer.row(step, {'train/loss': scale / step})
        if step in LOSSES:
            for observer in observers:
                observer.row(step, {'eval/held_out/loss': scale * LOSSES[step]})
                observer.sample(step, f'{scale} at {step}')


def run(tmp_path, name, observers, back=True):
    """Returns the workdir of a run of 20 steps that goes back from 17 to 12, or of one that does not."""
    workdir = tmp_path / name
    workdir.mkdir()
    config = tiny(tmp_path)
    about = {'data': '', 'evaluation': '', 'devices': '', 'layout': [], 'ledger': Ledger(), 'kept': []}
    given = types.SimpleNamespace(workdir=workdir, start=0, config=config, best=Best('held_out/loss'), **about)
    for observer in observers:
        observer.start(given)
    told(observers, range(1, 13))
    if back:
        told(observers, range(13, 18), scale=7.0)
        for observer in observers:
            observer.sample(16, 'never')
            observer.back(12)
    told(observers, range(13, 21))
    for observer in observers:
        observer.end(20)
    return workdir


def metrics(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]


def texts(workdir):
    return {file.name: file.read_text('utf-8') for file in (workdir / 'samples').iterdir()}


def board(workdir):
    files = sorted((workdir / 'tensorboard').iterdir())
    found = [event for file in files for _, event in events(file) if event.HasField('summary')]
    return [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in found]


@pytest.mark.parametrize(
    ('make', 'read'), [(Tracker, metrics), (Samples, texts), (TensorBoard, board)], ids=['Tracker', 'Samples', 'board']
)
def test_going_back_leaves_no_trace(tmp_path, make, read):
    went_back, unbroken = run(tmp_path, 'a', [make()]), run(tmp_path, 'b', [make()], back=False)
    assert read(went_back) == read(unbroken) and len(read(unbroken)) >= 4


@pytest.mark.parametrize(('make', 'read'), [(Tracker, metrics), (Samples, texts), (TensorBoard, board)])
def test_an_observer_that_stays_is_noticed(tmp_path, monkeypatch, make, read):
    """The mutant of this file."""
    monkeypatch.setattr(make, 'back', lambda self, step: None)
    assert read(run(tmp_path, 'a', [make()])) != read(run(tmp_path, 'b', [make()], back=False))


def test_events_are_cut_at_once(tmp_path):
    """And not only when the next row comes: a TensorBoard that runs shows what happened."""
    observer = TensorBoard()
    observer.start(types.SimpleNamespace(workdir=tmp_path, start=0, best=Best()))
    told([observer], range(1, 18))
    observer.back(12)
    assert max(step for step, *_ in board(tmp_path)) == 12


def test_a_resumed_run_that_goes_back_further(tmp_path):
    """It resumed at 12, and nothing was written since: the next event still finds the old ones cut."""
    observer = TensorBoard()
    observer.start(types.SimpleNamespace(workdir=tmp_path, start=0, best=Best()))
    told([observer], range(1, 18))
    observer.end(17)
    observer = TensorBoard()
    observer.start(types.SimpleNamespace(workdir=tmp_path, start=12, best=Best()))
    observer.back(10)
    told([observer], range(11, 12))
    observer.end(11)
    steps = [step for step, tag, _ in board(tmp_path) if tag == 'train/loss']
    assert steps == list(range(1, 12)) and tensorboards.FLUSH > 0


def test_history_says_that_it_was_so(tmp_path):
    (about,) = json.loads((run(tmp_path, 'a', [History()]) / 'runs.json').read_text('utf-8'))
    assert about['back'] == [[17, 12]] and about['step'] == 20


def test_a_killed_start_has_made_no_more_than_what_was_saved(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'runs.json').write_text(json.dumps([{'step': 30, 'ended': ''}, {'step': 8}]), 'utf-8')
    about = {'data': '', 'evaluation': '', 'devices': '', 'layout': [], 'ledger': Ledger()}
    observer = History()
    observer.start(types.SimpleNamespace(workdir=tmp_path / 'run', start=20, config=tiny(tmp_path), **about))
    steps = [about['step'] for about in json.loads((tmp_path / 'run' / 'runs.json').read_text('utf-8'))]
    assert steps == [20, 8, 20]


class Lines(progresses.Plain):
    """A screen that remembers its lines."""

    def __init__(self):
        super().__init__()
        self.lines, self.begun = [], []

    def line(self, text):
        self.lines.append(text)

    def begin(self, status):
        self.begun.append(status.step)


def test_progress_says_so_and_compares_with_what_stands(tmp_path):
    (tmp_path / 'run').mkdir()
    rows = [{'step': step, 'eval/held_out/loss': loss} for step, loss in {**LOSSES, 15: 0.1}.items()]
    text = ''.join(json.dumps(row) + '\n' for row in rows)
    (tmp_path / 'run' / 'metrics.jsonl').write_text(text, 'utf-8')
    observer = Progress(screen := Lines())
    observer._run = types.SimpleNamespace(workdir=tmp_path / 'run', config=tiny(tmp_path), start=0)
    observer._run.best = observer._best = Best('held_out/loss', value=0.1, step=15)
    observer._scores = {'held_out/loss': 0.1}
    observer.back(12)
    assert screen.lines == ['back to step 12'] and screen.begun == [12]
    observer.row(15, {'eval/held_out/loss': 1.0})
    assert screen.lines[-1].endswith('held_out  loss 1.0000 (-1.0000, best)')


def test_what_was_sent_gets_a_note(tmp_path):
    observer = WandB.__new__(WandB)
    observer._process = types.SimpleNamespace(stdin=io.StringIO())
    observer.back(12)
    assert json.loads(observer._process.stdin.getvalue()) == {'step': 12, 'row': {'back_to_step': 12.0}}


def test_background_hands_it_on():
    heard = []
    spy = types.SimpleNamespace(start=lambda run: None, back=heard.append, end=heard.append)
    observer = Background('Spy', spy)
    observer.start(None)
    observer.back(12)
    observer.end(20)
    observer._thread.join(60)
    assert heard == [12, 20]


def test_every_observer_can():
    words = {'start', 'row', 'sample', 'back', 'end'}
    seen = 0
    for file in (ROOT / 'jaxlab' / 'observers').glob('*.py'):
        for node in ast.parse(file.read_text('utf-8')).body:
            if isinstance(node, ast.ClassDef):
                methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                if {'start', 'row', 'sample', 'end'} <= methods:
                    assert words <= methods, node.name
                    seen += 1
    assert seen >= 9
