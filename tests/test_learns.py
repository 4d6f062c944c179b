"""Every task can over-fit one batch: the loss goes where it belongs, not merely down."""

import jax
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab import optim
from jaxlab import step as steps
from jaxlab.models import gpt, rnn
from jaxlab.parallel import layout
from jaxlab.tasks import language_model


def batch(rows: int = 4, length: int = 16, vocabulary: int = 50) -> dict[str, np.ndarray]:
    tokens = np.random.default_rng(0).integers(0, vocabulary, (rows, length + 1)).astype(np.int32)
    tokens[:, 0] = np.arange(rows)  # every row begins in its own way, so all that follows can be known
    ones = np.ones((rows, length), np.int32)
    return {
        'tokens': tokens[:, :-1],
        'targets': tokens[:, 1:],
        'positions': ones * np.arange(length, dtype=np.int32),
        'segments': ones,
        'mask': ones.astype(np.float32),
    }


INFO = {'vocabulary': 50, 'length': 16}
MODELS = {  # and their learning rates
    'gpt': (gpt.make(INFO, layers=2, width=64, heads=4), 5e-3),
    'experts': (gpt.make(INFO, layers=2, width=64, heads=4, mlp_width=64, experts=4), 5e-3),
    'lstm': (rnn.make(INFO, layers=2, width=64), 2e-2),
    'gru': (rnn.make(INFO, cell='gru', width=64, embedding=16), 2e-2),
}


@pytest.mark.parametrize('name', MODELS)
def test_language_model_learns_one_batch_by_heart(name):
    model, learning_rate = MODELS[name]
    task = language_model.make(model)
    rows = batch()
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), rows)[0])
    schedule = configs.spec('schedules.cosine', final=0.0)
    optimizer = optim.adamw(names, 150, learning_rate=learning_rate, weight_decay=0.0, schedule=schedule)
    state = steps.init(task, [optimizer], 0.0, rows, jax.random.key(0))
    step = jax.jit(steps.make_step(task, [optimizer]))
    for _ in range(150):
        state, terms = step(state, {}, rows)
    assert float(terms['loss'].total / terms['loss'].count) < 0.02
    prompts, lengths = rows['tokens'][:, :1], np.ones(4, np.int32)
    greedy = language_model.sampling.Sampling(temperature=0.0)
    written = task.generate(state.params, {}, (prompts, lengths), jax.random.key(0), greedy, count=15)
    assert (np.asarray(written) == rows['targets'][:, :15]).mean() > 0.95, 'and it writes what it has learned'
