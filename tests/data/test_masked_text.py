"""Rows with gaps: a pure function of their number; half of the second texts follow; what is held out stays apart."""

# b rows, t time, m hidden tokens of a row

import random

import numpy as np
import pytest

from jaxlab.config import spec
from jaxlab.data import masked_rows, masked_text
from jaxlab.data.documents import Document
from jaxlab.data.sentence_store import LONGEST, sentences_of
from jaxlab.data.sources import english
from jaxlab.errors import UserError

ROWS = 64


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    """Documents of numbered sentences: each word says its document, and each sentence its number."""
    folder = tmp_path_factory.mktemp('texts')
    draw = random.Random(0)
    for d in range(60):
        lines = [' '.join([f's{i}', *[f'd{d}'] * draw.randint(2, 5)]) + '.' for i in range(draw.randint(2, 60))]
        (folder / f'{d:02}.txt').write_text('\n'.join(lines), 'utf-8')
    return folder


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """A vocabulary of whole words, but that the ends of sentences and 'd' stand apart: 'd12' is 'd', '##12'."""
    folder = tmp_path_factory.mktemp('vocabulary')
    pieces = ['.', 'd', *(f's{i}' for i in range(60)), *(f'##{d}' for d in range(60))]
    (folder / 'vocab.txt').write_text('\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *pieces]), 'utf-8')
    return folder


@pytest.fixture
def make(corpus, words, tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path))

    def made(seed=0, rows=slice(0, ROWS), batch_size=ROWS, **more):
        arguments = {'path': str(corpus), 'length': 40, 'processor': spec('data.processors.wordpiece', path=str(words))}
        return masked_text.make(batch_size, seed, rows, **arguments | more)

    return made


def names(data, batch, r):
    """The tokens of row r as they were, by their names."""
    tokens = batch['tokens'][r].copy()
    count = int(batch['mask'][r].sum())
    tokens[batch['places'][r, :count]] = batch['targets'][r, :count]
    return [data.processor.tokenizer.id_to_token(int(id)) for id in tokens[: batch['lengths'][r]]]


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_batch_is_what_it_says(make):
    data = make()
    batch = data.batch(0)
    shapes = {name: (array.shape, str(array.dtype)) for name, array in batch.items()}
    row, integers = ((ROWS, 40), 'int32'), ((ROWS,), 'int32')
    assert shapes == {
        **dict.fromkeys(['tokens', 'types'], row),
        **dict.fromkeys(['lengths', 'next'], integers),
        **dict.fromkeys(['places', 'targets'], ((ROWS, 6), 'int32')),
        'mask': ((ROWS, 6), 'float32'),
    }
    assert data.info == {'vocabulary': data.processor.vocabulary, 'length': 40, 'types': 2, 'padding': 0}
    for r in range(ROWS):
        found, length, types = names(data, batch, r), batch['lengths'][r], batch['types'][r]
        end = found.index('[SEP]')
        assert found[0] == '[CLS]' and found[-1] == '[SEP]' and found.count('[SEP]') == 2 and '[UNK]' not in found
        assert types.tolist() == [0] * (end + 1) + [1] * (length - end - 1) + [0] * (40 - length)
        assert (batch['tokens'][r, length:] == 0).all()
        count = int(batch['mask'][r].sum())
        assert count == round(0.15 * (length - 3)) and (batch['mask'][r, :count] == 1).all()
        assert (np.diff(batch['places'][r, :count]) > 0).all()


def test_half_of_the_second_texts_follow(make):
    data = make()
    numbers = []
    for n in range(10):
        batch = data.batch(n)
        numbers += batch['next'].tolist()
        for r in range(ROWS):
            found = names(data, batch, r)
            first, second = ' '.join(found[1:-1]).split(' [SEP] ')
            documents = [{word for word in text.split() if word.startswith('##')} for text in (first, second)]
            assert len(documents[0]) == len(documents[1]) == 1, 'each text is of one document'
            last = [int(word[1:]) for word in first.split() if word[0] == 's'][-1]
            begin = next((int(word[1:]) for word in second.split() if word[0] == 's'), None)
            follows = documents[0] == documents[1] and begin == last + 1
            assert follows == (batch['next'][r] == 0)
    assert abs(np.mean(numbers) - 0.5) < 4 * 0.5 / len(numbers) ** 0.5


