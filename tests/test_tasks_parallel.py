"""Tasks on meshes: tagging, answers and adapters give the losses and first gradients of one device, in 64 bits, to
1e-11, by the one step, with the whole batch and in micro-batches."""

# b rows, t tokens, c tags

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import adapters
from jaxlab import config as configs
from jaxlab import step as steps
from jaxlab.config import build, spec
from jaxlab.models.bert import make
from jaxlab.nn import linear
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.task import Term
from jaxlab.tasks import question_answering, tagging
from jaxlab.trust import numbers
from tests.test_parallel import CONSTANT, MESHES

ROWS, LENGTH, STEPS = 16, 12, 3
INFO = {'vocabulary': 48, 'length': LENGTH, 'classes': 5, 'types': 2}
TINY = dict(layers=2, scan=True, width=16, heads=8, dropout=0.0, init_scale=0.3)


@functools.cache
def batch():
    """Rows of many lengths: words with tags, of which some rows have none; questions, of which some do not count."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(5, LENGTH + 1, ROWS, np.int32)
    place = np.arange(LENGTH, dtype=np.int32)
    shared = {
        'tokens': draw.integers(0, 48, (ROWS, LENGTH), np.int32),
        'types': np.broadcast_to(place > 2, (ROWS, LENGTH)).astype(np.int32),
        'lengths': lengths,
    }
    words = (draw.random((ROWS, LENGTH)) < draw.random((ROWS, 1))) & (place < lengths[:, None])
    words[3] = False
    tags = {'targets': draw.integers(0, 5, (ROWS, LENGTH), np.int32), 'mask': words.astype(np.float64)}
    spans = {'targets': np.sort(draw.integers(3, 5, (ROWS, 2)), 1).astype(np.int32)}
    spans['mask'] = (draw.random(ROWS) < 0.6).astype(np.float64)
    return {'tagging': shared | tags, 'question_answering': shared | spans}


def task_of(name):
    kind = {'tagging': 'tokens', 'question_answering': 'span'}[name]
    model = make(INFO, jnp.float64, jnp.float64, head=kind, **TINY)
    return {'tagging': tagging, 'question_answering': question_answering}[name].make(model, INFO)


def drawn(boxed, seed):
    """Parameters some way from birth, where biases are 0, and an adapter's B is."""
    draw = np.random.default_rng(seed)

    def one(path, leaf):
        return draw.normal(float(layout.path_name(path).endswith('scale')), 0.3, leaf.shape)

    return jax.tree_util.tree_map_with_path(one, layout.unbox(boxed))


def train(task, name, mesh, micro_batches=1, rank=0):
    """Trains on one batch; returns {'losses': [steps], 'gradients': those of the first}. With a rank adapters learn,
    and all that they stand beside is frozen."""
    rows, key = batch()[name], jax.random.key(0)
    mesh = make_mesh(mesh)
    config = configs.experiment()
    config.adapters.update(rank=rank)
    with jax.set_mesh(mesh):
        boxed = jax.eval_shape(task.init, key, rows)[0]
        trained, frozen = adapters.draw(config, task, boxed, mesh, 'head')
        born = jax.eval_shape(trained.init, key, rows)[0]
        names, params = layout.names(born), drawn(born, 1)
        node = spec('optim.momentum', learning_rate=0.05, momentum=0.9, clip=0.0, schedule=CONSTANT)
        optimizer = build(node, names, STEPS, key='optimizer')
        start = jnp.zeros((), jnp.int32)
        opt_state = (optimizer.init(params),)
        state = steps.TrainState(start, params, {}, opt_state, jax.random.key(1), {}, start, numbers.start())
        shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, mesh, frozen.shardings)
        given = frozen.with_scales(jax.device_put(drawn(boxed, 2), frozen_places(frozen))) if rank else {}
        step = jax.jit(steps.make_step(task, [optimizer], accumulate=micro_batches), out_shardings=(shardings, None))
        state = jax.device_put(state, shardings)
        placed = layout.place(rows, layout.batch_sharding(mesh))
        losses, gradients = [], None
        for _ in range(STEPS):
            state, terms = step(state, given, placed)
            losses.append(float(steps.mean_loss(terms)))
            if gradients is None:  # after one step, the momentum is the gradient
                gradients = jax.device_get(optax.tree.get(state.opt_state, 'trace'))
    return {'losses': np.array(losses), 'gradients': gradients}


