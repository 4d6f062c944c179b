"""A square is covered (DeVries & Taylor 2017, "Improved regularization of convolutional neural networks with
cutout")."""

import numpy as np


def cutout(rng: np.random.Generator, picture: np.ndarray, size: int, fill: int = 0) -> np.ndarray:
    """Covers a square whose middle is any pixel, just as likely each; what lies beyond the edges is cut off.

    Args:
      rng: two numbers are drawn.
      picture: uint8 [h w c].
      size: side of the square, in pixels.
      fill: what covers it.
    """
    height, width = picture.shape[:2]
    a, b = rng.random(2)
    top, left = int(a * height) - size // 2, int(b * width) - size // 2
    covered = picture.copy()
    covered[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = fill
    return covered
