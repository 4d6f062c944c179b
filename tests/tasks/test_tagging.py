"""Tags of words: the loss by numpy, entities by hand, and a run that learns them and says them."""

import json

import jax
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab.config import experiment, spec
from jaxlab.main import main
from jaxlab.scores.entities import Entities, entities
from jaxlab.tasks.tagging import Tagging, make
from jaxlab.train import train
from tests.experiments import message


class Says:
    """A model whose logits lie in the batch."""

    takes = ('logits',)

    def apply(self, variables, logits, train=False, mutable=None, rngs=None):
        return (logits, {}) if train else logits


def test_the_loss_is_that_of_the_words_that_count():
    draw = np.random.default_rng(0)
    logits, targets = draw.normal(size=(3, 5, 4)), draw.integers(0, 4, (3, 5))
    mask = (draw.random((3, 5)) < 0.5).astype(np.float32)
    odds = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = -(np.log(np.take_along_axis(odds, targets[..., None], -1)[..., 0]) * mask).sum()
    batch = {'logits': logits, 'targets': targets, 'mask': mask}
    terms, _ = Tagging(Says(), 4).loss({}, {}, batch, jax.random.key(0))
    assert float(terms['loss'].total) == pytest.approx(total, rel=1e-5) and float(terms['loss'].count) == mask.sum()
    assert 'words with tags' in message(make, Says(), {'classes': 0})
    assert 'label_smoothing=1' in message(make, Says(), {'classes': 2}, label_smoothing=1.0)


@pytest.mark.parametrize(
    ('tags', 'found'),
    [
        ('B-A I-A O B-B', {(0, 1, 'A'), (3, 3, 'B')}),
        ('I-A I-A B-A I-B', {(0, 1, 'A'), (2, 2, 'A'), (3, 3, 'B')}),
        ('S-A B-A E-A E-A', {(0, 0, 'A'), (1, 2, 'A'), (3, 3, 'A')}),
        ('U-A B-A L-A O I-A', {(0, 0, 'A'), (1, 2, 'A'), (4, 4, 'A')}),
        ('B-A B-A I-A', {(0, 0, 'A'), (1, 2, 'A')}),
        ('O name - -A X-A', set()),
        ('', set()),
    ],
)
def test_entities_are_those_of_conlleval(tags, found):
    assert entities(tags.split()) == found


def test_an_entity_is_right_as_a_whole():
    labels = ('B-A', 'I-A', 'O')
    targets, said = np.array([[0, 1, 2, 0], [0, 2, 2, 2]]), np.array([[0, 1, 2, 2], [0, 1, 2, 2]])
    logits = np.eye(3)[said]
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    score = Entities(labels)
    rows = score.rows({'logits': logits}, {'targets': targets, 'mask': mask})
    found = score.finish({'pairs': np.asarray(rows['pairs'])})
    assert found == {'entity_precision': 1 / 2, 'entity_recall': 1 / 3, 'entity_f1': 2 / 5}
    assert score.finish({}) == dict.fromkeys(found, 0.0)


def test_a_run_learns_to_tag(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    draw = np.random.default_rng(0)
    lines = []
    for _ in range(120):
        for _ in range(int(draw.integers(1, 4))):
            lines += [f'{draw.choice(["he", "it"])} O', f'{draw.choice(["sees", "likes"])} O']
            lines += [['New B-LOC', 'York I-LOC'], ['Rome B-LOC'], ['york O']][int(draw.integers(3))]
        lines.append('')
    (tmp_path / 'tags.txt').write_text('\n'.join(lines))
    c = experiment()
    c.steps, c.batch_size = 100, 32
    c.model = spec('models.tests.words', head='tokens')
    c.task = spec('tasks.tagging')
    source = spec('data.sources.conll', path=str(tmp_path / 'tags.txt'))
    processor = spec('data.processors.wordpiece', vocabulary=80)
    c.data = spec('data.tagging', source=source, processor=processor, length=32)
    c.optimizer = spec('optim.adamw', learning_rate=2e-2)
    c.evaluate.scores, c.evaluate.batches = ('accuracy', 'entities', 'f1', 'cross_entropy'), 0
    assert train(configs.check(c), tmp_path / 'run', []) == 0
    flags = [f'--workdir={tmp_path / "run"}', '--allow_import=tests', '--json']
    assert main(['evaluate', *flags]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found['accuracy'] > 0.98 and found['entity_f1'] > 0.98 and found['f1'] > 0.95
    assert main(['predict', 'he likes New York it sees york', *flags]) == 0
    ((_, tagged),) = json.loads(capsys.readouterr().out.splitlines()[-1]).items()
    assert [one['tag'] for one in tagged] == ['O', 'O', 'B-LOC', 'I-LOC', 'O', 'O', 'O']
    assert main(['predict', 'he likes New York', *flags[:2]]) == 0
    assert 'he/O likes/O New/B-LOC York/I-LOC' in capsys.readouterr().out
