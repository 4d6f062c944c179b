"""The first operation whose result is not finite: which one, in which module, in which line, forward or backward.

A program (a jaxpr) is run once more, one operation at a time, with a flag beside every result: finite, infinite, or
NaN. Then one goes backwards, from what came out wrong: a NaN comes from a NaN that went in, or else from
an infinity that did. Where all that went in was finite, there it began; of several such operations the earliest is
named. So an infinity that is meant, such as that of a masked score, is not blamed for a NaN it has no part in.

`jax.experimental.checkify` also finds NaN in compiled programs. It names the first of all, whether or not it was masked
away, and sees no overflow, and not which module or which turn of a loop it was. `jax_debug_nans` reads every result of
every step at once, and then runs the step one operation at a time.
"""

import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal
from jax.extend.source_info_util import summarize

from jaxlab.trust.flagged import FINITE, INFINITE, NAN, called, flag_of, flags_of, parts_of_scan, run

# What is not blamed: its lines and functions are those of whoever called it.
LIBRARIES = tuple(str(Path(importlib.import_module(name).__file__ or '').parent) for name in ('jax', 'flax', 'optax'))


@dataclass(frozen=True)
class Turn:
    """One turn of a loop that is no stack of layers: over micro-batches, or over parts of a row."""

    number: int  # from 1
    of: int
    source: str  # of the loop


@dataclass(frozen=True)
class Operation:
    """Where a number that is not finite came from numbers that are."""

    name: str  # 'div', 'dot_general', …: the primitive of JAX
    module: str  # 'GPT/stack/layer_1/mlp/up', in a scanned stack 'GPT/stack/layers[1]/mlp/up'; '' outside of all
    source: str  # 'jaxlab/nn/mlp.py:31'; of a gradient, the line whose gradient it is
    backward: bool
    result: int  # INFINITE or NAN
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Argument:
    """What was not finite before the program began."""

    name: str  # 'batch/mask': the leaf's path in what is given
    result: int  # INFINITE or NAN


def find(function: Callable[[Any], tuple[Any, Any]], given: Any) -> Operation | Argument | None:
    """Returns where the first number that is not finite came from, of all that reach a result; None: they are finite.

    Where a value is not finite, its own origin is looked for. Where all values are, it is the backward pass that brings
    about what is not: also in those of its operations that run with the forward pass, such as the 1 / (2 √x) of √x.

    It takes some seconds, for each kind of operation is compiled alone, and then some thousandths for each operation.

    Args:
      function: pure; given -> (values, such as a loss; what is made of their gradients), two trees.
      given: a tree of arrays, on one device or on a mesh. It is not donated.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(given)
    leaves = jax.tree_util.tree_leaves_with_path(given)
    with jax.disable_jit():
        _, seen = run(closed.jaxpr, closed.consts, [leaf for _, leaf in leaves])
    seen = jax.device_get(seen)
    results = closed.jaxpr.outvars
    values = results[: len(jax.tree.leaves(shapes[0]))]
    flags = flags_of(closed.jaxpr, seen)
    good = not any(flags[var] for var in values if not isinstance(var, Literal))
    walk = _Walk()
    if found := walk.level(
        closed.jaxpr,
        seen,
        results if good else values,
        _Place(marks=('transpose(', 'jvp(') if good else ('transpose(',)),
    ):
        first = min(found)
        name = jax.tree_util.keystr(leaves[first][0], simple=True, separator='/')
        return Argument(name, found[first])
    for places in (walk.origins, walk.meetings, walk.meant):
        if places:
            return min(places, key=lambda one: one[0])[1]
    return None


# --- the way back ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where in a program one is."""

    order: tuple[int, ...] = ()  # of two places, the smaller was run first
    modules: tuple[str, ...] = ()
    layer: str = ''  # '[1]': of the module that comes next
    backward: bool = False
    marks: tuple[str, ...] = ('transpose(',)  # in the stack of names: what belongs to the backward pass
    turns: tuple[Turn, ...] = ()
    source: str = ''  # of the call that led here, where what is called lies in a library

    def at(self, number: int, equation: Any) -> '_Place':
        """Returns the place of equation `number` of the program that this is the place of."""
        stack = str(equation.source_info.name_stack)
        words = _modules(stack)
        return replace(
            self,
            order=(*self.order, number),
            modules=_path(self.modules, words, self.layer),
            layer='' if words else self.layer,
            backward=self.backward or any(mark in stack for mark in self.marks),
            source=self.source or _source(equation),
        )

    def operation(self, equation: Any, result: int) -> Operation:
        name, module = equation.primitive.name, '/'.join(self.modules)
        return Operation(name, module, self.source, self.backward, result, self.turns)


