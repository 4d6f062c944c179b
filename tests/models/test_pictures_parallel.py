"""Models of pictures on meshes: losses, first gradients and statistics of one device, in 64 bits, to 1e-11.

A further model is a line of MODELS: its module, and arguments so small that it compiles in seconds, with widths that
eight devices divide. (`tests/test_parallel.py` says why 64 bits, and compares the ways to write a model down.)
"""

# b rows, h height, w width, c channels

import functools
import importlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.errors import UserError
from jaxlab.models import cnn
from jaxlab.nn.norm import BatchNorm
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

ROWS, CLASSES, STEPS = 16, 5, 3
INFO = {'shape': [9, 7, 3], 'classes': CLASSES}
MODELS = {
    'cnn': ('cnn', dict(widths=(8, 16), dense=16, norm=True)),
    'cnn of three': ('cnn', dict(widths=(8, 16, 8), dense=16)),
    'resnet, basic': ('resnet', dict(width=8, blocks=(1, 1), shortcut='A')),
    'resnet, bottleneck': ('resnet', dict(depth=50, width=8, blocks=(1,), stem='imagenet')),
    'vit': ('vit', dict(layers=1, width=16, heads=8, patch=1)),
    'vit, mean': ('vit', dict(layers=2, width=16, heads=8, patch=1, pool='mean', representation=8, scan=True)),
    'efficientnet': ('efficientnet', dict(width=0.25, depth=0.2, dropout=0.0, stochastic_depth=0.0)),
}
MESHES = {
    'data 8': dict(data=8),
    'fsdp 8': dict(fsdp=8),
    'tensor 8': dict(tensor=8),
    'data 2, fsdp 2, tensor 2': dict(data=2, fsdp=2, tensor=2),
}
RINGS = {  # for models that attend: of 64 places, and of 63 and one that fills them up
    'context 4, data 2': dict(context=4, data=2),
    'context 2, fsdp 2, tensor 2': dict(context=2, fsdp=2, tensor=2),
}
STAGES = {  # for models with a scanned stack
    'stage 2, data 4': dict(stage=2, data=4),
    'stage 2, context 2, tensor 2': dict(stage=2, context=2, tensor=2),
}


# A stage of each kind cannot be left out of an EfficientNet, so the default tier has it on the mesh that has all axes.
SLOW = {
    (name, mesh) for name in ('efficientnet', 'cnn of three') for mesh in MESHES if mesh != 'data 2, fsdp 2, tensor 2'
}
PAIRS = [
    pytest.param(name, mesh, marks=pytest.mark.slow if (name, mesh) in SLOW else ())
    for name in MODELS
    for mesh in MESHES
] + [(name, mesh) for name in MODELS if name.startswith('vit') for mesh in RINGS]


@functools.cache
def batch():
    """Pictures of which some do not count."""
    draw = np.random.default_rng(0)
    return {
        'inputs': draw.normal(size=(ROWS, *INFO['shape'])),
        'targets': draw.integers(0, CLASSES, ROWS, np.int32),
        'mask': (draw.random(ROWS) < 0.7).astype(np.float64),
    }


def make(name, **others):
    module, arguments = MODELS[name]
    make = importlib.import_module(f'jaxlab.models.{module}').make
    return make(INFO, jnp.float64, jnp.float64, **arguments, **others)


def boxed(model):
    return jax.eval_shape(model.init, jax.random.key(0), batch()['inputs'])


