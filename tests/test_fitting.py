"""Before anything compiles: what a step will take, and with which flags it would fit. Eight simulated devices."""

import re

import jax
import jax.numpy as jnp
import pytest

from jaxlab import blueprint, fitting, memory
from jaxlab import config as configs
from jaxlab.config import spec
from jaxlab.config_text import override
from tests.experiments import transformer

INFO = {'vocabulary': 96, 'length': 64}
SCANNED = {'model.scan': 'true'}


def config_of(**flags):
    c = transformer()
    c.batch_size = 32
    c.model = spec('models.gpt', layers=4, width=64, heads=4)
    c.mesh.data = 1
    return configs.check(override(c, [(key.replace('__', '.'), str(value)) for key, value in flags.items()]))


def rows(config):
    row = jax.ShapeDtypeStruct((config.batch_size, INFO['length']), jnp.int32)
    return dict.fromkeys(('tokens', 'targets', 'positions', 'segments'), row) | {
        'mask': jax.ShapeDtypeStruct(row.shape, jnp.float32)
    }


def estimated(config):
    return fitting.estimate(fitting._drawn(config, INFO, rows(config)), config, INFO, rows(config))


def said(config):
    """What XLA says of the compiled step."""
    plan = fitting._drawn(config, INFO, rows(config))
    return memory.expected(blueprint.compile_step(plan.call, plan.arguments, plan.mesh)).taken


@pytest.mark.parametrize(
    'flags',
    [
        {},
        dict(model__scan=True),
        dict(model__scan=True, model__remat='full'),
        dict(model__scan=True, model__remat='dots', accumulate=2),
        dict(mesh__data=2, mesh__fsdp=4),
    ],
)
def test_an_estimate_is_near_what_xla_says(flags):
    config = config_of(**flags)
    taken, state = estimated(config)
    assert state < taken and 0.7 < said(config) / taken < 1.5


def test_what_is_kept_follows_the_rows():
    small, large = (estimated(config_of(batch_size=size)) for size in (16, 32))
    assert small[1] == large[1] and large[0] - large[1] > 1.8 * (small[0] - small[1])
    assert estimated(config_of(accumulate=2))[0] < 0.75 * estimated(config_of())[0]


def test_a_cpu_computes_nothing_again_outside_of_a_scan():
    assert estimated(config_of(model__remat='full')) == estimated(config_of())
    assert estimated(config_of(model__remat='full', model__scan=True))[0] < 0.6 * estimated(config_of())[0]


def flags_of(text):
    """The flags that a sentence proposes, way by way."""
    return [re.findall(r'--config\.(\S+?)=(\S+)', way) for way in text.split('; or ')]


@pytest.mark.parametrize('flags', [dict(model__scan=True), dict(mesh__data=8)])
def test_what_is_proposed_fits(flags):
    config = config_of(**flags)
    there = 0.6 * estimated(config)[0]
    ways = flags_of(fitting.advice(config, INFO, rows(config), there))
    assert 2 <= len(ways) <= fitting.WAYS
    for way in ways:
        changed = configs.check(override(config.copy_and_resolve_references(), way))
        assert estimated(changed)[0] <= there
    assert said(changed) < 0.8 * said(config)


def test_a_batch_is_cut_as_often_as_it_must_be():
    config = config_of(model__remat='full')
    whole, state = estimated(config)
    text = fitting.advice(config, INFO, rows(config), state + 0.4 * (whole - state))
    ((key, number),) = flags_of(text)[0]
    assert key == 'accumulate' and int(number) in (4, 8)
    less = config_of(accumulate=int(number) // 2)
    assert estimated(less)[0] > state + 0.4 * (whole - state)


def test_where_nothing_will_do():
    config = config_of()
    assert fitting.advice(config, INFO, rows(config), 1000.0).startswith('No mesh of these devices')


def test_a_sentence_before_it_compiles():
    config = config_of()
    text = fitting.warning(3 << 30, 1 << 30, 2 << 30, config, INFO, rows(config))
    assert text.startswith('warning: a step will take about 3.0 GiB on each device (1.0 GiB of it are parameters')
    assert 'which has 2.0 GiB. It would fit with --config.accumulate=2 (about' in text and len(text.splitlines()) == 1
