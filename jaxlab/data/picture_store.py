"""Pictures that were decoded once: pixels in memory, and in the cache for the next start."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from jaxlab.data.blocks import BlockFile, BlockWriter
from jaxlab.data.cache import cached
from jaxlab.data.processors.picture import Picture
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import Arrays, Example, Part
from jaxlab.messages import say

FORMAT = 1  # of what is stored; another one is made anew
PIXELS, ABOUT, SEAL = 'pixels', 'about.json', 'complete'
BLOCK = 512  # pictures that are decoded at once


@dataclass(frozen=True)
class Encoded:
    """A part whose pictures are brought to the processor's shape as they are read."""

    part: Part
    processor: Picture

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Example:
        example = self.part[index]
        return {'inputs': self.processor.encode(example['inputs']), 'targets': example['targets']}


@dataclass(frozen=True)
class WithBad:
    """Pictures in memory of which some could not be read: {number: what was wrong}."""

    arrays: Arrays
    bad: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Example:
        if index in self.bad:
            record, problem = self.bad[index]
            raise BadRecord('{record} could not be decoded: {problem}', record=record, problem=problem)
        return self.arrays[index]


def stored(part: Part, processor: Picture, name: str, memory: float, skip: bool) -> Part:
    """Returns a part with pictures in the processor's shape.

    Args:
      part: with pictures of any size.
      processor: brings them to one.
      name: by which the part is known again.
      memory: GiB of pixels that may lie in memory; a larger part is read anew each time.
      skip: whether one that cannot be read is left for later; else it is an error.

    Raises:
      BadRecord, OSError: a picture cannot be read.
    """
    one = (processor.height, processor.width, processor.channels)
    shape = (len(part), *one)
    if isinstance(part, Arrays) and part.inputs.shape == shape and not processor.resize:
        return part
    encoded = Encoded(part, processor)
    if np.prod(shape, dtype=float) > memory * 2**30:
        return encoded

    def build(folder: Path) -> None:
        print(say('decoding {count:,} pictures, once', count=len(part)), flush=True)
        writer = BlockWriter(folder / PIXELS)
        targets: list[int] = []
        bad: dict[int, tuple[str, str]] = {}
        for number, found in enumerate(_all(encoded)):
            if isinstance(found, Exception):
                if not skip:
                    raise found
                record = found.record if isinstance(found, BadRecord) else say('example {number}', number=number)
                bad[number] = record, str(found).partition('\n')[0]
                found = {'inputs': np.zeros(one, np.uint8), 'targets': 0}
            writer.write(np.ascontiguousarray(found['inputs']).tobytes())
            targets.append(int(found['targets']))
        about = {'sums': writer.close(), 'targets': targets, 'bad': bad}
        content = json.dumps(about).encode()
        (folder / ABOUT).write_bytes(content)
        (folder / SEAL).write_text(hashlib.sha256(content).hexdigest(), 'utf-8')

    def read(folder: Path) -> Part | None:
        try:
            content = (folder / ABOUT).read_bytes()
            if hashlib.sha256(content).hexdigest() != (folder / SEAL).read_text('utf-8'):
                return None
            about = json.loads(content)
            size = int(np.prod(shape))
            pixels = BlockFile(folder / PIXELS, np.uint8, size, about['sums'], folder / SEAL)[0:size]
        except (OSError, ValueError, KeyError, BadRecord):
            return None
        arrays = Arrays(pixels.reshape(shape), np.array(about['targets'], np.int32))
        bad = {int(number): (record, problem) for number, (record, problem) in about['bad'].items()}
        return WithBad(arrays, bad) if bad else arrays

    return cached(
        'pictures', [FORMAT, name, asdict(replace(processor, mean=(), deviation=(), labels=())), skip], build, read
    )


def _all(part: Part) -> Iterator[Example | Exception]:
    """Yields every example, or why it cannot be read, decoded by several threads."""

    def one(index: int) -> Example | Exception:
        try:
            return part[index]
        except (BadRecord, OSError) as error:
            return error

    with ThreadPoolExecutor() as pool:
        for begin in range(0, len(part), BLOCK):
            yield from pool.map(one, range(begin, min(begin + BLOCK, len(part))))
