"""Two screens for the same words: a terminal, whose last line is rewritten, and plain lines for everything else.

What others wrote (a model, a data set, the name of a file) is made harmless first: it may hold characters that move
the cursor, change colours or turn the direction of writing.
"""

# Widths are counted in cells of a terminal: a Chinese character takes two.

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxlab.messages import say

SAMPLE_LINES = 16  # of a sample, at most, in a terminal: the whole text is in samples/
WIDEST = 100  # cells; longer lines are hard to read
SHORTEST = 10  # cells of a bar


class Cell(NamedTuple):
    """A number of a step, by the name that `WORDS` has for it: Cell('loss', '4.1234')."""

    name: str
    value: str


WORDS: dict[str, Callable[[str], str]] = {
    'loss': lambda value: say('loss {value}', value=value),
    'learning_rate': lambda value: say('learning rate {value}', value=value),
    'gradient_norm': lambda value: say('gradient norm {value}', value=value),
    'skipped': lambda value: say('{value} updates left out', value=value),
    'tokens_per_second': lambda value: say('{value} tokens/s', value=value),
    'examples_per_second': lambda value: say('{value} examples/s', value=value),
    'mfu': lambda value: f'MFU {value}',
    'memory': lambda value: say('{value} of memory', value=value),
    'seconds_left': lambda value: say('{value} left', value=value),
}


class Status(NamedTuple):
    """How far the run is, and the numbers of its newest step."""

    step: int
    steps: int
    learning: Sequence[Cell] = ()  # loss, rates
    machine: Sequence[Cell] = ()  # utilization, memory
    seconds_left: float | None = None  # None: not known yet
    known_at: float = 0.0  # time.monotonic()
    next_in: float = 0.0  # seconds after which newer numbers are due


class Score(NamedTuple):
    """A score in words, and whether it is the best so far."""

    text: str
    best: bool


def open_screen() -> 'Plain | Terminal':
    """Returns the terminal, where stdout is one that can move its cursor, else plain lines."""
    can_move = sys.stdout.isatty() and os.environ.get('TERM', 'dumb') not in ('', 'dumb', 'unknown')
    return Terminal() if can_move else Plain()


