"""Recurrent models on meshes: losses and first gradients of one device, in 64 bits, to 1e-11."""

# b rows, t time

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab.models.rnn import make
from jaxlab.nn import recurrent
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from tests.models.test_pictures_parallel import MESHES

ROWS, LENGTH, STEPS = 16, 6, 3
INFO = {'vocabulary': 24, 'length': LENGTH}
MODELS = {
    'classes, lstm, both ways': (INFO | {'classes': 5}, dict(width=8, layers=2, bidirectional=True)),
    'classes, gru': (INFO | {'classes': 5}, dict(width=8, cell='gru', embedding=16, pool='max')),
    'language, lstm': (INFO, dict(width=8, layers=2)),
    'language, vanilla, tied': (INFO, dict(width=16, cell='vanilla', tied=True)),
}
# In the first tier: all meshes of one model, and of the others the one that has all axes.
FIRST = {('language, lstm', mesh) for mesh in MESHES} | {(name, 'data 2, fsdp 2, tensor 2') for name in MODELS}
PAIRS = [
    pytest.param(name, mesh, marks=() if (name, mesh) in FIRST else pytest.mark.slow)
    for name in MODELS
    for mesh in MESHES
]


@functools.cache
def batch():
    """Rows of many lengths and of several documents, of which some do not count."""
    draw = np.random.default_rng(0)
    begins = draw.random((ROWS, LENGTH)) < 0.3
    begins[:, 0] = True
    places = np.arange(LENGTH, dtype=np.int32)
    return {
        'tokens': draw.integers(0, 24, (ROWS, LENGTH), np.int32),
        'targets': draw.integers(0, 24, (ROWS, LENGTH), np.int32),
        'positions': places - np.maximum.accumulate(np.where(begins, places, 0), axis=1),
        'segments': np.cumsum(begins, axis=1, dtype=np.int32) * (draw.random((ROWS, LENGTH)) < 0.9),
        'lengths': draw.integers(1, LENGTH + 1, ROWS, np.int32),
        'labels': draw.integers(0, 5, ROWS, np.int32),
        'mask': (draw.random((ROWS, LENGTH)) < 0.7).astype(np.float64),
    }


def loss_of(model, params, batch):
    if 'lengths' in model.takes:
        logits = model.apply({'params': params}, batch['tokens'], batch['lengths'], train=True)
        mask = batch['mask'][:, 0]
        return (optax.softmax_cross_entropy_with_integer_labels(logits, batch['labels']) * mask).sum() / mask.sum()
    terms, _ = LanguageModel(model).loss(params, {}, batch, jax.random.key(0))
    return terms['loss'].total / terms['loss'].count


def train(name, mesh):
    info, arguments = MODELS[name]
    model = make(info, jnp.float64, jnp.float64, **arguments)
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        boxed = jax.eval_shape(model.init, jax.random.key(0), *(batch()[one] for one in model.takes))['params']
        shardings = layout.shardings(layout.unbox(boxed), layout.names(boxed), mesh)
        layout._check_used(shardings, mesh)  # of every mesh axis something of the model is split over it
        draw = np.random.default_rng(1)
        params = jax.tree.map(lambda leaf: draw.normal(0, 0.4, leaf.shape), layout.unbox(boxed))
        params = jax.device_put(params, shardings)
        placed = layout.place(batch(), layout.batch_sharding(mesh))

        @functools.partial(jax.jit, out_shardings=(shardings, shardings, None))
        def step(params, batch):
            value, gradients = jax.value_and_grad(functools.partial(loss_of, model))(params, batch)
            return jax.tree.map(lambda leaf, gradient: leaf - 0.5 * gradient, params, gradients), gradients, value

        losses, first = [], None
        for _ in range(STEPS):
            params, gradients, value = step(params, placed)
            losses.append(float(value))
            first = jax.device_get(gradients) if first is None else first
    return {'losses': np.array(losses), 'gradients': first}


@functools.cache
def on_one_device(name):
    return train(name, {'data': 1})


def check(name, mesh):
    wanted, found = on_one_device(name), train(name, MESHES[mesh])
    assert wanted['losses'][-1] < wanted['losses'][0] - 1e-3
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))


@pytest.mark.parametrize(('name', 'mesh'), PAIRS)
def test_a_mesh_changes_no_number(name, mesh, float64):
    check(name, mesh)


@pytest.mark.parametrize(('mesh', 'right'), [('tensor 8', True), ('data 8', False)])
def test_a_gradient_of_one_devices_rows_is_caught(mesh, right, float64, monkeypatch):
    """A mistake: the gradient of the state's kernel is that of the first device's rows."""

    def of_the_first(rows):
        """[t b …], where all but the first device's rows are 0."""
        mine = jnp.arange(rows.shape[1]) < rows.shape[1] // layout.batch_shards()
        return jnp.where(mine.reshape(-1, *[1] * (rows.ndim - 2)), rows, 0)

    def einsum(formula, *arrays, **options):
        arrays = map(of_the_first, arrays) if formula == 'tbi,tbgh->igh' else arrays
        return jnp.einsum(formula, *arrays, **options)

    on_one_device('language, lstm')  # as it is, and kept
    monkeypatch.setattr(recurrent, 'jnp', SimpleNamespace(**{**vars(jnp), 'einsum': einsum}))
    if right:  # no rows are split: it is the same gradient
        check('language, lstm', mesh)
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check('language, lstm', mesh)
