"""LoRA (Hu et al. 2021, arXiv:2106.09685) for any model and task: what a run adapts, and what it leaves frozen.

    --config.init_from=runs/transformer-1a2b3c4d --config.adapters.rank=4
    --config.adapters.patterns='(".*attention/(query|value)/",)'          # as in the paper: these alone
    --config.adapters.dropout=0.1                                         # of what an adapter sees, in training alone

The weights that `config.init_from` names are an argument of the step, read from there whenever the run starts or goes
on. State, checkpoints and optimizer have the adapters alone and, with `config.init_new_head`, the new last layer.
`jaxlab.nn.adapter` has the formula.
"""

# l layers of a scanned stack, * leading axes, i inputs, o outputs, r rank

import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from jaxlab.errors import UserError
from jaxlab.nn.adapter import DROPOUT, SCALE, A, B, adapted, no_dropout
from jaxlab.optim import is_matrix, stacked
from jaxlab.parallel import layout
from jaxlab.parameter_groups import split
from jaxlab.task import Batch, Task, Tree
from jaxlab.trust import place

RECORD = 'base.json'  # of a workdir: what the weights were that its adapters stand beside
LOOKED_UP = ('vocab', 'positions', 'classes')  # of a table with such rows an input picks one, and sums over none


@dataclass(frozen=True)
class Adapted:
    """What is born of a task's parameters where most of them are frozen: adapters, and a new head.

    Attributes:
      task: what is learned.
      rank: r.
      adapted: the names of the parameters that have an adapter.
      kept: the names of those that are trained whole.
    """

    task: Task
    rank: int
    adapted: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def phases(self) -> Any:
        return self.task.phases

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """As the task's: (params, extra). B is 0, so that at first the model is the frozen one, bit for bit."""
        boxed, extra = self.task.init(key, batch)
        whole = flatten_dict(boxed, sep='/')
        found = {name: whole[name] for name in self.kept}
        for name in self.adapted:
            found |= self._born(name, whole[name], jax.random.fold_in(key, zlib.crc32(name.encode())))
        return unflatten_dict(found, sep='/'), extra

    def _born(self, name: str, box: Any, key: jax.Array) -> dict[str, Any]:
        w, axes = box.value, tuple(box.names)
        layers = w.shape[: stacked(axes)]
        inputs = w.shape[len(layers) : -1]
        spread = 1.0 if axes[-2] in LOOKED_UP else math.prod(inputs) ** -0.5  # x A is as large as x
        a = spread * jax.random.normal(key, (*w.shape[:-1], self.rank), w.dtype)
        b = jnp.zeros((*layers, self.rank, w.shape[-1]), w.dtype)
        return {
            name + A: box.replace(value=a, names=(*axes[:-1], 'rank')),
            name + B: box.replace(value=b, names=(*axes[: len(layers)], 'rank', axes[-1])),
        }


