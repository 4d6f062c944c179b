"""Whether a step will fit the memory of a device, said before it compiles; and what would make it fit.

On each device lie the state and the gradient, as the layout splits them, and what the forward pass keeps for the
backward pass of the rows that are before the device at once. That is read off the loss as JAX differentiates it, and
nothing of it is computed; the mesh is taken to split it evenly. Where blocks are computed again, one of them at a time
keeps all of its own. XLA shares memory between some of this and needs some beside it: once it has compiled, it has been
seen to say from 0.8 to 1.4 times as much. On a CPU it computes nothing again outside of a scan.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.extend.core import Jaxpr, Var
from ml_collections import ConfigDict

from jaxlab import blueprint, memory
from jaxlab.blueprint import Blueprint
from jaxlab.errors import UserError
from jaxlab.experiment import make_task
from jaxlab.memory import readable
from jaxlab.messages import say
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.parameter_groups import merge
from jaxlab.step import split
from jaxlab.task import Phase

Rows = Mapping[str, jax.ShapeDtypeStruct]
WAYS = 3  # that are told at most

# Primitives of JAX: whose results a fusion makes again from their operands, and whose operands are whole arrays.
# fmt: off
POINTWISE = {
    'abs', 'add', 'and', 'broadcast_in_dim', 'clamp', 'convert_element_type', 'copy', 'div', 'eq', 'erf', 'exp',
    'ge', 'gt', 'integer_pow', 'is_finite', 'le', 'log', 'log1p', 'logistic', 'lt', 'max', 'min', 'mul', 'name',
    'ne', 'neg', 'not', 'or', 'pow', 'reshape', 'rsqrt', 'select_n', 'sign', 'sqrt', 'square', 'squeeze', 'sub',
    'tanh', 'transpose', 'xor',
}
# fmt: on
PRODUCTS = {'dot_general', 'conv_general_dilated'}


def estimate(plan: Blueprint, config: ConfigDict, info: Mapping[str, Any], batch: Rows) -> tuple[int, int]:
    """Returns the bytes that a step will take on each device, and those of its state alone.

    Args:
      plan: of the run.
      config: the resolved config that it was drawn from.
      info: what the data say of themselves.
      batch: the shapes of a global batch.
    """
    kept = _kept(plan, config, batch)
    if config.model.get('remat', 'none') != 'none':
        whole = config.copy_and_resolve_references()
        whole.model.remat = 'none'
        everything = _kept(_drawn(whole, info, batch), whole, batch)
        kept = kept + everything // config.model.get('layers', 1) if _computes_again(config) else everything
    state = memory.of_tree(plan.abstract, plan.shardings) + memory.of_tree(plan.frozen.abstract, plan.frozen.shardings)
    # Of several micro-batches the gradients so far lie beside the newest.
    gradients = memory.of_tree(plan.abstract.params, plan.shardings.params) * min(config.accumulate, 2)
    rows = memory.of_tree(plan.arguments[2], jax.tree.map(lambda x: x.sharding, plan.arguments[2]))
    return state + gradients + rows + kept // plan.mesh.size, state


def _computes_again(config: ConfigDict) -> bool:
    return config.model.get('scan', False) or jax.default_backend() != 'cpu'


def _drawn(config: ConfigDict, info: Mapping[str, Any], batch: Rows) -> Blueprint:
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        return blueprint.draw(config, make_task(config, info), batch, mesh)


def _kept(plan: Blueprint, config: ConfigDict, batch: Rows) -> int:
    """Returns the bytes that the forward pass of a micro-batch keeps, on all devices: in its phase that keeps most."""
    rows = {
        name: jax.ShapeDtypeStruct((x.shape[0] // config.accumulate, *x.shape[1:]), x.dtype)
        for name, x in batch.items()
    }
    with jax.set_mesh(plan.mesh):
        return max(_kept_of(plan, phase, rows) for phase in plan.task.phases)


def _kept_of(plan: Blueprint, phase: Phase, rows: Rows) -> int:
    loss = getattr(plan.task, phase.loss)

    def residuals(trained: Any, rest: Any, extra: Any, rows: Rows, key: jax.Array) -> list[jax.Array]:
        def total(trained: Any) -> Any:
            terms, _ = loss(merge(rest, trained), extra, rows, key)
            return sum(term.weight * term.total for term in terms.values())

        backward: Any = jax.vjp(total, trained)[1]
        return backward.opaque_residuals

    trained, rest = split(plan.abstract.params, phase.trains)
    given = trained, merge(rest, plan.frozen.abstract), plan.abstract.extra, rows, plan.key
    program = jax.make_jaxpr(residuals)(*given).jaxpr
    # A set: what is kept twice is there once. Parameters and rows are there anyway.
    found: set[Any] = {x for x in program.outvars if isinstance(x, Var)} - set(program.invars)
    return sum(x.aval.size * x.aval.dtype.itemsize for x in found - _free(program, found))


def _free(program: Jaxpr, kept: set[Var]) -> set[Var]:
    """Returns those of `kept` that XLA does not keep: it has fusions compute them again, number by number, from others.

    Operands of products are kept: they are written anyway. What a scan keeps is an array that it writes.
    """
    products = [step for step in program.eqns if step.primitive.name in PRODUCTS]
    operands = {x for step in products for x in step.invars if isinstance(x, Var)}
    there, free = {*program.invars, *program.constvars}, set[Var]()
    for step in program.eqns:
        if step.primitive.name in POINTWISE and there.issuperset(x for x in step.invars if isinstance(x, Var)):
            free |= kept & set(step.outvars) - operands
            there.update(step.outvars)
        there |= kept & set(step.outvars)
    return free


def warning(taken: int, state: int, there: int, config: ConfigDict, info: Mapping[str, Any], batch: Rows) -> str:
    """Returns one line: that a step is not likely to fit, and what would. The arguments are those of `advice`."""
    return say(
        'warning: a step will take about {taken} on each device ({state} of it are parameters, optimizer and average),'
        ' which has {there}. {advice}',
        taken=readable(taken),
        state=readable(state),
        there=readable(there),
        advice=advice(config, info, batch, there),
    )


def advice(config: ConfigDict, info: Mapping[str, Any], batch: Rows, there: float) -> str:
    """Returns one sentence: with which mesh, batch or remat a step takes at most `there` bytes of each device.

    The other arguments are those of `estimate`, which says what each way takes.
    """

    def taken(flags: Mapping[str, Any]) -> float:
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(flags)
        rows = {name: jax.ShapeDtypeStruct((changed.batch_size, *x.shape[1:]), x.dtype) for name, x in batch.items()}
        try:
            return estimate(_drawn(changed, info, rows), changed, info, rows)[0]
        except UserError:  # the mesh does not divide what it would split
            return math.inf

    found = []
    for flags, cuts in _ways(config):
        ways = [flags | cut for cut in cuts]
        # The further a batch is cut, the less it takes.
        if taken(ways[-1]) <= there:
            first = ways[bisect_left(ways, True, key=lambda way: taken(way) <= there)]
            words = ' '.join(f'--config.{key}={value}' for key, value in first.items())
            found.append(say('{flags} (about {taken})', flags=words, taken=readable(taken(first))))
    if found:
        return say('It would fit with {ways}.', ways=say('; or ').join(found[:WAYS]))
    return say('No mesh of these devices, no batch and no remat makes it fit: make the model smaller.')


def _ways(config: ConfigDict) -> Iterator[tuple[dict[str, Any], list[dict[str, int]]]]:
    """Yields flags to try, and what may be set beside them, one after another: those that cost least first."""
    devices, shards = jax.device_count(), layout.batch_shards(make_mesh(config.mesh))
    helps = config.model.get('remat', 'full') != 'full' and _computes_again(config)
    again: dict[str, Any] = {'model.remat': 'full'} if helps else {}
    spread = {f'mesh.{axis}': 1 for axis, size in config.mesh.items() if size != 1} | {'mesh.fsdp': devices}
    stored: dict[str, Any] = spread if devices > 1 and config.mesh.fsdp != devices else {}

    def cuts(shards: int) -> list[dict[str, int]]:
        rows = config.batch_size // shards  # that a device has
        return [{'accumulate': n} for n in range(config.accumulate + 1, rows + 1) if rows % n == 0]

    for flags, over in (({}, shards), (again, shards), (stored, devices), (again | stored, devices)):
        if flags:
            yield flags, [{}]
        if more := cuts(over):
            yield flags, more
    unit = shards * config.accumulate
    if smaller := [{'batch_size': unit * n} for n in range(config.batch_size // unit - 1, 0, -1)]:
        yield {}, smaller
