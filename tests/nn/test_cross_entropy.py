"""The fused cross-entropy against optax on whole logits; its gradients, its chunks, and what devices exchange."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab.nn import cross_entropy as room
from jaxlab.nn.cross_entropy import chunk_length, cross_entropy, of_logits
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

B, T, D, V = 8, 12, 6, 16
MESHES = [{'data': 8}, {'fsdp': 8}, {'tensor': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}]
MESHES += [{'context': 2, 'data': 4}, {'context': 2, 'fsdp': 2, 'tensor': 2}]


def arguments(dtype=np.float64):
    random = np.random.default_rng(0)
    x, table = random.normal(size=(B, T, D)).astype(dtype), 3 * random.normal(size=(V, D)).astype(dtype)
    targets = random.integers(0, V - 5, (B, T))
    return x, table, targets, random.integers(0, 3, (B, T)).astype(dtype)


def whole(x, table, targets, mask, vocabulary=V, label_smoothing=0.0):
    """As one would write it, from all logits of the real tokens."""
    logits = jnp.einsum('btd,vd->btv', x, table)[..., :vocabulary]
    chances = optax.smooth_labels(jax.nn.one_hot(targets, vocabulary, dtype=x.dtype), label_smoothing)
    return jnp.sum(optax.softmax_cross_entropy(logits, chances) * mask)


def value_and_gradients(function, x, table, targets, mask, **options):
    def scaled(x, table, mask):
        return 0.75 * function(x, table, targets, mask, **options)

    return jax.value_and_grad(scaled, argnums=(0, 1, 2))(x, table, mask)


def assert_equal(found, wanted, tolerance=1e-12):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(np.abs(other).max(), 1))


OPTIONS = [{}, {'vocabulary': V - 5}, {'label_smoothing': 0.1}, {'vocabulary': V - 5, 'label_smoothing': 0.1}]


@pytest.mark.parametrize('chunk', [0, 1, 4, 5, 12])
@pytest.mark.parametrize('options', OPTIONS)
def test_value_and_gradients_are_those_of_whole_logits(chunk, options, float64):
    wanted = value_and_gradients(whole, *arguments(), **options)
    found = jax.jit(lambda *a: value_and_gradients(cross_entropy, *a, **options, chunk=chunk, dtype=jnp.float64))(
        *arguments()
    )
    assert_equal(found, wanted)
    assert_equal(cross_entropy(*arguments(), **options, chunk=chunk, dtype=jnp.float64), whole(*arguments(), **options))


@pytest.mark.parametrize('of_table', [jnp.bfloat16, jnp.float32])
def test_bfloat16_sums_in_float32(of_table):
    x, table, targets, mask = arguments(np.float32)
    x, table = jnp.asarray(x, jnp.bfloat16), jnp.asarray(table, jnp.bfloat16).astype(of_table)
    wanted = value_and_gradients(whole, x.astype(jnp.float32), table.astype(jnp.float32), targets, mask)
    value, found = value_and_gradients(cross_entropy, x, table, targets, mask, chunk=5)
    assert value.dtype == jnp.float32 and found[0].dtype == jnp.bfloat16 and found[1].dtype == of_table
    np.testing.assert_allclose(value, wanted[0], rtol=1e-6)
    for one, other in zip(found, wanted[1], strict=True):
        np.testing.assert_allclose(one.astype(jnp.float32), other, rtol=0, atol=2e-2 * np.abs(other).max())
    by_table = jax.grad(lambda table: cross_entropy(x, table, targets, mask, chunk=5))(table)
    rounded = by_table.astype(jnp.bfloat16).astype(of_table) == by_table
    assert rounded.all() == (of_table == jnp.bfloat16)  # a sum of chunks in float32 is not rounded on the way


def test_bfloat16_gradients_are_not_scaled_by_a_bfloat16():
    x, table, targets, mask = arguments(np.float32)

    def by_x(factor):
        def loss(x):
            return factor * cross_entropy(x, table, targets, mask, chunk=5)

        return np.asarray(jax.grad(loss)(jnp.asarray(x, jnp.bfloat16)), np.float32)

    one, third = by_x(1.0), by_x(1 / 3)  # as a bfloat16, 1/3 is 0.13 % too large
    np.testing.assert_allclose((one * third).sum() / (one * one).sum(), 1 / 3, rtol=4e-4)


@pytest.mark.parametrize('target', [-1, V - 5, V])
def test_a_target_that_is_no_token_is_noticed_where_it_counts(target, float64):
    x, table, targets, mask = arguments()
    targets[2, 3], mask[2, 3] = target, 0
    options = dict(vocabulary=V - 5, dtype=jnp.float64, chunk=5)
    value, gradients = value_and_gradients(cross_entropy, x, table, targets, mask, **options)
    targets[2, 3] = 0
    assert_equal((value, gradients[:2]), whole_and_two(x, table, targets, mask, vocabulary=V - 5))
    targets[2, 3], mask[2, 3] = target, 1
    assert np.isnan(cross_entropy(x, table, targets, mask, **options))
    assert np.isnan(of_logits((x @ table.T)[..., : V - 5], targets, mask))


def whole_and_two(*arguments, **options):
    value, gradients = value_and_gradients(whole, *arguments, **options)
    return value, gradients[:2]


def test_very_large_logits_stay_finite():
    x, table, targets, mask = arguments(np.float32)
    value, gradients = value_and_gradients(cross_entropy, 1e3 * x, 1e3 * table, targets, mask, vocabulary=V - 5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradients)))


def test_under_remat_and_scan(float64):
    """As a model inside of a larger one may have it."""
    x, table, targets, mask = arguments()

    def loss(function, x, table):
        step = jax.checkpoint(lambda x, _: (jnp.tanh(x), function(x, table, targets, mask)))
        return jax.lax.scan(step, x, None, length=3)[1].sum()

    ours = jax.grad(lambda *a: loss(lambda *a: cross_entropy(*a, dtype=jnp.float64, chunk=5), *a), argnums=(0, 1))
    assert_equal(ours(x, table), jax.grad(lambda *a: loss(whole, *a), argnums=(0, 1))(x, table), 1e-11)


def test_chunks_are_of_equal_length_and_hold_few_logits():
    assert chunk_length(16, 256, 1024, 64) == 256  # all at once
    for b, t, v, d in [(16, 1024, 50304, 768), (8, 100, 10**6, 16), (3, 1000, 5000, 8), (1, 7, 10**8, 1)]:
        c = chunk_length(b, t, v, d)
        assert 1 <= c <= t and (c == 1 or b * c <= max(4 * d, room.CHUNK // v))
        assert c == 1 or -(-t // c) * c - t < -(-t // c)  # no more than one token of padding for each chunk
    assert chunk_length(8, 96, 1 << 20, 100) == 48 and chunk_length(8, 97, 1 << 20, 100) == 49  # 96 = 2 · 48
    assert chunk_length(1, 8192, 128256, 4096) == room.TOKENS  # however wide the model is
    with jax.set_mesh(make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})):
        assert chunk_length(16, 1024, 50304, 768) == 512  # two chunks: each device has a quarter of the rows


@pytest.mark.parametrize('label_smoothing', [0.0, 0.1])
def test_of_logits_that_are_there_already(label_smoothing, float64):
    x, table, targets, mask = arguments()

    def ours(x, table, targets, mask):
        return of_logits(x @ table.T, targets, mask, label_smoothing)

    wanted = value_and_gradients(whole, x, table, targets, mask, label_smoothing=label_smoothing)
    assert_equal(value_and_gradients(ours, x, table, targets, mask), wanted)


# --- memory ----------------------------------------------------------------------------------------------------------


def temporary_bytes(function, b=4, t=512, d=8, v=8192, **options) -> int:
    shapes = [(b, t, d), (v, d), (b, t), (b, t)]
    types = [jnp.float32, jnp.float32, jnp.int32, jnp.float32]
    structs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]
    compiled = jax.jit(lambda *a: value_and_gradients(function, *a, **options)).lower(*structs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_logits_never_exist_as_a_whole():
    logits = 4 * 4 * 512 * 8192
    assert temporary_bytes(whole, vocabulary=8192) > logits
    assert temporary_bytes(cross_entropy) < logits
    assert temporary_bytes(cross_entropy, chunk=32) < logits / 4
    assert temporary_bytes(cross_entropy, chunk=512) > logits, 'the measure measures'


# --- meshes ----------------------------------------------------------------------------------------------------------


def on_mesh(shape, chunk, options=()):
    """Returns what one device says, what the mesh says, and the program of the mesh."""
    x, table, targets, mask = arguments()

    def both(x, table, targets, mask):
        return value_and_gradients(
            cross_entropy, x, table, targets, mask, chunk=chunk, dtype=jnp.float64, **dict(options)
        )

    wanted = jax.jit(both)(x, table, targets, mask)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        rows = layout.batch_sharding(mesh)
        by_table = NamedSharding(mesh, layout.spec(('vocab', 'table'), table.shape, dict(mesh.shape)))
        out = NamedSharding(mesh, PartitionSpec()), (rows, by_table, rows)
        program = jax.jit(both, in_shardings=(rows, by_table, rows, rows), out_shardings=out)
        compiled = program.lower(x, table, targets, mask).compile()
        found = compiled(*jax.device_put((x, table, targets, mask), (rows, by_table, rows, rows)))
    return wanted, found, compiled.as_text()


@pytest.mark.parametrize('options', OPTIONS[::3], ids=str)
@pytest.mark.parametrize('chunk', [12, 4])
@pytest.mark.parametrize('shape', MESHES, ids=str)
def test_a_mesh_changes_no_number(shape, chunk, options, float64):
    wanted, found, _ = on_mesh(shape, chunk, tuple(options.items()))
    assert_equal(jax.device_get(found), jax.device_get(wanted), 1e-11)


def test_inside_a_shard_map_each_device_has_its_own_rows(float64):
    """Where axes are manual already, and the rows of this device are all that there is."""
    x, table, targets, mask = arguments()
    rows, everywhere = PartitionSpec(('data', 'fsdp')), PartitionSpec()

    def on_each(x, table, targets, mask):
        value, (by_x, by_table, _) = value_and_gradients(
            cross_entropy, x, table, targets, mask, chunk=3, dtype=jnp.float64
        )
        return jax.lax.psum((value, by_table), ('data', 'fsdp')), by_x

    with jax.set_mesh(make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})):
        split = jax.shard_map(
            on_each,
            in_specs=(rows, everywhere, rows, rows),
            out_specs=((everywhere, everywhere), rows),
            axis_names={'data', 'fsdp'},
            check_vma=False,
        )
        (value, by_table), by_x = jax.jit(split)(x, table, targets, mask)
    wanted, (wanted_by_x, wanted_by_table, _) = value_and_gradients(whole, x, table, targets, mask)
    assert_equal(jax.device_get((value, by_x, by_table)), (wanted, wanted_by_x, wanted_by_table), 1e-11)


def collectives(program: str) -> dict[str, list[str]]:
    """Returns the shapes that devices exchange, in each computation of a compiled program."""
    found: dict[str, list[str]] = {}
    name = ''
    for line in program.splitlines():
        if line and not line.startswith((' ', '}')):
            name = 'ENTRY' if line.startswith('ENTRY') else line.split()[0]
        for shapes in re.findall(
            r'= (.*?) (?:all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)', line
        ):
            found.setdefault(name, []).extend(re.findall(r'f64\[([\d,]*)\]', shapes))
    return found


def sent(shape) -> tuple[int, int]:
    """Returns how many numbers the largest message has: in a turn of the loop, and outside of it."""
    *_, program = on_mesh(shape, 4)
    assert ' while(' in program
    sizes = {'ENTRY': 0, 'loop': 0}
    for name, shapes in collectives(program).items():
        where = 'ENTRY' if name == 'ENTRY' else 'loop'
        sizes[where] = max(
            [sizes[where], *(np.prod([int(n) for n in one.split(',') if n], dtype=int) for one in shapes)]
        )
    return sizes['loop'], sizes['ENTRY']


@pytest.mark.parametrize('shape', MESHES, ids=str)
def test_no_turn_of_the_loop_sends_the_table_or_logits(shape, float64):
    in_loop, after = sent(shape)
    parts = shape.get('data', 1) * shape.get('fsdp', 1)
    assert in_loop <= B * 4 // parts * (D if 'tensor' in shape else 1)  # features, or numbers of tokens
    if parts > 1:
        assert after >= V * D // shape.get('tensor', 1) // shape.get('fsdp', 1), 'the gradient, once'


def test_a_gradient_that_is_summed_in_the_loop_is_noticed(float64, monkeypatch):
    monkeypatch.setattr(room, 'splits', lambda *_: 1)
    monkeypatch.setattr(room, 'constrain', lambda x, *names, **_: x)
    assert sent({'data': 8})[0] >= V * D