class Plain:
    """One line a row, without escapes: a log file reads as the terminal did. Each is written whole, and at once."""

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}

    def line(self, text: str) -> None:
        encoding = sys.stdout.encoding or 'utf-8'  # '?' stands for what another alphabet cannot say
        text = harmless(text).encode(encoding, 'replace').decode(encoding)
        print(f'{text}\n', end='', flush=True)  # one piece: two threads never share a line

    def pair(self, label: str, text: str, width: int) -> None:
        """A line of the header; `width` is that of the widest label."""
        self.line(f'{pad(label, width)}  {text}')

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows of (name, count, axes, split)."""
        widths = [max(map(cells, column)) for column in zip(*rows)]
        for name, count, axes, split in rows:
            line = f'  {pad(name, widths[0])}  {count:>{widths[1]}}  {pad(axes, widths[2])}  {split}'
            self.line(line.rstrip())

    def warn(self, text: str) -> None:
        """Lines that nobody should overlook."""
        self.line('\n'.join(f'!!! {line}' for line in text.split('\n')))

    def compiling(self, since: float) -> None:
        """The step compiles, since this `time.monotonic()`."""
        self.line(say('compiling the step …'))

    def begin(self, status: Status) -> None:
        """The step is compiled, and none has been made yet."""

    def status(self, status: Status) -> None:
        """A step was made."""
        left = [] if status.seconds_left is None else [Cell('seconds_left', duration(status.seconds_left))]
        self.line('  '.join([step_of(status), *aligned([*status.learning, *status.machine, *left], self._widths)]))

    def scores(self, head: str, scores: Sequence[Score]) -> None:
        """What an evaluation found."""
        self.line('  '.join([head, *(score.text for score in scores)]))

    def sample(self, title: str, prompt: str, text: str) -> None:
        """What the model made of a prompt."""
        lines = (f'    | {line}' for line in harmless(prompt + text).split('\n'))
        self.line('\n'.join([f'{title}:', *lines]))

    def picture(self, title: str, file: str) -> None:
        """Where a picture lies that the model made."""
        self.line(f'{title}: {file}')

    def close(self) -> None:
        """Nothing follows, or others print from now on."""


class Terminal:
    """Permanent lines, and a live one below them, which a thread of rich's rewrites four times a second, not the loop.

    The cursor is never hidden, so that the terminal stays as it was whatever ends the process. Methods as in `Plain`.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._status: Status | None = None
        self._since: float | None = None
        self._widths: dict[str, int] = {}
        self._live = Live(console=self._console, get_renderable=self._render, vertical_overflow='visible')

    def line(self, text: str) -> None:
        self._console.print(self._text(text))

    def pair(self, label: str, text: str, width: int) -> None:
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=width, no_wrap=True)
        grid.add_row(self._text(label, 'cyan'), self._text(text))
        self._console.print(grid)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        widths = [max(map(cells, column)) for column in zip(*rows)]
        for name, count, axes, split in rows:
            columns = [pad(name, widths[0]), f'{count:>{widths[1]}}', pad(axes, widths[2]), split]
            if sum(widths) + 2 * len(widths) > self._console.width:  # no room for columns: the name has its own line
                self.line(f'  {name}')
                parts = [self._text(part, 'dim') for part in (f'    {count}', axes, split) if part]
                self._console.print(self._flow(parts, indent=4))
                continue
            text = self._text(f'  {"  ".join(columns)}'.rstrip())
            text.stylize('dim', 2 + len(columns[0]))
            self._console.print(text)

    def warn(self, text: str) -> None:
        from rich.panel import Panel

        self._console.print(Panel(self._text(text, 'bold'), border_style='bold red'))

    def compiling(self, since: float) -> None:
        self._since = since
        self._live.start(refresh=True)
        self._console.show_cursor(True)

    def begin(self, status: Status) -> None:
        self._since = None
        self._status = status

    def status(self, status: Status) -> None:
        self._status = status

    def scores(self, head: str, scores: Sequence[Score]) -> None:
        parts = [(head, 'bold'), *((score.text, 'green' if score.best else '') for score in scores)]
        self._console.print(self._flow([self._text(*part) for part in parts], indent=cells(head) + 2))

    def sample(self, title: str, prompt: str, text: str) -> None:
        from rich.panel import Panel

        shown = self._text(prompt + text)
        shown.stylize('bold', 0, len(harmless(prompt)))  # this was given, the rest was made
        width = min(self._console.width, WIDEST)
        lines = shown.wrap(self._console, width - 4)
        if (more := len(lines) - SAMPLE_LINES) > 0:
            lines[SAMPLE_LINES:] = [self._text(say('… {count} more lines', count=more), 'dim')]
        body = self._text('\n').join(lines)
        self._console.print(Panel(body, title=self._text(title), title_align='left', border_style='dim', width=width))

    def picture(self, title: str, file: str) -> None:
        from rich.panel import Panel

        width = min(self._console.width, WIDEST)
        text = self._text(file)
        self._console.print(Panel(text, title=self._text(title), title_align='left', border_style='dim', width=width))

    def close(self) -> None:
        if self._live.is_started:
            self._live.stop()

    # --- what it is drawn with ---

    def _text(self, text: str, style: str = '') -> Any:
        from rich.text import Text

        return Text(harmless(text).encode(self._console.encoding, 'replace').decode(self._console.encoding), style)

    def _flow(self, parts: Sequence[Any], indent: int = 2) -> Any:
        """Parts with two spaces between them; a line that is full goes on in the next, and no part is cut in two."""
        from rich.text import Text

        line, lines = Text(), []
        for part in parts:
            if line and line.cell_len + 2 + part.cell_len >= self._console.width:
                lines.append(line)
                line = Text(' ' * indent)
            elif line:
                line.append('  ')
            line.append_text(part)
        return Text('\n').join([*lines, line])

    def _render(self) -> Any:
        """Returns the live line. Called by rich's thread."""
        if self._since is not None:
            seconds = f'{time.monotonic() - self._since:.1f}'
            return self._text(say('compiling the step … {seconds} s', seconds=seconds))
        if self._status is None:
            return self._text('')
        status = self._status
        left = []
        if status.seconds_left is not None:
            # It goes on falling until newer numbers are due; then it waits for them.
            passed = min(time.monotonic() - status.known_at, status.next_in)
            left = [Cell('seconds_left', duration(max(status.seconds_left - passed, 0)))]
        step = self._text(step_of(status, f'/{status.steps}'), 'bold')
        learning, machine, left = (
            [self._text(text) for text in aligned(some, self._widths)]
            for some in (status.learning, status.machine, left)
        )
        width = self._console.width - 1
        if (room := width - taken([step, *learning, *machine, *left])) >= SHORTEST:
            return self._flow([step, self._bar(status, min(room, 30)), *learning, *machine, *left])
        # In a narrow terminal the bar has a line of its own, with as much beside it as leaves it long enough.
        width = min(width, WIDEST)
        above, below = [*machine, *left], learning
        if width - taken([step, *above]) < SHORTEST:
            above, below = left, [*learning, *machine]
        lines = self._flow([step, self._bar(status, max(width - taken([step, *above]), 0)), *above])
        return lines.append('\n').append_text(self._flow(below, indent=0)) if below else lines

    def _bar(self, status: Status, width: int) -> Any:
        from rich.text import Text

        done, rest = '#-' if self._console.options.ascii_only else '━─'
        filled = width * status.step // status.steps
        return Text(done * filled, 'cyan').append(rest * (width - filled), 'dim')


