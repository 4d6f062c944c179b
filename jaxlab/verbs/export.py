"""Write a trained experiment as a folder that transformers loads: weights, config.json, and what goes with them.

python -m jaxlab.main export --workdir=runs/transformer-1a2b3c4d --folder=my_model
python -m jaxlab.main export --workdir=runs/vit-1a2b3c4d --folder=my_model --step=best --dtype=bfloat16 --shard=2

transformers.AutoModelForCausalLM.from_pretrained('my_model'), and AutoTokenizer or AutoImageProcessor likewise.
"""

import argparse
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.verbs import step

DTYPES = ('float32', 'bfloat16', 'float16')


def arguments(parser: argparse.ArgumentParser) -> None:
    which = say('a checkpoint: its number, best or newest (default)')
    package = say('a package that the config may import from')
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--folder', required=True, help=say('a new folder, which transformers can load'))
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--dtype', choices=DTYPES, default='', help=say('of the numbers; default: as they are'))
    parser.add_argument('--shard', type=float, default=5.0, help=say('gigabytes of a file at most (default 5)'))
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.experiment import load

    folder = Path(parsed.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError('--folder={folder}: something lies there already; a new folder is wanted.', folder=folder)
    if not parsed.shard > 0:
        raise UserError('--shard={shard}: more than 0 is wanted, in gigabytes.', shard=parsed.shard)
    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    print(f'{folder}: {", ".join(sorted(write(experiment, folder, parsed.dtype, parsed.shard)))}')
    return 0


def write(experiment: Any, folder: Path, dtype: str = '', shard: float = 5.0) -> list[str]:
    """Writes the folder; returns the names of its files.

    Raises:
      UserError: transformers has no such network, or the folder cannot be written.
    """
    import jax

    from jaxlab import config as configs
    from jaxlab import pretrained

    name, known = experiment.config.model.name, configs.names('pretrained', 'exported')
    if name not in known:
        raise UserError(
            'config.model.name={name}: nothing says how it is exported; that is known of {known}.',
            name=name,
            known=', '.join(known),
        )
    model, processor = experiment.task.model, experiment.processor
    made = configs.module('pretrained', name, 'exported').exported(model, processor)
    variables = {'params': experiment.params, **experiment.extra}
    config = dict(made.config)
    if dtype:
        variables = jax.tree.map(lambda x: x.astype(dtype), variables)
        config['dtype'] = dtype
    try:
        size = {'rows': made.rows, 'shard': int(shard * 1e9)}
        pretrained.save(folder, made.family, variables, config, made.preprocessor or None, **size)
        words = processor if hasattr(processor, 'published') else getattr(processor, 'tokenizer', None)
        if words is not None and hasattr(words, 'published'):
            for name, content in words.published(model.context).items():
                (folder / name).write_bytes(content)
    except OSError as error:
        raise UserError('{file} cannot be written ({error}).', file=folder, error=error.strerror or error) from None
    return [file.name for file in folder.iterdir()]
