"""The loss of a language model is that of its logits, which training never has as a whole."""

# b batch, t time, v vocabulary

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import optim
from jaxlab import step as steps
from jaxlab.config import spec
from jaxlab.models import gpt
from jaxlab.nn import cross_entropy
from jaxlab.parallel import layout
from jaxlab.tasks import language_model

KEY = jax.random.key(0)


def make_batch(rows=4, length=12, vocabulary=21):
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, vocabulary, (rows, length + 1), np.int32)
    ones = np.ones((rows, length), np.int32)
    return {
        'tokens': tokens[:, :-1],
        'targets': tokens[:, 1:],
        'positions': ones * np.arange(length, dtype=np.int32),
        'segments': ones,
        'mask': draw.integers(0, 2, (rows, length)).astype(np.float32),
    }


def make_params(task, batch):
    """Parameters some way from birth."""
    draw = np.random.default_rng(1)
    shapes = layout.unbox(jax.eval_shape(task.init, KEY, batch)[0])
    return jax.tree.map(lambda leaf: (0.3 * draw.normal(size=leaf.shape)).astype(leaf.dtype), shapes)


def by_logits(task, params, batch, vocabulary=21):
    """The loss as one would write it, from the logits of the tokens that there are."""
    logits = task.predict(params, {}, batch)['logits'][..., :vocabulary]
    chances = optax.smooth_labels(
        jax.nn.one_hot(batch['targets'], vocabulary, dtype=logits.dtype), task.label_smoothing
    )
    return jnp.sum(optax.softmax_cross_entropy(logits, chances) * batch['mask'])


def assert_the_loss_is_that_of_the_logits(task):
    batch = make_batch()
    params = make_params(task, batch)
    found = jax.jit(jax.value_and_grad(lambda params: task.loss(params, {}, batch, KEY)[0]['loss'].total))(params)
    wanted = jax.jit(jax.value_and_grad(lambda params: by_logits(task, params, batch)))(params)
    assert np.abs(wanted[1]['token_embedding']['table']).max() > 0.1
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * 100), found, wanted)
    assert task.loss(params, {}, batch, KEY)[0]['loss'].count == batch['mask'].sum()


@pytest.mark.parametrize('label_smoothing', [0.0, 0.1])
@pytest.mark.parametrize('multiple', [1, 8])  # 8: three rows pad the table
@pytest.mark.parametrize('tied', [True, False])
def test_the_loss_is_that_of_the_logits(tied, multiple, label_smoothing, float64, monkeypatch):
    monkeypatch.setattr(cross_entropy, 'chunk_length', lambda *shape: 5)
    shape = dict(layers=1, width=8, heads=2, tied=tied, vocabulary_multiple=multiple)
    model = gpt.make({'vocabulary': 21, 'length': 12}, jnp.float64, jnp.float64, **shape)
    assert_the_loss_is_that_of_the_logits(language_model.make(model, label_smoothing=label_smoothing))


class Whole(nn.Module):
    """A model that gives logits, and nothing that they are made of."""

    takes = ('tokens', 'positions', 'segments')

    @nn.compact
    def __call__(self, tokens, positions, segments, *, train=False):
        x = nn.Embed(21, 6, param_dtype=jnp.float64, name='token_embedding', embedding_init=nn.initializers.ones)(
            tokens
        )
        return nn.Dense(21, param_dtype=jnp.float64)(x)


@pytest.mark.parametrize('label_smoothing', [0.0, 0.1])
def test_a_model_may_give_logits_alone(label_smoothing, float64):
    task, batch = language_model.make(Whole(), label_smoothing=label_smoothing), make_batch()
    params = make_params(task, batch)
    found = task.loss(params, {}, batch, KEY)[0]['loss'].total
    np.testing.assert_allclose(found, by_logits(task, params, batch), rtol=1e-12)


# --- the training step -----------------------------------------------------------------------------------------------

B, T, V = 4, 256, 8192  # the table is small beside the logits


def compile_step(task, accumulate=1):
    batch = make_batch(B, T, V)
    names = layout.names(jax.eval_shape(task.init, KEY, batch)[0])
    optimizer = optim.adamw(names, 10, schedule=spec('schedules.constant'))
    state = jax.eval_shape(lambda key: steps.init(task, [optimizer], 0.0, batch, key), KEY)
    step = steps.make_step(task, [optimizer], accumulate=accumulate)
    return jax.jit(step, donate_argnums=0).lower(state, {}, batch).compile()


def largest(compiled) -> int:
    """How many numbers the largest array of a program has."""
    shapes = re.findall(r'\b[a-z]\w*\[([\d,]+)\]', compiled.as_text())
    return max(int(np.prod([int(size) for size in shape.split(',')])) for shape in shapes)


def make_model(**arguments):
    return gpt.make({'vocabulary': V, 'length': T}, layers=1, width=16, heads=2, **arguments)


@pytest.mark.parametrize('arguments', [{}, {'tied': False, 'scan': True, 'remat': 'full'}], ids=str)
def test_a_training_step_never_has_all_logits(arguments, monkeypatch):
    monkeypatch.setattr(cross_entropy, 'CHUNK', 1 << 20)
    compiled = compile_step(language_model.make(make_model(**arguments)))
    assert largest(compiled) <= B * T * V // 8
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * B * T * V // 2


def test_and_one_that_has_them_is_noticed(monkeypatch):
    monkeypatch.setattr(cross_entropy, 'chunk_length', lambda *shape: T)
    compiled = compile_step(language_model.make(make_model()))
    assert largest(compiled) >= B * T * V
    assert compiled.memory_analysis().temp_size_in_bytes >= 4 * B * T * V


@pytest.mark.parametrize('accumulate', [1, 2])
def test_the_counts_of_the_first_pass_cost_no_loss(accumulate, monkeypatch):
    """The step asks for the counts before anything else; what the loss computes beside them is dropped by XLA."""
    monkeypatch.setattr(cross_entropy, 'chunk_length', lambda *shape: T // 4)
    program = compile_step(language_model.make(make_model()), accumulate).as_text()
    chunks = [line for line in program.splitlines() if ' while(' in line and f'[{V},16]' in line.split(' while(')[0]]
    chunks = [line for line in chunks if f'[4,{B // accumulate},{T // 4},16]' in line]
    assert len(chunks) == 1
