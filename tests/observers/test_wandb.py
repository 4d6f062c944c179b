"""Weights & Biases is out, slow or broken, and the run does not notice. A stand-in plays wandb, in its own process."""

import io
import json
import queue
import threading
import types

import pytest

import jaxlab.main
from jaxlab.errors import UserError
from jaxlab.observers import background as backgrounds
from jaxlab.observers import wandb as wandbs
from jaxlab.observers.background import Background
from jaxlab.observers.tracker import Tracker
from jaxlab.observers.wandb import WandB
from jaxlab.train import train
from tests.experiments import ROOT, tiny, write_corpus

STAND_IN = """
import json, os, pathlib, threading, types

HOW, FILE = os.environ['STAND_IN_HOW'], pathlib.Path(os.environ['STAND_IN_FILE'])
Settings, Html = dict, str


def tell(*what):
    with FILE.open('a', encoding='utf-8') as file:
        print(json.dumps(what), file=file)


def maybe(at):
    tell('reached', at)
    if HOW == f'hang in {at}':
        threading.Event().wait()
    if HOW == f'raise in {at}':
        raise ConnectionError('no route to the server')


def init(**arguments):
    maybe('init')
    tell('init', arguments['project'], arguments['id'], arguments['resume'], arguments['config'].get('steps'))

    def log(row):
        maybe('log')
        tell('log', row)

    def finish():
        maybe('finish')
        tell('finish')

    return types.SimpleNamespace(log=log, finish=finish, define_metric=lambda *a, **k: None)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """stand_in(how) puts the stand-in where wandb would be; returns a function that reads what it was told."""
    site, file = tmp_path / 'site', tmp_path / 'told'
    site.mkdir()
    (site / 'wandb.py').write_text(STAND_IN, 'utf-8')
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv('PYTHONPATH', f'{site}:{ROOT}')
    monkeypatch.setenv('STAND_IN_FILE', str(file))
    monkeypatch.setattr(backgrounds.atexit, 'register', lambda *call: None)

    def put(how):
        monkeypatch.setenv('STAND_IN_HOW', how)
        return lambda: [json.loads(line) for line in file.read_text('utf-8').splitlines()] if file.exists() else []

    return put


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    quiet = {'steps': 6, 'log__every': 1, 'log__sample_every': 3, 'evaluate__every': 3, 'evaluate__batches': 1}
    return tiny(write_corpus(tmp_path / 'corpus'), mesh__data=1, log__wandb='cats', **quiet)


def trained(config, workdir, wandb, **options):
    observer = Background('Weights & Biases', wandb, **options)
    assert train(config, workdir, [Tracker(), observer]) == 0
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]
    assert [row['step'] for row in rows if 'train/loss' in row] == [1, 2, 3, 4, 5, 6] and len(rows) == 8
    return observer, rows


def test_rows_and_samples_arrive(config, tmp_path, stand_in, capfd):
    told = stand_in('well')
    observer, rows = trained(config, tmp_path / 'run', WandB('cats'))
    observer._thread.join(60)
    first, *rest, last = [what for what in told() if what[0] != 'reached']
    assert first == ['init', 'cats', 'run', 'allow', 6] and last == ['finish']
    logged = [what[1] for what in rest]
    assert [row for row in logged if 'sample' not in row] == rows
    assert [row['step'] for row in logged if 'sample' in row] == [3, 6]
    assert all(row['sample'].startswith('<pre>') for row in logged if 'sample' in row)
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('at', ['init', 'log', 'finish'])
def test_an_outage_that_hangs(config, tmp_path, stand_in, at):
    told = stand_in(f'hang in {at}')
    wandb = WandB('cats')
    observer, _ = trained(config, tmp_path / 'run', wandb)  # comes back: the loop never waited
    assert observer._thread.is_alive() or at != 'init'
    process = wandb._process
    assert process is None or process.poll() is None  # it hangs, or has not even come so far
    while wandb._process is None and observer._thread.is_alive():
        observer._thread.join(0.05)
    wandb._process.kill()
    observer._thread.join(60)
    assert ['finish'] not in told()


@pytest.mark.parametrize('at', ['init', 'log', 'finish'])
def test_an_outage_that_raises(config, tmp_path, stand_in, capfd, at):
    stand_in(f'raise in {at}')
    observer, _ = trained(config, tmp_path / 'run', WandB('cats'))
    observer._thread.join(60)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('jaxlab: Weights & Biases failed (') and line.endswith('the run goes on without it.')
    assert 'ConnectionError: no route to the server' in line and str(tmp_path / 'run' / 'wandb.log') in line


def test_the_other_process_gives_up_by_itself(tmp_path, stand_in):
    """Nobody has to end it: once the run is gone it has its time, and no more."""
    told = stand_in('hang in init')
    wandb = WandB('cats', patience=0.1)
    wandb.start(types.SimpleNamespace(workdir=tmp_path, config=types.SimpleNamespace(to_dict=dict)))
    with pytest.raises(RuntimeError, match='wandb sync'):
        wandb.end(0)
    assert wandb._process.returncode == 1 and told() == [['reached', 'init']]


def test_what_waits_is_bounded_and_the_end_is_heard(monkeypatch):
    gave_up = threading.Event()
    monkeypatch.setattr(wandbs, 'give_up', gave_up.set)
    monkeypatch.setattr(wandbs.sys, 'stdin', io.StringIO(''.join(f'{{"step": {n}}}\n' for n in range(10))))
    waiting = queue.Queue(4)
    reader = threading.Thread(target=wandbs.listen, args=(waiting, 0.0), daemon=True)
    reader.start()
    assert gave_up.wait(60)  # though nobody has taken a row
    assert [waiting.get() for _ in range(5)] == [*({'step': n} for n in range(4)), None]
    reader.join(60)


def test_a_missing_library_is_one_sentence_before_anything_compiles(tmp_path, monkeypatch, capfd):
    (tmp_path / 'wandb').mkdir()  # what wandb leaves behind where it ran: no library
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match='--extras=wandb'):
        WandB('cats')
    monkeypatch.chdir(ROOT)
    flags = ['--config=configs/transformer.py:tiny', '--config.log.wandb=cats', f'--workdir={tmp_path / "run"}']
    assert jaxlab.main.main(flags) == 2
    out, error = capfd.readouterr()
    assert error.startswith('jaxlab: config.log.wandb=cats: wandb is not installed') and out == ''
    assert not (tmp_path / 'run').exists()
