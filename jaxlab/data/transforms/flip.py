"""Left and right exchanged (Krizhevsky, Sutskever & Hinton 2012)."""

# n pictures, h height, w width, c channels

import numpy as np

from jaxlab.data.transforms import Generators


def flip(rng: Generators, pictures: np.ndarray) -> np.ndarray:
    """Returns each picture, uint8 [n h w c], or just as likely what a mirror shows; one number is drawn."""
    chosen = np.flatnonzero(rng.random() < 0.5)
    found, some = pictures.copy(), pictures[chosen]
    mirrored = np.empty(some.shape, np.uint8)
    for channel in range(pictures.shape[-1]):  # copied pixel by pixel, it would take twice to five times as long
        mirrored[..., channel] = some[:, :, ::-1, channel]
    found[chosen] = mirrored
    return found
