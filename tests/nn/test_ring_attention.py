"""Attention around a ring of devices is attention: values and gradients in 64 bits to 1e-11, whatever rows hold."""

# b batch, t time, n query heads, m key/value heads, k head width, c devices of the ring

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.nn import ring_attention as ring
from jaxlab.nn.attention import attention, causal_mask, weights_of
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

B, N, M, T, K = 4, 4, 2, 24, 4
MESHES = {
    'context 4, data 2': dict(context=4, data=2),
    'context 3': dict(context=3),
    'context 2, fsdp 2, tensor 2': dict(context=2, fsdp=2, tensor=2),
}


def rows(kv_heads=M, dtype=np.float64):
    """q [b n t k], k and v [b m t k], segments [b t] (documents of all lengths, and padding), a factor [b n t k]: 0 of
    queries that may look at nobody."""
    draw = np.random.default_rng(0)
    q, k, v = (draw.normal(size=(B, heads, T, K)).astype(dtype) for heads in (N, kv_heads, kv_heads))
    segments = 1 + np.cumsum(draw.random((B, T)) < 0.15, axis=1)
    segments[np.arange(T) >= draw.integers(T // 2, T + 1, B)[:, None]] = 0
    factor = draw.normal(size=(B, N, T, K)) * (segments > 0)[:, None, :, None]
    return q, k, v, segments, factor.astype(dtype)


def plain(q, k, v, segments, causal):
    if causal:
        return attention(q, k, v, causal_mask(segments, segments), causal, 'blocks')
    mask = jnp.broadcast_to((segments > 0)[:, None], (B, T, T))
    return attention(q, k, v, mask, causal, 'blocks')


def around(q, k, v, segments, causal, attend=ring.ring_attention):
    """What a model does around its layers, and one layer."""
    if not causal:
        return attend(q, k, v, ring.sight(segments), causal)
    segments, places = ring.ring_order(segments, jnp.arange(T)[None])
    q, k, v = (x[:, :, places[0]] for x in (q, k, v))
    y = attend(q, k, v, ring.sight(segments, places), causal)
    return ring.row_order(y.swapaxes(1, 2).reshape(B, T, -1)).reshape(B, T, N, K).swapaxes(1, 2)


def value_and_gradients(function, q, k, v, segments, factor, causal):
    def total(q, k, v):
        y = function(q, k, v, segments, causal)
        return jnp.sum(y * factor, dtype=jnp.promote_types(y.dtype, jnp.float32)), y

    (_, y), by = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(q, k, v)
    return jax.device_get((jnp.where(factor != 0, y, 0), *by))


def check(mesh, causal, kv_heads=M, function=around):
    made = rows(kv_heads)
    wanted = value_and_gradients(plain, *made, causal)
    with jax.set_mesh(make_mesh(mesh)):
        found = value_and_gradients(function, *made, causal)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('mesh', MESHES)
def test_it_is_attention(mesh, causal, float64):
    check(MESHES[mesh], causal, N if mesh == 'context 3' else M)


@pytest.mark.parametrize('causal', [False, True])
def test_queries_taken_in_tiles_are_the_same(causal, float64, monkeypatch):
    monkeypatch.setattr(ring, 'LONGEST_TILE', 2)
    check(MESHES['context 4, data 2'], causal)


def test_tiles_are_equal_and_short():
    assert [ring.tiles(length) for length in (1, 512, 513, 1024, 1536, 8192)] == [1, 1, 3, 2, 3, 16]
    assert ring.tiles(521) == 1  # a prime, a little longer: whole


def test_halves_are_summed_in_float32():
    made = rows(dtype=np.float32)
    wanted = value_and_gradients(plain, *made, True)
    halves = [jnp.asarray(x, jnp.bfloat16) for x in made[:3]]
    with jax.set_mesh(make_mesh(MESHES['context 4, data 2'])):
        found = value_and_gradients(around, *halves, *made[3:], True)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == jnp.bfloat16 or one is found[0]
        np.testing.assert_allclose(one.astype(np.float32), other, rtol=0, atol=3e-2 * np.abs(other).max())


@pytest.mark.parametrize('causal', [False, True])
def test_a_region_that_is_open_already_is_used(causal, float64):
    """As a pipeline opens one, over its stages and the ring."""

    def attend(q, k, v, sight, causal):
        along, row = PartitionSpec(None, None, 'context'), PartitionSpec(None, 'context')
        return jax.shard_map(
            lambda q, k, v, sight: ring.ring_attention(q, k, v, sight, causal),
            in_specs=(along, along, along, row),
            out_specs=along,
            axis_names={'stage', 'context'},
            check_vma=False,
        )(q, k, v, sight)

    check(dict(stage=2, context=2, tensor=2), causal, function=partial(around, attend=attend))


# --- the order of the ring -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [1, 2, 3, 4, 8])
def test_row_order_undoes_ring_order(size):
    row = np.arange(3 * 48).reshape(3, 48)
    with jax.set_mesh(make_mesh({'context': size})):
        (ordered,) = jax.jit(ring.ring_order)(row)
        back = jax.jit(ring.row_order)(ordered[..., None])[..., 0]
    np.testing.assert_array_equal(back, row)
    own = [*range(24 // size), *range(48 - 24 // size, 48)]  # what the first device has
    assert ordered[0, : len(own)].tolist() == own


@pytest.mark.parametrize('size', [2, 3, 4, 8])
def test_every_pair_meets_once_and_all_devices_have_as_many(size):
    def part(device):
        places = jnp.array([device, 2 * size - 1 - device])  # one token a chunk
        return ring.Keys(*[places.reshape(2, 1, 1, 1, 1)] * 4), ring.Queries(*[places.reshape(2, 1, 1, 1, 1, 1)] * 3)

    met, counts = [], []
    for device in range(size):
        queries = part(device)[1]
        found = [
            (int(queries.places[i].item()), int(part(other)[0].places[j].item()))
            for other in range(size)
            for i, j in ring.pairs(queries, part(other)[0], own=other == device)
        ]
        met += found
        counts.append(len(found))
    assert sorted(met) == [(i, j) for i in range(2 * size) for j in range(i + 1)]
    assert counts == [2 * size + 1] * size


def test_no_device_has_a_whole_row():
    """Of anything but its numbers: neither on the way forward nor on the way back."""
    t = 16 * 37  # a length that nothing else has
    q, k = (np.zeros((1, heads, t, 2), np.float32) for heads in (2, 1))
    places = np.arange(t)[None]

    def longest(attend):
        text = jax.jit(jax.grad(attend, (0, 1, 2))).lower(q, k, k).compile().as_text()
        shapes = {tuple(map(int, dims.split(','))) for dims in re.findall(r'f32\[([\d,]+)\]', text)}
        return max(max(shape, default=0) for shape in shapes), text

    with jax.set_mesh(make_mesh({'context': 8})):
        sharding = jax.sharding.NamedSharding(jax.sharding.get_mesh(), PartitionSpec(None, None, 'context'))

        def summed(q, k, v):
            q, k, v = (jax.lax.with_sharding_constraint(x, sharding) for x in (q, k, v))
            return ring.ring_attention(q, k, v, ring.sight(places, places), True).sum()

        size, text = longest(summed)
        assert 'collective-permute' in text and 'all-gather' not in text
        assert size < t, size
    assert longest(lambda q, k, v: plain_sum(q, k, v, places))[0] == t


def plain_sum(q, k, v, places):
    return attention(q, k, v, causal_mask(places + 1, places + 1), True, 'blocks').sum()


# --- what is refused -------------------------------------------------------------------------------------------------


def model(length=8, **arguments):
    return gpt.make({'vocabulary': 16, 'length': length}, layers=1, width=16, heads=8, **arguments)


def test_a_length_that_the_ring_cannot_share_out_is_refused():
    with jax.set_mesh(make_mesh({'context': 4})):
        with pytest.raises(
            UserError, match=r'config.mesh.context=4: rows of 12 tokens .* "context".* 8 divides, such as 16'
        ):
            jax.eval_shape(model(12).init, jax.random.key(0), np.zeros((1, 12), np.int32))
        with pytest.raises(UserError, match=r'rows of 13 tokens .* 4 divides, such as 12'):
            ring.sight(np.ones((1, 13)))
    assert ring.sight(np.ones((1, 13))) is None


def test_where_heads_look_is_not_shown_around_a_ring():
    tokens = np.zeros((1, 8), np.int32)
    params = layout.unbox(model().init(jax.random.key(0), tokens))
    assert len(weights_of(model(), params, tokens)) == 1
    with jax.set_mesh(make_mesh({'context': 4})):
        with pytest.raises(UserError, match=r'config.mesh.context splits them'):
            weights_of(model(), params, tokens)
        with pytest.raises(UserError, match=r'attention=cudnn: rows that mesh axis "context" splits'):
            jax.eval_shape(model().clone(attention='cudnn').init, jax.random.key(0), tokens)


def test_rows_are_filled_up():
    x = np.ones((2, 17, 3))
    same, real = ring.filled_up(x)
    assert same is x and real.shape == (1, 17) and real.all()
    with jax.set_mesh(make_mesh({'context': 4})):
        longer, real = ring.filled_up(x)
    assert longer.shape == (2, 20, 3) and real[0].tolist() == [1] * 17 + [0] * 3


# --- mutants ---------------------------------------------------------------------------------------------------------

right = ring.rotate


def nothing_goes_round(tree):
    return tree


def places_stay(tree):
    return right(tree)._replace(places=tree.places) if isinstance(tree, ring.Keys) else right(tree)


def segments_stay(tree):
    return right(tree)._replace(segments=tree.segments) if isinstance(tree, ring.Keys) else right(tree)


def values_stay(tree):
    return right(tree)._replace(v=tree.v) if isinstance(tree, ring.Keys) else right(tree)


def gradients_stay(tree):
    return right(tree) if isinstance(tree, ring.Keys) else tree


def the_other_way(tree):
    size = jax.lax.axis_size('context')
    return jax.tree.map(lambda x: jax.lax.ppermute(x, 'context', [(i, (i - 1) % size) for i in range(size)]), tree)


def unscaled(one, other):
    return ring.Seen(one.total + other.total, jnp.maximum(one.largest, other.largest), one.whole + other.whole)


def all_see_the_first(queries, keys, own):
    return [(0, 0), (1, 0), (1, 1)] if own else [(1, 0), (0, 0)]


MUTANTS = [
    ('rotate', right, True),
    ('rotate', the_other_way, True),  # a ring has no beginning, and no side
    ('rotate', nothing_goes_round, False),
    ('rotate', places_stay, False),
    ('rotate', segments_stay, False),
    ('rotate', values_stay, False),
    ('rotate', gradients_stay, False),
    ('joined', unscaled, False),
    ('pairs', all_see_the_first, False),
]


@pytest.mark.parametrize(('name', 'mutant', 'fine'), MUTANTS)
def test_mistakes_are_caught(name, mutant, fine, float64, monkeypatch):
    monkeypatch.setattr(ring, name, mutant)
    if fine:
        check(dict(context=4), causal=True)
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check(dict(context=4), causal=True)
