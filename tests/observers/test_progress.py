"""What a run says of itself, from its first line to its last, on a plain screen and on a terminal."""

import dataclasses
import json
import re
from concurrent.futures import Future

import pytest
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.memory import Expected
from jaxlab.observers import Compiled, Run, progress
from jaxlab.observers.progress import Progress, scaled
from jaxlab.observers.screen import Plain, Terminal
from jaxlab.trust.ledger import Ledger
from tests.observers.test_screen import console, live, printed

ROW = {
    'train/loss': 4.12341,
    'train/learning_rate': 0.00381,
    'train/gradient_norm': 1.241,
    'train/z_loss': 3.0,  # whatever else the loss has goes to metrics.jsonl alone
    'train/examples_per_second': 30.1,
    'train/tokens_per_second': 7705.3,
    'train/flops_per_second': 1e12,
    'train/mfu': 0.412,
    'train/seconds_left': 94.2,
}
FITS = Expected(2**30, 4 * 2**30, '')


@pytest.fixture(autouse=True)
def memory_in_use(monkeypatch):
    monkeypatch.setattr(progress, 'in_use', lambda: 3 * 2**29)


def make_run(folder, start: int = 0, steps: int = 360, **options) -> Run:
    config = ConfigDict({'steps': steps, 'log': {'every': 10, 'prompt': 'def'}})
    row = {'name': 'stack/layer_*/mlp/up/kernel', 'times': 4, 'names': ('embed', None), 'shape': (192, 768)}
    layout = [row | {'count': 589_824, 'bytes_per_device': 294_912, 'split': "('fsdp',)"}]
    return Run(config, folder / 'run', start, 'some text', 'all of held_out', '8 × cpu', layout, Ledger(), **options)


def show(capsys, run: Run, compiled: Compiled | None, then=lambda shown: None) -> list[str]:
    with Progress(Plain()) as shown:
        shown.start(run)
        if compiled is not None:
            run.compiled.set_result(compiled)
        then(shown)
    return capsys.readouterr().out.splitlines()


HEADER = [
    'devices     8 × cpu',
    'data        some text',
    'evaluation  all of held_out',
    'workdir     {workdir}',
    'parameters  589,824 (288.0 KiB on each device)',
    "  stack/layer_*/mlp/up/kernel  589,824  4 × embed 192, 768  ('fsdp',)",
]


def test_line_by_line(capsys, tmp_path):
    def steps(shown):
        shown.row(10, {key: ROW[key] for key in list(ROW)[:3]})
        shown.row(120, ROW)
        shown.row(120, {'eval/held_out/loss': 3.904, 'eval/held_out/accuracy': 0.2479})
        shown.sample(120, 'def f():\n    pass')
        shown.end(120)

    lines = show(capsys, make_run(tmp_path), Compiled(3.21, 66_500_000_000, 0.0, FITS), steps)
    assert lines == [
        *(line.format(workdir=tmp_path / 'run') for line in HEADER),
        'compiling the step …',
        'compiled    in 3.2 s',
        'compute     66.5 GFLOPs a step',
        'memory      1.0 GiB of 4.0 GiB on each device: it fits',
        'training 360 steps',
        'step  10  loss 4.1234  learning rate 3.81e-03  gradient norm 1.24',
        'step 120  loss 4.1234  learning rate 3.81e-03  gradient norm 1.24  7,705 tokens/s  MFU 41.2%'
        '  1.5 GiB of memory  1:34 left',
        'step 120  held_out  loss 3.9040  accuracy 0.2479',
        'sample at step 120:',
        '    | def f():',
        '    |     pass',
    ]


def test_what_is_not_known_is_not_shown(capsys, tmp_path):
    lines = show(capsys, make_run(tmp_path), Compiled(3.21, 0, 0.0, Expected(0, 4, '')))
    assert lines[-3:] == ['compiling the step …', 'compiled    in 3.2 s', 'training 360 steps']
    row = {key: value for key, value in ROW.items() if key not in ('train/mfu', 'train/tokens_per_second')}

    def step(shown):
        shown.row(120, {'train/loss': 1.0})
        shown.row(130, row)

    lines = show(capsys, make_run(tmp_path), Compiled(3.21, 5, 1e13, Expected(2**30, 0, '')), step)
    assert 'compute     5 FLOPs a step; the peak of the devices is 10 TFLOPs/s' in lines
    assert 'memory      1.0 GiB on each device' in lines
    assert lines[-2] == 'step 120  loss 1.0000'
    assert '30.1 examples/s' in lines[-1] and 'MFU' not in lines[-1] and 'tokens' not in lines[-1]


