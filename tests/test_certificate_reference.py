"""Certificates by the original: transformers' model and ours agree layer by layer, and a wrong import is named."""

import jax
import numpy as np
import pytest
from flax.core import meta

from jaxlab import certificate, initial, main, pretrained
from jaxlab.models import efficientnet as efficientnets
from jaxlab.pretrained.efficientnet import odd_blocks
from tests.experiments import message
from tests.pretrained.published import randomise, settle

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')


def vit():
    shape = dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=50)
    config = transformers.ViTConfig(image_size=12, patch_size=4, num_labels=5, **shape)
    return transformers.ViTForImageClassification(config)


def resnet():
    shape = dict(layer_type='basic', embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2])
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(**shape, num_labels=5))


def efficientnet():
    width, depth, size = 0.25, 0.3, 64
    shape = dict(width_coefficient=width, depth_coefficient=depth, image_size=size, num_labels=5)
    shape |= dict(hidden_dim=efficientnets.scaled(efficientnets.TOP, width))
    shape |= dict(depthwise_padding=odd_blocks(size, width, depth))
    theirs = randomise(transformers.EfficientNetForImageClassification(transformers.EfficientNetConfig(**shape)))
    return settle(theirs, np.random.default_rng(0).normal(size=(8, size, size, 3)).astype(np.float32))


def gpt():
    shape = dict(n_layer=2, n_embd=24, n_head=4, n_positions=40, vocab_size=61)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape))


def llama():
    shape = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40, vocab_size=61)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, num_key_value_heads=2))


def bert():
    shape = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40, vocab_size=61)
    return transformers.BertForPreTraining(transformers.BertConfig(**shape))


MODELS = {  # the model of transformers, layers that must be heard, one of their tensors and our layer that it is in
    'vit': (vit, 3 * 8 + 3, 'vit.layers.1.mlp.fc1.weight', 'stack/layer_1/mlp/up'),
    'resnet': (
        resnet,
        17,
        'resnet.encoder.stages.1.layers.0.layer.1.convolution.weight',
        'stage_1_block_0/conv_1/conv',
    ),
    'gpt': (gpt, 2 * 8 + 3, 'transformer.h.1.mlp.c_fc.weight', 'stack/layer_1/mlp/up'),
    'llama': (llama, 2 * 9 + 2, 'model.layers.1.self_attn.k_proj.weight', 'stack/layer_1/attention/key'),
    'bert': (bert, 2 * 8 + 2, 'bert.encoder.layer.1.attention.self.key.weight', 'stack/layer_1/attention/key'),
    'efficientnet': (efficientnet, 20, 'efficientnet.encoder.top_conv.weight', ''),
}


@pytest.mark.parametrize('name', MODELS)
def test_the_original_certifies_and_ours_agrees(name, tmp_path, capsys):
    make, least, tensor, layer = MODELS[name]
    theirs = make() if name == 'efficientnet' else randomise(make())
    theirs.save_pretrained(tmp_path)
    assert main.main(['certify', str(tmp_path)]) == 0
    record = certificate.beside(str(tmp_path))
    assert record.made_by == f'transformers {transformers.__version__}' and len(record.layers) >= least
    weights = pretrained.find(tmp_path)
    family = initial.family_for(weights)
    model = family.make({}, **family.arguments_of(weights.config))
    inputs = certificate.fixed_inputs(record.inputs, record.seed)
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *(inputs[name] for name in model.takes)))
    variables = pretrained.load(weights, family, shapes, model=model)
    assert certificate.check(record, model, variables, 'there') < 1e-5

    with torch.no_grad():  # … and what is not the original's is named
        theirs.state_dict()[tensor].mul_(1.01)
    theirs.save_pretrained(tmp_path)
    variables = pretrained.load(tmp_path, family, shapes, model=model)
    told = message(certificate.check, record, model, variables, 'there')
    assert f'departs is {layer}' in told
