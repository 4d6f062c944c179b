"""Processes that are started together end together; the first signal is handed on, the second ends all."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxlab.parallel import group
from tests.experiments import ROOT, message

# What stands in for jaxlab.main: each process does what its number says.
CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
me = int(os.environ['JAXLAB_PROCESS'])
print('child', me, flush=True)
what = sys.argv[1].split(',')[me]
if what.startswith('exit'):
    time.sleep(0.5)
    print('last words', flush=True)
    sys.exit(int(what[4:]))
if what == 'kill':
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""
PROGRAM = """
import sys, tempfile
from pathlib import Path
from jaxlab.parallel import group
group.GRACE = 1.5
variables = [group.variables_of(n, 2, 4, 1) for n in range(2)]
with tempfile.TemporaryDirectory() as folder:
    sys.exit(group.Group([sys.executable, '-c', sys.argv[1], sys.argv[2]], variables, Path(folder)).run())
"""


def start(what):
    return subprocess.Popen(
        [sys.executable, '-c', PROGRAM, CHILD, what],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ('what', 'code', 'said'),
    [
        ('exit0,exit0', 0, ''),
        ('wait,kill', 137, 'process 1 of 2 was ended by SIGKILL, and so all end.'),
        ('kill,wait', 137, 'process 0 of 2 was ended by SIGKILL, and so all end.'),
        ('wait,exit2', 2, 'process 1 of 2 ended with code 2, and so all end. It said:\nchild 1\nlast words'),
        ('exit2,wait', 2, ''),  # it has the screen, and has said why
        ('exit143,exit143', 143, ''),
    ],
)
def test_all_end_where_one_does(what, code, said):
    since = time.monotonic()
    running = start(what)
    out, errors = running.communicate(timeout=50)
    assert time.monotonic() - since < 40  # and none of them had its minute
    assert running.returncode == code, errors
    assert said in errors and (said or not errors) and errors.count('jaxlab: ') == bool(said)
    assert 'child 0' in out and 'child 1' not in out  # one has the screen


@pytest.mark.parametrize(('signals', 'code'), [((signal.SIGINT,), 143), ((signal.SIGTERM, signal.SIGINT), 143)])
def test_signals(signals, code):
    running = start('wait,wait')
    assert running.stdout.readline() == 'child 0\n'
    time.sleep(1)
    for number in signals:
        running.send_signal(number)
        time.sleep(0.3)
    if len(signals) == 1:  # process 0 has ended; JAX would have told the other, and here nobody does
        running.send_signal(signal.SIGTERM)
    out, errors = running.communicate(timeout=30)
    assert 'saving, then ending; once more ends at once' in out and out.count('saving') == 1 and errors == ''
    assert running.returncode in (code, 128 + signals[0])


def test_what_it_would_start(capsys):
    assert group.main(['2', '--cpu_devices=4', '--dry_run', '--config=configs/mlp.py']) == 0
    one, two = capsys.readouterr().out.splitlines()
    assert 'JAXLAB_PROCESS=0' in one and 'JAXLAB_PROCESS=1' in two and 'JAXLAB_DEVICES=8' in one
    assert one.replace('JAXLAB_PROCESS=0', 'JAXLAB_PROCESS=1') == two
    assert one.endswith('-m jaxlab.main --config=configs/mlp.py')


@pytest.mark.parametrize('arguments', [[], ['two'], ['0'], ['--config=a.py', '2'], ['2', 'evaluate']])
def test_what_cannot_be_started_is_refused(arguments):
    assert 'launch/cluster.sh' in message(group.main, arguments)
