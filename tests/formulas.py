"""Optimizers as short numpy loops, in 64 bits: what all of them share, and the directions that they differ in.

The tests of optimizers, of groups of parameters and of schedules compare with these.
"""

import jax
import numpy as np

from jaxlab.config import build, spec

# A layer's matrix, its bias, and a table: how each is treated goes by these names.
NAMES = {'layer': {'kernel': ('embed', 'mlp'), 'bias': ('mlp',)}, 'table': ('vocab', 'table')}
SHAPES = {'layer': {'kernel': (4, 6), 'bias': (6,)}, 'table': (5, 4)}
STEPS = 5


def arrays(seed, shapes=SHAPES):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda shape: draw.normal(size=shape), shapes, is_leaf=lambda x: isinstance(x, tuple))


def leaves(tree):
    """The numbers of a tree by name: kernel, bias, table."""
    return {'kernel': tree['layer']['kernel'], 'bias': tree['layer']['bias'], 'table': tree['table']}


def run(optimizer, numbers=arrays):
    """Returns the parameters after each step; `numbers` makes them, and the gradients, of a seed."""
    params, history = numbers(99), []
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for n in range(STEPS):
        gradient = numbers(n)
        updates, state = update(gradient, state, params, 1.0, optimizer.norm(gradient))
        params = jax.tree.map(np.add, params, updates)
        history.append(params)
    return history


def expect(
    direction, *, learning_rate, weight_decay, clip=0.0, l1=0.0, l2=0.0, factor=lambda n: 1.0, rescale=lambda u, w: u
):
    """The rule that all optimizers share; `direction(name, n, gradient)` is what they differ in. (LAMB rescales too.)

    Rates and strengths may be dicts by parameter.
    """

    def of(setting, name):
        return setting[name] if isinstance(setting, dict) else setting

    params, history = leaves(arrays(99)), []
    for n in range(STEPS):
        gradients = leaves(arrays(n))
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
        if clip and norm > clip:
            gradients = {name: g * clip / norm for name, g in gradients.items()}
        for name, g in gradients.items():
            w, is_matrix = params[name], name != 'bias'  # matrices and tables decay, biases do not
            g = g + is_matrix * (of(l1, name) * np.sign(w) + of(l2, name) * w)
            u = direction(name, n, g) + is_matrix * of(weight_decay, name) * w
            params[name] = w - of(learning_rate, name) * factor(n) * (rescale(u, w) if is_matrix else u)
        history.append(dict(params))
    return history


def assert_equal(history, wanted):
    for found, numbers in zip(history, wanted, strict=True):
        for name, value in leaves(found).items():
            np.testing.assert_allclose(value, numbers[name], rtol=1e-10, atol=1e-12, err_msg=name)


def make(name, names=NAMES, schedule=None, **arguments):
    schedule = schedule or spec('schedules.constant')
    return build(spec(f'optim.{name}', schedule=schedule, **arguments), names, STEPS, key='optimizer')


def zeros():
    """What an optimizer remembers of each parameter, before the first step."""
    return dict.fromkeys(('kernel', 'bias', 'table'), 0.0)


def polyak(momentum, nesterov=False):
    m = zeros()

    def direction(name, n, g):
        m[name] = momentum * m[name] + g
        return g + momentum * m[name] if nesterov else m[name]

    return direction


def adagrad(epsilon):
    v = zeros()

    def direction(name, n, g):
        v[name] = v[name] + g**2
        return g / np.sqrt(v[name] + epsilon)

    return direction


def rmsprop(decay, epsilon):
    v = zeros()

    def direction(name, n, g):
        v[name] = decay * v[name] + (1 - decay) * g**2
        return g / (np.sqrt(v[name]) + epsilon)

    return direction


def adam(beta1, beta2, epsilon):
    m, v = zeros(), zeros()

    def direction(name, n, g):
        m[name] = beta1 * m[name] + (1 - beta1) * g
        v[name] = beta2 * v[name] + (1 - beta2) * g**2
        return m[name] / (1 - beta1 ** (n + 1)) / (np.sqrt(v[name] / (1 - beta2 ** (n + 1))) + epsilon)

    return direction


def lion(beta1, beta2):
    m = zeros()

    def direction(name, n, g):
        found = np.sign(beta1 * m[name] + (1 - beta1) * g)
        m[name] = beta2 * m[name] + (1 - beta2) * g
        return found

    return direction
