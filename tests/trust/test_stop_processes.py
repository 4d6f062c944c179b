"""One of two processes is told to end: both save the same step, and go on later as if nothing had been."""

import signal

import pytest

from jaxlab.trust import manifest
from tests.experiments import rows, start_two, write_corpus

PROGRAM = """
import sys
from pathlib import Path

import jax

port, number, corpus, workdir = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{port}', 2, int(number))

from jaxlab import train as loop
from jaxlab.observers.tracker import Tracker
from tests.experiments import Recorder, tiny


class Say(Recorder):
    def start(self, run):
        print('resumed at', run.start, flush=True)

    def row(self, step, row):
        print('step', step, flush=True)


quiet = {'log__every': 1, 'log__sample_every': 0, 'evaluate__every': 30, 'checkpoint__every': 1000}
config = tiny(Path(corpus), steps=120, steps_per_call=1, model__layers=1, model__width=32, **quiet)
code = loop.train(config, Path(workdir), [Tracker(), Say()] if number == '0' else [])
print('ended with', code, flush=True)
"""


def both(place, workdir, signal_to=None):
    """Runs two processes to their end; a signal goes to one of them on the way. Returns what each printed."""
    running = start_two(PROGRAM, str(place / 'corpus'), str(workdir), JAXLAB_CACHE=str(place / 'cache'))
    first = ''
    for line in running[0].stdout:
        first += line
        if line == 'step 20\n' and signal_to is not None:
            running[signal_to[0]].send_signal(signal_to[1])
    second, errors = running[1].communicate(timeout=120)
    _, errors_of_first = running[0].communicate(timeout=60)
    for process, why in zip(running, (errors_of_first, errors), strict=True):
        print('exit code', process.returncode, why[-2000:])  # shown where a test fails
    return [first, second]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    write_corpus(folder / 'corpus')
    found = both(folder, folder / 'unbroken')
    assert [out.splitlines()[-1] for out in found] == ['ended with 0'] * 2, found
    return folder


@pytest.mark.parametrize('number, which', [(1, signal.SIGTERM), (0, signal.SIGINT)])
def test_one_signal_ends_both_at_one_step(place, number, which):
    workdir = place / f'stopped_{number}'
    found = both(place, workdir, (number, which))
    assert [out.splitlines()[-1] for out in found] == [f'ended with {int(signal.SIGTERM)}'] * 2, found
    step = manifest.steps(workdir / 'checkpoints')[-1]  # the best one may lie beside it
    assert 20 <= step < 120 and not manifest.damage(workdir / 'checkpoints' / str(step), step)
    if which == signal.SIGTERM:
        found = both(place, workdir)
        assert f'resumed at {step}\n' in found[0] and found[0].endswith('ended with 0\n'), found[0]
        assert rows(workdir) == rows(place / 'unbroken')
