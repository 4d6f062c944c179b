"""What data cost: the time of a training step with the real pipeline, over that with one batch again and again.

  python launch/bench/pipeline.py                                 mlp, cnn and resnet on the digits: two cores
  python launch/bench/pipeline.py --configs=configs/cnn.py:mnist  others, such as those of prepared data (TFDS_DATA_DIR)
  python launch/bench/pipeline.py --name=gpt --configs=configs/transformer.py    a GPT: at most 1.02 × is wanted
  … --configs=configs/transformer.py:gpt2 --config.data.processor.path=gpt2_vocabulary/ --config.batch_size=16  on a GPU
  python launch/bench/pipeline.py --profile                       how long a batch takes to make, and which part of it

Both sides run the loop of `jaxlab.train`: its step, its threads that work ahead, its placing. One side's batches are
read, shuffled and transformed, as the config says; the other's are all the first one. Each side has a process of its
own, and they take turns.
"""

import argparse
import cProfile
import io
import os
import pstats
import time
from collections.abc import Callable
from typing import Any

import jax
import record
import rounds
from ml_collections import ConfigDict

from jaxlab import blueprint, calls
from jaxlab.allocator import keep_freed_memory
from jaxlab.config_text import load, override
from jaxlab.data.stream import Batch, prefetch
from jaxlab.experiment import make_data, make_task
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

CONSTANT, REAL = 'one batch', 'pipeline'
DIGITS = ('configs/mlp.py', 'configs/cnn.py', 'configs/resnet.py')
PREPARED = ('configs/mlp.py:mnist', 'configs/cnn.py:mnist')  # where TFDS_DATA_DIR says where they are
WANTED, OF_TEXTS = 1.1, 1.02  # at most, of the time with one batch
SECONDS = 1.0  # of a round, about


def config_of(path: str, overrides: list[str]) -> ConfigDict:
    """Returns a config, with what flags such as --config.batch_size=16 say."""
    pairs = [flag.removeprefix('--config.').partition('=') for flag in overrides]
    return override(load(path)[0], [(key, value) for key, _, value in pairs])


def make(path: str, side: str, steps: int, overrides: list[str]) -> tuple[Callable[[], float], dict[str, Any]]:
    """Returns a run of some steps, which times itself from the second call on, and what there is to say of it.

    Args:
      path: of a config.
      side: whose batches.
      steps: in a round; 0: as many as take about a second.
      overrides: of the config, as flags.
    """
    config = config_of(path, overrides)
    config.mesh.data = 1
    mesh = make_mesh(config.mesh)
    data, config = make_data(config, mesh)
    first = data.batch(0)
    batch: Callable[[int], Batch] = data.batch if side == REAL else lambda n: first
    most = config.steps_per_call
    with jax.set_mesh(mesh):
        task = make_task(config, data.info)
        plan = blueprint.draw(config, task, layout.global_shapes(first, config.batch_size), mesh)
        step = blueprint.compile_step(plan.call, plan.arguments, mesh)
        state = plan.born()
    done = 0

    def train(count: int) -> float:
        """Trains as `jaxlab.train` does; returns seconds, without those until the threads have begun."""
        nonlocal state, done
        ends = calls.ends(done, done + count, most, ())
        before = None
        for call, mine in enumerate(prefetch(calls.batches(batch, done, ends, most), 0, len(ends))):
            state, terms = step(state, {}, layout.place(mine, plan.given_shardings))
            if before is not None:
                jax.block_until_ready(before)  # the host is one call ahead, as in jaxlab.train
            if call == 0:
                jax.block_until_ready(terms)
                start = time.perf_counter()
            before = terms
        jax.block_until_ready(before)
        done += count
        return time.perf_counter() - start

    train(2 * most)
    if not steps:
        taken = train(11 * most) / (10 * most)
        steps = most * max(round(SECONDS / taken / most), 10)
    texts = 'tokens' in first
    said = {'steps': steps, 'steps_per_call': most, 'device': jax.devices()[0].device_kind, 'changed': overrides}
    return lambda: train(steps + most), said | {'wanted': OF_TEXTS if texts else WANTED}


def profile(path: str, overrides: list[str], batches: int = 200) -> None:
    """Prints how long a batch takes to make, and which functions take it."""
    config = config_of(path, overrides)
    data, config = make_data(config, make_mesh({'data': 1}))
    data.batch(0)
    start = time.perf_counter()
    for n in range(batches):
        data.batch(n)
    print(f'{path}: {1e3 * (time.perf_counter() - start) / batches:.3f} ms a batch of {config.batch_size}')
    profiler = cProfile.Profile()
    profiler.enable()
    for n in range(batches):
        data.batch(n)
    profiler.disable()
    told = io.StringIO()
    pstats.Stats(profiler, stream=told).sort_stats('tottime').print_stats(15)
    print(told.getvalue())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = os.environ.get('TFDS_DATA_DIR')
    arguments.add_argument('--configs', default=','.join(DIGITS + (PREPARED if there else ())))
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--steps', type=int, default=0, help='in a round; default: about a second of them')
    arguments.add_argument('--profile', action='store_true', help='say where the time goes, and no more')
    arguments.add_argument('--side', default='', choices=(CONSTANT, REAL), help=argparse.SUPPRESS)
    arguments.add_argument('--name', default='', help='of the record: pipeline_NAME.json')
    options, overrides = arguments.parse_known_args()
    if unknown := [flag for flag in overrides if not flag.startswith('--config.') or '=' not in flag]:
        arguments.error(f'{unknown[0]}: there is no such flag')
    paths = options.configs.split(',')
    if options.side:
        keep_freed_memory()  # as jaxlab.main does it
        run, said = make(paths[0], options.side, options.steps, overrides)
        rounds.serve(said, run)
        return
    if options.profile:
        for path in paths:
            profile(path, overrides)
        return

    result = {}
    for path in paths:
        workers, steps = {}, options.steps
        for side in (CONSTANT, REAL):
            shared = f'--configs={path}', *overrides, f'--steps={steps}'
            workers[side] = rounds.Worker(__file__, *shared, f'--side={side}')
            steps = workers[side].said['steps']
        seconds = rounds.interleave(workers, options.rounds)
        for worker in workers.values():
            worker.close()
        found = rounds.summary(seconds, CONSTANT, steps)
        cost, wanted = 1 / found[REAL]['speed'], workers[REAL].said['wanted']
        print(f'{path}: {steps} steps a round; the pipeline costs {cost:.3f} ×, and at most {wanted} × is wanted')
        rounds.show(found, 'steps/s')
        about = workers[REAL].said | {'cost': float(f'{cost:.4g}'), 'candidates': found}
        result[path] = about
    chosen = options.name or ('chosen' if options.configs != arguments.get_default('configs') or overrides else '')
    which = f'pipeline_{chosen}' if chosen else 'pipeline'
    print(record.write(which, {'rounds': options.rounds, 'configs': result}))


if __name__ == '__main__':
    main()
