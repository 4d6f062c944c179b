"""Transforms are pure functions of a generator and a picture; a row's generator is a function of (seed, n)."""

import numpy as np
import pytest

from jaxlab.data import transforms
from jaxlab.data.transforms import affine, colour, crop, rand_augment, rng_of, standard
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


class Chosen:
    """A generator that draws what it is told."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self, count=None):
        drawn = [self.numbers.pop(0) for _ in range(1 if count is None else count)]
        return drawn[0] if count is None else np.array(drawn)


# --- every one of them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('shape', [(8, 8, 3), (12, 7, 1), (7, 12, 3), (1, 1, 3), (1, 9, 1), (28, 28, 1)])
@pytest.mark.parametrize('arguments', EACH, ids=str)
def test_it_is_a_pure_function_of_the_generator_and_the_picture(arguments, shape):
    picture = random(*shape)
    before = picture.copy()
    picture.setflags(write=False)
    transform, again = standard.make(**arguments), standard.make(**arguments)
    for n in range(20):
        found = transform(rng_of(3, n), picture)
        assert found.shape == shape and found.dtype == np.uint8
        np.testing.assert_array_equal(found, again(rng_of(3, n), np.asfortranarray(picture)))
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize('arguments', EACH, ids=str)
def test_it_does_something_and_not_always_the_same(arguments):
    transform, picture = standard.make(**arguments), random(10, 10, 3)
    assert len({transform(rng_of(0, n), picture).tobytes() for n in range(20)}) > 1


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
    picture, seen = random(*shape), set()
    mode = dict(mode='reflect') if reflect else dict(constant_values=7)
    padded = np.pad(picture, ((3, 3), (3, 3), (0, 0)), **mode)
    parts = {padded[i : i + shape[0], j : j + shape[1]].tobytes(): (i, j) for i in range(7) for j in range(7)}
    for n in range(400):
        found = crop.padded_crop(rng_of(0, n), picture, 3, reflect, 0 if reflect else 7)
        seen.add(parts[found.tobytes()])
    assert len(seen) == 49, 'every place'


@pytest.mark.parametrize('size', [1, 2, 3, 7])
def test_mirrors_that_stand_close(size):
    wanted = np.pad(np.arange(size), 20, 'reflect') if size > 1 else np.zeros(41, int)
    np.testing.assert_array_equal(crop.mirrored(np.arange(-20, size + 20), size), wanted)


@pytest.mark.parametrize('places', [(50, 0), (0, -50), (-50, 50)])
def test_moved_beyond_its_edges_nothing_is_left(places):
    assert (crop.shifted(random(5, 6, 3), *places, fill=4) == 4).all()


def test_a_random_part_becomes_the_whole():
    ramp = np.add.outer(np.arange(0, 200, 2), np.zeros(100)).astype(np.uint8)[..., None]  # 2 a pixel, downwards
    spans = []
    for n in range(300):
        found = crop.random_resized_crop(rng_of(0, n), ramp, 0.25)[:, 0, 0].astype(int)
        assert (np.diff(found) >= 0).all()
        spans.append((found[-1] - found[0]) / 198)
    # Heights lie between sqrt(0.25 · 3/4) and 1.
    assert 0.4 < min(spans) < 0.5 and 0.95 < max(spans) <= 1 and 0.6 < np.mean(spans) < 0.85
    whole = crop.random_resized_crop(Chosen(1, 0.5, 0.3, 0.3), ramp, 0.25)
    np.testing.assert_array_equal(whole, ramp)
    never = crop.random_resized_crop(Chosen(*[1, 0, 0, 0] * crop.ATTEMPTS), ramp, 1.0)
    assert never is ramp, 'no part of this shape is so large'


def test_a_random_part_is_taken_from_the_picture_as_it_is():
    ramp = np.add.outer(np.arange(0, 200, 2), np.zeros(400)).astype(np.uint8)[..., None]  # 100 x 400
    found = [crop.random_resized_crop(rng_of(0, n), ramp, 0.01, (10, 20)) for n in range(300)]
    assert {one.shape for one in found} == {(10, 20, 1)}
    # Areas of 1 to 100 % in sides of 3 : 4 to 4 : 3 are at most 100 pixels high, and 133 of 400 wide.
    spans = [int(one[-1, 0, 0]) - int(one[0, 0, 0]) for one in found]
    assert min(spans) < 50 and max(spans) > 170
    whole = crop.random_resized_crop(Chosen(*[1, 0, 0, 0] * crop.ATTEMPTS), ramp, 1.0, (10, 20))
    assert whole.shape == (10, 20, 1) and (np.diff(whole[:, 0, 0].astype(int)) > 10).all()


@pytest.mark.parametrize('channels', [1, 3])
def test_half_are_flipped(channels):
    picture = random(4, 5, channels)
    found = [flip(rng_of(0, n), picture) for n in range(1000)]
    flipped = [np.array_equal(one, picture[:, ::-1]) for one in found]
    assert all(np.array_equal(one, picture) or was for one, was in zip(found, flipped))
    assert 440 < sum(flipped) < 560


@pytest.mark.parametrize('size', [1, 4, 5, 50])
def test_cutout_covers_a_square_around_a_pixel(size):
    picture, corners = np.full((7, 9, 3), 200, np.uint8), set()
    for n in range(500):
        covered = (cutout(rng_of(0, n), picture, size, 3) == 3).all(-1)
        rows, columns = covered.any(1), covered.any(0)
        np.testing.assert_array_equal(covered, np.outer(rows, columns))
        assert 0 < rows.sum() <= size and 0 < columns.sum() <= size
        corners.add((int(rows.argmax()), int(columns.argmax()), int(rows.sum()), int(columns.sum())))
    assert len(corners) == (1 if size == 50 else 63), 'each pixel was the middle'


def test_colours():
    picture = random(9, 8, 3)
    light = colour.enhanced(picture, Brightness=0.5)
    np.testing.assert_allclose(light, picture / 2, atol=1)
    grey = picture @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(colour.enhanced(picture, Contrast=0.5), (picture + grey.mean()) / 2, atol=2)
    np.testing.assert_allclose(colour.enhanced(picture, Color=0.5), (picture + grey[..., None]) / 2, atol=2)
    assert (np.diff(colour.enhanced(picture, Color=0).astype(int)) == 0).all()
    assert colour.enhanced(picture, Sharpness=0.0).std() < picture.std() < colour.enhanced(picture, Sharpness=2).std()
    for name in ('Brightness', 'Contrast', 'Color', 'Sharpness'):
        np.testing.assert_array_equal(colour.enhanced(picture, **{name: 1.0}), picture)
    np.testing.assert_array_equal(colour.enhanced(picture[..., :1], Color=0.3), picture[..., :1])
    both = colour.jitter(Chosen(0, 1, 0.5), picture, 0.4)
    np.testing.assert_array_equal(both, colour.enhanced(picture, Brightness=0.6, Contrast=1.4, Color=1.0))


def test_turned_by_right_angles_it_is_whole():
    for picture in (random(6, 6, 3), random(5, 5, 1)):
        for times in range(4):
            found = affine.turned(picture, 90 * times)
            np.testing.assert_allclose(found.astype(int), np.rot90(picture, times), atol=1)


def test_moved_by_whole_pixels_it_is_whole():
    picture = random(6, 8, 3)
    np.testing.assert_array_equal(affine.moved(picture, 2, -3, 5), crop.shifted(picture, 2, -3, fill=5))


def test_slanted_each_row_moves_by_its_distance_from_the_middle():
    picture = random(5, 9, 1)
    found = affine.slanted(picture, 0, 1)
    for row in range(5):
        np.testing.assert_array_equal(found[row], crop.shifted(picture, 0, row - 2)[row])
    found = affine.slanted(picture, 1, 0)
    for column in range(9):
        np.testing.assert_array_equal(found[:, column], crop.shifted(picture, column - 4, 0)[:, column])


def test_operations_on_values():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(rand_augment.posterize(picture, 8), picture)
    np.testing.assert_array_equal(rand_augment.posterize(picture, 4), picture // 16 * 16)
    np.testing.assert_array_equal(rand_augment.solarize(picture, 256), picture)
    assert rand_augment.solarize(picture, 100).ravel()[[99, 100, 255]].tolist() == [99, 155, 0]
    dull = (picture // 4 + 50).astype(np.uint8)
    assert rand_augment.auto_contrast(dull).min() == 0 and rand_augment.auto_contrast(dull).max() >= 254
    assert np.ptp(rand_augment.equalize(np.tile(dull, (4, 4, 1)))) > 200


def test_rand_augment_draws_every_operation_and_its_magnitude_matters():
    picture = random(12, 12, 3, seed=1) // 2 + 20
    drawn = {rand_augment.rand_augment(rng_of(0, n), picture, 1, 30).tobytes() for n in range(500)}
    wanted = {
        operation(picture, sign, 0).tobytes() for operation in rand_augment.OPERATIONS.values() for sign in (1, -1)
    }
    assert drawn == wanted and len(rand_augment.OPERATIONS) == 14
    for name, operation in rand_augment.OPERATIONS.items():
        if name not in ('auto_contrast', 'equalize'):
            np.testing.assert_array_equal(operation(picture, 0.0, 0), picture, err_msg=name)


# --- the generator of a row ------------------------------------------------------------------------------------------


def different():
    """How many of 30 seeds' 32 rows have streams of their own."""
    return len({rng_of(seed, n).random() for seed in range(30) for n in [*range(30), 1 << 40, (1 << 62) + 1]})


