"""Pictures as arrays: of files (PNG, JPEG, …), of their bytes, of what PIL or NumPy holds already."""

# h height, w width, c channels

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.records import BadRecord, cannot_be_read
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.trust import place

FORMATS = ('PNG', 'JPEG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP')  # what of PIL's readers a data set may reach
SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.pgm', '.ppm', '.tif', '.tiff', '.webp')
MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}  # channels -> what PIL calls them
MOST_PIXELS = 1 << 26  # a larger picture is refused before it is decoded: a file of 1 KB can say that it has a billion


def check_channels(channels: int) -> None:
    """Raises UserError where pictures cannot have so many channels."""
    if channels not in MODES:
        raise UserError(
            'channels={channels}: 1 (grey), 3 (red, green, blue) or 4 (and opacity) is wanted.', channels=channels
        )


def pixels(raw: Any, record: str = '') -> np.ndarray:
    """Returns a picture, uint8 [h w c] of its own size, upright as its EXIF says, c 1 (grey) or 3 (red, green, blue).

    What is transparent lies on white, 16 bits of grey become 8, of a moving picture the first is taken.

    Args:
      raw: where its file lies (str or Path), the bytes of a file, an image of PIL, or an array: uint8, or floats in
        0..1, [h w] or [h w c], where c may also be 4: with opacity.
      record: what it is called where it cannot be read; '': by its path.

    Raises:
      BadRecord: there is no such file, it is damaged or of another format, or it has too many pixels; or an array has
        another shape, type or range.
    """
    if isinstance(raw, np.ndarray):
        return _of_array(raw, record or say('an array'))
    if isinstance(raw, str | os.PathLike):
        return read_picture(place.of(raw if isinstance(raw, str) else Path(raw)), record or f'"{raw}"', 0)
    return read_picture(raw, record or say('a picture'), 0)


def _of_array(array: np.ndarray, record: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise BadRecord(
            '{record} of shape {shape} is no picture: [height, width] is, or [height, width, channels] with 1, 3 or 4'
            ' channels.',
            record=record,
            shape=array.shape,
        )
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # nan, too
            raise BadRecord(
                '{record} holds floats from {low:.4g} to {high:.4g}: those of a picture are in 0..1 (or uint8 in'
                ' 0..255).',
                record=record,
                low=low,
                high=high,
            )
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise BadRecord(
            '{record} is of type {dtype}: the values of a picture are uint8 in 0..255, or floats in 0..1.',
            record=record,
            dtype=array.dtype,
        )
    if array.shape[-1] == 4:
        from PIL import Image

        return _pixels(Image.fromarray(array), 0)
    return array


def read_picture(file: Any, record: str, channels: int = 3, upright: bool = True) -> np.ndarray:
    """Reads a picture: uint8 [h w c].

    Colour becomes grey by its luma (0.299 R + 0.587 G + 0.114 B); 16 bits become the upper 8; where there is no place
    for opacity, the picture is laid on white. Of several frames it is the first.

    Args:
      file: its path, its bytes, or an image of PIL.
      record: what it is called where it cannot be read.
      channels: 1, 3 or 4; 0: 1 where it is grey, else 3.
      upright: whether it is turned as its EXIF orientation says.

    Raises:
      BadRecord: it is damaged, cut off, of no known format, or larger than MOST_PIXELS.
    """
    from PIL import Image, ImageOps

    try:
        if isinstance(file, os.PathLike):
            file = Path(file).read_bytes()
        image = Image.open(io.BytesIO(file), formats=FORMATS) if isinstance(file, bytes) else file
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise too_large(record, width, height)
        if upright and image.getexif().get(0x0112, 1) != 1:
            image = ImageOps.exif_transpose(image)
        return _pixels(image, channels)
    except BadRecord:
        raise
    except OSError as error:
        if error.errno is not None:  # the disk or the network, not the picture
            raise cannot_be_read(record, error) from None
        raise damaged(record, error) from None
    except Exception as error:  # what damaged files do to it, only its library knows
        raise damaged(record, error) from None


def _pixels(image: Any, channels: int) -> np.ndarray:
    """Returns an image of PIL with so many channels; 0: 1 where it is grey, else 3."""
    from PIL import Image

    if image.mode == 'F':
        raise ValueError('its pixels are floating-point numbers')
    if image.mode.startswith('I'):  # 16 bits, in modes 'I;16', 'I;16B' and 'I', whose conversion by PIL cuts off at 255
        deep = np.asarray(image).astype(np.int64)
        image = Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8))
    if not channels:
        channels = 1 if image.mode in ('1', 'L', 'LA', 'La') else 3
    if channels < 4 and (image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info):
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        white.alpha_composite(image)
        image = white
    if image.mode != MODES[channels]:
        image = image.convert(MODES[channels])
    found = np.asarray(image)
    return found[..., None] if channels == 1 else found


def too_large(record: str, width: int, height: int) -> BadRecord:
    return BadRecord(
        '{record} has {width:,} × {height:,} pixels; at most {most:,} are read.\n'
        'Make it smaller, or leave such records out: --config.data.bad=skip',
        record=record,
        width=width,
        height=height,
        most=MOST_PIXELS,
    )


def damaged(record: str, error: Exception) -> BadRecord:
    return BadRecord(
        '{record} is no picture that can be read ({error}).\n'
        'Mend it, or leave such records out: --config.data.bad=skip',
        record=record,
        error=f'{type(error).__name__}: {error}'.partition(' <_io.')[0],  # PIL names an object in memory
    )


def image_of(picture: np.ndarray) -> Any:
    """Returns a picture, uint8 [h w c], as an image of PIL."""
    from PIL import Image

    height, width, channels = picture.shape
    mode = 'L' if channels == 1 else 'RGB'
    # For a small picture `fromarray`, which comes to the same, takes longer than what is done to it.
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(picture), 'raw', mode, 0, 1)


def array_of(image: Any) -> np.ndarray:
    """Returns a grey or coloured image of PIL as a picture, uint8 [h w c], which is not to be written to."""
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array
