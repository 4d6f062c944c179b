"""Names become mesh axes, loudly where JAX would be silent. Eight simulated devices (tests/conftest.py)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab import config, optim, step
from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.parallel import layout
from jaxlab.parallel.inventory import describe
from jaxlab.parallel.mesh import AXES, make_mesh
from jaxlab.tasks import language_model

SIZES = dict.fromkeys(AXES, 1) | {'fsdp': 4, 'tensor': 2}


# --- names -> PartitionSpec ------------------------------------------------------------------------------------------


def test_spec_reads_the_table():
    assert layout.spec(('embed', 'mlp'), (8, 4), SIZES) == PartitionSpec('fsdp', 'tensor')
    assert layout.spec(('vocab', 'table'), (8, 4), SIZES) == PartitionSpec(('tensor', 'fsdp'), None)
    assert layout.spec(('layers', 'norm'), (3, 5), SIZES) == PartitionSpec(None, None)
    activation = layout.spec(('batch', 'length', None, 'embed'), (4, 3, 3, 3), SIZES, 'activation')
    assert activation == PartitionSpec('fsdp', None, None, None)
    more = SIZES | {'data': 2, 'zero1': 2}
    assert layout.spec(('batch',), (16,), more, 'activation') == PartitionSpec(('data', 'zero1', 'fsdp'))
    assert layout.spec(('vocab',), (16,), more, 'optimizer') == PartitionSpec(('tensor', 'fsdp', 'zero1'))


def test_rows_are_split_along_their_length_as_far_as_it_divides():
    def split(name, length, **sizes):
        return layout.spec((name,), (length,), dict.fromkeys(AXES, 1) | sizes, 'activation')[0]

    assert split('length', 8, context=4, tensor=2) == 'context'
    assert split('residual_length', 8, context=4, tensor=2) == ('context', 'tensor')
    assert split('residual_length', 12, context=4, tensor=2) == 'context'
    assert split('residual_length', 8, tensor=8) == 'tensor'
    assert split('residual_length', 17, tensor=8) is None  # patches, and a token before them
    assert split('length', 1, context=4) is None  # one token that is written after others
    assert split('residual_length', 2, context=4, tensor=2) is None


def test_spec_refuses_an_unknown_name():
    with pytest.raises(UserError, match=r'layer_0/kernel: axis name "embd" .* Did you mean "embed"'):
        layout.spec(('embd', 'mlp'), (8, 4), SIZES, of='layer_0/kernel')


def test_spec_refuses_two_names_on_one_mesh_axis():
    with pytest.raises(UserError, match='kernel: axis names "heads" and "mlp" are both split over mesh axis "tensor"'):
        layout.spec(('heads', 'mlp'), (8, 4), SIZES, of='kernel')
    with pytest.raises(UserError, match='"vocab" and "embed" are both split over mesh axis "fsdp"'):
        layout.spec(('vocab', 'embed'), (8, 8), SIZES)


def test_spec_refuses_a_size_that_does_not_divide():
    with pytest.raises(UserError, match='kernel: axis "embed" of size 6 cannot be split over mesh axis fsdp of size 4'):
        layout.spec(('embed', 'mlp'), (6, 4), SIZES, of='kernel')
    with pytest.raises(UserError, match='"vocab" of size 12 cannot be split over mesh axis tensor × fsdp of size 8'):
        layout.spec(('vocab', 'table'), (12, 4), SIZES)


def test_every_name_of_the_table_maps_to_axes_that_exist():
    for row in layout.TABLE.values():
        for axes in row:
            assert set([axes] if isinstance(axes, str) else axes or ()) <= set(AXES)


# --- constrain -------------------------------------------------------------------------------------------------------


def test_constrain_without_a_mesh_does_nothing():
    x = jnp.ones((4, 4))
    assert layout.constrain(x, 'batch', 'embed') is x
    assert layout.constrain(x, 'any', 'name') is x


def test_constrain_pins_an_activation():
    mesh = make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
    with jax.set_mesh(mesh):
        y = jax.jit(lambda x: layout.constrain(x, 'batch', 'length', 'mlp'))(np.ones((4, 3, 6)))
    assert y.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), None, 'tensor')), 3)


def test_constrain_names_what_does_not_fit():
    with jax.set_mesh(make_mesh({'tensor': 8})):
        with pytest.raises(UserError, match='"heads" of size 4 cannot be split over mesh axis tensor of size 8'):
            jax.eval_shape(lambda x: layout.constrain(x, 'batch', 'heads'), np.ones((8, 4)))


@pytest.mark.parametrize('manual', [{'data'}, {'data', 'fsdp'}, {'tensor'}, set(AXES)])
def test_constrain_leaves_manual_axes_alone(manual):
    mesh = make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
    rows = PartitionSpec(tuple(axis for axis in ('data', 'fsdp') if axis in manual) or None)

    def double(x):
        return 2 * layout.constrain(x, 'batch', 'mlp')

    x = np.arange(24.0).reshape(4, 6)
    with jax.set_mesh(mesh):
        y = jax.jit(jax.shard_map(double, in_specs=rows, out_specs=rows, axis_names=manual))(x)
    np.testing.assert_array_equal(y, 2 * x)


# --- trees -----------------------------------------------------------------------------------------------------------


class Unnamed(nn.Module):
    """What somebody might write who has never heard of axis names."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16, name='first')(x)
        return nn.Dense(6, name='second')(x)


