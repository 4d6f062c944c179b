"""Memory of a device: how much there is, and how much a step will take.

The devices of a CPU share the memory of the machine: each has its part of it.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax


@dataclass(frozen=True)
class Expected:
    """What a compiled step will take. Bytes on each device; 0: not known."""

    taken: int
    limit: int
    advice: str = ''  # what to change, where it does not fit


def expected(compiled: Any) -> Expected:
    """Returns what a compiled step will take: what `jax.jit(…).lower(…).compile()` returns."""
    stats, there = compiled.memory_analysis(), limit()
    if stats is None:  # not every backend knows
        return Expected(0, there)
    # What is donated is counted with the arguments and with the results, and is there once.
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    taken = stats.argument_size_in_bytes + results + stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    return Expected(taken, there)


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
