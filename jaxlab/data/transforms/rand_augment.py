"""Some of fourteen operations, drawn anew for each picture, all of one strength (Cubuk et al. 2019, "RandAugment:
Practical automated data augmentation with a reduced search space")."""

# n pictures, h height, w width, c channels

from collections.abc import Callable

import numpy as np

from jaxlab.data.picture_files import array_of, image_of
from jaxlab.data.transforms import Generators, affine
from jaxlab.data.transforms.colour import enhanced

STRONGEST = 30  # the largest magnitude

# (pictures [n h w c], strengths in -1..1 [n], fill) -> pictures
Operation = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def rand_augment(rng: Generators, pictures: np.ndarray, operations: int, magnitude: float, fill: int = 0) -> np.ndarray:
    """Applies `operations` of OPERATIONS, each drawn from all of them; half of those with a sign have the other one.

    Args:
      rng: two numbers are drawn for each operation.
      pictures: uint8 [n h w c].
      operations: how many.
      magnitude: how strong they are, 0..30.
      fill: what lies beyond the edges.
    """
    for which, sign in np.moveaxis(rng.random(operations, 2), 0, -1):
        drawn = (which * len(EACH)).astype(int)
        strengths = magnitude / STRONGEST * np.where(sign < 0.5, 1, -1)
        found = np.empty(pictures.shape, np.uint8)
        for one in np.unique(drawn):
            rows = np.flatnonzero(drawn == one)
            found[rows] = EACH[one](pictures[rows], strengths[rows], fill)
        pictures = found
    return pictures


def posterize(pictures: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Keeps the highest bits, 1..8, int [n], of all values."""
    return pictures & (256 - (1 << (8 - bits))).astype(np.uint8)[:, None, None, None]


def solarize(pictures: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Inverts the values that are at least the threshold, 0..256, float64 [n]."""
    return np.where(pictures >= thresholds[:, None, None, None], 255 - pictures, pictures)


def auto_contrast(pictures: np.ndarray) -> np.ndarray:
    """Spreads the values of each channel of a picture over 0..255."""
    return _by_pil(pictures, 'autocontrast')


def equalize(pictures: np.ndarray) -> np.ndarray:
    """Makes all values of a channel of a picture about as frequent."""
    return _by_pil(pictures, 'equalize')


def _by_pil(pictures: np.ndarray, name: str) -> np.ndarray:
    from PIL import ImageOps

    return np.stack([array_of(getattr(ImageOps, name)(image_of(picture))) for picture in pictures])


# The ranges are those of AutoAugment (Cubuk et al. 2018); on pictures of another size than 331 pixels, what is measured
# in pixels there is the same share of the width here.
OPERATIONS: dict[str, Operation] = {
    'identity': lambda pictures, strengths, fill: pictures,
    'auto_contrast': lambda pictures, strengths, fill: auto_contrast(pictures),
    'equalize': lambda pictures, strengths, fill: equalize(pictures),
    'rotate': lambda pictures, strengths, fill: affine.turned(pictures, 30 * strengths, fill),
    'solarize': lambda pictures, strengths, fill: solarize(pictures, 256 * (1 - abs(strengths))),
    'colour': lambda pictures, strengths, fill: enhanced(pictures, Color=1 + 0.9 * strengths),
    'posterize': lambda pictures, strengths, fill: posterize(pictures, 8 - np.rint(4 * abs(strengths)).astype(int)),
    'contrast': lambda pictures, strengths, fill: enhanced(pictures, Contrast=1 + 0.9 * strengths),
    'brightness': lambda pictures, strengths, fill: enhanced(pictures, Brightness=1 + 0.9 * strengths),
    'sharpness': lambda pictures, strengths, fill: enhanced(pictures, Sharpness=1 + 0.9 * strengths),
    'slant_down': lambda pictures, strengths, fill: affine.slanted(pictures, 0.3 * strengths, 0, fill),
    'slant_right': lambda pictures, strengths, fill: affine.slanted(pictures, 0, 0.3 * strengths, fill),
    'move_down': lambda pictures, strengths, fill: affine.moved(
        pictures, 150 / 331 * strengths * pictures.shape[1], 0, fill
    ),
    'move_right': lambda pictures, strengths, fill: affine.moved(
        pictures, 0, 150 / 331 * strengths * pictures.shape[2], fill
    ),
}
EACH = tuple(OPERATIONS.values())
