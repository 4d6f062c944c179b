"""Where two computations part: the first tensor is named, forwards or backwards, and what agrees is said to agree."""

# b rows, t tokens

import jax
import numpy as np
import pytest

import jaxlab.nn.mlp
from jaxlab import difference, main
from jaxlab.difference import Part, compare, distance
from jaxlab.train import train
from jaxlab.verbs import diff
from tests.experiments import ROOT, TRANSFORMER, message, tiny

TINY = f'{TRANSFORMER}:tiny'
SMALL = ('model.width', '16'), ('data.length', '16'), ('batch_size', '8')


def sides(corpus, *texts, more=()):
    given = [*SMALL, ('data.path', str(corpus)), *more]
    return [difference.side(text, given, ()) for text in texts]


def parts(one, other):
    return {kind: compare(*tensors) for kind, tensors in difference.both(one, other).items()}


def test_a_config_agrees_with_itself_on_a_mesh(corpus, float64):
    one, other = sides(corpus, TINY, f'{TINY}@data=2,tensor=4')
    found = parts(one, other)
    assert not any(part.first for part in found.values()), found
    assert found['forward'].compared == 2 * 8 + 3 + 1 and found['backward'].compared == 2 * 16 + 4
    assert 0 < found['backward'].worst < 1e-11
    assert diff.sentence(found, 1e-9).startswith('They agree: 61 tensors') or found['batch'].compared


def test_layers_stacked_and_one_by_one_have_the_same_names(corpus, float64):
    (one,) = sides(corpus, TINY)
    (other,) = sides(corpus, TINY, more=[('model.scan', 'true')])
    batch = one.data.batch(0)
    a, b = difference.see(one, batch), difference.see(other, batch)
    assert list(a.forward) == list(b.forward) and list(a.backward) == list(b.backward)
    assert a.backward.keys() >= {'stack/layer_1/mlp/up/kernel', 'final_norm/scale', 'token_embedding/table'}
    names = list(a.backward)
    assert names.index('stack/layer_1/mlp/down/kernel') < names.index('stack/layer_0/mlp/down/kernel')


def test_another_activation_parts_at_its_layer(corpus, float64, monkeypatch):
    one, other = sides(corpus, TINY, TINY)
    batch = one.data.batch(0)
    before = difference.see(one, batch)
    monkeypatch.setattr(jaxlab.nn.mlp.nn, 'gelu', lambda x, approximate: jax.nn.gelu(x, not approximate))
    after = difference.see(other, batch)
    found = {kind: compare(getattr(before, kind), getattr(after, kind)) for kind in ('forward', 'backward')}
    assert found['forward'].first == 'stack/layer_0/mlp/down'
    assert diff.sentence(found, 1e-9).startswith('They part at the output of stack/layer_0/mlp/down (by ')


def test_a_gradient_alone_is_noticed(corpus, float64, monkeypatch):
    """Forwards nothing differs; backwards something is left out."""
    one, other = sides(corpus, TINY, TINY)
    batch = one.data.batch(0)
    before = difference.see(one, batch)
    gelu = jax.nn.gelu
    monkeypatch.setattr(
        jaxlab.nn.mlp.nn,
        'gelu',
        lambda x, approximate: 0.5 * (y := gelu(x, approximate)) + 0.5 * jax.lax.stop_gradient(y),
    )
    after = difference.see(other, batch)
    found = {kind: compare(getattr(before, kind), getattr(after, kind)) for kind in ('forward', 'backward')}
    assert not found['forward'].first and found['backward'].first.startswith('stack/layer_1/mlp/up/')
    assert 'They agree forwards, and part at the gradient of stack/layer_1/mlp/up/' in diff.sentence(found, 1e-9)


