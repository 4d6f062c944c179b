"""A run before any of it is computed: the shapes of its state, where they will live, and the step that will change it.

Training begins here, and so does whoever runs its steps again; what both compile is the same program.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import adapters, calls
from jaxlab import step as steps
from jaxlab.config import build
from jaxlab.errors import UserError
from jaxlab.parallel import layout, pmap
from jaxlab.task import Task
from jaxlab.trust import faults

HEAD = 'head'  # what every model calls its last layer


@dataclass(frozen=True)
class Blueprint:
    """What `draw` returns."""

    mesh: jax.sharding.Mesh
    task: Task
    key: jax.Array  # the run's
    names: Any  # axis names of the parameters
    abstract: steps.TrainState  # shapes
    shardings: steps.TrainState
    frozen: adapters.Frozen  # what stands beside the state and is never trained
    init: Callable[[jax.Array], steps.TrainState]
    step: steps.Step  # a single one, pure, of global arrays
    call: steps.Step  # what one dispatch runs: the step, or several
    arguments: Any  # of a call: shapes that know where they go
    given_shardings: Any  # of what a call trains on

    def of(self, batch: Mapping[str, jax.ShapeDtypeStruct], most: int) -> Any:
        """Returns the arguments of a call whose batches have another shape; `most` is its number of steps."""
        _, given, shardings = calls.prepare(self.step, batch, self.mesh, most)
        return *self.arguments[:2], layout.with_shardings(given, shardings)

    def born(self) -> steps.TrainState:
        """Returns the state before the first step, made in its shardings: nothing large is ever whole on one device."""
        return jax.jit(self.init, out_shardings=self.shardings)(self.key)


def draw(
    config: ConfigDict, task: Task, batch: Mapping[str, jax.ShapeDtypeStruct], mesh: jax.sharding.Mesh, key: Any = None
) -> Blueprint:
    """Returns the blueprint of a run, under the ambient mesh `mesh`.

    Args:
      config: the resolved config.
      task: what is learned.
      batch: the shapes of a global batch.
      mesh: the devices.
      key: the run's; default: that of `config.seed`. Its shape is enough where nothing will be born, as on devices that
        are not there.

    Raises:
      UserError: an optimizer's arguments, shapes that the mesh does not divide, or what `config.compile` cannot do.
    """
    key = jax.random.key(config.seed) if key is None else key
    boxed = jax.eval_shape(task.init, key, batch)[0]
    trained, frozen = adapters.draw(config, task, boxed, mesh, HEAD)
    names = layout.names(jax.eval_shape(trained.init, key, batch)[0])
    for of in task.phases:
        if of.optimizer not in config:
            raise UserError(
                'config.{key}: the config file sets none; c.{key} = spec("{room}.…") does.',
                key=of.optimizer,
                room='optim',
            )
    optimizers = [
        build(config[of.optimizer], steps.split(names, of.trains)[0], config.steps * of.repeat, key=of.optimizer)
        for of in task.phases
    ]
    init = partial(steps.init, trained, optimizers, config.average, batch)
    abstract = jax.eval_shape(init, key)
    shardings = layout.state_shardings(abstract, names, mesh, frozen.shardings, layout.names(boxed))
    how = {'accumulate': config.accumulate, 'average': config.average, 'spike': config.numbers.spike}
    single = step = steps.make_step(task, optimizers, **how)
    if config.compile == 'pmap':
        pmap.check(mesh, [of.loss for of in task.phases], bool(jax.tree.leaves(abstract.extra)))
        single = pmap.mapped(steps.make_step(task, optimizers, over=pmap.AXIS, **how), mesh)
    call, given, given_shardings = calls.prepare(single, batch, mesh, config.steps_per_call)
    state, given = layout.with_shardings(abstract, shardings), layout.with_shardings(given, given_shardings)
    arguments = state, frozen.abstract, given
    return Blueprint(mesh, task, key, names, abstract, shardings, frozen, init, step, call, arguments, given_shardings)


def compile_shapes(
    plan: Blueprint, shapes: Sequence[Mapping[str, Any]], rows: int, largest: Callable[..., Any], donate: bool = True
) -> Callable[..., Any]:
    """Returns a call for batches of several shapes, each of which is compiled here.

    Args:
      plan: of the run, drawn for the largest of them.
      shapes: a batch of each, this process's rows, the largest first; () where there is one shape only.
      rows: of a global batch.
      largest: the call that is compiled for the largest.
      donate: as of `compile_step`.
    """
    if not shapes:
        return largest
    programs = {form(shapes[0]): largest}
    for batch in shapes[1:]:
        arguments = plan.of(layout.global_shapes(batch, rows), 1)
        programs[form(batch)] = compile_step(plan.call, arguments, plan.mesh, donate)
    return lambda state, frozen, batch: programs[form(batch)](state, frozen, batch)


def form(batch: Mapping[str, Any]) -> tuple:
    """Returns what tells batches of different shapes apart, whoever reads which of their rows."""
    return tuple(sorted((name, array.shape[1:]) for name, array in batch.items()))


def compile_step(
    step: Callable[..., Any],
    arguments: tuple[Any, ...],
    mesh: jax.sharding.Mesh,
    donate: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Compiles a step for shapes with shardings. What comes back never compiles again: other shapes are an error.

    With `donate`, the memory of the old state becomes the new one's. `options` are the compiler's.
    """
    out_shardings = jax.tree.map(lambda x: x.sharding, arguments[0]), None
    faults.reach('compile')
    with jax.set_mesh(mesh):  # a thread begins without the mesh of the one that started it
        jitted = jax.jit(step, donate_argnums=0 if donate else (), out_shardings=out_shardings)
        return jitted.lower(*arguments).compile(compiler_options=dict(options) if options else None)
