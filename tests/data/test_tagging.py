"""Words with tags: a row asks each word at its first token; what is cut is told; files are read as they are."""

import numpy as np
import pytest

from jaxlab.config import module, spec
from jaxlab.data import tagging
from jaxlab.data.sources import conll, python_tags
from tests.experiments import message

WHOLE = slice(0, 4)
LINES = (
    '-DOCSTART- -X- O O\n\nAnna N I-NP B-PER\nSmith N I-NP I-PER\nsees V I-VP O\nParis N I-NP B-LOC\n\n'
    '他 N I-NP O\nran V I-VP O\n'
)


def write(path, text=LINES, times=1):
    path.write_text('\n'.join([text] * times), 'utf-8')
    return str(path)


def made(path, known=None, rows=WHOLE, **options):
    source = spec('data.sources.conll', path=path, validation_path=path)
    processor = spec('data.processors.wordpiece', vocabulary=64)
    return tagging.make(4, 0, rows, known, source=source, processor=processor, **({'length': 32} | options))


def test_a_file_of_conll_is_words_and_tags(tmp_path):
    found = conll.make(path=write(tmp_path / 'a.txt'), divide=False)
    assert [one.words for one in found.parts['train']] == [('Anna', 'Smith', 'sees', 'Paris'), ('他', 'ran')]
    assert found.parts['train'][0].tags == ('B-PER', 'I-PER', 'O', 'B-LOC') and found.labels == (
        'B-LOC',
        'B-PER',
        'I-PER',
        'O',
    )
    other = conll.make(path=str(tmp_path / 'a.txt'), tag=1, divide=False)
    assert other.labels == ('N', 'V') and other.fingerprint != found.fingerprint
    universal = write(tmp_path / 'u.conllu', '# text = a b\n1\ta\t_\tDET\n2\tb\t_\tNOUN\n')
    assert conll.make(path=universal, word=1, tag=3, divide=False).parts['train'][0].words == ('a', 'b')


def test_each_word_is_asked_at_its_first_token(tmp_path):
    data = made(write(tmp_path / 'a.txt'))
    tokenizer, split = data.processor.tokenizer, data.splits['validation']
    batch = split.batch(0)
    shapes = {name: (array.shape, array.dtype.name) for name, array in batch.items()}
    assert shapes == {
        'tokens': ((4, 32), 'int32'),
        'types': ((4, 32), 'int32'),
        'lengths': ((4,), 'int32'),
        'targets': ((4, 32), 'int32'),
        'mask': ((4, 32), 'float32'),
        'number': ((4,), 'int32'),
    }
    for row in range(2):
        one = conll.make(path=str(tmp_path / 'a.txt'), divide=False).parts['train'][batch['number'][row]]
        places = np.flatnonzero(batch['mask'][row])
        assert [data.info['labels'][tag] for tag in batch['targets'][row, places]] == list(one.tags)
        for begin, end, word in zip(places, [*places[1:], batch['lengths'][row] - 1], one.words):
            assert tokenizer.decode(batch['tokens'][row, begin:end]) == word.lower()
            assert not tokenizer.continues[batch['tokens'][row, begin]]
    assert batch['mask'][2:].sum() == 0, 'rows that fill the last batch'
    assert data.info['class_counts'] == [1, 1, 1, 3] and data.info['classes'] == 4
    halves = [made(str(tmp_path / 'a.txt'), rows=rows) for rows in (slice(0, 2), slice(2, 4))]
    for name, array in data.batch(3).items():
        assert np.array_equal(array, np.concatenate([half.batch(3)[name] for half in halves]))


def test_words_beyond_the_row_are_told_and_have_no_tag(tmp_path):
    long = ''.join(f'word N{n % 2}\n' for n in range(40))
    data = made(write(tmp_path / 'a.txt', long), length=16)
    kept = int(data.splits['validation'].batch(0)['mask'].sum())
    assert 0 < kept < 40 and f'{2 * (40 - kept)} words are beyond 16 tokens' in data.summary
    assert data.processor.is_cut('word ' * 40) and not data.processor.is_cut('word')
    row, places = data.processor.row('word ' * 40)
    assert len(places) == kept and row['tokens'].shape == (16,)


def test_the_saved_processor_makes_the_same_rows(tmp_path):
    path = write(tmp_path / 'a.txt')
    data = made(path)
    data.processor.save(tmp_path / 'processor')
    found = tagging.saved(tmp_path / 'processor', module('data.processors', 'wordpiece').load(tmp_path / 'processor'))
    assert found.assets() == data.processor.assets() and found.labels == data.processor.labels
    assert np.array_equal(made(path, found).batch(1)['tokens'], data.batch(1)['tokens'])
    assert 'no word to tag' in message(found.encode, ' ')
    other = write(tmp_path / 'b.txt', 'a X\nb Y\n')
    assert 'the classes have changed' in message(made, other, found)
    (tmp_path / 'processor' / tagging.FILE).write_text('{"labels": [1], "length": 3}')
    with pytest.raises(ValueError):
        tagging.saved(tmp_path / 'processor', found.tokenizer)


def test_what_is_wrong_is_named(tmp_path, capsys):
    short = write(tmp_path / 'a.txt', 'a X\nb Y\n\nalone\n', 1)
    assert 'line 4: 1 columns, and 2 or more' in message(conll.make, path=short)
    many = write(tmp_path / 'b.txt', 'a X\nb Y\n' * 1 + '\n' + 'a X\nb Y\n\n' * 200 + 'alone\n')
    assert len(conll.make(path=many, bad='skip', divide=False).parts['train']) == 201
    assert '1 of 202 sentences' in capsys.readouterr().out
    assert 'has no sentence' in message(conll.make, path=write(tmp_path / 'c.txt', '\n'))
    assert 'one tag only' in message(conll.make, path=write(tmp_path / 'd.txt', 'a X\n'), divide=False)
    new = write(tmp_path / 'e.txt', 'a X\nb Z\n')
    two = write(tmp_path / 'f.txt', 'a X\nb Y\n')
    assert '"Z"' in message(conll.make, path=two, test_path=new)
    assert 'path is not set' in message(conll.make)
    assert 'counted from 0' in message(conll.make, path=two, word=-1)
    assert 'has no words with tags' in message(tagging.make, 4, 0, WHOLE, source=spec('data.sources.digits'))
    assert 'at least 8 tokens' in message(made, two, length=4)


def test_lines_that_python_brings_along():
    found = python_tags.make()
    assert len(found.parts['train']) > 2000 and found.labels == (
        'call',
        'definition',
        'keyword',
        'name',
        'number',
        'operator',
        'string',
    )
    every = [one for part in found.parts.values() for one in part]
    assert len(set(every)) == len(every) and all(len(one.words) == len(one.tags) for one in every)
    line = next(one for one in every if one.words[0] == 'def')
    assert line.tags[:3] == ('keyword', 'definition', 'operator')
