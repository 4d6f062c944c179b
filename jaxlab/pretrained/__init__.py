"""Published weights: tables of their names and ours, files that hold them, and both ways between the two.

    weights = find('hf:microsoft/resnet-50')                        # or a folder, or a file
    model = resnet.make({}, **resnet_weights.arguments_of(weights.config))
    variables = load(weights, resnet_weights.TRANSFORMERS, variables, new_head=True)
    save('exported', resnet_weights.TRANSFORMERS, variables, resnet_weights.config_of(model))

A family is a table: each row is the name of one of their tensors, the path of ours, and how theirs is laid out.
"""

import math
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.parallel.layout import path_name
from jaxlab.pretrained.family import LAYOUTS, Exported, Family, Piece, Row
from jaxlab.pretrained.files import Weights, find
from jaxlab.pretrained.saving import save

__all__ = ['LAYOUTS', 'Exported', 'Family', 'Row', 'check', 'check_architecture', 'find', 'left_out', 'load', 'save']

HEADED = ('classes', 'purpose')  # fields of a model that are of its head alone
NAMED = 10  # names that a message lists at most
CHUNK = 4 << 20  # bytes of a file that are in memory at a time, beside the leaf that they go into


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
    kept = _kept(weights, family, variables) if new_head else set()

    def read(path: Any, leaf: Any) -> Any:
        pieces = family.pieces(path_name(path), leaf.shape)
        return leaf if path_name(path) in kept else _placed(weights, pieces, leaf)

    return jax.tree_util.tree_map_with_path(read, variables)


def left_out(
    weights: Weights, family: Family, variables: Any, *, new_head: bool = False
) -> tuple[list[str], list[str]]:
    """Returns which of their tensors `load` of the same arguments leaves out, and which of ours stay as they are."""
    kept = _kept(weights, family, variables) if new_head else set()
    leaves = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}
    read = {piece.name for path, shape in leaves.items() if path not in kept for piece in family.pieces(path, shape)}
    read |= {name for name, other in family.again if other in read}
    over = [
        name
        for name in weights.tensors
        if name not in read and not any(re.fullmatch(pattern, name) for pattern in family.ignored)
    ]
    return over, [path.removeprefix('params/') for path in leaves if path in kept]


def _kept(weights: Weights, family: Family, variables: Any) -> set[str]:
    """Returns which of our paths stay as they are under a new head."""
    kept = set()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name = path_name(path)
        there = all(piece.name in weights.tensors for piece in family.pieces(name, leaf.shape))
        if name.startswith(family.head) or (family.optional and name.startswith(family.optional) and not there):
            kept.add(name)
    return kept


def check(weights: Weights, family: Family, variables: Any, *, new_head: bool = False, model: Any = None) -> None:
    """Raises UserError where `load` of the same arguments would, before anything large is read."""
    if model is not None:
        check_architecture(weights, family, model, new_head)
    shapes = {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(variables)}
    pieces = {path: family.pieces(path, shape) for path, shape in shapes.items()}
    kept = _kept(weights, family, variables) if new_head else set()
    wanted = [(path, piece) for path, found in pieces.items() if path not in kept for piece in found]
    unknown = [path for path, found in pieces.items() if not found and path not in kept]
    missing = unknown + [piece.name for _, piece in wanted if piece.name not in weights.tensors]
    known = {piece.name for found in pieces.values() for piece in found}
    known |= {row.theirs for row in family.rows if new_head and row.ours.startswith(family.head)}
    known |= {name for name, other in family.again if _equal(weights, name, other)}
    over = [
        name
        for name in weights.tensors
        if name not in known and not any(re.fullmatch(pattern, name) for pattern in (*family.ignored, *family.spare))
    ]
    if missing or over:
        raise UserError(
            '"{source}": these weights are not those of the model.{missing}{over}',
            source=weights.source,
            missing=say(' It wants, and they lack: {names}.', names=_few(missing)) if missing else '',
            over=say(' They have, and it does not: {names}.', names=_few(over)) if over else '',
        )
    for path, piece in wanted:
        _check_shape(weights, family, path, piece, piece.theirs(shapes[path]), getattr(model, 'vocabulary', 0))


def _equal(weights: Weights, name: str, other: str) -> bool:
    """Whether two of their tensors are there, and are the same numbers."""
    if not {name, other} <= weights.tensors.keys():
        return False
    one, two = weights.tensors[name], weights.tensors[other]
    return one.shape == two.shape and all(
        np.array_equal(one.rows(*span), two.rows(*span)) for span in _spans(one.shape)
    )


def check_architecture(weights: Weights, family: Family, model: Any, new_head: bool = False) -> None:
    """Raises UserError where the config.json beside the weights describes another architecture than the model's."""
    if not weights.config or family.make is None or family.arguments_of is None:
        return
    theirs = family.make({}, **family.arguments_of(weights.config))
    for field in family.structure:
        one, other = getattr(theirs, field), getattr(model, field)
        if one != other and not (new_head and field in HEADED):
            raise UserError(
                '"{source}" has {field}={theirs}, and the model {ours}: another architecture.{head}',
                source=weights.source,
                field=field,
                theirs=one,
                ours=other,
                head=say(' new_head=True leaves their head out.') if field in HEADED else '',
            )


def _check_shape(
    weights: Weights, family: Family, path: str, piece: Piece, wanted: tuple[int, ...], vocabulary: int
) -> None:
    shape = weights.tensors[piece.name].shape
    if piece.row.padded and shape[1:] == wanted[1:] and shape[0] <= wanted[0]:
        if vocabulary and shape[0] != vocabulary:
            raise UserError(
                '"{source}" has {theirs} tokens, and the model {ours}: another vocabulary.',
                source=weights.source,
                theirs=shape[0],
                ours=vocabulary,
            )
        return
    if shape == wanted:
        return
    raise UserError(
        '"{source}": {name} has shape {shape}, and the model wants {wanted}: {why}.',
        source=weights.source,
        name=piece.name,
        shape=list(shape),
        wanted=list(wanted),
        why=say('other classes; new_head=True leaves theirs out')
        if path.startswith(family.head)
        else say('another architecture'),
    )


def _placed(weights: Weights, pieces: list[Piece], leaf: Any) -> jax.Array:
    """Returns a leaf with their numbers. They are read some rows at a time into one array of the leaf's own shape and
    type, so the host holds that array, a chunk, and what was placed before."""
    array = np.empty(leaf.shape, leaf.dtype)
    for piece in pieces:
        tensor, view = weights.tensors[piece.name], piece.view(array)
        if view.ndim:
            view[tensor.shape[0] :] = 0  # rows that only pad ours
        for start, stop in _spans(tensor.shape):
            rows = piece.columns(tensor.rows(start, stop))
            view[(slice(start, stop),) if view.ndim else ()] = rows
    sharding = getattr(leaf, 'sharding', None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    placed = jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
    return jax.block_until_ready(placed)  # until then the host holds it


def _spans(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Returns (start, stop) of chunks of rows of a tensor."""
    rows = shape[0] if shape else 1
    if len(shape) < 2:
        return [(0, rows)]
    step = max(CHUNK // max(8 * math.prod(shape[1:]), 1), 1)
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def _few(names: list[str]) -> str:
    first = ', '.join(names[:NAMED])
    more = len(names) - NAMED
    return say('{names} and {count} more', names=first, count=more) if more > 0 else first
