"""What a workdir says about its run, read from the files alone: no JAX, no config that is built, nothing imported.

Files may be missing, half written or damaged, since a run may be going on or may have been killed: what can be read is
reported, and what cannot is counted.
"""

import io
import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.errors import UserError
from jaxlab.trust import lines, place
from jaxlab.trust.secrets import without_secrets


class NothingYet(UserError):
    """There is an experiment, and nothing measured of it yet."""


@dataclass(frozen=True)
class Series:
    """One number over time: steps [n] int64, ascending, and values [n] float64; all values finite."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return len(self.steps) > 0


@dataclass(frozen=True)
class Broken:
    """Values that were NaN or infinite: how many, the first step where one was, and the step since which all are; -1
    where the last value is a number again."""

    count: int
    first: int
    since: int


@dataclass(frozen=True)
class Record:
    """A run as its workdir tells it.

    Attributes:
      workdir: where it lies.
      config: the resolved config's leaves by dotted key, {'model.width': 256, …}; lists where the config has tuples.
      series: the numbers of metrics.jsonl by name, in the order in which they first came.
      broken: what of these numbers was NaN or infinite, by name.
      last: the last step that was logged.
      unreadable: lines of metrics.jsonl that are no JSON; the last one, half written, does not count.
      samples: (step, file), in the order of steps, up to the last step that was logged.
      runs: objects of runs.json, one for each start; see `jaxlab.observers.history`.
      data: what processor/data.json says: 'fingerprint', 'info', 'batch'; {} where training never got that far.
    """

    workdir: Path
    config: dict[str, Any]
    series: dict[str, Series]
    broken: dict[str, Broken]
    last: int
    unreadable: int
    samples: list[tuple[int, Path]]
    runs: list[dict[str, Any]]
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return place.whole(self.workdir).name

    @property
    def step(self) -> int:
        """The last step that anything is known of."""
        return max([self.last, *(run.get('step', 0) for run in self.runs)])

    @property
    def steps(self) -> int:
        """How many steps were wanted."""
        return self.config.get('steps', self.step)

    @property
    def ended(self) -> bool:
        """Whether the newest start came to an end that it wrote down; False while it runs, or where it was killed."""
        return bool(self.runs and self.runs[-1].get('ended'))

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time went, over all starts: kind of work -> seconds."""
        total: dict[str, float] = {}
        for run in self.runs:
            for kind, seconds in run.get('seconds', {}).items():
                total[kind] = total.get(kind, 0.0) + seconds
        return total

    @property
    def config_file(self) -> str:
        """What --config named when the experiment was begun; '' where nobody wrote it down."""
        return next((run['config_file'] for run in reversed(self.runs) if run.get('config_file')), '')

    @property
    def changed(self) -> dict[str, list[Any]]:
        """{key: [value in the config file, value of this run]} for what differs; None where one has no such key.

        A start without a config file goes on from the workdir's config, so its changes come on top of those before.
        """
        found: dict[str, list[Any]] = {}
        for run in self.runs:
            if run.get('config_file'):
                found = {}
            for key, (old, new) in run.get('changed', {}).items():
                found[key] = [found[key][0] if key in found else old, new]
        return {key: [old, new] for key, (old, new) in found.items() if old != new}

    def scores(self) -> list[str]:
        """Names of what was measured by evaluations: 'eval/held_out/loss', …"""
        return [name for name in self.series if name.startswith('eval/')]

    def examples(self, steps: np.ndarray) -> np.ndarray:
        """Returns how many rows had been trained on after each of these steps."""
        return steps * self.config.get('batch_size', 1)

    def tokens(self, steps: np.ndarray) -> np.ndarray:
        """Returns how many tokens had been trained on after each of these steps; zeros where rows have no length."""
        return self.examples(steps) * self.data.get('info', {}).get('length', 0)

    def training_seconds(self, steps: np.ndarray) -> np.ndarray:
        """Returns the seconds of training until each of these steps, as the logged speed tells; nan where it is not
        logged. Evaluations, samples and everything else between steps do not count."""
        speed = self.series.get('train/examples_per_second')
        if not speed:
            return np.full(len(steps), np.nan)
        at = np.concatenate([[0], speed.steps])
        # Between two rows the speed is that of the second one; the first row's own is not logged, since it compiles.
        seconds = np.cumsum(np.diff(at) * self.config.get('batch_size', 1) / np.maximum(speed.values, 1e-12))
        return np.interp(steps, at, np.concatenate([[0.0], seconds]))


def read(workdir: Path) -> Record:
    """Reads a workdir.

    Raises:
      NothingYet: there is no row of metrics yet.
    """
    config = without_secrets(dict(_leaves(_json(workdir / 'config.json', {}))))
    config = {key: value for key, value in config.items() if isinstance(value, _NUMBERS.get(key, object))}
    series, broken, last, unreadable = read_metrics(workdir / 'metrics.jsonl')
    if not series and not broken:
        raise NothingYet(
            '{workdir}: there are no metrics yet; the first row comes after log.every steps.', workdir=workdir
        )
    runs = [_run(run) for run in without_secrets(_json(workdir / 'runs.json', [])) if isinstance(run, dict)]
    samples = [(step, file) for step, file in _samples(workdir / 'samples') if step <= last]
    data = _data(without_secrets(_json(workdir / 'processor' / 'data.json', {})))
    return Record(workdir, config, series, broken, last, unreadable, samples, runs, data)


