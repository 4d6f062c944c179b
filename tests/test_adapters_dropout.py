"""Dropout of what an adapter sees (LoRA): in training alone, of its own input alone, and refused where it has none."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab import adapters, config_text
from jaxlab import config as configs
from jaxlab.models import gpt, resnet, rnn
from jaxlab.nn import adapter
from jaxlab.nn.linear import Linear
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.parameter_groups import merge
from jaxlab.tasks.language_model import LanguageModel
from tests.experiments import TRANSFORMER, message
from tests.models.test_gpt_experts_parallel import EXPERTS
from tests.test_adapters import KEY, moved
from tests.test_parallel import INFO, MESHES, MODELS, batch

RATE = 0.25


def drawn(task, config, example):
    """Returns (its parameters, the Frozen, adapters with their scales, no B of which is 0)."""
    mesh = make_mesh({})
    boxed = jax.eval_shape(task.init, KEY, example)[0]
    trained, frozen = adapters.draw(config, task, boxed, mesh, 'head')
    beside = frozen.with_scales(layout.unbox(trained.init(KEY, example)[0]))
    return layout.unbox(task.init(KEY, example)[0]), frozen, moved(beside)


def config_of(**more):
    config = configs.experiment()
    config.adapters.update(rank=2, **more)
    return config


@pytest.fixture
def layer():
    """(Linear, x, the parameters of a layer with an adapter)."""
    draw = np.random.default_rng(0)
    made = Linear(4, ('embed', 'mlp'))
    params = {'kernel': draw.normal(size=(8, 4)), 'kernel_lora_a': draw.normal(size=(8, 2))}
    params |= {'kernel_lora_b': draw.normal(size=(2, 4)), 'kernel_lora_scale': np.float32(3)}
    params = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in params.items()}
    return made, jnp.asarray(draw.normal(size=(5000, 8)), jnp.float32), params


def seen_by(layer, x, params, key):
    """Returns what the adapter saw of x, found by its formula: all of it has rank 8 and A has as many columns."""
    a = np.eye(8, dtype=np.float32)
    whole = params | {'kernel_lora_a': a, 'kernel_lora_b': a[:, :4], 'kernel': params['kernel']}
    rest = whole | {'kernel_lora_b': a[:, 4:]}
    found = [layer.apply({'params': some}, x, rngs={'dropout': key}) - x @ params['kernel'] for some in (whole, rest)]
    return np.concatenate(found, axis=1) / 3


def test_the_adapters_input_is_dropped_and_the_bases_is_not(layer):
    layer, x, params = layer
    params = params | {'kernel_lora_dropout': jnp.float32(RATE)}
    seen = seen_by(layer, x, params, KEY)
    kept = np.abs(seen) > 1e-4
    np.testing.assert_allclose(seen[kept], np.asarray(x)[kept] / (1 - RATE), atol=1e-4)
    assert abs(kept.mean() - (1 - RATE)) < 0.01, 'so many of 40,000'
    assert 0 < np.corrcoef(kept[:, 0], kept[:, 1])[0, 1] ** 2 < 0.01, 'each by itself'
    other = seen_by(layer, x, params, jax.random.key(7))
    assert (np.abs(other) > 1e-4).mean() < 1 and not np.allclose(other, seen)


def test_without_a_key_nothing_is_dropped(layer):
    """Evaluation, and what is exported: the formula, bit for bit."""
    layer, x, params = layer
    wanted = layer.apply({'params': params}, x)
    found = layer.apply({'params': params | {'kernel_lora_dropout': jnp.float32(RATE)}}, x)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(layer.apply({'params': params}, x, rngs={'dropout': KEY}), wanted)


@pytest.mark.parametrize('scan', [False, True])
def test_a_model_trains_with_it_and_is_merged_without(scan):
    task = LanguageModel(gpt.make(INFO, **(MODELS['gpt2'] | dict(scan=scan))))
    whole, frozen, beside = drawn(task, config_of(dropout=RATE), batch())
    flat = flatten_dict(beside, sep='/')
    dropping = {name for name in flat if name.endswith(adapter.DROPOUT)}
    up = 'stack/layers/mlp/up/kernel' if scan else 'stack/layer_0/mlp/up/kernel'
    assert up + adapter.DROPOUT in dropping and flat[up + adapter.DROPOUT].shape == ((2,) if scan else ())
    assert not [name for name in dropping if 'table' in name], 'what is looked up has no input'
    assert set(frozen.scales) == {name for name in flat if name.endswith((adapter.SCALE, adapter.DROPOUT))}

    @jax.jit
    def loss(params, key):
        return task.loss(params, {}, batch(), key)[0]['loss'].total

    params = merge(whole, beside)
    assert loss(params, jax.random.key(1)) != loss(params, jax.random.key(2))
    plain = merge(whole, drawn(task, config_of(), batch())[2])
    assert loss(plain, jax.random.key(1)) == loss(plain, jax.random.key(2))
    logits = jax.jit(lambda params: task.predict(params, {}, batch())['logits'])
    np.testing.assert_array_equal(logits(params), logits(plain))
    merged = adapters.merged(jax.tree.map(jnp.copy, whole), beside)
    assert jax.tree.structure(merged) == jax.tree.structure(whole)


@pytest.mark.parametrize(
    ('more', 'patterns', 'meshes'),
    [
        ({}, ('.*',), MESHES.values()),
        (EXPERTS | dict(scan=True), ('.*router.*',), [dict(context=4, data=2), dict(stage=2, expert=2, data=2)]),
    ],
)
def test_the_same_places_are_dropped_on_every_mesh(more, patterns, meshes, float64):
    arguments = MODELS['gpt2'] | dict(layers=2 if more else 1) | more
    task = LanguageModel(gpt.make(INFO, jnp.float64, jnp.float64, **arguments))
    whole, _, beside = drawn(task, config_of(dropout=RATE, patterns=patterns), batch())
    params = merge(whole, beside)

    def loss(mesh):
        devices = make_mesh(mesh)
        with jax.set_mesh(devices):
            placed = layout.place(batch(), layout.batch_sharding(devices))
            everywhere = jax.device_put(jax.device_get(params), NamedSharding(devices, PartitionSpec()))
            return float(jax.jit(task.loss)(everywhere, {}, placed, jax.random.key(0))[0]['loss'].total)

    wanted = loss({'data': 1})
    for mesh in meshes:
        np.testing.assert_allclose(loss(mesh), wanted, rtol=1e-11)


def test_an_adapter_without_an_input_of_its_own_is_refused():
    config = config_of(dropout=RATE)
    pictures = {
        'inputs': np.zeros((2, 8, 8, 3), np.float32),
    }
    net = resnet.make({'shape': [8, 8, 3], 'classes': 3}, width=8, blocks=(1,))
    task = SimpleNamespace(phases=(1,), init=lambda key, batch: (net.init(key, batch['inputs'])['params'], {}))
    assert 'slides over its input' in message(drawn, task, config, pictures)
    config.adapters.patterns = ('head/',)
    assert drawn(task, config, pictures)[1].scales.keys() == {'head/kernel_lora_scale', 'head/kernel_lora_dropout'}
    words = LanguageModel(rnn.make({'vocabulary': 24, 'length': 8}, width=8))
    config.adapters.patterns = ('.*',)
    assert 'config.adapters.dropout: ' in message(drawn, words, config, batch())
    mixture = LanguageModel(gpt.make(INFO, layers=1, width=16, heads=8, experts=2))
    config.adapters.patterns = ('.*/up/',)
    assert 'experts/up/kernel is no plain matrix product' in message(drawn, mixture, config, batch())


def test_a_parameter_that_changes_before_it_is_used_refuses_it(layer):
    _, x, params = layer
    normed = Linear(4, ('embed', 'mlp'), reparametrise=lambda module, kernel: kernel / jnp.linalg.norm(kernel))
    layout_of = {'params': params | {'kernel_lora_dropout': jnp.float32(RATE)}}
    assert 'kernel is no plain matrix product' in message(normed.apply, layout_of, x)
    assert normed.apply({'params': params}, x).shape == (5000, 4)


def test_a_rate_out_of_range_is_told_and_it_is_a_part_of_what_an_experiment_is():
    config, _ = config_text.load(f'{TRANSFORMER}:tiny')
    config.init_from = 'somewhere'
    config.adapters.rank = 2
    plain = config_text.identity(config)
    config.adapters.dropout = 0.1
    assert config_text.identity(config) != plain
    for rate in (1.0, -0.1):
        config.adapters.dropout = rate
        assert 'at least 0 and below 1' in message(configs.check, config)


# --- mutants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('mutant', ['the mean falls', 'one draw for a row', 'always'])
def test_other_dropout_is_noticed(mutant, layer, monkeypatch):
    dropped = adapter.dropped

    def wrong(module, x, dropout):
        if mutant == 'the mean falls':
            return dropped(module, x, dropout) * (1 if dropout is None else 1 - dropout)
        if mutant == 'one draw for a row':
            return x * dropped(module, jnp.ones_like(x[..., :1]), dropout)
        return x / 2 if dropout is not None and not module.has_rng('dropout') else dropped(module, x, dropout)

    monkeypatch.setattr(adapter, 'dropped', wrong)
    with pytest.raises(AssertionError):
        test_the_adapters_input_is_dropped_and_the_bases_is_not(layer)
        test_without_a_key_nothing_is_dropped(layer)
