import json
import os
import re
import threading
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
from jaxlab.trust import faults


def bpe(vocabulary):
    return spec('data.processors.bpe', vocabulary=vocabulary)


def count(split):
    """Returns how many bytes and targets count over all batches of a split."""
    batches = [split.batch(n) for n in range(split.batches)]
    return sum(int(b['bytes'].sum()) for b in batches), sum(int(b['mask'].sum()) for b in batches)


@pytest.fixture
def builds(monkeypatch):
    """The list of stores written during the test."""
    written = []
    original = token_store.write_store

    def write(corpus, processor, folder):
        written.append(folder)
        original(corpus, processor, folder)

    monkeypatch.setattr(token_store, 'write_store', write)
    return written


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
    assert not list(cache.glob('tokens/*'))
    path.write_bytes(b'fine\n' * 50)
    make_text(path)


def test_two_builders_at_once_share_one_folder(cache):
    both = threading.Barrier(2)

    def build(folder):
        both.wait(10)
        (folder / 'value').write_text('made')

    def read(folder):
        return (folder / 'value').read_text() if folder.is_dir() else None

    found = []
    threads = [threading.Thread(target=lambda: found.append(caches.cached('room', 1, build, read))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ['made', 'made']
    assert len(list((cache / 'room').iterdir())) == 1


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


# --- records that cannot be read -------------------------------------------------------------------------------------


def corpus_of(folder, *, texts=60):
    """Writes lines and texts, all good."""
    folder.mkdir()
    for n in range(texts):
        (folder / f'{n:02}.txt').write_text(f'text {n}\nand more of it\n')
    lines = [json.dumps({'text': f'第 {n} 篇 of {n * n}'}) for n in range(200)]
    for shard in range(2):
        (folder / f'line-0000{shard}-of-00002.jsonl').write_text('\n'.join(lines[shard::2]) + '\n')
    return folder


def line(folder, content):
    """Writes bytes over line 5 of a file of lines."""
    path = folder / 'line-00000-of-00002.jsonl'
    lines = path.read_bytes().split(b'\n')
    path.write_bytes(b'\n'.join([*lines[:4], content, *lines[5:]]))


FAULTS = {  # what is done to a folder, and what is said of it
    'latin': (
        lambda folder: (folder / '07.txt').write_bytes(b'caf\xe9\n'),
        r'07\.txt" is not UTF-8 text: byte 0xe9 at',
    ),
    'late': (
        lambda folder: (folder / '07.txt').write_bytes(b'fine\n' * 90_000 + b'\xff'),
        r'07\.txt" is not UTF-8 text: byte 0xff at position 450,000',
    ),
    'zeros': (lambda folder: (folder / '07.txt').write_bytes(bytes(100)), r'07\.txt" is not UTF-8 text: byte 0x00'),
    'empty': (lambda folder: (folder / '07.txt').write_bytes(b''), r'07\.txt" is empty'),
    'link': (lambda folder: (folder / '61.txt').symlink_to('nowhere'), r'61\.txt" cannot be read \(No such file'),
    'json': (lambda folder: line(folder, b'{"text": "half of it'), r'00000-of-00002\.jsonl", line 5 is no text'),
    'key': (lambda folder: line(folder, b'{"txt": "a"}'), 'line 5 is no text'),
    'number': (lambda folder: line(folder, b'{"text": 5}'), 'line 5 is no text'),
    'bytes': (lambda folder: line(folder, b'{"text": "caf\xe9"}'), 'line 5 is not UTF-8 text: byte 0xe9 at position'),
    'hole': (lambda folder: line(folder, bytes(50)), 'line 5 is no text'),
    'shard': (lambda folder: (folder / 'line-00001-of-00002.jsonl').unlink(), r'00001-of-00002\.jsonl" is missing'),
    'lines': (
        lambda folder: (folder / 'line-00001-of-00002.jsonl').write_bytes(b'\n\n'),
        r'00001-of-00002\.jsonl" is empty',
    ),
}


def without(folder, fault):
    """Takes away by hand what is to be left out."""
    if fault in ('latin', 'late', 'zeros', 'empty', 'link'):
        (folder / ('61.txt' if fault == 'link' else '07.txt')).unlink()
    if fault in ('json', 'key', 'number', 'bytes', 'hole'):
        line(folder, b'')
    if fault == 'lines':
        (folder / 'line-00001-of-00002.jsonl').unlink()
    for path in folder.glob('*-of-00002.jsonl'):
        if fault in ('shard', 'lines'):
            path.rename(folder / 'line-00000-of-00001.jsonl')


@pytest.mark.parametrize('fault', FAULTS)
def test_a_bad_record_is_named_or_left_out(make_text, tmp_path, capsys, fault):
    folder = corpus_of(tmp_path / 'corpus')
    damage, said = FAULTS[fault]
    damage(folder)
    with pytest.raises(UserError, match=said) as caught:
        make_text(folder)
    assert 1 <= len(str(caught.value).splitlines()) <= 2 and '--config.data.bad=skip' in str(caught.value)

    capsys.readouterr()
    data = make_text(folder, bad='skip', bad_rate=1.0, processor=bpe(300))
    told = [line for line in capsys.readouterr().out.splitlines() if 'left out of' in line]
    assert (
        len(told) == 1
        and 'cannot be read: 1 of ' in told[0]
        and re.search(re.split(' (?:is|cannot)', said)[0], told[0])
    )
    assert data.summary.endswith('; 1 records left out')
    with pytest.raises(UserError, match=said):
        make_text(folder, processor=bpe(300))  # what was stored when it could be left out is not taken for whole
    make_text(folder, bad='skip', bad_rate=1.0)
    with pytest.raises(UserError, match=said):
        make_text(folder)

    without(folder, fault)
    alone = make_text(folder, processor=bpe(300))
    assert alone.processor.assets() == data.processor.assets()
    assert alone.batches_per_epoch == data.batches_per_epoch
    for one, other in ((alone.batch, data.batch), (alone.splits['held_out'].batch, data.splits['held_out'].batch)):
        for name, rows in one(3).items():
            np.testing.assert_array_equal(rows, other(3)[name])


def test_the_same_files_make_the_same_store(make_text, tmp_path, monkeypatch):
    folder = corpus_of(tmp_path / 'corpus')
    whole = make_text(folder).fingerprint
    assert make_text(folder, bad='skip').fingerprint == whole, 'where nothing is bad there is one store'
    for fault in ('late', 'json', 'empty'):
        FAULTS[fault][0](folder)
    found = set()
    for cache in ('1', '2'):
        monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / cache))
        found.add(make_text(folder, bad='skip', bad_rate=1.0).fingerprint)
    assert len(found) == 1 and found != {whole}


