"""What devices exchange where rows are split along their length: no device ever has a whole one."""

import re

import jax
import jax.numpy as jnp
import pytest

import jaxlab.nn.transformer
from jaxlab.models import gpt
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from tests.test_parallel import MESHES

ROWS, WHOLE = 6, 16 * 37  # nothing else is as long, nor are the rows of a device, end to end


def exchanged(shape, length, remat='none', compiled=True):
    """Returns the text of the program of a decoder's gradients on a mesh, with rows of `length` tokens."""
    info = {'vocabulary': 24, 'length': length}
    model = gpt.make(info, layers=2, width=16, heads=8, kv_heads=4, positions='rotary', scan=True, remat=remat)
    task, mesh = LanguageModel(model), make_mesh(shape)
    row = jax.ShapeDtypeStruct((ROWS, length), jnp.int32)
    rows = dict.fromkeys(('tokens', 'targets', 'positions', 'segments'), row)
    rows['mask'] = jax.ShapeDtypeStruct((ROWS, length), jnp.float32)
    with jax.set_mesh(mesh):
        boxed = jax.eval_shape(task.init, jax.random.key(0), rows)[0]
        shardings = layout.shardings(layout.unbox(boxed), layout.names(boxed), mesh)

        def total(params, batch):
            return task.loss(params, {}, batch, jax.random.key(0))[0]['loss'].total

        program = jax.jit(jax.grad(total), out_shardings=shardings).lower(
            layout.with_shardings(layout.unbox(boxed), shardings),
            layout.with_shardings(rows, layout.batch_sharding(mesh)),
        )
        return program.compile().as_text() if compiled else program.as_text()


def axes(text):
    """Returns the lengths of all axes of features, scores and gradients: of arrays of more than two axes."""
    shapes = [tuple(map(int, found.split(','))) for found in re.findall(r'(?:f32|pred)\[([\d,]+)\]', text)]
    return {size for shape in shapes if len(shape) > 2 for size in shape}


@pytest.mark.parametrize('mesh', ['context 4, data 2', 'context 2, fsdp 2, tensor 2'])
def test_no_device_has_a_whole_row(mesh):
    text = exchanged(MESHES[mesh], WHOLE)
    assert 'collective-permute' in text
    assert WHOLE // MESHES[mesh]['context'] in axes(text) and WHOLE not in axes(text)
    if mesh == 'context 4, data 2':  # parameters lie whole on every device: nothing is put together
        assert not re.search('all-gather|all-to-all|reduce-scatter', text)


def test_rows_that_are_put_together_are_noticed(monkeypatch):
    def constrain(x, *names):
        return x if 'length' in names else layout.constrain(x, *names)

    monkeypatch.setattr(jaxlab.nn.transformer, 'constrain', constrain)
    assert WHOLE in axes(exchanged(MESHES['context 2, fsdp 2, tensor 2'], WHOLE))


def test_what_went_around_the_ring_is_kept_where_attention_is():
    times = {
        remat: exchanged(MESHES['context 4, data 2'], 64, remat, compiled=False).count('collective_permute')
        for remat in ('none', 'attention', 'full')
    }
    assert times['none'] == times['attention'] < times['full']
