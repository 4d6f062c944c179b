"""Many pictures in one: grids of samples, and contact sheets that say under each what it is. Written as PNG."""

# n pictures, h height, w width, c channels; H, W of the whole

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlab.data.picture_files import array_of, image_of
from jaxlab.trust import place

GAP = 2  # pixels between two pictures
LINE = 11  # pixels that a caption is high
GREY = 96  # what lies between them


def grid(pictures: np.ndarray, columns: int = 0, scale: int = 1) -> np.ndarray:
    """Returns pictures in rows, one next to the other.

    Args:
      pictures: uint8 [n h w c], n at least 1.
      columns: how many stand in a row; 0: as many as make it a square.
      scale: how many pixels, along both axes, a pixel becomes.

    Returns:
      uint8 [H W c]; behind the last picture it is black.
    """
    n, h, w, c = pictures.shape
    assert n > 0 and scale > 0, f'{n} pictures, enlarged {scale} times'
    columns = columns or int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    filled = np.concatenate([pictures, np.zeros((rows * columns - n, h, w, c), np.uint8)])
    whole = filled.reshape(rows, columns, h, w, c).swapaxes(1, 2).reshape(rows * h, columns * w, c)
    return whole.repeat(scale, 0).repeat(scale, 1)


def sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 10, size: int = 64) -> np.ndarray:
    """Returns a contact sheet: pictures of any sizes, each with a few words under it.

    Small ones are enlarged by a whole number, so that every pixel is seen; large ones become smaller. The same
    pictures are the same sheet everywhere: its font is one of fixed dots. It has the letters of Western Europe; what
    others it is given become '?'.

    Args:
      pictures: each uint8 [h w c], grey or coloured; at least one.
      captions: as many; what does not fit is left out.
      columns: how many stand in a row.
      size: pixels that the longer side of a picture has at most; of one that is enlarged, more than half as many.

    Returns:
      uint8 [H W 3].
    """
    from PIL import Image, ImageDraw, ImageFont

    assert len(pictures) == len(captions) > 0, f'{len(pictures)} pictures, {len(captions)} captions'
    font = ImageFont.load_default_imagefont()
    shown = [_shown(picture, size) for picture in pictures]
    wide, high = max(picture.shape[1] for picture in shown), max(picture.shape[0] for picture in shown)
    wide, high = max(wide, size) + GAP, high + LINE + GAP
    columns = min(columns, len(shown))
    whole = Image.new('RGB', (columns * wide + GAP, -(-len(shown) // columns) * high + GAP), (GREY,) * 3)
    draw = ImageDraw.Draw(whole)
    for number, (picture, caption) in enumerate(zip(shown, captions)):
        left, top = GAP + number % columns * wide, GAP + number // columns * high
        whole.paste(image_of(picture), (left, top))
        words = caption.encode('latin-1', 'replace').decode('latin-1')
        while words and font.getlength(words) > wide - GAP:
            words = words[:-1]
        draw.text((left, top + picture.shape[0]), words, (255, 255, 255), font)
    return array_of(whole)


def _shown(picture: np.ndarray, size: int) -> np.ndarray:
    """Returns a picture as the sheet shows it: enlarged by a whole number, or made smaller."""
    longer = max(picture.shape[:2])
    if longer <= size:
        return picture.repeat(size // longer, 0).repeat(size // longer, 1)
    from PIL import Image

    height, width = (max(side * size // longer, 1) for side in picture.shape[:2])
    return array_of(image_of(picture).resize((width, height), Image.Resampling.BOX))


def png(picture: np.ndarray) -> bytes:
    """Returns the file of a picture, uint8 [h w c], without anything else in it: no time, no name of a program."""
    import io

    written = io.BytesIO()
    image_of(picture).save(written, 'PNG')
    return written.getvalue()


def write_png(file: Path, picture: np.ndarray) -> None:
    """Writes a picture, uint8 [h w c], whole or not at all, into a folder that is there; raises OSError."""
    place.write(file, png(picture))
