"""The step against direct formulas on toys: sums divided once, phases, averages, keys.

Every check takes the module it checks, since there are mutants of it, and each has a check that goes red.
"""

# b rows, t tokens, d features

import ast
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jaxlab.step
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from tests.toys import (
    DUEL_ONCE,
    DUEL_RATES,
    FEATURES,
    LENGTH,
    PLATEAUS,
    ROWS,
    Delta,
    Duel,
    Masked,
    Product,
    Regression,
    assert_close,
    direct_gradient,
    direct_loss,
    ragged_batch,
    sgd,
    train,
)

# --- checks: each takes the module under test, which is jaxlab.step or a mutant of it --------------------------------


def check_one_step(steps):
    """Two sums, each divided once by its own count, and a step down the slope."""
    batch = ragged_batch()
    (before, after), (terms,) = train(steps, Regression(), [batch], [sgd(0.125)])
    weights, bias = np.arange(FEATURES, dtype=float), 1.0
    weights_gradient, bias_gradient = direct_gradient(weights, bias, batch)
    wanted = {'layer': {'weights': weights - 0.125 * weights_gradient}, 'bias': bias - 0.125 * bias_gradient}
    assert_close(after.params, wanted, 1e-12)
    assert_close(steps.mean_loss(terms), direct_loss(weights, bias, batch), 1e-12)
    norm = np.sqrt(np.sum(weights_gradient**2) + bias_gradient**2)
    assert_close((terms['gradient_norm'].total, terms['learning_rate'].total), (norm, 0.125), 1e-12)
    assert (int(before.step), int(after.step)) == (0, 1) and after.average == {}


def check_accumulation(steps, dtype=np.float64, tolerance=1e-12):
    """However many micro-batches, the numbers of the whole batch come out."""
    batches = [ragged_batch(seed) for seed in range(3)]
    weights, bias, losses = np.arange(FEATURES, dtype=float), 1.0, []
    for batch in batches:
        losses.append(direct_loss(weights, bias, batch))
        weights_gradient, bias_gradient = direct_gradient(weights, bias, batch)
        weights, bias = weights - 0.125 * weights_gradient, bias - 0.125 * bias_gradient
    batches = [{name: x.astype(dtype) if x.dtype == float else x for name, x in batch.items()} for batch in batches]
    for number in (8, 2, 1):
        states, reports = train(steps, Regression(dtype), batches, [sgd(0.125)], accumulate=number)
        assert_close(states[-1].params, {'layer': {'weights': weights}, 'bias': bias}, tolerance)
        assert_close([steps.mean_loss(terms) for terms in reports], losses, tolerance)


def check_cut(steps):
    """Micro-batch i has rows i, i + number, …, and on a mesh no row leaves its device."""
    rows = np.arange(16)
    found = steps.cut({'tokens': rows[:, None]}, 4)['tokens']
    assert found.shape == (4, 4, 1) and found[1, :, 0].tolist() == [1, 5, 9, 13]

    mesh = make_mesh({'data': 4})
    split = NamedSharding(mesh, PartitionSpec(None, ('data', 'fsdp')))
    cut = jax.jit(lambda x: steps.cut(x, 4), in_shardings=layout.batch_sharding(mesh), out_shardings=split)
    program = cut.lower(rows).compile().as_text()
    assert not [word for word in ('all-to-all', 'all-gather', 'collective-permute', 'all-reduce') if word in program]


def check_phases(steps):
    """Each phase moves its own parameters, as often as it says, and sees what the phases before it have done."""
    batch = ragged_batch()
    states, reports = train(steps, Duel(), [batch, batch], DUEL_RATES, accumulate=4)
    count = batch['mask'].sum()
    real = (batch['mask'] * batch['targets']).sum() / count
    noise = (batch['mask'] * batch['features'][..., 0]).sum() / count
    slope, shift, momentum = 0.5, -1.0, 0.0
    for state, terms in zip(states[1:], reports, strict=True):
        for _ in range(2):
            critic = slope * (noise + shift - real) + 0.5 * slope**2
            momentum = (noise + shift - real) + slope + 0.5 * momentum
            slope -= 0.125 * momentum
        generator = slope * (noise + shift)
        shift -= 0.25 * slope
        assert_close(state.params, {'critic': {'slope': slope}, 'generator': {'shift': shift}}, 1e-12)
        assert_close(terms['critic'].total, critic * count, 1e-12)
        assert_close(terms['generator'].total, generator * count, 1e-12)
        assert_close(terms['gradient_norm/generator_loss'].total, abs(slope), 1e-12)
    sizes = [sum(x.size for x in jax.tree.leaves(s) if x.dtype == jnp.float64) for s in states[-1].opt_state]
    assert sizes == [1, 0]  # one momentum, of the critic's only parameter