def test_more_than_the_rate_is_refused_also_when_it_was_stored_before(make_text, tmp_path, capsys):
    folder = corpus_of(tmp_path / 'corpus')
    for n in range(5):
        (folder / f'{n:02}.txt').write_bytes(b'\xff' * 10)  # 5 of 260 records, and 50 bytes of 8 kB
    with pytest.raises(UserError, match=r'than config\.data\.bad_rate=0\.01 allows: 5 records .*\n.*00\.txt"; ".*04'):
        make_text(folder, bad='skip')
    assert 'turning' not in capsys.readouterr().out, 'nothing was encoded before'
    assert make_text(folder, bad='skip', bad_rate=0.02).summary.endswith('; 5 records left out')
    assert 'turning' in capsys.readouterr().out
    with pytest.raises(UserError, match=r'bad_rate=0\.01'):
        make_text(folder, bad='skip')
    assert capsys.readouterr().out == ''
    (folder / '30.txt').write_bytes(b'fine\n' * 1000 + b'\xff')  # one record, but a third of all text
    with pytest.raises(UserError, match=r'bad_rate=0\.03'):
        make_text(folder, bad='skip', bad_rate=0.03)


def test_a_corpus_that_is_all_bad_is_not_read_to_its_end(make_text, tmp_path, monkeypatch):
    folder = corpus_of(tmp_path / 'corpus')
    for n in range(60):
        (folder / f'{n:02}.txt').write_bytes(b'\xff' * 1000)
    read, original = [], documents.not_utf8
    monkeypatch.setattr(documents, 'not_utf8', lambda *rest: read.append(rest) or original(*rest))
    with pytest.raises(UserError, match='bad_rate'):
        make_text(folder, bad='skip')
    assert len(read) == 1


def test_a_record_that_is_bad_only_later_ends_the_run(make_text, tmp_path, monkeypatch):
    """It may be in half of a store then, which is not kept."""
    folder = corpus_of(tmp_path / 'corpus')
    original = token_store.grouped

    def spoil(pieces):
        (folder / '07.txt').write_bytes(b'caf\xe9\n')
        return original(pieces)

    monkeypatch.setattr(token_store, 'grouped', spoil)
    with pytest.raises(UserError, match=r'07\.txt'):
        make_text(folder, bad='skip')


# --- a store that is damaged -----------------------------------------------------------------------------------------


