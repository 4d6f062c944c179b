"""The forecast of a run: its step compiled for devices that may not be there, and what follows from the program."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import blueprint, devices, flops, memory
from jaxlab.parallel import layout, target
from jaxlab.planning import buffers, chips, compiler, cost, drawing, roofline
from jaxlab.precision import dtypes


@dataclass(frozen=True)
class Forecast:
    """Bytes, FLOPs and seconds are of one device and one step, unless it is said otherwise."""

    kind: str
    devices: int
    mesh: Mapping[str, int]
    parameters: int
    state: int  # bytes: parameters, optimizer, average
    batch: int  # bytes
    temporaries: int  # bytes
    other: int  # bytes: results that lie beside the old state, the program itself
    limit: int  # bytes that there are; 0: not known
    largest: Sequence[tuple[str, int]]  # arrays by name, with their bytes
    model_flops: int  # of the whole step, over all devices: what the model asks for
    program_flops: float  # of one device: what XLA has made of it
    kernel_flops: float
    traffic: float  # bytes
    sent: Mapping[str, float]  # bytes, by 'kind over axes'
    unknown: Sequence[str]  # kernels whose products are not counted
    seconds: Mapping[str, float]  # compute, memory, links; nan: not known of this device
    step: float  # seconds that a step is expected to take; nan
    mfu: float
    tokens: int  # of a step, over all devices; where rows are no texts, rows
    compiled: float  # seconds

    @property
    def taken(self) -> int:
        return self.state + self.batch + self.temporaries + self.other

    @property
    def fits(self) -> bool:
        return not self.limit or self.taken <= self.limit

    def of_budget(self, tokens: float) -> dict[str, float]:
        """Returns steps, days and chip-hours that so many tokens take."""
        steps = tokens / self.tokens
        days = steps * self.step / 86400
        return {'tokens': tokens, 'steps': steps, 'days': days, 'chip_hours': days * 24 * self.devices}

    def as_json(self) -> dict[str, Any]:
        found = asdict(self) | {'taken': self.taken, 'fits': self.fits}
        found['largest'] = [{'name': name, 'bytes': size} for name, size in self.largest]
        return found


def of(config: ConfigDict, topology: str = '', whole: bool = False) -> Forecast:
    """Returns the forecast of a run.

    Args:
      config: the resolved config.
      topology: TPUs that it is compiled for, such as 'v5e:16x16'; '': the devices of this process.
      whole: whether machine code for them is made as well; see compiler.py.

    Raises:
      UserError: as training would; or there is no such topology, or no compiler for it.
    """
    config = config.copy_and_resolve_references()
    config.steps_per_call = 1  # several steps in a call are a loop of the same one
    drawn = drawing.draw(config, drawing.topology(topology) if topology else None)
    mesh, plan = drawn.mesh, drawn.plan
    compiled = compiler.elsewhere(config, topology, whole) if topology else compiler.here(drawn)
    device = mesh.devices.flat[0]
    with target.of(device):
        compute = dtypes(config.precision)[0].name
    chip = chips.find(device.device_kind)
    state, given, other = _bytes(plan.arguments[:2]), _bytes(plan.arguments[2]), 0
    temporaries = compiled.dump.temporaries
    if (stats := compiled.stats) is not None:
        temporaries = temporaries or stats.temp_size_in_bytes  # what XLA has written down says it too
        # What is donated is counted with the arguments and with the results, and is there once. Arrays that are laid
        # out in tiles, as on a TPU, take somewhat more than their numbers do.
        results = stats.output_size_in_bytes - stats.alias_size_in_bytes
        other = results + stats.generated_code_size_in_bytes + stats.argument_size_in_bytes - state - given
    limit = memory.limit()
    if topology:
        limit = compiled.available or (chip.memory if chip else 0)
        other += chip.reserved if chip else 0
    work = cost.of_program(compiled.dump.text, mesh.shape)
    model = flops.of_step(drawn.task, plan.abstract.params, plan.abstract.extra, drawn.batch, drawn.key)
    peak = devices.peak(device.device_kind, compute)
    by_axes, by_name = _sent(work)
    seconds, step = dict.fromkeys(('compute', 'memory', 'links'), math.nan), math.nan
    if chip and peak:
        along = partial(roofline.bandwidth_along, mesh, chip=chip)
        found = roofline.times(work.flops, work.kernel_flops, work.traffic, by_axes, peak, chip, along)
        seconds = {'compute': found.compute + found.kernels, 'memory': found.memory, 'links': sum(found.links.values())}
        step = found.step(again=config.model.get('remat', 'none') not in ('none', 'dots', 'offload'))
    return Forecast(
        kind=device.device_kind,
        devices=mesh.size,
        mesh={axis: size for axis, size in mesh.shape.items() if size > 1},
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(plan.abstract.params)),
        state=state,
        batch=given,
        temporaries=temporaries,
        other=max(other, 0),
        limit=limit,
        largest=_largest(plan, compiled.dump),
        model_flops=model,
        program_flops=work.flops,
        kernel_flops=work.kernel_flops,
        traffic=work.traffic,
        sent=by_name,
        unknown=sorted(work.unknown),
        seconds=seconds,
        step=step,
        mfu=model / (mesh.size * peak * step) if peak else math.nan,
        tokens=_tokens(drawn.batch),
        compiled=compiled.seconds,
    )


def _sent(work: cost.Cost) -> tuple[dict[tuple[str, ...], float], dict[str, float]]:
    """Returns the bytes that a device sends, by mesh axes, and by 'kind axes'."""
    by_axes: dict[tuple[str, ...], float] = {}
    by_name: dict[str, float] = {}
    for one in work.collectives.values():
        name = f'{one.kind} {"×".join(one.axes)}'
        by_axes[one.axes] = by_axes.get(one.axes, 0.0) + one.sent
        by_name[name] = by_name.get(name, 0.0) + one.sent
    return by_axes, by_name


def _bytes(tree: Any) -> int:
    """Returns the bytes on each device of shapes that know where they go."""
    return memory.of_tree(tree, jax.tree.map(lambda x: x.sharding, tree))


def _largest(plan: blueprint.Blueprint, dump: buffers.Dump, most: int = 8) -> list[tuple[str, int]]:
    """Returns the largest arrays: of the state by the names of its leaves, of temporaries by what they are made in."""
    found = [(f'{buffer.shape} {_readable_op(buffer.op)}'.strip(), buffer.bytes) for buffer in dump.largest]
    for path, leaf in jax.tree_util.tree_leaves_with_path(plan.arguments[0]):
        name = re.sub(r'(?<=_)\d+(?=/)', '*', layout.path_name(path))
        found.append((name, math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize))
    return sorted(found, key=lambda item: -item[1])[:most]


def _readable_op(op: str) -> str:
    """Shortens 'jit(step)/jvp(jit(loss))/GPT._features/stack/while/body/layers/mlp/up/dot_general' to its end."""
    parts = [part for part in op.split('/') if part not in ('while', 'body', 'closed_call', 'checkpoint')]
    backward = any(part.startswith('transpose(') for part in parts)
    return '/'.join(parts[-4:]) + (' (backward)' if backward else '')


def _tokens(batch: Mapping[str, jax.ShapeDtypeStruct]) -> int:
    if 'tokens' in batch:
        return math.prod(batch['tokens'].shape[:2])
    return next(iter(batch.values())).shape[0]
