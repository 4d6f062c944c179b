import json
import os
from pathlib import Path

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from jaxlab.config import spec
from jaxlab.data import cache as caches
from jaxlab.data import documents, token_store
from jaxlab.data.processors.bytes import Bytes
from jaxlab.data.sources import python_library
from jaxlab.errors import UserError


def bpe(vocabulary):
    return spec('data.processors.bpe', vocabulary=vocabulary)


def count(split):
    """Returns how many bytes and targets count over all batches of a split."""
    batches = [split.batch(n) for n in range(split.batches)]
    return sum(int(b['bytes'].sum()) for b in batches), sum(int(b['mask'].sum()) for b in batches)


# --- every byte counts -----------------------------------------------------------------------------------------------


def test_every_byte_of_the_librarys_held_out_modules_counts(make_text):
    data = make_text('', length=512, stride=384)
    files = {file.name: file.path for file in python_library.corpus().files}
    held_out = [files[d.name].read_bytes() for d in python_library.corpus().documents() if d.held_out]
    split = data.splits['held_out']
    assert count(split) == (split.counts['bytes'], split.counts['tokens'])
    assert split.counts['bytes'] == sum(map(len, held_out)) > 100_000
    documents, size, tokens = (split.counts[name] for name in ('documents', 'bytes', 'tokens'))
    assert documents == sum(map(bool, held_out))
    assert tokens == size + documents, 'with a token a byte: the bytes, and an end of each document'


@pytest.mark.parametrize('processor', [spec('data.processors.bytes'), bpe(300)])
@pytest.mark.parametrize('stride', [0, 5])
def test_every_byte_of_chinese_text_counts(make_text, chinese, processor, stride):
    data = make_text(chinese, stride=stride, processor=processor)
    texts = [json.loads(line)['text'] for line in chinese.read_text('utf-8').splitlines()]
    held_out = [text for text in texts if documents.one_in_twenty(text)]
    split = data.splits['held_out']
    assert split.counts['bytes'] == sum(len(text.encode()) for text in held_out) > 0
    assert count(split) == (split.counts['bytes'], split.counts['tokens'])
    assert split.counts['documents'] == len(held_out)


def test_bytes_that_a_vocabulary_loses_are_an_error(make_text, chinese, monkeypatch):
    monkeypatch.setattr(Bytes, 'encode', lambda self, text: np.frombuffer(text.strip('完0').encode(), np.uint8))
    with pytest.raises(UserError, match=r'loses text of "lessons\.jsonl:1"'):
        make_text(chinese)


# --- what a batch is made of -----------------------------------------------------------------------------------------


def test_training_reads_the_training_documents(make_text, chinese):
    data = make_text(chinese, length=4096, batch_size=1, rows=slice(0, 1))
    texts = [json.loads(line)['text'] for line in chinese.read_text('utf-8').splitlines()]
    batch = data.batch(0)
    segments = [batch['tokens'][0][batch['segments'][0] == s] for s in range(2, batch['segments'].max())]
    assert len(segments) > 20
    for tokens in segments:
        assert tokens[0] == data.processor.end_of_text
        assert data.processor.decode(tokens) in texts
        assert not documents.one_in_twenty(data.processor.decode(tokens))


def test_rows_of_two_processes_make_the_batch_of_one(make_text, chinese):
    whole = make_text(chinese)
    low, high = make_text(chinese, rows=slice(0, 1)), make_text(chinese, rows=slice(1, 4))
    batches = [(data.batch, data.splits['held_out'].batch) for data in (whole, low, high)]
    for of_whole, of_low, of_high in zip(*batches):
        for name, rows in of_whole(1).items():
            np.testing.assert_array_equal(rows, np.concatenate([of_low(1)[name], of_high(1)[name]]))


def test_what_is_told_about_the_data(make_text, chinese):
    data = make_text(chinese)
    assert data.info == json.loads(json.dumps(data.info)) == {'vocabulary': 257, 'length': 16}
    assert data.fingerprint[:16] in data.summary and '\n' not in data.summary
    texts = [json.loads(line)['text'] for line in chinese.read_text('utf-8').splitlines()]
    stored = sum(1 + len(text.encode()) for text in texts if not documents.one_in_twenty(text))
    assert data.batches_per_epoch == stored // 16 / 4


