"""A run begins with what `config.init_from` names: another experiment, or published weights; the rest is as born."""

import json

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text, experiment, initial, pretrained
from jaxlab.blueprint import draw
from jaxlab.errors import UserError
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import resnet as table
from jaxlab.train import train
from tests.experiments import ROOT, message

RESNET = f'{ROOT}/configs/resnet.py:tiny'
ONE = ('mesh.data', '1')


def config_of(*overrides, file=RESNET):
    return configs.check(config_text.override(config_text.load(file)[0], [ONE, *overrides]))


def begun(config):
    """Returns (the state as it is born, the one that training begins with)."""
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data, config = experiment.make_data(config, mesh)
        task = experiment.make_task(config, data.info)
        plan = draw(config, task, layout.global_shapes(data.batch(0), config.batch_size), mesh)
        begin = initial.of(config, plan)
        return plan.born(), begin(plan.born())


def equal(one, other):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), one, other))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        train(config_of(('steps', '3'), ('seed', '5')), folder / 'run', [])
        yield folder / 'run'


@pytest.mark.parametrize('new_head', ['false', 'true'])
def test_from_another_experiment(trained, new_head):
    lab = jaxlab.load(trained)
    born, state = begun(config_of(('init_from', str(trained)), ('init_new_head', new_head), ('average', '0.9')))
    head = born.params['head'] if new_head == 'true' else lab.params['head']
    assert equal(state.params, lab.params | {'head': head}) and equal(state.extra, lab.extra)
    assert equal(state.average, state.params) and not equal(state.params, born.params)
    assert int(state.step) == 0 and equal(state.opt_state, born.opt_state)


def test_only_the_first_start_reads_it(trained, tmp_path):
    config = config_of(('init_from', str(trained)), ('steps', '2'))
    train(config, tmp_path / 'run', [])
    on = config_of(('init_from', str(trained)), ('steps', '4'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initial, 'of', lambda *_: pytest.fail('looked for again'))  # it may be gone by now
        assert train(on, tmp_path / 'run', []) == 0


def test_another_architecture_is_told_before_anything_compiles(trained, monkeypatch):
    monkeypatch.setattr('jaxlab.train.compile_step', lambda *_: pytest.fail('compiled'))
    config = config_of(('init_from', str(trained)), ('model.width', '16'))
    with pytest.raises(UserError, match=r'init_from=.*stage_0_block_0'):
        train(config, trained.parent / 'other', [])
    assert not (trained.parent / 'other' / 'config.json').exists()


@pytest.fixture
def published(tmp_path):
    """Weights of a small ResNet of three colours, with random numbers, as they are published."""
    config = config_of(('data.processor.size', '16'), ('model.shortcut', 'B'))
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data, config = experiment.make_data(config, mesh)
        task = experiment.make_task(config, data.info)
        params, extra = layout.unbox(task.init(jax.random.key(7), data.batch(0)))
    family = table.TORCHVISION
    pretrained.save(tmp_path / 'weights', family, {'params': params, **extra}, {})
    (tmp_path / 'weights' / 'config.json').unlink(missing_ok=True)
    preprocessor = {'size': {'height': 16, 'width': 16}, 'image_mean': [0.1], 'image_std': [0.2], 'resample': 3}
    (tmp_path / 'weights' / 'preprocessor_config.json').write_text(json.dumps(preprocessor))
    return tmp_path / 'weights', params, extra


def test_published_weights_and_what_they_want_done_to_a_picture(published):
    folder, params, extra = published
    config = config_of(('init_from', str(folder)), ('model.shortcut', 'B'))
    born, state = begun(config)
    assert equal(state.params, params) and equal(state.extra, extra) and not equal(born.params, params)
    data, config = experiment.make_data(config, make_mesh(config.mesh))
    assert data.info['shape'] == [16, 16, 1] and data.info['mean'] == [0.1] and data.info['deviation'] == [0.2]
    assert data.processor.interpolation == 'bicubic' and config.data.processor.interpolation == 'bilinear'
    mine = config_of(('init_from', str(folder)), ('data.processor.size', '32'))
    assert experiment.make_data(mine, make_mesh(mine.mesh))[0].info['shape'] == [32, 32, 1], 'the user decides'


def test_mistakes_are_one_sentence(published):
    folder, *_ = published
    assert 'no such file or folder' in message(begun, config_of(('init_from', 'nowhere/at/all')))
    mlp = f'{ROOT}/configs/mlp.py:tiny'
    assert 'config.model.name=mlp' in message(begun, config_of(('init_from', str(folder)), file=mlp))
    deeper = config_of(('init_from', str(folder)), ('model.blocks', '(1, 2)'), ('model.shortcut', 'B'))
    assert 'not those of the model' in message(begun, deeper)
