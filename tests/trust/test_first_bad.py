"""The operation that is blamed is the one that made the first number that is not finite, and no other."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxlab.parallel.mesh import make_mesh
from jaxlab.trust import first_bad
from jaxlab.trust.first_bad import INFINITE, NAN, Argument, Operation, find

HERE = Path(__file__)


def blamed(function, x, gradient=False):
    """Returns what is blamed, and the text of its line in this file."""
    found = find(function if gradient else lambda x: (function(x), ()), x)
    assert isinstance(found, Operation), found
    file, line = found.source.rsplit(':', 1)
    assert Path(file).name == HERE.name, found
    return found, HERE.read_text('utf-8').splitlines()[int(line) - 1]


def division(x):
    y = jnp.tanh(x) / jnp.sum(x - x)  # here
    return (y * 0).sum()


def logarithm(x):
    return (jnp.log(x * 0) * 0).sum()  # here


def half(x):
    y = x.astype(jnp.float16) * 1000
    y = y * 1000  # here
    return (y - y).sum()


def bfloat(x):
    y = jnp.exp(x.astype(jnp.bfloat16) * 100)  # here
    return (y / y).sum()


def only_backward(x):
    norm = jnp.sqrt(jnp.sum((x - x) ** 2))  # here
    return norm + x.sum()


def where_backward(x):
    y = x - x
    return jnp.where(y > 0, jnp.log(y), 0).sum()  # here


def masked_scores(x):
    """Its infinities are meant: they have no part in what goes wrong, though they meet it."""
    hidden = jnp.where(x > 2.5, 0, -jnp.inf) + jnp.log((x > 1.5).astype(float))
    scores = jnp.sqrt(x - 2.5)  # here
    return jax.nn.softmax(scores + hidden)[2]


def nobody_to_look_at(x):
    scores = jnp.where(x > 100, x, -jnp.inf)
    return jnp.exp(scores - scores.max()).sum()  # here


def in_jit(x):
    @jax.jit
    def inner(x):
        return 1 / (x - x)  # here

    return (inner(x) * 0).sum()


def in_a_library(x):
    """The lines of JAX's own jitted functions name whoever called them first."""
    jax.nn.softplus(x * 1)
    y = jax.nn.softplus(x * 1e38 * 100 - x * 1e38 * 100)  # here
    return y.sum()


def in_remat(x):
    return jax.checkpoint(lambda x: jnp.sin(1 / (x - x)))(x).sum()  # here


def in_while(x):
    def turn(x):
        return x * 1e10  # here

    y = jax.lax.while_loop(lambda x: x.max() < jnp.inf, turn, x)
    return (y - y).sum()


def in_cond(x):
    def bad(x):
        return jnp.log(-x)  # here

    return jax.lax.cond(x.sum() > 0, bad, jnp.log, x).sum()


@jax.custom_jvp
def custom(x):
    return 1 / (x - x)  # here


custom.defjvp(lambda primals, tangents: (custom(*primals), tangents[0]))


def in_custom_jvp(x):
    return (custom(x) * 0).sum()


@jax.custom_vjp
def custom_back(x):
    return x


def _back(x, g):
    return (g / (x - x),)


custom_back.defvjp(lambda x: (x, x), _back)


def in_custom_vjp(x):
    return custom_back(x).sum()  # here: the line whose gradient it is


FORWARD = [
    (division, 'div', INFINITE),
    (logarithm, 'log', INFINITE),
    (half, 'mul', INFINITE),
    (bfloat, 'exp', INFINITE),
    (masked_scores, 'sqrt', NAN),
    (nobody_to_look_at, 'sub', NAN),
    (in_jit, 'div', INFINITE),
    (in_remat, 'div', INFINITE),
    (in_while, 'mul', INFINITE),
    (in_cond, 'log', NAN),
    (in_custom_jvp, 'div', INFINITE),
]
BACKWARD = [(only_backward, INFINITE), (where_backward, NAN), (in_custom_vjp, INFINITE)]
X = jnp.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(('function', 'name', 'result'), FORWARD, ids=lambda x: getattr(x, '__name__', ''))
def test_forward(function, name, result):
    assert not np.isfinite(function(X)), 'something is wrong'
    found, line = blamed(function, X)
    assert (found.name, found.result, found.backward, found.turns) == (name, result, False, ())
    assert '# here' in line, (found, line)
    if function is in_while:
        return  # it has no gradient
    found, line = blamed(jax.value_and_grad(function), X, gradient=True)
    assert not found.backward and '# here' in line, (found, line)