def test_two_experiments(corpus, tmp_path, capsys, float64, monkeypatch):
    jax.config.update('jax_enable_x64', False)
    small = dict(
        model__width=16, data__length=16, batch_size=8, steps=2, evaluate__every=0, log__sample_every=0, mesh__data=1
    )
    for name, more in {'a': {}, 'b': {'optimizer__learning_rate': 1e-2}}.items():
        train(tiny(corpus, **small | more), tmp_path / name, [])
    capsys.readouterr()
    try:
        assert main.main(['diff', str(tmp_path / 'a'), str(tmp_path / 'a')]) == 0
        assert 'They agree' in capsys.readouterr().out
        assert main.main(['diff', str(tmp_path / 'a'), str(tmp_path / 'b')]) == 1
    finally:
        jax.config.update('jax_enable_x64', True)
    told = capsys.readouterr().out
    assert 'They part at the output of token_embedding (by ' in told
    lines = told.splitlines()
    assert lines[0].split() == ['compared', 'largest', 'difference', 'first', 'that', 'departs']
    assert [line.split()[0] for line in lines[1:4]] == ['the', 'forwards', 'gradients']


def test_what_only_one_side_has():
    one, other = {'a': np.ones(2), 'b': np.ones(3)}, {'a': np.ones(2)}
    assert compare(one, other) == Part(1, 0.0, 'b', 'only the first side has it')
    assert compare(other, one).how == 'only the second side has it'
    assert compare({'a': np.ones((2, 3))}, {'a': np.ones((3, 2))}).how == 'of shape [2, 3], and of [3, 2]'


def test_distance():
    assert distance(np.ones(2), np.ones(2)) == 0 and distance(np.zeros(2), np.zeros(2)) == 0
    assert distance(np.array([1.0, 2]), np.array([1.0, 2.5])) == 0.2
    assert distance(np.array([1.0, -1e9]), np.array([2.0, -1e9])) == 0.5
    assert distance(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert distance(np.array([1.0, np.nan]), np.array([1.0, 1.0])) == np.inf
    assert distance(np.array([1e-17]), np.array([2e-17]), least=1e-4) < 1e-12


def test_what_a_user_can_get_wrong(corpus, tmp_path, capsys):
    assert 'a folder of weights is wanted' in message(sides, corpus, str(tmp_path / 'nothing'))
    assert 'a mesh is wanted after @' in message(sides, corpus, f'{TINY}@tensor')
    assert main.main(['diff', 'a', 'b', '--tolerance=2']) == 2 and '--tolerance=2.0' in capsys.readouterr().err


@pytest.mark.reference
@pytest.mark.parametrize('wrong', ['', 'classifier', 'attention'])
def test_beside_the_original(tmp_path, float64, wrong, monkeypatch):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    from tests.pretrained.published import randomise

    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    shape = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, num_channels=1)
    theirs = transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=8, patch_size=4, num_labels=10, **shape)
    )
    randomise(theirs).save_pretrained(tmp_path / 'theirs')
    if wrong:
        name = {'classifier': 'classifier.bias', 'attention': 'vit.layers.1.attention.o_proj.weight'}[wrong]
        with torch.no_grad():
            theirs.state_dict()[name].add_(0.01)
    theirs.save_pretrained(tmp_path / 'ours')
    arguments = {
        'layers': 2,
        'width': 24,
        'heads': 4,
        'mlp_width': 48,
        'patch': 4,
        'activation': 'gelu_exact',
        'norm_epsilon': 1e-12,
        'dropout': 0.0,
        'stochastic_depth': 0.0,
        'pool': 'token',
        'representation': 0,
    }
    overrides = [(f'model.{name}', str(value)) for name, value in arguments.items()]
    overrides += [('init_from', str(tmp_path / 'ours')), ('data.processor.size', '8')]
    one = difference.side(f'{ROOT}/configs/vit.py:tiny', overrides, ())
    found = parts(one, difference.side(str(tmp_path / 'theirs'), (), ()))
    first = {'': '', 'classifier': 'head', 'attention': 'stack/layer_1/attention/out'}[wrong]
    assert found['forward'].first == first and found['forward'].compared > 15 and found['backward'].compared > 30
    if not wrong:
        assert not found['backward'].first and found['backward'].worst < 1e-10
