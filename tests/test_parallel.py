"""Every way of training in parallel gives the numbers of one device: losses and first gradients, in 64 bits, to 1e-11.

That close, a sum that misses one of its parts cannot hide. A way of training is a mesh shape; what varies beside it is
how the model is written down: layers unrolled or scanned, activations kept or computed again, the batch whole or in
micro-batches.
"""

# b rows, t tokens

import functools
import itertools
import math
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import PartitionSpec

import jaxlab.nn.mlp
from jaxlab import step as steps
from jaxlab.config import build, spec
from jaxlab.models import gpt
from jaxlab.nn.linear import Embedding, Linear
from jaxlab.nn.mlp import MLP
from jaxlab.nn.parameter import parameter
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.task import Term
from jaxlab.tasks.language_model import LanguageModel
from jaxlab.trust import numbers

ROWS, LENGTH, VOCABULARY, STEPS = 16, 8, 21, 3
ROWS_SPLIT = PartitionSpec(('data', 'fsdp'))
CONSTANT = spec('schedules.constant')
INFO = {'vocabulary': VOCABULARY, 'length': LENGTH}

# Eight devices divide every axis that is split; the vocabulary is padded to do so.
MODELS = {
    'gpt2': dict(layers=2, width=16, heads=8, vocabulary_multiple=8),
    'llama': dict(
        layers=2,
        width=32,
        heads=16,
        kv_heads=8,
        head_width=4,
        mlp_width=24,
        vocabulary_multiple=8,
        positions='rotary',
        rotary_scaling='yarn',
        rotary_factor=4.0,
        rotary_context=8,
        norm='rms',
        activation='swiglu',
        bias=False,
        attention_bias=True,
        tied=False,
    ),
}
WRITTEN = {
    'unrolled': {},
    'scanned': dict(scan=True),
    'scanned, all again': dict(scan=True, remat='full'),
    'unrolled, some again': dict(remat='dots'),
}
MESHES = {
    'data 8': dict(data=8),
    'fsdp 8': dict(fsdp=8),
    'tensor 8': dict(tensor=8),
    'data 2, fsdp 2, tensor 2': dict(data=2, fsdp=2, tensor=2),
    'zero1 8': dict(zero1=8),
    'context 4, data 2': dict(context=4, data=2),
    'context 2, fsdp 2, tensor 2': dict(context=2, fsdp=2, tensor=2),
    'stage 2, data 4': dict(stage=2, data=4),
    'stage 2, fsdp 2, tensor 2': dict(stage=2, fsdp=2, tensor=2),
    'stage 2, context 2, tensor 2': dict(stage=2, context=2, tensor=2),
}
MICRO_BATCHES = [1, 2]
PAIRS = [
    (model, written, mesh, micro_batches)
    for model, written, mesh, micro_batches in itertools.product(MODELS, WRITTEN, MESHES, MICRO_BATCHES)
    if WRITTEN[written].get('scan') or 'stage' not in MESHES[mesh]  # stages share out the layers of a scanned stack
]

# The default tier: in these, models meet all meshes, and meshes all numbers of micro-batches. The rest is marked slow.
COVER = [
    ('gpt2', 'unrolled', 'data 8', 1),
    ('gpt2', 'scanned', 'fsdp 8', 2),
    ('gpt2', 'unrolled, some again', 'tensor 8', 1),
    ('gpt2', 'scanned, all again', 'data 2, fsdp 2, tensor 2', 2),
    ('gpt2', 'unrolled, some again', 'zero1 8', 2),
    ('gpt2', 'scanned', 'context 4, data 2', 1),
    ('gpt2', 'unrolled', 'context 2, fsdp 2, tensor 2', 2),
    ('llama', 'scanned', 'data 8', 2),
    ('llama', 'unrolled', 'fsdp 8', 1),
    ('llama', 'scanned, all again', 'tensor 8', 2),
    ('llama', 'unrolled, some again', 'data 2, fsdp 2, tensor 2', 1),
    ('llama', 'unrolled', 'zero1 8', 1),
    ('llama', 'unrolled, some again', 'context 4, data 2', 2),
    ('llama', 'scanned, all again', 'context 2, fsdp 2, tensor 2', 1),
    ('gpt2', 'scanned', 'stage 2, data 4', 1),
    ('gpt2', 'scanned, all again', 'stage 2, fsdp 2, tensor 2', 2),
    ('llama', 'scanned, all again', 'stage 2, data 4', 2),
    ('llama', 'scanned', 'stage 2, fsdp 2, tensor 2', 1),
    ('llama', 'scanned', 'stage 2, context 2, tensor 2', 1),
    ('gpt2', 'scanned, all again', 'stage 2, context 2, tensor 2', 2),
]


