"""The order of rows in which devices have as much to do as each other, where none looks ahead.

Along a ring of c devices (`jaxlab.nn.ring_attention`) a row lies in 2c chunks; device i has chunks i and 2c - 1 - i.
"""

# t time

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

IN_RING_ORDER: ContextVar[bool] = ContextVar('IN_RING_ORDER', default=False)


@contextmanager
def in_ring_order(on: bool) -> Iterator[None]:
    """While a model is traced: whether its rows [b t ...] are in this order."""
    token = IN_RING_ORDER.set(on)
    try:
        yield
    finally:
        IN_RING_ORDER.reset(token)


def order(t: int, devices: int) -> np.ndarray:
    """Returns which token of a row is where, int [t]: the tokens of the first device, then those of the second, …"""
    chunks = np.arange(t).reshape(2 * devices, -1)
    return np.stack([chunks[:devices], chunks[::-1][:devices]], 1).ravel()
