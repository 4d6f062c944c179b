"""Examples in batches: every epoch has each once, every evaluation too, and no process or restart changes which."""

import numpy as np
import pytest

from jaxlab.config import spec
from jaxlab.data import examples, pictures, shuffle, table
from jaxlab.data.records import BadRecord, Tolerance
from jaxlab.data.shuffle import order, permute
from jaxlab.data.sources import Arrays, Source, diabetes, digits
from jaxlab.errors import UserError
from tests.experiments import message

WHOLE = slice(0, 16)


def source(count=50, classes=3, test=10):
    """Pictures of 2 × 2 pixels that show their own number."""
    draw = np.random.default_rng(0)

    def part(first, count):
        numbers = np.arange(first, first + count, dtype=np.uint8)
        return Arrays(np.tile(numbers[:, None, None, None], (1, 2, 2, 1)), draw.integers(0, classes, count, np.int32))

    return Source('numbers', {'train': part(0, count), 'test': part(200, test)}, tuple('abc'[:classes]), 'f' * 64)


class Failing:
    """A part of which some examples cannot be read."""

    def __init__(self, part, bad):
        self.part, self.bad = part, bad

    def __len__(self):
        return len(self.part)

    def __getitem__(self, index):
        if index in self.bad:
            raise BadRecord('{record} is broken.', record=f'picture {index}')
        return self.part[index]


def made(monkeypatch, source, batch_size=16, seed=0, rows=WHOLE, known=None, **options):
    monkeypatch.setattr(digits, 'make', lambda: source)
    return pictures.make(batch_size, seed, rows, known, **options)


def shown(batch):
    """The numbers that the pictures of a batch show, where they count."""
    return batch['inputs'][batch['mask'] > 0, 0, 0, 0].tolist()


def test_every_epoch_has_each_example_once_in_another_order(monkeypatch):
    data = made(monkeypatch, source(), batch_size=9, rows=slice(0, 9))
    assert data.batches_per_epoch == 45 / 9
    epochs = [[number for n in range(5 * e, 5 * e + 5) for number in shown(data.batch(n))] for e in range(3)]
    training = sorted(epochs[0])
    assert len(set(training)) == 45
    assert all(sorted(epoch) == training for epoch in epochs) and epochs[0] != epochs[1] != epochs[2]
    assert shown(made(monkeypatch, source(), batch_size=9, rows=slice(0, 9)).batch(7)) == shown(data.batch(7))
    assert shown(made(monkeypatch, source(), batch_size=9, seed=1, rows=slice(0, 9)).batch(7)) != shown(data.batch(7))


def test_validation_is_kept_out_of_training_and_the_test_out_of_both(monkeypatch):
    data = made(monkeypatch, source(), batch_size=9, rows=slice(0, 9))
    seen = {number for n in range(50) for number in shown(data.batch(n))}
    held = shown(data.splits['validation'].batch(0))
    assert len(held) == 5 and not seen & set(held) and seen | set(held) == set(range(50))
    assert list(data.splits) == ['validation'] and list(data.tests) == ['test']
    tested = [number for n in range(2) for number in shown(data.tests['test'].batch(n))]
    assert sorted(tested) == list(range(200, 210)) and data.tests['test'].counts == {'examples': 10}


def test_a_published_validation_part_is_taken_as_it_is(monkeypatch):
    whole = source()
    parts = {'train': whole.parts['train'], 'validation': whole.parts['test']}
    data = made(monkeypatch, Source('numbers', parts, whole.labels, 'f' * 64))
    assert data.batches_per_epoch == 50 / 16 and data.splits['validation'].counts == {'examples': 10} and not data.tests


def test_a_validation_part_that_stays_in_training_is_noticed(monkeypatch):
    def careless(source, share, seed):
        found = divide(source, share, seed)
        return found | {'train': ('train', np.arange(50))}

    divide = examples.divide
    monkeypatch.setattr(examples, 'divide', careless)
    with pytest.raises(AssertionError):
        test_validation_is_kept_out_of_training_and_the_test_out_of_both(monkeypatch)


