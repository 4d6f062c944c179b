"""What happens to a picture of the training part before a model sees it: one file a kind, made by `make(*, …)`.

A transform is a pure function of the state of `rng` and the picture. It returns a picture of the same shape, and never
changes the one that it is given; it may return it, or a view of it. Row n of the training part has a generator of its
own, a function of (seed, n), so it is transformed in the same way whoever reads it, and when.
"""

# h height, w width, c channels

import functools
from typing import Any, Protocol

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from jaxlab.data.shuffle import mix

LANES = np.arange(1, 5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # far from each other


class Transform(Protocol):
    def __call__(self, rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
        """Returns a picture, uint8 [h w c], of the shape of `picture`, uint8 [h w c], c 1 or 3."""
        ...


def rng_of(seed: int, n: int) -> np.random.Generator:
    """Returns the generator of row n, which neighbours, other seeds and other uses of `seed` have nothing to do with.

    That is one for every picture of every epoch, so it must be quick: NumPy's own way from a seed to a state
    (SeedSequence) takes longer than a picture does. Here SplitMix64 scrambles (seed, n) into the 256 bits that PCG64
    (O'Neill, 2014) starts from.

    Args:
      seed: at least 0.
      n: number of the row, counted through all epochs, at least 0 and below 2^63.
    """
    return rngs_of(seed, np.array([n]))[0]


def rngs_of(seed: int, numbers: np.ndarray) -> list[np.random.Generator]:
    """Returns `rng_of` of each of these rows, int64 [n]; their states are scrambled at once."""
    words = mix(_lanes(seed) + numbers.astype(np.uint64)[:, None])
    return [np.random.Generator(np.random.PCG64(_Words(row))) for row in words]  # type: ignore[arg-type]


@functools.lru_cache(maxsize=16)
def _lanes(seed: int) -> np.ndarray:
    return mix(mix(LANES + np.uint64(seed)))


class _Words(ISeedSequence):
    """Hands a generator the bits that it starts from, as they are."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        assert (n_words, np.dtype(dtype)) == (4, np.dtype(np.uint64)), f'PCG64 wants {n_words} words of {dtype}'
        return self._words
