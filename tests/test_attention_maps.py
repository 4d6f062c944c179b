"""`predict --attention`: the weights are those of the tokens of the text, and the files lie in the workdir."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import attention_maps
from jaxlab import config as configs
from jaxlab.config import spec
from jaxlab.data.processors.bytes import Bytes
from jaxlab.errors import UserError
from jaxlab.main import main
from jaxlab.models import gpt
from jaxlab.nn.attention import weights_of
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from jaxlab.train import train
from tests.verbs.test_predict import films, write_films


@pytest.fixture(scope='module')
def workdirs(tmp_path_factory):
    """Those of a BERT and of an LSTM, after a step."""
    folder = tmp_path_factory.mktemp('films')
    models = {
        'bert': spec('models.bert', head='classes', layers=2, width=16, heads=4),
        'rnn': spec('models.rnn', width=8),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        for name, model in models.items():
            c = films(write_films(folder / 'films.tsv'))
            c.steps, c.model = 1, model
            assert train(configs.check(c), folder / name, []) == 0
    return {name: folder / name for name in models}


def test_a_classifier_of_texts(workdirs, capsys):
    text = 'a great film'
    assert main(['predict', f'--workdir={workdirs["bert"]}', '--attention', text]) == 0
    answer, png, html = capsys.readouterr().out.splitlines()
    assert text in answer and Path(png).parent == workdirs['bert'] / 'attention'
    assert Path(png).read_bytes()[:4] == b'\x89PNG' and 'great' in Path(html).read_text('utf-8')
    lab = jaxlab.load(workdirs['bert'])
    words, weights = attention_maps.of_text(lab, text)
    assert words[0] == '[CLS]' and words[-1] == '[SEP]' and weights.shape == (2, 4, len(words), len(words))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    row = lab.processor.encode(text)  # with all its padding, nobody looks at which
    inputs = [np.asarray(row[name])[None] for name in lab.task.model.takes]
    padded = np.stack([layer[0] for layer in weights_of(lab.task.model, {'params': lab.params}, *inputs)])
    np.testing.assert_allclose(weights, padded[:, :, : len(words), : len(words)], atol=1e-6)


def test_a_model_without_attention_is_refused(workdirs, capsys):
    assert main(['predict', f'--workdir={workdirs["rnn"]}', '--attention', 'a great film']) == 2
    assert '--attention: Classifier has no attention.' in capsys.readouterr().err


def test_a_language_model_reads_the_text_as_a_prompt(tmp_path):
    model = gpt.make({'vocabulary': 257, 'length': 16}, layers=2, width=16, heads=2)
    params = layout.unbox(model.init(jax.random.key(0), np.zeros((1, 4), np.int32)))['params']
    lab = SimpleNamespace(task=LanguageModel(model), processor=Bytes(), params=params, extra={}, step=3)
    lab.mesh, lab.workdir = make_mesh({}), tmp_path
    words, weights = attention_maps.of_text(lab, 'a b\nc')
    assert words == ['', 'a', ' ', 'b', '\n', 'c'] and weights.shape == (2, 2, 6, 6)
    assert not np.triu(weights, 1).any(), 'nobody looks ahead'
    assert [file.suffix for file in attention_maps.write(lab, 'a b\nc')] == ['.png', '.html']
    with pytest.raises(UserError, match='looks back on 16'):
        attention_maps.of_text(lab, 'x' * 99)


def test_other_experiments_are_refused():
    lab = SimpleNamespace(task=object(), processor=object())
    with pytest.raises(UserError, match='no language model, and no classification of texts'):
        attention_maps.of_text(lab, 'x')
