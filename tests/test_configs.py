"""Every config builds at its full size, without its data and without its memory, and has the parameters that were
published."""

import importlib
import pkgutil
from pathlib import Path

import jax
import pytest

from jaxlab import config as configs
from jaxlab import config_text, experiment
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import AXES
from tests.experiments import ROOT, TRANSFORMER

PUBLISHED = {
    'gpt2': 124_439_808,
    'gpt2_medium': 354_823_168,
    'gpt2_large': 774_030_080,
    'gpt2_xl': 1_557_611_200,
    'llama_8b': 8_030_261_248,
    'llama_70b': 70_553_706_496,
}
VOCABULARY = {'gpt2': 50257, 'llama': 128256}


def shapes(size: str, batch_size: int = 2):
    """Returns (config, abstract parameters, their axis names) of a size of configs/transformer.py."""
    config, _ = config_text.load(f'{TRANSFORMER}:{size}')
    info = {'vocabulary': VOCABULARY.get(size.split('_')[0], 1000), 'length': config.data.length}
    task = experiment.make_task(configs.check(config), info)
    row = jax.ShapeDtypeStruct((batch_size, config.data.length), 'int32')
    boxed, _ = jax.eval_shape(task.init, jax.random.key(0), dict.fromkeys(['tokens', 'positions', 'segments'], row))
    return config, layout.unbox(boxed), layout.names(boxed)


@pytest.mark.parametrize('size', PUBLISHED)
def test_published_sizes_have_the_published_parameters(size):
    config, params, _ = shapes(size)
    tables = 1 if config.model.tied else 2
    padding = -VOCABULARY[size.split('_')[0]] % config.model.vocabulary_multiple * config.model.width * tables
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) - padding == PUBLISHED[size]


ENCODERS = {'bert_base': 110_106_428, 'bert_large': 336_226_108, 'distilbert': 66_985_530}


@pytest.mark.parametrize('size', ['default', 'tiny', *ENCODERS])
def test_encoders_have_the_published_parameters(size):
    """With all that pre-training has: the pooler, and the heads for hidden tokens and for what follows."""
    config, _ = config_text.load(f'{ROOT}/configs/bert_pretrain.py:{size}')
    info = {'vocabulary': 30522 if size in ENCODERS else 4096, 'length': config.data.length, 'types': 2, 'padding': 0}
    task = experiment.make_task(configs.check(config), info)
    row, some = jax.ShapeDtypeStruct((2, config.data.length), 'int32'), jax.ShapeDtypeStruct((2,), 'int32')
    batch = dict.fromkeys(['tokens', 'types'], row) | {'lengths': some, 'next': some}
    boxed, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    params, names = layout.unbox(boxed), layout.names(boxed)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == ENCODERS[size] if size in ENCODERS else count < 6e6
    if size not in ENCODERS:  # whose tables are as long as the published ones, which eight devices do not divide
        for axis in ('fsdp', 'tensor'):
            sizes = dict.fromkeys(AXES, 1) | {axis: 4}
            jax.tree.map(lambda leaf, axes, sizes=sizes: layout.spec(axes, leaf.shape, sizes), params, names)


@pytest.mark.parametrize('size', ['default', 'tiny', 'small', 'moe'])
def test_sizes_for_two_cores_are_small(size):
    _, params, _ = shapes(size)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count < 15e6


@pytest.mark.parametrize('size', ['default', 'tiny', 'small', 'moe', 'gpt2', 'llama_8b', 'llama_70b'])
def test_every_size_can_be_split(size):
    """Every parameter has names, and an fsdp, expert or tensor mesh of eight devices divides them all."""
    _, params, names = shapes(size)
    assert all(jax.tree.leaves(names, is_leaf=lambda leaf: isinstance(leaf, tuple)))
    for axis in ('fsdp', 'expert', 'tensor'):
        sizes = dict.fromkeys(AXES, 1) | {axis: 8}
        if size == 'gpt2' and axis == 'tensor':
            continue  # 12 heads are for 2, 3, 4, 6 or 12 devices
        jax.tree.map(lambda leaf, leaf_names, sizes=sizes: layout.spec(leaf_names, leaf.shape, sizes), params, names)


@pytest.mark.parametrize('file', sorted((ROOT / 'configs').glob('*.py')), ids=lambda file: file.stem)
def test_every_config_of_every_size_resolves(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert 'tiny' in module.SIZES and 'default' in module.SIZES
    several = getattr(module, 'get_configs', lambda size: {'': module.get_config(size)})
    for config in [config for size in module.SIZES for config in several(size).values()]:
        config = configs.check(config)
        assert configs.leaves(config_text.from_json(config_text.to_json(config))) == configs.leaves(config)
        assert None not in configs.leaves(config).values(), 'None cannot be overridden'
        for key, value in configs.leaves(config).items():
            said_by_another = (key == 'steps' and config.epochs) or (key == 'batch_size' and config.full_batch)
            if not isinstance(value, tuple) and not said_by_another:  # it can be set to itself on the command line
                assert configs.leaves(config_text.override(config, [(key, str(value))])) == configs.leaves(config), key


def test_every_key_is_read():
    """A config key that nothing reads is a lie."""
    sources = ''.join(
        Path(module.module_finder.find_spec(module.name).origin).read_text('utf-8')
        for module in pkgutil.walk_packages([str(ROOT / 'jaxlab')], 'jaxlab.')
        if module.name != 'jaxlab.config'
    )
    for key in configs.leaves(configs.experiment()):
        assert f'.{key.rpartition(".")[2]}' in sources or key.startswith('mesh.'), key
