"""What several steps in one dispatch save: the time of a step of tiny models, by `config.steps_per_call`.

  python launch/bench/calls.py

The step, its batches and the way they reach the device are those of `jaxlab.train`. One process, rounds of forty steps.
"""

import argparse
from collections.abc import Callable

import gpt_peer
import jax
import record
import rounds
import train_gpt

from jaxlab import blueprint, calls, optim
from jaxlab import step as training_step
from jaxlab.allocator import keep_freed_memory
from jaxlab.config import spec
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks import language_model

STEPS = 40
SIZES = {
    'width 16, 4 × 8 tokens': gpt_peer.Size(layers=1, width=16, heads=4, vocabulary=256, batch=4, length=8),
    'width 32, 8 × 16 tokens': gpt_peer.Size(layers=1, width=32, heads=4, vocabulary=256, batch=8, length=16),
    'width 64, 8 × 64 tokens': gpt_peer.Size(layers=2, width=64, heads=8, vocabulary=320, batch=8, length=64),
}


def make(size: gpt_peer.Size, most: int) -> Callable[[], None]:
    """Returns a run of `STEPS` steps, at most `most` in a dispatch."""
    task = language_model.make(gpt_peer.ours(size))
    data = train_gpt.batches(size, STEPS)
    shapes = layout.global_shapes(data[0], size.batch)
    mesh = make_mesh({'data': 1})
    with jax.set_mesh(mesh):
        names = layout.names(jax.eval_shape(task.init, jax.random.key(0), shapes)[0])
        optimizers = [optim.adamw(names, 1000, learning_rate=1e-3, schedule=spec('schedules.constant'))]
        state = jax.jit(lambda key: training_step.init(task, optimizers, 0.0, shapes, key))(jax.random.key(0))
        shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, mesh)
        state = jax.device_put(state, shardings)
        step, given, given_shardings = calls.prepare(training_step.make_step(task, optimizers), shapes, mesh, most)
        arguments = layout.with_shardings(state, shardings), {}, layout.with_shardings(given, given_shardings)
        compiled = blueprint.compile_step(step, arguments, mesh)
    ends = calls.ends(0, STEPS, most, ())
    batches = calls.batches(data.__getitem__, 0, ends, most)

    def run() -> None:
        nonlocal state
        for call in range(len(ends)):
            state, terms = compiled(state, {}, layout.place(batches(call), given_shardings))
        jax.block_until_ready(terms)

    return run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--rounds', type=int, default=15)
    options = arguments.parse_args()
    keep_freed_memory()  # as jaxlab.main does it
    result = {}
    for name, size in SIZES.items():
        candidates = {f'{most} in a call': make(size, most) for most in (1, 5, 10, 40)}
        found = rounds.summary(rounds.interleave(candidates, options.rounds), '1 in a call', STEPS)
        print(name)
        rounds.show(found, 'steps/s')
        result[name] = {'size': vars(size), 'candidates': found}
    device = jax.devices()[0].device_kind
    print(record.write('calls', {'device': device, 'steps': STEPS, 'rounds': options.rounds, 'models': result}))


if __name__ == '__main__':
    main()
