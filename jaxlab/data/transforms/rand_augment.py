"""Some of fourteen operations, drawn anew for each picture, all of one strength (Cubuk et al. 2019, "RandAugment:
Practical automated data augmentation with a reduced search space")."""

# h height, w width, c channels

from collections.abc import Callable

import numpy as np

from jaxlab.data.picture_files import array_of, image_of
from jaxlab.data.transforms import affine
from jaxlab.data.transforms.colour import enhanced

STRONGEST = 30  # the largest magnitude

Operation = Callable[[np.ndarray, float, int], np.ndarray]  # (picture, strength in -1..1, fill) -> picture


def rand_augment(
    rng: np.random.Generator, picture: np.ndarray, operations: int, magnitude: float, fill: int = 0
) -> np.ndarray:
    """Applies `operations` of OPERATIONS, each drawn from all of them; half of those with a sign have the other one.

    Args:
      rng: two numbers are drawn for each operation.
      picture: uint8 [h w c].
      operations: how many.
      magnitude: how strong they are, 0..30.
      fill: what lies beyond the edges.
    """
    for which, sign in rng.random((operations, 2)):
        operation = EACH[int(which * len(EACH))]
        picture = operation(picture, magnitude / STRONGEST * (1 if sign < 0.5 else -1), fill)
    return picture


def posterize(picture: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the highest bits, 1..8, of all values."""
    return picture & np.uint8(256 - (1 << (8 - bits)))


def solarize(picture: np.ndarray, threshold: float) -> np.ndarray:
    """Inverts the values that are at least `threshold`, 0..256."""
    return np.where(picture >= threshold, 255 - picture, picture)


def auto_contrast(picture: np.ndarray) -> np.ndarray:
    """Spreads the values of each channel over 0..255."""
    return _by_pil(picture, 'autocontrast')


def equalize(picture: np.ndarray) -> np.ndarray:
    """Makes all values of a channel about as frequent."""
    return _by_pil(picture, 'equalize')


def _by_pil(picture: np.ndarray, name: str) -> np.ndarray:
    from PIL import ImageOps

    return array_of(getattr(ImageOps, name)(image_of(picture)))


# The ranges are those of AutoAugment (Cubuk et al. 2018); on pictures of another size than 331 pixels, what is measured
# in pixels there is the same share of the width here.
OPERATIONS: dict[str, Operation] = {
    'identity': lambda picture, strength, fill: picture,
    'auto_contrast': lambda picture, strength, fill: auto_contrast(picture),
    'equalize': lambda picture, strength, fill: equalize(picture),
    'rotate': lambda picture, strength, fill: affine.turned(picture, 30 * strength, fill),
    'solarize': lambda picture, strength, fill: solarize(picture, 256 * (1 - abs(strength))),
    'colour': lambda picture, strength, fill: enhanced(picture, Color=1 + 0.9 * strength),
    'posterize': lambda picture, strength, fill: posterize(picture, 8 - round(4 * abs(strength))),
    'contrast': lambda picture, strength, fill: enhanced(picture, Contrast=1 + 0.9 * strength),
    'brightness': lambda picture, strength, fill: enhanced(picture, Brightness=1 + 0.9 * strength),
    'sharpness': lambda picture, strength, fill: enhanced(picture, Sharpness=1 + 0.9 * strength),
    'slant_down': lambda picture, strength, fill: affine.slanted(picture, 0.3 * strength, 0, fill),
    'slant_right': lambda picture, strength, fill: affine.slanted(picture, 0, 0.3 * strength, fill),
    'move_down': lambda picture, strength, fill: affine.moved(picture, 150 / 331 * strength * len(picture), 0, fill),
    'move_right': lambda picture, strength, fill: affine.moved(
        picture, 0, 150 / 331 * strength * picture.shape[1], fill
    ),
}
EACH = tuple(OPERATIONS.values())
