"""Small batches are made in groups, and each is what it would be if it were made alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from jaxlab.data import batch_groups
from jaxlab.data.batch_groups import KEPT, MOST, SIZE, BatchGroups, batches_in_group
from jaxlab.data.examples import Reader, Training
from jaxlab.data.records import Losses, Tolerance
from jaxlab.data.sources import Arrays
from jaxlab.data.transforms.standard import make

EXAMPLES = 50  # so that a group has more than one epoch


def training(rows=slice(0, 16), side=8, transformed=True):
    """Rows of batches of 16 pictures."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (EXAMPLES, side, side, 1), np.uint8)
    part = Arrays(pictures, np.arange(EXAMPLES, dtype=np.int32))
    reader = Reader(part, {'inputs': pictures[0], 'targets': part.targets[0]}, Losses(Tolerance()))
    transform = make(crop_padding=1, rotate=10.0, flip=True) if transformed else None
    return Training(reader, np.arange(EXAMPLES), 16, rows, seed=3, transform=transform)


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], strict=True)


@pytest.mark.parametrize('transformed', [True, False])
@pytest.mark.parametrize('rows', [slice(0, 16), slice(4, 8)])
def test_each_is_what_it_is_alone(rows, transformed):
    of = training(rows, transformed=transformed)
    assert of._groups._count == MOST
    for n in [0, 1, MOST - 1, MOST, 5 * MOST + 7, 3, 10**9]:
        same(of.batch(n), of._read(n, 1))


def test_another_batch_of_the_group_is_noticed(monkeypatch):
    monkeypatch.setattr(batch_groups.BatchGroups, '_cut', lambda self, group: [group] * self._count)
    with pytest.raises(AssertionError):
        test_each_is_what_it_is_alone(slice(0, 16), True)


def test_threads_make_each_group_once():
    made = []

    def read(n, count):
        made.append(n)
        return {'at': np.arange(n, n + count)}

    of = BatchGroups(read, 8)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(of, range(8 * KEPT))]
    assert [batch['at'].tolist() for batch in found] == [[n] for n in range(8 * KEPT)]
    assert sorted(made) == [*range(0, 8 * KEPT, 8)]


def test_nobody_changes_what_others_are_given():
    of = training()
    batch = of.batch(0)
    with pytest.raises(ValueError, match='read-only'):
        batch['inputs'] += 1
    batch['inputs'] = np.zeros(1)
    assert of.batch(0)['inputs'].shape == (16, 8, 8, 1)


def test_what_can_fail_is_read_batch_by_batch_and_once():
    """A batch of records that is read twice counts its bad ones twice."""
    read = []

    class Records:
        def __len__(self):
            return EXAMPLES

        def __getitem__(self, number):
            read.append(number)
            return {'inputs': np.zeros((8, 8, 1), np.uint8), 'targets': number}

    of = training(transformed=False)
    of = replace(of, reader=replace(of.reader, part=Records()))
    assert of.batch(0)['inputs'].shape == (16, 8, 8, 1) and len(read) == 16


def test_large_ones_are_made_one_by_one():
    assert (
        batches_in_group(SIZE) == batches_in_group(2 * SIZE) == 1
        and batches_in_group(SIZE // 4) == 4
        and batches_in_group(0) == MOST
    )
    assert training(side=SIZE // 4096)._groups._count == 1
