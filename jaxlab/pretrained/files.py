"""Where published weights lie: a folder, a file, or a repository of the Hugging Face hub. Nothing of them is run.

Tensors are named and measured here, and read when they are asked for.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlab import hub
from jaxlab.errors import UserError
from jaxlab.pretrained import safetensors_file, torch_file
from jaxlab.trust.names import inside

WHOLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
TORCH = ('.pth', '.th', '.pt', '.bin')  # what torch.save wrote
SETTINGS = ('config.json', 'preprocessor_config.json')


class Tensor(NamedTuple):
    """A tensor of a file, of which `rows` reads those from start to stop, along its first axis."""

    shape: tuple[int, ...]
    rows: Callable[[int, int], np.ndarray]

    def read(self) -> np.ndarray:
        """Returns all of it."""
        return self.rows(0, self.shape[0] if self.shape else 1)


@dataclass(frozen=True)
class Weights:
    """Published weights.

    Attributes:
      source: what they were asked for by.
      tensors: by their published names.
      config: their config.json; {} where there is none.
      preprocessor: their preprocessor_config.json; {} where there is none.
    """

    source: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)


def find(source: str | Path) -> Weights:
    """Finds weights, and reads what they are called and how large they are.

    Args:
      source: a folder with model.safetensors (or model.safetensors.index.json and what it names, or another single
        file of weights), a file (.safetensors, or .pth, .th, .pt, .bin of torch.save), or 'hf:owner/name', a repository
        of the hub, in a version of it with 'hf:owner/name@version'. HF_ENDPOINT says where the hub is.

    Raises:
      UserError: there is none, it cannot be read or fetched, or an index names a file outside of its folder.
    """
    text = str(source)
    if hub.is_of_hub(text):
        return _of_hub(text)
    is_folder = is_file = False
    with suppress(OSError, RuntimeError, ValueError):  # a name that no file can have, ~nobody
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    if is_folder:
        return _of_folder(text, path)
    if is_file:
        return Weights(text, _of_file(path))
    raise UserError(
        '"{source}": no such file or folder; hf:owner/name takes published weights from the hub.', source=text
    )


def _of_folder(source: str, folder: Path) -> Weights:
    if (folder / WHOLE).is_file():
        tensors = _of_file(folder / WHOLE)
    elif (folder / INDEX).is_file():
        tensors = _of_index(_json(folder / INDEX), folder / INDEX, partial(_beside, folder))
    else:
        files = sorted(path for path in folder.iterdir() if path.suffix in ('.safetensors', *TORCH) and path.is_file())
        if len(files) != 1:
            raise UserError(
                '"{source}": a folder with {whole}, or {index}, or one file of weights is wanted; it has {count}.',
                source=source,
                whole=WHOLE,
                index=INDEX,
                count=len(files),
            )
        tensors = _of_file(files[0])
    settings = (_json(folder / name) for name in SETTINGS)
    return Weights(source, tensors, *settings)


def _of_hub(source: str) -> Weights:
    def needed(file: str) -> Path:
        if (path := hub.fetch(source, file)) is None:
            raise UserError(
                '"{source}" has no {file}: weights in the format safetensors are wanted.', source=source, file=file
            )
        return path

    if whole := hub.fetch(source, WHOLE):
        tensors = _of_file(whole)
    else:
        index = needed(INDEX)
        tensors = _of_index(_json(index), index, lambda name: needed(_plain(name, index)))
    settings = (_json(path) if (path := hub.fetch(source, name)) else {} for name in SETTINGS)
    return Weights(source, tensors, *settings)


def config_of(source: str | Path) -> dict[str, Any]:
    """Returns the config.json of published weights, without these; {} where there is none."""
    if hub.is_of_hub(text := str(source)):
        return _json(path) if (path := hub.fetch(text, SETTINGS[0])) else {}
    return _json(Path(source).expanduser() / SETTINGS[0])


def _of_file(path: Path) -> dict[str, Tensor]:
    if path.suffix in TORCH:
        arrays = torch_file.read(path)
        return {name: Tensor(array.shape, partial(_part, array)) for name, array in arrays.items()}
    from safetensors import SafetensorError

    try:
        found = safetensors_file.read(path)
    except (SafetensorError, OSError, ValueError, LookupError) as error:
        raise _damaged(path, error) from None
    return {name: Tensor(shape, partial(_read, path, rows)) for name, (shape, rows) in found.items()}


def _part(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    return np.asarray(array[start:stop] if array.ndim else array)


def _read(path: Path, rows: Callable[[int, int], np.ndarray], start: int, stop: int) -> np.ndarray:
    try:
        return rows(start, stop)
    except (OSError, ValueError) as error:  # a kind of numbers that we lack is one of these
        raise _damaged(path, error) from None


def _of_index(index: Mapping[str, Any], path: Path, file_of: Callable[[str], Path]) -> dict[str, Tensor]:
    """The tensors of a model in several files, which an index names."""
    places = index.get('weight_map')
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise UserError('{path} is no index of weights: it has no weight_map of names.', path=path)
    files = {file: _of_file(file_of(_plain(file, path))) for file in sorted(set(places.values()))}
    for name, file in places.items():
        if name not in files[file]:
            raise UserError('{path} says that {name} is in {file}, where it is not.', path=path, name=name, file=file)
    return {name: files[file][name] for name, file in places.items()}


def _plain(name: str, index: Path) -> str:
    """Returns a file's name that an index gives, where it is one of its own folder."""
    try:
        if not re.fullmatch(r'[\w.-]+\.safetensors', name):
            raise ValueError(name)
        if not _in_cache(index, name):
            inside(index.parent, name)
    except (ValueError, OSError):
        raise UserError(
            '{path} names "{name}": a .safetensors file of the same folder is wanted, and nothing else is opened.',
            path=index,
            name=name,
        ) from None
    return name


def _in_cache(index: Path, name: str) -> bool:
    """Whether both are links of a snapshot in the hub's cache, whose files lie in the blobs of the same repository."""
    blobs = index.parent.parent.parent / 'blobs'
    return index.is_symlink() and index.resolve().parent == blobs.resolve() == (index.parent / name).resolve().parent


def _beside(folder: Path, name: str) -> Path:
    if not (path := folder / name).is_file():
        raise UserError('{path} is missing, which {index} names.', path=path, index=INDEX)
    return path


def _json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; {} where there is no file."""
    try:
        content = json.loads(path.read_text('utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise UserError('{path} holds no JSON object.', path=path)
    return content


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        '{path} cannot be read, or is damaged ({error}); fetch it again.',
        path=path,
        error=hub.reason(error),
    )
