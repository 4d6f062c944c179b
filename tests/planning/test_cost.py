"""Costs of compiled programs, against what they are known to compute and to send."""

# Eight devices in a mesh of 2 × 2 × 2; x [16 64] in rows over data and fsdp, w [64 64] over fsdp and tensor.

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab.parallel.mesh import make_mesh
from jaxlab.planning import cost, hlo

AXES = ('data', 'zero1', 'fsdp', 'stage', 'expert', 'context', 'tensor')


@pytest.fixture(scope='module')
def mesh():
    return make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})


def compiled(function, mesh, *arrays):
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*spec)))
        for shape, spec in arrays
    ]
    return jax.jit(function).lower(*shapes).compile()


def collectives(found):
    return sorted((one.kind, one.axes, one.members, one.bytes, one.times) for one in found.collectives.values())


def manual(mesh, function, axes, out=PartitionSpec()):
    return jax.shard_map(
        function, mesh=mesh, in_specs=PartitionSpec(axes), out_specs=out, axis_names={*axes}, check_vma=False
    )


@pytest.mark.parametrize(
    ('function', 'kind', 'axes', 'whole', 'sent'),
    [  # of f32[16 8]: each device of a group of 2 has f32[8 8], 256 bytes; of 4 f32[4 8], 128 bytes
        (lambda x: jax.lax.all_gather(x, 'fsdp', tiled=True), 'all-gather', ('fsdp',), 512, 256),
        (lambda x: jax.lax.psum(x, 'tensor'), 'all-reduce', ('tensor',), 256, 256),
        (lambda x: jax.lax.psum_scatter(x, 'data', tiled=True), 'reduce-scatter', ('data',), 256, 128),
        (lambda x: jax.lax.ppermute(x, 'data', [(0, 1), (1, 0)]), 'collective-permute', ('data',), 256, 256),
        (lambda x: jax.lax.all_to_all(x, 'tensor', 0, 0, tiled=True), 'all-to-all', ('tensor',), 256, 128),
        (lambda x: jax.lax.psum(x, ('data', 'tensor')), 'all-reduce', ('data', 'tensor'), 128, 192),
    ],
)
def test_each_kind_of_collective(mesh, function, kind, axes, whole, sent):
    out = {'reduce-scatter': PartitionSpec(axes), 'collective-permute': PartitionSpec(axes)}.get(kind, PartitionSpec())
    program = compiled(manual(mesh, function, axes, out), mesh, ((16, 8), (axes,)))
    found = cost.of_program(program.as_text(), mesh.shape)
    (one,) = (one for one in found.collectives.values() if one.kind == kind)
    assert (one.axes, one.bytes, one.sent) == (axes, whole, sent)


def test_loops_are_multiplied_out(mesh):
    """Three turns of four turns of a product and a sum over the devices."""

    def turn(x, _):
        return jax.lax.scan(lambda x, _: (jax.lax.psum(x @ x, 'tensor') * 0.5, None), x, None, length=4)[0], None

    def loops(x):
        return jax.lax.scan(turn, x, None, length=3)[0]

    text = compiled(manual(mesh, loops, ('tensor',)), mesh, ((16, 8), ('tensor',))).as_text()
    found = cost.of_program(text, mesh.shape)
    assert collectives(found) == [('all-reduce', ('tensor',), 2, 8 * 8 * 4, 12.0)]
    assert found.flops == 12 * 2 * 8**3
    # Whoever forgets the loops, as XLA's own count does, finds one turn of each.
    unlooped = hlo.trips
    try:
        hlo.trips = lambda *_: 1
        assert cost.of_program(text, mesh.shape).flops == 2 * 8**3
    finally:
        hlo.trips = unlooped


def test_products_that_xla_partitions(mesh):
    """The same work on each device, forward and backward: 3 · 2 · 16 · 64 · 64 / 8."""

    def loss(w, x):
        h = jax.lax.with_sharding_constraint(x @ w, NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), 'tensor')))
        return jnp.sum(h * h)

    gradients = jax.grad(loss, argnums=(0, 1))
    program = compiled(gradients, mesh, ((64, 64), ('fsdp', 'tensor')), ((16, 64), (('data', 'fsdp'), None)))
    found = cost.of_program(program.as_text(), mesh.shape)
    assert found.flops == 3 * 2 * 16 * 64 * 64 / 8
    kinds = {(one.kind, one.axes) for one in found.collectives.values()}
    assert ('all-gather', ('fsdp',)) in kinds  # of w


def test_a_convolution():
    x, w = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((3, 3, 3, 4), jnp.float32)
    layouts = 'NHWC', 'HWIO', 'NHWC'

    def convolve(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), 'VALID', dimension_numbers=layouts)

    text = jax.jit(convolve).lower(x, w).compile().as_text()
    assert cost.of_program(text, {'data': 1}).flops == 2 * 2 * 6 * 6 * 4 * 3 * 3 * 3


def test_zeros_around_a_window_are_nobodys_products():
    assert cost._valid(size=8, out=8, window=3, stride=1, pad=1, spread=1, reach=1) == 3 * 8 - 2
    # A batch of four products, as a TPU writes it: one of the four places of a window is no zero.
    assert cost._valid(size=4, out=4, window=4, stride=3, pad=0, spread=4, reach=1) == 4


def test_traffic():
    """A sum of two arrays: both are read, and the result is written. What is sliced is not read whole."""
    x = jax.ShapeDtypeStruct((1024, 256), jnp.float32)
    text = jax.jit(lambda x, y: x + y).lower(x, x).compile().as_text()
    assert cost.of_program(text, {'data': 1}).traffic == 3 * 1024 * 256 * 4
    text = jax.jit(lambda x, n: jax.lax.dynamic_slice_in_dim(x, n, 2) * 2).lower(x, 0).compile().as_text()
    assert cost.of_program(text, {'data': 1}).traffic < 10_000
