"""Files of pictures: every kind becomes bytes in the asked-for channels, and what is damaged says which file it is."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxlab.data import picture_files
from jaxlab.data.picture_files import read_picture
from jaxlab.data.records import BadRecord
from jaxlab.errors import UserError


def written(array, form='PNG', mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(file, form, **options)
    return file.getvalue()


RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)
CLEAR = np.concatenate([COLOUR, RNG.integers(0, 256, (5, 7, 1), np.uint8)], -1)


@pytest.mark.parametrize('form', ['PNG', 'BMP', 'PPM', 'TIFF', 'WEBP'])
def test_what_was_written_without_loss_is_read(form):
    lossless = {'lossless': True} if form == 'WEBP' else {}
    np.testing.assert_array_equal(read_picture(written(COLOUR, form, **lossless), 'x'), COLOUR)
    if form != 'WEBP':  # which has no grey
        np.testing.assert_array_equal(read_picture(written(GREY, form), 'x', 1), GREY[..., None])


def test_channels():
    np.testing.assert_array_equal(read_picture(written(GREY), 'x', 3), np.repeat(GREY[..., None], 3, -1))
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_picture(written(COLOUR), 'x', 1)[..., 0] - luma).max() <= 1
    np.testing.assert_array_equal(read_picture(written(CLEAR), 'x', 4), CLEAR)
    np.testing.assert_array_equal(read_picture(written(COLOUR), 'x', 4)[..., 3], 255)
    assert read_picture(written(COLOUR, 'JPEG', quality=100), 'x').shape == COLOUR.shape


def test_what_is_transparent_is_laid_on_white():
    opacity = CLEAR[..., 3:] / 255
    wanted = COLOUR * opacity + 255 * (1 - opacity)
    assert np.abs(read_picture(written(CLEAR), 'x', 3) - wanted).max() <= 1
    assert np.abs(read_picture(written(CLEAR), 'x', 1)[..., 0] - wanted @ [0.299, 0.587, 0.114]).max() <= 2
    palette = written(CLEAR[..., 3:].repeat(3, -1) // 128 * 255, mode='P')
    assert set(np.unique(read_picture(palette, 'x'))) <= {0, 255}
    hole = Image.fromarray(np.zeros((2, 2), np.uint8), 'P')
    hole.putpalette([10, 20, 30])
    file = io.BytesIO()
    hole.save(file, 'PNG', transparency=0)
    np.testing.assert_array_equal(read_picture(file.getvalue(), 'x'), 255)


def test_sixteen_bits_become_the_upper_eight():
    deep = RNG.integers(0, 65536, (5, 7), np.uint16)
    for form in ('PNG', 'TIFF'):
        np.testing.assert_array_equal(read_picture(written(deep, form), 'x', 1)[..., 0], deep >> 8)
        np.testing.assert_array_equal(read_picture(written(deep, form), 'x', 3)[..., 2], deep >> 8)


@pytest.mark.parametrize(('orientation', 'turn'), [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, np.rot90)])
def test_a_picture_stands_as_its_camera_noted(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = written(COLOUR, exif=exif)
    np.testing.assert_array_equal(read_picture(file, 'x', upright=False), COLOUR)
    found = read_picture(file, 'x')
    np.testing.assert_array_equal(found, turn(COLOUR) if orientation < 6 else np.rot90(COLOUR, -1))


def bomb(side):
    """A PNG of 80 bytes that says it has side × side pixels."""

    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


@pytest.mark.parametrize('side', [9_000, 60_000])
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_a_bomb_is_not_decoded(side, monkeypatch):
    monkeypatch.setattr(Image.Image, 'load', lambda *_: pytest.fail('it is decoded'))
    with pytest.raises(BadRecord, match='big'):
        read_picture(bomb(side), '"big.png"')


@pytest.mark.parametrize(
    'file',
    [
        b'',
        b'no picture at all',
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        written(COLOUR)[:60],
        written(RNG.integers(0, 256, (64, 64, 3), np.uint8), 'JPEG')[:700],
        bomb(10),
        written(GREY.astype(np.float32), 'TIFF'),
    ],
)
def test_what_is_damaged_says_which_it_is(file, tmp_path):
    with pytest.raises(BadRecord, match='is no picture that can be read') as caught:
        read_picture(file, '"pets/1.png"')
    assert caught.value.record == '"pets/1.png"' and 'bad=skip' in str(caught.value)


@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::RuntimeWarning')
def test_any_byte_may_be_wrong():
    """Damaged anywhere, a picture is read or is a BadRecord: nothing else comes out."""
    for form in ('PNG', 'JPEG', 'GIF', 'TIFF', 'BMP', 'PPM', 'WEBP'):
        whole = written(COLOUR, form)
        for place in range(0, len(whole), max(1, len(whole) // 60)):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            with contextlib.suppress(BadRecord):
                assert read_picture(bytes(damaged), 'x').dtype == np.uint8


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadRecord, match=r'cat\.png" cannot be read'):
        read_picture(tmp_path / 'cat.png', f'"{tmp_path / "cat.png"}"')


def test_other_formats_are_not_reached(tmp_path, monkeypatch):
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, 'ICO')
    with pytest.raises(BadRecord):
        read_picture(file.getvalue(), 'x')
    monkeypatch.setattr(picture_files, 'FORMATS', ('ICO',))
    assert read_picture(file.getvalue(), 'x').shape[-1] == 3  # it is the list that keeps it out


def test_channels_are_checked():
    with pytest.raises(UserError, match='channels=2'):
        picture_files.check_channels(2)
