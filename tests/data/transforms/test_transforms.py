"""Transforms are pure functions of generators and pictures; a row's generator is a function of (seed, n)."""

import numpy as np
import pytest
from PIL import Image

from jaxlab.data import transforms
from jaxlab.data.picture_files import array_of, image_of
from jaxlab.data.transforms import affine, colour, crop, rand_augment, rngs_of, standard
from jaxlab.data.transforms.cutout import cutout
from jaxlab.data.transforms.flip import flip
from jaxlab.errors import UserError

EACH = [
    dict(random_resized_crop=0.1),
    dict(crop_padding=4),
    dict(crop_padding=4, padding_mode='reflect'),
    dict(flip=True),
    dict(rotate=30.0),
    dict(rand_augment=2),
    dict(rand_augment=14, magnitude=30.0, fill=128),
    dict(colour=0.8),
    dict(cutout=5, fill=9),
    dict(random_resized_crop=0.3, crop_padding=3, flip=True, rotate=5.0, rand_augment=1, colour=0.2, cutout=4),
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def rows(count, seed=0):
    """The generators of the first rows."""
    return rngs_of(seed, np.arange(count))


def many(picture, count):
    """The same picture again and again, [n h w c]."""
    return np.tile(picture, (count, 1, 1, 1))


class Chosen:
    """The generator of one row, which draws what it is told."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def random(self, *shape):
        return np.array(self.numbers).reshape(1, *shape)


# --- every one of them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('shape', [(8, 8, 3), (12, 7, 1), (7, 12, 3), (1, 1, 3), (1, 9, 1), (28, 28, 1)])
@pytest.mark.parametrize('arguments', EACH, ids=str)
def test_it_is_a_pure_function_of_the_generators_and_the_pictures(arguments, shape):
    pictures = random(20, *shape)
    before = pictures.copy()
    pictures.setflags(write=False)
    transform, again = standard.make(**arguments), standard.make(**arguments)
    found = transform(rows(20), pictures)
    assert found.shape == pictures.shape and found.dtype == np.uint8
    np.testing.assert_array_equal(found, again(rows(20), np.asfortranarray(pictures)))
    np.testing.assert_array_equal(pictures, before)


def alone(transform, rng, pictures):
    """What becomes of pictures of which each is transformed alone."""
    each = [slice(n, n + 1) for n in range(len(pictures))]
    return np.concatenate([transform(rng[one], pictures[one]) for one in each])


@pytest.mark.parametrize('shape', [(8, 8, 1), (9, 11, 3), (40, 30, 3)])
@pytest.mark.parametrize('arguments', EACH, ids=str)
def test_what_becomes_of_a_picture_hangs_on_no_other(arguments, shape, monkeypatch):
    monkeypatch.setattr(affine, 'AT_ONCE', 1000)  # some of them at once, or one
    transform, pictures, numbers = standard.make(**arguments), random(33, *shape), np.arange(7, 40)
    together = transform(rngs_of(5, numbers), pictures)
    np.testing.assert_array_equal(together, alone(transform, rngs_of(5, numbers), pictures))
    turned = transform(rngs_of(5, numbers[::-1]), pictures[::-1])
    np.testing.assert_array_equal(together, turned[::-1])


def test_a_transform_that_looks_at_the_others_is_noticed():
    def careless(rng, pictures):
        return pictures + rng.random().argsort().astype(np.uint8)[:, None, None, None]

    pictures = random(33, 4, 4, 1)
    assert (careless(rows(33), pictures) != alone(careless, rows(33), pictures)).any()


@pytest.mark.parametrize('arguments', EACH, ids=str)
def test_it_does_something_and_not_always_the_same(arguments):
    found = standard.make(**arguments)(rows(20), many(random(10, 10, 3), 20))
    assert len({one.tobytes() for one in found}) > 1


def test_by_default_nothing_is_done():
    assert standard.make() is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(cutout=-1), 'cutout=-1'),
        (dict(fill=256), 'from 0 to 255'),
        (dict(colour=float('nan')), 'colour=nan'),
        (dict(random_resized_crop=1.5), 'from 0 to 1'),
        (dict(magnitude=31), 'from 0 to 30'),
        (dict(padding_mode='refelct'), 'Did you mean "reflect"'),
    ],
)
def test_what_cannot_be_is_said(arguments, message):
    with pytest.raises(UserError, match=message):
        standard.make(**arguments)


# --- what each does --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('reflect', [False, True])
@pytest.mark.parametrize('shape', [(6, 9, 3), (9, 6, 1)])
def test_a_padded_crop_is_a_crop_of_the_padded_picture(shape, reflect):
    picture = random(*shape)
    mode = dict(mode='reflect') if reflect else dict(constant_values=7)
    padded = np.pad(picture, ((3, 3), (3, 3), (0, 0)), **mode)
    parts = {padded[i : i + shape[0], j : j + shape[1]].tobytes(): (i, j) for i in range(7) for j in range(7)}
    found = crop.padded_crop(rows(400), many(picture, 400), 3, reflect, 0 if reflect else 7)
    assert len({parts[one.tobytes()] for one in found}) == 49, 'every place'


@pytest.mark.parametrize('height', [1, 2, 5])
@pytest.mark.parametrize('reflect', [False, True])
def test_moved_far_beyond_its_edges(reflect, height):
    picture = random(height, 4, 3)
    mode = dict(mode='reflect') if reflect and height > 1 else dict(mode='edge') if reflect else dict(constant_values=7)
    padded = np.pad(picture, ((30, 30), (0, 0), (0, 0)), **mode)
    down = np.arange(-30, 31)
    found = crop.shifted(many(picture, 61), down, 0 * down, reflect, 7)
    np.testing.assert_array_equal(found, [padded[30 - n : 30 - n + height] for n in down])


@pytest.mark.parametrize('size', [1, 2, 3, 7])
def test_mirrors_that_stand_close(size):
    wanted = np.pad(np.arange(size), 20, 'reflect') if size > 1 else np.zeros(41, int)
    np.testing.assert_array_equal(crop.mirrored(np.arange(-20, size + 20), size), wanted)


def shifted(picture, down, right, fill=0):
    return crop.shifted(picture[None], np.array([down]), np.array([right]), fill=fill)[0]


@pytest.mark.parametrize('places', [(50, 0), (0, -50), (-50, 50)])
def test_moved_beyond_its_edges_nothing_is_left(places):
    assert (shifted(random(5, 6, 3), *places, fill=4) == 4).all()


def test_a_random_part_becomes_the_whole():
    ramp = np.add.outer(np.arange(0, 200, 2), np.zeros(100)).astype(np.uint8)[..., None]  # 2 a pixel, downwards
    found = crop.random_resized_crop(rows(300), many(ramp, 300), 0.25)[:, :, 0, 0].astype(int)
    assert (np.diff(found) >= 0).all()
    spans = (found[:, -1] - found[:, 0]) / 198
    # Heights lie between sqrt(0.25 · 3/4) and 1.
    assert 0.4 < spans.min() < 0.5 and 0.95 < spans.max() <= 1 and 0.6 < spans.mean() < 0.85
    whole = crop.random_resized_crop(Chosen(*[1, 0.5, 0.3, 0.3] * crop.ATTEMPTS), ramp[None], 0.25)
    np.testing.assert_array_equal(whole[0], ramp)
    never = crop.random_resized_crop(Chosen(*[1, 0, 0.3, 0.3] * crop.ATTEMPTS), ramp[None], 1.0)
    np.testing.assert_array_equal(never[0], ramp, err_msg='no part of this shape is so large')
    numbers = [1, 0, 0.3, 0.3] * 3 + [0, 0.5, 0, 1] + [0, 0.5, 1, 1] * (crop.ATTEMPTS - 4)
    first = crop.random_resized_crop(Chosen(*numbers), ramp[None], 0.25)[0]
    assert first[-1, 0, 0] <= 100, 'the upper half, which the fourth attempt finds'


def test_a_random_part_is_taken_from_the_picture_as_it_is():
    ramp = np.add.outer(np.arange(0, 200, 2), np.zeros(400)).astype(np.uint8)[..., None]  # 100 x 400
    found = crop.random_resized_crop(rows(300), many(ramp, 300), 0.01, (10, 20))
    assert found.shape == (300, 10, 20, 1)
    # Areas of 1 to 100 % in sides of 3 : 4 to 4 : 3 are at most 100 pixels high, and 133 of 400 wide.
    spans = found[:, -1, 0, 0].astype(int) - found[:, 0, 0, 0]
    assert spans.min() < 50 and spans.max() > 170
    whole = crop.random_resized_crop(Chosen(*[1, 0, 0, 0] * crop.ATTEMPTS), ramp[None], 1.0, (10, 20))[0]
    assert whole.shape == (10, 20, 1) and (np.diff(whole[:, 0, 0].astype(int)) > 10).all()


@pytest.mark.parametrize('channels', [1, 3])
def test_half_are_flipped(channels):
    picture = random(4, 5, channels)
    found = flip(rows(1000), many(picture, 1000))
    flipped = [np.array_equal(one, picture[:, ::-1]) for one in found]
    assert all(np.array_equal(one, picture) or was for one, was in zip(found, flipped))
    assert 440 < sum(flipped) < 560


@pytest.mark.parametrize('size', [1, 4, 5, 50])
def test_cutout_covers_a_square_around_a_pixel(size):
    corners = set()
    for one in cutout(rows(500), np.full((500, 7, 9, 3), 200, np.uint8), size, 3):
        covered = (one == 3).all(-1)
        down, across = covered.any(1), covered.any(0)
        np.testing.assert_array_equal(covered, np.outer(down, across))
        assert 0 < down.sum() <= size and 0 < across.sum() <= size
        corners.add((int(down.argmax()), int(across.argmax()), int(down.sum()), int(across.sum())))
    assert len(corners) == (1 if size == 50 else 63), 'each pixel was the middle'


def enhanced(picture, **factors):
    return colour.enhanced(picture[None], **{name: np.array([factor]) for name, factor in factors.items()})[0]


def test_colours():
    picture = random(9, 8, 3)
    light = enhanced(picture, Brightness=0.5)
    np.testing.assert_allclose(light, picture / 2, atol=1)
    grey = picture @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(enhanced(picture, Contrast=0.5), (picture + grey.mean()) / 2, atol=2)
    np.testing.assert_allclose(enhanced(picture, Color=0.5), (picture + grey[..., None]) / 2, atol=2)
    assert (np.diff(enhanced(picture, Color=0).astype(int)) == 0).all()
    assert enhanced(picture, Sharpness=0.0).std() < picture.std() < enhanced(picture, Sharpness=2).std()
    for name in ('Brightness', 'Contrast', 'Color', 'Sharpness'):
        np.testing.assert_array_equal(enhanced(picture, **{name: 1.0}), picture)
    np.testing.assert_array_equal(enhanced(picture[..., :1], Color=0.3), picture[..., :1])
    both = colour.jitter(Chosen(0, 1, 0.5), picture[None], 0.4)[0]
    np.testing.assert_array_equal(both, enhanced(picture, Brightness=0.6, Contrast=1.4, Color=1.0))


def test_turned_by_right_angles_it_is_whole():
    for picture in (random(6, 6, 3), random(5, 5, 1)):
        found = affine.turned(many(picture, 4), np.array([0.0, 90, 180, 270]))
        np.testing.assert_array_equal(found, [np.rot90(picture, times) for times in range(4)])


def test_moved_by_whole_pixels_it_is_whole():
    picture = random(6, 8, 3)
    found = affine.moved(many(picture, 3), np.array([2, -3, 0]), np.array([-3, 1, 9]), 5)
    wanted = [shifted(picture, *places, fill=5) for places in ((2, -3), (-3, 1), (0, 9))]
    np.testing.assert_array_equal(found, wanted)


def test_slanted_each_row_moves_by_its_distance_from_the_middle():
    picture = random(5, 9, 1)
    found = affine.slanted(picture[None], 0, 1)[0]
    for row in range(5):
        np.testing.assert_array_equal(found[row], shifted(picture, 0, row - 2)[row])
    found = affine.slanted(picture[None], 1, 0)[0]
    for column in range(9):
        np.testing.assert_array_equal(found[:, column], shifted(picture, column - 4, 0)[:, column])


@pytest.mark.parametrize('shape', [(8, 8, 1), (13, 20, 3), (200, 150, 3), (1, 9, 1), (1, 1, 3)])
def test_values_in_between_are_those_of_pil(shape):
    """PIL cuts off what lies behind the point, and here it is rounded: less than 1 is between them."""
    height, width, channels = shape
    pictures, draw = random(6, *shape), np.random.default_rng(1)
    a, b, c, d = draw.uniform(-1.3, 1.3, (4, 6))
    right, down = draw.uniform(-0.3, 0.3, (2, 6)) * [[width], [height]]
    found = affine.affine(pictures, ((a, b), (c, d)), (right, down), 200)
    x, y = width / 2, height / 2  # PIL counts from the corner, to the middle of pixels
    numbers = np.stack([a, b, x - a * x - b * y + right, c, d, y - c * x - d * y + down], 1)
    for one, picture, six in zip(found.astype(int), pictures, numbers.tolist()):
        fill = dict(fillcolor=200 if channels == 1 else (200,) * channels)
        by_pil = image_of(picture).transform(
            (width, height), Image.Transform.AFFINE, six, Image.Resampling.BILINEAR, **fill
        )
        away = np.abs(one - array_of(by_pil)).max(-1)
        assert (away > 1).sum() <= height * width / 2000, 'but for pixels whose place is that of the edge, to rounding'


def test_operations_on_values():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    kept = rand_augment.posterize(many(picture, 2), np.array([8, 4]))
    np.testing.assert_array_equal(kept, [picture, picture // 16 * 16])
    inverted = rand_augment.solarize(many(picture, 2), np.array([256, 100.0]))
    np.testing.assert_array_equal(inverted[0], picture)
    assert inverted[1].ravel()[[99, 100, 255]].tolist() == [99, 155, 0]
    dull = (picture // 4 + 50).astype(np.uint8)[None]
    assert rand_augment.auto_contrast(dull).min() == 0 and rand_augment.auto_contrast(dull).max() >= 254
    assert np.ptp(rand_augment.equalize(np.tile(dull, (1, 4, 4, 1)))) > 200


def test_rand_augment_draws_every_operation_and_its_magnitude_matters():
    picture = random(12, 12, 3, seed=1) // 2 + 20
    drawn = {one.tobytes() for one in rand_augment.rand_augment(rows(500), many(picture, 500), 1, 30)}
    wanted = {
        one.tobytes()
        for operation in rand_augment.OPERATIONS.values()
        for one in operation(many(picture, 2), np.array([1.0, -1.0]), 0)
    }
    assert drawn == wanted and len(rand_augment.OPERATIONS) == 14
    for name, operation in rand_augment.OPERATIONS.items():
        if name not in ('auto_contrast', 'equalize'):
            np.testing.assert_array_equal(operation(picture[None], np.zeros(1), 0)[0], picture, err_msg=name)


# --- the generator of a row ------------------------------------------------------------------------------------------


def different():
    """How many of 30 seeds' 32 rows have streams of their own."""
    numbers = np.array([*range(30), 1 << 40, (1 << 62) + 1])
    return len({number for seed in range(30) for number in rngs_of(seed, numbers).random().tolist()})


def test_a_generator_is_a_function_of_seed_and_row(monkeypatch):
    numbers = np.array([5, 900, 6])
    assert (rngs_of(7, numbers).random(100)[1] == rngs_of(7, numbers[1:2]).random(100)[0]).all()
    assert rngs_of(7, numbers[:1]).random().tolist() == [0.5067833901104343], 'on every machine'
    assert different() == 30 * 32
    monkeypatch.setattr(transforms, '_first', lambda seed: np.array([seed], np.uint64))
    assert different() < 30 * 32, 'row 1 of seed 0 is row 0 of seed 1'


def test_numbers_follow_each_other_however_they_are_drawn():
    whole, parts = rows(9).random(12), rows(9)
    drawn = [parts.random()[:, None], parts.random(2, 3).reshape(9, 6), parts[2:].random(5)]
    np.testing.assert_array_equal(np.concatenate(drawn[:2], 1), whole[:, :7])
    np.testing.assert_array_equal(drawn[2], whole[2:, 7:])
    np.testing.assert_array_equal(parts.random(5), whole[:, 7:], err_msg='those of a part draw for themselves')
    assert ((whole >= 0) & (whole < 1)).all()


def test_numbers_are_those_of_splitmix64():
    """The first of seed 1234567, as Vigna's splitmix64.c prints them."""
    drawn = transforms.Generators(np.array([1234567], np.uint64)).random(3)[0]
    wanted = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], np.uint64)
    np.testing.assert_array_equal(drawn, (wanted >> np.uint64(11)) * 2.0**-53)


