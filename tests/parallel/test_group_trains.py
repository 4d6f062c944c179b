"""Two processes train as one does: the same losses; one is killed, all end, and the same command goes on."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.experiments import TRANSFORMER, rows, run, start_group, write_corpus

FLAGS = {
    'steps': 40,
    'steps_per_call': 1,
    'model.layers': 1,
    'model.width': 32,
    'precision.compute': 'float64',
    'precision.parameters': 'float64',
    'optimizer.name': 'momentum',  # Adam makes steps of what is zero but for rounding: gradients of biases of keys
    'optimizer.schedule.name': 'constant',  # rates are float32, and a cosine is rounded as each program likes
    'log.every': 1,
    'log.sample_every': 20,
    'log.sample_tokens': 8,
    'evaluate.every': 20,
    'checkpoint.every': 10,
}


def flags(place, name):
    own = [f'--config.{key}={value}' for key, value in FLAGS.items()]
    data = f'--config.data.path={place / "corpus"}'
    return [f'--config={TRANSFORMER}:tiny', data, *own, f'--workdir={place / name}']


def start_pair(place, name):
    """Starts two processes with four devices each."""
    return start_group(*flags(place, name), cache=place / 'cache', processes=2, devices=4)


def member(group, process):
    """Returns the number, to the system, of a process of the group."""
    for folder in Path('/proc').iterdir():
        if folder.name.isdecimal():
            try:
                parent = (folder / 'stat').read_text().rpartition(')')[2].split()[1]
                variables = (folder / 'environ').read_bytes().split(b'\0')
            except OSError:
                continue
            if parent == str(group.pid) and f'JAXLAB_PROCESS={process}'.encode() in variables:
                return int(folder.name)
    raise AssertionError('it is not there')


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='looks for processes in /proc')
def test_two_processes_train_as_one(tmp_path):
    write_corpus(tmp_path / 'corpus')
    code, out = run(*flags(tmp_path, 'one'), cache=tmp_path / 'cache', devices=8)
    assert code == 0, out

    group = start_pair(tmp_path, 'two')
    before = ''
    for line in group.stdout:
        before += line
        if line.startswith('step 25 '):  # the save at 20 has waited for that at 10
            os.kill(member(group, 1), signal.SIGKILL)
            since = time.monotonic()
            break
    else:
        pytest.fail(before)
    out, _ = group.communicate(timeout=120)
    assert time.monotonic() - since < 15
    assert group.returncode == 137, before + out
    assert out.count('jaxlab: ') == 1 and 'process 1 of 2 was ended by SIGKILL, and so all end' in out, out
    assert 'Traceback' not in out and 'stack trace' not in out

    group = start_pair(tmp_path, 'two')
    out, _ = group.communicate(timeout=300)
    assert group.returncode == 0 and re.search(r'^resumed at step (10|20)$', out, re.MULTILINE), out
    assert len(re.findall('^step 40 ', out, re.MULTILINE)) == 2  # a row and an evaluation: one process has the screen

    one, two = rows(tmp_path / 'one'), rows(tmp_path / 'two')
    assert len(one) == 42 and [row.keys() for row in one] == [row.keys() for row in two]
    for single, double in zip(one, two):
        for key in (
            key for key in single if key.startswith(('train/loss', 'train/gradient', 'eval/')) or key == 'step'
        ):
            assert double[key] == pytest.approx(single[key], rel=1e-11), (key, single['step'])
    for name in ('20.txt', '40.txt'):
        texts = [(tmp_path / run / 'samples' / name).read_text('utf-8') for run in ('one', 'two')]
        assert texts[0] == texts[1] and len(texts[0]) > len('def')
