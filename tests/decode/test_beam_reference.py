"""Greedy and beam generation against transformers' `generate`: token for token."""

import jax
import numpy as np
import pytest

from jaxlab.decode import beam
from jaxlab.decode.sampling import Decoder, Sampling, generate
from jaxlab.models.gpt import make
from jaxlab.pretrained import find, load
from jaxlab.pretrained.gpt import arguments_of, family_of
from tests.pretrained.published import variables_like

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

END = 3
WAYS = {
    'greedy': dict(num_beams=1),
    'beams': dict(num_beams=4),
    'early': dict(num_beams=3, early_stopping=True, length_penalty=0.5),
    'never': dict(num_beams=2, early_stopping='never', length_penalty=2.0),
    'short': dict(num_beams=4, length_penalty=-1.0),
}
EARLY = {False: 'no', True: 'yes', 'never': 'never'}


def published(folder, kind):
    shape = dict(vocab_size=61, bos_token_id=END, eos_token_id=END, pad_token_id=END)
    if kind == 'gpt2':
        theirs = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_positions=128, n_embd=32, n_layer=2, n_head=4, **shape)
        )
    else:
        widths = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
        theirs = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(max_position_embeddings=128, num_key_value_heads=2, **widths, **shape)
        )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.normal_(0.0, 0.25, generator=generator)
    theirs.eval().save_pretrained(folder)
    return theirs


def compare(kind, way, tmp_path, prompts, count):
    """Returns how long the texts were, which were all the same."""
    theirs = published(tmp_path, kind)
    weights = find(tmp_path)
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, family_of(weights.tensors), variables_like(model, np.zeros((1, 4), np.int32)))

    def step(params, *inputs):
        return model.apply({'params': params}, *inputs, method='decode')

    decoder, params, random = (
        Decoder(step, model.start_cache, model.context),
        variables['params'],
        np.random.default_rng(0),
    )
    texts = [random.integers(4, 61, 3 + number % 4).astype(np.int32) for number in range(prompts)]
    lengths = np.array([len(text) for text in texts], np.int32)
    rows = np.stack([np.pad(text, (0, lengths.max() - len(text))) for text in texts])  # ours are read all at once
    if way == 'greedy':
        found = np.asarray(generate(decoder, params, rows, lengths, jax.random.key(0), Sampling(0.0), count))
        sizes = [int(np.argmax(row == END)) + 1 if END in row else count for row in found]
    else:
        how = {'beams': WAYS[way]['num_beams'], 'early': EARLY[WAYS[way].get('early_stopping', False)]}
        how['length_penalty'] = WAYS[way].get('length_penalty', 1.0)
        best = beam.search(decoder, params, rows, lengths, count=count, end=END, **how)
        found, sizes = np.asarray(best.tokens[:, 0]), np.asarray(best.lengths[:, 0]).tolist()
    for text, row, size in zip(texts, found, sizes, strict=True):
        with torch.no_grad():
            how = dict(do_sample=False, max_new_tokens=count, **WAYS[way])
            wanted = theirs.generate(torch.from_numpy(text[None]).long(), **how)[0, len(text) :].numpy()
        np.testing.assert_array_equal(row[:size], wanted)
    return sizes


@pytest.mark.parametrize('kind', ['gpt2', 'llama'])
@pytest.mark.parametrize('way', WAYS)
def test_the_same_tokens(kind, way, tmp_path):
    compare(kind, way, tmp_path, prompts=4, count=24)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['gpt2', 'llama'])
@pytest.mark.parametrize('way', WAYS)
def test_the_same_hundred_tokens_of_twenty_prompts(kind, way, tmp_path):
    sizes = compare(kind, way, tmp_path, prompts=20, count=100)
    print(kind, way, 'tokens of each:', sizes)
