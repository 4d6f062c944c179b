"""Prepared sets of TFDS: what is read is what was written, by number, without TensorFlow; and what may be wrong."""

import json
import shutil
import threading

import numpy as np
import pytest

pytest.importorskip('tensorflow_datasets', reason='TensorFlow Datasets is not here (the extra "tfds")')

from jaxlab.data.records import BadRecord
from jaxlab.data.sources import tfds
from jaxlab.data.sources.tfds import make
from jaxlab.errors import UserError
from tests.prepared_sets import NAMES, class_label, encoded, image, pictures, write_set


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'sets'))
    return tmp_path / 'sets'


TRAIN, TEST = pictures(13), pictures(4, seed=1)


@pytest.fixture
def shapes(root):
    return write_set(root, {'train': TRAIN, 'test': TEST})


def same(part, wanted):
    assert len(part) == len(wanted)
    for number, (picture, target) in enumerate(wanted):
        found = part[number]
        assert found['inputs'].dtype == np.uint8 and isinstance(found['targets'], int)
        np.testing.assert_array_equal(found['inputs'], picture)
        assert found['targets'] == target


@pytest.mark.parametrize('kept', [0, 1 << 28])
def test_what_was_written_is_read(shapes, monkeypatch, kept):
    monkeypatch.setattr(tfds, 'KEPT', kept)
    monkeypatch.setattr(tfds, 'BLOCK', 5)
    source = make(set='shapes')
    assert source.labels == NAMES and source.name == 'shapes 1.0.0' and set(source.parts) == {'train', 'test'}
    same(source.parts['train'], TRAIN)
    same(source.parts['test'], TEST)
    with pytest.raises(IndexError):
        source.parts['train'][13]


def test_records_of_other_places_are_noticed(shapes, monkeypatch):
    """The mutant: blocks that overlap by one."""
    monkeypatch.setattr(tfds, 'range', lambda *bounds: [max(i - 1, 0) for i in range(*bounds)], raising=False)
    monkeypatch.setattr(tfds, 'BLOCK', 20)
    with pytest.raises(AssertionError):
        same(make(set='shapes').parts['train'], TRAIN)


def test_tfds_reads_the_same(shapes):
    """Its own reader, which decodes with Pillow where there is no TensorFlow."""
    import tensorflow_datasets

    theirs = tensorflow_datasets.builder_from_directory(str(shapes)).as_data_source('train')
    ours = make(set='shapes').parts['train']
    for number in range(len(ours)):
        np.testing.assert_array_equal(ours[number]['inputs'], theirs[number]['image'])
        assert ours[number]['targets'] == theirs[number]['label']