def test_parameters_without_names_are_split_along_their_largest_dimension():
    params = jax.eval_shape(Unnamed().init, jax.random.key(0), np.ones((1, 8)))['params']
    mesh = make_mesh({'fsdp': 8})
    found = layout.shardings(layout.unbox(params), layout.names(params), mesh)
    specs = jax.tree.map(lambda sharding: sharding.spec, found)
    assert specs['first']['kernel'] == PartitionSpec(None, 'fsdp')  # [8 16]
    assert specs['second']['kernel'] == PartitionSpec('fsdp', None)  # [16 6]: 8 divides 16 and not 6
    assert specs['first']['bias'] == PartitionSpec(None)  # vectors are small
    assert layout.shardings(np.zeros((6, 10)), (), mesh).spec == PartitionSpec(None, None)  # nothing divides


def abstract_state(optimizer, scan=False, average=0.9):
    """Returns the shapes of a small GPT's TrainState, and the names of its parameters."""
    model = gpt.make({'vocabulary': 24, 'length': 8}, layers=2, width=16, heads=8, scan=scan)
    task = language_model.make(model)
    row = jax.ShapeDtypeStruct((8, 8), jnp.int32)
    batch = dict.fromkeys(('tokens', 'targets', 'positions', 'segments', 'mask'), row)
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), batch)[0])
    made = config.build(config.spec(f'optim.{optimizer}'), names, 10, key='optimizer')
    return jax.eval_shape(partial(step.init, task, [made], average, batch), jax.random.key(0)), names


