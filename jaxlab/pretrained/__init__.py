"""Published weights: tables of their names and ours, files that hold them, and both ways between the two.

    weights = find('hf:microsoft/resnet-50')                        # or a folder, or a file
    model = resnet.make({}, **resnet_weights.arguments_of(weights.config))
    variables = load(weights, resnet_weights.TRANSFORMERS, variables, new_head=True)
    save('exported', resnet_weights.TRANSFORMERS, variables, resnet_weights.config_of(model))

A family is a table: each row is the name of one of their tensors, the path of ours, and how theirs is laid out.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.parallel.layout import path_name
from jaxlab.pretrained.files import Tensor, Weights, find

__all__ = ['LAYOUTS', 'Family', 'Row', 'check', 'check_architecture', 'find', 'load', 'save']

NAMED = 10  # names that a message lists at most

# How torch lays a tensor out, and how we do: (theirs -> ours, ours -> theirs). All are views of the same numbers.
LAYOUTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    'same': (lambda x: x, lambda x: x),
    'linear': (lambda x: x.T, lambda x: x.T),  # [o i] and [i o]
    'conv': (  # [o i *window] and [*window i o]
        lambda x: np.moveaxis(x, (0, 1), (-1, -2)),
        lambda x: np.moveaxis(x, (-1, -2), (0, 1)),
    ),
    'pointwise': (lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None]),  # [o i 1 1] and [i o]
    'first': (lambda x: x[0], lambda x: x[None]),  # theirs has a first axis of 1
}


class Row(NamedTuple):
    """One kind of tensor: 'layer{stage+1}.{block}.conv1.weight', 'params/stage_{stage}_block_{block}/…', 'conv'.

    What stands in braces is a number: found in our path, and filled into their name (one more, where that says so).
    """

    theirs: str
    ours: str
    layout: str = 'same'


@dataclass(frozen=True)
class Family:
    """What is published under one scheme of names.

    Attributes:
      rows: the table.
      ignored: patterns of their names that hold nothing we need.
      beside: (pattern, names) of whole numbers, 0, that an export has beside a tensor: torch counts batches.
      make: makes the model, and `arguments_of` its arguments from their config.json.
      structure: fields of the model that say which architecture it is.
      head: where our head is.
    """

    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()
    make: Callable[..., Any] | None = None
    arguments_of: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    structure: tuple[str, ...] = ()
    head: str = 'params/head/'

    def named(self, path: str) -> tuple[str, str]:
        """Returns their name of our path, and the layout; ('', '') where the table has none."""
        for row in self.rows:
            pattern = re.sub(r'\\\{(\w+)\\\}', r'(?P<\1>[0-9]+)', re.escape(row.ours))
            if found := re.fullmatch(pattern, path):
                return re.sub(r'\{(\w+)(\+1)?\}', lambda place: _filled(place, found), row.theirs), row.layout
        return '', ''


def _filled(place: re.Match[str], found: re.Match[str]) -> str:
    return str(int(found[place[1]]) + (1 if place[2] else 0))


def load(
    source: str | Path | Weights, family: Family, variables: Any, *, new_head: bool = False, model: Any = None
) -> Any:
    """Reads published weights into variables, leaf by leaf: one at a time is in the memory of the host.

    Args:
      source: what `find` finds, or a folder, a file, or 'hf:owner/name'.
      family: the scheme of their names.
      variables: {'params': …, 'batch_stats': …} of arrays or shapes, without boxes; each leaf gets the dtype and the
        sharding of the one that stands here.
      new_head: leave our head as it stands here, and theirs out.
      model: ours; given, its architecture is compared with their config.json first.

    Returns:
      `variables`, with their numbers.

    Raises:
      UserError: their names or shapes are not those of the model, or a file cannot be read.
    """
    weights = source if isinstance(source, Weights) else find(source)
    check(weights, family, variables, new_head=new_head, model=model)

    def read(path: Any, leaf: Any) -> Any:
        name, layout = family.named(path_name(path))
        kept = new_head and path_name(path).startswith(family.head)
        return leaf if kept else _placed(weights.tensors[name], layout, leaf)

    return jax.tree_util.tree_map_with_path(read, variables)


def check(weights: Weights, family: Family, variables: Any, *, new_head: bool = False, model: Any = None) -> None:
    """Raises UserError where `load` of the same arguments would, before anything large is read."""
    if model is not None:
        check_architecture(weights, family, model, new_head)
    shapes = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}
    kept = {path for path in shapes if new_head and path.startswith(family.head)}
    names = {path: family.named(path) for path in shapes if path not in kept}
    left = {family.named(path)[0] for path in kept}
    left |= {row.theirs for row in family.rows if new_head and row.ours.startswith(family.head)}
    missing = [name or path for path, (name, _) in names.items() if name not in weights.tensors]
    known = {name for name, _ in names.values()} | left
    over = [
        name
        for name in weights.tensors
        if name not in known and not any(re.fullmatch(pattern, name) for pattern in family.ignored)
    ]
    if missing or over:
        raise UserError(
            '"{source}": these weights are not those of the model.{missing}{over}',
            source=weights.source,
            missing=say(' It wants, and they lack: {names}.', names=_few(missing)) if missing else '',
            over=say(' They have, and it does not: {names}.', names=_few(over)) if over else '',
        )
    for path, (name, layout) in names.items():
        _check_shape(weights, family, path, shapes[path], name, layout)


def check_architecture(weights: Weights, family: Family, model: Any, new_head: bool = False) -> None:
    """Raises UserError where the config.json beside the weights describes another architecture than the model's."""
    if not weights.config or family.make is None or family.arguments_of is None:
        return
    theirs = family.make({}, **family.arguments_of(weights.config))
    for field in family.structure:
        one, other = getattr(theirs, field), getattr(model, field)
        if one != other and not (new_head and field == 'classes'):
            raise UserError(
                '"{source}" has {field}={theirs}, and the model {ours}: another architecture.{head}',
                source=weights.source,
                field=field,
                theirs=one,
                ours=other,
                head=say(' new_head=True leaves their classes out.') if field == 'classes' else '',
            )


