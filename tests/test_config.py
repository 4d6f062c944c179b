"""Configs hold everything, and parts are built from them."""

import inspect

import pytest

from jaxlab import config as configs
from jaxlab.config import ROOMS, build, leaves, spec
from jaxlab.config_text import override
from tests.experiments import message, transformer

ROOM_NAMES = [(room, name) for room in ROOMS.values() for name in configs.names(room)]


# --- spec and build --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('room', 'name'), ROOM_NAMES)
def test_spec_fills_in_every_argument(room, name):
    node = spec(f'{room}.{name}')
    parameters = inspect.signature(configs.part(room, name)).parameters.values()
    assert set(node) - {'name'} == {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    for key, value in leaves(node).items():
        assert type(value) in (bool, int, float, str, tuple), f'{key} is {value!r}: a leaf that no flag can set'


def test_spec_takes_arguments_over_defaults():
    node = spec('models.gpt', width=64, norm='rms')
    assert (node.width, node.norm, node.layers) == (64, 'rms', spec('models.gpt').layers)


def test_two_specs_share_nothing():
    first, second = spec('optim.adamw'), spec('optim.adamw')
    first.schedule.warmup = 7
    assert second.schedule.warmup != 7


def test_a_whole_number_serves_as_a_float():
    node = spec('optim.adamw', learning_rate=1)
    assert type(node.learning_rate) is float  # else a later --config.optimizer.learning_rate=0.5 would be refused


def test_spec_refuses_what_is_not_there():
    assert 'Did you mean "width"?' in message(spec, 'models.gpt', widht=3)
    assert 'Did you mean "gpt"?' in message(spec, 'models.gtp')
    assert 'Did you mean "adamw"?' in message(spec, 'optim.adam_w')
    assert 'rooms: models' in message(spec, 'gpt')
    assert 'learning_rate' in message(spec, 'optim.adamw', learning_rate='fast')


def test_build_calls_make_with_what_is_given_and_what_is_configured():
    node = spec('schedules.cosine', warmup=4, final=0.5)
    schedule = build(node, 10, key='optimizer.schedule')
    assert float(schedule(10)) == pytest.approx(0.5)


def test_build_says_where_a_value_stands():
    text = message(build, spec('models.gpt', heads=5, width=64), {'vocabulary': 7, 'length': 8}, key='model')
    assert text.startswith('config.model: heads=5') and '4 would' in text
    node = spec('optim.adamw', schedule=spec('schedules.cosine', final=2.0))
    assert message(build, node, {}, 10, key='optimizer').startswith('config.optimizer.schedule: final=2.0')
    node = spec('optim.sgd')
    node.momentun = 0.5  # as a config file might, by hand
    assert message(build, node, {}, 10, key='optimizer').startswith('config.optimizer (sgd)')


# --- out of range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('steps', '0'),
        ('batch_size', '0'),
        ('accumulate', '0'),
        ('accumulate', '5'),
        ('seed', '-1'),
        ('average', '1'),
        ('average', '-0.5'),
        ('checkpoint.every', '0'),
        ('checkpoint.keep', '0'),
        ('evaluate.every', '-1'),
        ('log.every', '0'),
        ('log.sample_tokens', '0'),
    ],
)
def test_values_that_no_part_checks_are_checked(key, text):
    assert f'config.{key}={text}' in message(configs.check, override(transformer(), [(key, text)]))


@pytest.mark.parametrize('key', ['model', 'task', 'data', 'optimizer'])
def test_an_experiment_without_a_part(key):
    c = transformer()
    del c[key]
    assert f'config.{key}' in message(configs.check, c)


def test_none_is_no_value():
    c = transformer()
    c.model.width = None
    assert 'config.model.width=None' in message(configs.check, c)


def test_a_checked_config_is_locked():
    c = configs.check(transformer())
    with pytest.raises(AttributeError):
        c.stepz = 3
