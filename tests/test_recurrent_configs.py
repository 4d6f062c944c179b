"""The configs of recurrent nets: every size is built, and the tiny ones learn, answer and write."""

import jax
import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.experiment import make_task
from jaxlab.parallel import layout
from jaxlab.train import train
from tests.experiments import ROOT
from tests.verbs.test_predict import write_films

RNN, SENTIMENT = (str(ROOT / 'configs' / f'{name}.py') for name in ('rnn', 'sentiment'))
SIZES = [f'{RNN}:{size}' for size in ('default', 'tiny', 'shakespeare')]
SIZES += [f'{SENTIMENT}:{size}' for size in ('default', 'tiny', 'sst2', 'hotel')]


@pytest.mark.parametrize('name', SIZES, ids=lambda name: name.rpartition('/')[2])
def test_every_size_is_built(name):
    config, _ = config_text.load(name)
    config = configs.check(config)
    length = config.data.length
    info = {'vocabulary': config.data.processor.get('vocabulary', 257), 'length': length}
    info |= {'classes': 2} if 'sentiment' in name else {}
    task = make_task(config, info)
    row = jax.ShapeDtypeStruct((2, length), 'int32')
    batch = dict.fromkeys(['tokens', 'positions', 'segments'], row) | {'lengths': jax.ShapeDtypeStruct((2,), 'int32')}
    boxed, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    assert all(jax.tree.leaves(layout.names(boxed), is_leaf=lambda leaf: isinstance(leaf, tuple)))
    assert sum(leaf.size for leaf in jax.tree.leaves(layout.unbox(boxed))) < 2e6


def test_the_tiny_language_model_learns_and_writes(corpus, tmp_path):
    config, _ = config_text.load(f'{RNN}:tiny')
    config.data.path = str(corpus)
    assert train(configs.check(config), tmp_path / 'run', []) == 0
    lab = jaxlab.load(tmp_path / 'run')
    assert lab.evaluate(batches=2)['loss'] < 3, 'at first it is log 257, 5.5'
    written = lab('the cat', tokens=60)
    assert written == lab('the cat', tokens=60) and len(written) > 20
    assert lab.probabilities('the ca', 3)[0][1] > 1 / 257


def test_the_tiny_classifier_learns_and_answers(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    config, _ = config_text.load(f'{SENTIMENT}:tiny')
    path = str(write_films(tmp_path / 'films.tsv'))
    config.data.source = configs.spec('data.sources.text_table', path=path)
    assert train(configs.check(config), tmp_path / 'run', []) == 0
    lab = jaxlab.load(tmp_path / 'run')
    assert lab.evaluate()['accuracy'] > 0.9
    assert lab('a lovely film')[0][0] == 'good'