def drawn(model):
    """Variables some way from birth, where biases and means are 0; float64 [...]."""
    draw = np.random.default_rng(1)

    def one(path, leaf):
        near = layout.path_name(path).rpartition('/')[2] in ('scale', 'variance')
        spread = 0.1 if near else (leaf.size // leaf.shape[-1] if leaf.ndim > 1 else 25) ** -0.5
        return np.abs(draw.normal(near, spread, leaf.shape)) if near else draw.normal(near, spread, leaf.shape)

    return jax.tree_util.tree_map_with_path(one, layout.unbox(boxed(model)))


def train(model, mesh):
    """Trains on one batch; returns what `check` compares: the losses, the first gradients and the last statistics."""
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        found = boxed(model)
        names = layout.names(found)
        variables = drawn(model)
        shardings = layout.shardings(layout.unbox(found), names, mesh)
        layout._check_used(shardings['params'], mesh, names['params'])  # something is split over every axis

        def loss(params, extra, batch):
            logits, extra = model.apply({'params': params, **extra}, batch['inputs'], train=True, mutable=[*extra])
            nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch['targets'])
            return (nats * batch['mask']).sum() / batch['mask'].sum(), extra

        @functools.partial(jax.jit, out_shardings=(shardings, shardings['params'], None))
        def step(variables, batch):
            params, extra = variables['params'], {name: variables[name] for name in variables if name != 'params'}
            (value, extra), gradients = jax.value_and_grad(loss, has_aux=True)(params, extra, batch)
            params = jax.tree.map(lambda leaf, gradient: leaf - 0.1 * gradient, params, gradients)
            return {'params': params, **extra}, gradients, value

        variables = jax.device_put(variables, shardings)
        placed = layout.place(batch(), layout.batch_sharding(mesh))
        losses, first = [], None
        for _ in range(STEPS):
            variables, gradients, value = step(variables, placed)
            losses.append(float(value))
            first = jax.device_get(gradients) if first is None else first
        statistics = jax.device_get({name: variables[name] for name in variables if name != 'params'})
    return {'losses': np.array(losses), 'gradients': first, 'statistics': statistics}


@functools.cache
def on_one_device(name):
    return train(make(name), {'data': 1})


def check(name, mesh):
    wanted, found = on_one_device(name), train(make(name), (MESHES | RINGS | STAGES)[mesh])
    assert wanted['losses'][-1] < wanted['losses'][0] - 1e-3
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))


@pytest.mark.parametrize(('name', 'mesh'), PAIRS)
def test_a_mesh_changes_no_number(name, mesh, float64):
    check(name, mesh)


@pytest.mark.parametrize('mesh', STAGES)
def test_stages_change_no_number(mesh, float64):
    check('vit, mean', mesh)


# --- mutants ---------------------------------------------------------------------------------------------------------


class OfEachDevice(BatchNorm):
    """A mistake: the statistics are those of the rows that one device has."""

    @nn.compact
    def __call__(self, x, *, train):
        scale = self.param('scale', nn.with_logical_partitioning(self.scale_init, (self.axis,)), x.shape[-1:])
        bias = self.param('bias', nn.with_logical_partitioning(nn.initializers.zeros, (self.axis,)), x.shape[-1:])
        rows = x.reshape(layout.batch_shards(), -1, *x.shape[1:])
        axes = tuple(range(1, rows.ndim - 1))
        mean, variance = rows.mean(axes, keepdims=True), rows.var(axes, keepdims=True)
        count = x.size // x.shape[-1]
        for name, value, batch in (('mean', 0.0, mean), ('variance', 1.0, variance * count / (count - 1))):
            running = self.variable('batch_stats', name, lambda value=value: jnp.full(x.shape[-1:], value))
            running.value = 0.9 * running.value + 0.1 * batch.reshape(-1, x.shape[-1]).mean(0)
        y = (rows - mean) * jax.lax.rsqrt(variance + self.epsilon)
        return y.reshape(x.shape) * scale + bias


@pytest.mark.parametrize(('mesh', 'right'), [('tensor 8', True), ('data 8', False)])
def test_statistics_of_each_device_are_caught(mesh, right, float64, monkeypatch):
    on_one_device('cnn')  # with the norm as it is, and kept
    monkeypatch.setattr(cnn, 'BatchNorm', OfEachDevice)
    if right:  # no rows are split: it is the same norm
        check('cnn', mesh)
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check('cnn', mesh)


def test_a_model_that_splits_nothing_is_noticed(float64, monkeypatch):
    table = layout.TABLE | {name: layout.Row(None, None, None) for name in ('channels', 'hidden')}
    monkeypatch.setattr(layout, 'TABLE', table)
    with pytest.raises(UserError, match='nothing in this model is split over mesh axis "tensor"'):
        train(make('resnet, basic'), MESHES['tensor 8'])