def check_keys(steps):
    """Every loss call of a run has a key of its own; it hangs on the step and the micro-batch, and on nothing else."""
    two, other_two = [ragged_batch(0), ragged_batch(1)], [ragged_batch(2), ragged_batch(3)]
    states, _ = train(steps, Duel(), two, DUEL_RATES, accumulate=4)
    calls, keys = int(states[-1].extra['calls']), states[-1].extra['keys'].tolist()
    assert calls == 2 * (2 + 1) * 4 and len({tuple(key) for key in keys[:calls]}) == calls
    others, _ = train(steps, Duel(), other_two, DUEL_RATES, accumulate=4)
    assert others[-1].extra['keys'].tolist() == keys
    # Whoever goes on from step 1 has the keys that would have come.
    again, _ = train(steps, Duel(), two[1:], DUEL_RATES, state=states[1], accumulate=4)
    assert again[-1].extra['keys'].tolist() == keys


def check_counts_that_are_drawn(steps):
    """Where the key says what counts, counting and adding up draw the same."""
    batch = ragged_batch() | {'features': np.zeros((ROWS, LENGTH, FEATURES))}
    _, (terms,) = train(steps, Masked(), [batch], [sgd(0.0)], accumulate=4)
    count = terms['masked'].count
    assert_close(terms['masked'].total, count, 1e-12)  # y = bias = 1: the total is the count
    assert 0 < count < batch['mask'].sum()


def check_counting_is_free(steps):
    """The batch alone says what counts: no model runs a second time for it."""
    state = steps.init(Product(), [sgd(0.125)], 0.0, jax.eval_shape(ragged_batch), jax.random.key(0))
    for number in (1, 4):
        step = jax.jit(steps.make_step(Product(), [sgd(0.125)], accumulate=number))
        with jax.disable_jit(False):
            program = step.lower(state, {}, ragged_batch()).compile().as_text()
        assert program.count(' dot(') == 2  # one forwards, one backwards


def check_frozen(steps):
    """Frozen parameters are used, not trained, and no part of the state."""
    batch = ragged_batch()
    base = np.array([0.5, -1.0, 2.0])
    frozen = {'layer': {'base': jnp.array(base)}}
    (before, after), (terms,) = train(steps, Delta(), [batch], [sgd(0.125, momentum=0.9)], frozen)
    weights_gradient, bias_gradient = direct_gradient(base, 1.0, batch)
    assert_close(
        after.params, {'layer': {'delta': -0.125 * weights_gradient}, 'bias': 1 - 0.125 * bias_gradient}, 1e-12
    )
    assert_close(steps.mean_loss(terms), direct_loss(base, 1.0, batch), 1e-12)
    assert jax.tree.structure(after) == jax.tree.structure(before)


def check_average(steps):
    batches = [ragged_batch(seed) for seed in range(4)]
    states, _ = train(steps, Regression(), batches, [sgd(0.125)], average=0.9)
    average = jax.tree.map(np.asarray, states[0].params)
    for state in states[1:]:
        average = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, average, state.params)
        assert_close(state.average, average, 1e-12)


def check_plateau(steps):
    """A schedule that looks at the loss gets that of the whole batch, and each phase its own."""

    def rates_of(losses, rate):
        rates, lowest = [], np.inf
        for loss in losses:
            rate, lowest = (rate / 2 if loss >= lowest else rate), min(loss, lowest)
            rates.append(rate)
        return rates

    batches = [ragged_batch(seed) for seed in range(6)]
    falls = set()
    for task, optimizers in ((Regression(), PLATEAUS[:1]), (DUEL_ONCE, PLATEAUS)):
        for number in (1, 4):
            _, reports = train(steps, task, batches, optimizers, accumulate=number)
            terms = [('fit', 'rough')] if len(task.phases) == 1 else [('critic',), ('generator',)]
            names = ['learning_rate'] if len(task.phases) == 1 else [f'learning_rate/{of.loss}' for of in task.phases]
            for name, own, start in zip(names, terms, (0.125, 0.25), strict=False):
                losses = [sum(report[t].weight * report[t].total / report[t].count for t in own) for report in reports]
                wanted = rates_of(losses, start)
                assert_close([float(report[name].total) for report in reports], wanted, 1e-12)
                falls.add(len(set(wanted)))
    assert falls - {1, len(batches)}, 'rates fall, and not always'