def damage(path, how):
    content = path.read_bytes()
    if how == 'flip':
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
    with path.open('r+b') as file:  # the same file, which others may have open
        file.write(bytes(len(content)) if how == 'zero' else content)
        file.truncate(len(content) // 2 if how == 'cut' else len(content))
    if how == 'delete':
        path.unlink()


STORED = [
    f'{part}.{kind}{sums}' for part in ('train', 'held_out') for kind in ('tokens', 'offsets') for sums in ('', '.sums')
]


@pytest.mark.parametrize('how', ['flip', 'zero', 'cut', 'delete'])
def test_a_damaged_store_is_never_trained_on(make_text, chinese, builds, cache, capsys, how):
    first = make_text(chinese)
    wanted = first.batch(3)
    for number, name in enumerate([*STORED, 'meta.json']):
        (path,) = cache.glob(f'tokens/*/{name}')
        damage(path, how)
        capsys.readouterr()
        again = make_text(chinese)
        assert len(builds) == 2 + number, name
        assert 'is damaged, and is made anew' in capsys.readouterr().out
        assert again.fingerprint == first.fingerprint
        for kind, rows in wanted.items():
            np.testing.assert_array_equal(rows, again.batch(3)[kind])


@pytest.mark.parametrize(
    ('kind', 'name', 'key'), [('tokens', 'meta.json', 'fingerprint'), ('processors', 'processor.json', 'end_of_text')]
)
def test_a_file_that_is_well_formed_and_wrong(make_text, chinese, cache, kind, name, key):
    first = make_text(chinese, processor=bpe(300))
    (path,) = cache.glob(f'{kind}/*/{name}')
    wrong = json.loads(path.read_text())
    wrong[key] = wrong[key][::-1] if key == 'fingerprint' else wrong[key] - 1
    path.write_text(json.dumps(wrong))
    again = make_text(chinese, processor=bpe(300))
    assert again.fingerprint == first.fingerprint and again.processor.assets() == first.processor.assets()


@pytest.mark.parametrize('how', ['flip', 'zero', 'cut'])
def test_a_store_that_is_damaged_while_training(make_text, tmp_path, builds, cache, capsys, how):
    folder = corpus_of(tmp_path / 'corpus')
    whole = make_text(folder)
    batches = [whole.batch(n) for n in range(40)]
    data = make_text(folder, bad='skip', bad_rate=1.0)
    strict = make_text(folder, seed=0)
    for path in cache.glob('tokens/*/train.tokens'):
        damage(path, how)
    with pytest.raises(UserError, match=r'train\.tokens", bytes [\d,]+ to [\d,]+ are not what was written'):
        for n in range(40):
            strict.batch(n)
    lost = 0
    for n, whole in enumerate(batches):
        batch = data.batch(n)
        masked = ~batch['mask'].any(axis=1)
        lost += int(masked.sum())
        for name, rows in batch.items():
            np.testing.assert_array_equal(rows[~masked], whole[name][~masked])
            assert not rows[masked].any()
    assert data.skipped(40) == lost and (lost == 160 if how == 'zero' else 0 < lost < 160)
    assert 'are not what was written there. Its row counts for nothing.' in capsys.readouterr().out
    written = len(builds)
    again = make_text(folder, bad='skip', bad_rate=1.0)
    assert len(builds) == written + 1, 'the next start writes it anew'
    np.testing.assert_array_equal(again.batch(0)['tokens'], batches[0]['tokens'])


def test_a_large_store_is_looked_at_as_it_is_read(make_text, tmp_path, builds, cache, monkeypatch):
    monkeypatch.setattr(token_store, 'CHECKED', 0)
    folder = corpus_of(tmp_path / 'corpus')
    make_text(folder)
    (path,) = cache.glob('tokens/*/train.tokens')
    damage(path, 'zero')
    with pytest.raises(UserError, match='not what was written'):
        make_text(folder).batch(0)
    assert len(builds) == 1
    make_text(folder).batch(0)
    assert len(builds) == 2


@pytest.mark.parametrize('split', ['batch', 'held_out'])
def test_a_disk_that_fails_while_training(make_text, chinese, split):
    def read(data, n):
        return (data if split == 'batch' else data.splits['held_out']).batch(n)

    whole, data = make_text(chinese), make_text(chinese, bad='skip', bad_rate=1.0)
    with faults.fail_at('record', 1, 'eio'):
        with pytest.raises(UserError, match=r'cannot be read \(Input/output error\)'):
            read(whole, 1)
        assert not any(rows.any() for rows in read(data, 1).values())
        for name, rows in read(data, 2).items():
            np.testing.assert_array_equal(rows, read(whole, 2)[name])
    assert data.skipped(2) == (4 if split == 'batch' else 0)


@pytest.mark.parametrize('how', ['flip', 'cut', 'delete'])
def test_a_damaged_processor_is_learned_again(make_text, chinese, cache, how):
    first = make_text(chinese, processor=bpe(300))
    for name in ('tokenizer.json', 'processor.json', 'digest'):
        (path,) = cache.glob(f'processors/*/{name}')
        damage(path, how)
        again = make_text(chinese, processor=bpe(300))
        assert again.processor.assets() == first.processor.assets() and again.fingerprint == first.fingerprint


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
