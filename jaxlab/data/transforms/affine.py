"""Pictures turned, slanted and moved, by any amount: values in between are interpolated linearly."""

# h height, w width, c channels

import math

import numpy as np

from jaxlab.data.picture_files import array_of, image_of


def rotate(rng: np.random.Generator, picture: np.ndarray, most: float, fill: int = 0) -> np.ndarray:
    """Turns a picture by an angle in -most .. most, in degrees; one number is drawn."""
    return turned(picture, most * (2 * rng.random() - 1), fill)


def turned(picture: np.ndarray, degrees: float, fill: int = 0) -> np.ndarray:
    """Turns a picture around its middle, counter-clockwise as it is looked at, uint8 [h w c]."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return affine(picture, ((cosine, -sine), (sine, cosine)), (0, 0), fill)


def slanted(picture: np.ndarray, down: float, right: float, fill: int = 0) -> np.ndarray:
    """Moves columns down, and rows to the right, by so many pixels for each pixel from the middle, uint8 [h w c]."""
    return affine(picture, ((1, -right), (-down, 1)), (0, 0), fill)


def moved(picture: np.ndarray, down: float, right: float, fill: int = 0) -> np.ndarray:
    """Moves a picture by some pixels, uint8 [h w c]."""
    return affine(picture, ((1, 0), (0, 1)), (-right, -down), fill)


def affine(
    picture: np.ndarray,
    matrix: tuple[tuple[float, float], tuple[float, float]],
    offset: tuple[float, float],
    fill: int = 0,
) -> np.ndarray:
    """Returns the picture [h w c] whose pixel at (x, y), seen from the middle, is that at matrix (x, y) + offset."""
    from PIL import Image

    height, width, channels = picture.shape
    (a, b), (c, d) = matrix
    x, y = width / 2, height / 2  # PIL counts from the corner of the picture, to the middle of its pixels
    numbers = (a, b, x - a * x - b * y + offset[0], c, d, y - c * x - d * y + offset[1])
    colour = None if not fill else fill if channels == 1 else (fill,) * channels  # by itself it is 0, and quicker
    linear = Image.Resampling.BILINEAR
    image = image_of(picture).transform((width, height), Image.Transform.AFFINE, numbers, linear, fillcolor=colour)
    return array_of(image)
