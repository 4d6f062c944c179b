"""A scanned stack in the stages of a pipeline: the dropout, parameters and sights of one device, decoders with experts
among them, and what is refused."""

# b rows, t time, d width

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.nn import dropout, listening
from jaxlab.nn.attention import Attention, weights_of
from jaxlab.nn.mlp import MLP
from jaxlab.nn.norm import RMSNorm
from jaxlab.nn.transformer import Block, Stack
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from tests.parallel.test_pipeline import ROWS, TIME, WIDTH, assert_same, inputs, results

DTYPES = dict(dtype=jnp.float64, param_dtype=jnp.float64)


class Model(nn.Module):
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    remat: str = 'none'
    micro_batches: int = 0
    layers: int = 2

    @nn.compact
    def __call__(self, x, train=False):
        parts = partial(RMSNorm, **DTYPES), partial(Attention, 2, 2, **DTYPES), partial(MLP, 8, **DTYPES)
        block = partial(Block, *parts, self.dropout)
        how = True, self.remat, self.stochastic_depth, self.micro_batches
        t = x.shape[1]
        return Stack(block, self.layers, *how, name='stack')(
            x, jnp.arange(t)[None], jnp.ones((1, t, t), bool), train=train
        )[0]


def of_model(model, mesh):
    x = inputs()[1]
    params = nn.meta.unbox(model.init(jax.random.key(0), x))['params']

    def function(params, x):
        return model.apply({'params': params}, x, train=True, rngs={'dropout': jax.random.key(3)})

    if not mesh:
        return results(function, params, x)
    with jax.set_mesh(make_mesh(mesh)):
        return results(function, params, x)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(dropout=0.25),
        dict(dropout=0.25, stochastic_depth=0.5, remat='full', micro_batches=8),
        dict(remat='attention'),
    ],
)
def test_a_stack_has_the_same_dropout_in_stages(arguments, float64):
    model = Model(**arguments)
    assert_same(of_model(model, dict(data=2, stage=2)), of_model(model, {}))


def test_dropout_that_forgets_its_place_is_caught(float64, monkeypatch):
    wanted = of_model(Model(dropout=0.25), {})
    monkeypatch.setattr(dropout, 'kept', jax.random.bernoulli)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        assert_same(of_model(Model(dropout=0.25), dict(data=2, stage=2)), wanted)


def test_parameters_are_born_as_on_one_device(float64):
    model, x = Model(), inputs()[1]
    wanted = model.init(jax.random.key(0), x)
    with jax.set_mesh(make_mesh(dict(data=2, stage=2))):
        found = jax.jit(model.init)(jax.random.key(0), x)
    assert jax.tree.structure(wanted) == jax.tree.structure(found)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-14, atol=1e-15), jax.device_get(found), jax.device_get(wanted)
    )


def test_who_looks_into_layers_sees_them(float64):
    model, x = Model(), inputs()[1]
    params = nn.meta.unbox(model.init(jax.random.key(0), x))
    wanted, weights = listening.heard(model, params, x), weights_of(model, params, x)
    with jax.set_mesh(make_mesh(dict(data=2, stage=2))):
        found = jax.jit(partial(listening.heard, model))(params, x)
        assert_same(jax.jit(partial(weights_of, model))(params, x), weights)
    assert len(weights) == 2 and 'stack/layers/mlp/up' in found[1]
    assert_same(found, wanted)


def test_a_text_goes_on_from_a_cache(float64):
    how = dict(vocabulary=16, context=8, layers=2, width=8, heads=2, scan=True)
    model = gpt.make({}, jnp.float64, jnp.float64, **how)
    tokens = np.random.default_rng(0).integers(0, 16, (8, 4), np.int32)
    given = tokens, np.arange(4)[None].repeat(8, 0), np.ones((8, 4), np.int32)
    params = nn.meta.unbox(model.init(jax.random.key(0), tokens))

    def decode(params):
        return model.apply(params, *given, model.start_cache(8, 8), method='decode')[0]

    mesh = make_mesh(dict(data=2, stage=2))
    with jax.set_mesh(mesh):
        found = jax.jit(decode)(params)
    np.testing.assert_allclose(found, model.apply(params, tokens), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('more', [{}, dict(experts=2)])
def test_a_language_model_is_trained_in_stages(more):
    model = gpt.make({'vocabulary': 16, 'length': 4}, layers=2, width=8, heads=2, scan=True, **more)
    task, rows = LanguageModel(model), jnp.zeros((8, 4), int)
    batch = {'tokens': rows, 'targets': rows, 'positions': rows, 'segments': rows + 1, 'mask': jnp.ones((8, 4))}
    with jax.set_mesh(make_mesh(dict(stage=2))):
        params = layout.unbox(jax.eval_shape(task.init, jax.random.key(0), batch)[0])
        program = str(jax.make_jaxpr(task.loss)(params, {}, batch, jax.random.key(1)))
    assert 'ppermute' in program, 'its loss asks to see into layers, and so goes without a pipeline'


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(model, mesh, rows=ROWS):
    with jax.set_mesh(make_mesh(mesh)), pytest.raises(UserError) as error:
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((rows, TIME, WIDTH)))
    return str(error.value)


def test_what_does_not_divide_is_refused_with_a_remedy():
    said = refused(Model(layers=3), dict(stage=2))
    assert 'config.mesh.stage=2 does not divide config.model.layers=3' in said
    assert '--config.model.layers=4 would do, or --config.mesh.stage=1' in said
    said = refused(Model(layers=4, micro_batches=6), dict(stage=4))
    assert 'config.model.micro_batches=6' in said and '--config.model.micro_batches=8 would do' in said
    said = refused(Model(layers=4, micro_batches=8), dict(stage=4, data=2), rows=24)
    assert 'config.mesh.stage=4: 24 rows' in said and 'config.model.micro_batches=8 on 8 devices' in said
    assert 'the nearest that can: 32' in said or 'the nearest that can: 16' in said
    assert '--config.model.micro_batches=0 finds a number for any multiple of 8 rows' in said


def test_layers_that_are_not_stacked_are_refused_with_a_remedy():
    model = gpt.make({'vocabulary': 16, 'length': 4}, layers=2, width=8, heads=2)
    mesh = make_mesh(dict(data=4, stage=2))
    with jax.set_mesh(mesh):
        boxed = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((8, 4), int))['params']
        found = layout.shardings(layout.unbox(boxed), layout.names(boxed), mesh)
    with pytest.raises(
        UserError, match=r'config\.mesh\.stage=2: stages share out the layers of a scanned stack'
    ) as error:
        layout._check_used(found, mesh)
    assert '--config.model.scan=True' in str(error.value)
    assert '--config.mesh.stage=1 --config.mesh.data=8' in str(error.value)
