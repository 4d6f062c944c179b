"""RoBERTa with its words: published weights are fine-tuned for every purpose, say what they learned, and are published
again."""

import jax
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab import config_text, experiment, initial, pretrained
from jaxlab.config import spec
from jaxlab.data.encoder_tokens import RoBERTa
from jaxlab.data.processors import roberta
from jaxlab.main import main
from jaxlab.models.bert import make
from jaxlab.parallel import layout
from jaxlab.pretrained import bert
from jaxlab.tasks.masked_language_model import MaskedLanguageModel
from jaxlab.train import train
from tests.experiments import ROOT, message
from tests.test_finetuning import sources

SHAPE = dict(layers=1, width=16, heads=2, types=1, position_offset=2, pooler=False, norm_epsilon=1e-5, dropout=0.0)
TEXTS = ['a great film about the plot', 'a dull film, is it not?', 'what is great in the plot and the film'] * 20


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A small RoBERTa of random numbers as it is published, and its model, parameters and words."""
    folder = tmp_path_factory.mktemp('published')
    words = roberta.make(lambda: TEXTS, vocabulary=300)
    info = {'vocabulary': words.vocabulary, 'length': 32}
    model = make(info, **SHAPE, context=32, next_sentence=False)
    params = layout.unbox(jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8), np.int32))['params'])
    config = bert.config_of(model)
    pretrained.save(folder, bert.family_for(model), {'params': params}, config, rows=model.vocabulary)
    for name, content in words.published(model.context).items():
        (folder / name).write_bytes(content)
    return folder, model, params, words


def finetuning(size, tmp_path, source, **overrides):
    config, _ = config_text.load(f'{ROOT}/configs/bert_finetune.py:{size}')
    for key, value in {'init_from': str(source), 'init_new_head': True, 'steps': 2, **overrides}.items():
        config[key] = value
    config.data.source = sources(tmp_path)[size]
    config.model.update(**SHAPE, context=32, vocabulary_multiple=1)
    return configs.check(config)


def assert_same(one, other):
    assert one.numbers() == other.numbers() and one.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    for text in (*TEXTS[:3], ' naïve  猫 <mask>'):
        for here, there in zip(one.spans(text), other.spans(text)):
            np.testing.assert_array_equal(here, there)


ASKED = {
    'tiny': ['a great film'],
    'tagging_tiny': ['great film'],
    'question_answering_tiny': ['what?\tthe plot is great, and the film is dull'],
}


@pytest.mark.parametrize('size', ASKED)
def test_from_published_weights_to_every_purpose_and_back(weights, tmp_path, monkeypatch, capsys, size):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    folder, _, _, words = weights
    config = finetuning(size, tmp_path, folder)
    assert config.data.processor.name == 'wordpiece', 'the weights bring their words along, whatever is written there'
    assert train(config, tmp_path / 'run', []) == 0
    assert train(config, tmp_path / 'run', []) == 0, 'the same command goes on'
    lab = experiment.load(tmp_path / 'run')
    assert isinstance(lab.processor.tokenizer, RoBERTa)
    assert_same(lab.processor.tokenizer, words)
    assert main(['predict', f'--workdir={tmp_path / "run"}', *ASKED[size]]) == 0
    assert main(['export', f'--workdir={tmp_path / "run"}', f'--folder={tmp_path / "out"}']) == 0
    assert_same(roberta.make(list, path=str(tmp_path / 'out')), words)
    capsys.readouterr()
    further = finetuning(size, tmp_path, tmp_path / 'run', init_new_head=False)
    assert initial.with_preprocessing(further).data.processor.name == 'roberta'


def test_an_answer_is_a_piece_of_the_text(weights, tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    config = finetuning('question_answering_tiny', tmp_path, weights[0], steps=80)
    config.optimizer.learning_rate = 1e-2
    assert train(config, tmp_path / 'run', []) == 0
    lab = experiment.load(tmp_path / 'run')
    context = 'the plot is great, and the film is dull'
    [answer] = lab.answers([('what?', context)])
    assert answer['answer'] == 'great' and context[answer['begin'] : answer['end']] == 'great'
    _, windows, spans = lab.processor.rows(('what?', context))
    assert windows[0].tokens[windows[0].first - 2 : windows[0].first].tolist() == [2, 2]
    assert [context[begin:end] for begin, end in spans][:2] == ['the', 'plot'], 'without the space before it'


def test_a_gap_is_filled(weights):
    _, model, params, words = weights
    task = MaskedLanguageModel(model)
    one = task.answer(params, {}, words, 'a great <mask> about', top=3)
    other = task.answer(params, {}, words, 'a great<mask> about', top=3)
    assert one == other, 'the space belongs to what is missing'
    assert [len(found) for found in one] == [3]
    assert 'write <mask> where' in message(task.answer, params, {}, words, 'a great [MASK] about')


def test_other_words_are_told(weights, tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    config = finetuning('tiny', tmp_path, weights[0])
    with config.unlocked():
        config.data.processor = spec('data.processors.roberta', path=str(tmp_path / 'other'))
    (tmp_path / 'other').mkdir()
    for name, content in roberta.make(lambda: ['another film'] * 9, vocabulary=270).published(32).items():
        (tmp_path / 'other' / name).write_bytes(content)
    said = message(train, config, tmp_path / 'run', [])
    assert (
        'knows other words' in said
        and f'--config.data.processor.name=roberta --config.data.processor.path={weights[0]}' in said
    )


def test_types_that_transformers_would_not_give_are_refused(weights):
    _, model, _, words = weights
    with_types = make({'vocabulary': words.vocabulary, 'length': 8}, **SHAPE | {'types': 2}, next_sentence=False)
    assert 'config.model.types=2' in message(bert.exported, with_types, words)
    assert bert.exported(model, words).config['type_vocab_size'] == 1


@pytest.mark.reference
def test_transformers_says_the_same(weights, tmp_path, monkeypatch):
    """Classes of texts, trained here: text in, logits out."""
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    assert train(finetuning('tiny', tmp_path, weights[0]), tmp_path / 'run', []) == 0
    assert main(['export', f'--workdir={tmp_path / "run"}', f'--folder={tmp_path / "out"}']) == 0
    lab = experiment.load(tmp_path / 'run')
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / 'out').eval()
    assert type(tokenizer).__name__.startswith('Roberta') and tokenizer.model_max_length == 32
    for text in ('a great film', ' the film,  猫'):
        row = lab.processor.encode(text)
        encoded = tokenizer(text, return_tensors='pt')
        assert encoded['input_ids'][0].tolist() == row['tokens'][: row['lengths']].tolist()
        with torch.no_grad():
            wanted = theirs(**encoded).logits[0].numpy()
        with jax.set_mesh(lab.mesh):
            batch = {name: array[None] for name, array in row.items()}
            found = np.asarray(lab.task.predict(lab.params, lab.extra, batch)['logits'])[0]
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
