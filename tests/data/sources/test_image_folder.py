"""Folders of pictures: which pictures, which classes, which parts; and what is wrong with them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from jaxlab.data.records import BadRecord
from jaxlab.data.sources import image_folder
from jaxlab.data.sources.image_folder import make
from jaxlab.errors import UserError


def picture(path, value, size=(3, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.fixture
def pets(tmp_path):
    """Two classes; the value of every picture says which one it is."""
    for value, name in enumerate(['dog/b.png', 'dog/a.PNG', 'cat/2.png', 'cat/10.png', 'cat/more/1.bmp']):
        picture(tmp_path / 'pets' / name, value)
    return tmp_path / 'pets'


def values(part):
    return [(int(part[i]['inputs'][0, 0, 0]), part[i]['targets']) for i in range(len(part))]


def test_classes_and_pictures_are_sorted_by_name(pets):
    source = make(path=str(pets))
    assert source.labels == ('cat', 'dog') and list(source.parts) == ['train']
    assert values(source.parts['train']) == [(3, 0), (2, 0), (4, 0), (1, 1), (0, 1)]
    assert make(path=str(pets), channels=1).parts['train'][0]['inputs'].shape == (3, 4, 1)


def test_parts(pets, tmp_path):
    for part in ('train', 'Val', 'test'):
        shutil.copytree(pets, tmp_path / 'all' / part)
    picture(tmp_path / 'all/test/dog/c.png', 200)
    source = make(path=str(tmp_path / 'all'))
    assert {part: len(found) for part, found in source.parts.items()} == {'train': 5, 'validation': 5, 'test': 6}
    assert values(source.parts['test'])[-1] == (200, 1)


def test_a_class_may_be_called_train(pets):
    picture(pets / 'train/1.png', 9)
    assert make(path=str(pets)).labels == ('cat', 'dog', 'train')


def test_what_is_no_picture_is_left_out_and_counted(pets, capsys):
    make(path=str(pets))
    assert capsys.readouterr().out == ''
    for name in ('dog/notes.txt', 'dog/.hidden.png', 'loose.png'):
        shutil.copy(pets / 'cat/2.png', pets / name)
    picture(pets / '.cache/1.png', 1)
    picture(pets / '__MACOSX/1.png', 1)
    assert len(make(path=str(pets)).parts['train']) == 5
    assert ': 3 files are left out' in capsys.readouterr().out


def test_an_unreadable_picture_is_named(pets):
    (pets / 'cat/2.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    (pets / 'dog/b.png').unlink()
    (pets / 'dog/b.png').symlink_to(pets / 'nowhere.png')
    part = make(path=str(pets)).parts['train']
    for number, name in ((1, 'cat/2.png'), (4, 'dog/b.png')):
        with pytest.raises(BadRecord, match=name):
            part[number]
    assert part[0]['targets'] == 0


def test_the_fingerprint_is_of_names_and_contents(pets, tmp_path, monkeypatch, capsys):
    first = make(path=str(pets)).fingerprint
    assert len(first) == 64
    copied = shutil.copytree(pets, tmp_path / 'elsewhere')
    assert make(path=str(copied)).fingerprint == first
    assert make(path=str(copied), channels=1).fingerprint != first
    picture(copied / 'cat/2.png', 77)  # as many bytes
    changed = make(path=str(copied)).fingerprint
    assert changed != first
    (copied / 'cat/2.png').rename(copied / 'cat/3.png')
    assert make(path=str(copied)).fingerprint not in (first, changed)

    monkeypatch.setattr('jaxlab.data.fingerprints.WHOLE', 100)
    capsys.readouterr()
    named = make(path=str(pets)).fingerprint
    assert 'by names and sizes' in capsys.readouterr().out
    file = pets / 'cat/2.png'
    file.write_bytes(file.read_bytes()[:-1] + b'!')
    assert make(path=str(pets)).fingerprint == named != first


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda pets: shutil.rmtree(pets), 'there is no folder'),
        (lambda pets: shutil.rmtree(pets / 'cat'), 'has 1 folders of pictures'),
        (lambda pets: (pets / 'bird').mkdir(), r'bird" holds no picture'),
        (lambda pets: picture(pets / 'train/cat/1.png', 0), 'has 1 folders'),
    ],
)
def test_mistakes(pets, change, message):
    change(pets)
    with pytest.raises(UserError, match=message):
        make(path=str(pets))


def test_a_part_lacks_a_class(pets, tmp_path):
    shutil.copytree(pets, tmp_path / 'all/train')
    shutil.copytree(pets / 'cat', tmp_path / 'all/test/cat')
    with pytest.raises(UserError, match='test" has no folder "dog"'):
        make(path=str(tmp_path / 'all'))
    shutil.copytree(pets / 'dog', tmp_path / 'all/test/dog')
    assert set(make(path=str(tmp_path / 'all')).parts) == {'train', 'test'}
    shutil.copytree(pets, tmp_path / 'all/val')
    shutil.copytree(pets, tmp_path / 'all/dev')
    with pytest.raises(UserError, match='would be the part "validation"'):
        make(path=str(tmp_path / 'all'))


def test_arguments():
    with pytest.raises(UserError, match='path is not set'):
        make()
    with pytest.raises(UserError, match='nothing can be read'):
        make(path='\0')


def test_an_order_that_the_disk_chooses_is_noticed(pets, monkeypatch):
    """The mutant: pictures in the order in which they are listed."""
    monkeypatch.setattr(image_folder, 'sorted', lambda found, **_: list(found)[::-1], raising=False)
    with pytest.raises(AssertionError):
        test_classes_and_pictures_are_sorted_by_name(pets)
