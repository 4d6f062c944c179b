"""A race: the experiments of one config file, one after another, and a table of how they did."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import workdir as workdirs
from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.evaluation import make_scores
from jaxlab.messages import say
from jaxlab.trust import lines


def race(experiments: Mapping[str, ConfigDict], folder: Path, train: Callable[[str], int]) -> int:
    """Trains every experiment, each in its own workdir folder/<name>, and prints the table. What is finished already is
    not trained again.

    Args:
      experiments: resolved configs by name.
      folder: where they all lie.
      train: trains the experiment of a name in its workdir; returns 0, or the number of the signal that ended it.

    Returns:
      0, or the number of the signal that ended it early; the same call goes on.

    Raises:
      UserError: whatever `train` raises.
    """
    tell = partial(print, flush=True) if jax.process_index() == 0 else lambda line: None
    for number, (name, config) in enumerate(experiments.items(), 1):
        about = {'number': number, 'count': len(experiments), 'name': name}
        if finished(folder / name, config):
            tell(say('{number} of {count}: {name} is finished', **about))
            continue
        tell(say('{number} of {count}: {name}', **about))
        if signal := train(name):
            return signal
    tell('\n'.join(['', *table(folder, experiments)]))
    return 0


def finished(workdir: Path, config: ConfigDict) -> bool:
    """Whether there is nothing left to train: the last step is saved, or the one at which the run ended early."""
    workdirs.check_identity(workdir, config)
    checkpoints = Checkpoints(workdir)
    latest = checkpoints.latest()
    if latest is None:
        return False
    record = checkpoints.best()
    checkpoints.close()
    before = workdirs.read_config(workdir, workdirs.packages(config))
    as_long = before.epochs == config.epochs if config.epochs else before.steps == config.steps
    return as_long and (latest >= before.steps or replace(Best(**record), patience=config.best.patience).exhausted)


def table(folder: Path, experiments: Mapping[str, ConfigDict]) -> list[str]:
    """Returns the lines of a table, the best first: each experiment's scores at its last evaluation, its steps, and how
    fast it was."""
    found: dict[str, dict[str, Any]] = {}
    for name in experiments:
        rows = list(lines.rows(folder / name / 'metrics.jsonl'))
        last = [row for row in rows if any(key.startswith('eval/') for key in row)][-1]
        scores = {key.removeprefix('eval/'): value for key, value in last.items() if key.startswith('eval/')}
        speeds = [value for row in rows for key, value in row.items() if key == 'train/tokens_per_second']
        found[name] = {**scores, 'step': last['step'], 'tokens/s': statistics.median(speeds) if speeds else math.nan}

    config = next(iter(experiments.values()))
    columns = list(next(iter(found.values())))
    by = columns[0] if config.best.score == 'auto' else config.best.score or columns[0]
    info = workdirs.read_data(folder / next(iter(experiments)))['info']
    measured = make_scores(config.evaluate.scores, info)
    better = {name: which for score in measured for name, which in score.better.items()}
    sign = -1 if better[by.rpartition('/')[2]] == 'higher' else 1
    order = sorted(found, key=lambda name: (math.isnan(found[name][by]), sign * found[name][by]))  # diverged: last
    shown = [['', *columns]]
    for name in order:
        shown.append([name, *(f'{found[name][column]:{FORMATS.get(column, ".4f")}}' for column in columns)])
    widths = [max(len(line[i]) for line in shown) for i in range(len(columns) + 1)]
    return ['  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in shown]


FORMATS = {'step': ',', 'tokens/s': ',.0f'}
