"""One step's numbers, written down. They change only when somebody changes the mathematics."""

import jax
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab import optim
from jaxlab import step as steps
from jaxlab.models import bert, gpt, rnn
from jaxlab.parallel import layout
from jaxlab.tasks import language_model, masked_language_model
from tests.tasks.test_masked_language_model import INFO
from tests.tasks.test_masked_language_model import batch as gaps
from tests.test_learns import batch

MODELS = {
    'gpt': (gpt.make, dict(layers=2, width=32, heads=4, dropout=0.1)),
    'rnn': (rnn.make, dict(layers=2, width=32, embedding=16, dropout=0.1, word_dropout=0.1)),
}
GOLDEN = {
    'gpt': {
        'loss 1': 3.930808042454926,
        'gradient norm 1': 1.4078877794434446,
        'loss 2': 3.7424322147249662,
        'gradient norm 2': 1.0526602806305576,
        'average': 504.72146975980434,
    },
    'rnn': {
        'loss 1': 3.916464315519401,
        'gradient norm 1': 0.12471067257729236,
        'loss 2': 3.907736690631481,
        'gradient norm 2': 0.11346761327453907,
        'average': 2415.918973745341,
    },
}

LESSON = """
The first two training steps of a tiny {model} give other numbers than they did: {found}.

If you meant to change the mathematics (an initialisation, a layer, the loss, an optimizer, how keys are derived), then
everybody's runs change with it: say so in the commit message, and write the new numbers into GOLDEN of this file.
If you did not, something that should be equal is not: look first at what you changed in jaxlab/step.py, jaxlab/nn/ and
jaxlab/optim.py, then at the order in which random keys are folded.
"""


BERT = {
    'loss 1': 4.095803020713682,
    'gradient norm 1': 2.6324045410108377,
    'loss 2': 3.876735060944675,
    'gradient norm 2': 1.9510015782504404,
    'average': 640.3138987285527,
}


@pytest.fixture
def double():
    with jax.enable_x64():
        yield


def check(name, task, rows, wanted):
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), rows)[0])
    optimizer = optim.adamw(names, 10, learning_rate=1e-2, schedule=configs.spec('schedules.cosine', warmup=2))
    state = steps.init(task, [optimizer], 0.9, rows, jax.random.key(0))
    step = jax.jit(steps.make_step(task, [optimizer], accumulate=2, average=0.9))
    found = {}
    for n in (1, 2):
        state, terms = step(state, {}, rows)
        found[f'loss {n}'] = float(steps.mean_loss(terms))
        found[f'gradient norm {n}'] = float(terms['gradient_norm'].total)
    found['average'] = float(sum(np.abs(leaf).sum() for leaf in jax.tree.leaves(state.average)))
    close = found.keys() == wanted.keys() and all(np.isclose(found[key], wanted[key], rtol=1e-9) for key in found)
    assert close, LESSON.format(model=name, found=found)


@pytest.mark.parametrize('name', MODELS)
def test_two_steps_give_the_numbers_they_gave(name, double):
    make, arguments = MODELS[name]
    model = make({'vocabulary': 50, 'length': 16}, np.float64, np.float64, **arguments)
    rows = batch()
    rows['mask'][1, 5:] = 0
    check(name, language_model.make(model, label_smoothing=0.1), rows, GOLDEN[name])


def test_two_steps_of_bert_give_the_numbers_they_gave(double):
    model = bert.make(INFO, np.float64, np.float64, layers=2, width=32, heads=4, dropout=0.1)
    rows = gaps()
    rows['mask'][1, 2:] = 0
    check('bert', masked_language_model.make(model, INFO, label_smoothing=0.1), rows, BERT)
