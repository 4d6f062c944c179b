"""A published language model as an experiment: its config, made of the config.json beside its weights.

jaxlab.load('hf:openai-community/gpt2')('Once upon a time')
python -m jaxlab.main generate --workdir=hf:openai-community/gpt2 --prompt="Once upon a time"
python -m jaxlab.main --config=configs/published.py:hf:openai-community/gpt2 --config.data.path=my_texts
"""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab import hub
from jaxlab.config import experiment, spec
from jaxlab.errors import UserError

LONGEST = 4096  # tokens: where positions are no table, what is looked back on, unless one asks for more
ROW = 1024  # tokens of a row of data at most, likewise


def is_published(source: str | Path) -> bool:
    """Whether `source` is one of the hub, or a folder whose config.json is one of published weights."""
    if hub.is_of_hub(str(source)):
        return True
    try:
        found = json.loads((Path(source).expanduser() / 'config.json').read_text('utf-8'))
    except (OSError, ValueError, RuntimeError, RecursionError):
        return False
    return isinstance(found, dict) and 'model_type' in found


def config(source: str) -> ConfigDict:
    """Returns the config of a published language model, whose weights, words and texts are as they were published.

    Args:
      source: a folder with weights, config.json and the files of a tokenizer, or 'hf:owner/name'.

    Raises:
      UserError: it is none, or of a kind that we do not have.
    """
    from jaxlab.pretrained.files import config_of

    found = config_of(source)
    kind = found.get('model_type', '')
    families = {name: configs.module('pretrained', name, 'family_of') for name in LANGUAGE}
    name = next((name for name, module in families.items() if kind in module.MODEL_TYPES), '')
    if not name:
        known = [kind for module in families.values() for kind in module.MODEL_TYPES]
        raise UserError(
            '"{source}": its config.json says model_type={kind}, and what can be asked as it is are {known}; others'
            ' begin a run with config.init_from.',
            source=source,
            kind=kind,
            known=', '.join(known),
        )
    arguments: dict[str, Any] = families[name].arguments_of(found)
    if arguments['positions'] == 'rotary':
        arguments['context'] = min(arguments['context'], LONGEST)
    length = min(arguments['context'], ROW)
    c = experiment()
    c.init_from = source
    c.task = spec('tasks.language_model')
    c.model = spec(f'models.{name}', **arguments)
    processor = spec('data.processors.published', path=source)
    c.data = spec('data.text', length=length, processor=processor)
    c.batch_size = 4
    c.log.sample_tokens = min(c.log.sample_tokens, arguments['context'] // 2)
    c.optimizer = spec('optim.adamw', learning_rate=5e-5, schedule=spec('schedules.cosine', warmup=20))
    c.evaluate.scores = ('perplexity', 'bits_per_byte', 'accuracy')
    return c


LANGUAGE = ('gpt',)  # files of pretrained/ whose models write text
