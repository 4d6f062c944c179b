"""GPT: its size, its cache, its documents, and the ways to compile it, which all give the same numbers."""

# b batch, t time, v vocabulary

import math
import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models.gpt import GPT, make
from jaxlab.parallel.layout import TABLE

INFO = {'vocabulary': 11, 'length': 12}
GPT2 = {}
LLAMA = dict(positions='rotary', norm='rms', activation='swiglu', bias=False, tied=False, kv_heads=2)
LONGER = LLAMA | dict(attention_bias=True, head_width=6, rotary_scaling='llama3', rotary_factor=4.0, rotary_context=6)
EXPERTS = dict(experts=3, capacity_factor=0.5)  # in training half of the choices find no place; here all do
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 12)).astype(np.int32)
ONES = np.ones_like(TOKENS)
PLACES = np.broadcast_to(np.arange(12, dtype=np.int32), TOKENS.shape)


def small(**arguments) -> GPT:
    return make(INFO, layers=2, width=16, heads=4, **arguments)


@cache
def params_of(model: GPT):
    """The same for scanned and unrolled. Random everywhere: a bias that is still 0 could be dropped unseen."""
    if model.scan:
        return restacked(params_of(model.clone(scan=False)))
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), TOKENS))
    leaves, tree = jax.tree.flatten(shapes)
    random = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [random.normal(0, 0.3, leaf.shape).astype(np.float32) for leaf in leaves])


def restacked(params):
    """The parameters of an unrolled model, as a scanned one wants them."""
    stack = params['params']['stack']
    layers = [stack[f'layer_{i}'] for i in range(len(stack))]
    return {'params': params['params'] | {'stack': {'layers': jax.tree.map(lambda *x: np.stack(x), *layers)}}}


@cache
def forward_of(model: GPT):
    return jax.jit(model.apply)


def logits(model: GPT, *inputs) -> np.ndarray:
    return np.asarray(forward_of(model)(params_of(model), *inputs))


# --- size and names --------------------------------------------------------------------------------------------------

LLAMA3 = dict(positions='rotary', norm='rms', activation='swiglu', bias=False, tied=False, kv_heads=8, scan=True)
PUBLISHED = {
    'gpt2': (124_439_808, dict(layers=12, width=768, heads=12)),
    'gpt2_medium': (354_823_168, dict(layers=24, width=1024, heads=16, scan=True)),
    'gpt2_large': (774_030_080, dict(layers=36, width=1280, heads=20, scan=True)),
    'gpt2_xl': (1_557_611_200, dict(layers=48, width=1600, heads=25, scan=True)),
    'llama3_8b': (8_030_261_248, dict(layers=32, width=4096, heads=32, mlp_width=14336, **LLAMA3)),
    'llama3_70b': (70_553_706_496, dict(layers=80, width=8192, heads=64, mlp_width=28672, **LLAMA3)),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameter_counts_are_the_published_ones(name):
    count, shape = PUBLISHED[name]
    model = make({}, vocabulary=50257 if 'gpt2' in name else 128256, context=1024, **shape)
    shapes = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), TOKENS))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


@pytest.mark.parametrize('scan', [False, True])
@pytest.mark.parametrize('arguments', [GPT2, LLAMA, LONGER])
def test_every_parameter_names_its_axes(arguments, scan):
    boxed = jax.eval_shape(small(**arguments, scan=scan).init, jax.random.key(0), TOKENS)
    for path, leaf in jax.tree_util.tree_leaves_with_path(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata)):
        assert set(leaf.names) <= set(TABLE) and len(leaf.names) == leaf.value.ndim, (path, leaf)
        assert ('layers' in leaf.names) == (scan and 'stack' in str(path)), (path, leaf)


def test_initial_weights_are_those_of_gpt2():
    model = make({'vocabulary': 500, 'length': 64}, layers=8, width=64, heads=4, scan=True)
    params = meta.unbox(jax.jit(model.init)(jax.random.key(0), TOKENS))['params']
    block = params['stack']['layers']
    for plain in (
        params['token_embedding']['table'],
        block['attention']['query']['kernel'],
        block['mlp']['up']['kernel'],
    ):
        assert np.std(plain) == pytest.approx(0.02, rel=0.05)
    for residual in (block['attention']['out']['kernel'], block['mlp']['down']['kernel']):
        assert np.std(residual) == pytest.approx(0.02 / np.sqrt(2 * 8), rel=0.05)
    assert not np.any(block['mlp']['down']['bias']) and np.all(block['mlp_norm']['scale'] == 1)


def test_a_padded_vocabulary_changes_nothing_and_is_never_predicted():
    plain, padded = small(), small(vocabulary_multiple=8)
    table = params_of(plain)['params']['token_embedding']['table']
    shapes = meta.unbox(jax.eval_shape(padded.init, jax.random.key(0), TOKENS))
    assert shapes['params']['token_embedding']['table'].shape == (16, 16)
    extended = params_of(plain)['params'] | {
        'token_embedding': {'table': np.pad(table, ((0, 5), (0, 0)), constant_values=9)}
    }
    found = forward_of(padded)({'params': extended}, TOKENS)
    np.testing.assert_allclose(found[..., :11], logits(plain, TOKENS), rtol=1e-5, atol=1e-5)
    assert not np.any(jax.nn.softmax(found)[..., 11:])


