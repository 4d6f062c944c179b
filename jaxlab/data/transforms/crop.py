"""Pictures of another part, or at another place: the shape stays."""

# h height, w width, c channels

import math

import numpy as np

from jaxlab.data.picture_files import array_of, image_of

ATTEMPTS = 10  # to find a part that lies within the picture


def padded_crop(
    rng: np.random.Generator, picture: np.ndarray, padding: int, reflect: bool = False, fill: int = 0
) -> np.ndarray:
    """Moves a picture by up to `padding` pixels along each side: what a crop of the padded picture is (Krizhevsky,
    Sutskever & Hinton 2012; with a padding of 4 pixels on CIFAR: He et al. 2015).

    Args:
      rng: two numbers are drawn.
      picture: uint8 [h w c].
      padding: in pixels.
      reflect: beyond the edges is what lies before them, as in a mirror, and not `fill`.
      fill: what lies beyond the edges.
    """
    (a, b), places = rng.random(2).tolist(), 2 * padding + 1
    return shifted(picture, int(a * places) - padding, int(b * places) - padding, reflect, fill)


def shifted(picture: np.ndarray, down: int, right: int, reflect: bool = False, fill: int = 0) -> np.ndarray:
    """Returns a picture moved by some pixels, [h w c]."""
    height, width = picture.shape[:2]
    if reflect:
        rows, columns = mirrored(np.arange(height) - down, height), mirrored(np.arange(width) - right, width)
        return picture.take(rows, 0).take(columns, 1)
    moved = np.full(picture.shape, fill, picture.dtype) if fill else np.zeros(picture.shape, picture.dtype)
    top, left = max(down, 0), max(right, 0)
    bottom, end = height + min(down, 0), width + min(right, 0)
    if top < bottom and left < end:
        moved[top:bottom, left:end] = picture[top - down : bottom - down, left - right : end - right]
    return moved


def mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Returns which of 0..size-1 each place shows, where mirrors stand on the first and the last."""
    places = np.abs(places) % max(2 * size - 2, 1)
    return np.where(places < size, places, 2 * size - 2 - places)


def random_resized_crop(
    rng: np.random.Generator, picture: np.ndarray, least: float, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Enlarges a random part to the whole: its area is a share of least..1 of the picture, its sides 3 : 4 to 4 : 3
    (Szegedy et al. 2014, "Going deeper with convolutions").

    Args:
      rng: some numbers are drawn.
      picture: uint8 [h w c].
      least: the smallest share, in (0, 1].
      size: height and width of what is returned; None: the picture's.
    """
    height, width = picture.shape[:2]
    for _ in range(ATTEMPTS):
        share, shape, a, b = rng.random(4)
        area = (least + (1 - least) * share) * height * width
        ratio = (4 / 3) ** (2 * shape - 1)
        tall, wide = math.sqrt(area / ratio), math.sqrt(area * ratio)
        if tall <= height and wide <= width:
            break
    else:
        tall, wide, a, b = height, width, 0, 0
    from PIL import Image

    down, across = size or (height, width)
    top, left = a * (height - tall), b * (width - wide)
    # Rounding must not lead beyond the picture.
    box = (left, top, min(left + wide, width), min(top + tall, height))
    if (tall, wide) == (down, across) == (height, width):
        return picture
    return array_of(image_of(picture).resize((across, down), Image.Resampling.BILINEAR, box))
