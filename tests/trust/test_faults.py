"""Faults strike where and when they are told to, and every point that has a name lies somewhere."""

import ast
import errno
import os
import signal
from collections import Counter

import pytest

from jaxlab.trust import faults
from tests.experiments import ROOT, message

HOUSE = ROOT / 'jaxlab'


def reached(sources):
    """Returns how often each point is reached in the code: {'save_start': 1, …}."""
    calls = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return Counter(call.args[0].value for call in calls if ast.unparse(call.func) == 'faults.reach')


def test_every_point_lies_somewhere():
    sources = [file.read_text('utf-8') for file in HOUSE.rglob('*.py')]
    assert reached(sources) == dict.fromkeys(faults.POINTS, 1)
    assert reached([*sources, "faults.reach('nowhere', 3)"]) != dict.fromkeys(faults.POINTS, 1)
    assert reached(sources[:1]) != dict.fromkeys(faults.POINTS, 1)


def test_a_fault_strikes_at_its_point_and_step_only():
    faults.reach('step', 3)
    with faults.fail_at('step', 3, 'enospc'):
        faults.reach('step', 2)
        faults.reach('evaluate', 3)
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                faults.reach('step', 3)
            assert caught.value.errno == errno.ENOSPC
        with faults.fail_at('evaluate', kind='erofs'), pytest.raises(OSError, match='Read-only'):
            faults.reach('evaluate', 99)
        faults.reach('evaluate', 99)
    faults.reach('step', 3)


@pytest.mark.parametrize('kind, number', [('kill', signal.SIGKILL), ('sigterm', signal.SIGTERM)])
def test_signals(kind, number, monkeypatch):
    sent = []
    monkeypatch.setattr(os, 'kill', lambda process, number: sent.append((process, number)))
    with faults.fail_at('step', 3, kind):
        faults.reach('step', 3)
    assert sent == [(os.getpid(), number)]


def test_another_process_is_told_by_a_variable(fresh, monkeypatch):
    found = faults.read('save_start:20:enospc,step:*:kill')
    assert [(fault.point, fault.step, fault.kind) for fault in found] == [
        ('save_start', 20, 'enospc'),
        ('step', faults.ANY, 'kill'),
    ]
    monkeypatch.setenv('JAXLAB_FAIL_AT', 'step:2:kill')
    program = 'from jaxlab.trust import faults\nfor n in range(4): print(n, flush=True); faults.reach("step", n)'
    done = fresh('-c', program)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ['0', '1', '2'])


@pytest.mark.parametrize(
    'text', ['step', 'step:3', 'step:3:kill:4', 'step:x:kill', 'step:-3:kill', 'stop:3:kill', 'step:3:kil']
)
def test_a_fault_that_is_none(text):
    found = message(faults.read, text)
    assert 'point:step:kind' in found or 'there are' in found