def save(
    folder: str | Path,
    family: Family,
    variables: Any,
    config: Mapping[str, Any] | None = None,
    preprocessor: Mapping[str, Any] | None = None,
) -> None:
    """Writes variables under the published names: model.safetensors, config.json and preprocessor_config.json.

    Args:
      folder: made if it is not there; what it has of these files is replaced.
      family: the scheme of names.
      variables: {'params': …, 'batch_stats': …} of arrays, without boxes; numbers are written as they are.
      config: of the published code, by which it makes the model.
      preprocessor: likewise, what it does to pictures.

    Raises:
      UserError: the table has no name for a leaf.
      OSError: the folder cannot be written.
    """
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name, layout = family.named(path_name(path))
        if not name:
            raise UserError('{path}: nothing that is published has such a parameter.', path=path_name(path))
        tensors[name] = np.ascontiguousarray(LAYOUTS[layout][1](np.asarray(leaf)))
        for pattern, beside in family.beside:
            if found := re.fullmatch(pattern, name):
                tensors[found.expand(beside)] = np.zeros((), np.int64)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / 'model.safetensors.part', metadata={'format': 'pt'})
    os.replace(folder / 'model.safetensors.part', folder / 'model.safetensors')
    for file, content in (('config.json', config), ('preprocessor_config.json', preprocessor)):
        if content is not None:
            text = json.dumps(dict(content), indent=2, ensure_ascii=False)
            (folder / file).write_text(text + '\n', encoding='utf-8')


def _check_shape(weights: Weights, family: Family, path: str, wanted: tuple, name: str, layout: str) -> None:
    shape = weights.tensors[name].shape
    in_theirs = LAYOUTS[layout][1](np.broadcast_to(np.float32(0), wanted)).shape  # takes no memory
    if shape == in_theirs:
        return
    raise UserError(
        '"{source}": {name} has shape {shape}, and the model wants {wanted}: {why}.',
        source=weights.source,
        name=name,
        shape=list(shape),
        wanted=list(in_theirs),
        why=say('other classes; new_head=True leaves theirs out')
        if path.startswith(family.head)
        else say('another architecture'),
    )


def _placed(tensor: Tensor, layout: str, leaf: Any) -> jax.Array:
    array = LAYOUTS[layout][0](tensor.read()).astype(leaf.dtype)
    sharding = getattr(leaf, 'sharding', None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
    return jax.block_until_ready(placed)  # until then the host holds it


def _few(names: list[str]) -> str:
    first = ', '.join(names[:NAMED])
    more = len(names) - NAMED
    return say('{names} and {count} more', names=first, count=more) if more > 0 else first