# --- who sees whom ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('arguments', [GPT2, LLAMA, EXPERTS])
def test_a_token_is_changed_by_itself_and_later_ones_only(arguments):
    changed = TOKENS.copy()
    changed[:, 7] = (changed[:, 7] + 1) % 11
    same = (logits(small(**arguments), TOKENS) == logits(small(**arguments), changed)).all(axis=(0, 2))
    np.testing.assert_array_equal(same, np.arange(12) < 7)


@pytest.mark.parametrize('arguments', [GPT2, LLAMA, dict(scan=True, remat='full'), EXPERTS])
def test_documents_in_one_row_do_not_see_each_other(arguments):
    model = small(**arguments)
    segments = np.array([[1] * 5 + [2] * 7, [1] * 3 + [2] * 6 + [0] * 3], np.int32)
    positions = np.array([[*range(5), *range(7)], [*range(3), *range(6), 0, 0, 0]], np.int32)
    other = np.where(segments == 1, (TOKENS + 3) % 11, TOKENS)
    found, beside = logits(model, TOKENS, positions, segments), logits(model, other, positions, segments)
    np.testing.assert_array_equal(found[segments == 2], beside[segments == 2])  # bitwise
    assert (found[segments == 1] != beside[segments == 1]).any()
    alone = logits(model, TOKENS[:1, 5:])
    np.testing.assert_allclose(found[:1, 5:], alone, rtol=1e-4, atol=1e-5)


# --- the cache -------------------------------------------------------------------------------------------------------


def decode(model: GPT, chunks, slots=12):
    """The logits of several chunks of (tokens, positions, segments), each decoded after the one before."""
    step = jax.jit(lambda params, *inputs: model.apply(params, *inputs, method='decode'))
    cache, found = model.start_cache(len(chunks[0][0]), slots), []
    for inputs in chunks:
        part, cache = step(params_of(model), *inputs, cache)
        found.append(part)
    return np.concatenate(found, axis=1), cache


@pytest.mark.parametrize('arguments', [GPT2, LLAMA, LONGER, LLAMA | dict(scan=True, remat='dots'), EXPERTS])
def test_cached_is_uncached(arguments):
    model = small(**arguments)
    cuts = [(0, 5), *((i, i + 1) for i in range(5, 12))]
    found, cache = decode(model, [(TOKENS[:, a:b], PLACES[:, a:b], ONES[:, a:b]) for a, b in cuts], slots=15)
    np.testing.assert_allclose(found, logits(model, TOKENS), rtol=1e-4, atol=1e-5)
    assert cache.filled == 12


@pytest.mark.parametrize('arguments', [GPT2, LLAMA, LONGER, EXPERTS])
def test_prompts_of_unequal_length_are_each_as_if_alone(arguments):
    model = small(**arguments)
    segments = np.array(
        [[1] * 12, [0] * 5 + [1] * 7], np.int32
    )  # the second prompt is shorter, and begins with padding
    positions = np.maximum(np.array([[0], [-5]]) + PLACES, 0).astype(np.int32)
    cuts = [(0, 8), (8, 12)]
    found, _ = decode(model, [(TOKENS[:, a:b], positions[:, a:b], segments[:, a:b]) for a, b in cuts])
    np.testing.assert_allclose(found[:1], logits(model, TOKENS)[:1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1:, 5:], logits(model, TOKENS[1:, 5:]), rtol=1e-4, atol=1e-5)


# --- ways to compile -------------------------------------------------------------------------------------------------


@cache
def value_and_gradient(model: GPT):
    def loss(params):
        return jnp.sin(model.apply(params, TOKENS)).sum()

    return jax.jit(jax.value_and_grad(loss))(params_of(model))


def assert_near(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, wanted)


@pytest.mark.parametrize('arguments', [GPT2, LLAMA, LONGER])
def test_scanned_is_unrolled(arguments):
    value, gradient = value_and_gradient(small(**arguments))
    assert_near(value_and_gradient(small(**arguments, scan=True)), (value, restacked(gradient)))


@pytest.mark.parametrize(
    ('remat', 'scan'), [('dots', False), ('attention', False), ('attention', True), ('full', True)]
)
def test_remat_changes_no_number(remat, scan):
    frugal = small(scan=scan, remat=remat)
    assert_near(value_and_gradient(frugal), value_and_gradient(small(scan=scan)))
    kept = jax.make_jaxpr(jax.grad(lambda params: frugal.apply(params, TOKENS).sum()))(params_of(frugal))
    assert 'remat' in str(kept)


