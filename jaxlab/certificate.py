"""A certificate of weights: what every layer of a model makes of fixed inputs, in one small JSON file beside them.

    python -m jaxlab.main certify weights/            # from transformers, where it is installed: by the original itself
    python -m jaxlab.main certify exported/ --ours    # from our own model

Whoever imports the weights later compares, and needs no original for it: the root mean square of what each layer gives
back, and a part of the logits. The inputs are a function of the seed and the shapes in the record alone.
"""

# b rows, t tokens, h height, w width, c channels

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxlab.errors import UserError
from jaxlab.nn.listening import heard, layer_by_layer, order
from jaxlab.trust import place

NAME = 'certificate.json'
ROWS, LENGTH, SIZE, LOGITS = 2, 24, 64, 256  # of texts and pictures, where a model lets us choose; numbers of logits
LARGEST = 1 << 24  # numbers of an input
CLOSE = 1e-4  # by how much of itself a layer may differ: both sides compute in float32, in other orders


@dataclass(frozen=True)
class Certificate:
    """What a record holds.

    Attributes:
      made_by: whose computation it is of: 'transformers 5.23.0', 'jaxlab 0.1.0'.
      seed: of the inputs.
      inputs: name -> [shape, how many there are of what it counts; 0: none].
      layers: pairs (name, root mean square of what it gives back), in the order in which they do.
      logits: numbers of the result, evenly spread.
      shape: of the result.
    """

    made_by: str
    seed: int
    inputs: Mapping[str, Any]
    layers: Sequence[Any]
    logits: Sequence[float]
    shape: Sequence[int]
    format: int = field(default=1)


# --- fixed inputs ----------------------------------------------------------------------------------------------------


def shapes_of(model: Any, picture: Sequence[int] = ()) -> dict[str, list]:
    """Returns {name: [shape, how many there are]} of inputs that a model takes.

    Args:
      model: ours: its `takes` names them.
      picture: height, width and channels, where it takes pictures.
    """
    text = [ROWS, min(LENGTH, getattr(model, 'context', LENGTH))]
    counts = {'tokens': getattr(model, 'vocabulary', 0), 'types': min(getattr(model, 'types', 0), 2)}
    known = {'lengths': [[ROWS], text[1]], 'inputs': [[ROWS, *(picture or (SIZE, SIZE, 3))], 0]}
    return {name: known.get(name, [text, counts.get(name, 0)]) for name in model.takes}


