"""A decoder with experts gives the numbers of one device on every mesh, dropped tokens and the losses of its routers
among them; and tokens travel to their experts, not experts to their tokens."""

import itertools
import re
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import step as steps
from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.nn import experts
from jaxlab.nn.experts import Experts
from jaxlab.nn.linear import Embedding
from jaxlab.nn.mlp import MLP
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from tests.test_parallel import (
    INFO,
    MODELS,
    assert_nothing_gathered_needlessly,
    batch,
    check,
    compiled_anew,
    parameters,
)
from tests.test_parallel import make_task as without_experts
from tests.test_parallel import train as trained

__all__ = ['compiled_anew']  # a fixture

EXPERTS = dict(experts=4, experts_per_token=2, capacity_factor=1.0)
MESHES = {
    'expert 4, data 2': dict(expert=4, data=2),
    'expert 2, fsdp 2, tensor 2': dict(expert=2, fsdp=2, tensor=2),
    'data 8': dict(data=8),
    'expert 2, zero1 2, tensor 2': dict(expert=2, zero1=2, tensor=2),
    'fsdp 4, tensor 2': dict(fsdp=4, tensor=2),
    'expert 2, context 2, tensor 2': dict(expert=2, context=2, tensor=2),
    'stage 2, expert 2, data 2': dict(stage=2, expert=2, data=2),
    'stage 2, expert 2, tensor 2': dict(stage=2, expert=2, tensor=2),
    'stage 2, expert 2, context 2': dict(stage=2, expert=2, context=2),
    'stage 2, fsdp 4': dict(stage=2, fsdp=4),
}
WRITTEN = {'unrolled': {}, 'scanned': dict(scan=True), 'scanned, all again': dict(scan=True, remat='full')}
SEEN = dict(balance=0.5, router_z=0.25)  # so much that a mistake in them shows


def make_task(model='gpt2', written='unrolled', dtype=jnp.float64, **arguments):
    options = MODELS[model] | EXPERTS | WRITTEN[written] | arguments
    return LanguageModel(gpt.make(INFO, dtype, dtype, **options), **SEEN)


@pytest.mark.parametrize(
    ('model', 'written', 'mesh', 'micro_batches'),
    [
        ('gpt2', 'unrolled', 'expert 4, data 2', 1),
        ('gpt2', 'scanned', 'expert 2, fsdp 2, tensor 2', 2),
        ('gpt2', 'scanned, all again', 'data 8', 2),
        ('gpt2', 'scanned', 'expert 2, context 2, tensor 2', 1),
        ('gpt2', 'scanned', 'stage 2, expert 2, data 2', 2),
        ('llama', 'scanned, all again', 'stage 2, expert 2, tensor 2', 1),
        pytest.param('gpt2', 'scanned', 'stage 2, fsdp 4', 1, marks=pytest.mark.slow),
        pytest.param('gpt2', 'scanned', 'stage 2, expert 2, context 2', 1, marks=pytest.mark.slow),
        pytest.param('llama', 'unrolled', 'expert 2, context 2, tensor 2', 2, marks=pytest.mark.slow),
        pytest.param('gpt2', 'scanned', 'expert 2, zero1 2, tensor 2', 1, marks=pytest.mark.slow),
        pytest.param('gpt2', 'unrolled', 'fsdp 4, tensor 2', 1, marks=pytest.mark.slow),
        pytest.param('llama', 'scanned, all again', 'expert 4, data 2', 2, marks=pytest.mark.slow),
        pytest.param('llama', 'unrolled', 'expert 2, fsdp 2, tensor 2', 1, marks=pytest.mark.slow),
    ],
)
def test_a_mesh_changes_no_number(model, written, mesh, micro_batches, float64, compiled_anew, capfd):
    check(make_task(model, written), MESHES[mesh], micro_batches, like=make_task(model))
    assert_nothing_gathered_needlessly(capfd)


@pytest.mark.parametrize('mesh', ['stage 2, expert 2, data 2', 'expert 2, context 2, tensor 2'])
def test_dropout_falls_on_the_same_places(mesh, float64):
    task = make_task('gpt2', 'scanned', dropout=0.25)
    wanted, found = (trained(task, parameters(task), shape) for shape in ({'data': 1}, MESHES[mesh]))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_twenty_steps_in_32_bits_stay_together():
    task = make_task(dtype=jnp.float32)
    losses = [trained(task, parameters(task), mesh, count=20)[0] for mesh in ({'data': 1}, *list(MESHES.values())[:2])]
    assert losses[0][-1] < losses[0][0] - 0.1
    for others in losses[1:]:
        np.testing.assert_allclose(others, losses[0], rtol=1e-6)


# --- a model that compiles in a second --------------------------------------------------------------------------------


class Small(nn.Module):
    """What follows each token, from that token alone, by experts."""

    takes = ('tokens', 'positions', 'segments')
    experts: int = 4  # a task listens to the routers of a model that says it has some
    capacity_factor: float = 1.0

    @nn.compact
    def __call__(self, tokens, positions, segments, *, train=False):
        dtypes = dict(dtype=jnp.float64, param_dtype=jnp.float64)
        table = Embedding(24, 16, ('vocab', 'table'), **dtypes)
        layer = Experts(4, 2, partial(MLP, 32, bias=False, **dtypes), self.capacity_factor, **dtypes)
        return table.attend(layer(table(tokens), train), jnp.float64)


