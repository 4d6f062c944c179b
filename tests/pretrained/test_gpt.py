"""Published decoders without their code: names, configs, mistakes, and how much memory reading takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxlab.errors import UserError
from jaxlab.models.gpt import make
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import Weights, find, load, save
from jaxlab.pretrained.gpt import GPT2, GPT2_BARE, LLAMA, arguments_of, config_of, family_for, family_of
from tests.pretrained.published import variables_like

TOKENS = np.zeros((1, 4), np.int32)
KINDS = {
    'gpt2': dict(vocabulary=11, context=8, layers=2, width=8, heads=2),
    'llama': dict(vocabulary=11, context=8, layers=2, width=8, heads=2, kv_heads=1, head_width=6, tied=False)
    | dict(positions='rotary', norm='rms', activation='swiglu', bias=False),
}


def drawn(model):
    random = np.random.default_rng(0)
    shapes = variables_like(model, TOKENS)
    return jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def written(folder, kind, **arguments):
    model = make({}, **KINDS[kind] | arguments)
    variables = drawn(model)
    save(folder, family_for(model), variables, config_of(model), rows=model.vocabulary)
    return model, variables


def test_queries_keys_and_values_stand_side_by_side(tmp_path):
    _, variables = written(tmp_path, 'gpt2')
    attention = variables['params']['stack']['layer_1']['attention']
    kernels = [attention[part]['kernel'] for part in ('query', 'key', 'value')]
    found = load_file(tmp_path / 'model.safetensors')
    np.testing.assert_array_equal(found['transformer.h.1.attn.c_attn.weight'], np.concatenate(kernels, axis=1))
    assert 'lm_head.weight' not in found


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('new', [{}, dict(scan=True), dict(vocabulary_multiple=16)], ids=str)
def test_any_stack_and_table_holds_them(kind, new, tmp_path):
    written(tmp_path / 'one', kind)
    weights = find(tmp_path / 'one')
    model = make({}, **arguments_of(weights.config), **new)
    found = load(weights, family_of(weights.tensors), variables_like(model, TOKENS), model=model)
    table = found['params']['token_embedding']['table']
    assert not table[11:].any() and table[10].any()
    save(tmp_path / 'two', family_for(model), found, config_of(model), rows=model.vocabulary, shard=500)
    again = find(tmp_path / 'two')
    assert again.tensors.keys() == weights.tensors.keys() and not (tmp_path / 'two/model.safetensors').exists()
    for name, tensor in weights.tensors.items():
        np.testing.assert_array_equal(again.tensors[name].read(), tensor.read(), err_msg=name)
    assert arguments_of(again.config) == arguments_of(weights.config)


def test_they_are_read_into_the_parts_of_a_mesh(tmp_path):
    written(tmp_path, 'gpt2')
    mesh = make_mesh({'fsdp': 2, 'tensor': 2, 'data': 2})
    weights = find(tmp_path)
    model = make({}, **arguments_of(weights.config), scan=True, vocabulary_multiple=4)
    boxed = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
    shapes = layout.unbox(boxed)
    found = load(weights, GPT2, layout.with_shardings(shapes, layout.shardings(shapes, layout.names(boxed), mesh)))
    kernel = found['params']['stack']['layers']['attention']['query']['kernel']
    assert kernel.addressable_shards[0].data.shape == (2, 4, 4) and kernel.shape == (2, 8, 8)
    wanted = weights.tensors['transformer.h.1.attn.c_attn.weight'].read()[:, :8]
    np.testing.assert_array_equal(kernel[1], wanted)


def test_an_export_replaces_what_was_there(tmp_path):
    model, variables = written(tmp_path, 'gpt2')
    save(tmp_path, GPT2, variables, shard=500)
    assert len(find(tmp_path).tensors) == 2 + 12 * 2 + 2
    save(tmp_path, GPT2, variables)
    assert not (tmp_path / 'model.safetensors.index.json').exists()
    del model


def test_names_without_their_prefix_and_with_more_than_is_needed(tmp_path):
    """As openai-community/gpt2 has them: bare names, masks beside them; elsewhere the table stands there twice."""
    model, variables = written(tmp_path, 'gpt2')
    tensors = {name.removeprefix('transformer.'): x for name, x in load_file(tmp_path / 'model.safetensors').items()}
    tensors |= {'h.0.attn.bias': np.ones((1, 1, 8, 8), np.float32), 'h.1.attn.masked_bias': np.zeros((), np.float32)}
    save_file(tensors | {'lm_head.weight': tensors['wte.weight']}, tmp_path / 'model.safetensors')
    weights = find(tmp_path)
    assert family_of(weights.tensors) is GPT2_BARE
    found = load(weights, GPT2_BARE, variables_like(model, TOKENS), model=model)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, variables))

    save_file(tensors | {'lm_head.weight': tensors['wte.weight'] + 1}, tmp_path / 'model.safetensors')
    with pytest.raises(UserError, match=r'They have, and it does not: lm_head\.weight'):
        load(find(tmp_path), GPT2_BARE, variables_like(model, TOKENS))


def test_another_vocabulary_is_said(tmp_path):
    written(tmp_path, 'gpt2')
    weights = find(tmp_path)
    model = make({}, **KINDS['gpt2'] | dict(vocabulary=10, vocabulary_multiple=12))
    with pytest.raises(UserError, match='vocabulary=11, and the model 10'):
        load(weights, GPT2, variables_like(model, TOKENS), model=model)
    bare = Weights('there', weights.tensors)  # without a config.json
    with pytest.raises(UserError, match='"there" has 11 tokens, and the model 10: another vocabulary'):
        load(bare, GPT2, variables_like(model, TOKENS), model=model)


def test_another_architecture_is_said(tmp_path):
    written(tmp_path, 'llama')
    model = make({}, **KINDS['llama'] | dict(rotary_scaling='linear', rotary_factor=2.0))
    with pytest.raises(UserError, match=r'rotary=.*none.*linear.*another architecture'):
        load(tmp_path, LLAMA, variables_like(model, TOKENS), model=model)
    model = make({}, **KINDS['llama'] | dict(experts=4))
    with pytest.raises(UserError, match='has experts=0, and the model 4: another architecture'):
        load(tmp_path, LLAMA, variables_like(model, TOKENS), model=model)


LLAMA_CONFIG = {'model_type': 'llama', 'hidden_size': 64, 'num_attention_heads': 4}


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({}, 'model_type=None, and our GPT has gpt2, llama'),
        ({'model_type': 'mistral'}, 'model_type=mistral'),
        ({'model_type': 'gpt2', 'scale_attn_by_inverse_layer_idx': True}, 'scale_attn_by_inverse_layer_idx=True'),
        ({'model_type': 'gpt2', 'activation_function': 'relu'}, 'activation_function=relu, and our GPT has gelu_new'),
        (LLAMA_CONFIG | {'hidden_act': 'gelu'}, 'hidden_act=gelu'),
        (LLAMA_CONFIG | {'mlp_bias': True}, 'mlp_bias=True'),
        (LLAMA_CONFIG | {'quantization_config': {'bits': 4}}, 'quantization_config='),
        (LLAMA_CONFIG | {'rope_scaling': {'type': 'dynamic', 'factor': 2.0}}, '=dynamic changes .* 2048 tokens'),
        (LLAMA_CONFIG | {'rope_parameters': {'rope_type': 'longrope'}}, 'rope_type=longrope, and .* yarn: take'),
        (LLAMA_CONFIG | {'rope_parameters': {'rope_type': 'yarn', 'truncate': False}}, 'truncate=False'),
        (LLAMA_CONFIG | {'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5'),
    ],
)
def test_networks_that_ours_is_not_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        arguments_of(config)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(norm='rms'), 'norm=rms: the GPT-2 of transformers has layer'),
        (dict(experts=4), 'experts=4: the GPT-2 of transformers has 0'),
        (dict(heads=4, kv_heads=2), 'kv_heads=2: the GPT-2 of transformers has 4'),
        (dict(positions='rotary', norm='rms'), 'activation=gelu: the Llama of transformers has swiglu'),
    ],
)
def test_what_transformers_has_not_is_not_exported(arguments, message):
    with pytest.raises(UserError, match=message):
        config_of(make({'vocabulary': 9, 'length': 8}, **arguments))


# As published: the words of Llama 2, 3.1 and 3.2 for their positions.
def test_configs_as_they_are_published():
    plain = arguments_of(LLAMA_CONFIG | {'rope_theta': 500000.0, 'rope_scaling': None})
    assert plain['rotary_base'] == 500000.0 and 'rotary_scaling' not in plain
    scaling = {'factor': 32.0, 'high_freq_factor': 4.0, 'low_freq_factor': 1.0, 'rope_type': 'llama3'}
    scaling |= {'original_max_position_embeddings': 8192}
    found = arguments_of(LLAMA_CONFIG | {'rope_theta': 500000.0, 'rope_scaling': scaling, 'head_dim': 64})
    assert found['rotary_context'] == 8192 and found['rotary_factor'] == 32.0 and found['head_width'] == 64
    new = {name: value for name, value in scaling.items()} | {'rope_theta': 500000.0}
    assert arguments_of(LLAMA_CONFIG | {'rope_parameters': new, 'head_dim': 64}) == found
    small = arguments_of({'model_type': 'gpt2'})
    assert make({}, **small) == make({}, layers=12, width=768, heads=12, context=1024, vocabulary=50257, dropout=0.1)


MEASURE = """
import resource, sys
from pathlib import Path
import jax, numpy as np
from jaxlab import pretrained
from jaxlab.models.gpt import make
from jaxlab.parallel import layout
from jaxlab.pretrained.gpt import GPT2, arguments_of
from flax.core import meta

