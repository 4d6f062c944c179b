"""BERT: padding changes nothing, both directions are read, logits of some places are those of all, and every head."""

# b batch, t time, v vocabulary, m masked tokens of a row

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.models.bert import HEADS, make
from jaxlab.nn.attention import weights_of
from jaxlab.parallel import layout

INFO = {'vocabulary': 40, 'length': 12, 'classes': 3, 'types': 2}
TINY = dict(layers=2, width=16, heads=4, dropout=0.0, init_scale=0.3)


def batch(rows=3, length=12):
    draw = np.random.default_rng(0)
    tokens = draw.integers(5, 40, (rows, length)).astype(np.int32)
    types = (np.arange(length) > 6).astype(np.int32) * np.ones((rows, 1), np.int32)
    return tokens, types, np.array([12, 7, 1], np.int32)[:rows]


def born(model, *inputs):
    return layout.unbox(jax.jit(model.init)(jax.random.key(0), *inputs))


@pytest.mark.parametrize('head', HEADS)
def test_padding_is_looked_at_by_nobody(head):
    model = make(INFO, head=head, **TINY)
    tokens, types, lengths = batch()
    variables = born(model, tokens, types, lengths)
    wanted = model.apply(variables, tokens, types, lengths)
    real = np.arange(12) < lengths[:, None]
    found = model.apply(variables, np.where(real, tokens, 7), np.where(real, types, 0), lengths)
    if head == 'classes':
        assert wanted.shape == (3, 3)
        np.testing.assert_array_equal(found, wanted)
    else:
        assert wanted.shape == (3, 12, {'masked': 40, 'tokens': 3, 'span': 2}[head])
        np.testing.assert_array_equal(found[real], wanted[real])
    changed = model.apply(variables, tokens, types, np.array([11, 7, 1], np.int32))
    assert (np.asarray(changed)[0] != np.asarray(wanted)[0]).any(), 'what is not padding is looked at'
    alone = model.apply(variables, tokens[1:2, :7], types[1:2, :7])
    np.testing.assert_allclose(alone[0], wanted[1] if head == 'classes' else wanted[1, :7], rtol=1e-5, atol=1e-6)


def test_every_token_looks_both_ways_and_at_types():
    model = make(INFO, head='tokens', **TINY)
    tokens, types, _ = batch(1)
    variables = born(model, tokens, types)
    wanted = np.asarray(model.apply(variables, tokens, types))
    for place in (0, 11):
        changed = tokens.copy()
        changed[0, place] = 39 if tokens[0, place] != 39 else 38
        assert (np.asarray(model.apply(variables, changed, types)) != wanted).any(-1).all()
    assert (np.asarray(model.apply(variables, tokens, 1 - types)) != wanted).any(-1).all()
    one = make(INFO, head='tokens', types=1, **TINY)  # RoBERTa: both texts are of one type
    variables = born(one, tokens, types)
    np.testing.assert_array_equal(one.apply(variables, tokens, types), one.apply(variables, tokens, 0 * types))


def test_logits_of_some_places_are_those_of_all():
    model = make(INFO, **TINY, vocabulary_multiple=16)
    tokens, types, lengths = batch()
    variables = born(model, tokens, types, lengths)
    whole = np.asarray(model.apply(variables, tokens, types, lengths))
    assert whole.shape == (3, 12, 48) and (whole[..., 40:] < -1e8).all() and whole.dtype == np.float32
    places = np.array([[3, 0], [1, 6], [0, 0]], np.int32)
    some, following = model.apply(variables, tokens, types, lengths, places, method='masked')
    np.testing.assert_allclose(some, np.take_along_axis(whole, places[..., None], 1), rtol=1e-5, atol=1e-5)
    assert following.shape == (3, 2)
    alone = make(INFO, **TINY, next_sentence=False)
    variables = born(alone, tokens, types, lengths)
    assert 'pooler' not in variables['params']
    assert alone.apply(variables, tokens, types, lengths, places, method='masked')[1] is None


def test_all_logits_are_never_made_in_training():
    """[b t v] is the largest array of a step; in the jaxpr of the loss there is none of its size."""
    model = make(INFO, **TINY)
    tokens, types, lengths = batch()
    variables = born(model, tokens, types, lengths)
    places = np.zeros((3, 2), np.int32)

    def loss(variables):
        return model.apply(variables, tokens, types, lengths, places, method='masked')[0].sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(variables))
    assert '[3,2,40]' in text and '[3,12,40]' not in text and '[36,40]' not in text


