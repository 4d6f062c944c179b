"""BERT on meshes: losses and first gradients of one device, in 64 bits, to 1e-11, with every head."""

# b rows, t time, m masked tokens of a row

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.models.bert import make
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from tests.models.test_pictures_parallel import MESHES, RINGS, STAGES

ROWS, LENGTH, STEPS = 16, 12, 3
INFO = {'vocabulary': 48, 'length': LENGTH, 'classes': 5, 'types': 2}
TINY = dict(layers=1, width=16, heads=8, dropout=0.0, init_scale=0.3)
MODELS = {
    'masked': dict(),
    'masked, scanned': dict(layers=2, scan=True, vocabulary=41, vocabulary_multiple=16, next_sentence=False),
    'classes': dict(head='classes'),
    'classes, no pooler': dict(head='classes', pooler=False, types=0, position_offset=2),
    'tokens': dict(head='tokens'),
    'span': dict(head='span', types=1),
}
MESHES = MESHES | RINGS
# Of each head one mesh of each sort in the first tier, of 'masked' all.
FIRST = ('data 2, fsdp 2, tensor 2', 'context 2, fsdp 2, tensor 2')
SLOW = {(name, mesh) for name in MODELS for mesh in MESHES if name != 'masked' and mesh not in FIRST}
PAIRS = [
    pytest.param(name, mesh, marks=pytest.mark.slow if (name, mesh) in SLOW else ())
    for name in MODELS
    for mesh in MESHES
] + [('masked, scanned', mesh) for mesh in STAGES]


@functools.cache
def batch():
    """Rows of many lengths, of which some do not count."""
    draw = np.random.default_rng(0)
    return {
        'tokens': draw.integers(0, 41, (ROWS, LENGTH), np.int32),
        'types': np.ones((ROWS, 1), np.int32) * (np.arange(LENGTH, dtype=np.int32) > 4),
        'lengths': draw.integers(3, LENGTH + 1, ROWS, np.int32),
        'places': draw.integers(0, 3, (ROWS, 3), np.int32),
        'targets': draw.integers(0, 41, (ROWS, 3), np.int32),
        'labels': draw.integers(0, 2, (ROWS, LENGTH), np.int32),
        'mask': (draw.random(ROWS) < 0.7).astype(np.float64),
    }


def loss_of(model, params, batch):
    inputs = [batch[name] for name in model.takes]
    nats = optax.softmax_cross_entropy_with_integer_labels
    mask = batch['mask']
    if model.purpose == 'masked':
        logits, following = model.apply({'params': params}, *inputs, batch['places'], train=True, method='masked')
        each = nats(logits, batch['targets']).mean(-1)
        each += 0 if following is None else nats(following, batch['labels'][:, 0])
    else:
        logits = model.apply({'params': params}, *inputs, train=True)
        each = nats(logits, batch['labels'] if logits.ndim == 3 else batch['labels'][:, 0])
        each = each.reshape(ROWS, -1).mean(-1)
    return (each * mask).sum() / mask.sum()


def drawn(boxed):
    draw = np.random.default_rng(1)

    def one(path, leaf):
        centre = float(layout.path_name(path).endswith('scale'))
        return draw.normal(centre, 0.3, leaf.shape)

    return jax.tree_util.tree_map_with_path(one, layout.unbox(boxed))


def train(name, mesh):
    arguments = TINY | MODELS[name]
    model = make(INFO | {'vocabulary': arguments.get('vocabulary', 48)}, jnp.float64, jnp.float64, **arguments)
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        boxed = jax.eval_shape(model.init, jax.random.key(0), *(batch()[name] for name in model.takes))['params']
        shardings = layout.shardings(layout.unbox(boxed), layout.names(boxed), mesh)
        layout._check_used(shardings, mesh, layout.names(boxed))  # something is split over every axis
        params = jax.device_put(drawn(boxed), shardings)
        placed = layout.place(batch(), layout.batch_sharding(mesh))

        @functools.partial(jax.jit, out_shardings=(shardings, shardings, None))
        def step(params, batch):
            value, gradients = jax.value_and_grad(functools.partial(loss_of, model))(params, batch)
            return jax.tree.map(lambda leaf, gradient: leaf - 0.1 * gradient, params, gradients), gradients, value

        losses, first = [], None
        for _ in range(STEPS):
            params, gradients, value = step(params, placed)
            losses.append(float(value))
            first = jax.device_get(gradients) if first is None else first
    return {'losses': np.array(losses), 'gradients': first}


@functools.cache
def on_one_device(name):
    return train(name, {'data': 1})


@pytest.mark.parametrize(('name', 'mesh'), PAIRS)
def test_a_mesh_changes_no_number(name, mesh, float64):
    wanted, found = on_one_device(name), train(name, (MESHES | STAGES)[mesh])
    assert wanted['losses'][-1] < wanted['losses'][0] - 1e-3
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))
