"""Extractive answers: the loss by numpy, the best span by trying all, and a run that learns to find and to say them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab.config import experiment, spec
from jaxlab.main import main
from jaxlab.tasks.question_answering import QuestionAnswering, likeliest, make, shown
from jaxlab.train import train
from tests.experiments import message

B, T = 6, 12


class Says:
    """A model whose logits lie in the batch."""

    takes = ('logits',)

    def apply(self, variables, logits, train=False, mutable=None, rngs=None):
        return (logits, {}) if train else logits


def batch(seed=0):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(7, T + 1, B)
    types = (np.arange(T) >= 4) & (np.arange(T) < lengths[:, None])
    return {
        'logits': draw.normal(size=(B, T, 2)) * 3,
        'types': types.astype(np.int32),
        'lengths': lengths.astype(np.int32),
        'targets': np.sort(draw.integers(0, 7, (B, 2)), 1).astype(np.int32),
        'mask': np.array([1, 1, 0, 1, 1, 0], np.float32),
    }


def test_the_loss_is_the_mean_of_both_places():
    rows = batch()
    total = 0.0
    for n in range(B):
        for end in (0, 1):
            logits = rows['logits'][n, : rows['lengths'][n], end]
            total += rows['mask'][n] * (np.log(np.exp(logits).sum()) - logits[rows['targets'][n, end]]) / 2
    terms, _ = QuestionAnswering(Says()).loss({}, {}, rows, jax.random.key(0))
    assert float(terms['loss'].total) == pytest.approx(total, rel=1e-5) and float(terms['loss'].count) == 4


@pytest.mark.parametrize('longest', [1, 3, 30])
def test_the_best_span_is_that_of_all(longest):
    rows = batch(1)
    span, score = likeliest(jnp.asarray(rows['logits']), shown(rows), longest)
    for n in range(B):
        places = [
            (i, j) for i in range(4, rows['lengths'][n] - 1) for j in range(i, min(i + longest, rows['lengths'][n] - 1))
        ]
        best = max(places, key=lambda one: rows['logits'][n, one[0], 0] + rows['logits'][n, one[1], 1])
        assert tuple(np.asarray(span[n])) == best
        assert float(score[n]) == pytest.approx(rows['logits'][n, best[0], 0] + rows['logits'][n, best[1], 1], rel=1e-5)


def test_what_is_wrong_is_said():
    assert 'data.squad reads such' in message(make, Says(), {'types': 1})
    assert 'longest=0' in message(make, Says(), {'types': 2}, longest=0)


def write_colours(path):
    """Texts of things and their colours, and questions about these."""
    draw = np.random.default_rng(0)
    things, colours = ['hat', 'dog', 'car', 'cup'], ['red', 'blue', 'light green', 'grey']
    paragraphs = []
    for _ in range(60):
        of = dict(zip(draw.permutation(things).tolist(), draw.choice(colours, 4).tolist()))
        text, qas = 'Look. ' * int(draw.integers(0, 12)), []
        for thing, colour in of.items():
            text += f'A {thing} {colour}. '
            if thing == 'hat':
                qas.append({'question': 'hat?', 'answers': [{'text': colour, 'answer_start': text.rfind(colour)}]})
        paragraphs.append({'context': text, 'qas': qas})
    path.write_text(json.dumps({'data': [{'paragraphs': paragraphs}]}))
    return path


def test_a_run_learns_to_find_answers(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    path = write_colours(tmp_path / 'colours.json')
    c = experiment()
    c.steps, c.batch_size = 150, 32
    c.model = spec('models.tests.words', head='span')
    c.task = spec('tasks.question_answering', longest=3)
    source = spec('data.sources.squad_files', path=str(path), validation_path=str(path))
    processor = spec('data.processors.wordpiece', vocabulary=100)
    c.data = spec('data.squad', source=source, processor=processor, length=36, stride=8, question=8)
    c.optimizer = spec('optim.adamw', learning_rate=2e-2)
    c.evaluate.scores, c.evaluate.batches = ('answers',), 0
    assert train(configs.check(c), tmp_path / 'run', []) == 0
    flags = [f'--workdir={tmp_path / "run"}', '--allow_import=tests', '--json']
    assert main(['evaluate', *flags]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found['exact_match'] > 0.9 and found['f1'] >= found['exact_match']
    text = f'{"Look. " * 30}A dog grey. A hat light green. {"Look. " * 20}'
    assert main(['predict', f'hat?\t{text}', *flags]) == 0
    ((_, answer),) = json.loads(capsys.readouterr().out.splitlines()[-1]).items()
    assert answer['answer'] == 'light green' == text[answer['begin'] : answer['end']]
    lab = jaxlab.load(tmp_path / 'run', allow_import=['tests'])
    assert lab(('hat?', 'A hat red.'))['answer'] == 'red'
