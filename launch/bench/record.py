"""Writes a measurement down with what one needs to repeat it: the command, the machine, the versions, the date."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / 'results'
os.environ['JAXLAB_LANG'] = 'en'  # what is on record, and what is read off the screen, is the same on every machine
LIBRARIES = (
    'jax',
    'jaxlib',
    'flax',
    'optax',
    'orbax-checkpoint',
    'grain',
    'tokenizers',
    'numpy',
    'torch',
    'transformers',
)


def write(name: str, result: Mapping[str, Any]) -> Path:
    """Writes `result` (JSON values) to results/`name`.json, in place of an earlier one; returns the file's path."""
    lines = {
        'command': shlex.join(['python', *sys.argv]),
        'date': datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M UTC'),
        'commit': commit(),
        'machine': machine(),
        'versions': versions(),
        'result': result,
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f'{name}.json'
    path.write_text(json.dumps(lines, indent=2, ensure_ascii=False) + '\n')
    return path


def machine() -> dict[str, Any]:
    processor = platform.processor()
    if Path('/proc/cpuinfo').exists():
        named = [line for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
        processor = named[0].split(':')[1].strip() if named else processor
    try:
        cores = len(os.sched_getaffinity(0))  # those that this process may use
    except AttributeError:  # macOS
        cores = os.cpu_count() or 0
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return {
        'processor': processor or platform.machine(),
        'cores': cores,
        'memory_gib': round(memory / 2**30),
        'system': f'{platform.system()} {platform.machine()}',
        'load': round(os.getloadavg()[0], 1),  # of the last minute, this measurement included: others make times longer
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of those LIBRARIES that are installed; imports none of them."""
    found = {'python': platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Returns the commit of the clone, with a + where files differ from it; '' outside of a clone."""
    git = ['git', '-C', str(Path(__file__).parent), 'describe', '--always', '--dirty=+', '--abbrev=8']
    try:
        return subprocess.run(git, text=True, capture_output=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''
