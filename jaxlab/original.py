"""What the original of a model makes of the same inputs: that of transformers, which runs on torch.

Nothing else here needs torch, and nobody who uses jaxlab needs this: it makes certificates, and says where two part.
"""

# b batch, h height, w width, c channels

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxlab.errors import UserError
from jaxlab.pretrained import Family
from jaxlab.pretrained.files import Weights

ARGUMENTS = {'tokens': 'input_ids', 'types': 'token_type_ids', 'lengths': 'attention_mask', 'inputs': 'pixel_values'}


@dataclass(frozen=True)
class Original:
    """What came out.

    Attributes:
      made_by: the library and its version.
      layers: our name of a layer -> what it gave back, laid out as ours, in the order in which they did.
      logits: the result.
      gradients: our path of a parameter -> the gradient of the sum of the result times `sums`; {} without those.
    """

    made_by: str
    layers: Mapping[str, np.ndarray]
    logits: np.ndarray
    gradients: Mapping[str, np.ndarray]


def run(
    folder: Path,
    weights: Weights,
    family: Family,
    variables: Any,
    inputs: Mapping[str, np.ndarray],
    *,
    double: bool = False,
    sums: np.ndarray | None = None,
) -> Original:
    """Runs the original on inputs, and listens to its layers.

    Args:
      folder: config.json and weights, as they are published.
      weights: what `find` finds there.
      family: the scheme of names.
      variables: ours, or their shapes.
      inputs: as our model takes them.
      double: in 64 bits instead of 32.
      sums: what the result is multiplied with and summed, for gradients.

    Raises:
      UserError: torch or transformers is not installed, or cannot make the model.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UserError(
            'the original runs on torch, which is not here ({error}): bash launch/setup.sh --extras=reference installs'
            ' it, and --ours does without it.',
            error=error,
        ) from None
    architecture = (weights.config.get('architectures') or [''])[0]
    make: Any = getattr(transformers, str(architecture), None)
    is_model = inspect.isclass(make) and issubclass(make, transformers.PreTrainedModel)
    if not is_model:
        raise UserError(
            '"{folder}": config.json names the architecture "{name}", which transformers {version} has not.',
            folder=folder,
            name=architecture,
            version=transformers.__version__,
        )
    try:
        theirs = make.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except Exception as error:  # whatever the library meets in the folder
        raise UserError(
            '"{folder}": transformers {version} cannot make the original ({error}).',
            folder=folder,
            version=transformers.__version__,
            error=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
        ) from None
    theirs = theirs.eval()
    known = _known(theirs, weights)
    theirs = theirs.double() if double else theirs
    modules = dict(theirs.named_modules())
    layers: dict[str, np.ndarray] = {}

    def listen(ours: str, part: tuple[int, int]) -> Any:
        def hook(module: Any, given: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if ours not in layers:
                layers[ours] = _part(_ours(first.detach().clone().numpy()), part)  # some are changed in place

        return hook

    places = _places(family, variables)
    heard: set[str] = set()
    for path, (name, _, part) in places.items():
        collection, _, ours = path.partition('/')
        ours = ours.rpartition('/')[0]
        if collection == 'params' and name in known and ours and ours not in heard:  # '': of the model itself
            heard.add(ours)
            modules[known[name].rpartition('.')[0]].register_forward_hook(listen(ours, part))
    accepted = inspect.signature(theirs.forward).parameters
    given = {ARGUMENTS[name]: _theirs(name, array) for name, array in inputs.items() if name in ARGUMENTS}
    tensors = {name: torch.from_numpy(array) for name, array in given.items() if name in accepted}
    if double and 'pixel_values' in tensors:
        tensors['pixel_values'] = tensors['pixel_values'].double()
    with torch.set_grad_enabled(sums is not None):
        output = theirs(**tensors)
        logits = next(
            (output[name] for name in ('logits', 'prediction_logits', 'start_logits') if name in output), output[0]
        )
    gradients = {}
    if sums is not None:
        (logits * torch.from_numpy(sums).to(logits.dtype)).sum().backward()
        parameters = dict(theirs.named_parameters())
        for path, (name, ours, part) in places.items():
            tensor = parameters.get(known.get(name, ''))
            if tensor is not None and tensor.grad is not None:
                gradients[path.partition('/')[2]] = ours(_part(tensor.grad.numpy(), part))
    return Original(f'transformers {transformers.__version__}', layers, logits.detach().numpy(), gradients)


def _known(theirs: Any, weights: Weights) -> dict[str, str]:
    """Returns {the published name of a tensor: its name in their model}, which may be another: by its numbers."""
    there: dict[bytes, list[str]] = {}
    names = theirs.state_dict()
    for name, tensor in names.items():
        there.setdefault(_digest(tensor.numpy()), []).append(name)
    found: dict[str, str] = {}
    for name, tensor in weights.tensors.items():
        alike = there.get(_digest(tensor.read()), [])
        own = [one for one in (name, f'{theirs.base_model_prefix}.{name}') if one in alike]
        if own or len(alike) == 1:
            found[name] = (own or alike)[0]
    modules = {name.rpartition('.')[0]: one.rpartition('.')[0] for name, one in found.items()}
    for name in weights.tensors:  # numbers that are alike, as many biases are at birth: they lie beside one that is not
        module, _, last = name.rpartition('.')
        if name not in found and (one := f'{modules.get(module)}.{last}') in names:
            found[name] = one
    return found


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array, np.float32).tobytes()).digest()


def _places(family: Family, variables: Any) -> dict[str, tuple[str, Any, tuple[int, int]]]:
    """Returns {our path: (the name of their tensor, how ours is made of theirs, which part of it)}."""
    from jaxlab.pretrained import LAYOUTS

    found = {}
    for path, leaf in flatten_dict(variables, sep='/').items():
        pieces = family.pieces(path, leaf.shape)
        if len(pieces) == 1:  # of a stack each layer is a tensor of theirs
            found[path] = pieces[0].name, LAYOUTS[pieces[0].row.layout][0], pieces[0].row.part
    return found


def _part(array: np.ndarray, part: tuple[int, int]) -> np.ndarray:
    """Returns one of several that stand side by side along the last axis."""
    which, of = part
    width = array.shape[-1] // of
    return array[..., which * width : (which + 1) * width]


def _ours(array: np.ndarray) -> np.ndarray:
    """Returns [b c h w] as [b h w c], all else as it is."""
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def _theirs(name: str, array: np.ndarray) -> np.ndarray:
    """Returns an input of ours as theirs."""
    if name == 'inputs':
        return np.ascontiguousarray(np.moveaxis(array, -1, 1))
    if name == 'lengths':
        return (np.arange(array.max()) < array[:, None]).astype(np.int64)
    return array.astype(np.int64)