@pytest.mark.parametrize(('function', 'result'), BACKWARD, ids=lambda x: getattr(x, '__name__', ''))
def test_backward(function, result):
    assert np.isfinite(function(X)) and find(lambda x: (function(x), ()), X) is None
    found, line = blamed(jax.value_and_grad(function), X, gradient=True)
    assert found.backward and found.result == result and '# here' in line, (found, line)


def test_the_line_of_a_function_of_a_library():
    _, line = blamed(in_a_library, X)
    assert '# here' in line


def test_what_is_masked_away_is_nobody_s_fault():
    assert find(lambda x: (jnp.where(x > 2, jnp.log(x - 3), 0.0)[:2].sum(), ()), X) is None


def test_what_was_there_before():
    found = find(lambda given: (given['a'].sum() + given['b'][0].sum(), ()), {'a': X, 'b': [X.at[1].set(jnp.nan)]})
    assert found == Argument('b/0', NAN)


@pytest.mark.parametrize('reverse', [False, True])
def test_a_turn_of_a_loop(reverse):
    def loop(x):
        def turn(carry, x):
            y = 1 / (x - 2)  # here
            return carry + y, y

        return jax.lax.scan(turn, jnp.zeros(()), x, reverse=reverse)[0]

    found, line = blamed(loop, X)
    assert '# here' in line and [(turn.number, turn.of) for turn in found.turns] == [(2, 3)]
    found, _ = blamed(lambda x: jax.lax.scan(lambda c, x: (c * x, c), jnp.float32(1e20), x)[0], X * 1e10)  # here
    assert [turn.number for turn in found.turns] == [2], 'carried from turn to turn'


def test_on_a_mesh():
    mesh = make_mesh({'data': 2, 'tensor': 2}, jax.devices()[:4])
    spec = PartitionSpec('data')

    def inner(x):
        return jnp.log(x - 5)  # here

    def function(x):
        y = jax.shard_map(inner, mesh=mesh, in_specs=spec, out_specs=spec, axis_names={'data'})(x)
        return y.sum()

    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.arange(6, 10.0), jax.sharding.NamedSharding(mesh, spec))
        assert find(lambda x: (jax.jit(function)(x), ()), x) is None
        found, line = blamed(jax.jit(function), x.at[3].set(4.0))
    assert found.name == 'log' and '# here' in line


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        w = self.param('w', nn.initializers.ones, ())
        return x / w


class Outer(nn.Module):
    scan: bool

    @nn.compact
    def __call__(self, x):
        if self.scan:
            run = nn.scan(
                lambda one, x: (one(x), None), length=3, variable_axes={'params': 0}, split_rngs={'params': True}
            )
            return run(Inner(name='layers'), x)[0].sum()
        for i in range(3):
            x = Inner(name=f'layer_{i}')(x)
        return x.sum()


@pytest.mark.parametrize('scan', [False, True])
def test_the_module(scan):
    model = Outer(scan)
    params = model.init(jax.random.key(0), X)
    find_in = jax.value_and_grad(lambda params: model.apply(params, X))
    assert find(find_in, params) is None
    where = ('layers', lambda w: w.at[1].set(0)) if scan else ('layer_1', jnp.zeros_like)
    params['params'][where[0]]['w'] = where[1](params['params'][where[0]]['w'])
    found = find(find_in, params)
    assert found.module == ('Outer/layers[1]' if scan else 'Outer/layer_1'), found
    assert found.name == 'div' and not found.backward


# --- seen to go red --------------------------------------------------------------------------------------------------


def test_a_walk_that_follows_every_infinity_is_noticed(monkeypatch):
    def follow_all(walk, equation, result, given, place):
        if not any(given):
            walk.origins.append((place.order, place.operation(equation, result)))
        return {i for i, one in enumerate(given) if one}

    monkeypatch.setattr(first_bad._Walk, 'operation', follow_all)
    with pytest.raises(AssertionError):
        test_forward(masked_scores, 'sqrt', NAN)


def test_a_direction_that_is_not_looked_at_is_noticed(monkeypatch):
    at = first_bad._Place.at
    forward = lambda place, *rest: first_bad.replace(at(place, *rest), backward=False)  # noqa: E731
    monkeypatch.setattr(first_bad._Place, 'at', forward)
    with pytest.raises(AssertionError):
        test_backward(only_backward, INFINITE)


def test_names_of_modules():
    assert first_bad._modules('transpose(jvp(GPT.features))/stack/layer_1') == ['GPT', 'stack', 'layer_1']
    assert first_bad._modules('') == first_bad._modules('jvp()') == []
