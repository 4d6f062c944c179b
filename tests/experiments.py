"""Small experiments for tests: configs over a corpus that the test makes, processes that run one, and what is left."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.config import experiment, spec
from jaxlab.errors import UserError

ROOT = Path(__file__).parents[1]
TRANSFORMER = str(ROOT / 'configs' / 'transformer.py')


def write_corpus(folder: Path, documents: int = 40, lines: int = 30) -> Path:
    """Writes small text files of made-up sentences, some in Chinese; the same each time."""
    choose = random.Random(0)
    words = ['the', 'a', 'cat', 'dog', 'sees', 'likes', 'runs', 'and', '猫', '狗', '看', '喜欢', '跑', '睡']
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(documents):
        sentences = [' '.join(choose.choices(words, k=8)) for _ in range(lines)]
        (folder / f'{n:02}.txt').write_text('\n'.join(sentences) + '\n', 'utf-8')
    return folder


def tiny(corpus: Path, **overrides: object) -> ConfigDict:
    """Returns configs/transformer.py:tiny over `corpus`; model__width=32 is model.width=32."""
    config, _ = config_text.load(f'{TRANSFORMER}:tiny')
    config.data.path = str(corpus)
    for key, value in overrides.items():
        *parents, last = key.split('__')
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return configs.check(config)


def transformer() -> ConfigDict:
    """Returns a config of a transformer, with every default but its width."""
    c = experiment()
    c.model = spec('models.gpt', width=64)
    c.task = spec('tasks.language_model')
    c.data = spec('data.text')
    c.optimizer = spec('optim.adamw')
    return c


def message(call: Callable[..., object], *arguments: object, **keywords: object) -> str:
    """Returns what the user reads, after a look at its form."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **keywords)
    text = str(caught.value)
    assert 1 <= len(text.splitlines()) <= 2, text
    return text


def write_run(
    workdir: Path,
    rows: Iterable[Mapping[str, float]],
    samples: Mapping[int, str] | None = None,
    runs: Iterable[Mapping[str, Any]] = (),
    **config: Any,
) -> Path:
    """Writes a workdir as a run leaves it: rows of metrics.jsonl, texts by step, objects of runs.json; config values
    are those of configs/transformer.py:tiny, but for `config` (model__width=32)."""
    (workdir / 'samples').mkdir(parents=True, exist_ok=True)
    (workdir / 'processor').mkdir(exist_ok=True)
    (workdir / 'config.json').write_text(config_text.to_json(tiny(workdir / 'corpus', **config)), 'utf-8')
    (workdir / 'metrics.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows), 'utf-8')
    about = {'fingerprint': 'f1' * 32, 'info': {'vocabulary': 257, 'length': 64}, 'batch': {}}
    (workdir / 'processor' / 'data.json').write_text(json.dumps(about), 'utf-8')
    for step, text in (samples or {}).items():
        (workdir / 'samples' / f'{step}.txt').write_text(text, 'utf-8')
    if runs:
        (workdir / 'runs.json').write_text(json.dumps(list(runs)), 'utf-8')
    return workdir


def start(*arguments: str, cache: Path, devices: int = 1, **variables: str) -> subprocess.Popen:
    """Starts `python -m jaxlab.main`, as a person would; stdout and stderr are one pipe of text."""
    environment = {
        **os.environ,
        'JAXLAB_CACHE': str(cache),
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
        'PYTHONUNBUFFERED': '1',
        **variables,
    }
    command = [sys.executable, '-m', 'jaxlab.main', *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def run(*arguments: str, cache: Path, devices: int = 1, **variables: str) -> tuple[int, str]:
    """Runs a command to its end; returns (exit code, all that it printed)."""
    process = start(*arguments, cache=cache, devices=devices, **variables)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def start_group(*arguments: str, cache: Path, processes: int, devices: int) -> subprocess.Popen:
    """Starts a command in a group of processes, with so many devices each; what they print comes in one stream."""
    return subprocess.Popen(
        [sys.executable, '-m', 'jaxlab.parallel.group', str(processes), f'--cpu_devices={devices}', *arguments],
        cwd=ROOT,
        env=os.environ | {'JAXLAB_CACHE': str(cache), 'PYTHONUNBUFFERED': '1'},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def start_two(program: str, *arguments: str, **variables: str) -> list[subprocess.Popen]:
    """Starts a program in two processes; each is given a free port, its number, and the arguments."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, '-c', program, str(port), str(number), *arguments],
            cwd=ROOT,
            env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': '', **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]


class Recorder:
    """An observer that remembers what it is told, and may do something at a row."""

    def __init__(self, at_row: Callable[[int], object] | None = None) -> None:
        self.rows: list[tuple[int, Mapping[str, float]]] = []
        self.samples: list[tuple[int, str]] = []
        self.went_back: list[int] = []
        self.at_row = at_row

    def start(self, run: Any) -> None:
        self.run = run

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self.rows.append((step, row))
        if self.at_row:
            self.at_row(step)

    def sample(self, step: int, text: str) -> None:
        self.samples.append((step, text))

    def back(self, step: int) -> None:
        self.went_back.append(step)

    def end(self, step: int) -> None:
        self.ended = step


def rows(workdir: Path) -> list[dict[str, float]]:
    """Returns the rows of metrics.jsonl, without what measures time."""
    file = workdir / 'metrics.jsonl'
    lines = file.read_text('utf-8').splitlines() if file.exists() else []
    return [{key: value for key, value in json.loads(line).items() if 'second' not in key} for line in lines]


def parameters(workdir: Path) -> bytes:
    """Returns all bits of the parameters of the newest checkpoint."""
    return b''.join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(jaxlab.load(workdir).params))


def other_batches(patch: pytest.MonkeyPatch, module: Any, change: Callable[[Callable[[int], Any], int], Any]) -> None:
    """Gives whoever in `module` makes data change(batch, n) in place of batch(n)."""
    make = module.make_data

    def make_data(*arguments: Any) -> tuple[Any, ConfigDict]:
        data, config = make(*arguments)
        return replace(data, batch=lambda n: change(data.batch, n)), config

    patch.setattr(module, 'make_data', make_data)
