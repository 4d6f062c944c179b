"""Settings by patterns of names: rates, strengths, and what is frozen."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import config as configs
from jaxlab import config_text, optim
from jaxlab.config import spec
from jaxlab.errors import UserError
from tests.formulas import NAMES, arrays, assert_equal, expect, make, polyak, run


def test_groups_override_rates_and_strengths(float64):
    groups = (
        ('layer/', {'learning_rate': 0.5, 'weight_decay': 0.3}),
        ('layer/k', {'learning_rate': 0.125, 'l1': 0.6}),  # later ones win, where they say something
        ('.*able', {'weight_decay': 0, 'l2': 0.4}),
    )
    optimizer = make('momentum', learning_rate=0.2, weight_decay=0.7, l1=0.05, clip=1.5, groups=groups)
    wanted = expect(
        polyak(0.9),
        learning_rate={'kernel': 0.125, 'bias': 0.5, 'table': 0.2},
        weight_decay={'kernel': 0.3, 'bias': 0.3, 'table': 0.0},
        l1={'kernel': 0.6, 'bias': 0.05, 'table': 0.05},
        l2={'kernel': 0.0, 'bias': 0.0, 'table': 0.4},
        clip=1.5,
    )
    assert_equal(run(optimizer), wanted)
    params = arrays(99)
    shown = optimizer.rate(optimizer.init(params), 1.0)
    assert float(shown) == pytest.approx(0.2)  # the shared one


@pytest.mark.parametrize('name', optim.__all__)
def test_what_is_frozen_stays_to_the_last_bit_and_has_no_state(name):
    arguments = dict(learning_rate=0.5, weight_decay=0.5, l1=0.5, l2=0.5)
    optimizer = make(name, groups=(('layer/', {'frozen': True}),), **arguments)
    params = jax.tree.map(jnp.float32, arrays(99))
    params['layer']['bias'] = jnp.array([0.0, -0.0, 1e-45, np.inf, np.nan, 1.0])
    gradient = jax.tree.map(jnp.float32, arrays(0)) | {'layer': jax.tree.map(jnp.float32, arrays(1)['layer'])}

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradient, state, params, 1.0, optimizer.norm(gradient))
        return optax.apply_updates(params, updates), state

    after, state = step(params, optimizer.init(params))
    for leaf in ('kernel', 'bias'):
        assert after['layer'][leaf].tobytes() == params['layer'][leaf].tobytes()
    updates, _ = optimizer.update(gradient, optimizer.init(params), params, 1.0, optimizer.norm(gradient))
    zeros = jnp.array([0.0, -0.0])  # where nothing is compiled, and so no addition is left out
    assert (zeros + updates['layer']['bias'][:2]).tobytes() == zeros.tobytes()
    assert (after['table'] != params['table']).any()

    alone = make(name, {'table': NAMES['table']}, **arguments)  # as if there were nothing else: clipping, too
    table = {'table': params['table']}
    of_table = {'table': gradient['table']}
    wanted, alone_state = jax.jit(alone.update)(of_table, alone.init(table), table, 1.0, alone.norm(of_table))
    np.testing.assert_allclose(after['table'], params['table'] + wanted['table'], rtol=1e-6)
    assert jax.tree.map(np.shape, state) == jax.tree.map(np.shape, alone_state)


GPT_NAMES = {'stack': {'layer_0': {'mlp': {'up': {'kernel': ('embed', 'mlp'), 'bias': ('mlp',)}}}}}


@pytest.mark.parametrize(
    ('groups', 'answer'),
    [
        ((('stack/layer_7/', {}),), r'"stack/layer_7/": no parameter.* nearest: stack/layer_0/mlp/up/'),
        ((('mlp/', {}),), 'no parameter'),  # patterns hold from the start of a name
        ((('stack/', {'learning_rat': 0.1}),), 'Did you mean "learning_rate"?'),
        ((('stack/', {'freeze': True}),), 'Did you mean "frozen"?'),
        ((('stack/', {'frozen': 1}),), 'frozen=1: True or False'),
        ((('stack/', {'learning_rate': True}),), 'learning_rate=True: a number'),
        ((('stack/', {'learning_rate': '0.1'}),), "learning_rate='0.1': a number"),
        ((('stack/', {'weight_decay': -0.1}),), 'weight_decay=-0.1: a number from 0 up'),
        ((('sta(ck', {}),), 'no regular expression'),
        (('stack/', {'frozen': True}), "'stack/' is no pair"),  # a comma is missing
        ((('stack/', {'frozen': True}),), 'nothing is left'),
    ],
)
def test_groups_that_are_wrong(groups, answer):
    with pytest.raises(UserError, match=r'^config\.optimizer: groups: ') as caught:
        make('adamw', GPT_NAMES, groups=groups)
    assert re.search(answer, str(caught.value))


def test_groups_on_the_command_line_and_on_record():
    groups = (('stack/layer_0/', {'frozen': True}), ('token.*', {'learning_rate': 1e-4, 'weight_decay': 0.0}))
    config = configs.experiment()
    config.optimizer = spec('optim.adamw')
    found = config_text.override(config, [('optimizer.groups', repr(groups))])
    assert found.optimizer == spec('optim.adamw', groups=groups)
    back = config_text.from_json(config_text.to_json(found))
    assert back == found and back.optimizer.groups == groups
    assert config_text.to_json(back) == config_text.to_json(found) and config_text.difference(back, found) == []
    assert config_text.difference(config, found)
