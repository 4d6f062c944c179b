import hashlib
import json
import os
from pathlib import Path

import pytest

from jaxlab.data import documents
from jaxlab.data.documents import find_files, missing_shards, one_in_twenty, read_pieces
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import python_library, text_files
from jaxlab.errors import UserError

TEXT = '一二三\n\nab\r\ncdefghijklmnop🙂🙂🙂\nx\n  ' + '没有换行' * 9


def held_out_by_hash(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), 'big') % 20 == 0


def texts(corpus, held_out):
    return {d.name: ''.join(d.pieces()) for d in corpus.documents() if d.held_out == held_out}


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [1, 2, 3, 5, 16, 1000])
def test_pieces_joined_are_the_file_and_end_at_line_ends(tmp_path, monkeypatch, size):
    monkeypatch.setattr(documents, 'PIECE_BYTES', size)
    path = tmp_path / 'a.txt'
    path.write_bytes(TEXT.encode())
    pieces = list(read_pieces(path))
    assert ''.join(pieces).encode() == path.read_bytes()
    assert all(pieces)
    assert len(pieces) > 1 or size == 1000
    for piece in pieces[:-1]:
        assert piece.endswith('\n') or '\n' not in piece, 'cut after a line end where there is one'


def test_a_range_of_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, 'PIECE_BYTES', 4)
    path = tmp_path / 'a.txt'
    path.write_bytes(TEXT.encode())
    begin, end = len('一二三\n'.encode()), len('一二三\n\nab\r\n'.encode())
    assert ''.join(read_pieces(path, begin, end)) == '\nab\r\n'
    assert ''.join(read_pieces(path, 0, 0)) == ''


@pytest.mark.parametrize('size', [1, 3, 4, 1000])
@pytest.mark.parametrize(
    ('content', 'byte', 'position'),
    [
        ('好好caf'.encode() + b'\xe9 au lait\n', 'e9', 9),  # Latin-1
        ('好'.encode() * 4 + b'\xe5\xa5', 'e5', 12),  # ends inside a character
        ('天气'.encode('gb18030'), 'cc', 0),
    ],
)
def test_what_is_not_utf8_is_named_with_its_byte(tmp_path, monkeypatch, size, content, byte, position):
    monkeypatch.setattr(documents, 'PIECE_BYTES', size)
    path = tmp_path / 'latin.txt'
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf'latin\.txt" is not UTF-8 text: byte 0x{byte} at position {position}\.'):
        list(read_pieces(path))


# --- what is held out ------------------------------------------------------------------------------------------------


def test_the_library_holds_out_whole_modules():
    corpus = python_library.corpus()
    names = [file.name for file in corpus.files]
    assert names == sorted(names) and len(names) > 200
    assert 'json/decoder.py' in names and 'ast.py' in names
    for name in names:
        assert not {'test', 'tests', 'idlelib', 'lib2to3', 'site-packages', 'encodings', 'pydoc_data'} & {
            *name.split('/')
        }
    found = {document.name: document.held_out for document in corpus.documents()}
    assert list(found) == names
    for name, held_out in found.items():
        assert held_out == held_out_by_hash(name.split('/')[0].removesuffix('.py')), name
    assert 0 < sum(found.values()) < len(found) / 5


def test_a_library_without_source_text(tmp_path, monkeypatch):
    monkeypatch.setattr(python_library.sysconfig, 'get_paths', lambda: {'stdlib': str(tmp_path)})
    with pytest.raises(UserError, match=r'data\.path'):
        python_library.corpus()


def test_few_texts_lose_their_ends(tmp_path):
    lines = [f'第 {n} 行\n' for n in range(100)]
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'long.txt').write_text(''.join(lines), 'utf-8')
    (tmp_path / 'two.txt').write_text('one\ntwo', 'utf-8')
    (tmp_path / 'single.txt').write_text('no line end', 'utf-8')
    (tmp_path / 'skipped.md').write_text('not text', 'utf-8')
    corpus = text_files.corpus(str(tmp_path))
    train, held_out = texts(corpus, False), texts(corpus, True)
    assert list(train) == ['b/long.txt', 'single.txt', 'two.txt']
    assert train['b/long.txt'] + held_out['b/long.txt'] == ''.join(lines)
    assert 5 <= held_out['b/long.txt'].count('\n') <= 6
    assert (train['two.txt'], held_out['two.txt']) == ('one\n', 'two')
    assert (train['single.txt'], held_out['single.txt']) == ('no line end', '')


def test_the_cut_of_a_file_with_very_long_lines(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'first\n' + b'x' * 300_000)
    assert text_files.last_line_end(path, 285_000) == 6
    assert text_files.last_line_end(path, 5) == 0


def test_many_texts_are_held_out_whole(tmp_path):
    names = [f'{n:02}.txt' for n in range(40)]
    for name in names:
        (tmp_path / name).write_text(f'text of {name}\nand more\n')
    corpus = text_files.corpus(str(tmp_path))
    assert list(texts(corpus, True)) == [name for name in names if held_out_by_hash(name)] != []
    assert list(texts(corpus, False)) == [name for name in names if not held_out_by_hash(name)]


