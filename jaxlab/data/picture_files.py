"""Pictures as arrays: of files, of their bytes, of what PIL or NumPy holds already."""

# h height, w width, c channels

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.records import BadRecord
from jaxlab.messages import say
from jaxlab.trust import place

# Formats that are read. Others want more than a decoder: EPS, say, starts a program.
FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM')
MOST_PIXELS = 1 << 26  # a file of some kilobytes can say that it is a picture of some gigabytes


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
        path = place.of(raw if isinstance(raw, str) else Path(raw))
        record = record or f'"{raw}"'
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise BadRecord('{record} cannot be read: {error}.', record=record, error=error.strerror or error) from None
    return _of_file(raw, record or say('a picture'))


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

        return _as_array(Image.fromarray(array))
    return array


def _of_file(raw: Any, record: str) -> np.ndarray:
    from PIL import Image, ImageOps

    def refuse(width: int, height: int) -> None:
        if width * height > MOST_PIXELS:
            raise BadRecord(
                '{record} has {width:,} x {height:,} pixels: more than {most:,} are not read.',
                record=record,
                width=width,
                height=height,
                most=MOST_PIXELS,
            )

    try:
        image = raw if isinstance(raw, Image.Image) else Image.open(io.BytesIO(raw), formats=FORMATS)
        refuse(*image.size)  # before anything is decoded
        array = _as_array(ImageOps.exif_transpose(image))
    except BadRecord:
        raise
    except Exception as error:  # what damaged files do to it, only its library knows
        what = f'{type(error).__name__}: {error}'.split(' <_io.')[0]
        raise BadRecord(
            '{record} is no picture that can be read ({error}).\nFormats: {formats}.',
            record=record,
            error=what,
            formats=', '.join(FORMATS),
        ) from None
    return array


def _as_array(image: Any) -> np.ndarray:
    """Returns an image of PIL as uint8 [h w 1] or [h w 3]."""
    from PIL import Image

    if image.mode.startswith('I;16'):
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[..., None]
    if image.mode in ('I', 'F'):
        raise ValueError(f'mode {image.mode}')  # 32 bits, whose range nobody knows
    if image.has_transparency_data:
        grey = image.mode in ('1', 'L', 'LA', 'La')
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert('L' if grey else 'RGB')
    if image.mode not in ('L', 'RGB'):
        image = image.convert('L' if image.mode == '1' else 'RGB')
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array
