"""From one purpose to another: a BERT that has learned classes of texts begins to learn tags and answers, with the
words that it knows."""

import json

import jax
import numpy as np
import pytest

from jaxlab import blueprint, config_text, experiment, initial
from jaxlab import config as configs
from jaxlab.config import spec
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.train import train
from tests.experiments import ROOT, message
from tests.verbs.test_predict import write_films

FILE = f'{ROOT}/configs/bert_finetune.py'


def config_of(size, source, **overrides):
    config, _ = config_text.load(f'{FILE}:{size}')
    config.data.source = source
    for key, value in overrides.items():
        config[key] = value
    return configs.check(config)


def begun(config):
    """Returns (the state that a run begins with, the one that it is born with, the data)."""
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data, config = experiment.make_data(config, mesh)
        batch = layout.global_shapes(data.batch(0), config.batch_size)
        plan = blueprint.draw(config, experiment.make_task(config, data.info), batch, mesh)
        begin = initial.of(config, plan)
        return begin(plan.born()), plan.born(), data


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run on classes of texts, and its config."""
    folder = tmp_path_factory.mktemp('films')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        path = str(write_films(folder / 'films.tsv'))
        config = config_of('tiny', spec('data.sources.text_table', path=path), steps=4)
        assert train(config, folder / 'run', []) == 0
        assert train(config, folder / 'run', []) == 0, 'the same command goes on'
    return folder / 'run', experiment.load(folder / 'run')


def sources(folder):
    (folder / 'tags.txt').write_text(''.join(f'great X\nfilm{n} Y\n\n' for n in range(40)))
    context = 'the plot is great, and the film is dull'
    qas = [{'question': 'what?', 'answers': [{'text': 'great', 'answer_start': 12}]}] * 4
    (folder / 'qa.json').write_text(json.dumps({'data': [{'paragraphs': [{'context': context, 'qas': qas}]}]}))
    films = write_films(folder / 'other.tsv', 50)
    return {
        'tiny': spec('data.sources.text_table', path=str(films)),
        'tagging_tiny': spec('data.sources.conll', path=str(folder / 'tags.txt')),
        'question_answering_tiny': spec('data.sources.squad_files', path=str(folder / 'qa.json'), divide=False),
    }


@pytest.mark.parametrize('size', ['tiny', 'tagging_tiny', 'question_answering_tiny'])
def test_another_purpose_begins_with_what_was_learned(trained, tmp_path, monkeypatch, size):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    workdir, lab = trained
    config = config_of(size, sources(tmp_path)[size], init_from=str(workdir), init_new_head=True, seed=1)
    state, born, data = begun(config)
    assert data.processor.tokenizer.assets() == lab.processor.tokenizer.assets(), 'the words are those it knows'
    assert set(state.params) == set(born.params)
    for name in state.params:
        from_there = lab.params if name != 'head' else born.params
        same = jax.tree.map(np.array_equal, state.params[name], from_there[name])
        assert all(jax.tree.leaves(same)), name
    assert ('pooler' in state.params) == (size == 'tiny')
    config = config_of(size, sources(tmp_path)[size], init_from=str(workdir), init_new_head=True, steps=2)
    assert train(config, tmp_path / 'run', []) == 0
    assert train(config, tmp_path / 'run', []) == 0, 'the same command goes on'


def test_other_words_are_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'abcdefgh']
    (tmp_path / 'vocab.txt').write_text('\n'.join(words + [f'word{n}' for n in range(500)]))
    config = config_of('tiny', sources(tmp_path)['tiny'], init_from=str(trained[0]), init_new_head=True)
    config.data.processor.path = str(tmp_path / 'vocab.txt')
    assert 'knows other words' in message(begun, config)