@pytest.mark.parametrize('arguments', [dict(), dict(head='classes', pooler=False, head_activation='relu')])
def test_scanned_equals_unrolled(arguments):
    tokens, types, lengths = batch()
    model, scanned = make(INFO, **arguments, **TINY), make(INFO, scan=True, remat='full', **arguments, **TINY)
    variables = born(model, tokens, types, lengths)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables['params']['stack'].values())
    other = {'params': variables['params'] | {'stack': {'layers': stacked}}}
    wanted, found = model.apply(variables, tokens, types, lengths), scanned.apply(other, tokens, types, lengths)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_sums_are_normalised():
    """Post-norm: what a block gives has mean 0 and deviation 1, as long as the norm's scale is 1."""
    model = make(INFO, head='tokens', **TINY)
    tokens, types, _ = batch()
    x = model.apply(born(model, tokens, types), tokens, types, method='hidden')
    np.testing.assert_allclose(x.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(-1), 1, rtol=1e-5)


def test_dropout_is_for_training():
    model = make(INFO, **TINY | {'dropout': 0.5})
    inputs = batch()
    variables = born(model, *inputs)
    one, two = (model.apply(variables, *inputs, train=True, rngs={'dropout': jax.random.key(n)}) for n in (0, 1))
    assert (one != two).any()
    np.testing.assert_array_equal(model.apply(variables, *inputs), model.apply(variables, *inputs))


def test_bfloat16_gives_logits_in_float32():
    model = make(INFO, jnp.bfloat16, **TINY)
    inputs = batch()
    variables = born(model, *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    found, wanted = model.apply(variables, *inputs), make(INFO, **TINY).apply(variables, *inputs)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, atol=0.1 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(head='mask'), 'head=mask: .*masked'),
        (dict(heads=5), 'heads=5 do not divide width=16; 4 would'),
        (dict(vocabulary=39), 'vocabulary=39, and the data have 40'),
        (dict(context=11), 'context=11, and rows of data have 12 tokens'),
        (dict(head='classes', classes=2), 'classes=2, and the data have 3'),
        (dict(pooler=False), 'next_sentence=True is told from what the pooler makes'),
        (dict(types=17), 'types=17: at most 16'),
        (dict(activation='relu'), 'activation=relu'),
        (dict(attention='cudnn'), 'attention=cudnn'),
        (dict(dropout=1.0), 'dropout=1.0'),
        (dict(norm_epsilon=0.0), 'norm_epsilon=0.0'),
    ],
)
def test_arguments_that_make_no_model(arguments, message):
    with pytest.raises(UserError, match=message):
        make(INFO, **TINY | arguments)


def test_other_data_and_longer_rows():
    with pytest.raises(UserError, match='this model reads texts'):
        make({'shape': [8, 8, 1]})
    with pytest.raises(UserError, match='13 tokens in a row, and positions for context=12'):
        make(INFO, **TINY).init(jax.random.key(0), np.zeros((1, 13), np.int32))
    model = make(INFO, **TINY)
    assert np.isnan(model.apply(born(model, *batch()), np.full((1, 3), 40, np.int32))).any(), 'a token beyond the table'


def test_a_mimetic_start_lets_every_token_look_at_its_neighbours_and_likes():
    """What stands k places on is one rotation away, wherever one stands; and queries find what is like them."""
    tokens, types, _ = batch(1)
    model = make(INFO, **TINY | {'init': 'mimetic'})
    variables = born(model, tokens, types)
    table = np.asarray(variables['params']['embeddings']['positions']['table'], np.float64)
    angles = np.arange(12)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    np.testing.assert_allclose(table[:, ::2], 0.3 * 2**0.5 * np.sin(angles), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table[:, 1::2], 0.3 * 2**0.5 * np.cos(angles), rtol=1e-5, atol=1e-6)
    near = table @ table.T
    for distance in range(12):
        np.testing.assert_allclose(np.diagonal(near, distance), near[0, distance], rtol=1e-4, atol=1e-6)
    assert np.sqrt(np.mean(table**2)) == pytest.approx(0.3, rel=1e-5)
    for name in ('query', 'key'):
        kernel = variables['params']['stack']['layer_0']['attention'][name]['kernel']
        assert np.diagonal(kernel).mean() == pytest.approx(0.8, abs=0.2)
        assert np.std(kernel - 0.8 * np.eye(16)) == pytest.approx(0.15, rel=0.2)
    at = np.arange(12)
    distance = np.abs(at[:, None] - at)
    alike = np.full((1, 12), 7, np.int32)
    looks = {}
    for init in ('mimetic', 'normal'):
        wide = make(INFO, **TINY | {'width': 64, 'init': init, 'init_scale': 0.06})
        first = weights_of(wide, born(wide, alike), alike)[0][0, 0]  # of the head with the fastest waves
        looks[init] = first[distance == 1].mean() / first[distance > 3].mean()
    assert looks['mimetic'] > 2 and looks['normal'] < 1.5
    with pytest.raises(UserError, match='init'):
        make(INFO, **TINY | {'init': 'waves'})