def test_lines_of_jsonl_are_held_out_by_their_text(tmp_path):
    contents = [f'第 {n} 篇\n' for n in range(50)]
    path = tmp_path / 'a.jsonl'
    path.write_text('\n\n'.join(json.dumps({'text': text, 'id': 1}) for text in contents))
    corpus = text_files.corpus(str(path))
    assert list(texts(corpus, True).values()) == [text for text in contents if held_out_by_hash(text)] != []
    assert list(texts(corpus, False).values()) == [text for text in contents if not held_out_by_hash(text)]
    assert one_in_twenty('第 0 篇\n') == held_out_by_hash('第 0 篇\n')


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'line', ['{"text": 5}', '{"content": "a"}', '["text"]', '{"text": "a"', 'a', '{"text": "\\ud83d"}']
)
def test_a_line_without_text_is_named(tmp_path, line):
    path = tmp_path / 'a.jsonl'
    path.write_text('{"text": "fine"}\n' + line + '\n')
    with pytest.raises(UserError, match=r'a\.jsonl", line 2 is no text'):
        texts(text_files.corpus(str(path)), False)


def test_a_line_that_is_not_utf8_is_named_with_its_byte(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'{"text": "fine"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(UserError, match='byte 0xe9 at position 30'):
        texts(text_files.corpus(str(path)), False)


@pytest.mark.parametrize('name', ['a.txt', 'a.jsonl'])
def test_a_file_that_ends_before_it_should_or_whose_disk_fails(tmp_path, monkeypatch, name):
    """What was read of it before is no text either: the error comes with the document, or with what follows it."""
    path = tmp_path / name
    path.write_text('{"text": "0123456789"}\n' * 40)
    documents_ = list(text_files.corpus(str(path)).documents())
    if name == 'a.txt':
        os.truncate(path, 300)
        with pytest.raises(BadRecord, match=r'a\.txt" cannot be read \(it has become shorter\)'):
            list(documents_[0].pieces())
        path.unlink()
        with pytest.raises(BadRecord, match=r'a\.txt" cannot be read \(No such file'):
            list(documents_[0].pieces())
        path.write_text('{"text": "0123456789"}\n' * 40)

    class Failing:
        def __init__(self, file):
            self.file, self.left = file, 3

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __iter__(self):
            return self

        def __next__(self):
            return self.read(23)

        def seek(self, position):
            self.file.seek(position)

        def read(self, size):
            self.left -= 1
            if self.left < 0:
                raise OSError(5, 'Input/output error')
            return self.file.read(min(size, 23))

    original = Path.open
    monkeypatch.setattr(Path, 'open', lambda path, *rest: Failing(original(path, *rest)))
    last = list(text_files.lines_of(documents.File(path, name)))[-1] if name == 'a.jsonl' else documents_[0]
    with pytest.raises(BadRecord, match='cannot be read') as caught:
        list(last.pieces())
    assert 'Input/output error' in str(caught.value)
    assert caught.value.record == f'"{path}"' + (', line 4' if name == 'a.jsonl' else '')
    if name == 'a.jsonl':
        assert last.size == 37 * 23, 'all that is left of the file'


@pytest.mark.parametrize('content', ['fine\n\0\0\0\0\n', 'a\0b\0\n\0'], ids=['zeros', 'UTF-16'])
def test_zeros_are_no_text(tmp_path, content):
    path = tmp_path / 'a.txt'
    path.write_text(content)
    with pytest.raises(BadRecord, match=rf'byte 0x00 at position {content.index(chr(0))}\.'):
        list(read_pieces(path))


def test_a_deeply_nested_line_is_no_text(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text('[' * 100_000 + '\n')
    with pytest.raises(BadRecord, match='line 1 is no text'):
        texts(text_files.corpus(str(path)), False)


@pytest.mark.parametrize(
    ('there', 'missing'),
    [
        ('a-00000-of-00003.txt a-00002-of-00003.txt', {'a-00001-of-00003.txt': 3}),
        ('a-00001-of-00002.txt', {'a-00000-of-00002.txt': 2}),
        ('a-00002-of-00003.txt a-00003-of-00003.txt', {'a-00001-of-00003.txt': 3}),
        ('x/a-00000-of-00002.txt y/a-00001-of-00002.txt', {'x/a-00001-of-00002.txt': 2, 'y/a-00000-of-00002.txt': 2}),
        ('a-00000-of-00002.txt a-00001-of-00002.txt a.txt', {}),
        ('a-00001-of-00002.txt a-00002-of-00002.txt', {}),
        ('page-1-of-3.txt', {}),
    ],
)
def test_missing_shards(there, missing):
    assert missing_shards(there.split()) == missing


def test_a_folder_that_cannot_be_listed_and_a_link_that_leads_nowhere_are_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / 'a.txt').write_text('one\ntwo\n')
    (tmp_path / 'gone.txt').symlink_to(tmp_path / 'nowhere.txt')
    (tmp_path / 'closed').mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith('closed'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    corpus = text_files.corpus(str(tmp_path))
    assert [file.name for file in corpus.files] == ['a.txt', 'closed', 'gone.txt']
    assert len(corpus.stamps()) == 3
    bad = []
    for document in corpus.documents():
        try:
            list(document.pieces())
        except BadRecord as error:
            bad.append(error.record)
    assert bad == [f'"{tmp_path / name}"' for name in ('closed', 'gone.txt')]


def test_paths_that_hold_no_text(tmp_path):
    with pytest.raises(UserError, match='there is nothing at'):
        text_files.corpus(str(tmp_path / 'missing'))
    with pytest.raises(UserError, match='holds no'):
        text_files.corpus(str(tmp_path))
    (tmp_path / 'a.csv').write_text('a,b')
    with pytest.raises(UserError, match='neither a'):
        text_files.corpus(str(tmp_path / 'a.csv'))


def test_files_are_found_in_one_order(tmp_path):
    for name in ('b.txt', 'a/z.TXT', 'a.txt', 'a/skip/c.txt', 'c.py'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in find_files(tmp_path, ('.txt',), frozenset(['skip']))] == ['a.txt', 'a/z.TXT', 'b.txt']
