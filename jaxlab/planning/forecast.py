"""The forecast of a run: its step compiled for devices that may not be there, and what follows from the program."""

import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxlab import blueprint, devices, flops, memory
from jaxlab.errors import UserError
from jaxlab.experiment import make_data, make_task
from jaxlab.parallel import layout, target
from jaxlab.parallel.mesh import AXES, make_mesh
from jaxlab.planning import buffers, chips, cost, roofline
from jaxlab.precision import dtypes

# TPU topologies that `--topology` names, as examples; JAX knows more.
EXAMPLES = ('v4:2x2x4', 'v5e:4x4', 'v5e:16x16', 'v5p:4x4x4', 'v5p:8x8x8', 'v6e:16x16')
TOKENS = ('tokens', 'targets', 'positions', 'segments')  # of a batch of text; see tasks/language_model.py


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


def topology(name: str) -> list[Any]:
    """Returns the devices of a TPU topology such as 'v5e:16x16', none of which is here.

    Raises:
      UserError: libtpu is not installed, or knows no such topology.
    """
    import importlib.util

    if importlib.util.find_spec('libtpu') is None:
        raise UserError(
            '--topology={name}: the compiler for TPUs is missing. To install it (137 MB): pip install "jaxlab[plan]",'
            ' in the clone: pip install -e ".[plan]"',
            name=name,
        )
    import os

    # There is no TPU here, so nobody is asked about one.
    settings = {'TPU_SKIP_MDS_QUERY': '1', 'TPU_ACCELERATOR_TYPE': 'v5litepod-1', 'TPU_WORKER_HOSTNAMES': 'localhost'}
    for variable, value in settings.items():
        os.environ.setdefault(variable, value)
    from jax.experimental import topologies

    try:
        return list(topologies.get_topology_desc(platform='tpu', topology_name=name).devices)
    except Exception as error:
        raise UserError(
            '--topology={name}: libtpu knows no such topology ({error}). It is named by generation and chips along each'
            ' dim, such as {examples}.',
            name=name,
            error=str(error).splitlines()[0][:200],
            examples=', '.join(EXAMPLES),
        ) from None


def of(config: ConfigDict, there: Sequence[Any] | None = None) -> Forecast:
    """Returns the forecast of a run.

    Args:
      config: the resolved config.
      there: the devices that it is compiled for; None: those of this process.

    Raises:
      UserError: as training would; and where the program does not fit and the compiler says nothing of it.
    """
    local = there is None
    config = config.copy_and_resolve_references()
    config.steps_per_call = 1  # several steps in a call are a loop of the same one
    mesh = make_mesh(config.mesh, None if there is None else list(there))
    device = mesh.devices.flat[0]
    batch, info = shapes(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    with target.of(device), jax.set_mesh(mesh):
        task = make_task(config, info)
        plan = blueprint.draw(config, task, batch, mesh, key)
        start = time.monotonic()
        dump, stats, available = _compile(plan)
        seconds = time.monotonic() - start
        compute = dtypes(config.precision)[0].name
    chip = chips.find(device.device_kind)
    state = _bytes(plan.arguments[:2])
    given = _bytes(plan.arguments[2])
    other = 0
    temporaries = dump.temporaries
    if stats is not None:
        temporaries = stats.temp_size_in_bytes
        # What is donated is counted with the arguments and with the results, and is there once. Arrays that are laid out
        # in tiles, as on a TPU, take somewhat more than their numbers do.
        results = stats.output_size_in_bytes - stats.alias_size_in_bytes
        other = results + stats.generated_code_size_in_bytes + stats.argument_size_in_bytes - state - given
    limit = memory.limit() if local else available or (chip.memory if chip else 0)
    work = cost.of_program(dump.text, mesh.shape)
    model = flops.of_step(task, plan.abstract.params, plan.abstract.extra, batch, key)
    peak = devices.peak(device.device_kind, compute)
    by_axes: dict[tuple[str, ...], float] = {}
    by_name: dict[str, float] = {}
    for one in work.collectives.values():
        by_axes[one.axes] = by_axes.get(one.axes, 0.0) + one.sent
        name = f'{one.kind} {"×".join(one.axes)}'
        by_name[name] = by_name.get(name, 0.0) + one.sent
    seconds_of, step = dict.fromkeys(('compute', 'memory', 'links'), math.nan), math.nan
    if chip and peak:

        def along(axes: tuple[str, ...]) -> float:
            assert chip is not None
            return roofline.bandwidth_along(mesh, axes, chip)

        found = roofline.times(work.flops, work.traffic, by_axes, peak, chip, along)
        seconds_of = {'compute': found.compute, 'memory': found.memory, 'links': sum(found.links.values())}
        step = found.step()
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
        largest=_largest(plan, dump),
        model_flops=model,
        program_flops=work.flops,
        kernel_flops=work.kernel_flops,
        traffic=work.traffic,
        sent=by_name,
        unknown=sorted(work.unknown),
        seconds=seconds_of,
        step=step,
        mfu=model / (mesh.size * peak * step) if peak else math.nan,
        tokens=_tokens(batch),
        compiled=seconds,
    )


def shapes(config: ConfigDict) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, Any]]:
    """Returns the shapes of a global batch, and what the data say of themselves.

    Of texts whose vocabulary the model is told nothing is read: so a pod is planned before there are data for it. Other
    data are read, a few rows of them.
    """
    if config.data.name == 'text' and config.model.get('vocabulary'):
        shape, length = (config.batch_size, config.data.length), config.data.length
        batch = {name: jax.ShapeDtypeStruct(shape, np.int32) for name in TOKENS}
        return batch | {'mask': jax.ShapeDtypeStruct(shape, np.float32)}, {
            'vocabulary': config.model.vocabulary,
            'length': length,
        }
    one = make_mesh(dict.fromkeys(AXES, 1), jax.local_devices()[:1])
    few = config.copy_and_resolve_references()
    few.batch_size, few.accumulate = 1, 1
    data, found = make_data(few, one)
    size = found.batch_size if config.full_batch else config.batch_size
    return layout.global_shapes(data.largest(), size), dict(data.info)


def _compile(plan: blueprint.Blueprint) -> tuple[buffers.Dump, Any, int]:
    """Compiles the step; returns what XLA has written of it, its statistics (None where it does not fit), and the bytes
    that there are where XLA says so, else 0."""
    from jax.experimental.compilation_cache import compilation_cache

    kept = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        try:  # a program that was kept is written down nowhere
            jax.config.update('jax_enable_compilation_cache', False)
            compilation_cache.reset_cache()
            options = buffers.options(Path(folder))
            compiled = blueprint.compile_step(plan.call, plan.arguments, plan.mesh, options=options)
            stats, available = compiled.memory_analysis(), 0
        except jax.errors.JaxRuntimeError as error:
            if 'RESOURCE_EXHAUSTED' not in str(error):
                raise
            found = re.search(r'available HBM \(([\d.]+)G\)|of ([\d.]+)G hbm', str(error))
            stats, available = None, int(float(found[1] or found[2]) * 2**30) if found else 0
            reason = str(error).splitlines()[0]
        finally:
            jax.config.update('jax_enable_compilation_cache', kept)
            compilation_cache.reset_cache()
        dump = buffers.read(Path(folder))
    if dump is not None:
        return dump, stats, available
    if stats is None:
        raise UserError('the step does not fit, and the compiler says no more than: {reason}', reason=reason)
    return buffers.Dump(compiled.as_text(), stats.temp_size_in_bytes, ()), stats, available


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
