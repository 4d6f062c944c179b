"""GPT-2 and Llama against the published code: the same random weights give the same logits, there and back."""

# b batch, t time, v vocabulary

import json

import jax
import numpy as np
import pytest

from jaxlab.models.gpt import make
from jaxlab.pretrained import find, load, save
from jaxlab.pretrained.gpt import arguments_of, config_of, family_for, family_of
from tests.pretrained.published import assert_equal_files, variables_like

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=24)
SHAPES = {
    'gpt2': dict(vocab_size=31, n_positions=17, n_embd=24, n_layer=3, n_head=4),
    'gpt2, one layer, odd heads': dict(vocab_size=7, n_positions=5, n_embd=15, n_layer=1, n_head=3, n_inner=60),
    'gpt2, one head': dict(vocab_size=64, n_positions=33, n_embd=32, n_layer=2, n_head=1, n_inner=50),
    'gpt2, not tied': dict(vocab_size=13, n_positions=9, n_embd=8, n_layer=2, n_head=2, tie_word_embeddings=False),
    'gpt2, exact gelu': dict(vocab_size=13, n_positions=9, n_embd=8, n_layer=2, n_head=2, activation_function='gelu'),
    'llama': dict(vocab_size=31, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40),
    'llama, grouped': dict(num_attention_heads=6, num_key_value_heads=2, hidden_size=48, rope_theta=500000.0),
    'llama, one key head, tied': dict(num_attention_heads=5, num_key_value_heads=1, hidden_size=20)
    | dict(tie_word_embeddings=True, rms_norm_eps=1e-5),
    'llama, wide heads': dict(num_attention_heads=2, head_dim=14, hidden_size=12),
    'llama, biases of attention': dict(attention_bias=True),
    'llama, all biases': dict(attention_bias=True, mlp_bias=True),
    'linear': dict(rope_parameters=dict(rope_type='linear', factor=3.0, rope_theta=10000.0)),
    'llama3': dict(rope_parameters=dict(rope_type='llama3', rope_theta=500000.0, **LLAMA3), head_dim=16),
    'yarn': dict(rope_parameters=dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=24)),
    'yarn, by hand': dict(
        rope_parameters=dict(rope_type='yarn', factor=4.0, beta_fast=8.0, beta_slow=2.0, mscale=0.7, mscale_all_dim=0.4)
        | dict(original_max_position_embeddings=24, rope_theta=1000.0),
        head_dim=16,
    ),
}
DEFAULTS = dict(vocab_size=29, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37)


def published(folder, name, **how):
    """A model of transformers with random weights, biases and scales too, in a folder."""
    if name.startswith('gpt2'):
        theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SHAPES[name]))
    else:
        shape = DEFAULTS | dict(max_position_embeddings=61) | SHAPES[name]
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.2, generator=generator)
    theirs.eval().save_pretrained(folder, **how)
    return theirs


def tokens_for(theirs):
    shape = 3, theirs.config.max_position_embeddings
    return np.random.default_rng(0).integers(0, theirs.config.vocab_size, shape).astype(np.int32)


def logits_of(theirs, tokens):
    with torch.no_grad():
        return theirs(torch.from_numpy(tokens).long()).logits.numpy()


def assert_close(found, wanted):
    assert found.dtype == wanted.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


STACKED = dict(scan=True, vocabulary_multiple=16)  # one block for all layers, and a table that is made round
CASES = [(name, {}) for name in SHAPES]
CASES += [
    (name, STACKED) for name in ('gpt2', 'gpt2, not tied', 'llama', 'llama, one key head, tied', 'llama, all biases')
]


@pytest.mark.parametrize(('name', 'kind'), CASES)
def test_the_same_logits_there_and_back(name, kind, tmp_path):
    theirs = published(tmp_path / 'theirs', name)
    tokens = tokens_for(theirs)
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config), **kind)
    variables = load(weights, family_of(weights.tensors), variables_like(model, tokens), model=model)
    wanted = logits_of(theirs, tokens)
    found = np.asarray(jax.jit(model.apply)(variables, tokens))
    assert_close(found[..., : model.vocabulary], wanted)

    save(tmp_path / 'ours', family_for(model), variables, config_of(model, 3), rows=model.vocabulary)
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')
    again = type(theirs).from_pretrained(tmp_path / 'ours')
    np.testing.assert_array_equal(logits_of(again, tokens), wanted)
    assert arguments_of(json.loads((tmp_path / 'ours/config.json').read_text())) == (
        arguments_of(weights.config) | ({'dropout': 0.1} if name.startswith('gpt2') else {})
    )


@pytest.mark.parametrize('name', ['gpt2', 'llama, grouped'])
def test_several_files_there_and_back(name, tmp_path):
    theirs = published(tmp_path / 'theirs', name, max_shard_size='10KB')
    assert (tmp_path / 'theirs/model.safetensors.index.json').is_file()
    tokens = tokens_for(theirs)
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config), scan=True)
    variables = load(weights, family_of(weights.tensors), variables_like(model, tokens), model=model)
    save(tmp_path / 'ours', family_for(model), variables, config_of(model), shard=9000)
    assert len(list((tmp_path / 'ours').glob('model-*-of-*.safetensors'))) > 2
    again = type(theirs).from_pretrained(tmp_path / 'ours')
    np.testing.assert_array_equal(logits_of(again, tokens), logits_of(theirs, tokens))
    for name, tensor in find(tmp_path / 'ours').tensors.items():
        np.testing.assert_array_equal(tensor.read(), weights.tensors[name].read())


def test_half_as_many_bits_come_back_as_they_were(tmp_path):
    """Llama is published in bfloat16; float32 holds each of its numbers."""
    theirs = published(tmp_path / 'theirs', 'llama').to(torch.bfloat16)
    theirs.save_pretrained(tmp_path / 'theirs')
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, family_of(weights.tensors), variables_like(model, tokens_for(theirs)))
    save(tmp_path / 'ours', family_for(model), jax.tree.map(lambda x: x.astype('bfloat16'), variables))
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')