def read_metrics(file: Path) -> tuple[dict[str, Series], dict[str, Broken], int, int]:
    """Returns (series, broken, last, unreadable) of a metrics.jsonl; see `Record`. The later of two rows counts."""
    steps: dict[str, array] = {}
    values: dict[str, array] = {}
    unreadable = 0
    try:
        with io.BytesIO(lines.read(file)) as found:
            for line in found:
                try:
                    row = json.loads(line)
                    step = row.pop('step')
                    if not isinstance(step, int) or not 0 <= step < 2**62:
                        raise ValueError(step)
                    for name, value in row.items():
                        if name not in steps:
                            steps[name], values[name] = array('q'), array('d')
                        values[name].append(value)  # refuses what is no number, before anything is changed
                        steps[name].append(step)
                except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
                    unreadable += line.endswith(b'\n')  # what has no end is being written, or was when it was killed
    except OSError:
        return {}, {}, 0, 0
    series, broken, last = {}, {}, 0
    for name in [name for name in steps if len(steps[name])]:
        at = np.frombuffer(steps[name], np.int64)
        value = np.frombuffer(values[name], np.float64)
        good, last = np.isfinite(value), max(last, int(at.max()))
        if not good.all():
            bad, latest = at[~good], at[good].max(initial=-1)
            since = bad[bad > latest].min(initial=np.iinfo(np.int64).max)
            broken[name] = Broken(len(bad), int(bad.min()), int(since) if bad.max() > latest else -1)
        at, value = at[good], value[good]
        if len(at) and (np.diff(at) <= 0).any():
            at, newest_of = np.unique(at[::-1], return_index=True)
            value = value[::-1][newest_of]
        if len(at):
            series[name] = Series(at, value)
    return series, broken, last, unreadable


def _samples(folder: Path) -> Iterator[tuple[int, Path]]:
    if not place.is_link(folder):
        numbered = [(int(file.stem), file) for file in place.entries(folder) if file.stem.isdecimal()]
        # A link could bring any file of its reader's into a page that is then given away.
        yield from sorted((step, file) for step, file in numbered if file.is_file() and not place.is_link(file))


def _leaves(config: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


# What the page counts with, in a config and in an object of runs.json. What is of another type, nobody of ours wrote.
_NUMBERS: dict[str, Any] = {'steps': int, 'batch_size': int, 'average': float}
_RUN: dict[str, Any] = {
    **dict.fromkeys(('started', 'ended', 'config_file', 'python', 'commit', 'devices', 'device_kind'), str),
    **dict.fromkeys(('data', 'evaluation'), str),
    **dict.fromkeys(('from_step', 'step', 'processes', 'parameters'), int),
    **dict.fromkeys(('changed', 'versions', 'machine', 'variables', 'seconds'), dict),
}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    """Returns what of an object of runs.json is as `jaxlab.observers.history` writes it."""
    found = {key: value for key, value in run.items() if isinstance(value, _RUN.get(key, object))}
    if 'changed' in found:
        found['changed'] = {k: v for k, v in found['changed'].items() if isinstance(v, list) and len(v) == 2}
    for key in ('seconds', 'machine'):
        if key in found:
            numbers = {k: v for k, v in found[key].items() if isinstance(v, int | float) and 0 <= v < 2**63}
            words = {k: v for k, v in found[key].items() if isinstance(v, str) and k != 'memory'}
            found[key] = numbers if key == 'seconds' else numbers | words
    return found


def _data(data: dict[str, Any]) -> dict[str, Any]:
    """The same of processor/data.json."""
    kinds: dict[str, type] = {'fingerprint': str, 'info': dict}
    found: dict[str, Any] = {key: value for key, value in data.items() if isinstance(value, kinds.get(key, object))}
    if not isinstance(found.get('info', {}).get('length', 0), int):
        del found['info']
    return found


def _json(file: Path, default: Any) -> Any:
    """Returns what a JSON file holds, if that is of the type of `default`; else `default`. Links are not followed, as
    in `_samples`."""
    try:
        found = default if place.is_link(file) else json.loads(file.read_text('utf-8'))
    except (OSError, ValueError, RecursionError):
        return default
    return found if isinstance(found, type(default)) else default


def find(folder: Path) -> list[Path]:
    """Returns the folder itself where it is a workdir, or else the workdirs that lie in it (a race), by name.

    Raises:
      UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError('{folder}: there is no such folder.', folder=folder)
    if (folder / 'config.json').is_file():
        return [folder]
    found = sorted(inner for inner in folder.iterdir() if (inner / 'config.json').is_file())
    if not found:
        raise UserError('{folder}: there is no experiment here (no config.json), nor one step below.', folder=folder)
    return found


def newest(record: Record, key: str, default: Any = '') -> Any:
    """Returns what the newest start says of `key`."""
    return next((run[key] for run in reversed(record.runs) if key in run), default)


LOWER = (
    'loss',
    'perplexity',
    'bits_per_byte',
    'error',
    'error_rate',
    'wer',
    'cer',
    'mae',
    'mse',
    'rmse',
    'nll',
    'fid',
    'brier',
)
HIGHER = ('accuracy', 'precision', 'recall', 'f1', 'auc', 'bleu', 'rouge', 'map', 'iou', 'r2', 'reward', 'return')


def better(name: str) -> int:
    """Returns -1 where lower is better of a number such as 'eval/held_out/loss', 1 where higher is, 0 where unknown."""
    last = name.rpartition('/')[2]
    for words, direction in ((LOWER, -1), (HIGHER, 1)):
        if any(last == word or last.endswith(f'_{word}') or last.startswith(f'{word}_') for word in words):
            return direction
    return 0


def best(name: str, series: Series) -> int | None:
    """Returns the index of the best value of a series; None where it is unknown what is better."""
    direction = better(name)
    return None if not direction else int(np.argmax(direction * series.values))
