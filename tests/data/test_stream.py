import dataclasses
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest

from jaxlab import calls
from jaxlab.data.stream import Data, ReaderError, prefetch
from jaxlab.errors import UserError


def test_batches_come_in_order_even_if_threads_finish_out_of_order():
    def batch(n):
        time.sleep(0.01 * (n % 3))
        return {'n': np.array(n)}

    assert [int(b['n']) for b in prefetch(batch, 5, 9, threads=3, ahead=4)] == list(range(5, 14))


def test_an_exception_of_a_worker_surfaces_in_place_of_its_batch():
    def batch(n):
        if n == 3:
            raise UserError('bad record')
        return {'n': np.array(n)}

    batches = prefetch(batch, 0, 10)
    assert [int(next(batches)['n']) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match='bad record'):
        next(batches)


class Deadly(BaseException):
    """Not even an Exception."""


def dies_at(n, error):
    def the_reader(number):
        if number == n:
            raise error
        return {'n': np.array(number)}

    return the_reader


# StopIteration would end the stream as if there were no more, SystemExit the process as if all were well.
@pytest.mark.parametrize(
    'error', [ValueError('v'), StopIteration(), SystemExit(0), MemoryError(), KeyboardInterrupt(), Deadly()], ids=repr
)
def test_a_dead_reader_is_reported_in_the_place_of_its_batch_with_its_own_traceback(error):
    batches = prefetch(dies_at(6, error), 3, 10)
    assert [int(next(batches)['n']) for _ in range(3)] == [3, 4, 5]
    since = time.monotonic()
    with pytest.raises(ReaderError, match='batch 6 of this stream') as caught:
        next(batches)
    assert time.monotonic() - since < 10
    assert caught.value.__cause__ is error
    assert 'the_reader' in ''.join(traceback.format_exception(caught.value))


@pytest.mark.parametrize('error', [SystemExit(0), UserError('bad record')], ids=repr)
def test_a_reader_that_dies_while_the_loop_is_busy_is_reported_meanwhile(error, capfd):
    batches = prefetch(dies_at(3, error), 0, 10)
    next(batches)
    found, deadline = '', time.monotonic() + 10
    while 'the run ends there' not in found and time.monotonic() < deadline:  # a long step
        time.sleep(0.01)
        found += capfd.readouterr().err
    assert found.count('warning: batch 3 of this stream cannot be built') == 1
    assert ('the_reader' in found) == isinstance(error, SystemExit), 'a mistake of the user wants no traceback'
    assert [int(next(batches)['n']) for _ in range(2)] == [1, 2], 'what came before it is trained on'
    with pytest.raises((ReaderError, UserError)):
        next(batches)


def test_a_batch_that_is_none_is_not_left_out():
    batches = prefetch(lambda n: None if n == 2 else {'n': np.array(n)}, 0, 4)
    assert [int(next(batches)['n']) for _ in range(2)] == [0, 1]
    with pytest.raises(ReaderError, match='batch 2'):
        next(batches)


@pytest.mark.parametrize('most', [1, 3])
def test_a_dead_reader_says_the_step_whose_batch_it_was(most):
    ends = calls.ends(100, 120, most, ())
    batches = prefetch(calls.batches(dies_at(107, OSError(5, 'Input/output error')), 100, ends, most), 0, len(ends))
    with pytest.raises(ReaderError) as caught:
        list(batches)
    assert 'while the batch of step 108 was read' in ''.join(traceback.format_exception(caught.value))


def test_what_is_told_of_records_that_could_not_be_read():
    data = Data(lambda n: {}, {}, {}, None, '', '', 1.0)
    assert data.row(7) == {}
    assert dataclasses.replace(data, skipped=lambda n: n // 2).row(7) == {'data/skipped': 3.0}


def test_closing_ends_the_threads():
    before = set(threading.enumerate())  # another test may have left some

    def workers():
        return [thread for thread in threading.enumerate() if 'prefetch' in thread.name and thread not in before]

    batches = prefetch(lambda n: {'n': np.array(n)}, 0, 10**12)
    next(batches)
    assert workers()
    batches.close()
    deadline = time.time() + 5
    while workers() and time.time() < deadline:
        time.sleep(0.01)
    assert not workers()


def test_slow_imports_wait_for_their_first_use():
    program = (
        "import jaxlab.data.text, sys; sys.exit(str({'grain', 'jax', 'tensorflow', 'torch'} & {*sys.modules} or ''))"
    )
    assert subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stderr.strip() == ''
