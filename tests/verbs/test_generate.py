"""A GAN from its config to the end: training, samples, `generate`, `judge`, and answers; and whose flags are whose."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text, experiment
from jaxlab.main import main
from jaxlab.models import mlp
from jaxlab.observers.samples import Samples
from jaxlab.parallel import layout
from jaxlab.tasks import classification
from jaxlab.train import train
from tests.experiments import ROOT, Recorder, message

GAN = str(ROOT / 'configs' / 'gan.py')


def tiny(**overrides):
    config, _ = config_text.load(f'{GAN}:tiny')
    short = {
        'steps': 4,
        'log.every': 1,
        'log.sample_every': 2,
        'evaluate.every': 2,
        'checkpoint.every': 2,
        'mesh.data': 1,
    }
    return configs.check(config_text.override(config, [(k, str(v)) for k, v in (short | overrides).items()]))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('gan')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        recorder = Recorder()
        assert train(tiny(), folder / 'run', [recorder, Samples()]) == 0
        (folder / 'run' / 'told.json').write_text(json.dumps([[step, dict(row)] for step, row in recorder.rows]))
        yield folder / 'run'


def test_a_run_tells_of_both_networks_and_shows_pictures(workdir):
    told = json.loads((workdir / 'told.json').read_text())
    names = {name for _, row in told for name in row}
    assert {'train/discriminator/real', 'train/discriminator/fake', 'train/generator/fake'} <= names
    assert {'train/gradient_norm/discriminator', 'train/learning_rate/generator', 'train/loss'} <= names
    assert {'eval/validation/real_believed', 'eval/validation/fake_believed'} <= names
    rates = next(row for _, row in told if 'train/learning_rate/generator' in row)
    assert rates['train/learning_rate/discriminator'] > rates['train/learning_rate/generator']
    assert sorted(file.name for file in (workdir / 'samples').glob('?.png')) == ['2.png', '4.png']
    # Ten classes in columns, eight rows, each picture 64 pixels and the gap around it.
    assert Image.open(workdir / 'samples/4.png').size == (10 * 66, 8 * 66)


def test_a_grid_of_classes_and_a_folder_of_files(workdir, tmp_path, capsys):
    assert main(['generate', f'--workdir={workdir}', '--classes=3,7', '--count=6', '--seed=5']) == 0
    file = capsys.readouterr().out.strip()
    assert file == str(workdir / 'samples' / 'of_step_4_seed_5.png')
    assert Image.open(file).size == (2 * 66, 3 * 66)
    made = tmp_path / 'made'
    command = ['generate', f'--workdir={workdir}', '--classes=3,7', '--count=6', '--seed=5', f'--folder={made}']
    assert main(command) == 0
    files = sorted(made.rglob('*.png'))
    assert [str(file.relative_to(made)) for file in files] == [
        *(f'3/00000{n}.png' for n in (0, 2, 4)),
        *(f'7/00000{n}.png' for n in (1, 3, 5)),
    ]
    lab = jaxlab.load(workdir)
    np.testing.assert_array_equal(np.asarray(Image.open(files[0]))[..., None], lab(3, seed=5))
    np.testing.assert_array_equal(lab(3), lab('3'))
    assert len(lab.answers([1, '2'])) == 2
    assert main(command) == 2 and 'something lies there already' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('flag', 'words'),
    [
        ('--prompt=x', '--prompt: this experiment makes pictures, and its flags are --classes, --count, --folder.'),
        ('--temperature=1', '--temperature: this experiment makes pictures'),
        ('--classes=3,11', 'the class "11": there are 0, 1, 2'),
        ('--count=0', '--count=0: from 1 to'),
    ],
)
def test_wrong_flags_are_answered(workdir, flag, words, capsys):
    assert main(['generate', f'--workdir={workdir}', flag]) == 2
    assert words in capsys.readouterr().err


def test_other_verbs_know_what_it_is(workdir, capsys):
    assert main(['predict', f'--workdir={workdir}', 'cat.png']) == 2
    assert 'makes pictures; generate does that' in capsys.readouterr().err
    assert main(['evaluate', f'--workdir={workdir}', '--json']) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found['split'] == 'validation' and 0 <= found['real_believed'] <= 1


def test_pictures_are_judged_beside_real_ones(workdir, capsys, monkeypatch):
    lab = jaxlab.load(workdir)
    info = {'shape': [8, 8, 1], 'classes': 10, 'mean': [0.3], 'deviation': [0.4]}
    task = classification.make(mlp.make(info, widths=(16,)), info)
    example = {'inputs': np.zeros((1, 8, 8, 1), np.uint8)}
    params, extra = layout.unbox(task.init(jax.random.key(1), example))
    classifier = replace(lab, task=task, params=params, extra=extra)
    monkeypatch.setattr(experiment, 'load', lambda folder, **_: lab if folder == 'gan' else classifier)
    command = ['judge', '--workdir=gan', '--classifier=cnn', '--count=100', '--json']
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found['count'] == 100 and found['split'] == 'test' and found['neighbours'] == 3
    # What a network makes that has learned nothing is far from real, and covers little of it.
    assert found['made']['frechet_distance'] > found['real']['frechet_distance']
    assert found['made']['recall'] < found['real']['recall']
    assert main(command[:-1]) == 0
    assert '100 made pictures against 100 real ones of test' in capsys.readouterr().out
    assert main([*command[:-2], '--count=5']) == 2 and 'at least 10 of each kind' in capsys.readouterr().err
    assert main(['judge', '--workdir=cnn', '--classifier=cnn']) == 2
    assert 'makes no pictures' in capsys.readouterr().err
    assert main(['judge', '--workdir=gan', '--classifier=gan']) == 2
    assert 'no classifier of pictures' in capsys.readouterr().err


def test_the_second_optimizer_is_a_part_like_the_first():
    config = tiny(**{'discriminator_optimizer.name': 'adamw', 'discriminator_optimizer.learning_rate': 0.5})
    assert config.discriminator_optimizer.weight_decay == 0.1 and config.optimizer.name == 'adam'
    assert config_text.identity(config) != config_text.identity(tiny())
    changed = config_text.difference(tiny(), tiny(**{'discriminator_optimizer.beta1': 0.5}))
    assert changed == ['discriminator_optimizer.beta1: 0.0 → 0.5']
    assert 'adam' in message(tiny, **{'discriminator_optimizer.name': 'adan'})


def test_a_phase_without_an_optimizer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    config, _ = config_text.load(f'{GAN}:tiny')
    del config.discriminator_optimizer
    assert 'c.discriminator_optimizer = spec("optim.…")' in message(train, configs.check(config), tmp_path / 'run', [])


def test_a_resumed_run_is_the_unbroken_one(workdir, tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(workdir.parent / 'cache'))
    assert train(tiny(steps=2), tmp_path / 'run', []) == 0
    assert train(tiny(), tmp_path / 'run', []) == 0
    one, other = jaxlab.load(workdir), jaxlab.load(tmp_path / 'run')
    jax.tree.map(np.testing.assert_array_equal, (one.params, one.extra), (other.params, other.extra))
