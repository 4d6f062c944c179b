"""Interleaved rounds: every candidate runs once in each round, so that what disturbs the machine disturbs them all.

A machine that others use has fast and slow minutes. Two programs measured one after the other differ by its moods; in
rounds each is compared with the other of the same moment, and the median of many such ratios is steady.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleave(candidates: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Returns the seconds of each candidate in each round.

    Args:
      candidates: what to time, by name. Each does all of its work before it returns (it waits for its device). One that
        returns a float has timed itself, and that many seconds count.
      rounds: how many. The order is turned by one from round to round, so that nobody always runs first.
      warm_up: rounds that are not counted: compilation, caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(-warm_up, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            taken = seconds_of(candidates[name])
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def summary(seconds: Mapping[str, list[float]], reference: str, work: float = 0.0) -> dict[str, dict[str, float]]:
    """Returns, for each candidate, what there is to say of its rounds.

    Args:
      seconds: as `interleave` returns them.
      reference: the candidate that others are compared with.
      work: how much is done in one call (tokens, FLOPs), for a rate; 0: none.

    Returns:
      name -> {'median': seconds, 'fastest': seconds, 'speed': median over rounds of reference's seconds / its own
      (above 1: faster than the reference), 'rate': work / median}.
    """
    found = {}
    for name, taken in seconds.items():
        median = statistics.median(taken)
        speed = statistics.median(other / own for other, own in zip(seconds[reference], taken, strict=True))
        found[name] = {'median': median, 'fastest': min(taken), 'speed': speed}
        if work:
            found[name]['rate'] = work / median
    return {
        name: {key: float(f'{value:.5g}') for key, value in row.items()} for name, row in found.items()
    }  # five digits are more than the machine can repeat


def show(rows: Mapping[str, Mapping[str, float]], unit: str = '') -> None:
    """Prints a summary as a table."""
    width = max(map(len, rows))
    for name, row in rows.items():
        rate = f'{row["rate"]:14,.0f} {unit}' if 'rate' in row else ''
        times = f'median {1e3 * row["median"]:10.2f} ms   fastest {1e3 * row["fastest"]:10.2f} ms'
        print(f'  {name:{width}}  {times}   {row["speed"]:5.2f} ×{rate}', flush=True)


class Worker:
    """A candidate in a process of its own, so that neither side lives with the other's threads and memory.

    The process prints one line of JSON when it is ready, `said`, and then, for every line that it reads, the seconds of
    one more call; `serve` does that.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        shared = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false', **os.environ}  # one GPU has room for them all
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=shared)
        self.said = self._first()

    def _first(self) -> Any:
        """Returns what the process says when it is ready; shows what it prints before, as a first reading of data."""
        while True:
            line = self._line()
            try:
                return json.loads(line)
            except ValueError:
                print(line, end='', flush=True)

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f'a worker ended early, with exit code {self._process.wait()}; what it said is above')
        return line

    def __call__(self) -> float:
        """Lets the process run once more; returns its seconds."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return float(self._line())

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(said: Any, run: Callable[[], Any]) -> None:
    """The other side of `Worker`: says what there is to say, then runs once for every line that comes."""
    print(json.dumps(said), flush=True)
    for _ in sys.stdin:
        print(seconds_of(run), flush=True)


def seconds_of(run: Callable[[], Any]) -> float:
    """Runs once; returns the seconds that it took, or those that it returns itself."""
    start = time.perf_counter()
    own = run()
    return own if isinstance(own, float) else time.perf_counter() - start
