"""BERT, RoBERTa and DistilBERT against the published code: the same random weights give the same numbers, both ways."""

# b batch, t time

import jax
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.models.bert import make
from jaxlab.pretrained import bert, find, load, save
from jaxlab.pretrained.bert import arguments_of, config_of, family_for, family_of
from tests.pretrained.published import assert_equal_files, randomise, variables_like

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

BERT = {
    'small': dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=50, vocab_size=99),
    'odd': dict(hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=31, vocab_size=61),
    'tanh': dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64, vocab_size=70)
    | dict(hidden_act='gelu_new', type_vocab_size=3, layer_norm_eps=1e-6),
    'one': dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512, vocab_size=300)
    | dict(max_position_embeddings=33),
}
ROBERTA_BASE = dict(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
DISTIL = {
    'small': dict(dim=24, n_layers=3, n_heads=4, hidden_dim=50, vocab_size=99),
    'odd': dict(dim=15, n_layers=1, n_heads=5, hidden_dim=31, vocab_size=61, activation='gelu_new'),
}
ROBERTA = {name: BERT[name] | {'type_vocab_size': 1} for name in ('small', 'odd')}
ROBERTA['two types'] = BERT['one'] | dict(type_vocab_size=2, layer_norm_eps=1e-5)
CLASSES = {
    'bert': ('PreTraining', 'MaskedLM', 'SequenceClassification', 'TokenClassification', 'QuestionAnswering'),
    'roberta': ('MaskedLM', 'SequenceClassification', 'TokenClassification', 'QuestionAnswering'),
    'distilbert': ('MaskedLM', 'SequenceClassification', 'TokenClassification', 'QuestionAnswering'),
}
SHAPES = {'bert': BERT, 'roberta': ROBERTA, 'distilbert': DISTIL}
CASES = [(kind, shape, end) for kind in SHAPES for shape in SHAPES[kind] for end in CLASSES[kind]]
# Every shape with the head that has most of them, and every head with one shape, in the first tier.
FIRST = {('bert', shape, 'PreTraining') for shape in BERT} | {(kind, 'small', end) for kind, _, end in CASES}
FIRST |= {('roberta', 'two types', 'MaskedLM'), ('distilbert', 'odd', 'SequenceClassification')}
CASES = [pytest.param(*case, marks=() if case in FIRST else pytest.mark.slow) for case in CASES]


def published(folder, kind, shape, end):
    """One of transformers' with random weights, in a folder."""
    name = bert.NAMES[kind]
    config = getattr(transformers, f'{name}Config')(num_labels=5 if end != 'QuestionAnswering' else 2, **shape)
    theirs = randomise(getattr(transformers, f'{name}For{end}')(config), gain=2.0)
    theirs.save_pretrained(folder)
    return theirs


def texts(config, rows=3, length=9):
    draw = np.random.default_rng(0)
    tokens = draw.integers(3, config.vocab_size, (rows, length)).astype(np.int32)
    types = (np.arange(length) > 4).astype(np.int32) * np.ones((rows, 1), np.int32)
    lengths = np.array([length, length - 3, 1], np.int32)
    real = np.arange(length) < lengths[:, None]
    padding = config.pad_token_id or 0
    return np.where(real, tokens, padding).astype(np.int32), np.where(real, types, 0).astype(np.int32), lengths


def outputs_of(theirs, tokens, types, lengths):
    """Their last hidden states and logits: {name: array}."""
    inputs = {'input_ids': tokens, 'attention_mask': np.arange(tokens.shape[1]) < lengths[:, None]}
    if theirs.config.model_type == 'bert' or getattr(theirs.config, 'type_vocab_size', 0) > 1:
        inputs['token_type_ids'] = types
    inputs = {name: torch.from_numpy(np.asarray(array).astype(np.int64)) for name, array in inputs.items()}
    with torch.no_grad():
        found = theirs(**inputs, output_hidden_states=True)
    logits = getattr(found, 'logits', None)
    if logits is None:
        logits = getattr(found, 'prediction_logits', None)
    if logits is None:
        logits = torch.stack([found.start_logits, found.end_logits], -1)
    outputs = {'hidden': found.hidden_states[-1].numpy(), 'logits': logits.numpy()}
    if hasattr(found, 'seq_relationship_logits'):
        outputs['next'] = found.seq_relationship_logits.numpy()
    return outputs


def ours_of(model, variables, tokens, types, lengths):
    inputs = tokens, types, lengths
    outputs = {'hidden': jax.jit(model.apply, static_argnames='method')(variables, *inputs, method='hidden')}
    if model.purpose == 'masked':
        outputs['logits'], following = model.apply(variables, *inputs, method='masked')
        if following is not None:
            outputs['next'] = following
    else:
        outputs['logits'] = model.apply(variables, *inputs)
    return {name: np.asarray(array) for name, array in outputs.items()}


def assert_near(found, wanted, lengths):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape and found[name].dtype == np.float32, name
        real = np.arange(array.shape[1]) < lengths[:, None] if array.ndim == 3 else slice(None)
        assert np.ptp(array[real], axis=0).max() > 0.1 * np.abs(array[real]).max(), f'{name}: all rows are the same'
        assert np.abs(found[name] - array)[real].max() < 1e-5 * np.abs(array[real]).max(), name


@pytest.mark.parametrize(('kind', 'shape', 'end'), CASES)
def test_the_same_numbers_there_and_back(kind, shape, end, tmp_path):
    theirs = published(tmp_path / 'theirs', kind, SHAPES[kind][shape], end)
    inputs = texts(theirs.config)
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, family_of(weights.tensors), variables_like(model, *inputs), model=model)
    wanted = outputs_of(theirs, *inputs)
    assert_near(ours_of(model, variables, *inputs), wanted, inputs[2])

    save(tmp_path / 'ours', family_for(model), variables, config_of(model))
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')
    again = type(theirs).from_pretrained(tmp_path / 'ours').eval()
    for name, array in outputs_of(again, *inputs).items():
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    assert arguments_of(find(tmp_path / 'ours').config) | {'dropout': 0} == arguments_of(weights.config) | {
        'dropout': 0
    }


