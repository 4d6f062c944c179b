"""Brightness, contrast and saturation: each by a factor, where 1 changes nothing (as in Krizhevsky 2012 and after)."""

# h height, w width, c channels

import numpy as np

from jaxlab.data.picture_files import array_of, image_of


def jitter(rng: np.random.Generator, picture: np.ndarray, most: float) -> np.ndarray:
    """Changes all three, in this order, each by a factor of its own in 1 - most .. 1 + most.

    Args:
      rng: three numbers are drawn.
      picture: uint8 [h w c].
      most: at least 0, at most 1.
    """
    lighter, stronger, purer = 1 + most * (2 * rng.random(3) - 1)
    return enhanced(picture, Brightness=lighter, Contrast=stronger, Color=purer)


def enhanced(picture: np.ndarray, **factors: float) -> np.ndarray:
    """Multiplies how far a picture, uint8 [h w c], is from one that lacks something.

    Args:
      picture: uint8 [h w c].
      **factors: by what PIL calls it, in this order: Brightness (what lacks it is black), Contrast (all of the mean
        grey), Color (grey; such pictures stay), Sharpness (smoothed).
    """
    from PIL import ImageEnhance

    image = image_of(picture)
    for name, factor in factors.items():
        image = getattr(ImageEnhance, name)(image).enhance(factor)
    return array_of(image)
