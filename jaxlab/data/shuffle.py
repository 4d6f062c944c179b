"""Shuffles without a state: of a large set where element i goes is computed from i alone, of a small one at once."""

import functools

import numpy as np

ROUNDS = 6  # of `permute`
WHOLE = 1 << 18  # elements of which the order is held in memory
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # counted in steps of it, numbers that follow each other differ in many bits


def shuffled(seed: int, epoch: int, length: int, place: np.ndarray) -> np.ndarray:
    """Returns which of 0..length-1 stand at these places of an epoch, int64 [n].

    That of a small set is made whole, once for each epoch; of a large one only these places are computed.
    """
    if length <= WHOLE:
        return _order(seed, epoch, length).take(place)
    return permute(place, length, _keys(seed, epoch))


def _keys(seed: int, epoch: int) -> np.ndarray:
    return np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)


@functools.lru_cache(maxsize=4)  # threads work at the end of one epoch and the beginning of the next
def _order(seed: int, epoch: int, length: int) -> np.ndarray:
    return order(length, int(_keys(seed, epoch)[0]))


def permute(index: np.ndarray, length: int, keys: np.ndarray) -> np.ndarray:
    """Maps 0..length-1 one to one onto itself, in an order that `keys` choose.

    A Feistel network (Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom functions", 1988)
    permutes the 2^2h numbers of 2h bits, the smallest such set that holds `length`; an image outside 0..length-1 is
    sent through again until it falls inside ("cycle walking": Black and Rogaway, "Ciphers with arbitrary finite
    domains", 2002). So a corpus of any size is shuffled without its list of indices being held in memory.

    Args:
      index: int64 [n], each in 0..length-1.
      length: how many elements are shuffled; at most 2^62.
      keys: uint64 [rounds], at least 4.

    Returns:
      int64 [n], each in 0..length-1.
    """
    half = np.uint64(max(1, ((length - 1).bit_length() + 1) // 2))
    low = (np.uint64(1) << half) - np.uint64(1)
    image = index.astype(np.uint64)
    walking = np.ones(image.shape, bool)
    while walking.any():
        left, right = image[walking] >> half, image[walking] & low
        for key in keys:
            left, right = right, left ^ (mix(right + key) & low)
        image[walking] = (left << half) | right
        walking = image >= length
    return image.astype(np.int64)


def order(length: int, key: int) -> np.ndarray:
    """Returns an order of 0..length-1 that `key` chooses, int64 [length]: that of numbers that SplitMix64 draws.

    No two of them are equal, since `mix` maps no two numbers to one. For a small set this takes a small part of the
    time of `permute`, each round of which is some calls, again and again until the last image falls inside.

    Args:
      length: how many elements are shuffled.
      key: below 2^64.
    """
    return np.argsort(mix(np.array([key], np.uint64) + GOLDEN * np.arange(length, dtype=np.uint64)))


def mix(x: np.ndarray) -> np.ndarray:
    """Scrambles uint64 numbers: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014). Arithmetic wraps around."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
