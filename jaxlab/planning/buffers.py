"""The arrays that lie in the memory of a chip while a step runs, read from what XLA writes down of them.

XLA is asked to (`xla_dump_to`), since of a program that does not fit there is nothing else: it says by how much, and
returns no program.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxlab.planning import hlo

# What a compiler writes down once every array has its place.
FILES = ('*after_optimizations.txt', '*buffer-assignment.txt', '*memory-usage-report.txt')
VALUE = re.compile(r'value: <\d+ ([\w.\-]+)(\{[\d,]*\})?[^@]*@\d+> \(size=(\d+),offset=(\d+)\): ([a-z]\w*\[[\d,]*\])')
ALLOCATION = re.compile(r'allocation \d+: size (\d+)(.*)')


@dataclass(frozen=True)
class Buffer:
    """A part of the memory for temporary arrays: the largest that lies there, of those that follow one another."""

    bytes: int
    shape: str  # 'bf16[4,8192,4096]'
    op: str  # what the model calls it; '' where XLA does not know


@dataclass(frozen=True)
class Dump:
    """What XLA has written of one program."""

    text: str  # the optimized program
    temporaries: int  # bytes
    largest: tuple[Buffer, ...]


def options(folder: Path) -> dict[str, Any]:
    """Returns what a compiler is told so that it writes into `folder`."""
    return {'xla_dump_to': str(folder), 'xla_dump_hlo_as_text': True}


def read(folder: Path, most: int = 8) -> Dump | None:
    """Returns what XLA has written there, with the `most` largest buffers; None where it has not come so far."""
    assignment = sorted(folder.rglob('*buffer-assignment.txt'), key=lambda file: file.stat().st_size)
    program = [file for file in folder.rglob('*after_optimizations.txt') if 'oom' not in file.name]
    program.sort(key=lambda file: file.stat().st_size)
    if not assignment or not program:
        return None
    text = program[-1].read_text('utf-8')
    ops = {one.name: one.op for computation in hlo.parse(text).values() for one in computation.instructions}
    temporaries, slots = 0, dict[int, Buffer]()
    inside = False
    for line in assignment[-1].read_text('utf-8').splitlines():
        if match := ALLOCATION.search(line):
            inside = 'preallocated-temp' in line and not re.search(r'color [1-9]', line)
            temporaries += int(match[1]) if inside else 0
        elif not line.strip():
            inside = False
        elif inside and (match := VALUE.search(line)):
            name, _, size, offset, shape = match.groups()
            known = slots.get(int(offset))
            if known is None or known.bytes < int(size) or (known.bytes == int(size) and not known.op):
                slots[int(offset)] = Buffer(int(size), shape, ops.get(name, ''))
    return Dump(text, temporaries, tuple(_apart(sorted(slots.items(), key=lambda item: -item[1].bytes), most)))


def _apart(slots: Iterable[tuple[int, Buffer]], most: int) -> list[Buffer]:
    """Returns the largest buffers that do not overlap: parts of a larger one, at another time, are no others."""
    taken: list[tuple[int, int]] = []
    found = []
    for offset, buffer in slots:
        end = offset + buffer.bytes
        if all(end <= begin or offset >= stop for begin, stop in taken):
            taken.append((offset, end))
            found.append(buffer)
        if len(found) == most:
            break
    return found
