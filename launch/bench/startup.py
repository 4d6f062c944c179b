"""How long a person waits before something happens: for --help, for jax, and for the first training step.

  python launch/bench/startup.py [--rounds=5]

Each number is the median over fresh processes. Nothing compiled is kept between them. `first_step` is the time from the
start of the process to the line that reports step 1 of configs/transformer.py:tiny, once with an empty cache of tokens
(`…_empty_cache`) and then with a full one; `after_jax` is what of it remains when Python's start and jax's import are
taken off.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import record

ROOT = Path(__file__).parents[2]


def time_command(*arguments: str) -> float:
    """Returns the seconds that `python arguments…` takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def time_first_step(folder: str, cache: str) -> float:
    """Returns the seconds from the start of a training process to its line about step 1.

    Args:
      folder: where the workdir may be made.
      cache: the folder of the tokens that are kept between runs.

    Raises:
      SystemExit: the process ended without such a line.
    """
    command = [sys.executable, '-m', 'jaxlab.main', '--config=configs/transformer.py:tiny', '--config.log.every=1']
    environment = {**os.environ, 'JAXLAB_CACHE': cache, 'JAX_ENABLE_COMPILATION_CACHE': 'false'}
    lines = []
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        command.append(f'--workdir={workdir}/run')
        start = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            for line in process.stdout or ():
                if re.match(r'step +1\b', line):
                    seconds = time.perf_counter() - start
                    process.kill()
                    return seconds
                lines.append(line)
    raise SystemExit(f'the run ended before its first step:\n{"".join(lines[-20:])}')


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--rounds', type=int, default=5, help='fresh processes for each number')
    arguments.add_argument('--name', default='startup', help='results/NAME.json is written')
    options = arguments.parse_args()

    seconds: dict[str, float] = {}
    rounds: dict[str, list[float]] = {}

    def measure(name: str, run: Callable[[], float]) -> None:
        rounds[name] = [round(run(), 3) for _ in range(options.rounds)]
        seconds[name] = statistics.median(rounds[name])
        print(f'{name:<24} {seconds[name]:6.2f} s   ({min(rounds[name]):.2f} to {max(rounds[name]):.2f})', flush=True)

    time_command('-c', 'import jax')  # once unmeasured: the disk's cache, and Python's own compiled files
    measure('python', lambda: time_command('-c', 'pass'))
    measure('help', lambda: time_command('-m', 'jaxlab.main', '--help'))
    measure('import_jax', lambda: time_command('-c', 'import jax'))
    with tempfile.TemporaryDirectory() as folder:
        measure('first_step_empty_cache', lambda: time_first_step(folder, tempfile.mkdtemp(dir=folder)))
        time_first_step(folder, f'{folder}/cache')  # once unmeasured, to fill it
        measure('first_step', lambda: time_first_step(folder, f'{folder}/cache'))
    seconds['after_jax'] = round(seconds['first_step'] - seconds['import_jax'], 3)
    print(f'{"after_jax":<24} {seconds["after_jax"]:6.2f} s')
    path = record.write(options.name, {'median_seconds': seconds, 'rounds': rounds})
    print(f'written to {path.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