def test_tokens_are_learned_from_the_training_part_only(make_text, tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('abcd efgh\n' * 400 + 'zqzq vwvw\n' * 15)
    data = make_text(path, processor=bpe(400))
    assert b'abcd' in data.processor.pieces
    assert not [piece for piece in data.processor.pieces if len(piece) > 1 and set(b'zqvw') & set(piece)]


# --- the cache -------------------------------------------------------------------------------------------------------


def test_a_second_start_opens_no_file_and_learns_nothing(make_text, chinese, builds, monkeypatch, capsys):
    first = make_text(chinese, processor=bpe(300))
    assert 'learning 300 tokens' in capsys.readouterr().out
    opened = []
    original = Path.open
    monkeypatch.setattr(Path, 'open', lambda path, *a, **k: opened.append(path) or original(path, *a, **k))
    second = make_text(chinese, processor=bpe(300), seed=0, length=16)
    assert chinese not in opened
    assert capsys.readouterr().out == ''
    assert len(builds) == 1
    assert second.fingerprint == first.fingerprint
    assert second.processor.assets() == first.processor.assets()
    for name, rows in first.batch(5).items():
        np.testing.assert_array_equal(rows, second.batch(5)[name])


def test_a_changed_file_is_read_again(make_text, chinese, builds):
    first = make_text(chinese)
    with chinese.open('a', encoding='utf-8') as file:
        file.write('\n{"text": "another"}')
    second = make_text(chinese)
    assert len(builds) == 2
    assert first.fingerprint != second.fingerprint


def test_a_touched_file_is_read_again_and_is_the_same(make_text, chinese, builds):
    first = make_text(chinese)
    os.utime(chinese, ns=(1, 1))
    assert make_text(chinese).fingerprint == first.fingerprint
    assert len(builds) == 2


def test_the_fingerprint_covers_processor_names_and_contents_but_not_where_they_lie(make_text, tmp_path):
    def fingerprint(folder, name, content, **options):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)
        return make_text(tmp_path / folder, **options).fingerprint

    base = fingerprint('1', 'a.txt', 'one\ntwo\n')
    assert fingerprint('2', 'a.txt', 'one\ntwo\n') == base
    different = [
        fingerprint('3', 'b.txt', 'one\ntwo\n'),
        fingerprint('4', 'a.txt', 'one\ntwO\n'),
        fingerprint('5', 'a.txt', 'one\ntwo\n', processor=bpe(257)),
    ]
    assert len({base, *different}) == 4


def test_a_published_vocabulary_that_changes_is_read_again(make_text, chinese, tmp_path):
    folder = tmp_path / 'published'
    folder.mkdir()

    def publish(*merges):
        tokens = [
            *sorted(pre_tokenizers.ByteLevel.alphabet()),
            *(merge.replace(' ', '') for merge in merges),
            '<|endoftext|>',
        ]
        (folder / 'vocab.json').write_text(json.dumps({token: id for id, token in enumerate(tokens)}), 'utf-8')
        (folder / 'merges.txt').write_text('\n'.join(merges), 'utf-8')
        return make_text(chinese, processor=spec('data.processors.published', path=str(folder))).info['vocabulary']

    assert publish('e s') == 258
    assert publish('e s', 'es s') == 259


def test_a_known_processor_is_used_and_finds_the_same_store(make_text, chinese, builds):
    first = make_text(chinese, processor=bpe(300))
    second = make_text(chinese, processor=bpe(300), known=first.processor)
    assert second.processor is first.processor and second.fingerprint == first.fingerprint
    assert len(builds) == 1
    other = make_text(chinese, known=first.processor)
    assert other.fingerprint == first.fingerprint


def test_a_damaged_store_is_built_again(make_text, chinese, builds, cache):
    first = make_text(chinese)
    tokens = next(cache.glob('tokens/*/train.tokens'))
    tokens.write_bytes(tokens.read_bytes()[:-2])
    second = make_text(chinese)
    assert len(builds) == 2
    np.testing.assert_array_equal(first.batch(0)['tokens'].shape, second.batch(0)['tokens'].shape)
    assert make_text(chinese).fingerprint == first.fingerprint
    assert len(builds) == 2


def test_a_build_that_fails_leaves_nothing(make_text, tmp_path, cache):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'fine\n' * 50 + b'\xff\n')
    with pytest.raises(UserError, match=r'config\.data\.path: .*byte 0xff at position 250'):
        make_text(path)
    assert not [entry for entry in cache.glob('tokens/*') if entry.suffix != '.lock']
    path.write_bytes(b'fine\n' * 50)
    make_text(path)


def test_where_the_cache_lies(monkeypatch, tmp_path):
    assert caches.root() == Path(os.environ['JAXLAB_CACHE'])
    monkeypatch.delenv('JAXLAB_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert caches.root() == tmp_path / 'jaxlab'
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert caches.root() == Path.home() / '.cache' / 'jaxlab'


def test_a_cache_that_cannot_be_written(make_text, chinese, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'file'))
    with pytest.raises(UserError, match='JAXLAB_CACHE'):
        make_text(chinese)


# --- streaming -------------------------------------------------------------------------------------------------------


def test_long_documents_are_read_in_pieces_and_stay_one_document(make_text, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, 'PIECE_BYTES', 50)
    monkeypatch.setattr(token_store, 'GROUP_CHARACTERS', 120)
    text = ''.join(f'第 {n} 行。 hello\n' for n in range(200))
    path = tmp_path / 'a.txt'
    path.write_text(text, 'utf-8')
    data = make_text(path, processor=bpe(280), length=8192)
    split = data.splits['held_out']
    assert split.counts['documents'] == 1 and count(split) == (split.counts['bytes'], split.counts['tokens'])
    tokens = data.batch(0)['tokens'][0]
    first, second = np.flatnonzero(tokens == data.processor.end_of_text)[:2]
    assert data.processor.decode_bytes(tokens[first:second]) == path.read_bytes()[: -split.counts['bytes']]


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_arguments_out_of_range(make_text, chinese):
    with pytest.raises(UserError, match=r'config\.data: length=0'):
        make_text(chinese, length=0)
    for stride in (-1, 17):
        with pytest.raises(UserError, match=rf'config\.data: stride={stride}'):
            make_text(chinese, stride=stride)
    with pytest.raises(UserError, match=r'config\.data\.processor: vocabulary=7'):
        make_text(chinese, processor=bpe(7))


def test_a_part_without_text(make_text, tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('one line only')
    with pytest.raises(UserError, match='no text to evaluate on'):
        make_text(path)
    path.write_text('')
    with pytest.raises(UserError, match='no text'):
        make_text(path)
