"""What a terminal and a log file show, line by line: widths, narrow terminals, Chinese, and texts that mean harm."""

import io
import re
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from jaxlab.observers.screen import SAMPLE_LINES, Cell, Plain, Score, Status, Terminal, harmless, open_screen

LEARNING = [
    Cell('loss', '4.1234'),
    Cell('learning_rate', '3.81e-03'),
    Cell('gradient_norm', '1.24'),
    Cell('tokens_per_second', '7,705'),
]
MACHINE = [Cell('mfu', '41.2%'), Cell('memory', '1.2 GiB')]
HOSTILE = '\x1b[2J\x1b]0;title\x07[red]no markup[/red] :smile: \r\x08\x00\x7f\x9b31m\u202eabc\u2028\ud800\ufeff\tend'
HARMLESS = (
    '␛[2J␛]0;title␇[red]no markup[/red] :smile: ␍␈␀␡\\x9b31m\\u202eabc\\u2028\\ud800\\ufeff'  # and what a tab becomes
)


def console(width: int, **options) -> Console:
    """As `Terminal` makes one, over a file: a terminal of that width, without colours."""
    plain = {'color_system': None, 'highlight': False, 'markup': False, 'emoji': False}
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=24, _environ={}, **{**plain, **options})


def printed(terminal: Terminal) -> str:
    """What stands above the live line."""
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', terminal._console.file.getvalue())


def live(terminal: Terminal) -> list[str]:
    """The live lines, as they would be drawn now."""
    paper = console(terminal._console.width)
    paper.print(terminal._render())
    return paper.file.getvalue().splitlines()


def status(step: int = 120, steps: int = 360, **options) -> Status:
    return Status(step, steps, LEARNING, MACHINE, 94.0, time.monotonic(), **options)


# --- plain lines -----------------------------------------------------------------------------------------------------


def test_plain_lines(capsys):
    plain = Plain()
    plain.pair('parameters', '2,222', 10)
    plain.table([('a/kernel', '9', '3 × embed 3', ''), ('b', '1,024', 'vocab 1024', "('fsdp',)")])
    plain.status(Status(20, 360, LEARNING))
    plain.status(status())
    plain.scores('step 120', [Score('held_out', False), Score('loss 3.9040 (-0.1234, best)', True)])
    plain.sample('sample at step 120', 'def', ' f():\n    pass\n')
    plain.warn('one\n    two')
    assert capsys.readouterr().out.split('\n') == [
        'parameters  2,222',
        '  a/kernel      9  3 × embed 3',
        "  b         1,024  vocab 1024   ('fsdp',)",
        'step  20  loss 4.1234  learning rate 3.81e-03  gradient norm 1.24  7,705 tokens/s',
        'step 120  loss 4.1234  learning rate 3.81e-03  gradient norm 1.24  7,705 tokens/s'
        '  MFU 41.2%  1.2 GiB of memory  1:34 left',
        'step 120  held_out  loss 3.9040 (-0.1234, best)',
        'sample at step 120:',
        '    | def f():',
        '    |     pass',
        '    | ',
        '!!! one',
        '!!!     two',
        '',
    ]


