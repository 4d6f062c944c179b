"""Small experiments for tests: configs over a corpus that the test makes, and a process that runs one."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.config import experiment, spec
from jaxlab.errors import UserError

ROOT = Path(__file__).parents[1]
TRANSFORMER = str(ROOT / 'configs' / 'transformer.py')


def write_corpus(folder: Path, documents: int = 40) -> Path:
    """Writes small text files of made-up sentences, some in Chinese; the same each time."""
    choose = random.Random(0)
    words = ['the', 'a', 'cat', 'dog', 'sees', 'likes', 'runs', 'and', '猫', '狗', '看', '喜欢', '跑', '睡']
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(documents):
        lines = [' '.join(choose.choices(words, k=8)) for _ in range(30)]
        (folder / f'{n:02}.txt').write_text('\n'.join(lines) + '\n', 'utf-8')
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