def test_a_generator_is_a_function_of_seed_and_row(monkeypatch):
    assert (rng_of(7, 5).random(100) == rng_of(7, 5).random(100)).all()
    assert different() == 30 * 32
    monkeypatch.setattr(transforms, '_lanes', lambda seed: transforms.LANES + np.uint64(seed))
    assert different() < 30 * 32, 'row 1 of seed 0 is row 0 of seed 1'


def streams(generator, rows=20_000):
    return np.stack([generator(n).random(4) for n in range(rows)])


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
    assert unlike(streams(lambda n: rng_of(seed, n))) < 5


def test_the_streams_of_neighbouring_seeds_are_independent():
    assert unlike(streams(lambda n: rng_of(n, 0))) < 5


def test_streams_that_are_not_are_noticed():
    shared = np.random.default_rng(0).random(20_004)
    assert unlike(np.stack([shared[n : n + 4] for n in range(20_000)])) > 50, 'rows that overlap'
    assert unlike(streams(lambda n: rng_of(0, n // 2))) > 50, 'rows that share a stream'


def test_the_order_of_operations_is_that_of_the_arguments():
    picture = random(8, 8, 3)
    every = standard.make(crop_padding=2, flip=True, cutout=3, fill=7)
    for n in range(20):
        rng, single = rng_of(0, n), rng_of(0, n)
        wanted = cutout(single, flip(single, crop.padded_crop(single, picture, 2, fill=7)), 3, 7)
        np.testing.assert_array_equal(every(rng, picture), wanted)
