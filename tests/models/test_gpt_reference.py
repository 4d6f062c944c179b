"""GPT against the published code: the same random weights, carried over by safetensors, give the same logits."""

# b batch, t time, v vocabulary

import jax
import numpy as np
import pytest

from jaxlab.models.gpt import make

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')
safetensors = pytest.importorskip('safetensors.numpy', reason='carries weights over: pip install .[reference]')


def gpt2_params(weights, layers):
    """Published GPT-2: kernels stand as ours do, [in out]; queries, keys and values are side by side in one."""

    def linear(name):
        return {'kernel': weights[f'{name}.weight'], 'bias': weights[f'{name}.bias']}

    def norm(name):
        return {'scale': weights[f'{name}.weight'], 'bias': weights[f'{name}.bias']}

    def block(name):
        kernels = np.split(weights[f'{name}.attn.c_attn.weight'], 3, axis=1)
        biases = np.split(weights[f'{name}.attn.c_attn.bias'], 3)
        parts = zip(('query', 'key', 'value'), kernels, biases, strict=True)
        return {
            'attention_norm': norm(f'{name}.ln_1'),
            'attention': {part: {'kernel': kernel, 'bias': bias} for part, kernel, bias in parts}
            | {'out': linear(f'{name}.attn.c_proj')},
            'mlp_norm': norm(f'{name}.ln_2'),
            'mlp': {'up': linear(f'{name}.mlp.c_fc'), 'down': linear(f'{name}.mlp.c_proj')},
        }

    return {
        'token_embedding': {'table': weights['transformer.wte.weight']},
        'position_embedding': {'table': weights['transformer.wpe.weight']},
        'stack': {f'layer_{i}': block(f'transformer.h.{i}') for i in range(layers)},
        'final_norm': norm('transformer.ln_f'),
    }


def llama_params(weights, layers):
    """Published Llama: kernels stand the other way round, [out in]."""

    def linear(name):
        return {'kernel': weights[f'{name}.weight'].T}

    def norm(name):
        return {'scale': weights[f'{name}.weight']}

    def block(name):
        attention = {'query': 'q_proj', 'key': 'k_proj', 'value': 'v_proj', 'out': 'o_proj'}
        mlp = {'gate': 'gate_proj', 'up': 'up_proj', 'down': 'down_proj'}
        return {
            'attention_norm': norm(f'{name}.input_layernorm'),
            'attention': {ours: linear(f'{name}.self_attn.{theirs}') for ours, theirs in attention.items()},
            'mlp_norm': norm(f'{name}.post_attention_layernorm'),
            'mlp': {ours: linear(f'{name}.mlp.{theirs}') for ours, theirs in mlp.items()},
        }

    params = {
        'token_embedding': {'table': weights['model.embed_tokens.weight']},
        'stack': {f'layer_{i}': block(f'model.layers.{i}') for i in range(layers)},
        'final_norm': norm('model.norm'),
    }
    return params | ({'head': {'table': weights['lm_head.weight']}} if 'lm_head.weight' in weights else {})


def compare(theirs, make_params, ours, folder):
    """Fills their model with random weights, biases and scales too, and compares the logits of three random rows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.2, generator=generator)
    theirs.eval().save_pretrained(folder)
    weights = safetensors.load_file(folder / 'model.safetensors')
    tokens = np.random.default_rng(0).integers(0, ours.vocabulary, (3, ours.context)).astype(np.int32)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(tokens).long()).logits.numpy()
    found = np.asarray(jax.jit(ours.apply)({'params': make_params(weights, ours.layers)}, tokens))
    assert found.dtype == wanted.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ('vocabulary', 'context', 'width', 'layers', 'heads', 'mlp_width'),
    [(31, 17, 24, 3, 4, 96), (7, 5, 15, 1, 3, 60), (64, 33, 32, 2, 1, 50)],
)
def test_gpt2(tmp_path, vocabulary, context, width, layers, heads, mlp_width):
    config = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        n_inner=mlp_width,
    )
    shape = dict(vocabulary=vocabulary, context=context, width=width, layers=layers, heads=heads, mlp_width=mlp_width)
    compare(transformers.GPT2LMHeadModel(config), gpt2_params, make({}, **shape), tmp_path)


@pytest.mark.parametrize(
    ('vocabulary', 'context', 'width', 'layers', 'heads', 'kv_heads', 'mlp_width', 'tied', 'base'),
    [
        (31, 17, 24, 3, 4, 4, 40, False, 10000.0),
        (31, 19, 48, 2, 6, 2, 56, False, 500000.0),  # grouped queries
        (7, 5, 20, 1, 5, 1, 30, True, 10000.0),  # one head of keys and values for all
    ],
)
def test_llama(tmp_path, vocabulary, context, width, layers, heads, kv_heads, mlp_width, tied, base):
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=context,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=mlp_width,
        tie_word_embeddings=tied,
        rms_norm_eps=1e-5,
        rope_parameters={'rope_type': 'default', 'rope_theta': base},
    )
    shape = dict(vocabulary=vocabulary, context=context, width=width, layers=layers, heads=heads, mlp_width=mlp_width)
    kind = dict(positions='rotary', norm='rms', activation='swiglu', bias=False, rotary_base=base)
    ours = make({}, **shape, **kind, kv_heads=kv_heads, tied=tied)
    compare(transformers.LlamaForCausalLM(config), llama_params, ours, tmp_path)
