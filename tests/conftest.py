"""What all tests share: eight simulated devices, compiled programs kept from one run to the next, processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / '.pytest_cache/programs'

# Before anything imports JAX; processes that tests start inherit it.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
# Compiling takes most of the time of a test. A program is found again by its own text and that of every setting, so a change of
# the code never meets an old one.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(PROGRAMS))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

import jax
import pytest


def pytest_sessionstart() -> None:
    """Forgets compiled programs that are a week old."""
    for program in PROGRAMS.glob('*'):
        if program.stat().st_mtime < time.time() - 7 * 24 * 3600:
            program.unlink(missing_ok=True)


@pytest.fixture
def float64() -> Iterator[None]:
    """64-bit arithmetic for one test: what is merely rounded differently then agrees to 1e-12, and what is wrong does not."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope='session')
def fresh() -> Callable[..., subprocess.CompletedProcess[str]]:
    """fresh('-m', 'jaxlab.main', '--help'): runs Python with these arguments in a process of its own, from the root of the clone."""

    def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        environment = os.environ | {'PYTHONPATH': str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)

    return run
