"""Where the heads of a trained model look in a text: its weights by token, and the files that show them."""

# l layers, n heads, t tokens

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlab.errors import UserError
from jaxlab.experiment import Experiment
from jaxlab.nn.attention import weights_of
from jaxlab.report import attention
from jaxlab.task import inputs_of
from jaxlab.trust import place


def of_text(experiment: Experiment, text: str) -> tuple[list[str], np.ndarray]:
    """Returns the tokens of a text [t], and how much each looks at each, float32 [l n t t].

    A language model reads the text as a prompt, after the token that begins every document.

    Raises:
      UserError: the model has no attention, reads no texts, or the text is longer than the model can read.
    """
    task, processor = experiment.task, experiment.processor
    if hasattr(task, 'prompt'):
        tokens, _ = task.prompt(processor, [text])
        t = tokens.shape[1]
        batch = {'tokens': tokens, 'positions': np.arange(t, dtype=np.int32)[None], 'segments': np.ones_like(tokens)}
        words = [processor.decode([int(token)]) for token in tokens[0]]
    elif hasattr(processor, 'is_cut'):
        row = processor.encode(text)
        t = int(row['lengths'])
        batch = {name: array[None] if array.ndim == 0 else array[None, :t] for name, array in row.items()}
        words = [_name(processor.tokenizer, int(token)) for token in batch['tokens'][0]]
    else:
        raise UserError('--attention: this experiment is no language model, and no classification of texts.')
    variables = {'params': experiment.params, **experiment.extra}
    with jax.set_mesh(experiment.mesh):
        found = weights_of(task.model, variables, *inputs_of(task.model, batch))
    if not found:
        raise UserError('--attention: {model} has no attention.', model=type(task.model).__name__)
    return words, np.stack([np.asarray(layer[0], np.float32) for layer in found])


def _name(tokenizer: Any, token: int) -> str:
    """Returns a token as the vocabulary has it, special ones too; or else the text that it stands for."""
    return tokenizer.name_of(token) if hasattr(tokenizer, 'name_of') else tokenizer.decode([token])


def write(experiment: Experiment, text: str) -> list[Path]:
    """Writes where the heads look in a text, as attention/….png and .html of the workdir; returns both files.

    Raises:
      UserError: as `of_text`, or a file cannot be written.
    """
    words, weights = of_text(experiment, text)
    name = f'of_step_{experiment.step}_{hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]}'
    folder: Any = experiment.workdir / 'attention'
    shown = {
        folder / f'{name}.png': attention.png(words, weights),
        folder / f'{name}.html': attention.page(experiment.workdir.name, words, weights).encode(),
    }
    for file, content in shown.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            place.write(file, content)
        except OSError as error:
            raise UserError('{file} cannot be written ({error}).', file=file, error=error.strerror or error) from None
    return list(shown)