def test_scanned_and_padded(tmp_path):
    theirs = published(tmp_path / 'theirs', 'bert', BERT['small'], 'PreTraining')
    inputs = texts(theirs.config)
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config), scan=True, vocabulary_multiple=16)
    variables = load(weights, family_of(weights.tensors), variables_like(model, *inputs), model=model)
    found = ours_of(model, variables, *inputs)
    assert found['logits'].shape[-1] == 112 and (found['logits'][..., 99:] < -1e8).all()
    found['logits'] = found['logits'][..., :99]
    assert_near(found, outputs_of(theirs, *inputs), inputs[2])
    save(tmp_path / 'ours', family_for(model), variables, config_of(model), rows=model.vocabulary)
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')


@pytest.mark.parametrize('how', ['bare', 'old'])
def test_older_names(how, tmp_path):
    """Without a prefix, as of a model without a head; with gamma and beta, a copy of the table, numbers of places."""
    from safetensors.numpy import load_file, save_file

    theirs = published(tmp_path / 'theirs', 'bert', BERT['small'], 'PreTraining')
    inputs = texts(theirs.config)
    tensors = load_file(tmp_path / 'theirs' / 'model.safetensors')
    if how == 'bare':
        tensors = {name.removeprefix('bert.'): array for name, array in tensors.items()}
    else:
        ends = {'LayerNorm.weight': 'LayerNorm.gamma', 'LayerNorm.bias': 'LayerNorm.beta'}
        for end, old in ends.items():
            tensors = {name.replace(end, old): array for name, array in tensors.items()}
        tensors['cls.predictions.decoder.weight'] = tensors['bert.embeddings.word_embeddings.weight']
        tensors['cls.predictions.decoder.bias'] = tensors['cls.predictions.bias']
        tensors['bert.embeddings.position_ids'] = np.arange(512)[None]
    save_file(tensors, tmp_path / 'theirs' / 'model.safetensors')
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, family_of(weights.tensors), variables_like(model, *inputs), model=model)
    assert_near(ours_of(model, variables, *inputs), outputs_of(theirs, *inputs), inputs[2])
    if how == 'old':
        tensors['cls.predictions.decoder.weight'] = tensors['cls.predictions.decoder.weight'] + 1
        save_file(tensors, tmp_path / 'theirs' / 'model.safetensors')
        with pytest.raises(UserError, match=r'cls\.predictions\.decoder\.weight'):  # not tied: another network
            load(find(tmp_path / 'theirs'), family_of(weights.tensors), variables_like(model, *inputs))


