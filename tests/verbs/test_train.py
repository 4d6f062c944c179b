"""The train verb: what a person finds in the workdir, and reads at the end."""

import contextlib
import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest

import jaxlab.main
from jaxlab.report.html import printable
from jaxlab.report.record import read
from jaxlab.trust import writes
from tests.experiments import rows, write_corpus
from tests.report.pages import Page


def test_everything_lies_in_the_workdir_and_the_report_shows_it(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    corpus, workdir = write_corpus(tmp_path / 'corpus'), tmp_path / 'run'
    flags = [
        '--config=configs/transformer.py:tiny',
        f'--workdir={workdir}',
        f'--config.data.path={corpus}',
        '--config.mesh.data=1',
        '--config.steps=20',
        '--config.log.every=5',
        '--config.log.sample_every=10',
        '--config.evaluate.every=10',
    ]
    assert jaxlab.main.main(flags) == 0
    out = capfd.readouterr().out
    assert f'everything lies in {workdir}; look at {workdir}/report.html' in out
    there = {path.name for path in workdir.iterdir()}
    assert there >= {'config.json', 'metrics.jsonl', 'runs.json', 'samples', 'checkpoints', 'report.html'}

    record = read(workdir)
    assert record.ended and record.config_file == 'configs/transformer.py:tiny' and record.changed['steps'] == [200, 20]
    (run,) = json.loads((workdir / 'runs.json').read_text('utf-8'))
    assert {'start', 'compile', 'data', 'step', 'evaluate', 'sample', 'checkpoint', 'observe'} <= set(run['seconds'])
    assert all(seconds >= 0 for seconds in run['seconds'].values())

    page = Page((workdir / 'report.html').read_text('utf-8'))
    shown = page.shown('en')
    assert page.untranslated() == [] and 'Finished: 20 steps.' in shown
    last = record.series['eval/held_out/loss'].values[-1]
    assert f'Held-out loss {last:.4f}' in shown
    samples = [text for text, names, _ in page.texts if names[-2:] == ['pre', 'samp']]
    files = [workdir / 'samples' / f'{step}.txt' for step in (10, 20)]
    assert samples == [printable(file.read_text('utf-8')) for file in files]
    assert f'--config.data.path={corpus}' in ''.join(text for text, names, _ in page.texts if 'span' in names[-1:])


class Full(io.StringIO):
    """Where stdout goes: a disk without room."""

    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def train_onto_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(sys, 'stdout', Full())
    corpus = write_corpus(tmp_path / 'corpus')
    flags = ['mesh.data=1', 'steps=2', 'log.every=1', 'log.sample_every=0', 'model.layers=1', f'data.path={corpus}']
    given = ['--config=configs/transformer.py:tiny', f'--workdir={tmp_path / "run"}']
    return jaxlab.main.main([*given, *(f'--config.{flag}' for flag in flags)])


def test_printing_never_ends_a_run(tmp_path, monkeypatch, capfd):
    assert train_onto_a_full_disk(tmp_path, monkeypatch) == 0
    said = 'jaxlab: warning: nothing more can be printed (No space left on device); training goes on\n'
    assert capfd.readouterr().err.count(said) == 1
    assert [row['step'] for row in rows(tmp_path / 'run')] == [1, 2, 2]


def test_printing_that_raises_is_noticed(tmp_path, monkeypatch):
    """The mutant of a screen that a run cannot do without."""
    monkeypatch.setattr(writes, 'printing', contextlib.nullcontext)
    assert train_onto_a_full_disk(tmp_path, monkeypatch) == 2  # somebody takes it for an error of their own disk


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='a device that is always full')
def test_nothing_is_left_to_print_at_the_end(fresh):
    """What a buffer still holds would make Python fail at its exit."""
    program = """if True:
        import sys
        from jaxlab.trust.writes import printing
        sys.stdout = open('/dev/full', 'w')
        with printing():
            print('lost', flush=True)
            print('lost as well')
    """
    done = fresh('-c', program)
    assert done.returncode == 0 and done.stdout == '' and len(done.stderr.splitlines()) == 1, done
