"""Many pictures in one, the same everywhere, and written whole."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxlab.data.sheet import GAP, GREY, LINE, grid, png, sheet, write_png


def random(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(('n', 'columns', 'rows', 'wanted'), [(6, 3, 2, 3), (7, 3, 3, 3), (5, 0, 2, 3), (1, 0, 1, 1)])
def test_a_grid_has_every_picture_in_its_place(channels, n, columns, rows, wanted):
    pictures = random(n, 4, 5, channels)
    for scale in (1, 3):
        whole = grid(pictures, columns, scale)
        assert whole.shape == (rows * 4 * scale, wanted * 5 * scale, channels) and whole.dtype == np.uint8
        for i in range(rows * wanted):
            top, left = i // wanted * 4 * scale, i % wanted * 5 * scale
            found = whole[top : top + 4 * scale, left : left + 5 * scale]
            one = pictures[i] if i < n else np.zeros_like(pictures[0])
            np.testing.assert_array_equal(found, one.repeat(scale, 0).repeat(scale, 1))


def test_a_sheet_shows_each_pixel_of_small_pictures():
    pictures = [random(28, 28, 1), random(20, 30, 3), random(8, 8, 3)]
    whole = sheet(pictures, ['a', 'b', 'c'], columns=2, size=64)
    assert whole.shape == (GAP + 2 * (64 + LINE + GAP), GAP + 2 * (64 + GAP), 3)
    first = whole[GAP : GAP + 56, GAP : GAP + 56]
    np.testing.assert_array_equal(first, np.broadcast_to(pictures[0].repeat(2, 0).repeat(2, 1), (56, 56, 3)))
    third = whole[2 * GAP + 64 + LINE :, GAP:][:64, :64]
    np.testing.assert_array_equal(third, pictures[2].repeat(8, 0).repeat(8, 1))
    assert (whole[-LINE:, -64:] == GREY).all(), 'nothing stands behind the last'


@pytest.mark.parametrize('shape', [(500, 300, 3), (300, 500, 1), (1000, 1, 3), (65, 65, 1)])
def test_large_pictures_become_smaller(shape):
    whole = sheet([np.full(shape, 200, np.uint8)], [''], size=64)
    shown = (whole == 200).all(-1)
    assert max(np.ptp(np.nonzero(shown)[0]), np.ptp(np.nonzero(shown)[1])) == 63


def test_captions_are_read_and_cut_and_harmless():
    pictures = [np.zeros((8, 8, 1), np.uint8)] * 4
    captions = ['cat', '', 'a very long name of a class that has no end', '猫 \x00\n\u202e']
    whole = sheet(pictures, captions, columns=4)
    line = whole[GAP + 64 :]
    letters = [(line[:, GAP + i * 66 : GAP + i * 66 + 64] == 255).any() for i in range(4)]
    assert letters == [True, False, True, True]
    assert (whole[:, GAP + 3 * 66 - GAP : GAP + 3 * 66] == GREY).all(), 'no caption runs into the next'
    np.testing.assert_array_equal(whole, sheet(pictures, captions, columns=4))


@pytest.mark.parametrize('channels', [1, 3])
def test_a_file_holds_the_picture_and_nothing_else(tmp_path, channels):
    picture = random(9, 7, channels)
    write_png(tmp_path / 'x.png', picture)
    content = (tmp_path / 'x.png').read_bytes()
    assert content == png(picture) and [path.name for path in tmp_path.iterdir()] == ['x.png']
    found = Image.open(io.BytesIO(content))
    assert found.format == 'PNG' and not found.info
    np.testing.assert_array_equal(np.array(found).reshape(picture.shape), picture)
