"""How training scales: tokens per second on each mesh that the devices at hand can make; `train_gpt.py --mesh` runs it.

Each device has as many rows on every mesh, so what one device does alone is what each of many should do ("weak
scaling"). A mesh has a process of its own, which has ended before the next one starts: each has all of the memory.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rounds

AXES = ('data', 'fsdp', 'tensor')  # what a GPT is split over here
Mesh = Mapping[str, int]


def parse(text: str) -> list[dict[str, int]]:
    """Returns the meshes of 'data=8;data=2,fsdp=4'.

    Raises:
      SystemExit: there is something else in it.
    """
    found = []
    for one in text.split(';'):
        mesh = {}
        for part in one.split(','):
            axis, _, size = part.strip().partition('=')
            if axis not in AXES or not size.isdecimal() or not int(size):
                raise SystemExit(
                    f'--mesh={text}: such as "data=8;data=2,fsdp=4" is wanted, with axes {", ".join(AXES)}'
                )
            mesh[axis] = int(size)
        found.append(mesh)
    return found


def usual(devices: int, heads: int) -> list[dict[str, int]]:
    """Returns the meshes to look at on so many devices: each axis over 2, 4, 8, … of them and over all, and halves of
    two axes over all. Heads of attention must be divided by axis tensor."""
    counts = sorted({2**i for i in range(1, devices.bit_length()) if 2**i <= devices} | {devices} - {1})
    found = [{axis: count} for count in counts for axis in AXES if axis != 'tensor' or heads % count == 0]
    if devices % 2 == 0 and devices > 2:
        found += [{'data': 2, 'fsdp': devices // 2}]
        found += [{'fsdp': devices // 2, 'tensor': 2}] if heads % 2 == 0 else []
    return found


def name_of(mesh: Mesh) -> str:
    return ' × '.join(f'{axis} {size}' for axis, size in mesh.items())


def measure(start: Callable[[Mesh], rounds.Worker], heads: int, meshes: Sequence[Mesh], number: int) -> dict[str, Any]:
    """Returns what there is to say of each mesh, that of one device first.

    Args:
      start: starts the process of a mesh. It says 'devices' (how many jax sees), 'tokens' (of a call), 'losses' (its
        first), 'flops' (of a call) and 'peak' (FLOPs/s of a device; 0: not known).
      heads: of attention.
      meshes: to look at; none: `usual`.
      number: how many rounds.
    """
    found: dict[str, Any] = {}
    waiting: list[Mesh] = [{'data': 1}]
    while waiting:
        mesh = waiting.pop(0)
        since = time.perf_counter()
        worker = start(mesh)
        ready, about = time.perf_counter() - since, worker.said
        if not found:
            waiting += [mesh for mesh in meshes or usual(about['devices'], heads) if dict(mesh) != {'data': 1}]
        seconds = [worker() for _ in range(number + 1)][1:]
        worker.close()
        found[name_of(mesh)] = row = summary(mesh, about, seconds) | {'ready': ready}
        one = next(iter(found.values()))
        row['of_one'] = row['each'] / one['each']
        show(name_of(mesh), row)
    check(found)
    return {
        name: {key: float(f'{value:.5g}') if isinstance(value, float) else value for key, value in row.items()}
        for name, row in found.items()
    }


def summary(mesh: Mesh, about: Mapping[str, Any], seconds: Sequence[float]) -> dict[str, Any]:
    """Returns tokens per second ('rate'), of each device ('each'), and what is known of them."""
    devices = 1
    for size in mesh.values():
        devices *= size
    median = statistics.median(seconds)
    rate = about['tokens'] / median
    row = {
        'devices': devices,
        'rows': about['rows'],
        'rate': rate,
        'fastest': about['tokens'] / min(seconds),
        'each': rate / devices,
        'losses': about['losses'],
    }
    if about['peak']:
        row['mfu'] = about['flops'] / median / (devices * about['peak'])
    return row


def show(name: str, row: Mapping[str, Any]) -> None:
    mfu = f'   MFU {row["mfu"]:.1%}' if 'mfu' in row else ''
    rates = f'{row["rate"]:14,.0f} tokens/s {row["each"]:12,.0f} each'
    print(f'  {name:20}{rates}   {row["of_one"]:5.2f} of one device{mfu}', flush=True)


APART = 0.05  # losses of one batch on two meshes, in bfloat16


def check(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Sees that meshes with as many rows have the same losses: it is the same training."""
    for name, row in found.items():
        for other, its in found.items():
            apart = max(abs(a - b) for a, b in zip(row['losses'], its['losses'], strict=True))
            assert row['rows'] != its['rows'] or apart < APART, f'{name} and {other}: losses are {apart} apart'
