"""Linear and Embedding, and the axis names that every parameter carries."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn.linear import NARROW, Embedding, Linear, product
from jaxlab.parallel import target


def test_linear_is_a_matrix_product_and_a_bias():
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    layer = Linear(4, ('embed', 'mlp'), 'mlp')
    boxed = jax.jit(layer.init)(jax.random.key(1), x)['params']
    assert boxed['kernel'].names == ('embed', 'mlp') and boxed['bias'].names == ('mlp',)
    params = {'kernel': np.asarray(boxed['kernel'].value), 'bias': np.arange(4, dtype=np.float32)}
    wanted = [[params['kernel'].T @ token + params['bias'] for token in row] for row in x]
    np.testing.assert_allclose(jax.jit(layer.apply)({'params': params}, x), wanted, rtol=1e-5, atol=1e-6)


def test_linear_without_a_bias_has_only_a_kernel():
    params = jax.eval_shape(Linear(4, ('embed', 'mlp')).init, jax.random.key(0), jnp.ones((1, 5)))['params']
    assert set(params) == {'kernel'}


def test_products_are_summed_in_the_dtype_that_is_asked_for():
    table = {'params': {'table': jnp.ones((1, 4096))}}
    layer, x = Embedding(1, 4096, ('vocab', 'table'), dtype=jnp.bfloat16), jnp.ones((1, 4096)) + 1 / 128
    coarse, fine = (layer.apply(table, x, dtype, method='attend') for dtype in (jnp.bfloat16, jnp.float32))
    assert coarse.dtype == jnp.bfloat16 and fine.dtype == jnp.float32
    assert fine.item() == 4096 * (1 + 1 / 128)  # not a bfloat16
    assert (
        Linear(1, ('embed', 'mlp'), dtype=jnp.bfloat16).init_with_output(jax.random.key(0), x)[0].dtype == jnp.bfloat16
    )


def test_embedding_reads_rows_and_attends_to_them():
    table = jnp.arange(12.0).reshape(4, 3)
    layer, params = Embedding(4, 3, ('vocab', 'table')), {'params': {'table': table}}
    np.testing.assert_array_equal(jax.jit(layer.apply)(params, jnp.array([[2, 0]])), [[[6, 7, 8], [0, 1, 2]]])
    np.testing.assert_array_equal(
        layer.apply(params, jnp.ones((1, 3)), jnp.float32, method='attend'), [[3, 12, 21, 30]]
    )


def test_an_id_beyond_the_table_is_noticed():
    layer, params = Embedding(4, 3, ('vocab', 'table')), {'params': {'table': jnp.ones((4, 3))}}
    assert np.isnan(jax.jit(layer.apply)(params, jnp.array([4, 1000]))).all()


def loss(multiply, x, kernel):
    return jnp.sum(jnp.sin(multiply(x, kernel)))


@pytest.mark.parametrize('outputs', [1, 2, 10, NARROW, NARROW + 1])
@pytest.mark.parametrize('leading', [(7,), (2, 3)])
def test_few_outputs_are_the_same_product(outputs, leading, float64):
    """Values, both gradients, and the gradient of a gradient; for one kernel and for several at once."""
    random = np.random.default_rng(0)
    x, kernels = random.normal(size=(*leading, 5)), random.normal(size=(4, 5, outputs))
    for of in (
        loss,
        jax.grad(loss, (1, 2)),
        lambda *given: jax.grad(lambda k: jax.grad(loss, 2)(*given[:2], k).sum())(given[2]),
    ):
        found = jax.jit(jax.vmap(partial(of, product), (None, 0)))(x, kernels)
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=1e-12),
            found,
            jax.vmap(partial(of, jnp.dot), (None, 0))(x, kernels),
        )


def shape_of_the_gradient(outputs):
    """Returns the shape in which a program computes the gradient of a kernel, [i o] or [o i], with i = 200."""
    x, kernel = jnp.ones((64, 200)), jnp.ones((200, outputs))
    text = jax.jit(jax.grad(loss, 2), static_argnums=0).lower(product, x, kernel).compile().as_text()
    (found,) = {tuple(map(int, shape.split(','))) for shape in re.findall(r'f32\[(\d+,\d+)\]\{1,0\} dot\(', text)} - {
        (64, outputs)
    }
    return found


def test_the_gradient_of_few_outputs_has_long_rows(monkeypatch):
    assert shape_of_the_gradient(10) == (10, 200) and shape_of_the_gradient(NARROW + 1) == (200, NARROW + 1)
    monkeypatch.setattr(target, 'platform', lambda: 'gpu')
    assert shape_of_the_gradient(10) == (200, 10), 'GPUs do not care'


def test_a_copy_that_xla_undoes_is_noticed(monkeypatch):
    monkeypatch.setattr(jax.lax, 'optimization_barrier', lambda x: x)
    with pytest.raises(AssertionError):
        test_the_gradient_of_few_outputs_has_long_rows(monkeypatch)
