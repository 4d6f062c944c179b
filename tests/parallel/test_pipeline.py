"""A pipeline gives the numbers of a loop over all layers, forwards and backwards, in 64 bits, to 1e-11."""

# b rows, t time, d width, l layers; m micro-batches, s stages

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab.config import build, spec
from jaxlab.parallel import layout, pipeline
from jaxlab.parallel.mesh import make_mesh

ROWS, TIME, WIDTH, LAYERS = 16, 4, 6, 4


def layer(x, weights, places, mask):
    """Something of every row's own, and of the order of layers."""
    seen = jnp.einsum('bts,bsd->btd', mask * places[:, None], x)
    return x + jnp.tanh(seen @ weights['kernel'] + weights['bias']), {'seen': seen[..., 0], 'row': x.sum((1, 2))}


def inputs(rows=ROWS, layers=LAYERS):
    draw = np.random.default_rng(0)
    weights = {
        'kernel': draw.normal(size=(layers, WIDTH, WIDTH)) / 2,
        'bias': draw.normal(size=(layers, WIDTH)),
    }
    mask = draw.random((rows, TIME, TIME)) < 0.7
    return weights, draw.normal(size=(rows, TIME, WIDTH)), 1.0 + np.arange(TIME)[None], mask


def in_a_loop(weights, x, *others, layer=layer):
    return jax.lax.scan(lambda x, one: layer(x, one, *others), x, weights)


def results(function, weights, x, *others, backwards=True):
    """The output [b t d] and what was told, and the gradients of some sum over all of it by weights and x."""
    if not backwards:
        return jax.device_get(jax.jit(function)(weights, x, *others))

    def loss(weights, x):
        y = function(weights, x, *others)
        shares = np.random.default_rng(1)
        return sum((leaf * shares.normal(size=leaf.shape)).sum() for leaf in jax.tree.leaves(y)), y

    (_, y), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(weights, x)
    return jax.device_get((y, gradients))


def in_stages(mesh, micro_batches=0, given=None, backwards=True):
    with jax.set_mesh(make_mesh(mesh)):
        function = partial(pipeline.pipelined, layer, micro_batches=micro_batches)
        return results(function, *(given or inputs()), backwards=backwards)


def assert_same(found, wanted):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ('mesh', 'micro_batches'),
    [
        (dict(stage=2), 0),
        (dict(stage=2), 2),
        (dict(stage=4), 8),
        (dict(data=2, stage=2, expert=2), 4),
        (dict(fsdp=2, stage=4), 4),
    ],
)
def test_it_is_the_loop(mesh, micro_batches, float64):
    assert_same(in_stages(mesh, micro_batches), results(in_a_loop, *inputs()))


def test_a_rerun_is_the_same_bit_for_bit(float64):
    once, again = (in_stages(dict(data=2, stage=4)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, once, again)


def test_it_computes_in_bfloat16():
    given = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), inputs())
    (y, _), _ = in_stages(dict(data=2, stage=2), given=given)
    (wanted, _), _ = results(in_a_loop, *given)
    np.testing.assert_allclose(y.astype(float), wanted.astype(float), atol=0.1)


# --- the schedule ----------------------------------------------------------------------------------------------------