def test_no_tensorflow(shapes, tmp_path, fresh):
    """Neither it is imported, where it is installed, nor the module that a set names as its own."""
    for package in ('tensorflow', 'shapes_code'):
        (tmp_path / 'packages' / package).mkdir(parents=True)
        (tmp_path / 'packages' / package / '__init__.py').write_text('raise SystemExit(__name__ + " is imported")')
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path / 'packages')!r})
from jaxlab.data.sources.tfds import make
source = make(set='shapes')
print(len([source.parts['train'][n] for n in range(13)]), 'tensorflow' in sys.modules)
"""
    done = fresh('-c', program)
    assert (done.returncode, done.stdout.split()) == (0, ['13', 'False']), done.stderr
    mutant = fresh('-c', program.replace('print(', 'import tensorflow; print('))
    assert 'tensorflow is imported' in mutant.stderr


def test_several_threads(shapes):
    part, bad = make(set='shapes').parts['train'], []

    def read():
        for number in range(13):
            if (part[number]['inputs'] != TRAIN[number][0]).any():
                bad.append(number)

    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not bad


def test_parts(root):
    write_set(root, {'train': TRAIN, 'valid': TEST, 'extra': TEST[:2]})
    found = make(set='shapes').parts
    assert {part: len(each) for part, each in found.items()} == {'train': 13, 'validation': 4}
    cut = make(set='shapes', train='train[:9]', validation='train[9:]', test='extra')
    same(cut.parts['train'], TRAIN[:9])
    same(cut.parts['validation'], TRAIN[9:])
    same(cut.parts['test'], TEST[:2])
    assert cut.fingerprint != make(set='shapes').fingerprint


def test_a_part_without_labels_is_left_out(root, capsys):
    write_set(root, {'train': TRAIN, 'test': [(picture, -1) for picture, _ in TEST]})
    assert set(make(set='shapes').parts) == {'train'}
    assert 'the part "test" has no labels' in capsys.readouterr().out
    with pytest.raises(BadRecord, match='test is of class -1'):
        make(set='shapes', test='test').parts['test'][0]


def test_channels(root):
    coloured = pictures(4, (6, 5, 3))
    mixed = [{'image': encoded(TRAIN[0][0]), 'label': 0}, *coloured]
    write_set(root, {'train': mixed}, features={'image': image((-1, -1, 3)), 'label': class_label()})
    assert make(set='shapes').parts['train'][0]['inputs'].shape == (6, 5, 3)
    same(make(set='shapes', train='train[1:]').parts['train'], coloured)
    assert make(set='shapes', channels=1).parts['train'][1]['inputs'].shape == (6, 5, 1)


def test_the_newest_version_unless_told(root):
    for version, count in (('1.9.0', 3), ('1.10.0', 4)):
        write_set(root, {'train': TRAIN[:count]}, version=version)
    assert len(make(set='shapes').parts['train']) == 4
    assert len(make(set='shapes', version='1.9.0').parts['train']) == 3
    with pytest.raises(UserError, match=r'version="1.9.1" of shapes .* there are 1.9.0, 1.10.0'):
        make(set='shapes', version='1.9.1')


def test_configurations(root):
    write_set(root, {'train': TRAIN}, name='shapes/small')
    assert make(set='shapes/small').labels == NAMES
    with pytest.raises(UserError, match='set="shapes/small"'):
        make(set='shapes')


def test_the_folder_comes_from_the_argument_or_the_variable(shapes, tmp_path, monkeypatch):
    moved = tmp_path / 'moved'
    fingerprint = make(set='shapes').fingerprint
    shutil.copytree(shapes.parents[1], moved)
    assert make(set='shapes', dir=str(moved)).fingerprint == fingerprint
    shutil.rmtree(shapes)
    monkeypatch.setenv('TFDS_DATA_DIR', str(moved))
    assert make(set='shapes').fingerprint == fingerprint
    monkeypatch.delenv('TFDS_DATA_DIR')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    shutil.copytree(moved, tmp_path / 'home/tensorflow_datasets')
    assert make(set='shapes').fingerprint == fingerprint


def test_the_fingerprint_changes_with_the_data(root):
    first = write_set(root, {'train': TRAIN})
    before = make(set='shapes').fingerprint
    (first / 'label.labels.txt').write_text('circle\ncross\ntriangle\n')
    renamed = make(set='shapes').fingerprint
    shutil.rmtree(first)
    write_set(root, {'train': [(TRAIN[0][0] ^ 1, TRAIN[0][1]), *TRAIN[1:]]})
    assert len({before, renamed, make(set='shapes').fingerprint}) == 3


# --- what may be wrong -----------------------------------------------------------------------------------------------


def test_a_missing_set(root, shapes):
    with pytest.raises(UserError) as caught:
        make(set='shaeps')
    message = str(caught.value)
    assert 'Did you mean "shapes"?' in message and str(root) in message
    assert 'python -m jaxlab.main prepare --config=' in message and 'TFDS_DATA_DIR' in message
    with pytest.raises(UserError, match='the name of a set'):
        make(set='../shapes')


def test_a_damaged_picture_is_named(root):
    records = [{'image': encoded(picture), 'label': target} for picture, target in TRAIN]
    records[4]['image'] = records[4]['image'][:40]
    del records[5]['label']
    records[6]['label'] = 3
    write_set(root, {'train': records})
    part = make(set='shapes').parts['train']
    for number in (4, 5, 6):
        with pytest.raises(BadRecord, match=f'^record {number} of shapes 1.0.0, train') as caught:
            part[number]
        assert '\n' in str(caught.value)
    same_as_written = [number for number in range(13) if number not in (4, 5, 6)]
    assert [part[number]['targets'] for number in same_as_written] == [TRAIN[n][1] for n in same_as_written]


@pytest.mark.parametrize('kept', [0, 1 << 28])
def test_damaged_files(root, monkeypatch, kept):
    """A flipped byte in a file spoils the records that lie there, and no other."""
    monkeypatch.setattr(tfds, 'KEPT', kept)
    noise = pictures(40, (60, 60, 3))
    folder = write_set(root, {'train': noise}, features={'image': image((60, 60, 3)), 'label': class_label()})
    file = folder / 'shapes-train.array_record-00000-of-00002'
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    file.write_bytes(whole)
    part, bad = make(set='shapes').parts['train'], []
    for number, (picture, _) in enumerate(noise):
        try:
            np.testing.assert_array_equal(part[number]['inputs'], picture)
        except BadRecord as error:
            bad.append(number)
            assert f'record {number} of' in str(error)
    assert 1 <= len(bad) <= 2 and max(bad) < 20


def test_missing_and_cut_off_files(shapes):
    file = shapes / 'shapes-train.array_record-00001-of-00002'
    file.write_bytes(file.read_bytes()[:-100])
    part = make(set='shapes').parts['train']
    assert part[0]['targets'] == TRAIN[0][1]
    with pytest.raises(BadRecord):
        part[12]
    file.unlink()
    with pytest.raises(UserError, match='00001-of-00002" is missing'):
        make(set='shapes')


def change(folder, file, key, value):
    found = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(found | {key: value}))


def test_files_that_are_not_read_by_number(shapes):
    change(shapes, 'dataset_info.json', 'fileFormat', 'tfrecord')
    with pytest.raises(UserError, match='tfrecord files'):
        make(set='shapes')
    (shapes / 'dataset_info.json').write_text('{')
    with pytest.raises(UserError, match='cannot be read'):
        make(set='shapes')


@pytest.mark.parametrize('key', ['pythonClassName', 'python_class_name', 'type'])
def test_features_may_not_be_code_from_elsewhere(root, key, monkeypatch):
    features = {'image': image((6, 5, 1)), 'label': class_label(), 'odd': {key: 'shapes_code.Odd', 'text': {}}}
    write_set(root, {'train': TRAIN}, features=features)
    with pytest.raises(UserError, match=r'shapes_code\.Odd'):
        make(set='shapes')


def test_features(root):
    pair = {'left': image((6, 5, 1)), 'right': image((6, 5, 1)), 'label': class_label()}
    records = [
        {'left': encoded(picture), 'right': encoded(255 - picture), 'label': target} for picture, target in TRAIN
    ]
    write_set(root, {'train': records}, name='pairs', features=pair)
    with pytest.raises(UserError, match=r'several .*picture=left'):
        make(set='pairs')
    with pytest.raises(UserError, match='picture="label" is no feature'):
        make(set='pairs', picture='label')
    same(make(set='pairs', picture='right').parts['train'], [(255 - picture, target) for picture, target in TRAIN])
    write_set(root, {'train': TRAIN}, name='plain', features={'image': image((6, 5, 1))})
    with pytest.raises(UserError, match=r'kind ClassLabel; it has: image \(Image\)'):
        make(set='plain')
    floats = {'image': image((6, 5, 1), 'float32'), 'label': class_label()}
    write_set(root, {'train': TRAIN}, name='floats', features=floats)
    with pytest.raises(UserError, match='numbers of type float32'):
        make(set='floats')


def test_parts_that_are_not_there(root):
    write_set(root, {'test': TEST})
    with pytest.raises(UserError, match='has no part "train"'):
        make(set='shapes')
    same(make(set='shapes', train='test').parts['train'], TEST)
    with pytest.raises(UserError, match='train="tset" is no part'):
        make(set='shapes', train='tset')


def test_without_the_library(shapes, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'tensorflow_datasets', None)
    with pytest.raises(UserError, match='--extras=tfds'):
        make(set='shapes')
