"""Files of texts: what is read is what stands there, whatever its form; what is wrong is named with its line."""

import gzip
import json

import numpy as np
import pytest

from jaxlab.data.sources import python_topics, tfds_text
from jaxlab.data.sources.text_table import make
from tests.experiments import message
from tests.prepared_sets import text_features, write_set

ROWS = [('a "good" film', 'new'), ('the plot, thin', 'old'), ("isn't it?", 'new'), ('好电影', 'old')]


def shown(part, labels):
    return [(*part[n]['inputs'], labels[part[n]['targets']]) for n in range(len(part))]


def written(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == '.gz' else text.encode())
    return str(path)


@pytest.mark.parametrize('head', ['text\tkind\n', ''])
@pytest.mark.parametrize('suffix', ['.tsv', '.tsv.gz', '.txt'])
def test_cells_of_a_tsv_are_taken_as_they_are(tmp_path, suffix, head):
    path = written(tmp_path / f'films{suffix}', head + ''.join(f'{text}\t{kind}\n' for text, kind in ROWS))
    found = make(path=path, divide=False)
    assert found.labels == ('new', 'old') and shown(found.parts['train'], found.labels) == ROWS
    assert found.parts['train'].targets.dtype == np.int32


def test_cells_of_a_csv_are_quoted_and_jsonl_has_keys(tmp_path):
    lines = ['label,review'] + [f'{kind},"{text.replace(chr(34), chr(34) * 2)}"' for text, kind in ROWS]
    table = make(path=written(tmp_path / 'films.csv', '\n'.join(lines)), divide=False)
    lines = [json.dumps({'id': n, 'review': text, 'label': kind}) for n, (text, kind) in enumerate(ROWS)]
    objects = make(path=written(tmp_path / 'films.jsonl', '\n'.join(lines)), text='review', divide=False)
    assert shown(table.parts['train'], table.labels) == shown(objects.parts['train'], objects.labels) == ROWS
    assert objects.labels == ('new', 'old') and table.fingerprint != objects.fingerprint


def test_pairs_and_columns_by_number(tmp_path):
    path = written(tmp_path / 'pairs.tsv', '1\tone\tuno\tx\n0\ttwo\tuno\ty\n')
    found = make(path=path, text='1', second='2', label='0', divide=False)
    assert shown(found.parts['train'], found.labels) == [('one', 'uno', '1'), ('two', 'uno', '0')]
    assert 'has the columns 0, 1, 2, 3: say which' in message(make, path=path)
    assert 'two of them are one' in message(make, path=path, text='1', second='1', label='0')


def test_missing_columns_are_named_together_with_those_that_are_there(tmp_path):
    path = written(tmp_path / 'films.csv', 'label,review\nnew,good\nold,bad\n')
    said = message(make, path=path, text='text', second='other')
    assert 'has no column "text", "other"; its columns are: "label", "review".' in said


def test_a_tenth_is_validation_and_another_test_by_the_text_alone(tmp_path):
    lines = [f'text {n}\t{n % 2}\n' for n in range(500)]
    one = make(path=written(tmp_path / 'a.tsv', ''.join(lines)))
    other = make(path=written(tmp_path / 'b.tsv', ''.join(reversed(lines))))
    sets = [{part: {texts for texts in each.texts} for part, each in found.parts.items()} for found in (one, other)]
    assert sets[0] == sets[1] and sum(map(len, sets[0].values())) == 500
    assert 360 < len(sets[0]['train']) < 440 and 30 < len(sets[0]['validation']) < 75
    assert one.fingerprint != other.fingerprint, 'the order of training is another'
    few = written(tmp_path / 'few.tsv', 'a b\t1\nc d\t0\n')
    assert 'divide=false' in message(make, path=few)


def test_the_test_part_has_the_classes_of_training(tmp_path):
    train = written(tmp_path / 'a.tsv', 'one!\tx\ntwo\ty\n')
    test = written(tmp_path / 'b.tsv', 'one!\tx\nsix\tz\n')
    said = message(make, path=train, test_path=test)
    assert '"z"' in said and 'line 2' in said and 'x, y' in said
    assert set(make(path=train, validation_path=train).parts) == {'train', 'validation'}
    assert 'one class only' in message(make, path=written(tmp_path / 'c.tsv', 'one!\tx\ntwo\tx\n'), divide=False)