def loops(jaxpr):
    """Yields how often each loop of a program turns, the outer ones first."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == 'scan':
            yield equation.params['length']
        for value in equation.params.values():
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from loops(inner)


@pytest.mark.parametrize(('stages', 'micro_batches'), [(2, 4), (4, 4), (4, 16)])
def test_there_are_as_many_ticks_as_micro_batches_and_one_less_than_stages(stages, micro_batches, float64):
    with jax.set_mesh(make_mesh(dict(stage=stages))):
        program = jax.make_jaxpr(partial(pipeline.pipelined, layer, micro_batches=micro_batches))(*inputs())
    assert list(loops(program.jaxpr)) == [micro_batches + stages - 1, LAYERS // stages]


def test_cut_and_joined_keep_every_row_on_its_device():
    mesh = make_mesh(dict(data=2, stage=2, expert=2))
    with jax.set_mesh(mesh):
        x = jax.device_put(np.arange(32), layout.batch_sharding(mesh))
        rows = PartitionSpec('stage', ('expert', 'data'))
        parts = jax.jit(partial(pipeline.cut, m=4), out_shardings=NamedSharding(mesh, rows))(x)
        np.testing.assert_array_equal(jax.jit(pipeline.joined)(parts), x)
        program = jax.jit(partial(pipeline.cut, m=4), out_shardings=NamedSharding(mesh, rows)).lower(x)
    assert parts.shape == (4, 8)
    for before, after in zip(x.addressable_shards, parts.addressable_shards, strict=True):
        assert before.device == after.device
        assert set(np.asarray(before.data)) == set(np.asarray(after.data).ravel())
    assert not re.search('all-gather|all-to-all|collective-permute', program.compile().as_text())


def nothing_moves(y, s):
    return y


def wrong_way(y, s):
    return jax.lax.ppermute(y, 'stage', [(k + 1, k) for k in range(s - 1)])


@pytest.mark.parametrize(
    ('name', 'wrong'),
    [
        ('hop', nothing_moves),
        ('hop', wrong_way),
        ('hop', lambda y, s: jnp.zeros_like(y)),
        ('ticks', lambda m, s: m + s),  # one too many: what is finished is taken one too late
        ('at', lambda tick, stage, m: jnp.clip(tick, 0, m - 1)),  # all stages at the same
        ('at', lambda tick, stage, m: jnp.clip(tick - stage + 1, 0, m - 1)),
        ('at', lambda tick, stage, m: jnp.where(stage > 0, m - 1 - jnp.clip(tick - stage, 0, m - 1), tick % m)),
        ('finished', lambda y, s: y[: 1 - s]),  # the bubble counts
        ('finished', lambda y, s: y[s - 1 :][::-1]),  # in another order
        ('of_its_ticks', lambda told, stage, m: told[:m]),  # of the later stages, some of the bubble
        ('of_layers', lambda told: jnp.moveaxis(told, 1, 0).reshape(LAYERS, ROWS, *told.shape[3:])),  # as they come
        ('scattered', lambda y, s: jax.lax.all_to_all(y.reshape(s, -1, *y.shape[1:]), 'stage', 0, 0)[0]),
        ('gathered', lambda x, s: jnp.tile(x, (s, 1, 1, 1)[: x.ndim])),  # every stage its own
    ],
)
def test_a_wrong_schedule_is_caught(name, wrong, float64, monkeypatch):
    if name == 'ticks':
        monkeypatch.setattr(pipeline, 'finished', lambda y, s: y[s:])
    monkeypatch.setattr(pipeline, name, wrong)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        assert_same(in_stages(dict(stage=2), 4, backwards=False), results(in_a_loop, *inputs(), backwards=False))


def test_time_may_be_split_in_the_same_region(float64):
    def with_totals(x, weights, places, mask, everywhere=lambda x: x):
        total = everywhere((x * places[..., None]).sum(1, keepdims=True))  # over the whole row
        return x + jnp.tanh((x + total * mask.mean((1, 2), keepdims=True)) @ weights['kernel'] + weights['bias']), ()

    weights, x, places, mask = inputs()
    mask = np.ones_like(mask) * np.linspace(0.5, 1, ROWS)[:, None, None]
    summed = partial(with_totals, everywhere=partial(jax.lax.psum, axis_name='context'))
    with jax.set_mesh(make_mesh(dict(stage=2, context=2, data=2))):
        found = results(partial(pipeline.pipelined, summed), weights, x, places, mask)
    assert_same(found, results(partial(in_a_loop, layer=with_totals), weights, x, places, mask))


@pytest.mark.parametrize('mesh', [dict(stage=4), dict(data=2, stage=2, expert=2)])
def test_what_is_exchanged_is_what_all_devices_give_to_all(mesh, float64):
    mesh, x = make_mesh(mesh), np.random.default_rng(0).normal(size=(16, 3, 5))
    rows = PartitionSpec('stage')

    def of(function):
        def loss(x):
            y = jax.shard_map(function, in_specs=rows, out_specs=rows, axis_names={'stage'}, check_vma=False)(x)
            return (y * np.arange(5.0) * np.arange(16.0)[:, None, None]).sum(), y

        with jax.set_mesh(mesh):
            return jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(x))

    def apart(x):
        return x.reshape(mesh.shape['stage'], -1, *x.shape[1:])

    found = of(lambda x: pipeline.exchanged(apart(x), 'stage').reshape(x.shape))
    assert_same(found, of(lambda x: jax.lax.all_to_all(apart(x), 'stage', 0, 0).reshape(x.shape)))


# --- the program -----------------------------------------------------------------------------------------------------


def program_of(function):
    """What XLA makes of losses and gradients of weights that stages share out, on rows that all devices do."""
    mesh = make_mesh(dict(data=2, stage=4))
    with jax.set_mesh(mesh):
        weights, x, places, mask = inputs(layers=8)
        weights = jax.device_put(weights, NamedSharding(mesh, PartitionSpec('stage')))
        x, mask = jax.device_put((x, mask), layout.batch_sharding(mesh))
        step = jax.jit(jax.grad(lambda weights, x, mask: (function(weights, x, places, mask)[0] ** 2).sum()))
        return step.lower(weights, x, mask).compile().as_text()


def test_only_activations_move_between_stages(float64):
    whole = f'f64[8,{WIDTH},{WIDTH}]'
    program = program_of(partial(pipeline.pipelined, layer))
    # The devices of a mesh of data 2 and stage 4: from 0 to 1, 1 to 2, …
    assert re.search(r'collective-permute\(.*source_target_pairs=\{\{0,1\},\{1,2\},\{2,3\},\{4,5\}', program)
    assert whole not in program, 'no device has the kernels of all layers'
    assert whole in program_of(in_a_loop), 'and of a loop over them it would'
    assert 'all-gather' not in program, 'and rows stay split over the other mesh axes'


def test_all_to_all_would_gather_rows(float64, monkeypatch):
    monkeypatch.setattr(pipeline, 'exchanged', lambda parts, axis: jax.lax.all_to_all(parts, axis, 0, 0))
    assert 'all-gather' in program_of(partial(pipeline.pipelined, layer))


# --- optimizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['muon', 'lamb', 'adafactor'])
def test_optimizers_that_go_by_matrices_see_those_of_each_layer(name, float64):
    names = {'layers': {'kernel': ('layers', 'embed', 'mlp'), 'bias': ('layers', 'mlp')}, 'scale': ('norm',)}
    draw = np.random.default_rng(0)
    shapes = {'layers': {'kernel': (4, 6, 8), 'bias': (4, 8)}, 'scale': (6,)}
    params, gradients = (
        jax.tree.map(lambda shape: draw.normal(size=shape), shapes, is_leaf=lambda x: isinstance(x, tuple))
        for _ in range(2)
    )
    own = {'factor_from': 4} if name == 'adafactor' else {}
    node = spec(f'optim.{name}', learning_rate=0.1, weight_decay=0.1, clip=1.0, **own)
    optimizer = build(node, names, 10, key='optimizer')

    def step(params, state):
        return optimizer.update(gradients, state, params, 1.0, optimizer.norm(gradients))

    wanted = jax.jit(step)(params, optimizer.init(params))
    mesh = make_mesh(dict(stage=2, fsdp=2))
    with jax.set_mesh(mesh):
        state = optimizer.init(params)
        where = layout.shardings(params, names, mesh)
        where_state = layout.shardings(state, layout.follow(state, params, names), mesh, 'optimizer')
        assert where['layers']['kernel'].spec == PartitionSpec('stage', 'fsdp', None)
        found = jax.jit(step, out_shardings=(where, where_state))(
            jax.device_put(params, where), jax.device_put(state, where_state)
        )
    assert_same(jax.device_get(found), jax.device_get(wanted))
