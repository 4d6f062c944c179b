"""The manifest names every file of a step, and sees whatever happened to one of them afterwards."""

import json
import os

import pytest

from jaxlab.trust import manifest
from jaxlab.trust.manifest import Damage

FILES = {'top': b'a', 'params/d/one': bytes(range(256)), 'params/d/two': bytes(256), 'extra/empty': b'', 'best/x': b'b'}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A step 7 of five files, in pieces of 100 bytes."""
    monkeypatch.setattr(manifest, 'PIECE', 100)
    for name, content in FILES.items():
        (tmp_path / '7' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / '7' / name).write_bytes(content)
    manifest.write(tmp_path / '7', 7)
    return tmp_path / '7'


def test_every_file_is_named(folder):
    about = json.loads((folder / 'manifest.json').read_text('utf-8'))
    assert {name: file['bytes'] for name, file in about['files'].items()} == {n: len(c) for n, c in FILES.items()}
    assert [len(file['sha256']) for file in about['files'].values()] == [1, 1, 3, 3, 1]  # in the order of names
    assert (about['step'], about['piece']) == (7, 100)
    assert manifest.damage(folder, 7) == [] and not list(folder.glob('.*'))


def test_each_byte_counts(folder):
    """Every byte of every file, the manifest's own included."""
    for name in [*FILES, 'manifest.json']:
        content = (folder / name).read_bytes()
        for at in range(len(content)):
            (folder / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert manifest.damage(folder, 7) == [Damage(name, 'other bytes than were saved')], (name, at)
        (folder / name).write_bytes(content)
    assert manifest.damage(folder, 7) == []


def test_what_is_wrong_is_said(folder):
    (folder / 'params/d/two').write_bytes(bytes(255))
    (folder / 'best/x').unlink()
    found = manifest.damage(folder, 7)
    assert found == [Damage('best/x', 'missing'), Damage('params/d/two', '255 bytes instead of 256')]
    assert manifest.told(found) == 'best/x: missing; and 1 more'
    assert manifest.told(found[1:]) == 'params/d/two: 255 bytes instead of 256'


def test_items_that_are_not_read_are_not_looked_at(folder):
    (folder / 'params/d/two').write_bytes(b'x' * 256)
    assert manifest.damage(folder, 7, ['best', 'extra']) == []
    assert manifest.damage(folder, 7, ['best', 'params']) == [Damage('params/d/two', 'other bytes than were saved')]
    (folder / 'top').unlink()
    assert manifest.damage(folder, 7, ['best']) == [Damage('top', 'missing')], 'what belongs to all is always looked at'


def test_processes_share_the_work(folder):
    (folder / 'params/d/two').write_bytes(b'x' * 256)  # all its pieces
    (folder / 'params/d/one').write_bytes(FILES['params/d/one'][:-1] + b'x')  # its last piece
    shares = [{damage.file for damage in manifest.damage(folder, 7, share=(n, 9))} for n in range(9)]
    assert set().union(*shares) == {'params/d/one', 'params/d/two'}
    assert sum('params/d/one' in share for share in shares) == 1 and not all(shares)


def test_a_step_under_another_name_is_no_other_step(folder):
    assert manifest.damage(folder, 8) == [Damage('manifest.json', 'it is that of step 7')]


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"sha256": 1}', 'null', '\0\0'])
def test_a_manifest_that_is_none(folder, text):
    (folder / 'manifest.json').write_text(text, 'utf-8')
    assert manifest.damage(folder, 7) == [Damage('manifest.json', 'other bytes than were saved')]
    (folder / 'manifest.json').unlink()
    assert manifest.damage(folder, 7) == [Damage('manifest.json', 'missing')]


def test_what_cannot_be_read_is_damaged(folder, monkeypatch):
    def digest(of, name, number):
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(manifest, '_digest', digest)
    assert {damage.what for damage in manifest.damage(folder, 7)} == {'cannot be read (Input/output error)'}


def test_files_reach_the_disk_before_the_manifest_does(folder, monkeypatch):
    """In this order: every file and folder; the manifest's bytes; its name."""
    happened = []
    fsync = os.fsync

    def watched(descriptor):
        path = os.readlink(f'/proc/self/fd/{descriptor}')
        happened.append((os.path.relpath(path, folder), (folder / 'manifest.json').exists()))
        fsync(descriptor)

    (folder / 'manifest.json').unlink()
    monkeypatch.setattr(os, 'fsync', watched)
    manifest.write(folder, 7)
    before = {path for path, there in happened[:-2] if not there}
    assert before >= {*FILES, 'params', 'params/d', 'extra', 'best'}
    assert happened[-2:] == [('.manifest.json.new', False), ('.', True)]


def test_steps_are_folders_with_numbers(tmp_path):
    assert manifest.steps(tmp_path / 'none') == []
    for name in ('100', '20', '30.unfinished', '40.unfinished.orbax-checkpoint-tmp', 'notes', '-5'):
        (tmp_path / name).mkdir()
    assert manifest.steps(tmp_path) == [20, 100]
