"""What all tests share: eight simulated devices, compiled programs kept from run to run, processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / '.pytest_cache/programs'

# Before anything imports JAX. Compiling takes most of the time of a test, so it is not asked for the fastest program,
# and programs are kept. One is found again by its own text and every setting, so new code never meets an old program.
FLAGS = ['--xla_force_host_platform_device_count=8', '--xla_backend_optimization_level=0']
if version('jaxlib') < '0.11':  # which ends at a flag that it does not know
    FLAGS += ['--xla_cpu_use_fusion_emitters=false']  # the older ones make a program in half the time
FLAGS += ['--xla_cpu_enable_concurrency_optimized_scheduler=false']  # see SIMULATED in jaxlab/parallel/flags.py
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['JAXLAB_LANG'] = 'en'  # whatever the locale of the machine
os.environ['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *FLAGS])
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(PROGRAMS))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')

import jax  # noqa: E402
import pytest  # noqa: E402


def pytest_sessionstart() -> None:
    """Forgets compiled programs that are a week old."""
    for program in PROGRAMS.glob('*'):
        if program.stat().st_mtime < time.time() - 7 * 24 * 3600:
            program.unlink(missing_ok=True)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Small texts, and a cache of what is made of them, for the tests of one file."""
    from tests.experiments import write_corpus

    folder = tmp_path_factory.mktemp('texts')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        yield write_corpus(folder / 'corpus')


@pytest.fixture(autouse=True)
def the_same_precision() -> Iterator[None]:
    """A config that asks for float64 switches JAX to 64 bits for good; here, until its test ends."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update('jax_enable_x64', before)


@pytest.fixture
def float64() -> Iterator[None]:
    """64-bit arithmetic for one test: what is only rounded differently agrees to 1e-12, what is wrong does not."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope='session')
def fresh() -> Callable[..., subprocess.CompletedProcess[str]]:
    """fresh('-m', 'jaxlab.main', '--help') runs Python with these arguments in a process of its own, in the clone."""

    def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        environment = os.environ | {'PYTHONPATH': str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The names of the programs that are compiled meanwhile; the small ones that make a random key do not count."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    names: list[str] = []

    def listen(event: str, seconds: float, fun_name: str = '', **_: object) -> None:
        small = ('jit(stage)', 'jit(_threefry_seed)')
        if event == '/jax/core/compile/backend_compile_duration' and fun_name not in small:
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)
