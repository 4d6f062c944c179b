"""A sound data set has no findings; each thing that is put wrong into it is found, named and counted."""

import numpy as np
import pytest

from jaxlab.data import examination
from jaxlab.data.examination import examine
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import Source, diabetes, digits


class Part:
    """Examples in a list; one that is an exception is raised."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        if isinstance(self.examples[index], Exception):
            raise self.examples[index]
        return dict(self.examples[index])


def pictures(n, seed, shape=(6, 5, 3)):
    draw = np.random.default_rng(seed)
    return [{'inputs': draw.integers(0, 256, shape, np.uint8), 'targets': int(draw.integers(3))} for _ in range(n)]


def rows(n, seed):
    draw = np.random.default_rng(seed)
    return [{'inputs': draw.normal(size=4).astype(np.float32), 'targets': draw.normal()} for _ in range(n)]


def of_pictures():
    return {'train': pictures(60, 0), 'test': pictures(30, 1)}


def source(parts, labels=('a', 'b', 'c')):
    return Source('some', {name: Part(examples) for name, examples in parts.items()}, labels, 'f' * 64)


def kinds(parts, labels=('a', 'b', 'c'), most=0):
    return {(f.kind, f.part, f.count) for f in examine(source(parts, labels), most).findings}


@pytest.mark.parametrize('found', [digits.make(), diabetes.make()], ids=['digits', 'diabetes'])
def test_what_is_published_is_sound(found):
    examined = examine(found)
    assert examined.findings == () and not examined.wrong
    assert {name: seen.size for name, seen in examined.parts.items()} == {k: len(v) for k, v in found.parts.items()}


def test_sound_ones_have_no_findings():
    assert kinds(of_pictures()) == set()
    assert kinds({'train': rows(60, 0), 'validation': rows(30, 1)}, ()) == set()
    assert (
        kinds(
            {'train': [example | {'inputs': example['inputs'][i % 3 :]} for i, example in enumerate(pictures(60, 0))]}
        )
        == set()
    ), 'sizes may differ'


# What is done to a sound data set, and what must be found.
BROKEN = {
    'absent': (lambda parts: parts.pop('train'), {('absent', 'train', 1)}),
    'empty': (lambda parts: parts.update(test=[]), {('empty', 'test', 1)}),
    'unreadable': (
        lambda parts: parts['test'].__setitem__(
            slice(2, 4), [BadRecord('{record} is bad.', record='x'), OSError(5, 'no')]
        ),
        {('unreadable', 'test', 2)},
    ),
    'dtypes': (lambda parts: parts['train'][3].update(inputs=np.random.rand(6, 5, 3)), {('dtypes', 'train', 1)}),
    'no picture': (
        lambda parts: parts['train'][3].update(inputs=np.arange(30, dtype=np.uint8).reshape(6, 5)),
        {('shapes', 'train', 1)},
    ),
    'no pixels': (
        lambda parts: parts['train'][3].update(inputs=np.zeros((0, 5, 3), np.uint8)),
        {('shapes', 'train', 1)},
    ),
    'channels': (
        lambda parts: parts.update(test=pictures(30, 1, (6, 5, 1))),
        {('kinds', '', 30)},
    ),
    'no class': (
        lambda parts: (parts['train'][3].update(targets=3), parts['train'][4].update(targets=-1)),
        {('targets', 'train', 2)},
    ),
    'half a class': (lambda parts: parts['train'][3].update(targets=0.5), {('targets', 'train', 1)}),
    'black': (lambda parts: parts['train'][3].update(inputs=np.zeros((6, 5, 3), np.uint8)), {('flat', 'train', 1)}),
    'shared': (
        lambda parts: parts['test'].__setitem__(slice(0, 2), [dict(one) for one in parts['train'][:2]]),
        {('shared', 'test', 2)},
    ),
    'contradiction': (
        lambda parts: parts['train'][3].update(inputs=parts['train'][4]['inputs']),
        {('contradictions', '', 1), ('duplicates', 'train', 1)},
    ),
    'absent class': (
        lambda parts: parts.update(train=[one for one in parts['train'] if one['targets'] != 1]),
        {('absent_classes', 'train', 1)},
    ),
}


@pytest.mark.parametrize('name', BROKEN)
def test_what_is_wrong_is_found(name):
    parts = of_pictures()
    damage, wanted = BROKEN[name]
    damage(parts)
    assert kinds(parts) == wanted and examine(source(parts)).wrong


def few_of_two_classes(parts):
    for number, example in enumerate(parts['train']):
        example['targets'] = max(number - 57, 0)


# What need not be wrong.
NOTED = {
    'duplicates': (lambda parts: parts['train'].append(dict(parts['train'][0])), {('duplicates', 'train', 1)}),
    'order': (lambda parts: parts['train'].sort(key=lambda one: one['targets']), {('order', 'train', 60)}),
    'unequal': (few_of_two_classes, {('unequal', 'train', 1)}),
    'class of the test': (
        lambda parts: [one.update(targets=i * 5 % 7 % 2) for i, one in enumerate(parts['test'])],
        {('absent_classes', 'test', 1)},
    ),
}


@pytest.mark.parametrize('name', NOTED)
def test_what_need_not_be_wrong_is_noted(name):
    parts = of_pictures()
    damage, wanted = NOTED[name]
    damage(parts)
    assert wanted <= kinds(parts) and not examine(source(parts)).wrong


def test_tables():
    parts = {'train': rows(60, 0), 'test': rows(30, 1)}
    parts['train'][3]['inputs'][2] = np.nan
    parts['train'][4]['targets'] = np.nan
    for row in parts['train']:
        row['inputs'][1] = 5
    parts['test'][0]['inputs'] = np.zeros(3, np.float32)
    found = kinds(parts, ())
    assert found == {
        ('not_finite', 'train', 1),
        ('targets', 'train', 1),
        ('constant_columns', 'train', 1),
        ('kinds', '', 1),
    }
    assert kinds({'train': [row | {'targets': 2.0} for row in rows(60, 0)]}, ()) == {('constant_targets', 'train', 60)}
    rising = [row | {'targets': float(i)} for i, row in enumerate(rows(60, 0))]
    assert kinds({'train': rising}, ()) == {('order', 'train', 60)}


def test_a_finding_names_the_first_few_and_counts_all():
    parts = of_pictures()
    for number in range(4, 24, 2):
        parts['train'][number]['targets'] = 9
    (finding,) = examine(source(parts)).findings
    assert finding.message == (
        'train: examples that have a target other than 0 to 2, as 9.0: 10'
        ' (train 4, train 6, train 8, train 10, train 12, …)'
    )


def test_some_of_many_are_looked_at():
    parts = of_pictures()
    seen = examine(source(parts), most=7).parts
    assert len(seen['train'].numbers) == 7 and seen['train'].numbers[0] == 0 and seen['train'].numbers[-1] == 54
    assert len(seen['test'].numbers) == 6 and seen['train'].size == 60
    assert len(examine(source(parts), most=100).parts['train'].numbers) == 60


@pytest.mark.parametrize('check', [check for check in examination.CHECKS if check.__name__ != 'order'])
def test_a_check_that_is_left_out_is_noticed(check, monkeypatch):
    monkeypatch.setattr(examination, 'CHECKS', [one for one in examination.CHECKS if one is not check])
    missed = []
    for name, (damage, wanted) in (BROKEN | NOTED).items():
        parts = of_pictures()
        damage(parts)
        missed += [name] * (not wanted <= kinds(parts))
    assert missed


def test_files_are_called_by_their_names():
    found = source(of_pictures())
    found.parts['train'].names = [f'train/{number}.png' for number in range(60)]
    found.parts['train'].examples[7]['targets'] = 5
    (finding,) = examine(found).findings
    assert finding.message.endswith('1 (train/7.png)')
