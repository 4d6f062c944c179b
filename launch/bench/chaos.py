"""Runs that are killed and stopped again and again: what they come to is what the unbroken run comes to, bit for bit.

  bash launch/chaos.sh                                             this, and the slow tests beside it
  python launch/bench/chaos.py [--kills=200] [--signals=100] [--runs=10] [--seed=0] [--folder=runs/chaos]
                               [--config.key=value …]

Trains configs/transformer.py:tiny once unbroken. Then, in each of `runs` runs, processes are killed without warning
(SIGKILL) at moments that are drawn by seed: at any time after their start, or at one of the points of a run that
`jaxlab.trust.faults` names, such as between the commit of a checkpoint and its manifest. After its share of kills a run
goes to its end. In other runs processes are asked to end (SIGTERM, SIGINT) at any time.

What must be: every row of metrics.jsonl and the parameters are those of the unbroken run; a start resumes wherever a
checkpoint is; what is done again is at most the save interval for each kill; a stop saves the step it is at.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import record

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 400, 40  # steps of a run, and between two of its saves
# Where a process may be killed by itself, at a step of its own; the others are met by killing at any time.
POINTS = (
    'compile',
    'step',
    'log_flush',
    'evaluate',
    'save_start',
    'save_copied',
    'between_commit_and_manifest',
    'manifest_written',
)
ONCE = ('start', 'compile')  # points without a step


@dataclass
class Found:
    """What came of one run."""

    breaks: int = 0  # kills or signals that met a process
    resumed: list[int] = field(default_factory=list)
    again: int = 0  # steps that were done again
    seconds: list[float] = field(default_factory=list)  # from a signal to the end of the process
    wrong: list[str] = field(default_factory=list)
    moments: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where the runs are: a folder for them and the cache, and the flags of every run."""

    folder: Path
    flags: tuple[str, ...] = ()

    def start(self, workdir: Path, **variables: str) -> subprocess.Popen:
        flags = [
            f'--config={ROOT / "configs/transformer.py"}:tiny',
            f'--workdir={workdir}',
            f'--config.steps={STEPS}',
            f'--config.checkpoint.every={EVERY}',
            '--config.log.every=1',
            '--config.log.sample_every=0',
            '--config.evaluate.every=80',
            *self.flags,
        ]
        environment = os.environ | {'JAXLAB_CACHE': str(self.folder / 'cache'), 'PYTHONUNBUFFERED': '1', **variables}
        with self.screen.open('w') as screen:
            command = [sys.executable, '-m', 'jaxlab.main', *flags]
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=screen, stderr=subprocess.STDOUT)

    @property
    def screen(self) -> Path:
        """What the newest process prints."""
        return self.folder / 'screen.txt'

    def ended(self, process: subprocess.Popen) -> str:
        """Waits for a process; returns all that it printed."""
        process.wait(600)
        return self.screen.read_text('utf-8', errors='replace')

    def finish(self, workdir: Path) -> tuple[int, str]:
        process = self.start(workdir)
        output = self.ended(process)
        return process.returncode, output


def saved(workdir: Path) -> list[int]:
    """Returns the saved steps of a workdir."""
    folder = workdir / 'checkpoints'
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()) if folder.is_dir() else []


def logged(workdir: Path) -> int:
    """Returns the last step in metrics.jsonl; 0 where there is none."""
    file = workdir / 'metrics.jsonl'
    lines = [line for line in file.read_text('utf-8').splitlines() if line.endswith('}')] if file.is_file() else []
    return json.loads(lines[-1])['step'] if lines else 0