def check_empty_batch(steps):
    """A batch in which nothing counts has loss 0 and moves nothing, not by momentum either: it is left out."""
    batches = [ragged_batch(), ragged_batch() | {'mask': np.zeros((ROWS, LENGTH))}]
    for number in (1, 4):
        states, reports = train(
            steps, Regression(), batches, [sgd(0.125, momentum=0.9)], average=0.9, accumulate=number
        )
        assert_close((steps.mean_loss(reports[1]), reports[1]['gradient_norm'].total), (0.0, 0.0), 0)
        assert [float(terms['skipped'].total) for terms in reports] == [0, 1]
        for name in ('params', 'opt_state', 'average'):
            assert_close(getattr(states[2], name), getattr(states[1], name), 0)


def check_types(steps, dtype=jnp.bfloat16):
    """A step gives back the types it was given, so that it compiles once."""
    shapes = jax.eval_shape(ragged_batch)
    optimizers = [sgd(0.125, momentum=0.9)]
    for options in ({'average': 0.9}, {'average': 0.9, 'accumulate': 4}):
        state = steps.init(Regression(dtype), optimizers, 0.9, shapes, jax.random.key(0))
        step = jax.jit(steps.make_step(Regression(dtype), optimizers, **options))
        new, terms = jax.eval_shape(step, state, {}, shapes)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
        assert {x.dtype for x in jax.tree.leaves(new.params)} == {jnp.dtype(dtype)}
        assert new.step.dtype == new.data_offset.dtype == jnp.int32 and terms['fit'].total.shape == ()


CHECKS = [
    check_one_step,
    check_accumulation,
    check_cut,
    check_phases,
    check_keys,
    check_counts_that_are_drawn,
    check_counting_is_free,
    check_frozen,
    check_average,
    check_plateau,
    check_empty_batch,
    check_types,
]


@pytest.mark.parametrize('by_operation', [False, True])  # True: as the mutants below are run
@pytest.mark.parametrize('check', CHECKS)
def test_the_step(check, by_operation, float64):
    with jax.disable_jit(by_operation):
        check(jaxlab.step)


def test_accumulation_in_float32():
    check_accumulation(jaxlab.step, np.float32, 1e-6)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.float64])
def test_types_of_parameters(dtype, float64):
    check_types(jaxlab.step, dtype)


def test_a_gradient_that_is_not_finite_is_shown(float64):
    batch = ragged_batch()
    batch['targets'][0, 0], batch['mask'][0, 0] = np.inf, 1
    _, (terms,) = train(jaxlab.step, Regression(), [batch], [sgd(0.125)])
    assert not np.isfinite(terms['fit'].total) and not np.isfinite(terms['gradient_norm'].total)


# --- mutants: what could go wrong unnoticed, done on purpose ---------------------------------------------------------

