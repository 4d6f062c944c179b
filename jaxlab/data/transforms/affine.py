"""Pictures turned, slanted and moved, by any amount: values in between are interpolated linearly."""

# n pictures, h height, w width, c channels

import math
from typing import Any

import numpy as np

from jaxlab.data.transforms import Generators

AT_ONCE = 1 << 14  # pixels: what is computed of them stays in the cache of a core
Amount = float | np.ndarray  # one for all pictures, or float64 [n], one for each


def rotate(rng: Generators, pictures: np.ndarray, most: float, fill: int = 0) -> np.ndarray:
    """Turns each picture by an angle in -most .. most, in degrees; one number is drawn."""
    return turned(pictures, most * (2 * rng.random() - 1), fill)


def turned(pictures: np.ndarray, degrees: Amount, fill: int = 0) -> np.ndarray:
    """Turns pictures around their middle, counter-clockwise as they are looked at, uint8 [n h w c]."""
    angle = degrees * (math.pi / 180)
    cosine, sine = np.cos(angle), np.sin(angle)
    return affine(pictures, ((cosine, -sine), (sine, cosine)), (0, 0), fill)


def slanted(pictures: np.ndarray, down: Amount, right: Amount, fill: int = 0) -> np.ndarray:
    """Moves columns down, and rows to the right, by so many pixels for each pixel from the middle, uint8 [n h w c]."""
    return affine(pictures, ((1, -right), (-down, 1)), (0, 0), fill)


def moved(pictures: np.ndarray, down: Amount, right: Amount, fill: int = 0) -> np.ndarray:
    """Moves pictures by some pixels, uint8 [n h w c]."""
    return affine(pictures, ((1, 0), (0, 1)), (-right, -down), fill)


def affine(
    pictures: np.ndarray,
    matrix: tuple[tuple[Amount, Amount], tuple[Amount, Amount]],
    offset: tuple[Amount, Amount],
    fill: int = 0,
) -> np.ndarray:
    """Returns pictures [n h w c] whose pixel at (x, y), seen from the middle, is that at matrix (x, y) + offset.

    That is what PIL computes, but for rounding: here it is to the nearest. PIL has a call for each picture, which takes
    longer than a small one does; a large one takes as long either way.
    """
    n, height, width, _ = pictures.shape
    numbers = np.empty((6, n, 1), np.float32)
    for place, amount in enumerate((*matrix[0], offset[0], *matrix[1], offset[1])):
        numbers[place, :, 0] = amount
    found = np.empty(pictures.shape, np.uint8)
    count = max(AT_ONCE // (height * width), 1)
    for begin in range(0, n, count):
        some = slice(begin, begin + count)
        _interpolate(pictures[some], numbers[:, some], fill, found[some])
    return found


def _interpolate(pictures: np.ndarray, numbers: np.ndarray, fill: int, found: np.ndarray) -> None:
    """Writes what `affine` returns, of numbers float32 [6 n 1], into `found`, uint8 [n h w c]."""
    n, height, width, channels = pictures.shape
    a, b, right, c, d, down = numbers
    middle, centre = (height - 1) / 2, (width - 1) / 2
    rows, columns = np.arange(height, dtype=np.float32) - middle, np.arange(width, dtype=np.float32) - centre
    x = (a * columns)[:, None, :] + (b * rows + right)[:, :, None]
    y = (c * columns)[:, None, :] + (d * rows + down)[:, :, None]
    outside = (np.abs(x) > width / 2) | (np.abs(y) > height / 2)
    x += centre
    y += middle
    for places, last in ((x, width - 1), (y, height - 1)):  # beyond the middle of the last pixel it is that pixel
        np.maximum(places, 0, out=places)
        np.minimum(places, last, out=places)
    left, top = np.floor(x), np.floor(y)
    x -= left
    y -= top
    place = top.astype(np.intp)
    place *= width
    place += left.astype(np.intp)
    place += np.arange(0, n * height * width, height * width)[:, None, None]
    # On the last column the pixel to the right is one of the next row, and counts 0; so is that below the last row.
    corners = place, place + 1, place + width, place + (width + 1)
    for channel in range(channels):
        plane: Any = pictures[..., channel].astype(np.float32).ravel()
        above, beside, below, across = (plane.take(corner, mode='clip') for corner in corners)
        for one, other, share in ((above, beside, x), (below, across, x), (above, below, y)):
            other -= one
            other *= share
            one += other
        above += 0.5
        np.copyto(above, fill, where=outside)
        found[..., channel] = above