@pytest.mark.parametrize(
    ('line', 'why'),
    [('alone', '1 cells instead of 2'), ('a\tb\tc', '3 cells'), ('\t1', 'a text is empty'), ('some\t ', 'is missing')],
)
def test_bad_lines_are_named_or_left_out(tmp_path, capsys, line, why):
    path = written(tmp_path / 'a.tsv', 'one two\t1\n' * 150 + f'{line}\n' + 'two\t0\n' * 150)
    said = message(make, path=path, divide=False)
    assert 'line 151' in said and why in said and '--config.data.source.bad=skip' in said
    assert len(make(path=path, divide=False, bad='skip').parts['train']) == 300
    assert 'warning: 1 of 301 lines' in capsys.readouterr().out
    assert why in message(make, path=path, divide=False, bad='skip', bad_rate=0.001)


def test_a_line_of_jsonl_that_is_none(tmp_path):
    path = written(
        tmp_path / 'a.jsonl', '{"text": "x", "label": 1}\n[1]\n{"text": "y"}\n{"text": "\\ud83d", "label": 2}'
    )
    assert 'line 2: no object of JSON' in message(make, path=path)
    found = make(
        path=written(tmp_path / 'b.jsonl', '{"text": "x", "label": true}\n{"text": "y", "label": 2.0}'), divide=False
    )
    assert found.labels == ('2', 'true')
    assert 'no line that is an object' in message(make, path=written(tmp_path / 'c.jsonl', '1\n2\n'))


def test_what_is_no_text_or_no_file(tmp_path):
    (tmp_path / 'a.tsv').write_bytes('电影\t1\n'.encode('gb18030'))
    assert 'not UTF-8' in message(make, path=str(tmp_path / 'a.tsv'))
    assert 'is empty' in message(make, path=written(tmp_path / 'b.tsv', ''))
    assert 'there is no file' in message(make, path=str(tmp_path / 'none.tsv'))
    assert 'separator=tab' in message(make, path=written(tmp_path / 'films', 'one\t1\ntwo\t0\n'))
    assert make(path=str(tmp_path / 'films'), separator='tab', divide=False).labels == ('0', '1')
    assert 'path is not set' in message(make)
    assert 'header=' in message(make, path='x', header='maybe')
    assert 'separator=' in message(make, path='x', separator='ab')


def test_a_first_line_that_may_be_either_is_asked_about(tmp_path):
    path = written(tmp_path / 'a.tsv', 'great\tpos\nbad\tneg\n')
    assert 'could be names or data: "great", "pos"; say which' in message(make, path=path)
    found = make(path=path, header='no', divide=False)
    assert found.labels == ('neg', 'pos') and found.parts['train'].texts == [('great',), ('bad',)]


def test_what_python_says_of_itself():
    found = python_topics.make()
    counts = {part: len(texts) for part, texts in found.parts.items()}
    assert counts['train'] > 3000 and min(counts.values()) > 300 and len(found.labels) == 9
    every = [texts for part in found.parts.values() for texts in part.texts]
    assert len(set(every)) == len(every), 'a text that is in two parts'


def test_a_prepared_set_of_texts(tmp_path, capsys):
    pytest.importorskip('tensorflow_datasets', reason='TensorFlow Datasets is not here (the extra "tfds")')
    records = [{'a': f'text {n}'.encode(), 'b': '二'.encode(), 'label': n % 3} for n in range(20)]
    hidden = [record | {'label': -1} for record in records]
    write_set(tmp_path, {'train': records, 'test': hidden}, features=text_features('a', 'b'))
    where = {'set': 'shapes', 'dir': str(tmp_path)}
    found = tfds_text.make(**where, text='a', second='b')
    assert list(found.parts) == ['train'] and 'has no labels' in capsys.readouterr().out
    assert shown(found.parts['train'], found.labels) == [(f'text {n}', '二', found.labels[n % 3]) for n in range(20)]
    assert 'several features of the kind Text' in message(tfds_text.make, **where)
    assert 'its class is -1' in message(tfds_text.make, **where, text='a', test='test')