def frozen_places(frozen):
    return jax.tree.map(lambda leaf: leaf.sharding, frozen.wanted)


KINDS = {'tagging': ('tagging', 0), 'question_answering': ('question_answering', 0), 'adapters': ('tagging', 4)}


@functools.cache
def on_one_device(kind):
    name, rank = KINDS[kind]
    return train(task_of(name), name, {'data': 1}, rank=rank)


def check(kind, mesh, micro_batches=1, task=None):
    name, rank = KINDS[kind]
    wanted = on_one_device(kind)
    assert wanted['losses'][-1] < wanted['losses'][0] - 1e-3
    found = train(task or task_of(name), name, MESHES[mesh], micro_batches, rank)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))


SLOW = ('zero1 8', 'context 4, data 2')  # what they split, the two meshes that have all axes split as well


@pytest.mark.parametrize(
    'mesh', [pytest.param(mesh, marks=pytest.mark.slow if mesh in SLOW else ()) for mesh in MESHES]
)
@pytest.mark.parametrize('kind', KINDS)
def test_a_mesh_changes_no_number(kind, mesh, float64):
    check(kind, mesh)


@pytest.mark.parametrize('kind', ['tagging', 'question_answering'])
def test_micro_batches_change_none(kind, float64):
    check(kind, 'data 2, fsdp 2, tensor 2', micro_batches=2)


def test_adapters_alone_learn(float64):
    gradients = on_one_device('adapters')['gradients']
    names = [layout.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(gradients)]
    assert names and all(name.endswith(('_lora_a', '_lora_b')) for name in names)
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(gradients))


# --- mutants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['tagging', 'question_answering'])
def test_a_count_of_one_devices_rows_is_caught(kind, float64):
    """A mistake: the loss is divided by what counts of the first device's rows, times the devices."""
    on_one_device(kind)
    module = {'tagging': tagging, 'question_answering': question_answering}[kind]

    class Own(module.make(task_of(kind).model, INFO).__class__):
        def loss(self, params, extra, rows, key):
            terms, extra = super().loss(params, extra, rows, key)
            shards = layout.batch_shards()
            first = jnp.sum(rows['mask'][: len(rows['mask']) // shards]) * shards
            return {'loss': Term(terms['loss'].total, first)}, extra

    task = task_of(kind)
    wrong = Own(**{field: getattr(task, field) for field in task.__dataclass_fields__})
    check(kind, 'tensor 8', task=wrong)  # no rows are split: it is the same count
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        check(kind, 'data 8', task=wrong)


@pytest.mark.parametrize(('mesh', 'right'), [('data 8', True), ('tensor 8', False)])
def test_an_adapter_whose_inner_sum_is_one_devices_is_caught(mesh, right, float64, monkeypatch):
    """A mistake: x A is added up over the inputs that one device of a tensor mesh has, and not over them all."""
    on_one_device('adapters')
    product = linear.product

    def of_the_first(x, kernel, out_dtype=None):
        if kernel.shape[-1] == 4:  # A: its outputs are the rank
            parts = jax.sharding.get_abstract_mesh().shape['tensor']
            mine = jnp.arange(kernel.shape[0]) < kernel.shape[0] // parts
            kernel = jnp.where(mine[:, None], kernel, 0)
        return product(x, kernel, out_dtype)

    monkeypatch.setattr(linear, 'product', of_the_first)
    if right:  # no inputs are split
        check('adapters', mesh)
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check('adapters', mesh)
