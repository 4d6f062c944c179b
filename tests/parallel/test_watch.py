"""Where one of three processes is gone, all end, and one sentence says why. Without JAX: connections alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxlab.parallel.watch import AGAIN
from tests.experiments import ROOT

PROGRAM = """
import os, sys, time
from pathlib import Path
from jaxlab.errors import UserError
from jaxlab.parallel import watch

watch.BROKEN = 2.0
process, folder, mutant = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if mutant:
    watch.Watch._lost = lambda *_: None
if process == 0:
    made = watch.Watch.of_first(3, 'localhost')
    (folder / 'new').write_text(made.address)
    (folder / 'new').rename(folder / 'address')
else:
    while not (folder / 'address').exists():
        time.sleep(0.05)
    made = watch.Watch.of_other(process, 3, (folder / 'address').read_text())
with made:
    print('here', flush=True)
    match sys.stdin.readline().strip():
        case 'wrong':
            raise UserError('{what} is wrong.', what='something')
        case 'broken':
            raise ValueError('a mistake of ours')
print('done', flush=True)
"""


@pytest.fixture
def three(tmp_path):
    """Starts three processes, and waits until all are connected."""
    started = []

    def start(mutant=''):
        for process in range(3):
            started.append(
                subprocess.Popen(
                    [sys.executable, '-c', PROGRAM, str(process), str(tmp_path), mutant],
                    env=os.environ | {'PYTHONPATH': str(ROOT)},
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        for process in started:
            assert process.stdout.readline() == 'here\n'
        time.sleep(0.5)  # process 0 has heard who they are
        return started

    yield start
    for process in started:
        process.kill()
        process.communicate()


def tell(process, word):
    process.stdin.write(f'{word}\n')
    process.stdin.flush()


def ends(processes):
    """Returns exit codes and what each has said."""
    codes = [process.wait(60) for process in processes]
    return codes, [process.stderr.read() for process in processes]


@pytest.mark.parametrize('gone', [0, 1, 2])
def test_one_is_killed(three, gone):
    processes = three()
    processes[gone].kill()
    since = time.monotonic()
    codes, said = ends(processes)
    assert time.monotonic() - since < 15
    assert codes == [-signal.SIGKILL if process == gone else AGAIN for process in range(3)]
    assert ''.join(said).count('\n') == 1 and f'process {gone} of 3 on ' in said[0 if gone else 1]
    assert 'is gone, and so all end' in ''.join(said)


@pytest.mark.parametrize('wrong', [0, 2])
def test_one_ends_by_itself_and_says_why(three, wrong):
    processes = three()
    tell(processes[wrong], 'wrong')
    codes, said = ends(processes)
    assert codes == [2, 2, 2]
    assert said[1:] == ['', ''] and said[0].endswith('something is wrong.\n') and said[0].count('\n') == 1


def test_all_say_the_same_once(three):
    processes = three()
    for process in processes:
        tell(process, 'wrong')
    codes, said = ends(processes)
    assert codes == [2, 2, 2] and said == ['jaxlab: something is wrong.\n', '', '']


def test_a_mistake_of_ours_has_its_traceback(three):
    processes = three()
    tell(processes[1], 'broken')
    codes, said = ends(processes)
    assert codes == [1, 1, 1]
    assert 'Traceback' in said[1] and said[0].count('\n') == 1 and 'ValueError: a mistake of ours' in said[0]


def test_what_fails_since_another_is_gone_is_not_told(three):
    """All that compute together fail when one is killed: the sentence is of the one."""
    processes = three()
    processes[2].kill()
    for process in processes[:2]:
        tell(process, 'broken')
    codes, said = ends(processes)
    assert codes[:2] == [AGAIN, AGAIN]
    assert said[1] == '' and said[0].count('\n') == 1 and 'process 2 of 3' in said[0]


def test_those_that_are_done_are_not_missed(three):
    processes = three()
    for process in reversed(processes):
        tell(process, '')
        time.sleep(0.5)
    assert ends(processes) == ([0, 0, 0], ['', '', ''])


def test_a_process_that_is_only_stopped_is_not_gone(three):
    processes = three()
    processes[1].send_signal(signal.SIGSTOP)
    time.sleep(3)
    assert [process.poll() for process in processes] == [None] * 3
    processes[1].send_signal(signal.SIGCONT)
    for process in processes:
        tell(process, '')
    assert ends(processes)[0] == [0, 0, 0]


def test_a_watch_that_sees_nothing_is_noticed(three):
    processes = three('blind')
    processes[1].kill()
    time.sleep(3)
    assert processes[0].poll() is None and processes[2].poll() is None