weights = pretrained.find(sys.argv[1])
model = make({}, **arguments_of(weights.config), scan=True)
shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 4), np.int32)))
jax.block_until_ready(jax.make_array_from_callback((8,), jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    lambda index: np.zeros(8, np.float32)[index]))
before = int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()
Path('/proc/self/clear_refs').write_text('5')  # the peak from here on
found = pretrained.load(weights, GPT2, shapes, model=model)
peak = next(int(line.split()[1]) << 10 for line in Path('/proc/self/status').open() if line.startswith('VmHWM'))
leaves = [leaf.nbytes for leaf in jax.tree.leaves(found)]
print((peak - before - sum(leaves)) / max(leaves), sum(leaves), max(leaves))
"""


def test_the_host_holds_the_result_and_one_leaf(tmp_path, fresh):
    """The largest leaf is a table of 64 MiB. All memory of the process counts, files that it maps included."""
    model = make({}, vocabulary=16384, context=8, layers=2, width=1024, heads=8, mlp_width=64)
    leaves = variables_like(model, TOKENS)
    save(tmp_path, GPT2, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), leaves), config_of(model))
    try:
        open('/proc/self/clear_refs', 'w').close()
    except OSError:
        pytest.skip('the peak of a process cannot be measured here')
    over, _, largest = map(float, fresh('-c', MEASURE, str(tmp_path)).stdout.split())
    assert largest == 16384 * 1024 * 4
    assert over < 1.2