def test_a_step_that_does_not_fit(capsys, tmp_path):
    memory = Expected(8 * 2**30, 4 * 2**30, 'It would fit with less.')
    lines = show(capsys, make_run(tmp_path), Compiled(3.21, 0, 0.0, memory))
    assert 'memory      8.0 GiB of 4.0 GiB on each device: it does not fit' in lines
    assert '!!! It would fit with less.' in lines


def test_a_device_that_jax_does_not_see(capsys, tmp_path):
    """Known before the start or long after it, it is said; after the end it is not."""
    early: Future[str] = Future()
    early.set_result('nvidia-smi sees 1\n    repair')
    lines = show(capsys, make_run(tmp_path, unseen=early), None)
    assert lines[-3:] == ['!!! nvidia-smi sees 1', '!!!     repair', 'compiling the step …']
    late: Future[str] = Future()
    lines = show(capsys, make_run(tmp_path, unseen=late), None, lambda _: late.set_result('seen late'))
    assert lines[-1] == '!!! seen late'
    nothing: Future[str] = Future()
    nothing.set_result('')
    assert show(capsys, make_run(tmp_path, unseen=nothing), None)[-1] == 'compiling the step …'
    after: Future[str] = Future()
    show(capsys, make_run(tmp_path, unseen=after), None, lambda shown: shown.end(1))
    after.set_result('too late')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_a_resumed_run_says_so_in_words_that_programs_know(capsys, tmp_path, monkeypatch, language):
    monkeypatch.setenv('JAXLAB_LANG', language)
    lines = show(capsys, make_run(tmp_path, start=120), Compiled(3.21, 0, 0.0, FITS))
    assert 'resumed at step 120' in lines
    assert lines[-1] == {'en': 'training 240 steps', 'zh': '训练 240 步'}[language]
    lines = show(capsys, make_run(tmp_path, start=360), Compiled(3.21, 0, 0.0, FITS))
    assert 'resumed at step 360' in lines and not [line for line in lines if line.startswith(('training', '训练'))]


LOSS = Best('held_out/loss')


def scores(shown, *losses: float, split: str = 'held_out') -> None:
    for number, loss in enumerate(losses, 1):
        shown.row(number, {f'eval/{split}/loss': loss, f'eval/{split}/accuracy': 0.5})


def test_scores_are_compared_with_the_last_and_the_best(capsys, tmp_path):
    run = make_run(tmp_path, best=LOSS)
    lines = show(capsys, run, None, lambda shown: scores(shown, 4.0, 3.5, 3.75, 3.6, 3.25))
    assert [line.partition('loss ')[2] for line in lines[-5:]] == [
        '4.0000  accuracy 0.5000',
        '3.5000 (-0.5000, best)  accuracy 0.5000',
        '3.7500 (+0.2500)  accuracy 0.5000',
        '3.6000 (-0.1500)  accuracy 0.5000',
        '3.2500 (-0.3500, best)  accuracy 0.5000',
    ]


def test_the_best_is_of_the_score_that_chooses_it(capsys, tmp_path):
    def rows(shown):
        for step, (loss, accuracy) in enumerate([(2.0, 0.5), (1.0, 0.4), (3.0, 0.6)], 1):
            shown.row(step, {'eval/held_out/loss': loss, 'eval/held_out/accuracy': accuracy})

    run = make_run(tmp_path, best=Best('held_out/accuracy', higher=True))
    assert [line.partition('loss ')[2] for line in show(capsys, run, None, rows)[-2:]] == [
        '1.0000 (-1.0000)  accuracy 0.4000 (-0.1000)',
        '3.0000 (+2.0000)  accuracy 0.6000 (+0.2000, best)',
    ]


