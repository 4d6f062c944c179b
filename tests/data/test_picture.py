"""Whatever a picture comes as, a model sees uint8 [h w c] of one shape, and nothing that is damaged gets through."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from jaxlab.data import picture_files
from jaxlab.data.picture_files import pixels
from jaxlab.data.processors import picture
from jaxlab.data.records import BadRecord
from jaxlab.errors import UserError

GREY = dict(height=6, width=9, channels=1, mean=(0.5,), deviation=(0.25,), labels=('a', 'b'))
COLOURED = GREY | dict(channels=3, mean=(0.5, 0.4, 0.3), deviation=(0.1, 0.2, 0.3))


def random(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def file_of(array, form='PNG', **options):
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array.squeeze())
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('channels', [1, 3])
def test_all_ways_to_give_a_picture_are_one(tmp_path, channels):
    array = random(6, 9, channels)
    (tmp_path / 'x.png').write_bytes(file_of(array))
    ways = [array, tmp_path / 'x.png', str(tmp_path / 'x.png'), file_of(array), Image.fromarray(array.squeeze())]
    ways += [array / 255, (array / 255).astype(np.float32), array.squeeze()]
    known = picture.make().complete(**(GREY if channels == 1 else COLOURED))
    for way in ways:
        for processor in (picture.make(), known):
            found = processor.encode(way)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, array)
    assert known.encode(array) is array, 'what has its shape already is not computed again'


def test_grey_and_colours_become_each_other():
    array = random(6, 9, 3)
    grey = picture.make().complete(**GREY).encode(array)
    np.testing.assert_allclose(grey[..., 0], array @ [0.299, 0.587, 0.114], atol=0.6)
    coloured = picture.make().complete(**COLOURED).encode(grey)
    np.testing.assert_array_equal(coloured, np.broadcast_to(grey, (6, 9, 3)))


def test_what_is_transparent_lies_on_white():
    clear = np.dstack([random(6, 9, 3), np.zeros((6, 9), np.uint8)])
    assert (pixels(clear) == 255).all() and (pixels(file_of(clear)) == 255).all()
    grey = Image.merge('LA', [Image.new('L', (9, 6), 7), Image.new('L', (9, 6), 255)])
    assert pixels(file_of(grey)).shape == (6, 9, 1) and (pixels(grey) == 7).all()


def test_other_kinds_of_files():
    array = random(6, 9, 3)
    assert (pixels(file_of(random(6, 9).astype(np.uint16) * 257)) == random(6, 9, 1)).all(), '16 bits'
    palette = Image.fromarray(array).quantize(256)
    np.testing.assert_array_equal(pixels(file_of(palette)), np.array(palette.convert('RGB')))
    bits = Image.fromarray(random(6, 9) > 127)
    assert set(np.unique(pixels(file_of(bits)))) == {0, 255} and pixels(file_of(bits)).shape == (6, 9, 1)
    assert pixels(file_of(Image.fromarray(array).convert('CMYK'), 'JPEG')).shape == (6, 9, 3)
    moving = file_of(Image.fromarray(array), 'GIF', save_all=True, append_images=[Image.new('RGB', (9, 6))])
    assert pixels(moving).any()


def test_it_is_upright_as_the_camera_says():
    array = np.zeros((6, 9), np.uint8)
    array[0, 0] = 255  # top left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    found = pixels(file_of(array, exif=exif.tobytes()))[..., 0]
    assert found.shape == (9, 6) and found[0, 5] == 255


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('shape', [(20, 20), (40, 21), (21, 40), (3, 500), (16, 16), (1, 1)])
@pytest.mark.parametrize('resize', [0, 16, 19])
def test_every_size_becomes_the_size_of_the_model(channels, shape, resize):
    processor = picture.make(size=16, resize=resize).complete(channels=channels)
    found = processor.encode(np.full((*shape, channels), 9, np.uint8))
    assert found.shape == (16, 16, channels) and (found == 9).all()


@pytest.mark.parametrize('shape', [(30, 50), (50, 30), (64, 64)])
@pytest.mark.parametrize('interpolation', picture.INTERPOLATIONS)
def test_the_middle_is_cut_out_as_torchvision_does(shape, interpolation):
    """Its Resize(20) and CenterCrop(15), by PIL."""
    array = random(*shape, 3)
    short, long = sorted(shape)
    longer = int(20 * long / short)
    height, width = (longer, 20) if shape[0] >= shape[1] else (20, longer)
    resized = Image.fromarray(array).resize((width, height), Image.Resampling[interpolation.upper()])
    top, left = round((height - 15) / 2.0), round((width - 15) / 2.0)
    wanted = np.array(resized)[top : top + 15, left : left + 15]
    found = picture.make(size=15, resize=20, interpolation=interpolation).complete(channels=3).encode(array)
    np.testing.assert_array_equal(found, wanted)


def test_a_very_long_picture_takes_little_memory():
    array = np.zeros((2, 100_000, 1), np.uint8)
    array[:, 50_000:] = 200
    found = picture.make(size=10, resize=1000).complete(channels=1).encode(array)
    assert found.shape == (10, 10, 1) and 0 < found.mean() < 200, 'it is the middle'


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        ('no/such.png', '"no/such.png" cannot be read .No such file'),
        (b'no picture', 'a picture is no picture that can be read'),
        (b'', 'is no picture that can be read'),
        (file_of(random(60, 90))[:-900], 'truncated|no picture'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'is no picture that can be read'),
        (np.zeros((2, 2, 2), np.uint8), r'shape \(2, 2, 2\) is no picture'),
        (np.zeros((0, 2), np.uint8), 'is no picture'),
        (np.zeros(4, np.uint8), 'is no picture'),
        (np.full((2, 2), 1.5), 'floats from 1.5 to 1.5'),
        (np.full((2, 2), np.nan), 'floats from nan'),
        (np.zeros((2, 2), np.int64), 'type int64'),
        (Image.new('F', (2, 2)), 'floating-point'),
        (7, 'is no picture that can be read'),
    ],
)
def test_what_is_no_picture_is_named(raw, message):
    with pytest.raises(BadRecord, match=message):
        pixels(raw)
    with pytest.raises(BadRecord) as caught:
        picture.make().encode(b'no picture', 'row 3')
    assert caught.value.record == 'row 3' and '<_io' not in str(caught.value)


@pytest.mark.filterwarnings('ignore')  # PIL speaks of damaged tags
def test_a_damaged_file_raises_what_it_should_whatever_is_damaged():
    whole, rng = file_of(random(20, 30, 3)), np.random.default_rng(0)
    for form in ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM'):
        whole = file_of(random(20, 30, 3), form)
        for _ in range(30):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 5):
                damaged[place] = rng.integers(0, 256)
            try:
                found = pixels(bytes(damaged))
            except BadRecord:
                continue
            assert found.dtype == np.uint8 and found.ndim == 3


def test_a_file_that_unfolds_is_refused_before_it_does(monkeypatch):
    bomb = file_of(Image.new('1', (20_000, 20_000)))
    assert len(bomb) < 100_000
    with pytest.raises(BadRecord, match=r'20,000 × 20,000 pixels|DecompressionBomb'):
        pixels(bomb)
    monkeypatch.setattr(picture_files, 'MOST_PIXELS', 10)
    monkeypatch.setattr(picture_files, '_pixels', lambda image, channels: pytest.fail('it was decoded'))
    with pytest.raises(BadRecord, match='6 × 2 pixels; at most 10'):
        pixels(file_of(random(2, 6)))


# --- what is configured ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(size=-1), 'size=-1'),
        (dict(size=1 << 20), 'size=1048576'),
        (dict(resize=20), 'resize=20'),
        (dict(size=20, resize=19), 'at least the size=20'),
        (dict(interpolation='bilinaer'), 'Did you mean "bilinear"'),
        (dict(mean=(0.5,)), 'deviation='),
        (dict(mean=(0.5, 0.5), deviation=(1, 1)), 'a number for each channel'),
        (dict(mean=(0.5,), deviation=(0,)), 'a number for each channel'),
        (dict(mean=(127.5,), deviation=(60.0,)), 'in 0..1'),
        (dict(mean=('a',), deviation=(1,)), 'a number for each channel'),
    ],
)
def test_what_cannot_be_is_said(arguments, message):
    with pytest.raises(UserError, match=message):
        picture.make(**arguments)


def test_what_is_configured_stands_and_the_rest_is_filled_in():
    processor = picture.make(size=8, mean=(0.1,), deviation=(1,))
    found = processor.complete(**GREY)
    assert asdict(found) == asdict(processor) | dict(channels=1, labels=('a', 'b'))
    assert picture.make().complete(**GREY).complete(**COLOURED) == picture.Picture(**GREY)
    with pytest.raises(UserError, match='3 channels'):
        processor.complete(**COLOURED)


def test_probabilities_become_a_name():
    processor = picture.make().complete(**GREY)
    assert processor.decode(np.array([0.4, 0.6])) == 'b' and processor.decode([3.0, -1.0]) == 'a'
    with pytest.raises(AssertionError):
        processor.decode(np.zeros(3))


# --- saved -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('known', [GREY, COLOURED, GREY | dict(labels=()), GREY | dict(labels=('猫', '狗', '猫'))])
def test_saved_and_loaded_it_is_the_same(tmp_path, known):
    processor = picture.make(interpolation='lanczos').complete(**known)
    processor.save(tmp_path / 'new' / 'saved')
    loaded = picture.load(tmp_path / 'new' / 'saved')
    assert loaded == processor and loaded.assets() == processor.assets() and hash(loaded) == hash(processor)


@pytest.mark.parametrize(
    'damage',
    [
        dict(height=0),
        dict(height='6'),
        dict(height=True),
        dict(height=1 << 30),
        dict(width=6.0),
        dict(channels=2),
        dict(resize=-1),
        dict(resize=5),
        dict(interpolation='no'),
        dict(interpolation=['nearest']),
        dict(mean=[]),
        dict(mean=[float('nan')]),
        dict(mean=0.5),
        dict(mean=['0.5']),
        dict(deviation=[0]),
        dict(deviation=[float('inf')]),
        dict(labels=[1, 2]),
        dict(labels='ab'),
        dict(more=1),
    ],
    ids=str,
)
def test_a_damaged_one_is_refused(tmp_path, damage):
    content = asdict(picture.make().complete(**GREY))
    (tmp_path / 'processor.json').write_text(json.dumps(content))
    picture.load(tmp_path)
    (tmp_path / 'processor.json').write_text(json.dumps(content | damage))
    with pytest.raises(ValueError):
        picture.load(tmp_path)
    for other in ('[]', '{}', 'null', '', '{'):
        (tmp_path / 'processor.json').write_text(other)
        with pytest.raises(ValueError):
            picture.load(tmp_path)
