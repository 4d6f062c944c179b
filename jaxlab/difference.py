"""Where two computations part: the first tensor, layer by layer forwards, then backwards, in 64 bits.

A side is an experiment with what it has learned, a config as it begins, either of them on a mesh of its own, or a
published model, which its original runs. Two of ours are given the same batch and the same random key, and compared in
the loss that they train on. Beside an original the inputs are fixed ones, the result is the logits, and what is
differentiated is their sum with fixed weights.
"""

# l layers of a scanned stack

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from jaxlab import blueprint, certificate, config_text, experiment, initial
from jaxlab import config as configs
from jaxlab import step as steps
from jaxlab import workdir as workdirs
from jaxlab.anatomy import Listener
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.nn.listening import first_array, layer_by_layer, order
from jaxlab.nn.listening import heard as listen
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import AXES, make_mesh
from jaxlab.parameter_groups import merge
from jaxlab.trust import place

TOLERANCE = 1e-9  # part of the largest number of a tensor
LEAST = (
    1e-4  # … or of this part of the largest number of all: some gradients are 0 but for rounding, as those of biases
)
# of keys, which no softmax sees


@dataclass(frozen=True)
class Side:
    """One of the two: ours, or where the original of a published model lies."""

    name: str
    mesh: jax.sharding.Mesh | None = None
    task: Any = None
    params: Any = None
    extra: Any = None
    data: Any = None
    folder: Path | None = None


@dataclass(frozen=True)
class Seen:
    """What is seen of a side: tensors by name, in the order in which they are made."""

    forward: Mapping[str, np.ndarray]
    backward: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """What comes of comparing tensors of one kind.

    Attributes:
      compared: how many both sides have.
      worst: the largest difference, as a part of the largest number of its tensor.
      first: the name of the first that departs; '': none does.
      how: in words, by how much; or that only one side has it.
    """

    compared: int
    worst: float
    first: str
    how: str = ''


# --- sides -----------------------------------------------------------------------------------------------------------


def side(text: str, overrides: Iterable[tuple[str, str]], allow_import: Iterable[str]) -> Side:
    """Returns what 'configs/cnn.py:tiny', 'runs/cnn-1a2b3c4d@tensor=2,data=4' or 'weights/' names.

    Raises:
      UserError: there is no such thing, or it cannot be built.
    """
    path, _, asked = text.partition('@')
    mesh = _mesh(text, asked)
    if initial.is_workdir(path):
        return _of_experiment(text, path, mesh, overrides, allow_import)
    if path.partition(':')[0].endswith('.py'):
        return _of_config(text, path, mesh, overrides)
    if Path(path).is_dir():
        return Side(text, folder=Path(path))
    raise UserError('"{text}": an experiment, a config file or a folder of weights is wanted.', text=text)


def _mesh(text: str, asked: str) -> dict[str, int]:
    if not re.fullmatch(r'(\w+=\d+(,\w+=\d+)*)?', asked):
        raise UserError('"{text}": a mesh is wanted after @, such as {name}@tensor=2,data=4.', text=text, name='…')
    return {name: int(size) for name, size in (pair.split('=') for pair in asked.split(',') if pair)}


def _exact(config: ConfigDict, mesh: Mapping[str, int]) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.precision.update(compute='float64', parameters='float64')
    config.mesh = ConfigDict(dict.fromkeys(AXES, 1) | dict(mesh))
    return configs.check(config)


def _of_experiment(
    text: str, path: str, mesh: dict[str, int], overrides: Iterable[tuple[str, str]], allow_import: Iterable[str]
) -> Side:
    lab = experiment.load(path, mesh=mesh, overrides=overrides, allow_import=allow_import)
    config = _exact(lab.config, mesh)
    known = workdirs.read_processor(place.of(path), config)
    data, config = experiment.make_data(config, lab.mesh, known)
    task = experiment.make_task(config, data.info)
    params, extra = jax.tree.map(lambda x: x.astype(jnp.float64), (lab.params, lab.extra))
    return Side(text, lab.mesh, task, params, extra, data)


