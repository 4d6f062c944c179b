"""DCGAN on meshes: losses, first gradients, statistics and singular vectors of one device, in 64 bits, to 1e-11."""

# b rows, h height, w width, c channels

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.models import dcgan
from jaxlab.nn.spectral_norm import spectral_norm
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

ROWS, STEPS, CLASSES = 16, 2, 5
# The number of layers is even in one and odd in the other: whose channels are split alternates.
KINDS = {
    'spectral': ((8, 8, 3), dict(spectral=True)),
    'batch norm': ((16, 16, 1), dict(spectral=False, conditional=False)),
}
MESHES = {
    'data 8': dict(data=8),
    'fsdp 8': dict(fsdp=8),
    'tensor 8': dict(tensor=8),
    'data 2, fsdp 2, tensor 2': dict(data=2, fsdp=2, tensor=2),
}


PAIRS = list(itertools.product(KINDS, MESHES))
# The default tier: every mesh, and both networks on two. The rest is marked slow.
COVER = [
    ('spectral', 'fsdp 8'),
    ('spectral', 'data 2, fsdp 2, tensor 2'),
    ('batch norm', 'data 8'),
    ('batch norm', 'tensor 8'),
]


def make(kind):
    shape, arguments = KINDS[kind]
    info = {'shape': shape, 'classes': CLASSES}
    return dcgan.make(info, jnp.float64, jnp.float64, noise=6, width=16, **arguments)


@functools.cache
def batch(shape):
    draw = np.random.default_rng(0)
    return {
        'pictures': draw.uniform(-1, 1, (ROWS, *shape)),
        'noise': draw.normal(size=(ROWS, 6)),
        'labels': draw.integers(0, CLASSES, ROWS, np.int32),
    }


def boxed(model):
    return jax.eval_shape(model.init, jax.random.key(0), *(batch(model.shape)[name] for name in ('noise', 'labels')))


def drawn(model):
    """Variables some way from birth, where biases and means are 0; float64 [...]."""
    draw = np.random.default_rng(1)

    def one(path, leaf):
        near = layout.path_name(path).rpartition('/')[2] in ('scale', 'variance')
        found = near + draw.normal(size=leaf.shape) * (0.1 if near else 0.2)
        return found / np.linalg.norm(found) if 'vector' in layout.path_name(path) else found

    return jax.tree_util.tree_map_with_path(one, layout.unbox(boxed(model)))


def train(model, mesh):
    """Trains both networks on one batch; returns the losses, the first gradients, and what is kept beside."""
    mesh = make_mesh(mesh)
    with jax.set_mesh(mesh):
        found = boxed(model)
        variables = drawn(model)
        shardings = layout.shardings(layout.unbox(found), layout.names(found), mesh)
        layout._check_used(shardings['params'], mesh)

        def losses(params, extra, batch):
            """The sum of both losses, each of which moves its own network alone."""
            held = params | {'discriminator': jax.lax.stop_gradient(params['discriminator'])}
            call = functools.partial(model.apply, train=True, mutable=[*extra])
            fakes, moved = call({'params': params, **extra}, batch['noise'], batch['labels'], method='generate')

            def judge(params, pictures):
                return call({'params': params, **extra}, pictures, batch['labels'], method='discriminate')

            (logits, _), (fake, _) = judge(held, fakes), judge(params, jax.lax.stop_gradient(fakes))
            real, last = judge(params, batch['pictures'])
            kept = last | {'batch_stats': last['batch_stats'] | {'generator': moved['batch_stats']['generator']}}
            terms = jax.nn.softplus(-logits).mean(), (jax.nn.softplus(-real) + jax.nn.softplus(fake)).mean()
            return sum(terms), (terms, kept)

        @functools.partial(jax.jit, out_shardings=(shardings, shardings['params'], None))
        def step(variables, batch):
            params, extra = variables['params'], {name: variables[name] for name in variables if name != 'params'}
            (_, (terms, extra)), gradients = jax.value_and_grad(losses, has_aux=True)(params, extra, batch)
            params = jax.tree.map(lambda leaf, gradient: leaf - 0.02 * gradient, params, gradients)
            return {'params': params, **extra}, gradients, terms

        variables = jax.device_put(variables, shardings)
        placed = layout.place(batch(model.shape), layout.batch_sharding(mesh))
        values, first = [], None
        for _ in range(STEPS):
            variables, gradients, terms = step(variables, placed)
            values.append([float(term) for term in terms])
            first = jax.device_get(gradients) if first is None else first
        kept = jax.device_get({name: variables[name] for name in variables if name != 'params'})
    return {'losses': np.array(values), 'gradients': first, 'kept': kept}


@functools.cache
def on_one_device(kind):
    return train(make(kind), {'data': 1})


def check(kind, mesh):
    wanted, found = on_one_device(kind), train(make(kind), MESHES[mesh])
    assert wanted['losses'][-1].sum() < wanted['losses'][0].sum()
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11, err_msg=layout.path_name(path))


@pytest.mark.parametrize(
    ('kind', 'mesh'), [pytest.param(*pair, marks=() if pair in COVER else pytest.mark.slow) for pair in PAIRS]
)
def test_a_mesh_changes_no_number(kind, mesh, float64):
    check(kind, mesh)


def test_a_singular_value_of_one_part_is_caught(float64, monkeypatch):
    """A mutant: each device of mesh axis tensor measures its own inputs of a kernel."""

    def of_each_device(module, kernel, *, train, name='vector'):
        parts = jax.sharding.get_abstract_mesh().shape['tensor']
        mine = kernel * (jnp.arange(kernel.shape[-2]) < -(-kernel.shape[-2] // parts))[:, None]
        normal = spectral_norm(module, mine, train=train, name=name)
        return kernel * (jnp.linalg.norm(normal) / jnp.linalg.norm(mine))

    on_one_device('spectral')  # with the norm as it is, and kept
    monkeypatch.setattr(dcgan, 'spectral_norm', of_each_device)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        check('spectral', 'data 2, fsdp 2, tensor 2')
