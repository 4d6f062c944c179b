"""Any step of a run, run again: its batch and its key are functions of its position, and what came before it is in a
checkpoint, or in the steps since then, which are run again as well.

What runs is the very program that training compiles. So on the same machine, mesh and versions the loss is the logged
one to the last bit; where it is not, what is on record of the run may say why.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxlab import blueprint, calls, config_text, determinism, initial
from jaxlab import config as configs
from jaxlab import workdir as workdirs
from jaxlab.anatomy import Anatomy, dissect
from jaxlab.blueprint import compile_shapes, compile_step
from jaxlab.checkpoint import Checkpoints
from jaxlab.debug_nans import culprit, finite
from jaxlab.errors import UserError
from jaxlab.experiment import make_data, make_task
from jaxlab.messages import say
from jaxlab.observers import history
from jaxlab.observers.meter import of_terms
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import AXES, make_mesh
from jaxlab.trust import first_bad, lines, place
from jaxlab.trust.secrets import without_secrets


@dataclass(frozen=True)
class Replay:
    """What came out.

    Attributes:
      step: which step.
      origin: the checkpoint that was begun at; 0: the state before the first step.
      row: what the step logs, but for what depends on time: {'train/loss': …, …}.
      logged: the same of metrics.jsonl; {} where the step has no row.
      nearest: the logged step that is nearest; 0: there is none.
      changed: what is not as it was when the step was trained, for people.
      finite: whether all of its terms, and the parameters after it, are finite.
      first: where the first number that is not finite came from, if one can say.
      batch: what it trained on, numpy arrays [rows, …].
      processor: of the run: it makes text of tokens.
      anatomy: of each phase, by the name of its loss.
    """

    step: int
    origin: int
    row: dict[str, float]
    logged: dict[str, float]
    nearest: int
    changed: list[str]
    finite: bool
    first: first_bad.Operation | first_bad.Argument | None
    batch: Mapping[str, np.ndarray]
    processor: Any
    anatomy: dict[str, Anatomy]

    @property
    def differs(self) -> list[str]:
        """The names of what did not come out as it was logged, bit for bit."""
        return [name for name in self.logged if _bits(self.logged[name]) != _bits(self.row.get(name))]

    @property
    def bitwise(self) -> bool | None:
        """Whether the loss came out as it was logged, bit for bit; None where it was not logged."""
        return 'train/loss' not in self.differs if self.logged else None


def replay(
    workdir: str | Path,
    step: int,
    *,
    overrides: Iterable[tuple[str, str]] = (),
    allow_import: Iterable[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Replay:
    """Runs a step of a run again, on the run's own mesh, from the nearest checkpoint before it. Nothing is written.

    Args:
      workdir: of the run.
      step: from 1 to the last.
      overrides: pairs such as ('mesh.fsdp', '8'); of what may change when a run is resumed.
      allow_import: packages of the user's own that the config may import parts from.
      tell: hears, before it begins, how many steps are run.

    Raises:
      UserError: there is no run, or no such step, or its parts cannot be built as they were.
    """
    workdir = place.of(workdir)
    config = configs.check(config_text.override(workdirs.read_config(workdir, allow_import), overrides))
    determinism.switch(config.deterministic)
    trained_on = workdirs.read_data(workdir)['fingerprint']
    workdirs.check_identity(workdir, config)
    mesh = make_mesh(config.mesh)
    data, config = make_data(config, mesh, workdirs.read_processor(workdir, config))
    if not 1 <= step <= config.steps:
        raise UserError('--step={step}: the run has the steps 1 to {steps}.', step=step, steps=config.steps)
    if data.fingerprint != trained_on:
        about = {'found': data.fingerprint, 'trained_on': trained_on}
        tell(say('note: these are not the data of the training run (fingerprint {found}, not {trained_on})', **about))
    task = make_task(config, data.info)
    checkpoints = Checkpoints(workdir)
    with jax.set_mesh(mesh), closing(checkpoints):
        plan = blueprint.draw(config, task, layout.global_shapes(data.largest(), config.batch_size), mesh)
        origin = checkpoints.latest(step - 1) or 0
        frozen, its_extra = initial.base(config, plan, workdir, fresh=False)
        if origin:
            state = checkpoints.restore(plan.arguments[0], step - 1)
            origin = int(state.step)  # a damaged checkpoint is passed over
            tell(say('from the checkpoint of step {origin}, {count} steps', origin=origin, count=step - origin))
        else:
            state = initial.of(config, plan)(plan.born())
            state = state.replace(extra=its_extra) if frozen else state
            tell(say('from the beginning, {count} steps: there is no checkpoint before', count=step))
        call = compile_step(plan.call, plan.arguments, mesh)
        call = compile_shapes(plan, data.shapes, config.batch_size, call)
        how = config.steps_per_call, plan.given_shardings, frozen
        if step - 1 > origin:
            state, _ = calls.run(call, state, data.batch, step - 1, *how)
        before = jax.tree.map(jnp.copy, state)  # the state itself is donated
        after, terms = calls.run(call, state, data.batch, step, *how)
        row = of_terms(terms)
        good = finite(row, after)
        first = None if good else culprit(plan, before, data.batch, frozen)
        batch = data.batch(step - 1 + int(before.data_offset))
        placed = layout.place(batch, layout.batch_sharding(mesh))
        anatomy = dissect(task, config.accumulate, before, frozen, placed)
    logged, nearest = _logged(workdir, step)
    logged = {name: value for name, value in logged.items() if name in row}
    changed = _changed(workdir, step, config, mesh)
    return Replay(step, origin, row, logged, nearest, changed, good, first, batch, data.processor, anatomy)


def _bits(value: float | None) -> bytes | None:
    """Returns what two floats share when they are the same to the last bit; a NaN is a NaN."""
    return None if value is None else b'NaN' if value != value else np.float64(value).tobytes()


def _logged(workdir: Path, step: int) -> tuple[dict[str, float], int]:
    """Returns the row of a step of metrics.jsonl, {} where there is none, and the step of the row that is nearest."""
    found, nearest = {}, 0
    for row in lines.rows(workdir / 'metrics.jsonl'):
        if 'train/loss' not in row:
            continue
        if row['step'] == step:
            found = row
        if not nearest or abs(row['step'] - step) < abs(nearest - step):
            nearest = row['step']
    return found, nearest


def _changed(workdir: Path, step: int, config: ConfigDict, mesh: jax.sharding.Mesh) -> list[str]:
    """Returns lines such as 'jax: 0.10.1 → 0.10.2': what runs.json says of the process that trained a step, and is
    otherwise now."""
    try:
        runs = json.loads((workdir / 'runs.json').read_text('utf-8'))
        was = [run for run in runs if run['from_step'] < step <= run['step']][-1]
        asked = {key: new for key, (_, new) in was['changed'].items()}
        before = {**was['versions'], 'device_kind': was['device_kind'], 'processes': was['processes'], **asked}
        before['mesh'] = dict(re.findall(rf'\b({"|".join(AXES)}) (\d+)', was['devices']))
    except (OSError, ValueError, LookupError, TypeError):  # none, or damaged: nothing is known
        return []
    values = without_secrets(json.loads(json.dumps(configs.leaves(config), default=str)))  # as runs.json has them
    now = {**values, **history.versions(), 'device_kind': jax.devices()[0].device_kind}
    now |= {'processes': jax.process_count(), 'mesh': {axis: str(n) for axis, n in mesh.shape.items() if n > 1}}
    watched = [key for key in before if not key.startswith(('mesh.', 'log.', 'checkpoint.', 'evaluate.', 'best.'))]
    return [f'{key}: {before[key]} → {now.get(key)}' for key in watched if before[key] != now.get(key)]