@pytest.mark.parametrize('head', ['classes', 'tokens', 'span', 'masked'])
@pytest.mark.parametrize('end', ['PreTraining', 'MaskedLM', 'QuestionAnswering'])
def test_a_new_head_on_any_weights(end, head, tmp_path):
    theirs = published(tmp_path, 'bert', BERT['small'], end)
    inputs = texts(theirs.config)
    weights = find(tmp_path)
    arguments = arguments_of(weights.config) | {'head': head, 'classes': 3, 'next_sentence': head == 'masked'}
    model = make({}, **arguments)
    born = jax.jit(model.init)(jax.random.key(0), *inputs)
    born = jax.tree.map(lambda leaf: leaf.value, born, is_leaf=lambda leaf: hasattr(leaf, 'value'))
    found = load(weights, family_of(weights.tensors), born, new_head=True, model=model)['params']
    for one, other in zip(jax.tree.leaves(found['head']), jax.tree.leaves(born['params']['head']), strict=True):
        np.testing.assert_array_equal(one, other)
    hidden = model.apply({'params': found}, *inputs, method='hidden')
    assert_near({'hidden': np.asarray(hidden)}, {'hidden': outputs_of(theirs, *inputs)['hidden']}, inputs[2])
    if 'pooler' in found:
        same = np.array_equal(found['pooler']['kernel'], born['params']['pooler']['kernel'])
        assert same == (end != 'PreTraining')


def test_a_head_of_another_purpose_is_told(tmp_path):
    published(tmp_path, 'bert', BERT['small'], 'PreTraining')
    weights = find(tmp_path)
    model = make({}, **arguments_of(weights.config) | {'head': 'classes', 'classes': 3})
    with pytest.raises(UserError, match=r'has purpose=masked, and the model classes: .* new_head=True'):
        load(weights, family_of(weights.tensors), variables_like(model, np.zeros((1, 4), np.int32)), model=model)
    other = make({}, **arguments_of(weights.config) | {'vocabulary': 100})
    with pytest.raises(UserError, match='has vocabulary=99, and the model 100'):
        load(weights, family_of(weights.tensors), variables_like(other, np.zeros((1, 4), np.int32)), model=other)


def test_published_sizes():
    """What is said of the published ones, and counted of ours without their memory."""
    tokens = jax.ShapeDtypeStruct((1, 4), np.int32)
    for config, wanted in (
        (transformers.BertConfig(architectures=['BertForPreTraining']), 110_106_428),
        (transformers.BertConfig(architectures=['BertForSequenceClassification']), 109_483_778),
        (transformers.RobertaConfig(**ROBERTA_BASE, architectures=['RobertaForMaskedLM']), 124_697_433),
        (transformers.DistilBertConfig(architectures=['DistilBertForMaskedLM']), 66_985_530),
    ):
        model = make({}, **arguments_of(config.to_dict()))
        shapes = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0), tokens))
        assert sum(leaf.size for leaf in shapes) == wanted


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(model_type='albert'), 'model_type=albert, and our BERT has bert, roberta, distilbert'),
        (dict(position_embedding_type='relative_key'), 'position_embedding_type=relative_key'),
        (dict(hidden_act='relu'), 'hidden_act=relu'),
        (dict(model_type='roberta', hidden_act='gelu_new'), 'hidden_act=gelu_new'),
        (dict(model_type='distilbert', sinusoidal_pos_embds=True), 'sinusoidal_pos_embds=True'),
        (dict(tie_word_embeddings=False), 'tie_word_embeddings=False'),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        arguments_of({'model_type': 'bert'} | change)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(head='classes', pooler=False),
        dict(position_offset=2, pooler=False, next_sentence=False, activation='gelu'),
        dict(types=0, pooler=False, next_sentence=False, norm_epsilon=1e-5),
        dict(types=0, head='classes', pooler=False),
    ],
)
def test_what_transformers_has_not_is_not_exported(arguments):
    with pytest.raises(UserError, match='of transformers has'):
        config_of(make({'vocabulary': 30, 'length': 8, 'classes': 2}, width=24, heads=2, layers=1, **arguments))
