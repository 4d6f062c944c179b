import numpy as np
import pytest

from jaxlab.data.shuffle import order, permute


def keys(seed):
    return np.random.SeedSequence(seed).generate_state(6, np.uint64)


@pytest.mark.parametrize('length', [1, 2, 3, 5, 16, 17, 1000, 4096, 4097])
def test_every_element_goes_to_one_place(length):
    assert sorted(permute(np.arange(length), length, keys(1))) == list(range(length))


def test_an_element_goes_to_the_same_place_whoever_asks():
    whole = permute(np.arange(1000), 1000, keys(1))
    assert [int(permute(np.array([i]), 1000, keys(1))[0]) for i in range(0, 1000, 37)] == whole[::37].tolist()


def sorted_order(length, seed):
    return order(length, int(keys(seed)[0]))


@pytest.mark.parametrize('length', [1, 2, 3, 1000, 4097])
def test_an_order_has_every_element(length):
    assert sorted(sorted_order(length, 1)) == list(range(length))


@pytest.mark.parametrize('make', [sorted_order, lambda length, seed: permute(np.arange(length), length, keys(seed))])
def test_the_order_looks_random_and_depends_on_the_keys(make):
    one, other = (make(10_000, seed) for seed in (1, 2))
    assert np.mean(one == other) < 0.01
    assert np.mean(np.diff(one) == 1) < 0.01
    assert abs(np.corrcoef(one, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.sum(one[:5000] < 5000) - 2500) < 200, 'each half of the places holds half of each half'


def test_every_order_of_few_is_just_as_likely():
    drawn, times = np.unique([sorted_order(4, seed) for seed in range(4800)], axis=0, return_counts=True)
    assert len(drawn) == 24 and ((times - 200) ** 2 / 200).sum() < 50, 'chi-square of 23 degrees: 50 is 0.1 %'


def test_an_order_is_the_same_on_every_machine():
    assert order(8, 1 << 63).tolist() == [5, 0, 1, 6, 4, 3, 7, 2]


def test_a_length_beyond_32_bits():
    length = 3 * 2**40 + 1
    image = permute(np.arange(length - 1000, length), length, keys(1))
    assert len(set(image.tolist())) == 1000
    assert image.min() >= 0 and length // 2 < image.max() < length
