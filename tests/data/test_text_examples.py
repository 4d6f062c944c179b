"""Texts in batches: tokens, types and lengths as the contract has them; what is cut is told; a processor comes back."""

import numpy as np
import pytest

from jaxlab.config import module, spec
from jaxlab.data import pictures, table, text_examples, text_rows
from jaxlab.data.sources import Source, Texts, python_topics
from jaxlab.data.text_rows import LabelledText
from tests.experiments import message

WHOLE = slice(0, 8)
WORDS = ['the', 'cat', 'dog', 'sees', 'likes', 'and', 'runs', 'sleeps', 'good', 'bad']


def source(count=40, pair=False):
    """Texts of one to nine words, each with its own number at the beginning."""
    draw = np.random.default_rng(0)

    def text(number):
        return ' '.join([str(number), *draw.choice(WORDS, draw.integers(0, 9))])

    def part(first, count):
        texts = [(text(n), text(n + 500)) if pair else (text(n),) for n in range(first, first + count)]
        return Texts(texts, draw.integers(0, 2, count).astype(np.int32))

    return Source('numbered', {'train': part(100, count), 'test': part(200, 10)}, ('no', 'yes'), 'f' * 64)


@pytest.fixture
def made(monkeypatch):
    def make(pair=False, batch_size=8, seed=0, rows=WHOLE, known=None, **options):
        monkeypatch.setattr(python_topics, 'make', lambda: source(pair=pair))
        processor = spec('data.processors.wordpiece', vocabulary=120)
        return text_examples.make(
            batch_size, seed, rows, known, processor=processor, **({'length': 32, 'validation': 0.2} | options)
        )

    return make


def test_a_row_is_tokens_types_and_a_length(made):
    data = made(pair=True)
    tokenizer, batch = data.processor.tokenizer, data.batch(3)
    texts = {texts[0].split()[0]: texts for texts in source(pair=True).parts['train'].texts}
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        'tokens': ((8, 32), 'int32'),
        'types': ((8, 32), 'int32'),
        'lengths': ((8,), 'int32'),
        'targets': ((8,), 'int32'),
        'mask': ((8,), 'float32'),
    }
    for tokens, types, length in zip(batch['tokens'], batch['types'], batch['lengths']):
        first = tokenizer.decode(tokens[:length][types[:length] == 0])
        second = tokenizer.decode(tokens[:length][types[:length] == 1])
        assert (first, second) == texts[first.split()[0]]
        assert tokens[0] == tokenizer.first and tokens[length - 1] == tokenizer.separator
        assert (tokens[length:] == tokenizer.padding).all() and (types[length:] == 0).all()
    info = data.info
    assert (info['vocabulary'], info['padding']) == (tokenizer.vocabulary, tokenizer.padding)
    assert (info['length'], info['types'], info['classes'], info['labels']) == (32, 2, 2, ['no', 'yes'])
    assert sum(info['class_counts']) == 32


def test_every_epoch_has_each_text_once_and_none_of_those_that_are_held_out(made):
    data = made()

    def seen(batches):
        rows = [row for batch in batches for row, real in zip(batch['tokens'], batch['mask']) if real]
        return [data.processor.tokenizer.decode(row).split()[0] for row in rows]

    epochs = [seen(data.batch(n) for n in range(4 * e, 4 * e + 4)) for e in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) and epochs[0] != epochs[1] and len(set(epochs[0])) == 32
    held = seen(data.splits['validation'].batch(n) for n in range(data.splits['validation'].batches))
    assert not set(held) & set(epochs[0]) and len(held) == 8
    tested = seen(data.tests['test'].batch(n) for n in range(2))
    assert sorted(tested) == [str(n) for n in range(200, 210)] and 'number' in data.tests['test'].batch(0)


def test_processes_make_the_rows_of_one_batch(made):
    whole, halves = made(), [made(rows=rows) for rows in (slice(0, 4), slice(4, 8))]
    for n in (0, 7, 1000):
        for name, rows in whole.batch(n).items():
            assert np.array_equal(rows, np.concatenate([half.batch(n)[name] for half in halves]))


def test_what_is_longer_than_a_row_is_cut_and_told(made):
    long, short = made(), made(length=8)
    longer = sum(
        len(long.processor.tokenizer.encode(texts[0])) > 6 for part in source().parts.values() for texts in part.texts
    )
    assert f'{longer} of 50 texts are longer and were cut' in short.summary and 'cut' not in long.summary
    assert short.batch(0)['tokens'].shape == (8, 8) and short.batch(0)['lengths'].max() == 8
    assert short.processor.is_cut('the cat sees the dog and runs') and not short.processor.is_cut('cat')
    assert 'at least 8 tokens' in message(made, length=2)


def test_tokens_are_learned_from_what_is_trained_on_alone(made, monkeypatch):
    read, learned = [], text_examples.learned
    monkeypatch.setattr(
        text_examples, 'learned', lambda node, texts, *others: read.extend(texts()) or learned(node, texts, *others)
    )
    data = made()
    decode = data.processor.tokenizer.decode
    trained = {decode(row).split()[0] for n in range(10) for row in data.batch(n)['tokens']}
    assert {text.split()[0] for text in read} == trained and len(read) == 32


def test_the_saved_processor_holds_tokens_and_labels(made, tmp_path):
    data = made(pair=True)
    data.processor.save(tmp_path)
    found = text_examples.saved(tmp_path, module('data.processors', 'wordpiece').load(tmp_path))
    assert found.assets() == data.processor.assets() and found.labels == ('no', 'yes') and found.pair
    one, other = found.encode(('the cat', 'dog')), data.processor.encode('the cat\tdog')
    assert all(np.array_equal(one[name], other[name]) for name in ('tokens', 'types', 'lengths'))
    assert one['tokens'].shape == (32,) and one['lengths'].shape == ()
    assert found.decode(np.array([0.1, 0.9])) == 'yes'
    assert 'about 2 text(s), and 1 came' in message(found.encode, 'alone')
    assert '2 came' in message(made().processor.encode, ('a', 'b'))
    again = made(pair=True, known=found)
    assert np.array_equal(again.batch(5)['tokens'], data.batch(5)['tokens'])
    changed = LabelledText(found.tokenizer, ('maybe', 'no'), 32, True)
    assert 'the classes have changed' in message(made, pair=True, known=changed)


@pytest.mark.parametrize('damage', ['[]', '{"labels": ["a"], "length": 0, "pair": true}', '{"labels": 3}', '{'])
def test_a_damaged_processor_is_none(made, tmp_path, damage):
    made().processor.save(tmp_path)
    (tmp_path / text_rows.FILE).write_text(damage)
    with pytest.raises(ValueError):
        text_rows.load(tmp_path, None)


def test_sources_of_other_things_are_refused():
    assert 'has no texts with classes' in message(text_examples.make, 8, 0, WHOLE, source=spec('data.sources.digits'))
    assert 'text_examples' in message(pictures.make, 8, 0, WHOLE, source=spec('data.sources.python_topics'))
    assert 'is no table' in message(table.make, 8, 0, WHOLE, source=spec('data.sources.python_topics'))
