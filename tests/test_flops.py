"""FLOPs of a step: closed formulas, whatever way the same model is computed in; and what XLA counts, where it can."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxlab import flops
from jaxlab.models import gpt, rnn
from jaxlab.nn import cross_entropy
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.task import Phase, Term
from jaxlab.tasks import language_model

B, T, V = 4, 32, 50  # rows, tokens, vocabulary


def count(task: Any, rows: int = B) -> int:
    batch = {
        name: jax.ShapeDtypeStruct((rows, T), jnp.int32) for name in ('tokens', 'targets', 'positions', 'segments')
    }
    batch['mask'] = jax.ShapeDtypeStruct((rows, T), jnp.float32)
    params, extra = layout.unbox(jax.eval_shape(task.init, jax.random.key(0), batch))
    return flops.of_step(task, params, extra, batch, jax.random.key(0))


def model(**options: Any) -> Any:
    return gpt.make({'vocabulary': V, 'length': T}, **{'layers': 3, 'width': 16, 'heads': 4, **options})


def formula(parameters_in_matrices: int, layers: int = 3, width: int = 16) -> int:
    tokens = B * T
    return 6 * parameters_in_matrices * tokens + 12 * layers * width * T * tokens


BLOCK = 4 * 16 * 16 + 2 * 16 * 64  # queries, keys, values, outputs; both matrices of the MLP
GPT2 = formula(3 * BLOCK + V * 16)  # the token table is the output layer; positions and biases are no products


@pytest.mark.parametrize(
    'options',
    [{}, {'scan': True}, {'remat': 'full'}, {'remat': 'dots'}, {'scan': True, 'remat': 'full'}, {'dropout': 0.1}],
    ids=str,
)
def test_gpt2_however_it_is_computed(options):
    assert count(language_model.make(model(**options))) == GPT2


def test_llama():
    llama = model(kv_heads=2, mlp_width=40, positions='rotary', norm='rms', activation='swiglu', bias=False, tied=False)
    block = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 40  # half as many keys and values; swiglu has three matrices
    assert count(language_model.make(llama)) == formula(3 * block + V * 16)


@pytest.mark.parametrize('factor', [0.0, 1.0, 2.0])
def test_experts_however_many_places_they_have(factor):
    block = 4 * 16 * 16 + 2 * 2 * 16 * 40 + 16 * 4  # a token goes through two of four, and the router
    mixture = model(experts=4, mlp_width=40, capacity_factor=factor)
    assert count(language_model.make(mixture)) == formula(3 * block + V * 16)


def test_a_recurrent_net():
    lstm = rnn.make({'vocabulary': V, 'length': T}, layers=2, width=16)
    assert count(language_model.make(lstm)) == 6 * B * T * (2 * 2 * 4 * 16 * 16 + V * 16)


def test_the_key_may_be_of_another_mesh():
    """A run makes it on its own, of all devices; with dropout both meet."""
    with jax.set_mesh(make_mesh({'data': 8})):
        assert count(language_model.make(model(dropout=0.1)), rows=2 * B) == 2 * GPT2


def test_cross_entropy_in_chunks_is_counted_whole(monkeypatch):
    monkeypatch.setattr(cross_entropy, 'CHUNK', 1)
    assert cross_entropy.chunk_length(B, T, V, 16) < T
    assert count(language_model.make(model())) == GPT2


def test_padding_of_the_table_is_computed():
    assert count(language_model.make(model(vocabulary_multiple=64))) == formula(3 * BLOCK + 64 * 16)


def test_micro_batches_add_up_to_the_batch():
    assert 4 * count(language_model.make(model()), rows=B // 4) == GPT2


@dataclass(frozen=True)
class Chunked:
    """A language model whose logits are made for a few tokens at a time, and again in the backward pass."""

    plain: Any
    fused: bool
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key, batch):
        return self.plain.init(key, batch)

    def loss(self, params, extra, batch, key):
        hidden = self.plain.model.apply({'params': params}, batch['tokens'], method=hidden_of)
        table = params['token_embedding']['table']

        def nats(hidden, targets):
            logits = hidden @ table.T
            return jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]

        if self.fused:
            nats = fused(nats)
        chunk = jax.checkpoint(nats, prevent_cse=False)
        chunks = [x.reshape(8, -1, *x.shape[2:]) for x in (hidden, batch['targets'])]
        total = jax.lax.map(lambda pair: chunk(*pair), chunks).sum()
        return {'loss': Term(total, jnp.float32(B * T))}, extra


def fused(function):
    """A function with a gradient of its own, as a kernel would have."""
    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(lambda *a: (function(*a), a), lambda a, g: (jax.vjp(function, *a)[1](g)[0], None))
    return wrapped


def hidden_of(self, tokens):
    mask = jnp.ones((1, T, T), bool)
    x, _ = self.stack(self.token_embedding(tokens), jnp.arange(T)[None], mask)
    return self.final_norm(x)


@pytest.mark.parametrize('is_fused', [False, True])
def test_cross_entropy_in_chunks_and_in_a_kernel(is_fused):
    assert count(Chunked(language_model.make(model()), is_fused)) == GPT2


def test_phases_repeat():
    @dataclass(frozen=True)
    class Two:
        phases = (Phase('one', repeat=2), Phase('other'))

        def one(self, params, extra, batch, key):
            return params @ batch['x'], extra

        def other(self, params, extra, batch, key):
            return params @ params @ batch['x'], extra

    x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
    assert flops.of_step(Two(), x, {}, {'x': x}, jax.random.key(0)) == 3 * (2 * 1 + 2) * 2 * 8**3


# --- one equation at a time ------------------------------------------------------------------------------------------


def of(function, *shapes: tuple[int, ...]) -> int:
    return flops.of_jaxpr(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


SQUARE = 2 * 8**3


@pytest.mark.parametrize(
    ('function', 'times'),
    [
        (lambda x: x @ x, 1),
        (jax.jit(lambda x: x @ x + x), 1),
        (lambda x: x + x, 0),
        (lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=10)[0], 10),
        (lambda x: jax.lax.fori_loop(0, 7, lambda i, c: c @ c, x), 7),
        (lambda x: jax.lax.while_loop(lambda c: c.sum() > 0, lambda c: c @ c, x), 1),  # it does not say how often
        (lambda x: jax.lax.cond(x.sum() > 0, lambda c: c @ c, lambda c: c @ c @ c, x), 2),
        (jax.checkpoint(lambda x: x @ x), 1),
        (jax.vmap(lambda row: row @ jnp.ones((8, 8))), 1),
        (jax.nn.relu, 0),  # a custom_jvp
        (lambda x: jax.nn.relu(x) @ x, 1),
        (lambda x: jax.lax.ragged_dot(x, jnp.ones((2, 8, 8)), jnp.array([3, 5])), 1),
    ],
)
def test_products(function, times):
    assert of(function, (8, 8)) == times * SQUARE


def test_devices_of_a_shard_map():
    """Each of four devices multiplies its two rows; the axis that is not manual is split by XLA, and counts once."""
    mesh = make_mesh({'data': 4, 'tensor': 2})
    rows = jax.sharding.PartitionSpec('data')
    multiply = partial(jax.shard_map, mesh=mesh, in_specs=rows, out_specs=rows, axis_names={'data'})
    assert of(multiply(lambda x: x @ jnp.ones((8, 8))), (8, 8)) == SQUARE


def test_kernels_of_pallas():
    from jax.experimental import pallas as pl

    def kernel(x, y, out):
        out[...] = x[...] @ y[...]

    def multiply(x, y):
        rows = pl.BlockSpec((2, 8), lambda i: (i, 0))
        shape = jax.ShapeDtypeStruct((8, 8), jnp.float32)
        specs = [rows, pl.BlockSpec((8, 8), lambda i: (0, 0))]
        return pl.pallas_call(kernel, out_shape=shape, grid=(4,), in_specs=specs, out_specs=rows)(x, y)

    assert of(multiply, (8, 8), (8, 8)) == SQUARE


CHANNELS_LAST = ('NHWC', 'HWIO', 'NHWC')


@pytest.mark.parametrize(
    ('options', 'kernel', 'out', 'taps'),
    [
        ({}, (3, 3, 4, 6), (2, 8, 8, 6), 3 * 3 * 4),
        ({'window_strides': (2, 2)}, (3, 3, 4, 6), (2, 4, 4, 6), 3 * 3 * 4),
        ({'padding': 'VALID'}, (5, 3, 4, 6), (2, 4, 6, 6), 5 * 3 * 4),
        ({'feature_group_count': 4}, (3, 3, 1, 8), (2, 8, 8, 8), 3 * 3),  # one filter for each channel
        ({'rhs_dilation': (2, 2)}, (3, 3, 4, 6), (2, 8, 8, 6), 3 * 3 * 4),
    ],
    ids=str,
)
def test_convolutions(options, kernel, out, taps):
    options = {'window_strides': (1, 1), 'padding': 'SAME', 'dimension_numbers': CHANNELS_LAST, **options}
    convolve = partial(jax.lax.conv_general_dilated, **options)
    assert jax.eval_shape(convolve, jnp.zeros((2, 8, 8, 4)), jnp.zeros(kernel)).shape == out
    assert of(convolve, (2, 8, 8, 4), kernel) == 2 * math.prod(out) * taps


def test_a_transposed_convolution_takes_as_much_as_the_one_that_it_turns_round():
    def up(x, w):
        return jax.lax.conv_transpose(x, w, (2, 2), 'SAME', dimension_numbers=CHANNELS_LAST)

    def down(x, w):
        return jax.lax.conv_general_dilated(x, w, (2, 2), 'SAME', dimension_numbers=CHANNELS_LAST)

    assert of(up, (2, 4, 4, 6), (3, 3, 6, 4)) == of(down, (2, 8, 8, 4), (3, 3, 4, 6))


@pytest.mark.parametrize(
    ('function', 'shapes'),
    [
        (lambda x, w: jnp.einsum('btd,dhk->bhtk', x, w), [(2, 8, 16), (16, 4, 4)]),
        (
            partial(
                jax.lax.conv_general_dilated,
                window_strides=(1, 1),
                padding='VALID',
                dimension_numbers=CHANNELS_LAST,
            ),
            [(2, 8, 8, 4), (3, 3, 4, 6)],
        ),
    ],
    ids=['product', 'convolution'],
)
def test_xla_counts_the_same_where_nothing_turns(function, shapes):
    compiled = jax.jit(function).lower(*(jnp.zeros(shape) for shape in shapes)).compile()
    assert compiled.cost_analysis()['flops'] == of(function, *shapes)
