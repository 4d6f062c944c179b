"""A square is covered (DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with
cutout")."""

# n pictures, h height, w width, c channels

import numpy as np

from jaxlab.data.transforms import Generators


def cutout(rng: Generators, pictures: np.ndarray, size: int, fill: int = 0) -> np.ndarray:
    """Covers a square whose middle is any pixel, just as likely each; what lies beyond the edges is cut off.

    Args:
      rng: two numbers are drawn.
      pictures: uint8 [n h w c].
      size: side of the square, in pixels.
      fill: what covers it.
    """
    sides = pictures.shape[1:3]
    first = (rng.random(2) * sides).astype(int) - size // 2
    rows, columns = (  # how far behind the first of the square each one is, [n h] and [n w]
        np.arange(side) - first[:, axis, None] for axis, side in enumerate(sides)
    )
    square = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None, :]
    covered = pictures.copy()
    covered[square] = fill
    return covered
