"""Freed memory stays with the process: seen by counting the pages that the kernel has to bring again."""

import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from jaxlab.allocator import keep_freed_memory
kept = sys.argv[1] == 'keep' and keep_freed_memory()
for _ in range(3):
    np.ones(25_000_000)  # 200 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones(25_000_000)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='mallopt is glibc’s')
def test_memory_is_taken_again_without_a_page_fault(fresh):
    kept, faults = fresh('-c', PROGRAM, 'keep').stdout.split()
    if kept == 'False':
        pytest.skip('this C library has no mallopt')
    _, without = fresh('-c', PROGRAM, 'leave').stdout.split()
    assert int(faults) < 100 < int(without)
