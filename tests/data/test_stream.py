import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxlab.data.stream import prefetch
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


def test_closing_ends_the_threads():
    def workers():
        return [thread for thread in threading.enumerate() if 'prefetch' in thread.name]

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