SMALL = LanguageModel(Small(), **SEEN)


def terms_of(task, mesh, **options):
    """Returns the terms of a loss on a mesh, and the program."""
    with jax.set_mesh(make_mesh(mesh)):
        boxed = jax.eval_shape(task.init, jax.random.key(0), batch())[0]
        shardings = layout.shardings(layout.unbox(boxed), layout.names(boxed), make_mesh(mesh))
        params = jax.device_put(parameters(task), shardings)
        placed = layout.place(batch(), layout.batch_sharding(make_mesh(mesh)))
        program = jax.jit(lambda params, rows: task.loss(params, {}, rows, jax.random.key(0))[0]).lower(params, placed)
        program = program.compile()
        return jax.device_get(program(params, placed)), program.as_text()


def test_tokens_travel_and_experts_stay(float64):
    terms, program = terms_of(SMALL, MESHES['expert 4, data 2'])
    assert 0.05 < terms['dropped'].total / terms['dropped'].count < 0.5, 'some are left out, and it is said how many'
    assert len(re.findall(r' all-to-all\(', program)) == 2, 'there, and back'
    gathered = [
        line for line in program.splitlines() if 'all-gather(' in line and re.search(r'f64\[4,(16,32|32,16)\]', line)
    ]
    assert not gathered
    assert 'all-to-all' not in terms_of(SMALL, {'data': 8})[1]


def test_where_nobody_is_left_out_there_is_nobody_to_count(float64):
    terms, _ = terms_of(LanguageModel(Small(capacity_factor=0.0), **SEEN), {'data': 1})
    assert terms['dropped'].total == 0


def test_errors_name_the_axis_and_the_remedy(float64):
    with pytest.raises(UserError, match='axis "experts" of size 4 cannot be split over mesh axis expert of size 8'):
        trained(make_task(), parameters(make_task()), {'expert': 8})
    with pytest.raises(UserError, match='nothing in this model is split over mesh axis "expert"'):
        trained(without_experts('gpt2'), parameters(without_experts('gpt2')), {'expert': 2})


# --- mutants ----------------------------------------------------------------------------------------------------------

right = jax.lax.all_to_all


def stays(parts, **_):
    """Every device uses its own experts, for its own tokens only."""
    return parts


def to_the_wrong_device(parts, **where):
    return right(parts[::-1], **where)


def one_way(parts, turn=itertools.cycle([right, stays]), **where):
    return next(turn)(parts, **where)


@pytest.mark.parametrize('travel', [right, stays, to_the_wrong_device, one_way])
def test_a_journey_that_goes_wrong_is_caught(travel, float64, monkeypatch):
    monkeypatch.setattr(jax.lax, 'all_to_all', travel)
    if travel is right:
        check(SMALL, MESHES['expert 4, data 2'])
    else:
        with pytest.raises(AssertionError, match='Not equal to tolerance'):
            check(SMALL, MESHES['expert 4, data 2'])


def of_all_rows(routing, mask, original=experts.sums):
    """Balance as a product of means over all rows at hand, which is no sum over rows."""
    found = original(routing, mask)
    (one,) = jax.tree.leaves(routing, is_leaf=lambda leaf: isinstance(leaf, experts.Routing))
    joined = experts.Routing(*(x.reshape(1, -1, x.shape[-1]) for x in one))
    return found._replace(balance=original((joined,), mask.reshape(1, -1)).balance)


def without_count(routing, mask, original=experts.sums):
    """Every token counts."""
    return original(routing, jnp.ones_like(mask))


@pytest.mark.parametrize('mutant', [of_all_rows, without_count])
def test_a_loss_that_is_no_sum_is_caught(mutant, float64, monkeypatch):
    check(SMALL, {'data': 1}, micro_batches=2)
    monkeypatch.setattr(experts, 'sums', mutant)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        check(SMALL, {'data': 1}, micro_batches=2)


def test_places_that_rows_share_depend_on_the_mesh(float64, monkeypatch):
    """Why they are counted row by row: of all rows on a device, other tokens are left out on another mesh."""
    original = experts.mixture

    def of_a_device(apply, params, x, logits, *, chosen, places, swap=None):
        rows = (x.reshape(1, -1, x.shape[-1]), logits.reshape(1, -1, logits.shape[-1]))
        y, kept = original(apply, params, *rows, chosen=chosen, places=places * len(x), swap=swap)
        return y.reshape(x.shape), kept.reshape(*x.shape[:2], -1)

    def dropped(mesh):
        return terms_of(SMALL, mesh)[0]['dropped'].total

    assert dropped({'data': 8}) == dropped({'data': 1})
    monkeypatch.setattr(experts, 'mixture', of_a_device)
    assert dropped({'data': 8}) != dropped({'data': 1})


def test_the_loss_of_a_step_has_the_losses_of_routers(float64):
    terms, _ = terms_of(SMALL, {'data': 1})
    whole = steps.mean_loss(terms)
    parts = {name: term.total / term.count for name, term in terms.items()}
    np.testing.assert_allclose(whole, parts['loss'] + 0.5 * parts['balance'] + 0.25 * parts['router_z'], rtol=1e-12)
    assert parts['balance'] > 1 and parts['router_z'] > 0