def rows(workdir: Path) -> list[dict[str, float]]:
    """Returns the rows of metrics.jsonl, without what measures time."""
    lines = (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()
    return [{key: value for key, value in json.loads(line).items() if 'second' not in key} for line in lines]


def parameters(workdir: Path) -> str:
    """Returns a checksum of the parameters of the newest checkpoint, read by a process of its own."""
    program = (
        'import hashlib, sys, jax, numpy, jaxlab\n'
        'leaves = jax.tree.leaves(jaxlab.load(sys.argv[1]).params)\n'
        "print(hashlib.sha256(b''.join(numpy.asarray(leaf).tobytes() for leaf in leaves)).hexdigest())"
    )
    command = [sys.executable, '-c', program, str(workdir)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def digest(workdir: Path) -> tuple[str, str]:
    """Returns (checksum of all rows, of the parameters)."""
    return hashlib.sha256(json.dumps(rows(workdir)).encode()).hexdigest(), parameters(workdir)


def kill(place: Place, workdir: Path, count: int, choose: random.Random, longest: float) -> Found:
    """Kills a run `count` times, and lets it finish. `longest` is how long an unbroken one takes, in seconds."""
    found = Found()
    while found.breaks < count:
        before, reached = saved(workdir), logged(workdir)
        # Kills are spread over the run: this one comes not long after the step that it would be at by then.
        target = min((found.breaks + 1) * (STEPS - EVERY) // (count + 1), STEPS - 2)
        point = choose.choice(('any time', 'any time', *POINTS))
        variables, moment = {}, choose.uniform(0.2, longest)
        if point in ONCE:
            variables['JAXLAB_FAIL_AT'] = f'{point}:*:kill'
        elif point != 'any time':
            every = {'evaluate': 80, 'step': 1, 'log_flush': 1}.get(point, EVERY)
            step = -(-max(target + choose.randint(-EVERY, EVERY), max(before, default=0) + 1) // every) * every
            variables['JAXLAB_FAIL_AT'] = f'{point}:{min(step, STEPS)}:kill'
        process = place.start(workdir, **variables)
        if point == 'any time':
            # At its moment; or at a step, where it is so fast that the run would soon be over.
            watch(place, process, moment, target + EVERY)
        output = place.ended(process)
        if process.returncode == 0:
            break  # the run ended before its point came: that is no kill
        found.moments[point] = found.moments.get(point, 0) + 1
        note(found, process.returncode, (-signal.SIGKILL,), output, before, reached)
    if found.breaks < count:
        found.wrong.append(f'it ended after {found.breaks} kills')
    return last(place, workdir, found)


def stop(place: Place, workdir: Path, count: int, choose: random.Random, longest: float) -> Found:
    """Asks a run to end `count` times, and lets it finish."""
    found = Found()
    while found.breaks < count:
        before, reached = saved(workdir), logged(workdir)
        number = choose.choice((signal.SIGTERM, signal.SIGINT))
        process = place.start(workdir)
        moment, target = choose.uniform(0.2, longest), (found.breaks + 1) * STEPS // (count + 1)
        since = watch(place, process, moment, target, number)
        output = place.ended(process)
        if process.returncode == 0:
            break
        found.seconds.append(time.monotonic() - since)
        # Before there is anything to lose Python's own handlers are there; its way out of an import may be an error.
        ends = (128 + number, -number) if 'training' in output or 'resumed' in output else (128 + number, -number, 1)
        note(found, process.returncode, ends, output, before, reached)
        seen = max((int(line.split()[1]) for line in output.splitlines() if is_step(line)), default=0)
        if seen > max(saved(workdir), default=0):
            found.wrong.append(f'step {seen} was seen and {saved(workdir)} are saved')
    return last(place, workdir, found)


def is_step(line: str) -> bool:
    return line.startswith('step') and line.split()[1].isdecimal()


def watch(
    place: Place, process: subprocess.Popen, moment: float, target: int, number: signal.Signals = signal.SIGKILL
) -> float:
    """Sends a signal at a moment, or as soon as a step is seen; returns when it did."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < moment:
        lines = place.screen.read_text('utf-8', errors='replace').splitlines()[:-1]
        if any(is_step(line) and int(line.split()[1]) >= target for line in lines[-20:]):
            break
        time.sleep(0.02)
    process.send_signal(number)
    return time.monotonic()


def note(found: Found, code: int, codes: Sequence[int], output: str, before: Sequence[int], reached: int) -> None:
    """Adds what came of one process that was broken off; `before` and `reached` were saved and logged when it began."""
    found.breaks += 1
    if code not in codes:
        found.wrong.append(f'exit code {code}: {output[-500:]}')
    at = [int(line.split()[-1]) for line in output.splitlines() if line.startswith('resumed at step')]
    if at:
        found.resumed.append(at[0])
        found.again += max(reached - at[0], 0)
    if before and 'training' in output and not at:
        found.wrong.append(f'{before} were saved, and it began anew')


def last(place: Place, workdir: Path, found: Found) -> Found:
    """Lets a run go to its end."""
    reached = logged(workdir)
    code, output = place.finish(workdir)
    if code:
        found.wrong.append(f'exit code {code}: {output[-500:]}')
    at = [int(line.split()[-1]) for line in output.splitlines() if line.startswith('resumed at step')]
    found.again += max(reached - at[0], 0) if at else reached
    if found.again > found.breaks * EVERY:
        found.wrong.append(f'{found.again} steps were done again after {found.breaks} breaks')
    return found


def run(place: Place, kills: int, signals: int, runs: int, seed: int) -> dict[str, Any]:
    """Does all of it; returns what came of it, with everything that was wrong."""
    choose = random.Random(seed)
    shutil.rmtree(place.folder / 'runs', ignore_errors=True)
    place.folder.mkdir(parents=True, exist_ok=True)
    unbroken = place.folder / 'runs' / 'unbroken'
    for workdir in (
        place.folder / 'runs' / 'first',
        unbroken,
    ):  # the first one compiles; the second says how long it is
        since = time.monotonic()
        code, output = place.finish(workdir)
        assert code == 0, output
    longest = time.monotonic() - since
    wanted = digest(unbroken)
    result: dict[str, Any] = {'steps': STEPS, 'save_every': EVERY, 'seed': seed}
    for name, break_off, count in (('kills', kill, kills), ('signals', stop, signals)):
        every: list[Found] = []
        # A run that reaches its end before all its signals came is over: others take what is left.
        while (left := count - sum(found.breaks for found in every)) > 0 and len(every) < 10 * runs:
            number = len(every)
            workdir = place.folder / 'runs' / f'{name}_{number}'
            found = break_off(place, workdir, min(-(-count // runs), left), choose, longest)
            if not found.wrong and digest(workdir) != wanted:
                found.wrong.append('rows or parameters differ from the unbroken run')
            every.append(found)
            print(
                f'{name}, run {number}: {found.breaks}, {found.again} steps again, {found.wrong or "equal"}', flush=True
            )
        moments: dict[str, int] = {}
        for found in every:
            for point, times in found.moments.items():
                moments[point] = moments.get(point, 0) + times
        waited = sorted(second for found in every for second in found.seconds)
        result[name] = {
            'runs': len(every),
            'count': sum(found.breaks for found in every),
            'runs_equal_to_the_unbroken_one': sum(not found.wrong for found in every),
            'starts_that_resumed': sum(len(found.resumed) for found in every),
            'steps_done_again': sum(found.again for found in every),
            'wrong': [line for found in every for line in found.wrong],
        }
        if moments:
            result[name]['moments'] = moments
        if waited:
            result[name]['seconds_to_the_end'] = {'median': statistics.median(waited), 'longest': waited[-1]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--signals', type=int, default=100)
    parser.add_argument('--runs', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--folder', type=Path, default=Path('runs/chaos'))
    parsed, flags = parser.parse_known_args()
    place = Place(parsed.folder.absolute(), tuple(flags))
    result = run(place, parsed.kills, parsed.signals, parsed.runs, parsed.seed)
    print(record.write('chaos' if parsed.kills else 'chaos_signals', result))
    if wrong := [line for name in ('kills', 'signals') for line in result[name]['wrong']]:
        raise SystemExit('\n'.join(wrong))


if __name__ == '__main__':
    main()