def bytes_kept(arguments, capsys, **remat):
    """How much a model of one layer keeps for its backward pass, and the shapes of it."""
    model = small(**arguments, **remat).clone(layers=1)
    jax.ad_checkpoint.print_saved_residuals(lambda params: model.apply(params, TOKENS).sum(), params_of(model))
    lines = [line for line in capsys.readouterr().out.splitlines() if 'from the argument' not in line]
    found = [re.match(r'f32(<host>)?\[([\d,]*)\]', line) for line in lines]
    shapes = [tuple(map(int, one[2].split(','))) for one in found if one and one[2]]
    return sum(map(math.prod, shapes)), shapes, sum(bool(one and one[1]) for one in found)


@pytest.mark.parametrize('arguments', [GPT2, LLAMA])
def test_each_policy_keeps_less_than_the_one_before(arguments, capsys):
    found = {remat: bytes_kept(arguments, capsys, remat=remat) for remat in ('none', 'dots', 'attention', 'full')}
    amounts = [amount for amount, _, _ in found.values()]
    assert amounts == sorted(set(amounts), reverse=True), found
    wide = small(**arguments).mlp_width
    assert any(shape[-1] == wide for shape in found['dots'][1])
    assert not any(shape[-1] == wide for shape in found['attention'][1])
    amount, _, on_the_host = bytes_kept(arguments, capsys, remat='offload')
    assert amount == found['dots'][0] and on_the_host > 4 and not found['dots'][2]


def test_dropout_is_for_training():
    model = small(dropout=0.5)
    still = logits(model, TOKENS)
    np.testing.assert_array_equal(still, logits(small(), TOKENS))
    train = jax.jit(lambda key: model.apply(params_of(model), TOKENS, train=True, rngs={'dropout': key}))
    one, same, other = (np.asarray(train(jax.random.key(seed))) for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any() and (one != still).any()


def test_dtypes():
    model = make(INFO, jnp.bfloat16, layers=2, width=16, heads=4)
    params = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), TOKENS))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
    assert jax.eval_shape(model.apply, params, TOKENS).dtype == jnp.float32
    assert model.start_cache(1, 2).layers[0][0].dtype == jnp.bfloat16
    np.testing.assert_allclose(logits(model, TOKENS), logits(small(), TOKENS), rtol=0.1, atol=0.1)


def test_float64_is_float64_everywhere():
    with jax.enable_x64(True):
        for arguments in (GPT2, LLAMA):
            model = make(INFO, jnp.float64, jnp.float64, layers=1, width=16, heads=4, **arguments)
            params = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), TOKENS))
            assert 'f32[' not in str(jax.make_jaxpr(model.apply)(params, TOKENS))


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(heads=5), 'heads=5 do not divide width=256; 4 would'),
        (dict(heads=4, kv_heads=3), 'kv_heads=3 do not divide heads=4; 2 would'),
        (dict(heads=0), 'heads=0: at least 1'),
        (dict(layers=-1), 'layers=-1: at least 1'),
        (dict(positions='rotary', width=12, heads=4), 'is odd'),
        (dict(positions='rotory'), 'positions=rotory: there are learned, rotary. Did you mean "rotary"?'),
        (dict(norm='batch'), 'norm=batch: there are layer, rms'),
        (dict(activation='relu'), 'activation=relu'),
        (dict(remat='some'), 'remat=some'),
        (dict(attention='flash'), 'attention=flash: there are auto, blocks, cudnn'),
        (dict(attention='cudnn'), 'attention=cudnn: it is for NVIDIA GPUs, and this is: cpu; auto'),
        (dict(dropout=1.0), 'dropout=1.0'),
        (dict(norm_epsilon=0.0), 'norm_epsilon=0.0: more than 0'),
        (dict(context=8), 'context=8, and rows of data have 12 tokens'),
        (dict(vocabulary=10), 'vocabulary=10, and the data have 11'),
        (dict(vocabulary_multiple=0), 'vocabulary_multiple=0: at least 1'),
        (dict(head_width=-1), 'head_width=-1: at least 0'),
        (dict(positions='rotary', heads=5, head_width=7), 'is odd'),
        (dict(rotary_scaling='llama2'), 'rotary_scaling=llama2: there are none, linear, llama3, yarn'),
        (dict(rotary_factor=0.0), 'rotary_factor=0.0: more than 0'),
        (dict(rotary_slow=4.0), 'rotary_fast=4.0: more than rotary_slow=4.0'),
        (dict(rotary_scaling='yarn', rotary_base=1.0), 'rotary_base=1.0: more than 1'),
        (dict(rotary_attention=-1.0), 'rotary_attention=-1.0: 0 or more'),
        (dict(experts=-1), 'experts=-1: at least 0'),
        (dict(experts=4, experts_per_token=5), 'experts_per_token=5: at most 4'),
        (dict(experts=4, capacity_factor=-0.5), 'capacity_factor=-0.5: 0 or more'),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message.replace('?', r'\?')):
        make(INFO, **arguments)


def test_a_row_longer_than_the_learned_positions_is_refused():
    with pytest.raises(UserError, match='13 tokens in a row'):
        jax.eval_shape(small().apply, params_of(small()), np.zeros((1, 13), np.int32))
