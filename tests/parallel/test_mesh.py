"""A shape becomes a mesh, or a sentence. Eight simulated devices (tests/conftest.py)."""

import jax
import pytest

from jaxlab.errors import UserError
from jaxlab.parallel.mesh import AXES, make_mesh


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
