"""Brightness, contrast and saturation: each by a factor, where 1 changes nothing (as in Krizhevsky 2012 and after)."""

# n pictures, h height, w width, c channels

import numpy as np

from jaxlab.data.picture_files import array_of, image_of
from jaxlab.data.transforms import Generators


def jitter(rng: Generators, pictures: np.ndarray, most: float) -> np.ndarray:
    """Changes all three, in this order, each by a factor of its own in 1 - most .. 1 + most.

    Args:
      rng: three numbers are drawn.
      pictures: uint8 [n h w c].
      most: at least 0, at most 1.
    """
    lighter, stronger, purer = (1 + most * (2 * rng.random(3) - 1)).T
    return enhanced(pictures, Brightness=lighter, Contrast=stronger, Color=purer)


def enhanced(pictures: np.ndarray, **factors: np.ndarray) -> np.ndarray:
    """Multiplies how far pictures, uint8 [n h w c], are from those that lack something.

    Args:
      pictures: uint8 [n h w c].
      **factors: float64 [n], by what PIL calls it, in this order: Brightness (what lacks it is black), Contrast (all
        of the mean grey), Color (grey; such pictures stay), Sharpness (smoothed).
    """
    from PIL import ImageEnhance

    found = np.empty(pictures.shape, np.uint8)
    for n, picture in enumerate(pictures):
        image = image_of(picture)
        for name, factor in factors.items():
            image = getattr(ImageEnhance, name)(image).enhance(float(factor[n]))
        found[n] = array_of(image)
    return found
