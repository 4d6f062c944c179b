"""What `plan` compiles: the step of a config, drawn for devices that need not be here."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxlab import blueprint
from jaxlab.errors import UserError
from jaxlab.experiment import make_data, make_task
from jaxlab.parallel import flags, layout, target
from jaxlab.parallel.mesh import AXES, make_mesh

# TPU topologies that `--topology` names, as examples; JAX knows more.
EXAMPLES = ('v4:2x2x4', 'v5e:4x4', 'v5e:16x16', 'v5p:4x4x4', 'v5p:8x8x8', 'v6e:16x16')
TOKENS = ('tokens', 'targets', 'positions', 'segments')  # of a batch of text; see tasks/language_model.py
# There is no TPU here, so nobody is asked about one.
NO_TPU = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # no chip is held, so several processes may compile
}


@dataclass(frozen=True)
class Drawn:
    """A step before it is compiled."""

    mesh: jax.sharding.Mesh
    task: Any
    plan: blueprint.Blueprint
    batch: dict[str, jax.ShapeDtypeStruct]  # global
    key: Any  # the shape of a random key


def draw(config: ConfigDict, there: Sequence[Any] | None = None) -> Drawn:
    """Draws the step of a config for the devices `there`; None: for those of this process.

    Raises:
      UserError: as training would.
    """
    mesh = make_mesh(config.mesh, None if there is None else list(there))
    batch, info = shapes(config)
    key = jax.eval_shape(lambda: jax.random.key(0))  # nothing can be made on devices that are not here
    with target.of(mesh.devices.flat[0]), jax.set_mesh(mesh):
        task = make_task(config, info)
        return Drawn(mesh, task, blueprint.draw(config, task, batch, mesh, key), batch, key)


def topology(name: str) -> list[Any]:
    """Returns the devices of a TPU topology such as 'v5e:16x16', none of which is here.

    Raises:
      UserError: libtpu is not installed, or knows no such topology.
    """
    if importlib.util.find_spec('libtpu') is None:
        raise UserError(
            '--topology={name}: the compiler for TPUs is missing. To install it (137 MB): pip install -e ".[plan]"',
            name=name,
        )
    for setting, value in NO_TPU.items():
        os.environ.setdefault(setting, value)
    variable, wanted = flags.VARIABLES['tpu']
    flags.add(wanted, variable)  # as training there is compiled
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
