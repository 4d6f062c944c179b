"""Every byte of a stored file counts when it is read, and no damage ends the process."""

import os

import numpy as np
import pytest

from jaxlab.data.blocks import BLOCK, BlockFile, BlockWriter
from jaxlab.data.records import BadRecord
from jaxlab.errors import UserError

NUMBERS = np.random.default_rng(0).integers(0, 1 << 16, 10_000).astype(np.uint16)  # five blocks, the last one short


@pytest.fixture
def stored(tmp_path):
    """stored() opens the numbers anew."""
    path, seal = tmp_path / 'a.tokens', tmp_path / 'meta.json'
    writer = BlockWriter(path)
    for part in np.split(NUMBERS, [1, 2, 3000, 3000, 9000]):
        writer.write(part.tobytes())
    sums = writer.close()
    seal.touch()
    return lambda size=len(NUMBERS), sums=sums: BlockFile(path, np.uint16, size, sums, seal)


def file_of(tmp_path):
    return tmp_path / 'a.tokens'


def test_spans_are_those_of_the_array(stored):
    file, choose = stored(), np.random.default_rng(1)
    file.check()
    assert len(file) == len(NUMBERS)
    np.testing.assert_array_equal(file[:], NUMBERS)
    for begin, end in [
        (0, 0),
        (9999, 10_000),
        (9990, 12_000),
        (2047, 2049),
        (5, 3),
        *choose.integers(0, 10_001, (300, 2)),
    ]:
        np.testing.assert_array_equal(file[begin:end], NUMBERS[begin:end])
        assert file[begin:end].dtype == np.uint16


@pytest.mark.parametrize('position', [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 77, 2 * len(NUMBERS) - 1])
def test_a_changed_byte_is_noticed_by_who_reads_its_block_and_by_nobody_else(stored, tmp_path, position):
    file = stored()
    with file_of(tmp_path).open('r+b') as opened:  # while it is open
        opened.seek(position)
        byte = opened.read(1)[0]
        opened.seek(position)
        opened.write(bytes([byte ^ 1]))
    damaged = position // BLOCK
    for number in range(5):
        begin, end = number * BLOCK // 2, min((number + 1) * BLOCK // 2, len(NUMBERS))
        if number != damaged:
            np.testing.assert_array_equal(file[begin:end], NUMBERS[begin:end])
            continue
        with pytest.raises(UserError, match=rf'a\.tokens", bytes {damaged * BLOCK:,} to .* not what was written'):
            file[begin:end]
    for other in (file, stored()):
        with pytest.raises(BadRecord):
            other.check()
    assert not (tmp_path / 'meta.json').exists(), 'the next start makes it anew'


@pytest.mark.parametrize('kept', [0, 1, BLOCK, 3 * BLOCK + 5])
def test_a_file_cut_short_while_it_is_open(stored, tmp_path, kept):
    """Mapped into memory, this would end the process (SIGBUS)."""
    file = stored()
    os.truncate(file_of(tmp_path), kept)
    first = kept // BLOCK * BLOCK
    with pytest.raises(BadRecord, match=rf'bytes {first:,} to {min(first + BLOCK, 20_000) - 1:,}'):
        file[:]
    np.testing.assert_array_equal(file[: kept // BLOCK * BLOCK // 2], NUMBERS[: kept // BLOCK * BLOCK // 2])


def test_a_file_of_zeros(stored, tmp_path):
    file = stored()
    with file_of(tmp_path).open('r+b') as opened:
        opened.write(bytes(2 * len(NUMBERS)))
    for begin in range(0, len(NUMBERS), 500):
        with pytest.raises(BadRecord):
            file[begin : begin + 10]


def test_a_file_that_is_deleted_while_it_is_open_is_read_on(stored, tmp_path):
    file = stored()
    file_of(tmp_path).unlink()
    np.testing.assert_array_equal(file[100:200], NUMBERS[100:200])


def test_a_disk_that_fails_is_named_and_the_store_stays(stored, tmp_path, monkeypatch):
    file = stored()

    def pread(*_):
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(os, 'pread', pread)
    with pytest.raises(BadRecord, match=r'a\.tokens", bytes .* cannot be read \(Input/output error\)'):
        file[:10]
    assert (tmp_path / 'meta.json').exists()


def test_a_disk_that_gives_less_than_is_asked_for_is_asked_again(stored, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, 'pread', lambda file, size, begin: pread(file, min(size, 1000), begin))
    np.testing.assert_array_equal(stored()[10:9000], NUMBERS[10:9000])


def test_what_does_not_fit_together_is_not_opened(stored, tmp_path):
    with pytest.raises(ValueError, match='another size'):
        stored(size=len(NUMBERS) - 1)
    with pytest.raises(ValueError, match='checksums'):
        stored(sums='0' * 64)
    sums = tmp_path / 'a.tokens.sums'
    sums.write_bytes(sums.read_bytes()[:-4])
    with pytest.raises(ValueError, match='checksums'):
        stored()
    sums.unlink()
    with pytest.raises(FileNotFoundError):
        stored()
