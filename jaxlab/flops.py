"""FLOPs of a training step: the arithmetic that the *model* asks for, whatever the machine makes of it.

Matrix products and convolutions are counted, a multiplication and an addition as two. Their gradients take twice as
many, and what is computed again to save memory is not counted: the convention in which MFU (model FLOPs utilization) is
reported, PaLM, arXiv:2204.02311, appendix B. For a transformer of N parameters in matrices, l layers and width d, on
rows of t tokens, that is 6 N + 12 l d t for each token.

They are read off the jaxpr of the loss. XLA's own count, `compiled.cost_analysis()`, is of the program and not of the
model: it has the second forward pass of rematerialisation in it, and the body of a loop once, however often it runs.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from jaxlab.parallel.mesh import make_mesh
from jaxlab.task import Task, Tree


def of_step(task: Task, params: Tree, extra: Tree, batch: Mapping[str, Any], key: jax.Array) -> int:
    """Returns the FLOPs of one step: of all its phases, over all devices.

    Args:
      task: what is learned.
      params, extra, batch, key: shapes of the arguments of its losses; the batch is the whole one.
    """
    shape: Any = jax.ShapeDtypeStruct(key.shape, key.dtype)  # without the mesh that it was made on
    task = _without_empty_places(task)
    # On a mesh of one device: what a larger one repeats (replicas, the bubbles of a pipeline) is not the model's.
    with jax.set_mesh(make_mesh({}, jax.local_devices()[:1])):
        return sum(
            3 * phase.repeat * of_jaxpr(jax.make_jaxpr(getattr(task, phase.loss))(params, extra, batch, shape).jaxpr)
            for phase in task.phases
        )


def _without_empty_places(task: Any) -> Task:
    """Returns a task whose experts have no more places than an even spread of tokens takes: empty ones are computed for
    the machine's sake."""
    model: Any = getattr(task, 'model', None)
    return replace(task, model=model.clone(capacity_factor=1.0)) if getattr(model, 'experts', 0) else task


def of_jaxpr(jaxpr: Jaxpr) -> int:
    """Returns the FLOPs of a program: of the products in it, and in the programs that it calls."""
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    params = equation.params
    inner = [of_jaxpr(jaxpr) for jaxpr in _programs(params.values())]
    match equation.primitive.name:
        case 'dot_general':
            left, (out,) = equation.invars[0].aval, equation.outvars
            (contracted, _), _ = params['dimension_numbers']
            return 2 * out.aval.size * math.prod(left.shape[axis] for axis in contracted)
        case 'ragged_dot_general':  # each row meets one group's matrix: [m k] · [g k n]
            left, (out,) = equation.invars[0].aval, equation.outvars
            (contracted, _), _ = params['ragged_dot_dimension_numbers'].dot_dimension_numbers
            return 2 * out.aval.size * math.prod(left.shape[axis] for axis in contracted)
        case 'conv_general_dilated':
            kernel, (out,) = equation.invars[1].aval, equation.outvars
            out_channels = kernel.shape[params['dimension_numbers'].rhs_spec[0]]
            # A transposed convolution spreads its input out with zeros, which nobody multiplies.
            return 2 * out.aval.size * (kernel.size // out_channels) // math.prod(params['lhs_dilation'])
        case 'scan':
            return params['length'] * sum(inner)
        case 'cond':
            return max(inner)
        case 'shard_map':  # the program of each device
            return math.prod(params['mesh'].shape[axis] for axis in params['newly_manual_axes']) * sum(inner)
        case 'pallas_call':
            return math.prod(params['grid_mapping'].grid) * sum(inner)
        case _:  # jit, checkpoint, custom_vjp_call …; of a `while`, which does not say how often it turns, one turn
            return sum(inner)


def _programs(values: Any) -> Iterator[Jaxpr]:
    for value in values:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _programs(value)
