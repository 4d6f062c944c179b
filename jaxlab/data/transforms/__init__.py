"""What happens to pictures of the training part before a model sees them: one file a kind, made by `make(*, …)`.

A transform takes some pictures at once, of which one is the case n = 1, and is a pure function of them and of the state
of `rng`. It returns pictures of the same shape, and never changes those that it is given; it may return them, or a view
of them. Row n of the training part has a generator of its own, a function of (seed, n), and what becomes of its picture
hangs on nothing else: it is transformed in the same way whoever reads it, when, and together with which others.
"""

# n pictures, h height, w width, c channels

import functools
import math
from typing import Protocol

import numpy as np

from jaxlab.data.shuffle import GOLDEN, mix


class Generators:
    """A generator of numbers for each of some rows, all of which draw at once.

    Each is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a counter that
    is scrambled. One of NumPy's own for every picture of every epoch takes longer to make than a small picture does.

    Args:
      states: uint64 [n]: where each begins.
    """

    def __init__(self, states: np.ndarray) -> None:
        self._states = states

    def __getitem__(self, rows: slice) -> 'Generators':
        """Returns the generators of some of the rows, which begin where those stand."""
        return Generators(self._states[rows])

    def random(self, *shape: int) -> np.ndarray:
        """Draws, for each row, numbers that are uniform in [0, 1): float64 [n *shape]."""
        count = math.prod(shape)
        bits = mix(self._states[:, None] + GOLDEN * np.arange(1, count + 1, dtype=np.uint64)) >> np.uint64(11)
        self._states = self._states + GOLDEN * np.array(count, np.uint64)
        return (bits * 2.0**-53).reshape(len(bits), *shape)


class Transform(Protocol):
    def __call__(self, rng: Generators, pictures: np.ndarray) -> np.ndarray:
        """Returns pictures, uint8 [n h w c], of the shape of `pictures`, uint8 [n h w c], c 1 or 3."""
        ...


def rngs_of(seed: int, numbers: np.ndarray) -> Generators:
    """Returns the generators of rows, which neighbours, other seeds and other uses of `seed` have nothing to do with.

    Args:
      seed: at least 0.
      numbers: int64 [n]: of the rows, counted through all epochs, each at least 0 and below 2^63.
    """
    return Generators(mix(_first(seed) + numbers.astype(np.uint64)))


@functools.lru_cache(maxsize=16)
def _first(seed: int) -> np.ndarray:
    return mix(mix(np.array([seed], np.uint64) + GOLDEN))
