"""Two sources as one: which parts are of which, whose classes count, and what does not go together."""

import numpy as np
import pytest
from PIL import Image

from jaxlab.config import build, spec
from jaxlab.data.sources import Arrays, Source, combined, digits
from jaxlab.data.sources.image_folder import folder_name
from tests.experiments import message

LABELS = ('b/1', 'a', 'c')


def source(labels=LABELS, parts=('train', 'test'), seed=0):
    draw = np.random.default_rng(seed)
    inputs, targets = draw.integers(0, 256, (9, 6, 5, 1)).astype(np.uint8), np.arange(9, dtype=np.int32) % len(labels)
    return Source(f'set {seed}', {part: Arrays(inputs, targets) for part in parts}, labels, f'{seed}' * 64)


@pytest.fixture
def put(monkeypatch):
    """put(learned, tested) makes these the two sources; returns what is made of them."""

    def both(learned, tested):
        found = iter([learned, tested])
        monkeypatch.setattr(combined, 'build', lambda node, key: next(found))
        return combined.make()

    return both


def test_it_learns_from_the_one_and_is_tested_on_the_other(put):
    one, other = source(seed=1), source(seed=2, parts=('train', 'validation', 'test'))
    found = put(one, other)
    assert list(found.parts) == ['train', 'validation', 'test'] and found.labels == LABELS
    assert found.parts['train'] is one.parts['train'] and found.parts['test'] is other.parts['test']
    assert found.name == 'set 1, tested on set 2' and len(found.fingerprint) == 64
    assert len({put(a, b).fingerprint for a, b in [(one, other), (other, one), (one, one)]}) == 3


def test_classes_go_by_name_and_not_by_number(put):
    learned, tested = source(labels=('a', 'b_1', 'c'), seed=1), source(seed=2)  # as a folder has them, sorted
    found = put(learned, tested)
    names = [learned.labels[target] for target in learned.parts['train'].targets]
    assert [folder_name(found.labels[target]) for target in found.parts['train'].targets] == names
    lazy = [found.parts['train'][n] for n in range(9)]

    class Lazy(list):
        pass

    parts = {'train': Lazy(learned.parts['train'][n] for n in range(9))}
    again = put(Source('lazy', parts, learned.labels, '0' * 64), tested)
    assert [again.parts['train'][n]['targets'] for n in range(9)] == [one['targets'] for one in lazy]
    assert len(again.parts['train']) == 9


def test_what_does_not_go_together(put):
    assert '"d" is in one of them alone' in message(put, source(labels=('a', 'b/1', 'd')), source())
    assert '"c" is in one of them alone' in message(put, source(labels=('a', 'b/1')), source())
    assert 'nothing to be tested on' in message(put, source(), source(parts=('train',)))
    assert 'no part "train"' in message(put, source(parts=('test',)), source())


def test_a_folder_of_pictures_is_tested_on_the_real_ones(tmp_path):
    real = digits.make()
    for number in range(30):
        (tmp_path / str(number % 10)).mkdir(exist_ok=True)
        picture = real.parts['train'].inputs[number, :, :, 0]
        Image.fromarray(picture).save(tmp_path / str(number % 10) / f'{number}.png')
    node = spec('data.sources.combined', train_source=spec('data.sources.image_folder', path=str(tmp_path), channels=1))
    data = spec('data.pictures', source=node)
    found = build(data, 8, 0, slice(0, 8), None, key='data')
    assert len(found.batch(0)['inputs']) == 8 and found.info['labels'] == list('0123456789')
    assert found.tests['test'].counts == {'examples': 359} and found.splits['validation'].counts == {'examples': 3}


@pytest.mark.parametrize(
    ('label', 'name'),
    [('T-shirt/top', 'T-shirt_top'), ('.hidden', '_.hidden'), ('a\nb', 'a_b'), ('', '_'), ('猫', '猫')],
)
def test_names_of_folders(label, name):
    assert folder_name(label) == name
