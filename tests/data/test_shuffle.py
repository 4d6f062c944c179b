import numpy as np
import pytest

from jaxlab.data.shuffle import permute


def keys(seed):
    return np.random.SeedSequence(seed).generate_state(6, np.uint64)


@pytest.mark.parametrize('length', [1, 2, 3, 5, 16, 17, 1000, 4096, 4097])
def test_every_element_goes_to_one_place(length):
    assert sorted(permute(np.arange(length), length, keys(1))) == list(range(length))


def test_an_element_goes_to_the_same_place_whoever_asks():
    whole = permute(np.arange(1000), 1000, keys(1))
    assert [int(permute(np.array([i]), 1000, keys(1))[0]) for i in range(0, 1000, 37)] == whole[::37].tolist()


def test_the_order_looks_random_and_depends_on_the_keys():
    one, other = (permute(np.arange(10_000), 10_000, keys(seed)) for seed in (1, 2))
    assert np.mean(one == other) < 0.01
    assert np.mean(np.diff(one) == 1) < 0.01
    assert abs(np.corrcoef(one, np.arange(10_000))[0, 1]) < 0.05
    assert abs(np.sum(one[:5000] < 5000) - 2500) < 200, 'each half of the places holds half of each half'


def test_a_length_beyond_32_bits():
    length = 3 * 2**40 + 1
    image = permute(np.arange(length - 1000, length), length, keys(1))
    assert len(set(image.tolist())) == 1000
    assert image.min() >= 0 and length // 2 < image.max() < length
