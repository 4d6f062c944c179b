"""Files of numbers in which every block has a checksum, compared whenever the block is read.

Beside `train.tokens` lies `train.tokens.sums`: the CRC-32 of each of its blocks. So a file that is damaged, at whatever
time, is noticed by whoever reads the damage; opening it costs the same however large it is. It is read, and not mapped
into memory: a mapped file that is cut short, or whose disk fails, ends the process without a word (SIGBUS).
"""

import hashlib
import os
import weakref
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.records import BadRecord
from jaxlab.messages import say

BLOCK = 1 << 12  # bytes
_MANY = 256  # blocks read at once where all are


class BlockWriter:
    """Writes a file, and the checksums of its blocks beside it."""

    def __init__(self, path: Path) -> None:
        self._sums_path = _sums_of(path)
        self._file = path.open('wb')
        self._sums: list[int] = []
        self._rest = b''

    def write(self, data: bytes) -> None:
        self._file.write(data)
        data = self._rest + data
        whole = len(data) // BLOCK * BLOCK
        self._sums += _sums_of_blocks(data[:whole])
        self._rest = data[whole:]

    def close(self) -> str:
        """Returns the sha256 of the checksums, by which they are known again."""
        self._sums += _sums_of_blocks(self._rest)
        self._file.close()
        content = np.array(self._sums, '<u4').tobytes()
        self._sums_path.write_bytes(content)
        return hashlib.sha256(content).hexdigest()


class BlockFile:
    """Numbers in a file: `file[begin:end]` reads some, `len(file)` is how many there are. Threads may read at once.

    Args:
      path: the file.
      dtype: of the numbers.
      size: how many there must be.
      sums: what `BlockWriter.close` returned.
      seal: a file without which the folder is not valid. It is removed when damage is found, so that whoever opens the
        folder next makes it anew.

    Raises:
      OSError: there is no such file.
      ValueError: it has another size, or its checksums are damaged.
    """

    def __init__(self, path: Path, dtype: Any, size: int, sums: str, seal: Path) -> None:
        self._path, self._dtype, self._size, self._seal = path, np.dtype(dtype), size, seal
        content = _sums_of(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != sums:
            raise ValueError(f'{path}: the checksums are damaged')
        self._sums = np.frombuffer(content, '<u4')
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size != self.size_in_bytes:
            raise ValueError(f'{path} has another size')

    def __len__(self) -> int:
        return self._size

    @property
    def size_in_bytes(self) -> int:
        return self._size * self._dtype.itemsize

    def __getitem__(self, span: slice) -> np.ndarray:
        """Returns numbers begin..end-1, read-only.

        Raises:
          BadRecord: they are not what was written, or cannot be read.
        """
        begin, end, step = span.indices(self._size)
        assert step == 1, 'a span is read whole'
        if end <= begin:
            return np.empty(0, self._dtype)
        size = self._dtype.itemsize
        first = begin * size // BLOCK
        data = self._read(first, -(-end * size // BLOCK))
        return np.frombuffer(data, self._dtype, end - begin, begin * size - first * BLOCK)

    def check(self) -> None:
        """Reads all of it. Raises BadRecord where something is damaged."""
        for first in range(0, len(self._sums), _MANY):
            self._read(first, min(first + _MANY, len(self._sums)))

    def _read(self, first: int, end: int) -> bytes:
        """Returns blocks first..end-1."""
        begin, wanted = first * BLOCK, min(end * BLOCK, self.size_in_bytes) - first * BLOCK
        try:
            data = os.pread(self._file, wanted, begin)
            while len(data) < wanted and (more := os.pread(self._file, wanted - len(data), begin + len(data))):
                data += more
        except OSError as error:
            raise BadRecord(
                '{record} cannot be read ({error}).\nMend its disk, or let JAXLAB_CACHE name a folder on another.',
                record=self._named(begin, begin + wanted),
                error=error.strerror or error,
            ) from None
        sums = self._sums[first:end].tolist()
        if len(data) < wanted or list(_sums_of_blocks(data)) != sums:
            found = _sums_of_blocks(data)
            number = next((n for n, sum in enumerate(sums) if next(found, None) != sum), 0)
            with suppress(OSError):
                self._seal.unlink()
            raise BadRecord(
                '{record} are not what was written there.\nThe next start writes them anew: give the same command.',
                record=self._named(begin + number * BLOCK, min(begin + (number + 1) * BLOCK, begin + wanted)),
            )
        return data

    def _named(self, begin: int, end: int) -> str:
        return say('"{path}", bytes {begin:,} to {end:,}', path=self._path, begin=begin, end=end - 1)


def _sums_of_blocks(data: bytes) -> Iterator[int]:
    view = memoryview(data)
    return (zlib.crc32(view[begin : begin + BLOCK]) for begin in range(0, len(data), BLOCK))


def _sums_of(path: Path) -> Path:
    return path.with_name(path.name + '.sums')
