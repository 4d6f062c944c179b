"""The cache is its owner's alone: what is found there is used, and its programs are run."""

import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import jaxlab.main
from jaxlab.data import cache
from tests.experiments import ROOT, message


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'some' / 'cache'))
    return tmp_path / 'some' / 'cache'


@pytest.fixture(params=[0o000, 0o022, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_closed_to_others_whatever_the_umask(home, umask):
    assert cache.room('compiled') == home / 'compiled'
    cache.cached(
        'tokens', 1, lambda folder: (folder / 'a').write_text('a'), lambda folder: folder if folder.exists() else None
    )
    for folder in (home.parent, home, home / 'compiled', home / 'tokens'):
        assert mode(folder) == 0o700, folder


def found(folder):
    return (folder / 'by').read_text() if folder.exists() else None


def test_what_another_completes_meanwhile_is_used(home):
    """Both find nothing; the other is done before this one begins."""
    looks = iter([lambda: cache.cached('tokens', 1, lambda folder: (folder / 'by').write_text('the other'), found)])

    def look(folder):
        for other in looks:
            assert other() == 'the other'
            return None
        return found(folder)

    assert cache.cached('tokens', 1, lambda folder: pytest.fail('built twice'), look) == 'the other'


def test_one_builds_and_the_other_waits(home, monkeypatch, capsys):
    monkeypatch.setattr(cache, 'PATIENCE', 0.0)
    begun, goes_on = threading.Event(), threading.Event()

    def build(folder):
        begun.set()
        assert goes_on.wait(60)
        (folder / 'by').write_text('the first')

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.cached, 'tokens', 1, build, found)
        assert begun.wait(60)
        second = pool.submit(cache.cached, 'tokens', 1, lambda folder: pytest.fail('built twice'), found)
        said, until = '', time.monotonic() + 60
        while 'waiting for another process' not in said and time.monotonic() < until and not second.done():
            said += capsys.readouterr().out
            time.sleep(0.01)
        goes_on.set()
        assert first.result(60) == second.result(60) == 'the first'
    assert 'waiting for another process' in said
    assert [entry.suffix for entry in sorted((home / 'tokens').iterdir())] == ['', '.lock']


def test_a_damaged_folder_is_made_anew(home, capsys):
    cache.cached('tokens', 1, lambda folder: (folder / 'by').write_text('damaged'), found)
    whole = lambda folder: by if (by := found(folder)) != 'damaged' else None  # noqa: E731
    assert cache.cached('tokens', 1, lambda folder: (folder / 'by').write_text('new'), whole) == 'new'
    assert 'is damaged, and is made anew' in capsys.readouterr().out


@pytest.mark.parametrize('before', [0o777, 0o775, 0o770, 0o707, 0o702, 0o755, 0o750, 0o700])
def test_what_others_could_have_written_is_made_anew(home, before, capsys):
    folder = cache.room('compiled')
    (folder / 'jit_step-0123-cache').write_text('a program')
    (folder / 'jit_step-0123-atime').write_text('')
    (folder / '0123456789abcdef').mkdir()
    (folder / 'diary.txt').write_text('not ours')
    folder.chmod(before)
    assert cache.room('compiled') == folder and mode(folder) == 0o700
    ours = {path.name for path in folder.iterdir()} - {'diary.txt'}
    assert ours == (set() if before & 0o022 else {'jit_step-0123-cache', 'jit_step-0123-atime', '0123456789abcdef'})
    assert (folder / 'diary.txt').exists()
    assert ('others could write' in capsys.readouterr().out) == bool(before & 0o022)


@pytest.mark.parametrize('linked', [False, True])
def test_another_users_is_refused(home, linked, monkeypatch, tmp_path):
    folder = cache.room('compiled')
    monkeypatch.setattr(os, 'getuid', lambda uid=os.getuid(): uid + 1)
    assert 'belongs to another user' in message(cache.room, 'compiled')
    monkeypatch.undo()
    monkeypatch.setenv('JAXLAB_CACHE', str(home))
    if linked and os.getuid() == 0:  # a link that another has laid, to a folder of ours
        folder.rename(tmp_path / 'ours')
        folder.symlink_to(tmp_path / 'ours')
        assert cache.room('compiled') == folder
        os.chown(folder, 12345, 12345, follow_symlinks=False)
        assert 'belongs to another user' in message(cache.room, 'compiled')


def test_a_folder_that_cannot_be_made(home, tmp_path):
    (tmp_path / 'some').write_text('a file')
    assert 'JAXLAB_CACHE' in message(cache.room, 'compiled')


def test_programs_are_kept_there_up_to_a_limit(home, monkeypatch):
    for variable in ('JAX_COMPILATION_CACHE_DIR', 'JAX_COMPILATION_CACHE_MAX_SIZE'):
        monkeypatch.setenv(variable, 'as it was')  # so that whatever comes of it is undone
        monkeypatch.delenv(variable)
    jaxlab.main.keep_programs()
    assert os.environ['JAX_COMPILATION_CACHE_DIR'] == str(home / 'compiled') and mode(home / 'compiled') == 0o700
    assert os.environ['JAX_COMPILATION_CACHE_MAX_SIZE'] == str(4 << 30)
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(home / 'mine'))
    monkeypatch.delenv('JAX_COMPILATION_CACHE_MAX_SIZE')
    jaxlab.main.keep_programs()
    assert 'JAX_COMPILATION_CACHE_MAX_SIZE' not in os.environ and not (home / 'mine').exists()


PROGRAM = """
import jaxlab.main
jaxlab.main.PROGRAMS = 30_000
jaxlab.main.keep_programs()
import jax
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
for size in range(1, 13):
    jax.jit(lambda x: x @ x + size)(jax.numpy.ones((size, size)))
"""


def test_what_was_not_used_for_longest_goes(home):
    """In a process of its own, since JAX reads its settings once."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith('JAX_COMPILATION_CACHE')}
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and 'rror' not in done.stderr, done.stderr
    kept = [path for path in (home / 'compiled').iterdir() if path.name.endswith('-cache')]
    assert kept and sum(path.stat().st_size for path in kept) <= 30_000
