"""runs.json: what happened in a workdir, one object for each time that training was started in it.

Nothing here is needed to go on; it is what a reader asks of a result: which command, which code, which machine, and
where the time went.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import jaxlab
from jaxlab.config import leaves
from jaxlab.observers import Run, Sample
from jaxlab.trust import faults, place, secrets
from jaxlab.trust.writes import Optional

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy', 'ml-collections')
PLUGINS = ('jax-cuda12-plugin', 'jax-cuda13-plugin', 'libtpu')  # said only where they are installed
VARIABLES = ('JAX_', 'XLA_', 'LIBTPU_', 'NVIDIA_TF32', 'CUDA_VISIBLE', 'JAXLAB_CACHE')  # what changes a computation


class History:
    """Adds an object to runs.json when training starts, and brings it up to date at evaluations and at the end.

    Args:
      config_file: what --config named, 'configs/transformer.py:tiny'; '' where the workdir's own config went on.
      written: the config as it stands there, before any flag; differences from it are on record.
    """

    def __init__(self, config_file: str = '', written: ConfigDict | None = None) -> None:
        self._config_file, self._written = config_file, written
        self._optional = Optional()

    def start(self, run: Run) -> None:
        self._file, self._ledger = run.workdir / 'runs.json', run.ledger
        changed = {} if self._written is None else changes(self._written, run.config)
        self._about: dict[str, Any] = {
            'started': now(),
            'from_step': run.start,
            'step': run.start,
            'ended': '',
            'config_file': self._config_file,
            'changed': changed,
            'python': interpreter(),
            'versions': versions(),
            'commit': commit(),
            'devices': run.devices,
            'device_kind': jax.devices()[0].device_kind,
            'processes': jax.process_count(),
            'machine': machine(),
            'variables': secrets.variables(VARIABLES),
            'data': run.data,
            'evaluation': run.evaluation,
            'parameters': sum(row['count'] for row in run.layout),
            'seconds': {},
        }
        self._about = secrets.without_secrets(self._about)
        try:
            self._before = list(json.loads(self._file.read_text('utf-8')))
        except (OSError, ValueError, TypeError):  # none yet, or damaged: what comes is recorded all the same
            self._before = []
        for about in self._before:
            if isinstance(about, dict) and about.get('step', 0) > run.start:
                about['step'] = run.start  # what it made after that is made again
        self._write()

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self._about['step'] = step
        if any(name.startswith('eval/') for name in row):
            self._write()

    def sample(self, step: int, sample: Sample) -> None:
        pass

    def back(self, step: int) -> None:
        self._about.setdefault('back', []).append([self._about['step'], step])  # [[from, to], …]
        self._about['step'] = step
        self._write()

    def end(self, step: int) -> None:
        self._about |= {'step': step, 'ended': now()}
        self._write()

    def _write(self) -> None:
        self._about['seconds'] = {kind: round(seconds, 3) for kind, seconds in self._ledger.seconds().items()}
        with self._optional.writing(self._file):
            faults.reach('history', self._about['step'])
            place.write(self._file, json.dumps([*self._before, self._about], indent=1, ensure_ascii=False) + '\n')


def changes(old: ConfigDict, new: ConfigDict) -> dict[str, list[Any]]:
    """Returns {'model.width': [256, 384], …} for the leaves in which two configs differ; None where one has none."""
    before, after = leaves(old), leaves(new)
    return {key: [before.get(key), after.get(key)] for key in {**before, **after} if before.get(key) != after.get(key)}


def now() -> str:
    return time.strftime('%Y-%m-%dT%H:%M:%S%z')


def interpreter() -> str:
    """Returns how a person in this folder would call the Python that runs."""
    inside = bool(sys.executable) and Path(sys.executable).is_relative_to(Path.cwd())
    return os.path.relpath(sys.executable) if inside else sys.executable or 'python'


def versions() -> dict[str, str]:
    found = {'jaxlab': jaxlab.__version__, 'python': platform.python_version()}
    for package in PACKAGES + PLUGINS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Returns the commit of the clone that this code lies in, with '-dirty' where files differ; '' where there is
    none."""
    clone = Path(jaxlab.__file__).parents[1]
    if not (clone / '.git').exists():
        return ''
    command = ['git', '-C', str(clone), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''


def machine() -> dict[str, Any]:
    """Returns what kind of machine this is, and not which one: {'system', 'processor', 'cores', 'memory'} (bytes)."""
    try:
        lines = Path('/proc/cpuinfo').read_text('utf-8').splitlines()
        processor = next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '')
    except OSError:
        processor = ''
    try:
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, ValueError, OSError):
        memory, cores = 0, os.cpu_count() or 0
    return {
        'system': platform.platform(terse=True),
        'processor': processor or platform.processor() or platform.machine(),
        'cores': cores,
        'memory': memory,
    }