def test_columns_never_become_narrower(capsys):
    """So numbers stand below each other, whatever their length."""
    plain = Plain()
    for value in ('9.1234', '10.1234', '9.5000'):
        plain.status(Status(10, 99, [Cell('loss', value), Cell('tokens_per_second', '12')]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ['step 10  loss 10.1234  12 tokens/s', 'step 10  loss  9.5000  12 tokens/s']


def test_plain_lines_are_safe_and_written_at_once(monkeypatch):
    """No escape reaches a log; what its encoding cannot say is no reason for a run to end."""
    writes = []

    class File(io.StringIO):
        encoding = 'gbk'

        def write(self, text):
            writes.append(text.encode('gbk'))
            return len(text)

        def flush(self):
            writes.append('flushed')

    monkeypatch.setattr('sys.stdout', File())
    Plain().sample('sample', '', HOSTILE + '\n猫 \U0001f63a')
    assert len(writes) == 2 or writes[-1] == 'flushed', 'one piece, then a flush'
    assert b'\x1b' not in writes[0] and '猫 ?\n'.encode('gbk') in writes[0]


# --- a terminal ------------------------------------------------------------------------------------------------------


def test_one_live_line_in_a_wide_terminal():
    terminal = Terminal(console(150))
    terminal.status(status())
    assert live(terminal) == [
        'step 120/360  ━━━━━━━──────────────  loss 4.1234  learning rate 3.81e-03  gradient norm 1.24'
        '  7,705 tokens/s  MFU 41.2%  1.2 GiB of memory  1:34 left'
    ]


@pytest.mark.parametrize(
    ('width', 'lines'),
    [
        (
            80,
            [
                'step 120/360  ━━━━━━──────────────  MFU 41.2%  1.2 GiB of memory  1:34 left',
                'loss 4.1234  learning rate 3.81e-03  gradient norm 1.24  7,705 tokens/s',
            ],
        ),
        (
            60,
            [
                'step 120/360  ━━━━━━━━━━━──────────────────────  1:34 left',
                'loss 4.1234  learning rate 3.81e-03  gradient norm 1.24',
                '7,705 tokens/s  MFU 41.2%  1.2 GiB of memory',
            ],
        ),
        (
            40,
            [
                'step 120/360  ━━━━──────────  1:34 left',
                'loss 4.1234  learning rate 3.81e-03',
                'gradient norm 1.24  7,705 tokens/s',
                'MFU 41.2%  1.2 GiB of memory',
            ],
        ),
    ],
)
def test_live_lines_in_narrow_terminals(width, lines):
    terminal = Terminal(console(width))
    terminal.status(status())
    assert [line.replace('━', '').replace('─', '') for line in live(terminal)] == [
        line.replace('━', '').replace('─', '') for line in lines
    ]
    assert all(cell_len(line) < width for line in live(terminal)), 'a full line would wrap what is typed behind it'
    bar = live(terminal)[0]
    assert bar.count('━') == (bar.count('━') + bar.count('─')) // 3


@pytest.mark.parametrize('width', range(30, 170, 7))
def test_the_live_line_stays_where_it_is(width):
    """Other numbers of the same kind, and the seconds that pass, do not move what stands beside them."""
    terminal = Terminal(console(width))
    terminal.status(status())
    before = live(terminal)
    assert all(cell_len(line) <= width for line in before)
    smaller = [Cell(words, value[1:] if value[0] != '4' else value) for words, value in LEARNING]
    terminal.status(Status(120, 360, smaller, MACHINE, 9.0, time.monotonic()))
    after = live(terminal)
    assert [cell_len(line) for line in after] == [cell_len(line) for line in before]
    assert '0:09 left' in ' '.join(after)


def test_time_left_goes_on_falling_until_the_next_row_is_due(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    terminal = Terminal(console(80))
    terminal.status(status(next_in=5.0))
    seen = []
    for now[0] in (1000.0, 1003.0, 1005.0, 1060.0):
        seen.append(re.search(r'\S+ left', live(terminal)[0])[0])
    assert seen == ['1:34 left', '1:31 left', '1:29 left', '1:29 left']  # not below what was said


def test_it_ticks_while_it_compiles(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    terminal = Terminal(console(80))
    terminal.compiling(998.0)
    assert live(terminal) == ['compiling the step … 2.0 s']
    now[0] = 1001.2
    assert live(terminal) == ['compiling the step … 3.2 s']
    terminal.begin(Status(0, 360))
    assert [line.rstrip('─') for line in live(terminal)] == ['step   0/360  ']
    terminal.close()


def test_the_cursor_is_never_hidden_for_long_and_shown_at_last():
    terminal = Terminal(console(80))
    terminal.compiling(time.monotonic())
    output = terminal._console.file.getvalue()
    assert output.rindex('\x1b[?25h') > output.rindex(
        '\x1b[?25l'
    )  # so nothing that ends the process can leave it hidden
    terminal.close()
    assert terminal._console.file.getvalue().endswith('\n\x1b[?25h')
    terminal.close()  # twice does no harm


def test_what_is_printed_meanwhile_stands_above():
    terminal = Terminal(console(80))
    terminal.compiling(time.monotonic())
    print('a line of somebody else')
    terminal.close()
    assert 'a line of somebody else\n' in printed(terminal)


def test_narrow_headers():
    terminal = Terminal(console(40))
    terminal.pair('parameters', 'a text that is longer than the line has room for', 10)
    terminal.table([('stack/layer_*/attention/query/kernel', '36,864', '4 × embed 192, heads 192', "('fsdp',)")])
    assert printed(terminal).rstrip('\n').split('\n') == [
        'parameters  a text that is longer than  ',
        '            the line has room for       ',
        '  stack/layer_*/attention/query/kernel',
        '    36,864  4 × embed 192, heads 192',
        "    ('fsdp',)",
    ]


def test_scores_wrap_between_words_below_each_other():
    terminal = Terminal(console(50))
    scores = ['held_out', 'loss 3.9040 (-0.1234, best)', 'perplexity 49.5987', 'accuracy 0.2479']
    terminal.scores('step 120', [Score(text, False) for text in scores])
    assert printed(terminal).splitlines() == [
        'step 120  held_out  loss 3.9040 (-0.1234, best)',
        '          perplexity 49.5987  accuracy 0.2479',
    ]


# --- texts that mean harm --------------------------------------------------------------------------------------------


def test_harmless():
    assert harmless(HOSTILE).startswith(HARMLESS) and harmless(HOSTILE).endswith(' end')
    assert harmless('two\nlines\r\nand 猫 ünï\tç') == 'two\nlines\nand 猫 ünï   ç'


def panel(text: str, width: int = 60, prompt: str = '') -> list[str]:
    terminal = Terminal(console(width))
    terminal.sample('sample at step 1', prompt, text)
    lines = terminal._console.file.getvalue().splitlines()
    assert all(cell_len(line) == width for line in lines), lines
    assert lines[0].startswith('╭─ sample at step ') and lines[-1].startswith('╰')
    return [line[2:-2].rstrip() for line in lines[1:-1]]


def test_a_hostile_sample_is_only_shown():
    assert ''.join(panel(HOSTILE, width=100)).startswith(HARMLESS.replace('\\ufeff', ''))
    assert panel('[bold]x[/bold] [/] :cat:', prompt='[') == ['[[bold]x[/bold] [/] :cat:']


@pytest.mark.parametrize('width', [20, 40, 59, 60])
def test_wide_characters_and_long_lines_stay_in_the_panel(width):
    lines = panel('猫' * 40 + 'x' * 100 + '\n狗', width)
    assert ''.join(lines) == '猫' * 40 + 'x' * 100 + '狗'


def test_a_long_sample_is_cut():
    lines = panel('\n'.join(map(str, range(100))))
    assert lines == [*map(str, range(SAMPLE_LINES)), f'… {100 - SAMPLE_LINES} more lines']
    assert len(panel('x' * 60 * 1000)) <= SAMPLE_LINES + 1


def test_the_prompt_stands_out():
    terminal = Terminal(console(60, color_system='standard'))
    terminal.sample('sample', 'def', ' f()')
    assert '\x1b[1mdef\x1b[0m f()' in terminal._console.file.getvalue()


# --- Chinese ---------------------------------------------------------------------------------------------------------


def test_chinese_columns(monkeypatch, capsys):
    monkeypatch.setenv('JAXLAB_LANG', 'zh')
    for screen in (Plain(), Terminal(console(80))):
        screen.pair('工作目录', 'runs/x', 8)
        screen.pair('参数', '1', 8)
        shown = capsys.readouterr().out if isinstance(screen, Plain) else printed(screen)
        assert [cell_len(line.partition(end)[0]) for line, end in zip(shown.splitlines(), ['runs', '1'])] == [10, 10]
    terminal = Terminal(console(80))
    terminal.status(status())
    above, below = live(terminal)
    assert above.startswith('第 120/360 步  ━━') and above.endswith('─  MFU 41.2%  内存 1.2 GiB  剩余 1:34')
    assert below == '损失 4.1234  学习率 3.81e-03  梯度范数 1.24  7,705 词元/秒'
    assert cell_len(above) == 79


# --- which one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('is_terminal', 'term', 'kind'),
    [(True, 'xterm-256color', Terminal), (True, 'dumb', Plain), (True, '', Plain), (False, 'xterm', Plain)],
)
def test_which_screen(monkeypatch, is_terminal, term, kind):
    monkeypatch.setattr('sys.stdout', io.StringIO())
    monkeypatch.setattr('sys.stdout.isatty', lambda: is_terminal)
    monkeypatch.setenv('TERM', term)
    monkeypatch.setenv('FORCE_COLOR', '1')  # asks for colours, and not for a line that moves in a log file
    assert type(open_screen()) is kind
