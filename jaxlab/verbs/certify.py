"""Write down what every layer of a model makes of fixed inputs, so that whoever imports the weights can compare.

python -m jaxlab.main certify weights/                     by the original, with transformers and torch
python -m jaxlab.main certify exported/ --ours             by our own model
python -m jaxlab.main certify runs/cnn-1a2b3c4d            of a run that others begin with

The record, certificate.json, lies beside the weights; --config.init_from compares with it, and needs no torch.
"""

import argparse
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help=say('a folder with weights and their config.json, or an experiment'))
    parser.add_argument('--ours', action='store_true', help=say('of our own model, not of the original'))
    parser.add_argument('--seed', type=int, default=0, help=say('of the inputs (default 0)'))
    parser.add_argument('--size', type=int, default=0, help=say('height and width of pictures; default: as published'))
    parser.add_argument('--output', default='', help=say('the file to write; default: beside the weights'))
    parser.add_argument(
        '--allow_import', action='append', default=[], help=say('a package that the config may import from')
    )


def run(parsed: argparse.Namespace) -> int:
    from jaxlab import certificate, initial

    if not 0 <= parsed.seed < 2**32 or parsed.size < 0:
        raise UserError('--seed={seed} --size={size}: at least 0 is wanted.', seed=parsed.seed, size=parsed.size)
    folder = Path(parsed.source)
    if initial.is_workdir(parsed.source):
        record, model, variables = of_experiment(parsed)
    else:
        record, model, variables = of_weights(parsed, folder)
    file = Path(parsed.output) if parsed.output else folder / certificate.NAME
    try:
        certificate.write(file, record)
    except OSError as error:
        raise UserError('{file} cannot be written ({error}).', file=file, error=error.strerror or error) from None
    print(say('{file}: {count} layers, by {made_by}', file=file, count=len(record.layers), made_by=record.made_by))
    off = certificate.check(record, model, variables, parsed.source)
    print(say('our model agrees within {off:.1e}', off=off))
    return 0


def of_experiment(parsed: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Returns the record of a trained experiment, its model and its variables."""
    from jaxlab import certificate
    from jaxlab import workdir as workdirs
    from jaxlab.experiment import load

    lab = load(parsed.source, allow_import=parsed.allow_import)
    model, variables = lab.task.model, {'params': lab.params, **lab.extra}
    picture = workdirs.read_data(lab.workdir)['info'].get('shape', ())
    return certificate.of_model(model, variables, certificate.shapes_of(model, picture), parsed.seed), model, variables


def of_weights(parsed: argparse.Namespace, folder: Path) -> tuple[Any, Any, Any]:
    """Returns the record of published weights, our model and its variables."""
    import jax
    import numpy as np
    from flax.core import meta

    from jaxlab import certificate, initial, original, pretrained

    weights = pretrained.find(parsed.source)
    family = initial.family_for(weights)
    assert family.make is not None and family.arguments_of is not None
    model = family.make({}, **family.arguments_of(weights.config))
    size = parsed.size or weights.config.get('image_size') or certificate.SIZE
    shapes = certificate.shapes_of(model, (size, size, weights.config.get('num_channels', 3)))
    inputs = certificate.fixed_inputs(shapes, parsed.seed)
    given = [inputs[name] for name in model.takes]
    variables = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *given))
    variables = pretrained.load(weights, family, variables, model=model)
    if parsed.ours:
        return certificate.of_model(model, variables, shapes, parsed.seed), model, variables
    if not folder.is_dir():
        raise UserError('certify {source}: the original is made of a folder; --ours needs none.', source=parsed.source)
    theirs = original.run(folder, weights, family, variables, inputs)
    sizes = {name: float(np.sqrt(np.square(x.astype(np.float64)).mean())) for name, x in theirs.layers.items()}
    mine = certificate.of_model(model, variables, shapes, parsed.seed)
    heard = {name for name, _ in mine.layers}  # a table that ours does not call is no layer of it
    record = certificate.Certificate(
        theirs.made_by,
        parsed.seed,
        shapes,
        [(name, size) for name, size in sizes.items() if name in heard],
        certificate.spread(theirs.logits).tolist(),
        list(theirs.logits.shape),
    )
    return record, model, variables
