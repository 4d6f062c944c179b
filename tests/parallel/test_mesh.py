"""A shape becomes a mesh, or a sentence. Eight simulated devices (tests/conftest.py)."""

import importlib.util
import itertools
import types

import jax
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.parallel.mesh import AXES, BATCH, by_process, make_mesh


@pytest.mark.parametrize(
    ('shape', 'sizes'),
    [
        ({}, {}),
        ({'data': -1}, {'data': 8}),
        ({'data': 2, 'fsdp': -1}, {'data': 2, 'fsdp': 4}),
        ({'data': 2, 'fsdp': 2, 'tensor': 2}, {'data': 2, 'fsdp': 2, 'tensor': 2}),
        ({'tensor': 4}, {'tensor': 4}),  # the first four of eight devices
        ({'data': -1, 'tensor': 8}, {'tensor': 8}),
    ],
)
def test_make_mesh(shape, sizes):
    mesh = make_mesh(shape)
    assert dict(mesh.shape) == {axis: sizes.get(axis, 1) for axis in AXES}
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
    assert mesh.devices.ravel().tolist() == jax.devices()[: mesh.size]


@pytest.mark.parametrize(
    ('shape', 'answer'),
    [
        ({'dta': 8}, 'config.mesh.dta: there is no such mesh axis; they are data, zero1, fsdp'),
        ({'data': 0}, 'config.mesh.data=0'),
        ({'data': -2}, 'config.mesh.data=-2'),
        ({'data': -1, 'fsdp': -1}, 'data and fsdp are both -1'),
        ({'data': 16}, 'data 16 wants 16 devices, and JAX sees 8'),
        ({'data': 3, 'tensor': 3}, 'data 3 × tensor 3 wants 9 devices'),
        ({'data': -1, 'tensor': 3}, 'data=-1 cannot share out 8 devices, since tensor 3'),
    ],
)
def test_make_mesh_refuses(shape, answer):
    with pytest.raises(UserError) as caught:
        make_mesh(shape)
    assert answer in str(caught.value) and len(str(caught.value).splitlines()) <= 2


# --- the order of devices --------------------------------------------------------------------------------------------


def pod(shape):
    """A grid of stand-ins for the 256 chips of a pod of 16 × 16, whose hosts have squares of 2 × 2, in JAX's order."""
    places = itertools.product(range(16), range(16))
    chips = [types.SimpleNamespace(id=16 * y + x, process_index=8 * (y // 2) + x // 2) for y, x in places]
    sizes = [shape.get(axis, 1) for axis in AXES]
    grid = np.empty(256, object)
    grid[:] = chips
    return grid.reshape(sizes)


def blocks(grid):
    """Returns the process of each row of a batch, where one process has it, without repetitions next to each other."""
    order = [AXES.index(axis) for axis in BATCH]
    rows = np.moveaxis(grid, order, range(4)).reshape(-1, grid.size // np.prod([grid.shape[n] for n in order]))
    processes = [min(device.process_index for device in row) for row in rows]
    return [process for process, _ in itertools.groupby(processes)]


@pytest.mark.parametrize(
    'shape', [{'fsdp': 256}, {'data': 16, 'fsdp': 16}, {'fsdp': 128, 'tensor': 2}, {'data': 4, 'fsdp': 16, 'expert': 4}]
)
def test_rows_of_a_process_lie_together(shape):
    grid = by_process(pod(shape))
    found = blocks(grid)
    assert len(found) == len(set(found))
    assert grid.shape == pod(shape).shape
    assert sorted(device.id for device in grid.flat) == list(range(256))
    assert len(blocks(pod(shape))) > len(set(blocks(pod(shape))))  # as JAX has them they do not


def test_what_lies_together_stays():
    grid = make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2}).devices
    assert (by_process(grid) == grid).all()


@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='wants libtpu')
@pytest.mark.parametrize(('name', 'shape'), [('v5e:16x16', {'fsdp': 256}), ('v5p:8x8x8', {'fsdp': 128, 'tensor': 4})])
def test_the_devices_of_a_pod(name, shape):
    from jaxlab.planning.drawing import topology

    found = blocks(make_mesh(shape, topology(name)).devices)
    assert len(found) == len(set(found))
