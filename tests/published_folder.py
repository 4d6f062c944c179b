"""A folder of published weights, made on the spot: a tiny GPT-2 or Llama with random weights, and a tokenizer."""

from pathlib import Path

import jax
import numpy as np

from jaxlab.data.processors import bpe
from jaxlab.models.gpt import make
from jaxlab.parallel import layout
from jaxlab.pretrained import gpt, save

TEXTS = ['the cat sees the dog and the dog likes the cat\n' * 20, '猫喜欢狗，狗看猫。\n' * 20]
LLAMA = dict(positions='rotary', norm='rms', activation='swiglu', bias=False, tied=False, kv_heads=2)


def write(folder: Path, kind: str = 'gpt2', vocabulary: int = 290, **arguments):
    """Writes it; returns our model, its parameters and its processor."""
    processor = bpe.make(lambda: TEXTS, vocabulary=vocabulary)
    shape = dict(layers=2, width=32, heads=4, context=48, vocabulary=processor.vocabulary)
    model = make({}, **shape | (LLAMA if kind == 'llama' else {}) | arguments)
    params = layout.unbox(jax.jit(model.init)(jax.random.key(1), np.zeros((1, 4), np.int32)))
    params = jax.tree.map(lambda x: x * 3 if x.ndim > 1 else x, params)  # so that it prefers some tokens
    save(folder, gpt.family_for(model), params, gpt.config_of(model, processor.end_of_text), rows=model.vocabulary)
    for name, content in processor.published(model.context).items():
        (folder / name).write_bytes(content)
    return model, params['params'], processor
