"""What `config.deterministic` costs, and whether it keeps its word: the step of a config, with the switch and without.

  python launch/bench/determinism.py --size=gpt2       124 M parameters: a GPU
  python launch/bench/determinism.py --size=default    2.2 M parameters: any machine

Flags of XLA hold for a process, so each side has processes of its own, two of them, which take turns in rounds. All
begin with the same state and train on the same tokens; two processes of one side should then hold the same parameters,
bit for bit. On a CPU both sides do, and neither is faster.
"""

# b batch, t time

import argparse
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import record
import rounds

from jaxlab import blueprint, calls, config_text, determinism
from jaxlab.allocator import keep_freed_memory
from jaxlab.experiment import make_task
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

CONFIGS = Path(__file__).parents[2] / 'configs' / 'transformer.py'
SIZES = ('tiny', 'default', 'small', 'gpt2', 'gpt2_medium')
BATCHES = {'gpt2': 16, 'gpt2_medium': 8}  # rows that one GPU has room for; others: as the config says
SIDES = ('fastest', 'deterministic')


def batches(vocabulary: int, length: int, size: int, number: int) -> list[dict[str, np.ndarray]]:
    """Returns batches of random tokens, among which many are equal: their gradients are added up in one place."""
    tokens = np.random.default_rng(0).zipf(1.3, (number, size, length + 1)) % vocabulary
    ones = np.ones((size, length), np.int32)
    return [
        {
            'tokens': row[:, :-1].astype(np.int32),
            'targets': row[:, 1:].astype(np.int32),
            'positions': ones * np.arange(length, dtype=np.int32),
            'segments': ones,
            'mask': ones.astype(np.float32),
        }
        for row in tokens
    ]


def make(size: str, steps: int) -> tuple[Callable[[], None], Callable[[], str], int]:
    """Returns a run of `steps` steps, a digest of all parameters, and the tokens of a run."""
    config, _ = config_text.load(f'{CONFIGS}:{size}')
    config.batch_size = BATCHES.get(size, config.batch_size)
    config.steps_per_call = 1
    vocabulary = {'published': 50257, 'bytes': 257}.get(config.data.processor.name) or config.data.processor.vocabulary
    data = batches(vocabulary, config.data.length, config.batch_size, steps)
    mesh = make_mesh({'data': 1})
    task = make_task(config, {'vocabulary': vocabulary, 'length': config.data.length})
    with jax.set_mesh(mesh):
        plan = blueprint.draw(config, task, layout.global_shapes(data[0], config.batch_size), mesh)
        state = plan.born()
        step = blueprint.compile_step(plan.call, plan.arguments, mesh)
    call = calls.batches(data.__getitem__, 0, calls.ends(0, steps, 1, ()), 1)

    def run() -> None:
        nonlocal state
        with jax.set_mesh(mesh):
            for n in range(steps):
                state, _ = step(state, {}, layout.place(call(n), plan.given_shardings))
            jax.block_until_ready(state)

    def digest() -> str:
        found = hashlib.sha256()
        for leaf in jax.tree.leaves(jax.device_get(state.params)):
            found.update(leaf.tobytes())
        return found.hexdigest()

    return run, digest, steps * config.batch_size * config.data.length


def serve(side: str, size: str, steps: int) -> None:
    """Is one process of a side: trains, says what came of it, and trains on whenever it is asked to."""
    determinism.switch(side == 'deterministic')
    keep_freed_memory()  # as jaxlab.main does it
    run, digest, tokens = make(size, steps)
    run()
    about: dict[str, Any] = {'digest': digest(), 'tokens': tokens, 'device': jax.devices()[0].device_kind}
    rounds.serve(about | {'flags': os.environ.get('XLA_FLAGS', '')}, run)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='gpt2', choices=SIZES)
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--steps', type=int, default=20, help='in a round')
    arguments.add_argument('--side', default='', choices=SIDES, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.side:
        serve(options.side, options.size, options.steps)
        return
    os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'  # or the first process takes the memory of the others
    shared = (__file__, f'--size={options.size}', f'--steps={options.steps}')
    workers = {f'{side} {n}': rounds.Worker(*shared, f'--side={side}') for side in SIDES for n in (1, 2)}
    said = {name: worker.said for name, worker in workers.items()}
    same = {side: said[f'{side} 1']['digest'] == said[f'{side} 2']['digest'] for side in SIDES}
    seconds = rounds.interleave(workers, options.rounds)
    for worker in workers.values():
        worker.close()

    about = said['deterministic 1']
    found = rounds.summary(seconds, 'fastest 1', about['tokens'])
    rounds.show(found, 'tokens/s')
    for side in SIDES:
        held = 'the same' if same[side] else 'other'
        print(f'{side:14} two processes hold {held} parameters after {options.steps} steps')
    result = {
        'size': options.size,
        'device': about['device'],
        'flags': about['flags'],
        'steps_in_a_round': options.steps,
        'rounds': options.rounds,
        'bit_for_bit': same,
        'candidates': found,
    }
    print(record.write(f'determinism_{options.size}', result))
    assert same['deterministic'], 'two deterministic processes differ'


if __name__ == '__main__':
    main()