def test_no_length_tells_what_follows(make):
    """Mean lengths of both texts, of rows of both kinds."""
    data = make()
    lengths = {0: [], 1: []}
    for n in range(80):
        batch = data.batch(n)
        for r in range(ROWS):
            lengths[int(batch['next'][r])].append((batch['lengths'][r], batch['types'][r].sum()))
    means = [np.mean(found, axis=0) for found in lengths.values()]
    np.testing.assert_allclose(means[0], means[1], atol=0.6)


def test_a_row_is_a_function_of_its_number(make):
    data, other = make(), make(seed=1)
    wanted = data.batch(7)
    assert equal(make().batch(7), wanted) and not equal(other.batch(7), wanted)
    for begin in (0, ROWS // 2):  # two processes make the rows of one batch
        half = make(rows=slice(begin, begin + ROWS // 2)).batch(7)
        assert equal(half, {name: array[begin : begin + ROWS // 2] for name, array in wanted.items()})
    assert equal(make(batch_size=2 * ROWS, rows=slice(0, 2 * ROWS)).batch(3), {
        name: np.concatenate([data.batch(6)[name], wanted[name]]) for name in wanted
    })  # fmt: skip


def test_eighty_ten_ten(make):
    data = make()
    masked = same = other = 0
    for n in range(40):
        batch = data.batch(n)
        shown = np.take_along_axis(batch['tokens'], batch['places'], 1)
        there = batch['mask'] > 0
        is_masked, is_same = shown == data.processor.masked, shown == batch['targets']
        masked, same = masked + (is_masked & there).sum(), same + (is_same & there).sum()
        other += (~is_masked & ~is_same & there).sum()
        special = data.processor.special[shown] & ~is_masked & there
        assert not special.any(), 'no special token is put there'
    total = masked + same + other
    for found, share in ((masked, 0.8), (other, 0.1), (same, 0.1)):
        assert abs(found / total - share) < 4 * (share * (1 - share) / total) ** 0.5 + 0.002
    plain = make(masked=1.0, swapped=0.0).batch(0)
    shown = np.take_along_axis(plain['tokens'], plain['places'], 1)
    assert (shown[plain['mask'] > 0] == data.processor.masked).all()


def test_whole_words(make):
    data = make(whole_words=True)
    pieces = 0
    for n in range(5):
        batch = data.batch(n)
        for r in range(ROWS):
            found, count = names(data, batch, r), int(batch['mask'][r].sum())
            hidden = set(batch['places'][r, :count].tolist())
            for place in hidden:
                pieces += found[place].startswith('##')
                if found[place].startswith('##'):
                    assert place - 1 in hidden or found[place - 1] in ('[CLS]', '[SEP]')
                elif place + 1 < len(found) and found[place + 1].startswith('##'):
                    assert place + 1 in hidden
    assert pieces > 100
    hiding = masked_rows.Hiding(whole_words=True)
    one = hiding.places(np.array([1, 2, 3]), np.array([False, True, True]), np.random.default_rng(0))
    assert one.tolist() == [1], 'where the only word is too long, some of it is hidden'


def test_rows_of_one_text(make):
    data = make(pairs=False)
    batch = data.batch(0)
    assert 'next' not in batch and not batch['types'].any()
    found = names(data, batch, 0)
    assert found.count('[SEP]') == 1 and found[-1] == '[SEP]'
    assert batch['lengths'].mean() > 38


def test_what_is_held_out_is_read_once_and_is_never_trained_on(make):
    data = make(batch_size=8, rows=slice(0, 8))
    split = data.splits['held_out']
    batches = [split.batch(n) for n in range(split.batches)]
    held_out = {name for batch in batches for r in range(8) for name in names(data, batch, r) if name.startswith('##')}
    trained = {
        name for n in range(60) for r in range(8) for name in names(data, data.batch(n), r) if name.startswith('##')
    }
    assert held_out and trained and not held_out & trained
    other = make(batch_size=8, rows=slice(0, 8), seed=5).splits['held_out']
    assert all(equal(other.batch(n), batches[n]) for n in range(split.batches)), 'gaps are the same for everybody'
    firsts = [tuple(names(data, batch, r)[1:4]) for batch in batches for r in range(8) if batch['mask'][r].any()]
    assert len(set(firsts)) == len(firsts), 'no row begins where another does'
    empty = [r for r in range(8) if not batches[-1]['mask'][r].any()]
    assert all(not batches[-1]['tokens'][r].any() for r in empty)
    assert 0 < sum(batch['mask'].any(1).sum() for batch in batches) <= split.batches * 8


def test_sentences(tmp_path):
    def of(*pieces):
        return list(sentences_of(Document('name', False, lambda: iter(pieces), 0)))

    text = 'One sentence. “Two!” And e.g. three?\nStill\nthis one\n\nA title\n\n你好。世界！”再见 end'
    wanted = [
        'One sentence.',
        '“Two!”',
        'And e.g.',
        'three?',
        'Still\nthis one',
        'A title',
        '你好。',
        '世界！”',
        '再见 end',
    ]
    assert of(text) == wanted
    for cut in range(len(text)):  # where a piece ends does not matter
        assert of(text[:cut], text[cut:]) == wanted
    assert of('', ' \n\n ') == []


def test_long_sentences_are_cut(make, tmp_path):
    (tmp_path / 'long.txt').write_text('s1 ' * 1000 + '.\n' + 's2 s3.\n' * 100, 'utf-8')
    data = make(path=str(tmp_path / 'long.txt'))
    assert data.batch(0)['lengths'].max() <= 40
    assert LONGEST > 40


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(length=7), 'length=7: a row has at least 8'),
        (dict(hidden=0.0), 'hidden=0.0: a share'),
        (dict(hidden_held_out=1.0), 'hidden_held_out=1.0: a share'),
        (dict(masked=1.5), 'masked=1.5: a share'),
        (dict(masked=0.8, swapped=0.3), 'together at most 1'),
        (dict(processor=spec('data.processors.bpe', vocabulary=300)), 'has no token "masked"'),
    ],
)
def test_arguments_out_of_range(make, arguments, message):
    with pytest.raises(UserError, match=message):
        make(**arguments)


def test_the_english_of_python():
    corpus = english.corpus()
    documents = {document.name: document for document in corpus.documents()}
    assert sum(document.size for document in documents.values()) > 1e6
    parts = {kind: ''.join(documents[name].pieces()) for name in documents for kind in [documents[name].held_out]}
    assert set(parts) == {False, True}
    held_out = [set(text.split('\n\n')) for text in map(_text, documents.values())]
    assert sum(map(len, held_out)) == len(set.union(*held_out)), 'each paragraph stands in one document'
    assert {document.held_out for name, document in documents.items() if name.startswith('ctypes/')} in (
        {True},
        {False},
    ), 'a package is held out as a whole'
    text = _text(documents['textwrap.py'])
    assert 'Wrap a single paragraph of text' in text and '>>>' not in text
    assert 'Hardcode the recognized whitespace characters' in text, 'comments are prose as well'


def test_prose_is_docstrings_and_comments_in_their_order(tmp_path):
    source = '''#!/usr/bin/env python
"""A module that says what it is for."""

# This comment is a whole sentence of English,
# and it goes on in its second line.
VALUE = 1  # what stands behind code is left out, though it has words enough
TEXT = """
# What stands in a string is no comment, though it begins like one.
"""


def double(x):
    """Return twice the number that was given."""
    # Short ones are labels.
    y = x + x
    # if x: return f(x)[0] + g(x)[1] + h(x)[2]  # code
    return y
'''
    (tmp_path / 'm.py').write_text(source, 'utf-8')
    assert list(english.prose(tmp_path / 'm.py')) == [
        'A module that says what it is for.',
        'This comment is a whole sentence of English, and it goes on in its second line.',
        'Return twice the number that was given.',
    ]


def _text(document):
    return ''.join(document.pieces())
