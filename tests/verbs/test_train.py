"""The train verb: what a person finds in the workdir, and reads at the end."""

import json

import jaxlab.main
from jaxlab.report.html import printable
from jaxlab.report.record import read
from tests.experiments import write_corpus
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