def test_splits_are_compared_with_themselves(capsys, tmp_path):
    def rows(shown):
        for step, (one, other) in enumerate([(4.0, 9.0), (3.0, 9.5)], 1):
            shown.row(step, {'eval/held_out/loss': one, 'eval/other/loss': other})

    assert show(capsys, make_run(tmp_path, best=LOSS), None, rows)[-4:] == [
        'step   1  held_out  loss 4.0000',
        'step   1  other  loss 9.0000',
        'step   2  held_out  loss 3.0000 (-1.0000, best)',
        'step   2  other  loss 9.5000 (+0.5000)',
    ]


def test_a_resumed_run_remembers(capsys, tmp_path):
    rows = [(40, 3.0), (80, 3.2), (120, 3.1), (160, 1.0)]  # the last one is after the step it resumes from
    lines = [json.dumps({'step': step, 'eval/held_out/loss': loss}) for step, loss in rows]
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'metrics.jsonl').write_text('\n'.join([*lines, '{"step": 170, "eval/held_out/lo']))
    run = make_run(tmp_path, start=120, best=dataclasses.replace(LOSS, value=3.0, step=40))
    lines = show(capsys, run, None, lambda shown: scores(shown, 3.05, 2.9))
    assert 'loss 3.0500 (-0.0500)' in lines[-2] and 'loss 2.9000 (-0.1500, best)' in lines[-1]


def test_a_terminal(tmp_path, monkeypatch):
    """The header stays, the newest step is rewritten, evaluations and samples stay."""
    terminal = Terminal(console(80))
    run = make_run(tmp_path)
    with Progress(terminal) as shown:
        shown.start(run)
        assert re.fullmatch(r'compiling the step … \d+\.\d s', *live(terminal))
        run.compiled.set_result(Compiled(3.21, 66_500_000_000, 1e15, FITS))
        assert live(terminal)[0].startswith('step   0/360  ──')
        shown.row(10, {key: ROW[key] for key in list(ROW)[:3]})
        assert live(terminal)[1] == 'loss 4.1234  learning rate 3.81e-03  gradient norm 1.24'
        shown.row(120, ROW)
        assert 'step 120/360' in live(terminal)[0] and '1:34 left' in live(terminal)[0]
        shown.row(120, {'eval/held_out/loss': 3.904})
        shown.sample(120, 'def f():\n    pass')
        shown.end(120)
    text = printed(terminal)
    for line in HEADER[:3] + HEADER[4:]:
        assert line in text, line
    for line in (
        'compiled    in 3.2 s',
        'compute     66.5 GFLOPs a step; the peak of the devices is 1 PFLOPs/s',
        'memory      1.0 GiB of 4.0 GiB on each device: it fits',
        'step 120  held_out  loss 3.9040\n',
        '│ def f():  ',
    ):
        assert line in text, line
    assert text.endswith('1:34 left\nloss 4.1234  learning rate 3.81e-03  gradient norm 1.24  7,705 tokens/s\n')


def test_an_error_leaves_the_terminal_as_it_was(tmp_path):
    terminal = Terminal(console(80))
    with pytest.raises(ZeroDivisionError), Progress(terminal) as shown:
        shown.start(make_run(tmp_path))
        raise ZeroDivisionError
    assert not terminal._live.is_started
    assert terminal._console.file.getvalue().endswith('\n\x1b[?25h')


def test_the_loop_does_not_draw(tmp_path, monkeypatch):
    """A row costs the loop a note: drawing is for rich's thread, a few times a second."""
    terminal = Terminal(console(80))
    with Progress(terminal) as shown:
        shown.start(make_run(tmp_path))
        terminal._live._refresh_thread.stop()
        terminal._live._refresh_thread.join()
        drawn = []
        monkeypatch.setattr(terminal, '_render', lambda: drawn.append(True) or '')
        monkeypatch.setattr(terminal._live, '_get_renderable', terminal._render)
        before = terminal._console.file.getvalue()
        for step in range(1, 300):
            shown.row(step, ROW)
        assert not drawn and terminal._console.file.getvalue() == before
        assert terminal._live._refresh_thread.refresh_per_second <= 4


@pytest.mark.parametrize(
    ('count', 'text'),
    [(0, '0 '), (999, '999 '), (999.9, '1 k'), (66.5e9, '66.5 G'), (989.4e12, '989 T'), (1.5e21, '1.5e+03 E')],
)
def test_scaled(count, text):
    assert scaled(count) == text