@dataclass(frozen=True)
class Frozen:
    """What is used and never trained: shapes of it, and where they will live.

    Attributes:
      base: parameters, as the task's `init` gives them, without those that are trained whole.
      scales: the factor of each adapter, and the share of its inputs that are dropped, where some are.
      shardings: of both, in one tree.
    """

    base: Tree
    scales: Mapping[str, np.ndarray]
    shardings: Tree

    @property
    def abstract(self) -> Tree:
        """Shapes of all, which know where they go: what the step is compiled for."""
        scales = {name: jax.ShapeDtypeStruct(scale.shape, scale.dtype) for name, scale in self.scales.items()}
        tree = unflatten_dict(flatten_dict(self.base, sep='/') | scales, sep='/')
        return layout.with_shardings(tree, self.shardings)

    @property
    def wanted(self) -> Tree:
        """Shapes of the base, which know where they go: what is read."""
        return split(self.abstract, list(flatten_dict(self.base, sep='/')))[0]

    @property
    def count(self) -> int:
        """How many parameters are frozen."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.base))

    def with_scales(self, tree: Tree) -> Tree:
        """Returns a tree with the factors of the adapters: the base that was read, for the step; or the adapters."""
        shardings = flatten_dict(self.shardings, sep='/')
        scales = {name: jax.device_put(scale, shardings[name]) for name, scale in self.scales.items()}
        return unflatten_dict(flatten_dict(tree, sep='/') | scales, sep='/')


NOTHING = Frozen({}, {}, {})


def draw(config: ConfigDict, task: Task, boxed: Tree, mesh: jax.sharding.Mesh, head: str) -> tuple[Any, Frozen]:
    """Returns the task whose `init` gives what is trained, and what is frozen beside it: with `config.adapters.rank` 0
    the task itself, and nothing.

    Args:
      config: the resolved config.
      task: what is learned.
      boxed: shapes of its parameters, boxed with their axis names.
      mesh: the devices.
      head: the name of the last layer, which is trained whole where `config.init_new_head`.

    Raises:
      UserError: a pattern is no regular expression, or matches nothing that could have an adapter; or inputs are to be
        dropped of one that has none.
    """
    node = config.adapters
    if not node.rank:
        return task, NOTHING
    names = flatten_dict(layout.names(boxed), sep='/')
    shapes = flatten_dict(layout.unbox(boxed), sep='/')
    kept = tuple(name for name in shapes if config.init_new_head and name.startswith(f'{head}/'))
    fits = [name for name in shapes if name not in kept and _fits(names[name], shapes[name].shape, node.rank)]
    chosen = {name for pattern in node.patterns for name in _matching(pattern, fits, node.rank)}
    if not chosen:
        raise UserError('config.adapters.patterns=(): with config.adapters.rank=0 nothing has an adapter.')
    scales = {}
    for name in sorted(chosen):
        layers = shapes[name].shape[: stacked(names[name])]
        scales[name + SCALE] = np.full(layers, node.alpha / node.rank, shapes[name].dtype)
        own = names[name][len(layers) :]
        if node.dropout and own[-2] not in LOOKED_UP:
            if len(own) > 2 or 'experts' in names[name] or len(task.phases) > 1:
                raise no_dropout(name)
            scales[name + DROPOUT] = np.full(layers, node.dropout, shapes[name].dtype)
    base = {name: shapes[name] for name in shapes if name not in kept}
    of_base = {name: names[name] for name in base}
    tree, of_tree = unflatten_dict(base | scales, sep='/'), unflatten_dict(of_base | dict.fromkeys(scales, ()), sep='/')
    frozen = Frozen(unflatten_dict(base, sep='/'), scales, layout.shardings(tree, of_tree, mesh))
    return Adapted(task, node.rank, tuple(name for name in fits if name in chosen), kept), frozen


def _fits(axes: tuple[str, ...], shape: tuple[int, ...], rank: int) -> bool:
    """Whether a parameter can have an adapter: a matrix or a table, by its names, both of whose sides are longer than
    the rank."""
    if not is_matrix(axes):
        return False
    layers = stacked(axes)
    return min(math.prod(shape[layers:-1]), shape[-1]) > rank


def _matching(pattern: Any, names: list[str], rank: int) -> list[str]:
    try:
        found = [name for name in names if re.match(pattern, name)]
    except (re.error, TypeError) as error:
        raise UserError(
            'config.adapters.patterns: "{pattern}": no regular expression ({error}).', pattern=pattern, error=error
        ) from None
    if not found:
        raise UserError(
            'config.adapters.patterns: "{pattern}" matches no matrix or table with sides longer than rank={rank};'
            ' there are {names}.',
            pattern=pattern,
            rank=rank,
            names=', '.join(names[:5]) + (', …' if len(names) > 5 else ''),
        )
    return found


@partial(jax.jit, donate_argnums=0)
def merged(base: Tree, beside: Tree) -> Tree:
    """Returns parameters without adapters that do what those of both trees do: W + scale · A B.

    Args:
      base: what was frozen; donated.
      beside: what was trained, with the scales.
    """
    flat = flatten_dict(base, sep='/') | flatten_dict(beside, sep='/')
    found = {}
    for name, leaf in flat.items():
        if name + A in flat:
            found[name] = adapted(leaf, flat[name + A], flat[name + B], flat[name + SCALE])
        elif not name.endswith((A, B, SCALE, DROPOUT)):
            found[name] = leaf
    return unflatten_dict(found, sep='/')


# --- the base is what it was -----------------------------------------------------------------------------------------


def fingerprints(tree: Tree) -> dict[str, list]:
    """Returns {name: [shape, dtype, 16 hex digits of its bits]}; the same on every mesh, as sums of integers are."""
    sums = jax.device_get(jax.jit(lambda tree: jax.tree.map(_sums, tree))(tree))
    flat = flatten_dict(tree, sep='/')
    return {
        name: [list(flat[name].shape), flat[name].dtype.name, ''.join(f'{int(part):08x}' for part in pair)]
        for name, pair in flatten_dict(sums, sep='/').items()
    }


def _sums(x: jax.Array) -> jax.Array:
    """Returns two sums of the bits of x, each with its place: uint32 [2]."""
    kind = {2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
    bits = jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32)
    place = jnp.zeros(bits.shape, jnp.uint32)
    for axis in range(bits.ndim):
        place = place * jnp.uint32(bits.shape[axis]) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    mixed = bits + place * jnp.uint32(0x9E3779B1)  # from here on as MurmurHash3 mixes the bits of a number
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * jnp.uint32(factor)
    mixed = mixed ^ (mixed >> 16)
    return jnp.stack([mixed.sum(dtype=jnp.uint32), (bits * (2 * place + 1)).sum(dtype=jnp.uint32)])


def remember(workdir: Path, source: str, base: Tree) -> None:
    """Writes what the base is that adapters of a new run stand beside."""
    record = {'init_from': source, 'parameters': fingerprints(base)}
    if jax.process_index() == 0:
        place.write(workdir / RECORD, json.dumps(record, indent=1) + '\n')


def check_base(workdir: Path, source: str, base: Tree) -> None:
    """Raises UserError where the base is not the one that the run was begun with."""
    file = workdir / RECORD
    try:
        before = json.loads(file.read_text('utf-8'))['parameters']
        before.items()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            '{file} is missing or damaged ({error}): it says what weights the adapters stand beside.'
            '\nBring it back from a copy, or give another --workdir to start anew.',
            file=file,
            error=type(error).__name__,
        ) from None
    now = fingerprints(base)
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        raise UserError(
            'config.init_from={source}: its weights are not those that the adapters of {workdir} stand beside ({name}'
            ' and {count} more of {all} differ).\nBring the old weights back, or give another --workdir to start anew.',
            source=source,
            workdir=workdir,
            name=changed[0],
            count=len(changed) - 1,
            all=len(now),
        )