MUTANTS = {  # the check that goes red: (what is wrong, the text of step.py, what stands there instead)
    check_accumulation: [
        ('a mean of means', 'total / counts[name] for', 'total / jnp.maximum(terms[name].count, 1) / number for'),
        ('counts of one micro-batch', 'term.count.sum()', 'term.count[-1]'),
        ('gradients of one micro-batch', 'jax.tree.map(jnp.add, gradients, more)', 'more'),
        ('totals of one micro-batch', 'total.sum() for name', 'total[-1] for name'),
        (
            'every micro-batch the first',
            'items = (jnp.arange(number), micro_batches)',
            'items = (jnp.arange(number), jax.tree.map(lambda x: x[:1].repeat(number, 0), micro_batches))',
        ),
    ],
    check_one_step: [
        ('a sum that is not divided', 'weights[name] * total / counts[name]', 'weights[name] * total'),
        ('a sum divided twice', 'Term(totals[name], counts', 'Term(totals[name] / counts[name], counts'),
        ('a weight forgotten', '(weights[name] * total / counts', '(total / counts'),
    ],
    check_cut: [
        (
            'rows cut into blocks',
            'x.reshape(-1, number, *x.shape[1:]).swapaxes(0, 1)',
            'x.reshape(number, -1, *x.shape[1:])',
        ),
        ('axes of the cut swapped', '*x.shape[1:]).swapaxes(0, 1)', '*x.shape[1:])'),
    ],
    check_phases: [
        (
            'everything trained in each phase',
            'split(params, phase.trains)\n                turn',
            "split(params, '.*')\n                turn",
        ),
        ('old parameters for later phases', 'trained, rest = split(params,', 'trained, rest = split(state.params,'),
        ('phases not repeated', 'range(phase.repeat)', 'range(1)'),
        ('momentum forgotten', '(*opt_state[:number], after, *opt_state[number + 1:])', 'opt_state'),
    ],
    check_keys: [
        ('the key of every step the same', 'jax.random.fold_in(state.key, state.step)', 'state.key'),
        ('the key of two phases the same', 'fold_in(jax.random.fold_in(key, number), turn)', 'fold_in(key, turn)'),
        ('the key of every turn the same', 'fold_in(jax.random.fold_in(key, number), turn)', 'fold_in(key, number)'),
        ('the key of micro-batches the same', 'jax.random.fold_in(key, index)', 'key'),
        ('extra left behind', 'more, (totals, extra) =', 'more, (totals, _) ='),
    ],
    check_counts_that_are_drawn: [
        (
            'counted with another key',
            'terms_of(trained, extra, item)[0]',
            'terms_of(trained, extra, (0 * item[0], item[1]))[0]',
        ),
    ],
    check_frozen: [
        ('frozen parameters trained', 'trained, rest = split(params,', 'trained, rest = split(merge(params, frozen),'),
        ('frozen parameters not used', 'merge(rest, frozen)', "merge(rest, {'layer': {'base': 0.0}})"),
    ],
    check_average: [
        ('the average of old parameters', 'averaged, found)', 'averaged, state.params)'),
        ('the average the wrong way round', 'old + (1 - average) * (new - old)', 'old + average * (new - old)'),
    ],
    check_plateau: [
        (
            'the loss of one term',
            'value, norm = (mean_loss(terms), ',
            'value, norm = ([t.total / t.count for t in terms.values()][-1], ',
        ),
        (
            'a sum for a loss',
            'value, norm = (mean_loss(terms), ',
            'value, norm = (sum((t.total for t in terms.values())), ',
        ),
        ('the state of a schedule forgotten', '(*opt_state[:number], after, *opt_state[number + 1:])', 'opt_state'),
    ],
    check_empty_batch: [
        ('nothing divided by nothing', 'jnp.where(count > 0, count, 1)', 'count'),
        ('an update from nothing', '[*counted, some]', '[*counted, jnp.array(True)]'),
    ],
    check_types: [
        (
            'gradients in another type',
            'jax.tree.map(jnp.zeros_like, trained)',
            'jax.tree.map(lambda x: jnp.zeros(x.shape), trained)',
        ),
    ],
    check_counting_is_free: [
        ('counts that hang on the model', 'term.count.sum()', '(term.count + 0 * term.total).sum()'),
    ],
}


def mutant(old, new):
    """Returns step.py as a module, with one text replaced; how it is laid out does not matter."""
    source = ast.unparse(ast.parse(Path(jaxlab.step.__file__).read_text('utf-8')))
    assert source.count(old) == 1, f'step.py has changed: say anew what to break instead of {old!r}'
    module = ModuleType('mutant')
    exec(compile(source.replace(old, new), 'mutant of step.py', 'exec'), module.__dict__)
    return module


@pytest.mark.parametrize(
    ('check', 'old', 'new'),
    [pytest.param(check, *texts, id=what) for check, mutants in MUTANTS.items() for what, *texts in mutants],
)
def test_mutants_are_caught(check, old, new, float64, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mutant', ModuleType('mutant'))  # dataclasses look their module up
    broken = mutant(old, new)
    with pytest.raises((AssertionError, TypeError, ValueError)):  # JAX refuses trees and types that do not fit
        with jax.disable_jit():  # operation by operation: all mutants share them, and none is compiled as a whole
            check(broken)
