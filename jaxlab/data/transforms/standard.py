"""What is usually done to pictures, each when it is asked for: by default nothing is."""

# n pictures, h height, w width, c channels

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from jaxlab.data.transforms import Generators, Transform
from jaxlab.data.transforms.affine import rotate as rotated
from jaxlab.data.transforms.colour import jitter
from jaxlab.data.transforms.crop import padded_crop
from jaxlab.data.transforms.crop import random_resized_crop as resized_crop
from jaxlab.data.transforms.cutout import cutout as covered
from jaxlab.data.transforms.flip import flip as flipped
from jaxlab.data.transforms.rand_augment import STRONGEST
from jaxlab.data.transforms.rand_augment import rand_augment as augmented
from jaxlab.errors import UserError, alternatives

PADDINGS = ('fill', 'reflect')
Operation = Callable[[Generators, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Standard:
    """What `make` returns.

    Attributes:
      least: the smallest share of the picture that a random part is; 0: there is no random part.
      operations: what follows, in this order.
      size: height and width of the pictures that come out, where they are not those of what comes in: only a random
        part can be taken of a picture of any size.
    """

    least: float
    operations: tuple[Operation, ...]
    size: tuple[int, int] | None = None

    def __call__(self, rng: Generators, pictures: np.ndarray) -> np.ndarray:
        if self.least:
            pictures = resized_crop(rng, pictures, self.least, self.size)
        for operation in self.operations:
            pictures = operation(rng, pictures)
        return pictures

    def of_any_size(self, height: int, width: int) -> 'Standard | None':
        """Returns a transform that makes pictures [n height width c] of pictures of any size; None: it cannot."""
        return replace(self, size=(height, width)) if self.least else None


def make(
    *,
    random_resized_crop: float = 0.0,
    crop_padding: int = 0,
    padding_mode: str = 'fill',
    flip: bool = False,
    rotate: float = 0.0,
    rand_augment: int = 0,
    magnitude: float = 9.0,
    colour: float = 0.0,
    cutout: int = 0,
    fill: int = 0,
) -> Transform | None:
    """Returns a transform that does, in the order of these arguments, what they ask for; None: for nothing.

    Args:
      random_resized_crop: a random part becomes the whole, whose area is at least this share of the picture's, such as
        0.08; 0: off.
      crop_padding: the picture moves by up to so many pixels, such as 4; 0: off.
      padding_mode: what comes in from beyond the edges then: fill, or reflect, a mirror of what lies before them.
      flip: left and right are exchanged in half of the pictures.
      rotate: the picture is turned by up to so many degrees, to either side; 0: off.
      rand_augment: so many of 14 operations are drawn for each picture, such as 2; 0: off.
      magnitude: how strong those are, 0 to 30.
      colour: brightness, contrast and saturation are changed by up to this share, such as 0.4; 0: off.
      cutout: side, in pixels, of a square that is covered, such as 16; 0: off.
      fill: value, 0 to 255, of what covers it, and of what lies beyond the edges.

    Raises:
      UserError: an argument is out of range.
    """
    ranges: dict[str, tuple[float, float, float]] = {
        'random_resized_crop': (random_resized_crop, 0, 1),
        'crop_padding': (crop_padding, 0, 4096),
        'rotate': (rotate, 0, 180),
        'rand_augment': (rand_augment, 0, 14),
        'magnitude': (magnitude, 0, STRONGEST),
        'colour': (colour, 0, 1),
        'cutout': (cutout, 0, 4096),
        'fill': (fill, 0, 255),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise UserError(
                '{name}={value}: from {low} to {high} is wanted.', name=name, value=value, low=low, high=high
            )
    if padding_mode not in PADDINGS:
        raise UserError(
            'padding_mode="{name}": {alternatives}',
            name=padding_mode,
            alternatives=alternatives(padding_mode, PADDINGS),
        )
    reflect = padding_mode == 'reflect'
    operations: list[tuple[bool, Operation]] = [
        (crop_padding > 0, partial(padded_crop, padding=crop_padding, reflect=reflect, fill=fill)),
        (flip, flipped),
        (rotate > 0, partial(rotated, most=rotate, fill=fill)),
        (rand_augment > 0, partial(augmented, operations=rand_augment, magnitude=magnitude, fill=fill)),
        (colour > 0, partial(jitter, most=colour)),
        (cutout > 0, partial(covered, size=cutout, fill=fill)),
    ]
    used = tuple(operation for wanted, operation in operations if wanted)
    return Standard(random_resized_crop, used) if used or random_resized_crop else None