@pytest.mark.parametrize('scan', [False, True])
# Those that are left out keep no such copies.
@pytest.mark.parametrize('optimizer', sorted(set(optim.__all__) - {'gradient_descent', 'sgd', 'adafactor'}))
def test_optimizer_state_and_average_lie_where_their_parameters_lie(optimizer, scan):
    abstract, names = abstract_state(optimizer, scan)
    found = layout.state_shardings(abstract, names, make_mesh({'fsdp': 4, 'tensor': 2}))
    assert jax.tree.structure(found) == jax.tree.structure(abstract)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.spec == b.spec, found.average, found.params))

    params = {str(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(found.params)}
    copies = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(found.opt_state):
        for start in range(len(path)):
            if str(path[start:]) in params:
                copies.add(str(path[start:]))
                assert leaf.spec == params[str(path[start:])].spec, path
                break
        else:
            assert leaf.is_fully_replicated, path  # a count
    assert copies == set(params)  # each has its momentum


def test_the_names_of_a_scanned_stack_begin_with_layers():
    names = abstract_state('momentum', scan=True)[1]['stack']['layers']
    assert names['attention']['query'] == {'kernel': ('layers', 'embed', 'heads'), 'bias': ('layers', 'heads')}
    assert names['attention']['key']['kernel'] == ('layers', 'embed', 'kv_heads')
    assert names['mlp']['down'] == {'kernel': ('layers', 'mlp', 'embed'), 'bias': ('layers', 'norm')}
    assert names['mlp_norm']['scale'] == ('layers', 'norm')


def test_every_parameter_is_stored_in_parts():
    """FSDP: what is large is on no device whole."""
    abstract, names = abstract_state('adamw')
    mesh = make_mesh({'fsdp': 8})
    found = layout.state_shardings(abstract, names, mesh)
    for row in describe(abstract.params, names, found.params):
        one_of_eight = row['bytes_per_device'] * 8 == row['count'] * 4
        assert one_of_eight or len(row['shape']) == 1 or 'positions' in row['names'], row


WHERE = {  # how the parameters of a GPT lie on a mesh; what is not here is whole on every device
    'token_embedding/table': (('tensor', 'fsdp'), None),
    'stack/layer_*/attention/query/kernel': ('fsdp', 'tensor'),
    'stack/layer_*/attention/query/bias': ('tensor',),
    'stack/layer_*/attention/key/kernel': ('fsdp', 'tensor'),
    'stack/layer_*/attention/key/bias': ('tensor',),
    'stack/layer_*/attention/value/kernel': ('fsdp', 'tensor'),
    'stack/layer_*/attention/value/bias': ('tensor',),
    'stack/layer_*/attention/out/kernel': ('tensor', 'fsdp'),
    'stack/layer_*/mlp/up/kernel': ('fsdp', 'tensor'),
    'stack/layer_*/mlp/up/bias': ('tensor',),
    'stack/layer_*/mlp/down/kernel': ('tensor', 'fsdp'),
}


def where_parameters_lie():
    abstract, names = abstract_state('momentum')
    found = layout.state_shardings(abstract, names, make_mesh({'fsdp': 4, 'tensor': 2}))
    return {row['name']: row['split'] for row in describe(abstract.params, names, found.params) if row['split']}


def test_where_parameters_lie():
    assert where_parameters_lie() == {name: str(PartitionSpec(*axes)) for name, axes in WHERE.items()}


@pytest.mark.parametrize(('one', 'other'), [('embed', 'mlp'), ('embed', 'heads'), ('vocab', 'table'), ('norm', 'mlp')])
def test_swapped_rows_of_the_table_are_noticed(one, other, monkeypatch):
    rows = dict(layout.TABLE)
    monkeypatch.setitem(layout.TABLE, one, rows[other])
    monkeypatch.setitem(layout.TABLE, other, rows[one])
    with pytest.raises((AssertionError, UserError)):
        test_where_parameters_lie()


def test_describe_folds_equal_layers():
    abstract, names = abstract_state('momentum')
    found = layout.state_shardings(abstract, names, make_mesh({'tensor': 8}))
    rows = {row['name']: row for row in describe(abstract.params, names, found.params)}
    assert sum(row['count'] for row in rows.values()) == sum(leaf.size for leaf in jax.tree.leaves(abstract.params))
    up = rows['stack/layer_*/mlp/up/kernel']
    assert (up['times'], up['count'], up['shape'], up['names']) == (2, 2 * 16 * 64, (16, 64), ('embed', 'mlp'))
    assert up['bytes_per_device'] == 2 * 16 * 64 * 4 // 8 and 'tensor' in up['split']


@pytest.mark.parametrize('axis', ['expert', 'context'])
def test_a_mesh_axis_that_nothing_uses_is_refused(axis):
    abstract, names = abstract_state('momentum')
    if axis == 'context':  # is used by whatever attends
        layout.state_shardings(abstract, names, make_mesh({axis: 8}))
        names = jax.tree.map(lambda _: (), names, is_leaf=lambda leaf: isinstance(leaf, tuple))
    with pytest.raises(UserError, match=f'config.mesh.{axis}=8: nothing .* config.mesh.data=8'):
        layout.state_shardings(abstract, names, make_mesh({axis: 8}))


def test_a_parameter_that_does_not_fit_is_named():
    abstract, names = abstract_state('momentum')
    narrow = jax.tree.map(lambda x: jax.ShapeDtypeStruct([size - size % 3 for size in x.shape], x.dtype), abstract)
    with pytest.raises(UserError, match='stack/layer_0/attention/key/bias: axis "kv_heads" of size 15'):
        layout.state_shardings(narrow, names, make_mesh({'tensor': 8}))


def test_follow_takes_the_longest_path_and_the_same_shape():
    params = {'kernel': np.zeros((2, 3)), 'inner': {'kernel': np.zeros((4, 5))}}
    names = {'kernel': ('outer', 'one'), 'inner': {'kernel': ('inner', 'one')}}
    state = optax.TraceState({'kernel': np.zeros((2, 3)), 'inner': {'kernel': np.zeros((4, 5))}})
    assert layout.follow(state, params, names).trace == names
    factored = optax.TraceState({'kernel': np.zeros(2), 'inner': {'kernel': np.zeros(())}})
    assert layout.follow(factored, params, names).trace == {'kernel': (), 'inner': {'kernel': ()}}


# --- batches ---------------------------------------------------------------------------------------------------------


def test_process_rows():
    mesh = make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
    assert layout.process_rows(8, 2, mesh) == slice(0, 8)  # one process brings all rows
    assert layout.batch_shards(mesh) == 4


@pytest.mark.parametrize(
    ('batch_size', 'accumulate', 'answer'),
    [
        (12, 1, 'batch_size=12 cannot be split over 8 devices .* 16'),
        (16, 4, '16 in 4 micro-batches .* 32'),
        (1, 1, '8'),
    ],
)
def test_process_rows_refuses(batch_size, accumulate, answer):
    with pytest.raises(UserError, match=answer):
        layout.process_rows(batch_size, accumulate, make_mesh({'data': 8}))


def test_place_puts_each_row_on_its_device():
    mesh = make_mesh({'data': 4, 'fsdp': 2})
    rows = np.arange(24).reshape(8, 3)
    placed = layout.place({'tokens': rows}, layout.batch_sharding(mesh))['tokens']
    np.testing.assert_array_equal(placed, rows)
    assert [shard.data.tolist() for shard in placed.addressable_shards] == [[row] for row in rows.tolist()]
    shapes = layout.global_shapes({'tokens': rows[:4]}, 8)
    assert (shapes['tokens'].shape, shapes['tokens'].dtype) == ((8, 3), rows.dtype)
