"""Pictures to arrays of one shape, and probabilities to the name of a class."""

# h height, w width, c channels

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.picture_files import MOST_PIXELS, array_of, image_of, pixels
from jaxlab.data.processors import save_assets
from jaxlab.errors import UserError, alternatives

READS = 'pictures'
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic', 'lanczos')


@dataclass(frozen=True)
class Picture:
    """What a model of pictures sees, and what its outputs are called.

    Attributes:
      height, width, channels: the shape of what `encode` returns; 0: that of each picture, as long as data are unknown.
        1 channel is grey, 3 are red, green and blue.
      resize: the shorter side becomes so long before the middle is cut out; 0: the whole picture becomes [h w].
      interpolation: one of INTERPOLATIONS.
      mean, deviation: of each channel, of values in 0..1: tasks turn x into (x / 255 - mean) / deviation.
      labels: names of the classes; () where the outputs are numbers.
    """

    height: int = 0
    width: int = 0
    channels: int = 0
    resize: int = 0
    interpolation: str = 'bilinear'
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    def complete(
        self,
        *,
        height: int = 0,
        width: int = 0,
        channels: int = 0,
        mean: Sequence[float] = (),
        deviation: Sequence[float] = (),
        labels: Sequence[str] = (),
    ) -> 'Picture':
        """Returns a copy that knows these too; what it knew already stays.

        Raises:
          UserError: `mean` and `deviation` do not have a number for each channel.
        """
        found = replace(
            self,
            height=self.height or height,
            width=self.width or width,
            channels=self.channels or channels,
            mean=self.mean or tuple(map(float, mean)),
            deviation=self.deviation or tuple(map(float, deviation)),
            labels=self.labels or tuple(labels),
        )
        assert found.channels in (0, 1, 3), f'{found.channels} channels'
        for name in ('mean', 'deviation'):
            values = getattr(found, name)
            if values and found.channels and len(values) != found.channels:
                raise UserError(
                    '{name}={values}: the pictures have {channels} channels, and each wants a number.',
                    name=name,
                    values=values,
                    channels=found.channels,
                )
        return found

    def encode(self, raw: Any, record: str = '') -> np.ndarray:
        """Returns a picture as the model sees it, uint8 [h w c]; an array that is so already is returned as it is.

        Args:
          raw: a path, the bytes of a file, an image of PIL or an array; see `jaxlab.data.picture_files.pixels`.
          record: what it is called where it cannot be read.

        Raises:
          BadRecord: it cannot be read.
        """
        shape = (self.height, self.width, self.channels)
        if isinstance(raw, np.ndarray) and raw.dtype == np.uint8 and raw.shape == shape and not self.resize:
            return raw
        return self._shaped(self._coloured(pixels(raw, record)))

    def _coloured(self, picture: np.ndarray) -> np.ndarray:
        channels = picture.shape[-1]
        if not self.channels or channels == self.channels:
            return picture
        if channels == 1:
            return np.repeat(picture, 3, axis=-1)
        return array_of(image_of(picture).convert('L'))  # 0.299 red, 0.587 green, 0.114 blue

    def _shaped(self, picture: np.ndarray) -> np.ndarray:
        height, width = self.height or picture.shape[0], self.width or picture.shape[1]
        if not self.resize:
            return self._resized(picture, height, width)
        along = 0 if picture.shape[0] >= picture.shape[1] else 1
        short, long = picture.shape[1 - along], picture.shape[along]
        # Only the middle of a very long picture is resized: with all of it, it would be very large.
        beyond = max(long - 4 * short, 0) // 2
        picture = picture.take(range(beyond, long - beyond), along) if beyond else picture
        longer = self.resize * picture.shape[along] // short
        sides = (longer, self.resize) if along == 0 else (self.resize, longer)
        picture = self._resized(picture, *sides)
        # Halves go to the even number, as they do in torchvision.
        top, left = round((sides[0] - height) / 2), round((sides[1] - width) / 2)
        return np.ascontiguousarray(picture[top : top + height, left : left + width])

    def _resized(self, picture: np.ndarray, height: int, width: int) -> np.ndarray:
        if picture.shape[:2] == (height, width):
            return picture
        from PIL import Image

        how = Image.Resampling[self.interpolation.upper()]
        return array_of(image_of(picture).resize((width, height), how))

    def decode(self, probabilities: np.ndarray) -> str:
        """Returns the name of the likeliest class, given probabilities or logits [classes]."""
        assert np.shape(probabilities) == (len(self.labels),), f'{np.shape(probabilities)}, {len(self.labels)} labels'
        return self.labels[int(np.argmax(probabilities))]

    def assets(self) -> dict[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        return {'processor.json': json.dumps(asdict(self), ensure_ascii=False).encode()}

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `load(folder)` reads them."""
        save_assets(self.assets(), folder)


def make(
    *,
    size: int = 0,
    resize: int = 0,
    interpolation: str = 'bilinear',
    mean: tuple[float, ...] = (),
    deviation: tuple[float, ...] = (),
) -> Picture:
    """Returns a processor that does not know its data yet; see `Picture.complete`.

    Args:
      size: height and width in pixels; 0: those of the data.
      resize: the shorter side becomes so long, and then `size` pixels of the middle are cut out; 0: the whole picture
        becomes `size` x `size`, whatever its shape was.
      interpolation: nearest, bilinear, bicubic or lanczos.
      mean: of each channel, of values in 0..1; (): that of the training part.
      deviation: of each channel, of values in 0..1; (): that of the training part.

    Raises:
      UserError: an argument is out of range.
    """
    if not 0 <= size <= math.isqrt(MOST_PIXELS):
        raise UserError(
            'size={size}: a side has 1 to {most} pixels (0: as many as the data have).',
            size=size,
            most=math.isqrt(MOST_PIXELS),
        )
    if resize and not 0 < size <= resize <= math.isqrt(MOST_PIXELS):
        raise UserError(
            'resize={resize}: the shorter side has at least the size={size} pixels that are cut out of it, and at most'
            ' {most} (0: nothing is cut off).',
            resize=resize,
            size=size,
            most=math.isqrt(MOST_PIXELS),
        )
    if interpolation not in INTERPOLATIONS:
        raise UserError(
            'interpolation="{name}": {alternatives}',
            name=interpolation,
            alternatives=alternatives(interpolation, INTERPOLATIONS),
        )
    if len(mean) != len(deviation) or len(mean) not in (0, 1, 3) or not _numbers(mean, deviation):
        raise UserError(
            'mean={mean}, deviation={deviation}: a number for each channel is wanted in both, of values in 0..1, such'
            ' as (0.5,) and (0.25,); () for both means that they are measured.',
            mean=mean,
            deviation=deviation,
        )
    return Picture(size, size, 0, resize, interpolation, tuple(map(float, mean)), tuple(map(float, deviation)))


def load(folder: Path) -> Picture:
    """Returns what `Picture.save` wrote.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found = json.loads((folder / 'processor.json').read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != set(asdict(Picture())):
        raise ValueError('processor.json')
    numbers = [found[name] for name in ('height', 'width', 'channels', 'resize')]
    lists = [found[name] for name in ('mean', 'deviation', 'labels')]
    if not all(type(number) is int for number in numbers) or not all(type(values) is list for values in lists):
        raise ValueError('processor.json')
    height, width, channels, resize = numbers
    mean, deviation, labels = lists
    sides = height > 0 and width > 0 and height * width <= MOST_PIXELS
    cut = resize == 0 or max(height, width) <= resize <= math.isqrt(MOST_PIXELS)
    if not sides or not cut or channels not in (1, 3) or found['interpolation'] not in INTERPOLATIONS:
        raise ValueError('processor.json')
    if not len(mean) == len(deviation) == channels or not _numbers(mean, deviation):
        raise ValueError('processor.json')
    if not all(type(label) is str for label in labels):
        raise ValueError('processor.json')
    mean, deviation = (tuple(map(float, values)) for values in (mean, deviation))
    return Picture(height, width, channels, resize, found['interpolation'], mean, deviation, tuple(labels))


def _numbers(mean: Sequence[float], deviation: Sequence[float]) -> bool:
    """Whether these can be the means and deviations of values in 0..1."""
    if not all(type(value) in (int, float) for value in (*mean, *deviation)):
        return False
    return all(0 <= value <= 1 for value in mean) and all(0 < value < math.inf for value in deviation)
