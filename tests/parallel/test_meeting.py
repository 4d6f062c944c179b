"""Where a step compiles for longer in one process than in another, they still begin it together."""

import pytest

from tests.experiments import start_two, write_corpus

PROGRAM = """
import sys
import time
from pathlib import Path

import jax

port, number, corpus, workdir = sys.argv[1:]
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(f'localhost:{port}', 2, int(number))

from jaxlab import train as loop
from tests.experiments import tiny

compile_step = loop.compile_step


def slow(*arguments):
    found = compile_step(*arguments)
    time.sleep(40 * int(number))
    return found


loop.compile_step = slow
quiet = {'log__sample_every': 0, 'evaluate__every': 0, 'checkpoint__every': 1000}
config = tiny(Path(corpus), steps=2, steps_per_call=1, model__layers=1, mesh__data=2, mesh__fsdp=2, **quiet)
print('ended with', loop.train(config, Path(workdir), []), flush=True)
"""


@pytest.mark.slow
def test_processes_begin_together(tmp_path):
    """Groups of devices are connected when they first compute together; of two axes there are more than one."""
    corpus, cache = write_corpus(tmp_path / 'corpus'), tmp_path / 'cache'
    variables = {'JAXLAB_CACHE': str(cache), 'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}
    running = start_two(PROGRAM, str(corpus), str(tmp_path / 'run'), **variables)
    for process in running:
        out, errors = process.communicate(timeout=200)
        assert out.splitlines()[-1] == 'ended with 0', out + errors
