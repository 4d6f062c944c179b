"""Progress on the screen: what runs where, then how it goes."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from jaxlab.memory import Expected, in_use, readable
from jaxlab.messages import say
from jaxlab.observers import Compiled, Run, Sample
from jaxlab.observers.samples import file_of
from jaxlab.observers.screen import Cell, Plain, Score, Status, Terminal, cells, open_screen
from jaxlab.trust import lines

# The numbers of a step that are shown, and how. Of the two rates the first that is known.
LEARNING = {
    'loss': '.4f',
    'learning_rate': '.2e',
    'gradient_norm': '.2f',
    'skipped': ',.0f',
    'tokens_per_second': ',.0f',
    'examples_per_second': ',.1f',
}
MACHINE = {'mfu': '.1%'}


class Progress:
    """Shows a run: on a terminal with a live line, elsewhere with one line a row.

    A context, which gives the terminal back however the run ends.
    """

    def __init__(self, screen: Plain | Terminal | None = None) -> None:
        self._screen = screen
        self._scores: dict[str, float] = {}  # the newest: {'held_out/loss': 3.9, …}

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def start(self, run: Run) -> None:
        self._run, self._best = run, run.best
        self._screen = screen = self._screen or open_screen()
        labels = {
            'devices': say('devices'),
            'data': say('data'),
            'evaluation': say('evaluation'),
            'workdir': say('workdir'),
            'parameters': say('parameters'),
            'frozen': say('frozen'),
            'compiled': say('compiled'),
            'compute': say('compute'),
            'memory': say('memory'),
        }
        width = max(map(cells, labels.values()))
        self._pair = lambda label, text: screen.pair(labels[label], text, width)
        self._pair('devices', run.devices)
        self._pair('data', run.data)
        self._pair('evaluation', run.evaluation)
        self._pair('workdir', f'{run.workdir}')
        total = sum(row['count'] for row in run.layout)
        size = readable(sum(row['bytes_per_device'] for row in run.layout))
        self._pair('parameters', say('{count} ({size} on each device)', count=f'{total:,}', size=size))
        screen.table([self._parameter(row) for row in run.layout])
        if run.base:
            what = {'count': run.base, 'source': run.config.init_from, 'rank': run.config.adapters.rank}
            self._pair('frozen', say('{count:,} of {source}; beside them learn adapters of rank {rank}', **what))
        if run.start:
            screen.line(f'resumed at step {run.start}')  # in every language: programs look for it
            for _, row in self._evaluations(run.start):
                self._scores |= row
        run.unseen.add_done_callback(self._warn)
        screen.compiling(run.compiling_since)
        run.compiled.add_done_callback(self._compiled)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        if self._screen is None:
            return
        if 'train/loss' in row:
            self._screen.status(self._status(step, row))
            return
        self._best = self._best.after(step, row)
        for split, scores in of_splits(row).items():
            head = say('step {step}', step=f'{step:>{len(str(self._run.config.steps))}}')
            self._screen.scores(head, [Score(split, False), *self._compared(step, split, scores)])

    def sample(self, step: int, sample: Sample) -> None:
        if self._screen is None:
            return
        title = say('sample at step {step}', step=step)
        if isinstance(sample, str):
            prompt = self._run.config.log.prompt
            given = prompt if sample.startswith(prompt) else ''
            self._screen.sample(title, given, sample.removeprefix(given))
        else:
            self._screen.picture(title, str(file_of(self._run.workdir / 'samples', step, sample)))

    def back(self, step: int) -> None:
        if self._screen is None:
            return
        self._best, self._scores = replace(self._best, value=0.0, step=0, since=0), {}
        for at, row in self._evaluations(step):
            self._scores |= row
            if self._best.score in row:
                self._best = self._best.after(at, {f'eval/{name}': value for name, value in row.items()})
        self._screen.line(say('back to step {step}', step=step))
        self._screen.begin(Status(step, self._run.config.steps))

    def end(self, step: int) -> None:
        self._close()

    def _close(self) -> None:
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.close()

    # --- the header ---

    def _parameter(self, row: Mapping) -> tuple[str, str, str, str]:
        named = [f'{name} {size}' if name else f'{size}' for name, size in zip(row['names'], row['shape'], strict=True)]
        times = f'{row["times"]} × ' if row['times'] > 1 else ''
        return row['name'], f'{row["count"]:,}', times + ', '.join(named), row['split']

    def _warn(self, unseen: Future[str]) -> None:
        screen, text = self._screen, unseen.result()
        if screen is not None and text:  # nvidia-smi may answer after the end
            with suppress(BrokenPipeError):
                screen.warn(text)

    def _compiled(self, compiled: Future[Compiled]) -> None:
        screen, found, run = self._screen, compiled.result(), self._run
        if screen is None:
            return
        with suppress(BrokenPipeError):  # a future swallows it with a traceback; the first row meets it again
            screen.begin(Status(run.start, run.config.steps))
            self._pair('compiled', say('in {seconds} s', seconds=f'{found.seconds:.1f}'))
            if found.flops:
                compute = say('{count}FLOPs a step', count=scaled(found.flops))
                if found.peak:
                    compute += say('; the peak of the devices is {count}FLOPs/s', count=scaled(found.peak))
                self._pair('compute', compute)
            if found.memory.taken:
                self._pair('memory', expectation(found.memory))
                if found.memory.advice:
                    screen.warn(found.memory.advice)
            if run.start < run.config.steps:
                screen.line(say('training {count} steps', count=f'{run.config.steps - run.start:,}'))

    # --- rows ---

    def _status(self, step: int, row: Mapping[str, float]) -> Status:
        steps, every = self._run.config.steps, self._run.config.log.every
        hidden = {'examples_per_second'} if 'train/tokens_per_second' in row else set()
        learning, machine = (
            [
                Cell(name, f'{row[f"train/{name}"]:{form}}')
                for name, form in some.items()
                if f'train/{name}' in row and name not in hidden
            ]
            for some in (LEARNING, MACHINE)
        )
        left = row.get('train/seconds_left')
        if left is None:
            return Status(step, steps, learning)
        machine.append(Cell('memory', readable(in_use())))
        next_in = left * min(every / max(steps - step, 1), 1)
        return Status(step, steps, learning, machine, left, time.monotonic(), next_in)

    def _compared(self, step: int, split: str, scores: Mapping[str, float]) -> list[Score]:
        """Returns the scores of a split in words; the first and the one that chooses beside the last time."""
        chosen, shown = self._run.best.score, []
        for number, (name, value) in enumerate(scores.items()):
            key, text = f'{split}/{name}', f'{name} {value:.4f}'
            best = key == chosen and self._best.step == step
            if key in self._scores and (number == 0 or key == chosen):
                change = f'{value - self._scores[key]:+.4f}'
                text += ' ' + (say('({change}, best)', change=change) if best else f'({change})')
            shown.append(Score(text, best and key in self._scores))
            self._scores[key] = value
        return shown

    def _evaluations(self, step: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Yields (step, {'held_out/loss': 3.9, …}) of the evaluations up to `step`, as metrics.jsonl has them."""
        with suppress(OSError):  # it is only shown
            for row in lines.rows(self._run.workdir / 'metrics.jsonl'):
                if (at := row.pop('step')) <= step and any(key.startswith('eval/') for key in row):
                    yield at, {key.removeprefix('eval/'): value for key, value in row.items()}


def expectation(memory: Expected) -> str:
    """Returns one line: how much memory is expected to be taken, of how much, and whether that fits."""
    taken, limit = readable(memory.taken), readable(memory.limit)
    if not memory.limit:
        return say('{taken} on each device', taken=taken)
    if memory.taken <= memory.limit:
        return say('{taken} of {limit} on each device: it fits', taken=taken, limit=limit)
    return say('{taken} of {limit} on each device: it does not fit', taken=taken, limit=limit)


def of_splits(row: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns {'held_out': {'loss': 2.5, …}} of a row {'eval/held_out/loss': 2.5, …}."""
    found: dict[str, dict[str, float]] = {}
    for key, value in row.items():
        if key.startswith('eval/'):
            _, split, name = key.split('/', 2)
            found.setdefault(split, {})[name] = value
    return found


def scaled(count: float) -> str:
    """Returns a number with the prefix of its unit: '66.5 G', so that FLOPs can follow."""
    for prefix in ('', 'k', 'M', 'G', 'T', 'P', 'E'):
        if count < 999.5 or prefix == 'E':
            return f'{count:.3g} {prefix}'
        count /= 1000
    raise AssertionError
