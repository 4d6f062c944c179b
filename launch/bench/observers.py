"""What logging costs: the time of a step with every observer, against that with none.

  python launch/bench/observers.py [--size=default] [--steps=40] [--rounds=9]

One process trains the same run again and again, in interleaved rounds: without observers and rows (`off`); with all
that the train verb has, on plain lines and on a terminal (a pseudo-terminal, read as it is written), with a row after
every step and after every tenth. What counts is the loop, from the beginning of its second step to that of its last:
not compiling, and not the evaluation and the save at the end. `ratio` is the median over rounds of a candidate's time
over that of `off` in the same round; 1.01 is what the project allows itself.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault('TERM', 'xterm-256color')

import record
import rounds
from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab import train as loop
from jaxlab.observers.background import Background
from jaxlab.observers.history import History
from jaxlab.observers.progress import Progress
from jaxlab.observers.report import Report
from jaxlab.observers.samples import Samples
from jaxlab.observers.tensorboard import TensorBoard
from jaxlab.observers.tracker import Tracker

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def terminal() -> Iterator[Any]:
    """Yields a file that is a terminal; somebody reads what it is given."""
    master, slave = os.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while os.read(master, 65536):
                pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with open(slave, 'w', encoding='utf-8') as file:
        yield file
    reader.join()
    os.close(master)


def seconds_of_loop(config: ConfigDict, folder: str, screen: str) -> float:
    """Trains, and returns the seconds from the beginning of the second step to that of the last."""
    began: list[float] = []
    compile_step = loop.compile_step

    def timed(*arguments: Any) -> Any:
        compiled = compile_step(*arguments)

        def step(*arguments: Any) -> Any:
            began.append(time.perf_counter())
            return compiled(*arguments)

        step.memory_analysis = compiled.memory_analysis  # type: ignore[attr-defined]
        return step

    loop.compile_step = timed
    try:
        with tempfile.TemporaryDirectory(dir=folder) as workdir, contextlib.ExitStack() as stack:
            log = stack.enter_context(Path(workdir, 'log').open('w'))
            file = stack.enter_context(terminal()) if screen == 'terminal' else log
            stack.enter_context(contextlib.redirect_stdout(file))
            progress = stack.enter_context(Progress())
            # As the train verb has them.
            everyone = [progress, Tracker(), Samples(), History(), Background('TensorBoard', TensorBoard()), Report()]
            loop.train(config, Path(workdir, 'run'), [] if screen == 'off' else everyone)
    finally:
        loop.compile_step = compile_step
    return began[-1] - began[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='default', help='of configs/transformer.py')
    arguments.add_argument('--steps', type=int, default=40, help='of each run')
    arguments.add_argument('--rounds', type=int, default=9)
    arguments.add_argument('--name', default='observers', help='results/NAME.json is written')
    options = arguments.parse_args()

    def config(every: int) -> ConfigDict:
        loaded, _ = config_text.load(str(ROOT / f'configs/transformer.py:{options.size}'))
        loaded.update(steps=options.steps)
        loaded.checkpoint.every = loaded.evaluate.every = 10**9
        loaded.evaluate.batches = 1
        loaded.log.update(every=every, sample_every=0)
        return configs.check(loaded)

    with tempfile.TemporaryDirectory() as folder:
        # A run's programs are found again by the next, so that a round is mostly steps.
        loop.jax.config.update('jax_compilation_cache_dir', f'{folder}/programs')
        found = rounds.interleave(
            {
                name: lambda every=every, screen=screen: seconds_of_loop(config(every), folder, screen)
                for name, every, screen in [
                    ('off', 10**9, 'off'),
                    ('plain_every_step', 1, 'plain'),
                    ('plain_every_tenth', 10, 'plain'),
                    ('terminal_every_step', 1, 'terminal'),
                    ('terminal_every_tenth', 10, 'terminal'),
                ]
            },
            options.rounds,
        )
    rows = rounds.summary(found, reference='off')
    for name, taken in found.items():
        ratios = [own / off for own, off in zip(taken, found['off'], strict=True)]
        rows[name]['ratio'] = round(statistics.median(ratios), 4)
    rounds.show(rows)
    print('  '.join(f'{name} {row["ratio"]:.4f} ×' for name, row in rows.items()))
    result = {'size': options.size, 'steps': options.steps, 'candidates': rows, 'rounds': found}
    print(f'written to {record.write(options.name, result).relative_to(ROOT)}')


if __name__ == '__main__':
    main()