def _of_config(text: str, path: str, asked: dict[str, int], overrides: Iterable[tuple[str, str]]) -> Side:
    config = _exact(config_text.override(config_text.load(path)[0], overrides), asked)
    mesh = make_mesh(config.mesh)
    data, config = experiment.make_data(config, mesh)
    task = experiment.make_task(config, data.info)
    with jax.set_mesh(mesh):
        plan = blueprint.draw(config, task, layout.global_shapes(data.batch(0), config.batch_size), mesh)
        state = initial.of(config, plan)(plan.born())
    return Side(text, mesh, task, state.params, state.extra, data)


# --- looking ---------------------------------------------------------------------------------------------------------


def see(one: Side, batch: Mapping[str, np.ndarray], seed: int = 0) -> Seen:
    """Returns what a side makes of a batch, in the losses of its task and in their gradients."""
    assert one.mesh is not None
    task, key = one.task, jax.random.key(seed)
    forward: dict[str, np.ndarray] = {}
    backward: dict[str, np.ndarray] = {}
    with jax.set_mesh(one.mesh):
        placed = layout.place(dict(batch), layout.batch_sharding(one.mesh))
        for phase in task.phases:
            of = '' if len(task.phases) == 1 else f'{phase.loss}: '
            trained, rest = steps.split(one.params, phase.trains)

            def loss(trained: Any, rest: Any, extra: Any, placed: Any, name: str = phase.loss) -> Any:
                models = {field.name: getattr(task, field.name) for field in fields(task)}
                listeners = {field: Listener(model) for field, model in models.items() if hasattr(model, 'apply')}
                terms, _ = getattr(replace(task, **listeners), name)(merge(rest, trained), extra, placed, key)
                heard: dict[str, Any] = {}
                for listener in listeners.values():
                    for tree in listener.heard:
                        heard |= {
                            path.rpartition('/')[0]: first_array(x) for path, x in flatten_dict(tree, sep='/').items()
                        }
                return steps.mean_loss(terms), {path: x for path, x in heard.items() if x is not None}

            given = trained, rest, one.extra, placed
            names = order(lambda *given: loss(*given)[0], *given)
            (value, heard), gradients = jax.device_get(jax.jit(jax.value_and_grad(loss, has_aux=True))(*given))
            seen = in_order(names, heard, gradients)
            forward |= {of + name: x for name, x in seen.forward.items()} | {f'{of}loss': np.asarray(value)}
            backward |= {of + name: x for name, x in seen.backward.items()}
    return Seen(forward, backward)


def see_logits(model: Any, variables: Any, inputs: Mapping[str, np.ndarray]) -> tuple[Seen, np.ndarray]:
    """Returns what our model makes of fixed inputs; and the weights that its logits were summed with."""
    given = [inputs[name] for name in model.takes]
    rest = {name: tree for name, tree in variables.items() if name != 'params'}
    result, _ = jax.eval_shape(lambda variables: listen(model, variables, *given), variables)
    weights = np.random.RandomState(0).standard_normal(jax.tree.leaves(result)[0].shape)

    def total(params: Any) -> Any:
        result, found = listen(model, {'params': params, **rest}, *given)
        logits = jax.tree.leaves(result)[0]
        return (logits * weights).sum(), (found, logits)

    names = order(model.apply, variables, *given)
    (_, (found, logits)), gradients = jax.device_get(
        jax.jit(jax.value_and_grad(total, has_aux=True))(variables['params'])
    )
    seen = in_order(names, found, gradients)
    return Seen({**seen.forward, 'logits': np.asarray(logits)}, seen.backward), weights


def in_order(names: list[str], heard: Mapping[str, Any], gradients: Any) -> Seen:
    """Returns what was heard in the order of `names`, and gradients in the opposite one; of stacks layer by layer."""
    flat = flatten_dict(gradients, sep='/')
    stacks = [x for path, x in flat.items() if 'layers' in path.split('/')]
    depth = len(stacks[0]) if stacks else 0
    places = layer_by_layer(names, depth)
    own = {path.rpartition('/')[0] for path in flat}
    forward, backward, left = {}, {}, dict(flat)
    for name, path, i in places:
        if path in heard and path in own:
            forward[name] = np.asarray(heard[path] if i is None else heard[path][i])
    for name, path, i in reversed(places):
        for leaf in [leaf for leaf in flat if leaf.rpartition('/')[0] == path]:
            backward[f'{name}/{leaf.rpartition("/")[2]}'] = np.asarray(flat[leaf] if i is None else flat[leaf][i])
            left.pop(leaf, None)
    return Seen(forward, {**backward, **{path: np.asarray(x) for path, x in left.items()}})


