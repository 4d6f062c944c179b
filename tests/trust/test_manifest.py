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


def rewrite(folder, change):
    """Changes a manifest as somebody would who knows how it is made: its own checksum is right."""
    about = json.loads((folder / 'manifest.json').read_text('utf-8'))
    del about['sha256']
    change(about)
    about['sha256'] = manifest._own_sum(about)
    (folder / 'manifest.json').write_text(json.dumps(about, indent=1) + '\n', 'utf-8')


@pytest.fixture
def opened(monkeypatch):
    """The files that are looked into meanwhile."""
    files, digest = [], manifest._digest

    def watched(folder, name, number):
        files.append(name)
        return digest(folder, name, number)

    monkeypatch.setattr(manifest, '_digest', watched)
    return files


@pytest.mark.parametrize(
    'name', ['../secret', 'params/../../secret', '{outside}/secret', 'link', 'linked/secret', '..']
)
def test_what_lies_elsewhere_is_damage_and_is_never_opened(folder, name, tmp_path, opened):
    name = name.format(outside=tmp_path)
    (tmp_path / 'secret').write_bytes(b'secret')
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other/secret').write_bytes(b'secret')
    if name == 'link':
        (folder / 'link').symlink_to(tmp_path / 'secret')
    if name.startswith('linked'):
        (folder / 'linked').symlink_to(tmp_path / 'other')
    sums = json.loads((folder / 'manifest.json').read_text('utf-8'))['files']['top']['sha256']
    rewrite(folder, lambda about: about['files'].update({name: {'bytes': 6, 'sha256': sums}}))
    found = manifest.damage(folder, 7)
    assert Damage(name, 'not a name within this folder') in found and opened == []


def test_a_file_that_became_a_link_is_damage(folder, tmp_path, opened):
    (folder / 'top').rename(tmp_path / 'top')  # the very bytes
    (folder / 'top').symlink_to(tmp_path / 'top')
    assert manifest.damage(folder, 7) == [Damage('top', 'not a name within this folder')] and opened == []
    (folder / 'top').unlink()
    (tmp_path / 'top').rename(folder / 'top')
    (folder / 'manifest.json').rename(tmp_path / 'manifest.json')
    (folder / 'manifest.json').symlink_to(tmp_path / 'manifest.json')
    assert manifest.damage(folder, 7) == [Damage('manifest.json', 'a link to elsewhere')]


def test_a_step_that_is_a_link_to_elsewhere_is_damage(folder, tmp_path, opened):
    folder.rename(tmp_path / 'elsewhere')
    folder.symlink_to(tmp_path / 'elsewhere')
    assert manifest.steps(tmp_path) == [7]
    assert manifest.damage(folder, 7) == [Damage('.', 'a link to elsewhere')] and opened == []


@pytest.mark.parametrize('name', ['more', 'params/d/manifest.ocdbt', 'params/more/d', 'link', 'params/linked'])
def test_what_no_checksum_covers_is_damage(folder, name, tmp_path):
    (folder / name).parent.mkdir(exist_ok=True)
    if 'link' in name:
        (folder / name).symlink_to(tmp_path)
    else:
        (folder / name).write_bytes(b'x')
    assert manifest.damage(folder, 7) == [Damage(name, 'not among what was saved')]
    assert manifest.damage(folder, 7, ['best']) == [] if name.startswith('params') else manifest.damage(folder, 7)


def test_what_a_file_system_leaves_lying_about_is_none(folder):
    for name in ('.DS_Store', 'params/._d', 'params/d/.nfs0001'):
        (folder / name).write_bytes(b'x')
    (folder / 'empty').mkdir()
    assert manifest.damage(folder, 7) == []


@pytest.mark.parametrize(
    'change',
    [
        lambda about: about.pop('step'),
        lambda about: about.pop('files'),
        lambda about: about.update(files=[]),
        lambda about: about.update(piece=1),
        lambda about: about['files'].update(top={}),
        lambda about: about['files'].update(top=None),
        lambda about: about['files']['top'].update(sha256=[]),
        lambda about: about['files']['top'].update(sha256=7),
        lambda about: about['files']['top'].update(bytes='many'),
        lambda about: about['files']['top'].update(bytes=float('inf')),
    ],
)
def test_a_manifest_of_another_form(folder, change):
    rewrite(folder, change)
    assert manifest.damage(folder, 7) == [Damage('manifest.json', 'other bytes than were saved')]


def test_a_manifest_that_is_very_deep(folder):
    (folder / 'manifest.json').write_text('[' * 100_000, 'utf-8')
    assert manifest.damage(folder, 7) == [Damage('manifest.json', 'other bytes than were saved')]


@pytest.mark.parametrize('name', ['top', 'manifest.json'])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert manifest.damage(folder, 7) == [Damage(name, 'missing')]


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
