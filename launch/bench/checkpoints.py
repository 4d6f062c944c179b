"""What trust in a checkpoint costs: how long a save holds up the loop, and checking beside reading.

  python launch/bench/checkpoints.py [--layers=12] [--width=768] [--rounds=3] [--folder=runs]

The state is that of a transformer with AdamW in float32: 124 M parameters by default, so 1.5 GB, written to a new
folder in --folder and removed. `cold` reads after the system was told to forget what it holds of the files. What the
project allows itself: a save holds up the loop for 0.5 s, and checking takes no longer than reading.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import record
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.step import TrainState
from jaxlab.trust import manifest, numbers


def state(layers: int, width: int, seed: int) -> TrainState:
    def params(key: jax.Array) -> dict[str, Any]:
        shapes = {
            'qkv': (width, 3 * width),
            'out': (width, width),
            'up': (width, 4 * width),
            'down': (4 * width, width),
        }
        of_layers = {f'layer_{i}': shapes for i in range(layers)} | {'embedding': {'table': (50304, width)}}
        leaves, tree = jax.tree.flatten(of_layers, is_leaf=lambda x: isinstance(x, tuple))
        return tree.unflatten([jax.random.normal(jax.random.fold_in(key, i), leaf) for i, leaf in enumerate(leaves)])

    keys = jax.random.split(jax.random.key(seed), 3)
    moments = {'mu': params(keys[1]), 'nu': params(keys[2])}
    return TrainState(jnp.int32(seed), params(keys[0]), {}, (moments,), keys[0], {}, jnp.int32(0), numbers.start())


def forget(folder: Path) -> None:
    for file in folder.rglob('*'):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def seconds(call: Callable[[], Any]) -> float:
    since = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - since


def note(found: dict[str, list[float]], **taken: float) -> None:
    for name, value in taken.items():
        found.setdefault(name, []).append(round(value, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--layers', type=int, default=12)
    parser.add_argument('--width', type=int, default=768)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--folder', default=None, help='default: where temporary files go')
    found: dict[str, list[float]] = {}
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=parsed.folder) as folder:
        checkpoints = Checkpoints(Path(folder), keep=1)
        now = jax.block_until_ready(state(parsed.layers, parsed.width, 1))
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), now)
        print(f'{sum(x.size for x in jax.tree.leaves(now.params)) / 1e6:.0f} M parameters')
        for step in range(1, parsed.rounds + 1):
            holds_up = seconds(lambda step=step: checkpoints.save(step, now, ConfigDict({}), Best()))
            writes = seconds(checkpoints.wait)
            note(found, save_holds_up=holds_up, save_then_writes=writes)
            print(f'save {step}: holds up {holds_up:.3f} s, then writes {writes:.2f} s')
        saved = Path(folder) / 'checkpoints' / str(step)
        for cold in [False, True] * parsed.rounds:
            if cold:
                forget(saved)
            checks = seconds(lambda: manifest.damage(saved, step))
            if cold:
                forget(saved)
            both = seconds(lambda: checkpoints.restore(abstract))
            kind = 'cold' if cold else 'warm'
            note(found, **{f'{kind}_checks': checks, f'{kind}_checks_and_reads': both})
            print(f'{kind}: checks {checks:.2f} s; checks and reads {both:.2f} s')
        checkpoints.close()
    parameters = sum(x.size for x in jax.tree.leaves(now.params))
    print(record.write('checkpoints', {'parameters': parameters, 'seconds': found}))


if __name__ == '__main__':
    main()
