"""Pictures of another part, or at another place: the shape stays."""

# n pictures, h height, w width, c channels

import numpy as np

from jaxlab.data.picture_files import array_of, image_of
from jaxlab.data.transforms import Generators

ATTEMPTS = 10  # to find a part that lies within the picture


def padded_crop(
    rng: Generators, pictures: np.ndarray, padding: int, reflect: bool = False, fill: int = 0
) -> np.ndarray:
    """Moves each picture by up to `padding` pixels along each side: what a crop of the padded picture is (Krizhevsky,
    Sutskever & Hinton 2012; with a padding of 4 pixels on CIFAR: He et al. 2015).

    Args:
      rng: two numbers are drawn.
      pictures: uint8 [n h w c].
      padding: in pixels.
      reflect: beyond the edges is what lies before them, as in a mirror, and not `fill`.
      fill: what lies beyond the edges.
    """
    down, right = (rng.random(2) * (2 * padding + 1)).astype(int).T - padding
    return shifted(pictures, down, right, reflect, fill)


def shifted(
    pictures: np.ndarray, down: np.ndarray, right: np.ndarray, reflect: bool = False, fill: int = 0
) -> np.ndarray:
    """Returns pictures [n h w c], each moved by its own number of pixels, int [n], down and to the right."""
    n, height, width, channels = pictures.shape
    if reflect:  # the mirrors show the same again and again
        down, right = np.fmod(down, max(2 * height - 2, 1)), np.fmod(right, max(2 * width - 2, 1))
    else:  # beyond its own size nothing of it is left
        down = np.minimum(np.maximum(down, -height), height)
        right = np.minimum(np.maximum(right, -width), width)
    top, left = int(np.abs(down).max()), int(np.abs(right).max())
    if reflect:
        rows = mirrored(np.arange(-top, height + top), height)
        around = pictures.take(rows, 1).take(mirrored(np.arange(-left, width + left), width), 2)
    else:
        around = np.full((n, height + 2 * top, width + 2 * left, channels), fill, np.uint8)
        around[:, top : top + height, left : left + width] = pictures
    windows = np.lib.stride_tricks.sliding_window_view(around, (height, width, channels), (1, 2, 3))
    return windows[np.arange(n), top - down, left - right, 0]


def mirrored(places: np.ndarray, size: int) -> np.ndarray:
    """Returns which of 0..size-1 each place shows, where mirrors stand on the first and the last."""
    places = np.abs(places) % max(2 * size - 2, 1)
    return np.where(places < size, places, 2 * size - 2 - places)


def random_resized_crop(
    rng: Generators, pictures: np.ndarray, least: float, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Enlarges a random part to the whole: its area is a share of least..1 of the picture, its sides 3 : 4 to 4 : 3
    (Szegedy et al. 2014, "Going deeper with convolutions").

    Args:
      rng: four numbers are drawn for each attempt.
      pictures: uint8 [n h w c].
      least: the smallest share, in (0, 1].
      size: height and width of what is returned; None: the pictures'.
    """
    n, height, width, channels = pictures.shape
    share, shape, a, b = np.moveaxis(rng.random(ATTEMPTS, 4), -1, 0)  # [n attempts]
    area = (least + (1 - least) * share) * height * width
    ratio = (4 / 3) ** (2 * shape - 1)
    tall, wide = np.sqrt(area / ratio), np.sqrt(area * ratio)
    within = (tall <= height) & (wide <= width)
    first = np.arange(n), within.argmax(1)  # the first attempt of which the part lies within the picture
    none = ~within.any(1)
    tall, wide = np.where(none, height, tall[first]), np.where(none, width, wide[first])
    top, left = a[first] * (height - tall), b[first] * (width - wide)
    # Rounding must not lead beyond the picture.
    boxes = np.stack([left, top, np.minimum(left + wide, width), np.minimum(top + tall, height)], 1)
    from PIL import Image

    down, across = size or (height, width)
    found = np.empty((n, down, across, channels), np.uint8)
    for picture, box, one in zip(pictures, boxes.tolist(), found):
        if (down, across) == (height, width) and box == [0, 0, width, height]:
            one[:] = picture
        else:
            one[:] = array_of(image_of(picture).resize((across, down), Image.Resampling.BILINEAR, box))
    return found
