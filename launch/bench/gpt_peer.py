"""One GPT twice: ours, and `transformers`' GPT-2 with the same weights, for benchmarks that compare the two."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from jaxlab.models import gpt


@dataclass(frozen=True)
class Size:
    """The shape of a model, and of the batch that it is trained on."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    batch: int
    length: int


SIZES = {
    '10m': Size(layers=6, width=384, heads=6, vocabulary=1024, batch=8, length=256),
    '0.8m': Size(layers=4, width=128, heads=4, vocabulary=1024, batch=12, length=64),
    'gpt2': Size(layers=12, width=768, heads=12, vocabulary=50304, batch=16, length=1024),
}


def on_gpu() -> bool:
    return jax.default_backend() == 'gpu'


def compute_dtype() -> Any:
    """bfloat16 over float32 parameters on a GPU, float32 on a CPU; for both sides."""
    return jnp.bfloat16 if on_gpu() else jnp.float32


def ours(size: Size) -> gpt.GPT:
    """Returns jaxlab's model as a config would make it: GPT-2 without dropout."""
    info = {'vocabulary': size.vocabulary, 'length': size.length}
    return gpt.make(info, compute_dtype(), jnp.float32, layers=size.layers, width=size.width, heads=size.heads)


def theirs(size: Size, params: Mapping[str, Any]) -> Any:
    """Returns their model of the same size with the weights `params` of ours, dropout off, attention fused."""
    import torch
    import transformers

    config = transformers.GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=size.length,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=None,
        attn_implementation='sdpa',
    )
    model = transformers.GPT2LMHeadModel(config)
    weights = {name: torch.from_numpy(np.array(value)) for name, value in their_names(params, size.layers).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {'lm_head.weight'} and not unexpected, (missing, unexpected)  # the head is the token table
    count = sum(weight.numel() for weight in model.parameters())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(params)), 'as many parameters as ours'
    return model.to('cuda' if on_gpu() else 'cpu')


def their_names(params: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """Returns our parameters under the published GPT-2's names: queries, keys and values are side by side in one."""
    flat = flatten_dict(params, sep='/')
    found = {
        'transformer.wte.weight': flat['token_embedding/table'],
        'transformer.wpe.weight': flat['position_embedding/table'],
        'transformer.ln_f.weight': flat['final_norm/scale'],
        'transformer.ln_f.bias': flat['final_norm/bias'],
    }
    for i in range(layers):
        block, published = f'stack/layer_{i}', f'transformer.h.{i}'
        for theirs, one in {'ln_1': 'attention_norm', 'ln_2': 'mlp_norm'}.items():
            found[f'{published}.{theirs}.weight'] = flat[f'{block}/{one}/scale']
            found[f'{published}.{theirs}.bias'] = flat[f'{block}/{one}/bias']
        pairs = {'attn.c_proj': 'attention/out', 'mlp.c_fc': 'mlp/up', 'mlp.c_proj': 'mlp/down'}
        for end, kind in {'weight': 'kernel', 'bias': 'bias'}.items():
            parts = [flat[f'{block}/attention/{part}/{kind}'] for part in ('query', 'key', 'value')]
            found[f'{published}.attn.c_attn.{end}'] = np.concatenate(parts, axis=-1)
            for theirs, one in pairs.items():
                found[f'{published}.{theirs}.{end}'] = flat[f'{block}/{one}/{kind}']
    return found