def test_processes_make_the_rows_of_one_batch(monkeypatch):
    whole = made(monkeypatch, source())
    halves = [made(monkeypatch, source(), rows=rows) for rows in (slice(0, 8), slice(8, 16))]
    for n in (0, 3, 1000):
        for name, rows in whole.batch(n).items():
            assert np.array_equal(rows, np.concatenate([half.batch(n)[name] for half in halves]))
        for name, rows in whole.splits['validation'].batch(0).items():
            assert np.array_equal(rows, np.concatenate([half.splits['validation'].batch(0)[name] for half in halves]))


def test_the_last_batch_is_filled_with_what_does_not_count(monkeypatch):
    split = made(monkeypatch, source()).tests['test']
    batch = split.batch(0)
    assert split.batches == 1 and batch['mask'].tolist() == [1] * 10 + [0] * 6
    assert (batch['inputs'][:10, 0, 0, 0] - 200).tolist() == batch['number'][:10].tolist()


@pytest.mark.parametrize('memory', [1.0, 0.0])
def test_what_cannot_be_read_keeps_its_slot(monkeypatch, tmp_path, memory):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path))
    whole = source()
    parts = {'train': Failing(whole.parts['train'], {3, 4}), 'test': whole.parts['test']}
    broken = Source('numbers', parts, whole.labels, f'{memory}' * 16)
    options = {'validation': 0.0, 'memory': memory}
    data = made(monkeypatch, broken, bad='skip', bad_rate=0.01, **options)
    good = made(monkeypatch, whole, validation=0.0)
    for n in range(3):
        one, other = data.batch(n), good.batch(n)
        lost = np.isin(other['inputs'][:, 0, 0, 0], [3, 4])
        assert np.array_equal(one['mask'], 1 - lost)
        assert np.array_equal(one['inputs'][~lost], other['inputs'][~lost]) and not one['inputs'][lost].any()
    assert data.skipped(3) > 0
    with pytest.raises(UserError, match='is broken'):
        data = made(monkeypatch, broken, **options)
        for n in range(4):
            data.batch(n)


def test_pictures_that_were_decoded_lie_in_the_cache(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path))
    whole = source()
    counted = Counting(whole.parts['train'])
    lazy = Source('numbers', {'train': counted}, whole.labels, 'c' * 64)
    first = made(monkeypatch, lazy).batch(0)
    assert counted.read >= 50 and 'decoding 50 pictures' in capsys.readouterr().out
    before = counted.read
    assert all(np.array_equal(rows, first[name]) for name, rows in made(monkeypatch, lazy).batch(0).items())
    assert counted.read - before <= 1, 'the first one, to see its shape'
    (pixels,) = tmp_path.rglob('pixels')
    content = bytearray(pixels.read_bytes())
    content[17] ^= 1
    pixels.write_bytes(content)
    assert all(np.array_equal(rows, first[name]) for name, rows in made(monkeypatch, lazy).batch(0).items())
    assert 'damaged' in capsys.readouterr().out


@pytest.mark.parametrize('memory', [1.0, 0.0])
def test_pictures_are_changed_in_the_same_way_at_once_or_one_by_one(monkeypatch, tmp_path, memory):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path))
    whole = source()
    transforms = spec('data.transforms.standard', crop_padding=1, flip=True, rotate=30.0, rand_augment=1)
    at_once = made(monkeypatch, whole, transforms=transforms)
    parts = {'train': Failing(whole.parts['train'], ()), 'test': whole.parts['test']}
    read = Source('numbers', parts, whole.labels, f'{memory}' * 16)
    one_by_one = made(monkeypatch, read, transforms=transforms, memory=memory)
    for n in range(3):
        np.testing.assert_array_equal(at_once.batch(n)['inputs'], one_by_one.batch(n)['inputs'])


class Counting(Failing):
    """A part that counts how often it is read."""

    read = 0

    def __init__(self, part):
        super().__init__(part, ())

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def test_a_random_part_is_one_of_the_whole_picture_where_pictures_are_read_each_time(monkeypatch):
    seen = []

    class Stripes(list):
        """Pictures 40 x 80, of which only the outer columns, which a square middle lacks, are bright."""

        def __getitem__(self, index):
            picture = np.zeros((40, 80, 1), np.uint8)
            picture[:, :15] = picture[:, 65:] = 255
            return {'inputs': picture, 'targets': index % 2}

    whole = Source('stripes', {'train': Stripes(range(30))}, ('a', 'b'), 's' * 64)
    options = {'validation': 0.2, 'memory': 0.0, 'processor': spec('data.processors.picture', size=16, resize=20)}
    for least in (0.0, 0.3):
        transforms = spec('data.transforms.standard', random_resized_crop=least)
        data = made(monkeypatch, whole, transforms=transforms, **options)
        train, validation = data.batch(0), data.splits['validation'].batch(0)
        assert train['inputs'].shape == validation['inputs'].shape == (16, 16, 16, 1)
        assert validation['inputs'].max() == 0, 'the middle'
        seen.append(train['inputs'].max())
    assert seen == [0, 255]


