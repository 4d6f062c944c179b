"""A record beside weights says what each layer makes of fixed inputs; an import that departs is told where."""

# b rows, h height, w width, c channels

import json

import jax
import numpy as np
import pytest
from flax.core import meta
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxlab import certificate, main, pretrained
from jaxlab.models import gpt, vit
from jaxlab.nn.listening import heard, layer_by_layer, order
from jaxlab.pretrained import vit as table
from tests.experiments import message

GPT = dict(layers=3, width=16, heads=2, vocabulary=40, context=12)


def drawn(model, shapes):
    """Variables some way from birth."""
    inputs = certificate.fixed_inputs(shapes, 0)
    given = [inputs[name] for name in model.takes]
    draw = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: x + 0.1 * draw.normal(size=x.shape).astype(x.dtype), meta.unbox(model.init(jax.random.key(0), *given))
    )


@pytest.fixture
def small():
    model = gpt.make({}, **GPT)
    shapes = certificate.shapes_of(model)
    return model, drawn(model, shapes), shapes


def changed(variables, path, factor=1.01):
    flat = flatten_dict(variables, sep='/')
    return unflatten_dict(flat | {path: flat[path] * factor}, sep='/')


def test_layers_are_in_the_order_in_which_they_give_back(small):
    model, variables, shapes = small
    names = [name for name, _ in certificate.of_model(model, variables, shapes).layers]
    first = ['attention_norm', 'attention/query', 'attention/key', 'attention/value', 'attention/out']
    assert names[:2] == ['token_embedding', 'position_embedding'] and names[-1] == 'final_norm'
    assert names[2:7] == [f'stack/layer_0/{name}' for name in first]
    assert names.index('stack/layer_1/mlp/down') < names.index('stack/layer_2/attention_norm')


def test_a_scanned_stack_has_the_record_of_one_that_is_not(small):
    model, variables, shapes = small
    stack = variables['params']['stack']
    layers = jax.tree.map(lambda *leaves: np.stack(leaves), *(stack[f'layer_{i}'] for i in range(3)))
    scanned = {'params': variables['params'] | {'stack': {'layers': layers}}}
    one = certificate.of_model(model, variables, shapes)
    other = certificate.of_model(gpt.make({}, **GPT, scan=True), scanned, shapes)
    assert [name for name, _ in one.layers] == [name for name, _ in other.layers]
    np.testing.assert_allclose([size for _, size in one.layers], [size for _, size in other.layers], rtol=1e-5)
    assert certificate.check(one, gpt.make({}, **GPT, scan=True), scanned, 'there') < 1e-5


def test_what_departs_is_named(small, tmp_path):
    model, variables, shapes = small
    record = certificate.of_model(model, variables, shapes)
    certificate.write(tmp_path / certificate.NAME, record)
    record = certificate.beside(str(tmp_path))
    assert certificate.check(record, model, variables, 'there') == 0
    for path, layer in {
        'params/stack/layer_1/mlp/up/kernel': 'stack/layer_1/mlp/up,',
        'params/token_embedding/table': 'token_embedding,',
        'params/stack/layer_2/attention/key/bias': 'stack/layer_2/attention/key,',
    }.items():
        told = message(certificate.check, record, model, changed(variables, path), 'there')
        assert f'departs is {layer}' in told and 'jaxlab' in told
    two = changed(changed(variables, 'params/final_norm/scale'), 'params/stack/layer_0/mlp/down/kernel')
    assert 'departs is stack/layer_0/mlp/down,' in message(certificate.check, record, model, two, 'there')


def test_logits_are_compared(small):
    """Of an output layer that no module calls, the logits alone tell."""
    model = gpt.make({}, **GPT, tied=False)
    shapes = certificate.shapes_of(model)
    variables = drawn(model, shapes)
    record = certificate.of_model(model, variables, shapes)
    wrong = changed(variables, 'params/head/table')
    assert 'the logits depart' in message(certificate.check, record, model, wrong, 'there')
    assert certificate.check(record, model, wrong, 'there', without='head') == 0
    del wrong['params']['head']
    assert certificate.check(record, model, wrong, 'there', without='head') == 0


def test_fixed_inputs_never_change():
    shapes = {'tokens': [[2, 5], 100], 'inputs': [[1, 1, 2, 2], 0], 'lengths': [[2], 5], 'types': [[2, 5], 2]}
    found = certificate.fixed_inputs(shapes, 3)
    assert found['tokens'].tolist() == [[19, 74, 41, 10, 21], [38, 96, 20, 44, 93]]
    assert found['lengths'].tolist() == [5, 5] and found['types'].tolist() == [[0, 0, 0, 1, 1]] * 2
    assert certificate.fixed_inputs(shapes, 3)['inputs'].tolist() == found['inputs'].tolist()
    assert certificate.fixed_inputs(shapes, 4)['inputs'].tolist() != found['inputs'].tolist()


@pytest.mark.parametrize('damage', ['{', '[]', '{"format": 1}', 'shape', 'layers'])
def test_a_damaged_record_is_told(small, tmp_path, damage):
    file = tmp_path / certificate.NAME
    certificate.write(file, certificate.of_model(*small))
    content = json.loads(file.read_text())
    if damage == 'shape':
        content['inputs']['tokens'][0] = [1 << 30, 1 << 30]
    elif damage == 'layers':
        content['layers'][0] = ['a', 'b']
    file.write_text(json.dumps(content) if damage in ('shape', 'layers') else damage)
    assert 'is damaged' in message(certificate.beside, str(tmp_path))
    assert 'no such file' in message(certificate.beside, str(tmp_path), str(tmp_path / 'nothing'))


@pytest.fixture
def published(tmp_path):
    """A ViT as it is published, and its certificate, by our own model."""
    model = vit.make({'shape': [8, 8, 3]}, layers=2, width=16, heads=2, patch=4, classes=3)
    variables = drawn(model, certificate.shapes_of(model, (8, 8, 3)))
    pretrained.save(tmp_path, table.TRANSFORMERS, variables, table.config_of(model, 8))
    assert main.main(['certify', str(tmp_path), '--ours']) == 0
    return tmp_path


def test_the_verb_writes_a_small_record(published, capsys):
    record = certificate.beside(str(published))
    assert record.made_by.startswith('jaxlab') and (published / certificate.NAME).stat().st_size < 20_000
    assert 'stack/layer_1/mlp/down' in dict(map(tuple, record.layers)) and record.shape == [2, 3]
    assert main.main(['certify', str(published), '--ours', f'--output={published / "other.json"}', '--seed=7']) == 0
    assert certificate.beside('', str(published / 'other.json')).logits != record.logits
    assert main.main(['certify', str(published / 'nowhere')]) == 2


def test_order_and_heard_agree():
    model = gpt.make({}, **GPT, scan=True)
    tokens = np.zeros((1, 4), np.int32)
    variables = meta.unbox(model.init(jax.random.key(0), tokens))
    names = order(model.apply, variables, tokens)
    _, found = heard(model, variables, tokens)
    assert {name for name in found if name} <= set(names) and found['stack/layers/mlp/up'].shape == (3, 1, 4, 64)
    flat = layer_by_layer(['a', 'stack/layers/b', 'stack/layers/c', 'd'], 2)
    assert [name for name, *_ in flat] == ['a', *(f'stack/layer_{i}/{x}' for i in (0, 1) for x in 'bc'), 'd']