def fixed_inputs(shapes: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Returns the inputs of a record. They come from a generator of numpy whose numbers never change."""
    draw, found = np.random.RandomState(seed), {}
    for name in sorted(shapes):
        shape, count = tuple(shapes[name][0]), shapes[name][1]
        if name == 'inputs':
            found[name] = draw.standard_normal(shape).astype(np.float32)
        elif name == 'tokens':
            found[name] = draw.randint(0, count, shape).astype(np.int32)
        elif name == 'types':  # the second half of a row is another text
            found[name] = np.tile(np.arange(shape[1]) * count // shape[1], (shape[0], 1)).astype(np.int32)
        elif name == 'lengths':  # nothing is padding, of which each implementation makes what it likes
            found[name] = np.full(shape, count, np.int32)
        elif name == 'positions':
            found[name] = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
        elif name == 'segments':
            found[name] = np.ones(shape, np.int32)
        else:
            raise UserError('a certificate has no fixed input of name {name}.', name=name)
    return found


# --- making ----------------------------------------------------------------------------------------------------------


def of_model(model: Any, variables: Any, shapes: Mapping[str, Any], seed: int = 0, made_by: str = '') -> Certificate:
    """Returns the certificate of our own model with its variables, {'params': …, …}, computed in float32."""
    from jaxlab import __version__

    names, sizes, logits = _look(model, variables, fixed_inputs(shapes, seed))
    layers = [(name, float(sizes[name])) for name in names]
    about = made_by or f'jaxlab {__version__}'
    return Certificate(about, seed, dict(shapes), layers, spread(logits).tolist(), list(logits.shape))


def _look(
    model: Any, variables: Any, inputs: Mapping[str, np.ndarray]
) -> tuple[list[str], dict[str, float], np.ndarray]:
    """Returns (names of layers in their order, their root mean squares, the logits)."""
    model = model.clone(dtype=jnp.float32, param_dtype=jnp.float32)
    given = [inputs[name] for name in model.takes]
    own = {path.rpartition('/')[0] for path in flatten_dict(variables['params'], sep='/')}
    paths = [path for path in order(model.apply, variables, *given) if path in own and path]

    @jax.jit
    def run(variables: Any) -> Any:
        variables = jax.tree.map(lambda x: x.astype(jnp.float32), variables)
        result, found = heard(model, variables, *given)
        squares = {path: jnp.square(jnp.abs(found[path])) for path in paths if path in found}
        stacked = {path: 'layers' in path.split('/') for path in squares}
        means = {path: jnp.sqrt(x.mean(tuple(range(stacked[path], x.ndim)))) for path, x in squares.items()}
        return jax.tree.leaves(result)[0], means

    with jax.default_matmul_precision('highest'):
        logits, sizes = jax.device_get(run(variables))
    depth = max([size.shape[0] for size in sizes.values() if size.ndim], default=0)
    found = layer_by_layer([path for path in paths if path in sizes], depth)
    return (
        [name for name, *_ in found],
        {name: sizes[path] if i is None else sizes[path][i] for name, path, i in found},
        np.asarray(logits),
    )


def spread(logits: np.ndarray) -> np.ndarray:
    """Returns some numbers of an array, evenly spread."""
    flat = logits.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(LOGITS, flat.size)).astype(int)]


# --- comparing -------------------------------------------------------------------------------------------------------


def check(record: Certificate, model: Any, variables: Any, source: str, *, without: str = '') -> float:
    """Compares what our model makes of the fixed inputs with a record, layer by layer.

    Args:
      record: the certificate.
      model: ours.
      variables: {'params': …, …}, on any mesh; what is missing of them is taken for 0.
      source: where they are from, for the message.
      without: a part of the model that was not taken over, such as 'head': it and the logits are not compared.

    Returns:
      the largest difference of a layer, as a part of its size.

    Raises:
      UserError: a layer departs; the first that does is named.
    """
    inputs = fixed_inputs(record.inputs, record.seed)
    if set(model.takes) != set(record.inputs):
        raise UserError(
            '"{source}": its certificate is of a model that takes {theirs}, and this one takes {ours}.',
            source=source,
            theirs=', '.join(record.inputs),
            ours=', '.join(model.takes),
        )
    _, sizes, logits = _look(model, _complete(model, variables, inputs), inputs)
    worst = 0.0
    for name, wanted in record.layers:
        if without and f'{name}/'.startswith(f'{without}/'):
            continue
        size = float(sizes.get(name, np.nan))
        off = abs(size - wanted) / max(abs(wanted), 1e-12)
        if not off <= CLOSE:
            raise UserError(
                '"{source}" does not agree with its certificate ({made_by}): the first layer that departs is {layer},'
                ' whose output has a root mean square of {size:.7g}, not {wanted:.7g}.',
                source=source,
                made_by=record.made_by,
                layer=name,
                size=size,
                wanted=wanted,
            )
        worst = max(worst, off)
    if without:
        return worst
    wanted, found = np.array(record.logits), spread(logits)
    scale = max(np.abs(np.where(np.abs(wanted) < 1e8, wanted, 0)).max(), 1e-12)  # -1e9 is what is never predicted
    off = float(np.abs(found - wanted).max() / scale) if list(logits.shape) == list(record.shape) else np.inf
    if not off <= CLOSE:
        raise UserError(
            '"{source}" does not agree with its certificate ({made_by}): all layers do, and the logits depart by'
            ' {off:.2g} of the largest.',
            source=source,
            made_by=record.made_by,
            off=off,
        )
    return max(worst, off)


def _complete(model: Any, variables: Any, inputs: Mapping[str, np.ndarray]) -> Any:
    """Returns variables with zeros for those that are missing."""
    given = [inputs[name] for name in model.takes]
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *given))
    there = flatten_dict(variables, sep='/')
    missing = {path: x for path, x in flatten_dict(shapes, sep='/').items() if path not in there}
    return unflatten_dict(there | {path: jnp.zeros(x.shape, x.dtype) for path, x in missing.items()}, sep='/')


# --- the file --------------------------------------------------------------------------------------------------------


def write(file: Path, certificate: Certificate) -> None:
    """Writes a record. OSError: it cannot."""
    place.write(file, json.dumps(asdict(certificate), indent=1) + '\n')


def beside(source: str, given: str = '') -> Certificate | None:
    """Returns the record of weights: that in the file `given`, or else the one that lies beside them; None where there
    is none.

    Raises:
      UserError: there is no file of this name, or it is damaged.
    """
    if given:
        if (found := read(Path(given))) is None:
            raise UserError('config.certificate={file}: there is no such file.', file=given)
        return found
    try:
        return read(Path(source) / NAME) if Path(source).is_dir() else None
    except OSError:  # a name that no file can have
        return None


def read(file: Path) -> Certificate | None:
    """Returns the record in a file; None where there is no file.

    Raises:
      UserError: it is damaged.
    """
    try:
        found = Certificate(**json.loads(file.read_text('utf-8')))
        if any(
            np.prod(shape) > LARGEST or not all(type(n) is int and n > 0 for n in shape)
            for shape, _ in found.inputs.values()
        ):
            raise ValueError
        good = found.format == 1 and all(isinstance(name, str) and np.isfinite(size) for name, size in found.layers)
        fixed_inputs(found.inputs, found.seed)
        np.array(found.logits, float)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, MemoryError) as error:
        raise _damaged(file, type(error).__name__) from None
    if not good:
        raise _damaged(file, 'format')
    return found


def _damaged(file: Path, why: str) -> UserError:
    return UserError('{file} is damaged ({why}): it is no certificate. Remove it, or certify anew.', file=file, why=why)