def both(one: Side, other: Side) -> dict[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]:
    """Returns {'batch': …, 'forward': …, 'backward': …}: the tensors of both sides.

    Raises:
      UserError: both are published, or an original cannot be run.
    """
    if one.folder is None and other.folder is None:
        mine, theirs = one.data.batch(0), other.data.batch(0)
        a, b = see(one, mine), see(other, mine)
        return {'batch': (mine, theirs), 'forward': (a.forward, b.forward), 'backward': (a.backward, b.backward)}
    if one.folder is not None and other.folder is not None:
        raise UserError('two published models: one of the two sides must be ours, an experiment or a config.')
    ours, folder = (other, one.folder) if one.folder is not None else (one, other.folder)
    assert folder is not None
    mine, theirs = _beside_original(ours, folder)
    a, b = (mine, theirs) if one is ours else (theirs, mine)
    return {'forward': (a.forward, b.forward), 'backward': (a.backward, b.backward)}


def _beside_original(ours: Side, folder: Path) -> tuple[Seen, Seen]:
    from jaxlab import original, pretrained

    weights = pretrained.find(folder)
    family = initial.family_for(weights)
    model, variables = ours.task.model, {'params': ours.params, **ours.extra}
    inputs = certificate.fixed_inputs(certificate.shapes_of(model, ours.data.info.get('shape', ())), 0)
    with jax.set_mesh(ours.mesh):
        seen, sums = see_logits(model, variables, inputs)
    found = original.run(folder, weights, family, variables, inputs, double=True, sums=sums)
    # Of theirs some cannot be heard, and some see more than ours: all rows of what ours takes one of.
    alike = {name for name, x in found.layers.items() if x.size == np.size(seen.forward.get(name, ()))}
    heard = {name: x for name, x in seen.forward.items() if name in alike}
    layers = {name: found.layers[name] for name in heard}
    gradients = {name: x for name, x in seen.backward.items() if name in found.gradients}
    mine = Seen({**heard, 'logits': seen.forward['logits']}, gradients)
    return mine, Seen({**layers, 'logits': found.logits}, {name: found.gradients[name] for name in gradients})


# --- comparing -------------------------------------------------------------------------------------------------------


def compare(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], tolerance: float = TOLERANCE) -> Part:
    """Compares tensors by name, in the order of the first side."""
    worst, first, how, compared = 0.0, '', '', 0
    least = LEAST * max(map(largest, one.values()), default=0.0)
    for name in [*one, *(name for name in other if name not in one)]:
        off = np.inf
        if name not in other:
            told = say('only the first side has it')
        elif name not in one:
            told = say('only the second side has it')
        elif one[name].shape != other[name].shape:
            about = {'one': list(one[name].shape), 'other': list(other[name].shape)}
            told = say('of shape {one}, and of {other}', **about)
        else:
            off = distance(one[name], other[name], least)
            told = say('by {off:.1e} of its largest number', off=off)
            compared, worst = compared + 1, max(worst, off)
        if not off <= tolerance and not first:
            first, how = name, told
    return Part(compared, worst, first, how)


def distance(one: np.ndarray, other: np.ndarray, least: float = 0.0) -> float:
    """Returns the largest difference of two tensors, as a part of their largest number, or of `least` where that is
    larger; infinity where one has a number that is not finite, and the other another."""
    a, b = np.asarray(one, np.float64).reshape(-1), np.asarray(other, np.float64).reshape(-1)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    gap = float(np.abs(a - b, where=np.isfinite(a), out=np.zeros_like(a)).max(initial=0.0))
    return gap / max(largest(a), largest(b), least, 1e-300) if gap else 0.0


def largest(x: np.ndarray) -> float:
    """Returns the largest absolute value, without the -1e9 of what is never predicted."""
    size = np.abs(np.asarray(x, np.float64))
    return float(size.max(initial=0.0, where=size < 1e8))