@dataclass
class _Walk:
    """Goes back from what is not finite to where it began; see the top of this file."""

    origins: list[tuple[tuple[int, ...], Operation]] = field(default_factory=list)
    meetings: list[tuple[tuple[int, ...], Operation]] = field(default_factory=list)  # NaN that came of infinities
    meant: list[tuple[tuple[int, ...], Operation]] = field(default_factory=list)  # a constant is not finite

    def level(self, jaxpr: Jaxpr, seen: Any, wanted: Iterable[Any], place: _Place) -> dict[int, int]:
        """Looks for where the `wanted` variables of a program come from; returns {number of an argument: its flag} for
        the arguments that they came from."""
        flags = flags_of(jaxpr, seen)
        asked = {var for var in wanted if not isinstance(var, Literal) and flags[var]}
        constants = set(jaxpr.constvars)
        for number in reversed(range(len(jaxpr.eqns))):
            equation = jaxpr.eqns[number]
            mine = [i for i, var in enumerate(equation.outvars) if var in asked]
            if not mine:
                continue
            here = place.at(number, equation)
            of = [int(flag_of(var.val)) if isinstance(var, Literal) else flags[var] for var in equation.invars]
            if number in seen['inner']:
                causes = self.inside(equation, seen['inner'][number], mine, of, here)
            else:
                causes = self.operation(equation, max(flags[equation.outvars[i]] for i in mine), of, here)
            found = {var for i in causes if not isinstance(var := equation.invars[i], Literal) and var not in constants}
            if causes and not found:
                self.meant.append((here.order, here.operation(equation, max(of[i] for i in causes))))
            asked |= found
        return {i: flags[var] for i, var in enumerate(jaxpr.invars) if var in asked}

    def operation(self, equation: Any, result: int, given: list[int], place: _Place) -> set[int]:
        """Returns the arguments that made the result what it is; where there are none, it began here."""
        worst = max(given, default=FINITE)
        if worst == FINITE:
            self.origins.append((place.order, place.operation(equation, result)))
            return set()
        if result == NAN and worst == INFINITE:
            self.meetings.append((place.order, place.operation(equation, result)))
        # NaN comes of NaN, if there was one, and not of the infinities beside it.
        return {i for i, one in enumerate(given) if one == NAN or (one and not result == worst == NAN)}

    def inside(self, equation: Any, seen: Any, mine: list[int], given: list[int], place: _Place) -> set[int]:
        """`operation`, of an equation that has a program."""
        params, inside = equation.params, replace(place, source='')
        match equation.primitive.name:
            case 'scan':
                return self.scan(params, seen, mine, given, place)
            case 'while':
                return self.loop(params, seen, mine, inside)
            case 'cond':
                causes = set()
                for one, of_one in zip(params['branches'], seen):
                    causes |= set(self.level(one.jaxpr, of_one, [one.jaxpr.outvars[i] for i in mine], inside))
                return {i + 1 for i in causes}
            case 'shard_map':
                body = params['jaxpr']
            case _:
                body, _ = called(params)
                inside = place if _in_library(body) else inside
        return set(self.level(body, seen, [body.outvars[i] for i in mine], inside))

    def scan(self, params: Any, seen: Any, mine: list[int], given: list[int], place: _Place) -> set[int]:
        body, length = params['jaxpr'].jaxpr, params['length']
        consts, carried = parts_of_scan(params)
        carry = {i for i in mine if i < carried}
        causes: set[int] = set()
        for back in range(length):
            number = back if params['reverse'] else length - 1 - back
            wanted = [body.outvars[i] for i in [*carry, *(i for i in mine if i >= carried)]]
            inside = replace(place, order=(*place.order, length - 1 - back), source='')
            if length > 1 and place.modules:
                inside = replace(inside, layer=f'[{number}]')
            elif length > 1:
                inside = replace(inside, turns=(*place.turns, Turn(number + 1, length, place.source)))
            found = set(self.level(body, jax.tree.map(lambda x, n=number: x[n], seen), wanted, inside))
            carry = {i - consts for i in found if consts <= i < consts + carried}
            causes |= {i for i in found if i < consts or i >= consts + carried}
        return causes | {i + consts for i in carry if given[i + consts]}

    def loop(self, params: Any, seen: Any, mine: list[int], place: _Place) -> set[int]:
        body = params['body_jaxpr'].jaxpr
        first, consts = params['cond_nconsts'], params['body_nconsts']
        asked: set[int] = set(mine)
        while True:  # what was carried into a turn came out of the one before
            causes = set(self.level(body, seen, [body.outvars[i] for i in asked], place))
            more = {i - consts for i in causes if i >= consts}
            if more <= asked:
                return {i + first for i in causes}
            asked |= more


def _in_library(program: Jaxpr) -> bool:
    """Whether a program is a function of a library. Its lines name the first place that ever called it."""
    return any(f'at {library}' in (program.debug_info.func_src_info or '') for library in LIBRARIES)


def _modules(stack: str) -> list[str]:
    """Returns the modules in a name stack: ['GPT', 'stack', 'layer_1'] of 'transpose(jvp(GPT.features))/stack/layer_1'.

    Flax writes each as its name, or of a method other than __call__ as name.method, and outermost the class.
    """
    words = []
    for word in stack.split('/'):
        while found := re.fullmatch(r'\w+\((.*)\)', word):
            word = found[1]
        word = word.partition('.')[0]
        if word.isidentifier() and word not in ('checkpoint', 'rematted_computation'):  # 'bts,sd->btd' is an einsum
            words.append(word)
    return words


def _path(modules: tuple[str, ...], words: list[str], layer: str) -> tuple[str, ...]:
    """Returns the path of modules that lies `words` deeper; `layer` is that of the first of them.

    A module whose methods call each other is named by each of them, and the whole path again where something is
    computed a second time (remat).
    """
    path = list(modules)
    for word in words:
        if path and word == path[0]:
            path = [word]
        elif not path or word != path[-1].partition('[')[0]:
            path.append(word + layer)
            layer = ''
    return tuple(path)


def _source(equation: Any) -> str:
    """Returns 'folder/file.py:31', the innermost line that is not of a library; '' where none is known."""
    lines = re.findall(r'^(.*?):(\d+)(?::\d+)? \(', summarize(equation.source_info, 100), re.MULTILINE)
    own = [line for line in lines if not line[0].startswith(LIBRARIES)] or lines
    if not own:
        return ''
    file, number = Path(own[-1][0]), own[-1][1]
    return f'{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}:{number}'
