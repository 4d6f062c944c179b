"""What the guard against bad numbers costs: a training step with it, beside the same step without.

  python launch/bench/guard.py                 0.8 M and 10.7 M parameters: five minutes on two cores
  python launch/bench/guard.py --sizes=10m

The guard is `numbers.judge` and `numbers.choose`: each step looks whether its loss and its gradients are finite, and
takes what is new or what was. Without it, a step takes what is new whatever it is; such a step exists here alone. Both
are the step of `jaxlab.train` otherwise, with all that it reports, in one process and in interleaved rounds, and their
losses must agree. `cost` is the median over rounds of the time with the guard over that without it in the same round,
minus 1; half of the rounds lie between the `quartiles`. 0.005 is what the project allows itself.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import gpt_peer
import jax
import jax.numpy as jnp
import numpy as np
import record
import rounds
import train_gpt

from jaxlab.allocator import keep_freed_memory
from jaxlab.parallel.mesh import make_mesh
from jaxlab.trust import numbers

SIZES = {
    **gpt_peer.SIZES,
    'tiny': gpt_peer.Size(layers=1, width=32, heads=4, vocabulary=256, batch=8, length=16),  # to see that this works
}
STEPS = {'0.8m': 10, 'tiny': 10}  # in a round, and in a call; of larger ones 1
ROUNDS = {'0.8m': 120, '10m': 60}


@contextmanager
def unguarded() -> Iterator[None]:
    """A context in which the steps that are made take every update."""
    judge = mock.patch.object(numbers, 'judge', lambda health, *others: (jnp.array(True), health))
    choose = mock.patch.object(numbers, 'choose', lambda good, new, old: new())
    with judge, choose:
        yield


def measure(name: str, number: int) -> dict[str, Any]:
    """Returns what there is to say of one size after `number` rounds."""
    size, steps = SIZES[name], STEPS.get(name, 1)
    data = train_gpt.batches(size, steps)
    mesh = make_mesh({'data': 1})
    with jax.set_mesh(mesh):
        guarded, params = train_gpt.make_ours(size, data, mesh, steps)
        with unguarded():
            free, _ = train_gpt.make_ours(size, data, mesh, steps)
    apart = np.abs(np.array(guarded()) - np.array(free())).max()
    assert apart < (0.05 if gpt_peer.on_gpu() else 1e-3), f'not the same training: losses {apart} apart'
    seconds = rounds.interleave({'guarded': guarded, 'without': free}, number, warm_up=2)
    ratios = [one / other for one, other in zip(seconds['guarded'], seconds['without'], strict=True)]
    low, cost, high = statistics.quantiles(ratios, n=4) if number > 1 else ratios * 3
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    found = rounds.summary(seconds, 'without', steps)
    print(f'{count:,} parameters, {size.batch} × {size.length} tokens a step, {steps} steps a round, {number} rounds')
    rounds.show(found, 'steps/s')
    percent = [100 * (ratio - 1) for ratio in (cost, low, high)]
    print('  cost {:.2f} % of a step; half of the rounds: {:.2f} to {:.2f} %'.format(*percent))
    return {
        'size': vars(size) | {'parameters': count},
        'steps_in_a_round': steps,
        'rounds': number,
        'losses_apart': float(f'{apart:.2g}'),
        'cost': round(cost - 1, 5),
        'quartiles': [round(low - 1, 5), round(high - 1, 5)],
        'candidates': found,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--sizes', default='0.8m,10m', help=f'of {", ".join(SIZES)}')
    arguments.add_argument('--rounds', type=int, default=0, help='default: about two minutes of them')
    options = arguments.parse_args()
    names = options.sizes.split(',')
    if unknown := set(names) - SIZES.keys():
        arguments.error(f'no sizes {", ".join(sorted(unknown))}; there are {", ".join(SIZES)}')
    keep_freed_memory()  # as jaxlab.main does it
    result = {name: measure(name, options.rounds or ROUNDS.get(name, 60)) for name in names}
    which = 'guard' if names == ['0.8m', '10m'] else f'guard_{"_".join(names)}'
    about = {'device': jax.devices()[0].device_kind, 'dtype': str(np.dtype(gpt_peer.compute_dtype()))}
    print(record.write(which, about | {'sizes': result}))


if __name__ == '__main__':
    main()
