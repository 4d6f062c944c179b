"""Memory of a device: how much there is, how much a step will take, and what to change where it is too little.

The devices of a CPU share the memory of the machine: each has its part of it.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab.messages import say


@dataclass(frozen=True)
class Expected:
    """What a compiled step will take. Bytes on each device; 0: not known."""

    taken: int
    limit: int
    advice: str  # what to change, where it does not fit; else ''


def expected(compiled: Any, state: int, config: ConfigDict, shards: int) -> Expected:
    """Returns what a compiled step will take.

    Args:
      compiled: what `jax.jit(…).lower(…).compile()` returns.
      state: bytes of the state on each device.
      config: the resolved config.
      shards: how many parts the rows of a batch are split into.
    """
    stats, there = compiled.memory_analysis(), limit()
    if stats is None:  # not every backend knows
        return Expected(0, there, '')
    # What is donated is counted with the arguments and with the results, and is there once.
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    taken = stats.argument_size_in_bytes + results + stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    too_much = there and taken > there
    return Expected(taken, there, advice(taken, state, there, config, shards) if too_much else '')


def advice(taken: int, state: int, there: int, config: ConfigDict, shards: int) -> str:
    """Returns what to change so that a step which takes `taken` of `there` bytes fits. See `expected` for the rest."""
    if state >= there:
        return of_state_alone(state, there)
    # All but the state shrinks with the rows that a device has before it at once.
    wanted = config.accumulate * (taken - state) / (there - state)
    fitting = [n for n in range(config.accumulate + 1, config.batch_size // shards + 1) if _divides(n, shards, config)]
    ways = []
    if fitting:
        number = next((n for n in fitting if n >= wanted), fitting[-1])
        ways.append(say('cut the batch into micro-batches (--config.accumulate={number})', number=number))
    else:
        ways.append(say('make the batch smaller (--config.batch_size=…)'))
    if config.model.get('remat', 'full') != 'full':
        ways.append(say('compute activations twice instead of keeping them (--config.model.remat=full)'))
    ways.append(say('store parameters over more devices (--config.mesh.fsdp=…)'))
    return say('To make it smaller: {ways}.', ways=say('; or ').join(ways))


def _divides(number: int, shards: int, config: ConfigDict) -> bool:
    return config.batch_size % (number * shards) == 0


def of_state_alone(state: int, there: int) -> str:
    """Returns a sentence where the state alone is larger than the memory of a device, else ''."""
    if not there or state < there:
        return ''
    return say(
        'The state alone (parameters, optimizer, average) takes {state} of the {there} on each device: store it over'
        ' more devices (--config.mesh.fsdp=…), or make the model smaller.',
        state=readable(state),
        there=readable(there),
    )


def of_tree(abstract: Any, shardings: Any) -> int:
    """Returns the bytes on each device of arrays that are split by `shardings`."""
    sizes = jax.tree.map(lambda x, s: math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize, abstract, shardings)
    return sum(jax.tree.leaves(sizes))


# --- what there is ---------------------------------------------------------------------------------------------------


def limit() -> int:
    """Returns the bytes that this process may use on each device; 0: not known."""
    device = jax.local_devices()[0]
    if stats := device.memory_stats():
        return stats.get('bytes_limit', 0)
    if device.platform != 'cpu':
        return 0
    import psutil

    free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    return min([free, *_cgroup_limits()]) // jax.local_device_count()


def in_use() -> int:
    """Returns the most bytes that were in use at once on one device so far; on a CPU, what this process uses now."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    if known := [of.get('peak_bytes_in_use', of.get('bytes_in_use', 0)) for of in stats if of]:
        return max(known)
    import psutil

    return psutil.Process().memory_info().rss


def _cgroup_limits() -> Iterable[int]:
    """Yields the limits that a container, or a scheduler such as Slurm, sets to this process (Linux)."""
    system = Path(os.environ.get('JAXLAB_SYSTEM_ROOT') or '/')  # tests put another machine's /proc and /sys here
    group = system / 'proc/self/cgroup'
    if not group.exists():
        return
    for line in group.read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers in ('', 'memory'):  # version 2, version 1
            root = system / 'sys/fs/cgroup' / controllers
            inside = root / path.lstrip('/')
            for folder in (inside, *inside.parents):
                for name in ('memory.max', 'memory.limit_in_bytes'):
                    if (file := folder / name).is_file() and (text := file.read_text().strip()).isdigit():
                        yield int(text)
                if folder == root:
                    break


def readable(count: float) -> str:
    """Returns bytes in a unit that people read: '12.3 MiB'."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024:
            return f'{count:.0f} {unit}' if unit == 'B' else f'{count:.1f} {unit}'
        count /= 1024
    return f'{count:.1f} TiB'
