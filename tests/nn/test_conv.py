"""Convolutions against the library's, in every algorithm; the rounding of Winograd's; the layer on meshes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn import conv as convs
from jaxlab.nn import windows, winograd
from jaxlab.nn.conv import ALGORITHMS, Conv, choose, conv
from jaxlab.parallel import layout, target
from jaxlab.parallel.mesh import make_mesh

# x, kernel, and stride, padding, dilation, groups
SHAPES = {
    'same': ((2, 9, 7, 3), (3, 3, 3, 4), 1, 'same', 1, 1),
    'one place': ((2, 3, 3, 2), (3, 3, 2, 5), 1, 'valid', 1, 1),
    'one row': ((3, 1, 10, 2), (3, 3, 2, 4), 1, 'same', 1, 1),
    'uneven padding': ((2, 8, 13, 3), (3, 3, 3, 4), 1, ((0, 3), (2, 0)), 1, 1),
    'five taps': ((2, 9, 12, 3), (5, 5, 3, 4), 1, 'same', 1, 1),
    'even window': ((2, 9, 8, 3), (2, 4, 3, 4), 1, 'same', 1, 1),
    'one tap': ((2, 5, 4, 3), (1, 1, 3, 4), 1, 'same', 1, 1),
    'one tap, stride': ((2, 5, 4, 3), (1, 1, 3, 4), 2, 'same', 1, 1),
    'stride': ((2, 9, 8, 3), (3, 3, 3, 4), 2, 'same', 1, 1),
    'stride above the window': ((2, 11, 8, 3), (2, 3, 3, 4), (3, 4), 'same', 1, 1),
    'strides': ((2, 9, 8, 3), (7, 3, 3, 4), (2, 3), 'valid', 1, 1),
    'stem': ((1, 17, 20, 3), (7, 7, 3, 4), 2, ((3, 3), (3, 3)), 1, 1),
    'patches': ((2, 8, 12, 3), (4, 3, 3, 5), (4, 3), 'valid', 1, 1),
    'patches, the last cut': ((2, 9, 14, 3), (4, 3, 3, 5), (4, 3), 'valid', 1, 1),
    'patches, padded': ((2, 9, 14, 3), (4, 3, 3, 5), (4, 3), 'same', 1, 1),
    'dilation': ((2, 9, 10, 3), (3, 3, 3, 4), 1, 'same', (2, 3), 1),
    'dilation and stride': ((2, 13, 12, 3), (3, 2, 3, 4), (2, 3), 'same', (3, 2), 1),
    'groups': ((2, 6, 7, 6), (3, 3, 2, 9), 1, 'same', 1, 3),
    'groups, stride, dilation': ((2, 9, 9, 6), (3, 3, 3, 4), (2, 1), 'valid', (1, 2), 2),
    'patches in groups': ((2, 6, 8, 6), (2, 2, 3, 4), 2, 'valid', 1, 2),
    'depthwise': ((2, 6, 7, 5), (3, 3, 1, 5), 1, 'same', 1, 5),
    'depthwise, stride': ((2, 9, 7, 5), (5, 3, 1, 5), 2, 'same', 1, 5),
    'depthwise, two outputs each': ((2, 6, 7, 3), (3, 3, 1, 6), 1, 'same', 1, 3),
    'time': ((2, 11, 3), (3, 3, 4), 1, 'same', 1, 1),
    'time, causal': ((2, 17, 3), (2, 3, 4), 1, ((4, 0),), 4, 1),
    'time, stride': ((2, 16, 3), (5, 3, 4), 3, 'same', 1, 1),
    'time, depthwise': ((2, 9, 4), (3, 1, 4), 1, 'same', 1, 4),
    'three axes': ((1, 4, 5, 6, 2), (2, 3, 3, 2, 3), (1, 2, 1), 'same', 1, 1),
}


def serves(algorithm, x, kernel, stride, padding, dilation, groups):
    """Whether an algorithm is for this case."""
    if algorithm == 'depthwise':
        return groups == x[-1] == kernel[-1]
    if algorithm.startswith('winograd'):
        points, square = int(algorithm[-1]), len(kernel) == 4 and kernel[0] == kernel[1] in (3, 5)
        return square and stride == dilation == groups == 1 and points > kernel[0]
    return True


CASES = [(a, name) for name, case in SHAPES.items() for a in (*ALGORITHMS[1:], '') if serves(a, *case)]


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def value_and_gradients(x, kernel, *how):
    """The convolution, and its gradients of a weighted sum by x and kernel."""
    y, pull = jax.vjp(lambda x, kernel: conv(x, kernel, *how), x, kernel)
    return y, *pull(numbers(*y.shape, seed=2, dtype=y.dtype))


def assert_equal(found, wanted, tolerance=1e-12):
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


def check(algorithm, name):
    x, kernel, *how = SHAPES[name]
    x, kernel = numbers(*x), numbers(*kernel, seed=1)
    both = jax.jit(lambda x, kernel: [value_and_gradients(x, kernel, *how, which) for which in (algorithm, 'library')])
    assert_equal(*both(x, kernel))


@pytest.mark.parametrize(('algorithm', 'name'), CASES)
def test_values_and_gradients_are_the_librarys(algorithm, name, float64):
    check(algorithm, name)


def test_the_library_is_asked_what_is_meant(float64):
    """Written out as loops, with every argument at once: a cross-correlation, groups and all."""
    x, kernel = numbers(2, 7, 6, 4), numbers(3, 2, 2, 6, seed=1)
    found = conv(x, kernel, (2, 1), ((1, 2), (0, 1)), (1, 2), 2, 'library')
    padded = np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))
    wanted = np.zeros((2, 4, 5, 6))
    for row, column, o in np.ndindex(4, 5, 6):
        for tap, other in np.ndindex(3, 2):
            inputs = padded[:, 2 * row + tap, column + 2 * other, 2 * (o // 3) : 2 * (o // 3) + 2]
            wanted[:, row, column, o] += inputs @ kernel[tap, other, :, o]
    assert_equal([found], [wanted])


MIX, MATRICES, FIT, SHIFTED, WOVEN = winograd._mix, winograd.matrices, windows.fit, windows.shifted, windows.woven


@pytest.mark.parametrize(
    ('where', 'what', 'mutant', 'algorithm', 'name'),
    [
        (winograd, '_mix', lambda weights, arrays: MIX(np.abs(weights), arrays), 'winograd4', 'same'),
        (winograd, 'matrices', lambda m, r: (*MATRICES(m, r)[:2], MATRICES(m, r)[2][::-1]), 'winograd6', 'same'),
        (winograd, 'woven', lambda parts, axis: WOVEN(parts[::-1], axis), 'winograd6', 'five taps'),
        (winograd, 'fit', lambda x, axis, before, n: FIT(x, axis, 1, n), 'winograd4', 'uneven padding'),
        (convs, 'fit', lambda x, axis, before, n: FIT(x, axis, 0, n), 'patches', 'same'),
        (convs, 'shifted', lambda *a: SHIFTED(*a)[::-1], 'patches', 'dilation'),
        (convs, 'shifted', lambda *a: SHIFTED(*a)[::-1], 'depthwise', 'depthwise, stride'),
        (convs, 'shifted', lambda *a: [jax.lax.stop_gradient(one) for one in SHIFTED(*a)], 'patches', 'stride'),
    ],
)
def test_a_wrong_convolution_is_caught(where, what, mutant, algorithm, name, float64, monkeypatch):
    jax.clear_caches()  # of what was traced before
    monkeypatch.setattr(where, what, mutant)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        check(algorithm, name)
    jax.clear_caches()


# --- rounding --------------------------------------------------------------------------------------------------------


def errors(algorithm, x, kernel, dtype):
    """The root mean square errors of the value and both gradients, as parts of the root mean squares of these."""
    rounded = [array.astype(dtype) for array in (x, kernel)]
    with jax.enable_x64(True):
        exact = value_and_gradients(*(np.asarray(array, np.float64) for array in rounded), 1, 'same', 1, 1, 'library')
        exact = [np.asarray(array) for array in exact]
    found = jax.jit(lambda *a: value_and_gradients(*a, 1, 'same', 1, 1, algorithm))(*rounded)
    assert all(array.dtype == dtype for array in found)
    return [np.sqrt(np.mean((np.asarray(f, np.float64) - e) ** 2) / np.mean(e**2)) for f, e in zip(found, exact)]


@pytest.mark.parametrize(('algorithm', 'factor'), [('patches', 2), ('winograd4', 2), ('winograd6', 4)])
def test_float32_is_nearly_as_exact_as_the_librarys(algorithm, factor):
    x, kernel = numbers(4, 16, 16, 64), numbers(3, 3, 64, 64, seed=1)
    found, wanted = errors(algorithm, x, kernel, np.float32), errors('library', x, kernel, np.float32)
    assert (np.array(found) < factor * np.array(wanted)).all()
    assert max(found) < 2e-6


def test_the_points_of_lavin_and_gray_round_worse(monkeypatch):
    """Why ours are others; and that the measure above can tell."""
    x, kernel = numbers(4, 16, 16, 64), numbers(3, 3, 64, 64, seed=1)
    ours = errors('winograd6', x, kernel, np.float32)
    winograd.matrices.cache_clear()
    monkeypatch.setattr(winograd, 'POINTS', {6: tuple(map(winograd.Fraction, (0, 1, -1, 2, -2)))})
    theirs = errors('winograd6', x, kernel, np.float32)
    winograd.matrices.cache_clear()
    assert theirs[0] > 1.5 * ours[0]


@pytest.mark.parametrize('name', ['same', 'stride', 'groups', 'depthwise'])
def test_bfloat16(name):
    x, kernel, *how = SHAPES[name]
    x, kernel = jnp.asarray(numbers(*x), jnp.bfloat16), jnp.asarray(numbers(*kernel, seed=1), jnp.bfloat16)
    y = conv(x, kernel, *how)
    assert y.dtype == jnp.bfloat16
    wanted = conv(*(array.astype(jnp.float32) for array in (x, kernel)), *how, 'library')
    np.testing.assert_allclose(y.astype(jnp.float32), wanted, rtol=0, atol=2e-2 * np.abs(wanted).max())


# --- under transformations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('algorithm', ['patches', 'depthwise', 'winograd6'])
def test_every_transformation_of_jax(algorithm, float64):
    """Forward mode, second order, vmap, remat, and the gradient of a scan."""
    name = 'depthwise' if algorithm == 'depthwise' else 'same'
    x, kernel, *how = SHAPES[name]
    x, kernel = numbers(*x[:-1], kernel[-1]), numbers(*kernel[:-2], kernel[-1] // how[-1], kernel[-1], seed=1)
    v, w = numbers(*x.shape, seed=3), numbers(*kernel.shape, seed=4)

    def all_of_them(x, kernel, v, w, which):
        def f(x, kernel):
            return conv(x, kernel, *how, which)

        def loss(x, kernel):
            return jnp.sin(f(x, kernel)).sum()

        def scanned(x, kernel):
            step = jax.checkpoint(lambda x, _: (jnp.tanh(f(x, kernel)), None))
            return jnp.square(jax.lax.scan(step, x, None, length=3)[0]).sum()

        gradient = jax.grad(loss, argnums=(0, 1))
        return [
            jax.jvp(f, (x, kernel), (v, w)),
            jax.jvp(gradient, (x, kernel), (v, w)),
            jax.vjp(gradient, x, kernel)[1]((v, w)),
            jax.vmap(f, in_axes=(0, None))(jnp.stack([x, v]), kernel),
            jax.vmap(gradient)(jnp.stack([x, v]), jnp.stack([kernel, w])),
            jax.grad(jax.remat(loss), argnums=(0, 1))(x, kernel),
            jax.grad(scanned, argnums=(0, 1))(x, kernel),
        ]

    found, wanted = (
        jax.tree.leaves(jax.jit(all_of_them, static_argnums=4)(x, kernel, v, w, which))
        for which in (algorithm, 'library')
    )
    assert_equal(found, wanted, 1e-11)


# --- the choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('x', 'kernel', 'arguments', 'algorithm'),
    [
        ((64, 32, 32, 64), (3, 3, 64, 64), {}, 'winograd6'),
        ((64, 8, 8, 256), (3, 3, 256, 256), {}, 'winograd6'),
        ((64, 4, 4, 512), (3, 3, 512, 512), {}, 'winograd4'),  # 64 tiles of 4 × 4, 256 of 2 × 2
        ((8, 8, 8, 256), (3, 3, 256, 256), {}, 'patches'),
        ((64, 14, 14, 32), (5, 5, 32, 64), {}, 'winograd6'),
        ((1, 14, 14, 32), (5, 5, 32, 64), {}, 'patches'),
        ((64, 32, 32, 3), (3, 3, 3, 64), {}, 'patches'),
        ((64, 32, 32, 64), (3, 3, 64, 64), {'stride': 2}, 'patches'),
        ((64, 32, 32, 64), (3, 3, 64, 64), {'dilation': 2}, 'patches'),
        ((64, 32, 32, 64), (3, 3, 32, 64), {'groups': 2}, 'patches'),
        ((64, 32, 32, 64), (3, 3, 1, 64), {'groups': 64}, 'depthwise'),
        ((64, 32, 32, 64), (1, 1, 64, 64), {}, 'patches'),
        ((64, 1024, 64), (3, 64, 64), {}, 'patches'),
    ],
)
def test_the_choice(x, kernel, arguments, algorithm, monkeypatch):
    def chosen(dtype, backend):
        made = []
        monkeypatch.setattr(target, 'platform', lambda: backend)
        monkeypatch.setattr(convs, 'choose', lambda *a: made.append(choose(*a)) or made[-1])
        jax.eval_shape(lambda x, k: conv(x, k, **arguments), jnp.empty(x, dtype), jnp.empty(kernel, dtype))
        return made[0]

    assert chosen(jnp.float32, 'cpu') == algorithm
    assert chosen(jnp.bfloat16, 'cpu') == ('patches' if algorithm.startswith('winograd') else algorithm)
    assert chosen(jnp.float32, 'gpu') == chosen(jnp.float32, 'tpu') == 'library'


@pytest.mark.parametrize(
    ('x', 'kernel', 'how'),
    [
        ((2, 8, 8, 3), (3, 3, 4), ()),
        ((2, 8, 8, 3), (3, 3, 4, 4), ()),
        ((2, 8, 8, 4), (3, 3, 2, 5), (1, 'same', 1, 2)),
        ((2, 8, 8, 3), (3, 3, 3, 4), ((1, 1, 1),)),
        ((2, 8, 8, 3), (3, 3, 3, 4), (0,)),
        ((2, 8, 8, 3), (3, 3, 3, 4), (1, ((1, 1),))),
        ((2, 8, 8, 3), (3, 3, 3, 4), (1, 'full')),
        ((2, 8, 8, 3), (3, 3, 3, 4), (2, 'same', 1, 1, 'winograd4')),
        ((2, 8, 8, 3), (3, 3, 3, 4), (1, 'same', 1, 1, 'depthwise')),
        ((2, 8, 8, 3), (3, 3, 3, 4), (1, 'same', 1, 1, 'fft')),
    ],
)
def test_what_does_not_fit_is_refused(x, kernel, how):
    with pytest.raises(AssertionError):
        conv(np.ones(x, np.float32), np.ones(kernel, np.float32), *how)


# --- the layer -------------------------------------------------------------------------------------------------------


def test_the_layer_is_a_convolution_and_a_bias():
    x = numbers(2, 8, 8, 3, dtype=np.float32)
    layer = Conv(4, (3, 3), stride=2, bias_axis='norm')
    boxed = jax.jit(layer.init)(jax.random.key(1), x)['params']
    assert boxed['kernel'].names == ('window', 'window', 'conv_in', 'conv_out') and boxed['bias'].names == ('norm',)
    params = {'kernel': boxed['kernel'].value, 'bias': np.arange(4, dtype=np.float32)}
    wanted = conv(x, params['kernel'], 2) + params['bias']
    np.testing.assert_allclose(jax.jit(layer.apply)({'params': params}, x), wanted, rtol=1e-5, atol=1e-6)


def test_the_layer_without_a_bias_in_one_dimension_and_groups():
    layer = Conv(6, (2,), padding=((3, 0),), dilation=3, groups=2, axes=('embed', 'mlp'), dtype=jnp.bfloat16)
    y, params = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((1, 9, 4)))
    assert y.shape == (1, 9, 6) and y.dtype == jnp.bfloat16
    assert set(params['params']) == {'kernel'}
    kernel = params['params']['kernel']
    assert kernel.value.shape == (2, 2, 6) and kernel.value.dtype == jnp.float32
    assert kernel.names == ('window', 'embed', 'mlp')


def test_outputs_are_born_as_large_as_inputs():
    x = numbers(8, 16, 16, 32, dtype=np.float32)
    for groups in (1, 4, 32):
        layer = Conv(32, (3, 3), padding='valid', groups=groups)
        y = layer.init_with_output(jax.random.key(0), x)[0]
        assert 0.8 < y.std() < 1.25


LAYERS = {
    'winograd6': dict(features=16, window=(3, 3)),
    'winograd4': dict(features=16, window=(3, 3)),
    'patches': dict(features=16, window=(3, 3), stride=2),
    'depthwise': dict(features=8, window=(3, 3), groups=8),
}


@pytest.mark.parametrize('shape', [{'data': 8}, {'fsdp': 8}, {'data': 2, 'fsdp': 4}])
@pytest.mark.parametrize('algorithm', LAYERS)
def test_a_mesh_changes_no_number_and_gathers_no_activation(algorithm, shape, float64, monkeypatch):
    monkeypatch.setattr(convs, 'choose', lambda *_: algorithm)
    layer = Conv(**LAYERS[algorithm], bias_axis='norm', dtype=jnp.float64, param_dtype=jnp.float64)
    x = numbers(16, 8, 8, 8)

    def loss(params, x):
        return jnp.sin(layer.apply({'params': params}, x)).sum()

    boxed = layer.init(jax.random.key(0), x)['params']
    params, names = layout.unbox(boxed), layout.names(boxed)
    wanted = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, x)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        shardings = layout.shardings(params, names, mesh), layout.batch_sharding(mesh)
        if 'fsdp' in shape:
            assert not shardings[0]['kernel'].is_fully_replicated
        step = jax.jit(
            jax.value_and_grad(loss, argnums=(0, 1)), in_shardings=shardings, out_shardings=(None, shardings)
        )
        compiled = step.lower(params, x).compile()
        found = compiled(*jax.device_put((params, x), shardings))
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-11, atol=1e-11), found, wanted)
    program = compiled.as_text()
    assert not re.findall(r' (?:all-to-all|collective-permute)(?:-start)?\(', program)
    gathered = re.findall(r'= f64(\[.*?\])\S* all-gather(?:-start)?\(', program)  # the kernel, once, and nothing else
    assert gathered == (['[' + ','.join(map(str, params['kernel'].shape)) + ']'] if 'fsdp' in shape else [])
