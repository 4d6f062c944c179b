"""The benchmark of pictures on tiny models: ours and torch's train the same numbers, and the record has its keys."""

import dataclasses
import json

import pytest

pytestmark = pytest.mark.reference
pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

import picture_peer  # noqa: E402
import record  # noqa: E402
import rounds  # noqa: E402
import train_pictures  # noqa: E402

TINY = {
    'mlp': dict(shape=(4, 4, 1), arguments={'widths': (6,)}),
    'cnn': dict(shape=(9, 6, 1), arguments={'widths': (2, 3), 'dense': 5}),
    'resnet18': dict(shape=(8, 8, 3), arguments={'depth': 18, 'stem': 'small', 'blocks': (1, 1), 'width': 4}),
    'resnet50': dict(shape=(33, 33, 3), arguments={'depth': 50, 'stem': 'imagenet', 'blocks': (1, 1), 'width': 4}),
    'vit_b': dict(shape=(8, 8, 3), arguments={'width': 8, 'heads': 2, 'layers': 2, 'patch': 4, 'norm_epsilon': 1e-12}),
}
STEPS = 3


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, fields in TINY.items():
        size = dataclasses.replace(picture_peer.SIZES[name], batch=6, classes=4, **fields)
        monkeypatch.setitem(picture_peer.SIZES, name, size)


def distance(name, side='torch'):  # its channels last are 4e-4 off its channels first on some machines
    said = {each: train_pictures.make(name, each, STEPS, 1)[0] for each in (train_pictures.OURS, side)}
    assert [len(words['losses']) for words in said.values()] == [2 * STEPS] * 2
    return train_pictures.apart(said)


@pytest.mark.parametrize('name', TINY)
def test_losses_of_both_agree(name):
    assert distance(name) < 2e-5


@pytest.mark.parametrize(('name', 'decay', 'other'), [('cnn', 'adamw', 0.0), ('resnet18', 'momentum', 0.1)])
def test_a_decay_of_one_side_only_is_noticed(monkeypatch, name, decay, other):
    monkeypatch.setattr(train_pictures, 'DECAY', picture_peer.DECAY | {decay: other})
    assert distance(name) > 5e-5


class Here:
    """A worker in this process."""

    def __init__(self, file, *arguments):
        given = dict(argument.removeprefix('--').split('=') for argument in arguments)
        self.said, self.run = train_pictures.make(
            given['size'], given['side'], int(given['steps']), int(given['steps_per_call'])
        )

    def __call__(self):
        return rounds.seconds_of(self.run)

    def close(self):
        pass


def test_the_record_has_its_keys_and_losses_of_several_steps_in_a_call_are_compared(monkeypatch, tmp_path):
    monkeypatch.setattr(record, 'FOLDER', tmp_path)
    monkeypatch.setattr(rounds, 'Worker', Here)
    monkeypatch.setattr(train_pictures, 'sides', lambda name, gpu: (train_pictures.OURS, train_pictures.ONE, 'torch'))
    monkeypatch.setattr(
        'sys.argv', ['train_pictures.py', '--size=mlp', '--steps=4', '--steps_per_call=2', '--rounds=2']
    )
    train_pictures.main()
    found = json.loads((tmp_path / 'train_pictures_mlp.json').read_text())
    assert {'date', 'commit', 'machine', 'versions'} <= found.keys()
    result = found['result']
    assert result['losses_apart'] < 2e-5 and result['reference'] == 'torch' and result['steps_per_call'] == 2
    assert result['candidates'].keys() == {train_pictures.OURS, train_pictures.ONE, 'torch'}
    assert all(row.keys() == {'median', 'fastest', 'speed', 'rate'} for row in result['candidates'].values())