# --- words and widths ------------------------------------------------------------------------------------------------


def step_of(status: Status, behind: str = '') -> str:
    """Returns 'step  20', as wide as 'step 360'."""
    return say('step {step}', step=f'{status.step:>{len(str(status.steps))}}{behind}')


def aligned(numbers: Sequence[Cell], widths: dict[str, int]) -> list[str]:
    """Returns numbers with their words, none narrower than it ever was: `widths` remembers, so that nothing jumps."""
    shown = []
    for name, value in numbers:
        widths[name] = max(widths.get(name, 0), len(value))
        shown.append(WORDS[name](f'{value:>{widths[name]}}'))
    return shown


def taken(parts: Sequence[Any]) -> int:
    """Returns how many cells parts of a line take (`rich.text.Text`), each with two spaces behind it."""
    return sum(part.cell_len + 2 for part in parts)


def cells(text: str) -> int:
    """Returns how many cells of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, width: int) -> str:
    """Returns a text with spaces behind it, up to `width` cells."""
    return text + ' ' * (width - cells(text))


def duration(seconds: float) -> str:
    """Returns '0:41', '12:05' or '3:12:05'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


def harmless(text: str) -> str:
    """Returns a text that a terminal can only show: lines stay, tabs are spaces, every other control can be read.

    Controls (Unicode's Cc), marks that turn the direction of writing or join characters (Cf), other ends of lines (Zl,
    Zp) and halves of surrogate pairs (Cs) are shown as pictures or escapes: '␛[31m', '\\u202e'.
    """
    return ''.join(map(_shown, text.replace('\r\n', '\n').expandtabs(4)))


def _shown(character: str) -> str:
    code = ord(character)
    if character == '\n' or unicodedata.category(character) not in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp'):
        return character
    if code < 0x20:
        return chr(0x2400 + code)  # control pictures: ␀ … ␟
    if code == 0x7F:
        return '␡'
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}' if code < 0x10000 else f'\\U{code:08x}'
