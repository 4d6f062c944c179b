"""A decoder with experts gives the numbers of one device on every mesh, dropped tokens and the losses of its routers
among them; and tokens travel to their experts, not experts to their tokens."""

import jax.numpy as jnp
import pytest

from jaxlab.models import gpt
from jaxlab.tasks.language_model import LanguageModel
from tests.test_parallel import INFO, MODELS, assert_nothing_gathered_needlessly, check, compiled_anew

__all__ = ['compiled_anew']  # a fixture

EXPERTS = dict(experts=4, experts_per_token=2, capacity_factor=1.0)
MESHES = {
    'expert 4, data 2': dict(expert=4, data=2),
    'expert 2, fsdp 2, tensor 2': dict(expert=2, fsdp=2, tensor=2),
    'data 8': dict(data=8),
    'expert 2, zero1 2, tensor 2': dict(expert=2, zero1=2, tensor=2),
    'fsdp 4, tensor 2': dict(fsdp=4, tensor=2),
}
WRITTEN = {'unrolled': {}, 'scanned': dict(scan=True), 'scanned, all again': dict(scan=True, remat='full')}


def make_task(model='gpt2', written='unrolled', dtype=jnp.float64, **arguments):
    options = MODELS[model] | EXPERTS | WRITTEN[written] | arguments
    return LanguageModel(gpt.make(INFO, dtype, dtype, **options), balance=0.5, router_z=0.25)  # so that they are seen


@pytest.mark.parametrize(
    ('model', 'written', 'mesh', 'micro_batches'),
    [
        ('gpt2', 'unrolled', 'expert 4, data 2', 1),
        ('gpt2', 'scanned', 'expert 2, fsdp 2, tensor 2', 2),
        pytest.param('llama', 'scanned, all again', 'expert 4, data 2', 2, marks=pytest.mark.slow),
        pytest.param('llama', 'unrolled', 'expert 2, fsdp 2, tensor 2', 1, marks=pytest.mark.slow),
        ('gpt2', 'scanned, all again', 'data 8', 2),
        pytest.param('gpt2', 'scanned', 'expert 2, zero1 2, tensor 2', 1, marks=pytest.mark.slow),
        pytest.param('gpt2', 'unrolled', 'fsdp 4, tensor 2', 1, marks=pytest.mark.slow),
    ],
)
def test_a_mesh_changes_no_number(model, written, mesh, micro_batches, float64, compiled_anew, capfd):
    check(make_task(model, written), MESHES[mesh], micro_batches, like=make_task(model))
    assert_nothing_gathered_needlessly(capfd)
