"""The report verb: one run, several, a folder of them; kept fresh; and mistakes in one sentence."""

import json

import pytest

import jaxlab.main
from jaxlab.verbs import report as verb
from tests.experiments import write_run
from tests.report.pages import Page

ROWS = [{'step': 10, 'train/loss': 3.0}, {'step': 10, 'eval/held_out/loss': 3.5}]


@pytest.fixture
def runs(tmp_path):
    for name in ('a', 'b'):
        write_run(tmp_path / 'runs' / name, ROWS)
    return tmp_path / 'runs'


def test_one_run(runs, capfd):
    assert jaxlab.main.main(['report', str(runs / 'a')]) == 0
    assert capfd.readouterr().out == f'{runs / "a" / "report.html"}\n'
    assert '3.5000' in Page((runs / 'a' / 'report.html').read_text('utf-8')).shown('en')


@pytest.mark.parametrize(
    'arguments',
    [
        ['a', 'b'],
        ['--workdir=a', '--workdir=b'],
        ['a', '--workdir', 'b'],
        ['a', '--every=3', 'b'],
        ['.'],
        ['a', 'b', 'a'],
    ],
)
def test_several_runs(runs, monkeypatch, arguments, capfd):
    monkeypatch.chdir(runs)
    assert jaxlab.main.main(['report', *arguments]) == 0
    shown = Page((runs / 'report.html').read_text('utf-8')).shown('en')
    assert '2 runs side by side' in shown and capfd.readouterr().out == 'report.html\n'


def test_another_place(runs, tmp_path):
    assert jaxlab.main.main(['report', str(runs), f'--output={tmp_path}/new/folder/page.html']) == 0
    assert (tmp_path / 'new/folder/page.html').is_file() and not (runs / 'report.html').exists()


@pytest.mark.parametrize(
    ('arguments', 'answer'),
    [
        ([], 'say which run'),
        (['nowhere'], 'nowhere: there is no such folder'),
        (['a', 'nowhere'], 'nowhere: there is no such folder'),
        (['notes'], 'notes: there is no experiment here (no config.json)'),
        (['empty'], 'empty: there are no metrics yet'),
        (['a', '--config.steps=3'], 'report takes no --config'),
        (['a', '--watch', '--every=0'], '--every=0'),
        (['a', '--watch', '--every=nan'], '--every=nan'),
        (['a', '--evry=3'], 'Did you mean "--every"?'),
        (['a', '--output=a/config.json/page.html'], '--output=a/config.json/page.html'),
    ],
)
def test_mistakes(runs, monkeypatch, arguments, answer, capfd):
    monkeypatch.chdir(runs)
    (runs / 'notes').mkdir()
    write_run(runs / 'empty', [])
    assert jaxlab.main.main(['report', *arguments]) == 2
    error = capfd.readouterr().err
    assert error.startswith('jaxlab: ') and answer in error and len(error.splitlines()) <= 2


def test_it_answers_without_jax(runs, fresh):
    program = """if True:
        import sys, jaxlab.main
        code = jaxlab.main.main(['report', *sys.argv[1:]])
        print(sorted({'jax', 'flax', 'optax', 'orbax', 'grain', 'tensorboardX'} & set(sys.modules)), code)
    """
    for arguments in ([str(runs / 'a')], [str(runs)]):
        assert fresh('-c', program, *arguments).stdout.splitlines()[1] == '[] 0'


# --- watch -----------------------------------------------------------------------------------------------------------


class Clock:
    """Stands in for time.sleep: each sleep is one scene of a play, and the last is Ctrl-C."""

    def __init__(self, scenes):
        self.scenes, self.slept = list(scenes), []

    def __call__(self, seconds):
        self.slept.append(seconds)
        if not self.scenes:
            raise KeyboardInterrupt
        self.scenes.pop(0)()


@pytest.fixture
def play(monkeypatch):
    """play(arguments, scenes) watches, with scenes between two looks; returns how often the page was written."""
    from jaxlab import report

    def start(arguments, scenes):
        written, write = [], report.write
        with monkeypatch.context() as patch:
            patch.setattr(report, 'write', lambda *a, **k: written.append(k.get('reload', 0)) or write(*a, **k))
            patch.setattr(verb.time, 'sleep', Clock(scenes))
            assert jaxlab.main.main(['report', *arguments, '--watch', '--every=2']) == 0
        return written

    return start


def add(workdir, step):
    with (workdir / 'metrics.jsonl').open('a') as file:
        print(json.dumps({'step': step, 'train/loss': 1.0, 'eval/held_out/loss': 2.0}), file=file)


def test_watch_writes_when_something_is_measured_and_only_then(runs, play, capfd):
    page = runs / 'a' / 'report.html'
    seen = []

    def look():
        seen.append(page.read_text('utf-8'))

    written = play([str(runs / 'a')], [look, lambda: None, lambda: add(runs / 'a', 20), look, lambda: None])
    assert written == [2.0, 2.0, 0]  # at first, for the new row, and to stay
    assert 'At step 10 of 200' in seen[0] and 'At step 20 of 200' in seen[1]
    assert all('data-reload="2"' in text for text in seen)
    assert 'data-reload' not in page.read_text('utf-8') and 'At step 20 of 200' in page.read_text('utf-8')
    out, error = capfd.readouterr()
    assert len(out.splitlines()) == 1 and 'Ctrl-C ends' in out and error == ''


def test_watch_restores_its_page_when_the_run_itself_writes_one(runs, play):
    page = runs / 'a' / 'report.html'
    seen = []
    play(
        [str(runs / 'a')],
        [lambda: page.write_text('from the run'), lambda: seen.append('data-reload' in page.read_text('utf-8'))],
    )
    assert seen == [True]


def test_watch_waits_for_the_first_row(runs, play, capfd):
    write_run(runs / 'new', [])
    written = play([str(runs / 'new')], [lambda: None, lambda: add(runs / 'new', 1), lambda: None])
    assert written == [2.0, 2.0, 0] and (runs / 'new' / 'report.html').is_file()
    first, second = capfd.readouterr().out.splitlines()
    assert 'no metrics yet' in first and 'Ctrl-C ends' in second


def test_watch_sees_runs_that_join_a_race(runs, play):
    seen = []

    def look():
        seen.append(Page((runs / 'report.html').read_text('utf-8')).shown('en'))

    play([str(runs)], [look, lambda: write_run(runs / 'c', ROWS), look])
    assert '2 runs side by side' in seen[0] and '3 runs side by side' in seen[1]


def test_a_watch_that_always_writes_is_noticed(runs, play, monkeypatch):
    """The mutant of these: stamps that are never the same twice."""
    numbers = iter(range(1000))
    monkeypatch.setattr(verb, 'stamps', lambda files: [(next(numbers), 0)])
    assert len(play([str(runs / 'a')], [lambda: None] * 3)) > 2
