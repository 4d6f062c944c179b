"""A program (a jaxpr) with a flag beside every number that it computes: finite, infinite, or NaN. See `first_bad`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, DebugInfo, Jaxpr, Literal, jaxpr_as_fun
from jax.sharding import PartitionSpec

FINITE, INFINITE, NAN = 0, 1, 2

# Equations that run one program, once.
CALLS = ('jit', 'pjit', 'closed_call', 'core_call', 'remat2', 'checkpoint', 'custom_jvp_call', 'custom_vjp_call')


@jax.jit
def _worst(x: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(x), jnp.int8(NAN), jnp.isinf(x).astype(jnp.int8)).max()


def flag_of(x: Any) -> Any:
    """Returns the worst of an array's numbers: FINITE, INFINITE or NAN, int8 []."""
    if not jnp.issubdtype(getattr(x, 'dtype', type(x)), jnp.inexact) or np.size(x) == 0:
        return np.int8(FINITE)
    with jax.disable_jit(False):
        return _worst(x)


def _variables(jaxpr: Jaxpr) -> list[Any]:
    return [*jaxpr.constvars, *jaxpr.invars, *(var for equation in jaxpr.eqns for var in equation.outvars)]


def flags_of(jaxpr: Jaxpr, seen: Mapping[str, Any]) -> dict[Any, int]:
    """Returns the flag of each variable of a program."""
    return dict(zip(_variables(jaxpr), map(int, seen['here']), strict=True))


def run(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Runs a program, one operation at a time: compiled whole, with all its flags, it would take many times as long.

    Returns:
      (what the program returns, what was seen: 'here', the flags of its `_variables`, and 'inner', {number of an
      equation: what was seen in its program}).
    """
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    flags = [flag_of(value) for value in values.values()]
    inner: dict[int, Any] = {}
    about = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    wanted = {var: number for number, equation in enumerate(jaxpr.eqns) for var in _inputs(equation)}
    wanted |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if not isinstance(var, Literal)}
    for number, equation in enumerate(jaxpr.eqns):
        given = [var.val if isinstance(var, Literal) else values[var] for var in equation.invars]
        results, seen = _compute(equation, given, about)
        if seen is not None:
            inner[number] = seen
        values.update(zip(equation.outvars, results, strict=True))
        flags += map(flag_of, results)
        for var in [*_inputs(equation), *equation.outvars]:
            if wanted.get(var, number) == number:
                values.pop(var, None)  # nobody wants it any more: its memory is free
    results = [var.val if isinstance(var, Literal) else values[var] for var in jaxpr.outvars]
    return results, {'here': flags, 'inner': inner}


def _inputs(equation: Any) -> list[Any]:
    return [var for var in equation.invars if not isinstance(var, Literal)]


def _compute(equation: Any, given: list[Any], about: DebugInfo) -> tuple[Sequence[Any], Any]:
    """Returns the results of an equation, and what was seen in its program; None where it has none that is looked into.

    In a `scan` every turn is seen; of a `while`, the worst of all turns.
    """
    params = equation.params
    match equation.primitive.name:
        case name if name in CALLS:
            inner, consts = called(params)
            return run(inner, consts, given)
        case 'scan':
            return _scan(params, given)
        case 'while':
            return _while(params, given)
        case 'cond':
            return _cond(params['branches'], *given)
        case 'shard_map':
            return _shard_map(params, given)
    alone = Jaxpr([], _inputs(equation), equation.outvars, [equation], equation.effects, about)
    values = [value for var, value in zip(equation.invars, given) if not isinstance(var, Literal)]
    return jaxpr_as_fun(ClosedJaxpr(alone, []))(*values), None


def called(params: dict[str, Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """Returns the program of an equation that is a call, and its constants."""
    found: Any = params.get('call_jaxpr', params.get('jaxpr'))
    return (found.jaxpr, found.consts) if isinstance(found, ClosedJaxpr) else (found, ())


def parts_of_scan(params: dict[str, Any]) -> tuple[int, int]:
    """Returns how many arguments of a `scan` are constants, and how many are carried from turn to turn."""
    if 'num_carry' in params:
        return params['num_consts'], params['num_carry']
    arguments = params['ft_in'].update(tuple(params['jaxpr'].in_avals))  # from jax 0.11 on
    consts, carried, _ = map(list, arguments.unpack())
    return len(consts), len(carried)


def _scan(params: dict[str, Any], given: list[Any]) -> tuple[Sequence[Any], Any]:
    body, (consts, carried) = params['jaxpr'], parts_of_scan(params)

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], Any]:
        results, seen = run(body.jaxpr, body.consts, [*given[:consts], *carry, *x])
        return results[:carried], (results[carried:], seen)

    start, xs = given[consts : consts + carried], given[consts + carried :]
    last, (ys, seen) = jax.lax.scan(turn, start, xs, params['length'], params['reverse'])
    return [*last, *ys], seen


def _while(params: dict[str, Any], given: list[Any]) -> tuple[Sequence[Any], Any]:
    cond, body = params['cond_jaxpr'], params['body_jaxpr']
    first, second = params['cond_nconsts'], params['cond_nconsts'] + params['body_nconsts']

    def turn(carry: list[Any]) -> tuple[list[Any], Any]:
        return run(body.jaxpr, body.consts, [*given[first:second], *carry])

    def turns(state: tuple[list[Any], Any]) -> tuple[list[Any], Any]:
        results, seen = turn(state[0])
        return results, jax.tree.map(jnp.maximum, state[1], seen)

    start = given[second:]
    nothing = _zeros(jax.eval_shape(turn, start)[1])
    return jax.lax.while_loop(lambda s: jaxpr_as_fun(cond)(*given[:first], *s[0])[0], turns, (start, nothing))


def _cond(branches: Sequence[ClosedJaxpr], index: Any, *given: Any) -> tuple[Sequence[Any], Any]:
    """What was seen is a list, one for each branch: nothing, but for that which was taken."""
    runs = [lambda *given, one=one: run(one.jaxpr, one.consts, given) for one in branches]
    nothing = [_zeros(jax.eval_shape(run, *given)[1]) for run in runs]

    def taken(number: int) -> Callable[..., Any]:
        def branch(*given: Any) -> tuple[list[Any], list[Any]]:
            results, seen = runs[number](*given)
            return results, [seen if number == other else none for other, none in enumerate(nothing)]

        return branch

    return jax.lax.switch(index, [taken(number) for number in range(len(branches))], *given)


def _shard_map(params: dict[str, Any], given: list[Any]) -> tuple[Sequence[Any], Any]:
    """What was seen is the worst of all devices."""
    axes = params['newly_manual_axes']

    def each(*given: Any) -> tuple[tuple[Any, ...], Any]:
        results, seen = run(params['jaxpr'], (), given)
        return tuple(results), jax.tree.map(lambda x: jax.lax.pmax(x, tuple(axes)), seen)

    return jax.shard_map(
        each,
        mesh=params['mesh'],
        in_specs=tuple(params['in_specs']),
        out_specs=(tuple(params['out_specs']), PartitionSpec()),
        axis_names=set(axes),
        check_vma=params['check_vma'],
    )(*given)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