@functools.cache
def batch():
    """Rows of several documents, of which anything from nothing to all counts."""
    draw = np.random.default_rng(0)
    text = draw.integers(0, VOCABULARY, (ROWS, LENGTH + 1), np.int32)
    return {
        'tokens': text[:, :-1],
        'targets': text[:, 1:],
        'positions': np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1)),
        'segments': 1 + np.cumsum(draw.random((ROWS, LENGTH)) < 0.2, axis=1, dtype=np.int32),
        'mask': (draw.random((ROWS, LENGTH)) < draw.random((ROWS, 1))).astype(np.float32),
    }


def make_task(model, written='unrolled', **arguments):
    return LanguageModel(gpt.make(INFO, jnp.float64, jnp.float64, **(MODELS[model] | WRITTEN[written] | arguments)))


@functools.cache
def parameters(task):
    """Parameters some way from birth, where biases are 0 and attention looks everywhere alike; float64 [...]."""
    draw = np.random.default_rng(0)
    shapes = layout.unbox(jax.eval_shape(task.init, jax.random.key(0), batch())[0])

    def one(path, leaf):
        return 0.2 * draw.normal(size=leaf.shape) + (layout.path_name(path).endswith('scale'))

    return jax.tree_util.tree_map_with_path(one, shapes)


def stacked(params):
    """Parameters of the scanned model: those of all layers, one above another."""
    stack = params['stack']
    layers = [stack[f'layer_{i}'] for i in range(len(stack))]
    return params | {'stack': {'layers': jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}}


def train(task, params, mesh, micro_batches=1, learning_rate=0.125, schedule=CONSTANT, count=STEPS):
    """Trains `count` steps on one batch; returns the losses [count] and the first gradients."""
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        names = layout.names(jax.eval_shape(task.init, jax.random.key(0), batch())[0])
        node = spec('optim.momentum', learning_rate=learning_rate, momentum=0.9, clip=0.0, schedule=schedule)
        optimizer = build(node, names, count, key='optimizer')
        start = jnp.zeros((), jnp.int32)
        state = steps.TrainState(
            start, params, {}, (optimizer.init(params),), jax.random.key(1), {}, start, numbers.start()
        )
        shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, mesh)
        step = steps.make_step(task, [optimizer], accumulate=micro_batches)
        step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))
        state = jax.device_put(state, shardings, may_alias=False)  # it is donated, and `params` are used again
        placed = layout.place(batch(), layout.batch_sharding(mesh))
        losses, gradients = [], None
        for _ in range(count):
            state, terms = step(state, {}, placed)
            losses.append(float(steps.mean_loss(terms)))
            if gradients is None:  # after one step, the momentum is the gradient
                gradients = jax.device_get(optax.tree.get(state.opt_state, 'trace'))
    return np.array(losses), gradients


@functools.cache
def on_one_device(task):
    return train(task, parameters(task), {'data': 1})


def check(task, mesh, micro_batches=1, like=None):
    """Compares `task` on a mesh with task `like` (default: the same) on one device, with the whole batch."""
    like = like or task
    params = parameters(like)
    losses, gradients = on_one_device(like)
    assert losses[-1] < losses[0] - 1e-3
    if getattr(task.model, 'scan', False):
        params, gradients = stacked(params), stacked(gradients)
    found, found_gradients = train(task, params, mesh, micro_batches)
    np.testing.assert_allclose(found, losses, rtol=1e-11, atol=1e-11)
    assert jax.tree.structure(found_gradients) == jax.tree.structure(gradients)
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(found_gradients), jax.tree.leaves(gradients), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))