def streams(seed, numbers):
    return rngs_of(seed, numbers).random(4)


def unlike(drawn):
    """The largest deviation, in standard errors, of the numbers [rows k] of neighbouring rows from independent and
    uniform ones: of means, of variances, and of the correlations of all pairs within a row and of rows next to it."""
    rows = len(drawn)
    z = (drawn - 0.5) * np.sqrt(12)
    means = np.abs(z.mean(0)) * np.sqrt(rows)
    squares = np.abs((z**2).mean(0) - 1) * np.sqrt(rows / 0.8)
    both = np.concatenate([z[:-1], z[1:]], 1)
    pairs = np.abs(both.T @ both / rows - np.diag((both**2).mean(0))) * np.sqrt(rows)
    return max(means.max(), squares.max(), pairs.max())


@pytest.mark.parametrize('seed', [0, 1, 2**31 - 1])
def test_the_streams_of_neighbouring_rows_are_independent(seed):
    assert unlike(streams(seed, np.arange(20_000))) < 5


def test_the_streams_of_neighbouring_seeds_are_independent():
    assert unlike(np.concatenate([streams(seed, np.arange(1)) for seed in range(20_000)])) < 5


def test_streams_that_are_not_are_noticed():
    shared = np.random.default_rng(0).random(20_004)
    assert unlike(np.stack([shared[n : n + 4] for n in range(20_000)])) > 50, 'rows that overlap'
    assert unlike(streams(0, np.arange(20_000) // 2)) > 50, 'rows that share a stream'


def test_the_order_of_operations_is_that_of_the_arguments():
    pictures, single = random(20, 8, 8, 3), rows(20)
    every = standard.make(crop_padding=2, flip=True, cutout=3, fill=7)
    wanted = cutout(single, flip(single, crop.padded_crop(single, pictures, 2, fill=7)), 3, 7)
    np.testing.assert_array_equal(every(rows(20), pictures), wanted)
