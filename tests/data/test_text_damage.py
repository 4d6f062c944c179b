"""Texts that cannot be read, and stores that are damaged: named, left out or built again, and never trained on."""

import json
import re

import numpy as np
import pytest

from jaxlab.config import spec
from jaxlab.data import documents, token_store
from jaxlab.errors import UserError
from jaxlab.trust import faults


def bpe(vocabulary):
    return spec('data.processors.bpe', vocabulary=vocabulary)


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