@pytest.fixture
def compiled_anew():
    """A program out of the cache comes without the compiler's warnings."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update('jax_enable_compilation_cache', False)
    compilation_cache.reset_cache()  # JAX looks at the setting once
    yield
    jax.config.update('jax_enable_compilation_cache', before)
    compilation_cache.reset_cache()


def assert_nothing_gathered_needlessly(capfd):
    """XLA says on stderr where it could only go on by copying a whole array to every device."""
    assert 'full rematerialization' not in capfd.readouterr().err


@pytest.mark.parametrize(
    ('model', 'written', 'mesh', 'micro_batches'),
    [pytest.param(*pair, marks=() if pair in COVER else pytest.mark.slow) for pair in PAIRS],
)
def test_a_mesh_changes_no_number(model, written, mesh, micro_batches, float64, compiled_anew, capfd):
    check(make_task(model, written), MESHES[mesh], micro_batches, like=make_task(model))
    assert_nothing_gathered_needlessly(capfd)


def test_the_default_tier_covers():
    assert set(COVER) <= set(PAIRS)
    ways = [MODELS, WRITTEN, MESHES, MICRO_BATCHES]
    for one in range(4):
        assert {row[one] for row in COVER} == set(ways[one])
    assert {(row[0], row[2]) for row in COVER} == set(itertools.product(MODELS, MESHES))
    assert {(row[0], row[1]) for row in COVER} == set(itertools.product(MODELS, WRITTEN))
    assert {(row[2], row[3]) for row in COVER} == set(itertools.product(MESHES, MICRO_BATCHES))
    assert all(math.prod(shape.values()) == 8 for shape in MESHES.values())


@pytest.mark.parametrize('mesh', ['data 2, fsdp 2, tensor 2', 'context 4, data 2'])
def test_dropout_falls_on_the_same_places_on_every_mesh(mesh, float64):
    check(make_task('gpt2', layers=1, dropout=0.25), MESHES[mesh])


def test_dropout_falls_on_the_same_places_where_stages_have_parts_of_rows(float64):
    task = make_task('gpt2', 'scanned', dropout=0.25)
    wanted, found = (
        train(task, stacked(parameters(make_task('gpt2'))), mesh)
        for mesh in ({'data': 1}, MESHES['stage 2, context 2, tensor 2'])
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11), found, wanted)


def test_parameters_are_born_in_parts_with_the_numbers_they_have_whole(float64):
    task = make_task('gpt2', 'scanned')  # the layers of a stack have keys of their own, made by splitting
    mesh = make_mesh(MESHES['data 2, fsdp 2, tensor 2'])
    boxed = jax.eval_shape(task.init, jax.random.key(0), batch())[0]
    shardings = layout.shardings(layout.unbox(boxed), layout.names(boxed), mesh)

    def init(key):
        return layout.unbox(task.init(key, batch())[0])

    born = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, born, jax.jit(init)(jax.random.key(0)))
    up = born['stack']['layers']['mlp']['up']['kernel']
    assert up.addressable_shards[0].data.shape == (2, 8, 32)  # of (2, 16, 64)


# --- mutants: sums written by hand for one device of a mesh, right and wrong -----------------------------------------


class Small(nn.Module):
    """A model that compiles in a second: what follows each token, from that token alone."""

    takes = ('tokens', 'positions', 'segments')

    @nn.compact
    def __call__(self, tokens, positions, segments, *, train=False):
        dtypes = dict(dtype=jnp.float64, param_dtype=jnp.float64)
        table = Embedding(24, 16, ('vocab', 'table'), **dtypes)
        return table.attend(MLP(32, bias=False, **dtypes)(table(tokens)), jnp.float64)


def test_a_rate_that_follows_the_loss_falls_at_the_same_steps_on_every_mesh(float64):
    task = LanguageModel(Small())
    plateau = spec('schedules.plateau', window=2, patience=1)

    def losses(mesh, micro_batches=1, schedule=plateau):
        return train(task, parameters(task), mesh, micro_batches, learning_rate=4.0, schedule=schedule, count=11)[0]

    wanted = losses({'data': 1})
    assert np.abs(wanted - losses({'data': 1}, schedule=CONSTANT)).max() > 1e-3, 'the rate falls'
    for mesh, micro_batches in (('data 8', 1), ('fsdp 8', 2), ('data 2, fsdp 2, tensor 2', 1)):
        np.testing.assert_allclose(losses(MESHES[mesh], micro_batches), wanted, rtol=1e-11, atol=1e-11)


@dataclass(frozen=True)
class SumsByHand(LanguageModel):
    """A language model whose loss each device adds up over its own rows, and then over the mesh axes given here."""

    total_over: tuple[str, ...] = ('data', 'fsdp')
    count_over: tuple[str, ...] = ('data', 'fsdp')

    def loss(self, params, extra, batch, key):
        logits = self.predict(params, extra, batch)['logits']
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch['targets']) * batch['mask']

        def on_each(nats, mask):
            return jax.lax.psum(nats.sum(), self.total_over), jax.lax.psum(mask.sum(), self.count_over)

        by_hand = jax.shard_map(on_each, in_specs=ROWS_SPLIT, out_specs=PartitionSpec(), check_vma=False)
        return {'loss': Term(*by_hand(nats, batch['mask']))}, extra


class ProductByHand(Linear):
    """A matrix product of which each device of a tensor mesh has some rows, added up over mesh axis `summed_over`."""

    summed_over = 'tensor'

    @nn.compact
    def __call__(self, x):
        kernel = parameter(self, 'kernel', self.kernel_init, self.axes, (x.shape[-1], self.features), self.param_dtype)
        return jax.shard_map(
            lambda x, kernel: jax.lax.psum(x @ kernel, self.summed_over),
            in_specs=(PartitionSpec(*ROWS_SPLIT, None, 'tensor'), PartitionSpec('tensor', None)),
            out_specs=ROWS_SPLIT,
            check_vma=False,
        )(x, kernel)


def check_or_catch(task, right):
    like = LanguageModel(Small())
    if right:
        check(task, MESHES['data 2, fsdp 2, tensor 2'], like=like)
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check(task, MESHES['data 2, fsdp 2, tensor 2'], like=like)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(),  # and this one is right
        dict(total_over=()),
        dict(count_over=()),
        dict(total_over=(), count_over=()),  # every device's own mean
        dict(total_over=('data',)),
        dict(total_over=('fsdp', 'tensor')),
    ],
)
def test_a_loss_that_misses_a_sum_is_caught(wrong, float64):
    check_or_catch(SumsByHand(Small(), **wrong), right=not wrong)


@pytest.mark.parametrize(('summed_over', 'right'), [('tensor', True), ((), False), ('data', False)])
def test_a_layer_that_misses_a_sum_is_caught(summed_over, right, float64, monkeypatch):
    def linear(features, axes, *others, **keywords):
        return (ProductByHand if axes == ('mlp', 'embed') else Linear)(features, axes, *others, **keywords)

    on_one_device(LanguageModel(Small()))  # with the layer as it is, and kept
    monkeypatch.setattr(ProductByHand, 'summed_over', summed_over)
    monkeypatch.setattr(jaxlab.nn.mlp, 'Linear', linear)
    check_or_catch(LanguageModel(Small()), right)


def test_a_table_split_along_both_axes_is_noticed(float64, compiled_anew, capfd, monkeypatch):
    monkeypatch.setitem(layout.TABLE, 'vocab', layout.Row('tensor', 'tensor', 'tensor'))
    monkeypatch.setitem(layout.TABLE, 'table', layout.Row(None, 'fsdp', 'fsdp'))
    task = LanguageModel(Small())
    train(task, parameters(task), MESHES['data 2, fsdp 2, tensor 2'])
    with pytest.raises(AssertionError):
        assert_nothing_gathered_needlessly(capfd)
