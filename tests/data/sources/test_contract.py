"""What every source of examples gives: the same parts, types, ranges and fingerprint, whoever asks and how often."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxlab.config import build, spec
from jaxlab.data import sources
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import Arrays, Source, Texts
from tests.prepared_sets import pictures, text_features, write_set

# h height, w width, c channels, f numbers of a row


def folder(root):
    for part in ('train', 'test'):
        for number, (picture, target) in enumerate(pictures(9, (6, 5, 3), seed=len(part))):
            (root / part / 'abc'[target]).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[: 2 + number % 3]).save(root / part / 'abc'[target] / f'{number}.png')
    return {'path': str(root)}


def prepared(root):
    pytest.importorskip('tensorflow_datasets', reason='TensorFlow Datasets is not here (the extra "tfds")')
    write_set(root, {'train': pictures(9), 'validation': pictures(3, seed=1), 'test': pictures(4, seed=2)})
    return {'set': 'shapes', 'dir': str(root)}


def table(root):
    (root / 'table.csv').write_text('x,colour,y\n1,red,0.5\n2,blue,1.5\n3,red,7\n')
    return {'path': str(root / 'table.csv'), 'test_path': str(root / 'table.csv')}


def pixels(root):
    lines = [f'{target},' + ','.join(map(str, picture.ravel())) for picture, target in pictures(9)]
    (root / 'pixels.csv').write_text('\n'.join(lines))
    return {'path': str(root / 'pixels.csv'), 'shape': (6, 5, 1)}


def lines(root):
    (root / 'reviews.tsv').write_text(''.join(f'review {n}, "good\t{"good" if n % 3 else "bad"}\n' for n in range(60)))
    return {'path': str(root / 'reviews.tsv')}


def pairs(root):
    (root / 'pairs.jsonl').write_text(''.join(f'{{"a": "one", "b": "{n}", "label": {n % 2}}}\n' for n in range(9)))
    return {'path': str(root / 'pairs.jsonl'), 'text': 'a', 'second': 'b', 'divide': False}


def prepared_texts(root):
    pytest.importorskip('tensorflow_datasets', reason='TensorFlow Datasets is not here (the extra "tfds")')
    records = [{'sentence': f'text {n}'.encode(), 'label': n % 3} for n in range(9)]
    write_set(root, {'train': records, 'test': records[:4]}, features=text_features('sentence'))
    return {'set': 'shapes', 'dir': str(root)}


OTHERS = {'squad_files', 'python_questions', 'conll', 'python_tags'}  # test_squad.py, test_tagging.py
RECIPES = {
    'digits': lambda root: {},
    'diabetes': lambda root: {},
    'image_folder': folder,
    'tfds': prepared,
    'csv': table,
    'csv pixels': pixels,
    'combined': lambda root: {},
    'text_table': lines,
    'text_table pairs': pairs,
    'tfds_text': prepared_texts,
    'python_topics': lambda root: {},
}


def problems(source):
    """Returns what is wrong with a source."""
    found = []

    def wrong(condition, what):
        found.extend([what] * bool(condition))

    wrong('train' not in source.parts, 'there is no training part')
    wrong(set(source.parts) - {'train', 'validation', 'test'}, 'a part has another name')
    wrong(not re.fullmatch('[0-9a-f]{64}', source.fingerprint), 'the fingerprint is no sha256')
    wrong(not source.name or '\n' in source.name, 'the name is no line')
    wrong(not isinstance(source.labels, tuple) or not all(isinstance(each, str) for each in source.labels), 'labels')
    wrong(len(set(source.labels)) < len(source.labels) or len(source.labels) == 1, 'labels are not those of classes')
    ends = set()
    for name, part in source.parts.items():
        wrong(len(part) == 0, f'{name} is empty')
        for number in range(len(part)):
            example = part[number]
            inputs, target = example['inputs'], example['targets']
            wrong(set(example) != {'inputs', 'targets'}, f'{name}[{number}] has other keys')
            if isinstance(inputs, tuple):
                texts = all(isinstance(text, str) for text in inputs) and len(inputs) in (1, 2)
                wrong(not texts, f'{name}[{number}] is not one text or two')
                ends.add(('texts', len(inputs)))
                wrong(not 0 <= target < len(source.labels), f'{name}[{number}] has a class beyond the labels')
                continue
            wrong(not isinstance(inputs, np.ndarray), f'{name}[{number}] is no array')
            if inputs.ndim == 3:
                wrong(inputs.dtype != np.uint8, f'{name}[{number}] is no picture of uint8')
                wrong(0 in inputs.shape or inputs.shape[-1] not in (1, 3, 4), f'{name}[{number}] has no such channels')
            else:
                wrong(inputs.ndim != 1 or inputs.dtype != np.float32, f'{name}[{number}] is no row of float32')
                wrong(not np.isfinite(inputs).all(), f'{name}[{number}] has numbers that are not finite')
            ends.add((inputs.ndim, inputs.shape[-1]))
            if source.labels:
                wrong(not isinstance(target, int | np.integer), f'{name}[{number}] has no class')
                wrong(not 0 <= target < len(source.labels), f'{name}[{number}] has a class beyond the labels')
            else:
                wrong(not isinstance(target, float | np.floating), f'{name}[{number}] has no number')
                wrong(not np.isfinite(target), f'{name}[{number}] has a target that is not finite')
        for beyond in (len(part), len(part) + 7):
            try:
                part[beyond]
                found.append(f'{name} has no end')
            except IndexError:
                pass
    wrong(len(ends) != 1, 'channels or columns differ')
    if source.labels and (train := source.parts.get('train')):
        wrong(len({int(train[n]['targets']) for n in range(len(train))}) < 2, 'training has one class')
    return found


@pytest.fixture(params=RECIPES)
def recipe(request, tmp_path):
    name = request.param.partition(' ')[0]
    return name, RECIPES[request.param](tmp_path)


def test_there_is_a_recipe_for_every_source():
    made = [
        each.name
        for each in pkgutil.iter_modules(sources.__path__)
        if hasattr(importlib.import_module(f'jaxlab.data.sources.{each.name}'), 'make')
    ]
    assert set(made) - OTHERS == {name.partition(' ')[0] for name in RECIPES}


def test_what_a_source_gives(recipe):
    name, arguments = recipe
    source = build(spec(f'data.sources.{name}', **arguments), key='data.source')  # as a config does
    assert problems(source) == []


def test_the_same_for_everyone(recipe):
    """Read twice, by several threads, in any order."""
    name, arguments = recipe
    make = importlib.import_module(f'jaxlab.data.sources.{name}').make
    one, other = make(**arguments), make(**arguments)
    assert one.fingerprint == other.fingerprint and one.labels == other.labels
    for part in one.parts:
        numbers = list(range(len(one.parts[part])))[:40]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda n, part=part: other.parts[part][n], reversed(numbers)))[::-1]
        for number, example in zip(numbers, found):
            np.testing.assert_array_equal(one.parts[part][number]['inputs'], example['inputs'])
            assert one.parts[part][number]['targets'] == example['targets']


def test_every_argument_is_explained(recipe):
    make = importlib.import_module(f'jaxlab.data.sources.{recipe[0]}').make
    for argument in inspect.signature(make).parameters:
        assert re.search(rf'^ +{argument}: ', make.__doc__, re.MULTILINE), argument


GOOD = Source(
    'good', {'train': Arrays(np.zeros((4, 2, 2, 1), np.uint8), np.arange(4, dtype=np.int32) % 2)}, ('a', 'b'), '0' * 64
)


class Endless(Arrays):
    def __getitem__(self, index):
        return super().__getitem__(index % len(self))


@pytest.mark.parametrize(
    ('changes', 'what'),
    [
        ({'parts': {'training': GOOD.parts['train']}}, 'no training part'),
        ({'parts': {**GOOD.parts, 'dev': GOOD.parts['train']}}, 'another name'),
        ({'parts': {'train': replace(GOOD.parts['train'], inputs=np.zeros((4, 2, 2, 1), np.float32))}}, 'uint8'),
        ({'parts': {'train': replace(GOOD.parts['train'], inputs=np.zeros((4, 2), np.float64))}}, 'row of float32'),
        ({'parts': {'train': replace(GOOD.parts['train'], inputs=np.full((4, 2), np.nan, np.float32))}}, 'not finite'),
        ({'parts': {'train': replace(GOOD.parts['train'], targets=np.array([0, 1, 2, 1]))}}, 'beyond the labels'),
        ({'parts': {'train': replace(GOOD.parts['train'], targets=np.ones(4, np.int32))}}, 'one class'),
        ({'parts': {'train': Endless(GOOD.parts['train'].inputs, GOOD.parts['train'].targets)}}, 'no end'),
        ({'parts': {**GOOD.parts, 'test': Arrays(np.zeros((1, 2, 2, 3), np.uint8), np.array([0]))}}, 'differ'),
        ({'parts': {'train': Texts([('a',), (1,)], np.arange(2, dtype=np.int32))}}, 'not one text or two'),
        ({'parts': {'train': Texts([('a',), ('a', 'b')], np.arange(2, dtype=np.int32))}}, 'differ'),
        ({'parts': {'train': Texts([('a',), ('b',)], np.arange(1, 3, dtype=np.int32))}}, 'beyond the labels'),
        ({'labels': ('a', 'a')}, 'labels'),
        ({'labels': ()}, 'no number'),
        ({'fingerprint': 'abc'}, 'sha256'),
    ],
)
def test_what_breaks_the_contract_is_noticed(changes, what):
    assert problems(GOOD) == []
    assert any(what in found for found in problems(replace(GOOD, **changes)))


@pytest.mark.parametrize('name', ['image_folder', 'tfds'])
def test_a_bad_record_spoils_no_other(name, tmp_path):
    """A part whose files are damaged later says so record by record."""
    arguments = RECIPES[name](tmp_path)
    part = importlib.import_module(f'jaxlab.data.sources.{name}').make(**arguments).parts['train']
    for file in [*tmp_path.rglob('train/a/*.png'), *tmp_path.rglob('*train.array_record-00000-*')]:
        file.write_bytes(b'')
    bad = []
    for number in range(len(part)):
        try:
            part[number]
        except (BadRecord, OSError) as error:
            assert isinstance(error, BadRecord) and error.record in str(error)
            bad.append(number)
    assert 0 < len(bad) < len(part)
