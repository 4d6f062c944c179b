"""Writes variables under published names, in files of a size that hubs and file systems like."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlab.errors import UserError
from jaxlab.parallel.layout import path_name
from jaxlab.pretrained.family import Family, Piece
from jaxlab.pretrained.files import INDEX, WHOLE

SHARD = 5 << 30  # bytes of a file at most, unless one tensor has more


class Target(NamedTuple):
    """One of their tensors, and what of ours it is made of."""

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: list[tuple[Any, Piece]]  # leaves of ours

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        for leaf, piece in self.pieces:
            whole = piece._replace(layer=None)  # a layer is taken where the leaf lies, so that it alone comes here
            found = whole.view(np.asarray(leaf if piece.layer is None else leaf[piece.layer]))
            piece.columns(array)[...] = found[: len(array)] if array.ndim else found
        return array


def save(
    folder: str | Path,
    family: Family,
    variables: Any,
    config: Mapping[str, Any] | None = None,
    preprocessor: Mapping[str, Any] | None = None,
    *,
    rows: int = 0,
    shard: int = SHARD,
) -> None:
    """Writes variables under the published names: model.safetensors, config.json and preprocessor_config.json.

    Args:
      folder: made if it is not there; what it has of these files is replaced.
      family: the scheme of names.
      variables: {'params': …, 'batch_stats': …} of arrays, without boxes; numbers are written as they are.
      config: of the published code, by which it makes the model.
      preprocessor: likewise, what it does to pictures.
      rows: of tables that are padded, so many are written; 0: all.
      shard: bytes of a file at most; more are several files, and model.safetensors.index.json says what is where.

    Raises:
      UserError: the table has no name for a leaf.
      OSError: the folder cannot be written.
    """
    targets = _targets(family, variables, rows)
    files = _files(targets, shard)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / WHOLE, folder / INDEX):  # of what was here before, nothing is mistaken for the new
        old.unlink(missing_ok=True)
    places: dict[str, str] = {}
    for file, names in files.items():
        tensors = {name: targets[name].array() for name in names} | _beside(family, names)
        _write(folder / file, tensors)
        places |= dict.fromkeys(tensors, file)
        del tensors  # before the next ones come
    if len(files) > 1:
        size = sum(target.size for target in targets.values())
        write_json(folder / INDEX, {'metadata': {'total_size': size}, 'weight_map': places})
    for file, content in (('config.json', config), ('preprocessor_config.json', preprocessor)):
        if content is not None:
            write_json(folder / file, content)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes an object as a JSON file."""
    file.write_text(json.dumps(dict(content), indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def _targets(family: Family, variables: Any, rows: int) -> dict[str, Target]:
    targets: dict[str, Target] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        pieces = family.pieces(path_name(path), leaf.shape)
        if not pieces:
            raise UserError('{path}: nothing that is published has such a parameter.', path=path_name(path))
        for piece in pieces:
            shape = piece.theirs(leaf.shape)
            if piece.row.padded and rows:
                shape = (rows, *shape[1:])
            target = targets.setdefault(piece.name, Target(shape, np.dtype(leaf.dtype), []))
            target.pieces.append((leaf, piece))
    return targets


def _files(targets: Mapping[str, Target], shard: int) -> dict[str, list[str]]:
    """Returns which tensors stand in which file."""
    parts: list[list[str]] = [[]]
    size = 0
    for name, target in targets.items():
        if parts[-1] and size + target.size > shard:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += target.size
    if len(parts) == 1:
        return {WHOLE: parts[0]}
    return {f'model-{number:05}-of-{len(parts):05}.safetensors': names for number, names in enumerate(parts, 1)}


def _beside(family: Family, names: list[str]) -> dict[str, np.ndarray]:
    """Returns what a family has beside tensors of these names."""
    found = ((re.fullmatch(pattern, name), beside) for name in names for pattern, beside in family.beside)
    return {match.expand(beside): np.zeros((), np.int64) for match, beside in found if match}


def _write(file: Path, tensors: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    part = file.with_name(file.name + '.part')
    save_file(tensors, part, metadata={'format': 'pt'})
    os.replace(part, file)