def test_statistics_are_those_of_the_training_part(monkeypatch):
    data = made(monkeypatch, source())
    numbers = [n for n in range(50) if n not in shown(data.splits['validation'].batch(0))]
    assert np.allclose(data.info['mean'], np.mean(numbers) / 255, rtol=1e-12)
    assert np.allclose(data.info['deviation'], np.std(numbers) / 255, rtol=1e-12)
    assert sum(data.info['class_counts']) == 45 and data.info['shape'] == [2, 2, 1] and data.info['classes'] == 3


def test_a_table_tells_of_its_columns_and_targets():
    data = table.make(32, 0, slice(0, 32), source=spec('data.sources.diabetes'), validation=0.0)
    rows = diabetes.make().parts['train']
    assert data.info['shape'] == [10] and data.info['classes'] == 0
    assert np.allclose(data.info['mean'], rows.inputs.mean(0), rtol=1e-5)
    assert np.isclose(data.info['target_deviation'], rows.targets.std(), rtol=1e-5)
    assert data.batch(0)['inputs'].dtype == np.float32 and data.batch(0)['targets'].dtype == np.float32
    assert data.processor.encode('1,2,3,4,5,6,7,8,9,10').tolist() == list(range(1, 11))
    assert 'a row of 10 numbers' in message(data.processor.encode, '1,2')
    assert 'a row of 10 numbers' in message(data.processor.encode, ['x'] * 10)


def test_mistakes_are_one_sentence(monkeypatch):
    whole = source()
    labels = Source('numbers', whole.parts, ('a', 'b'), 'f' * 64)
    assert 'has the class 2, and there are classes 0 to 1' in message(made, monkeypatch, labels)
    assert 'validation=1.0' in message(made, monkeypatch, whole, validation=1.0)
    empty = Source(
        'numbers',
        {'train': whole.parts['train'], 'test': Arrays(*(x[:0] for x in vars(whole.parts['test']).values()))},
        whole.labels,
        'f',
    )
    assert 'its part "test" is empty' in message(made, monkeypatch, empty)
    none = Source('numbers', {'test': whole.parts['test']}, whole.labels, 'f')
    assert 'no part "train"' in message(made, monkeypatch, none)
    monkeypatch.undo()
    assert 'data.table reads it' in message(pictures.make, 4, 0, slice(0, 4), source=spec('data.sources.diabetes'))
    assert 'data.pictures reads it' in message(table.make, 4, 0, slice(0, 4), source=spec('data.sources.digits'))


def test_tolerance_is_of_all_that_was_read():
    reader = examples.Reader(
        Failing(source().parts['train'], range(50)),
        {'inputs': np.zeros((2, 2, 1), np.uint8), 'targets': np.zeros((), np.int32)},
        examples.Losses(Tolerance(True, 0.01)),
    )
    with pytest.raises(UserError, match=r'more than config\.data\.bad_rate'):
        reader.batch(0, np.arange(50))


def test_an_order_that_is_held_is_the_same_however_often_it_is_made():
    place = np.array([0, 5, 96, 5])
    wanted = [order(97, int(keys(epoch)[0]))[place] for epoch in range(6)]  # more than are held
    for _ in range(2):
        np.testing.assert_array_equal([shuffle.shuffled(3, epoch, 97, place) for epoch in range(6)], wanted)


def test_the_order_of_a_large_set_is_computed_place_by_place(monkeypatch):
    monkeypatch.setattr(shuffle, 'WHOLE', 96)
    monkeypatch.setattr(shuffle, 'order', lambda *_: pytest.fail('it was held whole'))
    place = np.array([0, 5, 96, 5])
    np.testing.assert_array_equal(shuffle.shuffled(3, 1, 97, place), permute(place, 97, keys(1)))


def keys(epoch):
    return np.random.SeedSequence([3, epoch]).generate_state(shuffle.ROUNDS, np.uint64)
