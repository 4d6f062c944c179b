"""Times from costs, by hand; what is known of chips."""

import math
import types

import numpy as np
import pytest

from jaxlab import devices
from jaxlab.planning import chips, roofline
from jaxlab.planning.roofline import Constants, Times

V5E = chips.find('TPU v5 lite')
EXACT = Constants(efficiency=0.5, kernels=0.25, exposed=0.25, exposed_again=0.0)


def test_chips():
    assert [chip.name for kind in ('TPU v4', 'TPU v5', 'TPU v6 lite', 'NVIDIA H200') if (chip := chips.find(kind))] == [
        'v4',
        'v5p',
        'v6e',
        'H200',
    ]
    assert chips.find('NVIDIA A100-SXM4-80GB').memory == 80 << 30
    assert chips.find('cpu') is None
    kinds = ('TPU v4', 'TPU v5 lite', 'TPU v5', 'TPU v6 lite', 'NVIDIA H100 80GB HBM3', 'NVIDIA H200')
    assert all(devices.peak(kind, 'bfloat16') for kind in kinds)  # those two tables know the same names
    assert V5E.memory == 15.75 * 2**30


def test_times():
    found = roofline.times(
        2 * 197e12, 197e12, 819e9, {('fsdp',): 50e9, ('tensor',): 100e9}, 197e12, V5E, lambda axes: 50e9
    )
    assert (found.compute, found.kernels, found.memory) == (1, 1, 1)
    assert found.links == {('fsdp',): 1, ('tensor',): 2} and found.bound == 'links'
    assert math.isnan(roofline.times(1, 0, 1, {}, 0, V5E, None).compute)


@pytest.mark.parametrize(
    ('compute', 'memory', 'links', 'again', 'seconds'),
    [
        (1, 0, {}, False, 2),  # half of the peak is reached
        (1, 3, {}, False, 3),  # memory is slower
        (1, 0, {('fsdp',): 1.0}, True, 2),  # hidden
        (1, 0, {('data', 'fsdp'): 5.0}, True, 5),  # products hide behind it
        (1, 0, {('tensor',): 1.0}, False, 2.25),  # a quarter of it is waited for
        (1, 0, {('fsdp',): 3.0, ('tensor',): 1.0}, False, 4),  # 3 s go on meanwhile, longer than the products, 1 s not
    ],
)
def test_a_step(compute, memory, links, again, seconds):
    assert Times(compute, 0, memory, links).step(again, EXACT) == seconds


def test_kernels_are_slower():
    assert Times(1, 1, 0, {}).step(False, EXACT) == 2 + 4


def test_slices_wait_for_the_slowest():
    constants = Constants(efficiency=1.0, kernels=1.0, exposed=1.0, exposed_again=1.0, straggle=0.1)
    assert Times(1, 0, 0, {}).step(False, constants, slices=4) == pytest.approx(1.2)


def test_links_of_a_torus():
    """A full ring uses both ways, a line one; two dims twice as many."""
    link = V5E.link
    for extents, whole, links in [
        ((16, 1), (16, 16), 2),
        ((16, 16), (16, 16), 4),
        ((4, 1), (16, 16), 1),
        ((4, 1), (4, 4), 1),  # a v5e closes rings of 16 only
        ((4, 4), (4, 4), 2),
    ]:
        assert roofline.torus_bandwidth(V5E, extents, whole) == links * link
    assert roofline.torus_bandwidth(chips.find('NVIDIA H100'), (8,), (8,)) == 450e9


def test_links_of_a_mesh():
    grid = np.array([types.SimpleNamespace(coords=[n % 16, n // 16, 0]) for n in range(256)]).reshape(16, 16)
    mesh = types.SimpleNamespace(devices=grid, axis_names=('fsdp', 'tensor'))
    assert roofline.bandwidth_along(mesh, ('tensor',), V5E) == 2 * V5E.link
    assert roofline.bandwidth_along(mesh, ('fsdp', 'tensor'), V5E) == 4 * V5E.link
