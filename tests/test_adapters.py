"""LoRA: the base is frozen, an argument of the step and never saved; adapters begin as nothing, and can be merged."""

# l layers of a stack, i inputs, o outputs, r rank

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxlab
from jaxlab import adapters, blueprint, config_text, experiment
from jaxlab import config as configs
from jaxlab import step as steps
from jaxlab.config import build, spec
from jaxlab.models import gpt
from jaxlab.nn import adapter
from jaxlab.observers.tracker import Tracker
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.parameter_groups import merge
from jaxlab.replay import replay
from jaxlab.tasks.language_model import LanguageModel
from jaxlab.train import train
from tests.experiments import ROOT, Recorder, message, parameters, rows, tiny
from tests.test_parallel import INFO, MESHES, MODELS, VOCABULARY, WRITTEN, batch

KEY = jax.random.key(0)
SMALL = dict(
    steps=8,
    batch_size=8,
    log__every=1,
    log__sample_every=4,
    evaluate__every=4,
    evaluate__batches=1,
    checkpoint__every=2,
    steps_per_call=1,
    average=0.0,
    mesh__data=1,
    model__width=32,
)


def equal(one, other):
    return jax.tree.structure(one) == jax.tree.structure(other) and jax.tree.all(
        jax.tree.map(lambda x, y: np.array_equal(x, y), one, other)
    )


@pytest.fixture(scope='module')
def base(corpus, tmp_path_factory):
    """A workdir that a run has left: what adapters stand beside."""
    folder = tmp_path_factory.mktemp('base') / 'run'
    assert train(tiny(corpus, **SMALL), folder, []) == 0
    return folder


def adapted(corpus, base, **more):
    return tiny(
        corpus, **SMALL | {'init_from': str(base), 'adapters__rank': 2, 'optimizer__learning_rate': 3e-3} | more
    )


def test_a_run_of_adapters_is_a_run(corpus, base, tmp_path):
    """It trains, evaluates, samples, is loaded merged and replayed, and its base stays as it is."""
    before = jaxlab.load(base).params
    recorder = Recorder()
    assert train(adapted(corpus, base, average=0.5), tmp_path / 'run', [Tracker(), recorder]) == 0
    losses = [row['train/loss'] for _, row in recorder.rows if 'train/loss' in row]
    assert losses[-1] < losses[0]
    assert equal(jaxlab.load(base).params, before), 'the base is as it was'
    lab = jaxlab.load(tmp_path / 'run')
    assert jax.tree.structure(lab.params) == jax.tree.structure(before) and not equal(lab.params, before)
    evaluated = [row for _, row in recorder.rows if 'eval/held_out/loss' in row][-1]
    assert lab.evaluate(batches=1)['loss'] == pytest.approx(evaluated['eval/held_out/loss'], rel=1e-5)
    assert lab('the', tokens=3) and len(recorder.samples) == 2
    found = replay(tmp_path / 'run', 7)
    assert found.bitwise and found.finite and found.anatomy['loss'].gradients['stack/layer_0/mlp/up'] > 0


@pytest.mark.parametrize('scan', [False, True])
def test_at_first_it_is_the_base_bit_for_bit(float64, scan):
    task, whole, _, beside = written('gpt2', scan=scan)
    logits = jax.jit(lambda params: task.predict(params, {}, batch())['logits'])
    assert np.array_equal(logits(whole), logits(merge(whole, beside)))
    assert not np.array_equal(logits(whole), logits(merge(whole, moved(beside))))


def written(model='gpt2', rank=2, patterns=('.*',), dtype=jnp.float64, **arguments):
    """Returns (a task, its parameters, the Frozen, adapters with their scales as they are born)."""
    task = LanguageModel(gpt.make(INFO, dtype, dtype, **(MODELS[model] | arguments)))
    config = configs.experiment()
    config.adapters.update(rank=rank, patterns=patterns)
    mesh = make_mesh({})
    boxed = jax.eval_shape(task.init, KEY, batch())[0]
    trained, frozen = adapters.draw(config, task, boxed, mesh, 'head')
    return (
        task,
        layout.unbox(task.init(KEY, batch())[0]),
        frozen,
        frozen.with_scales(layout.unbox(trained.init(KEY, batch())[0])),
    )


def moved(beside):
    """Adapters some way from birth: no B is 0."""
    draw = np.random.default_rng(2)

    def one(path, leaf):
        name = layout.path_name(path)
        return jnp.asarray(0.01 * draw.normal(size=leaf.shape), leaf.dtype) if name.endswith(adapter.B) else leaf

    return jax.tree_util.tree_map_with_path(one, beside)


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize('scan', [False, True])
def test_merged_is_unmerged(model, scan, **others):
    task, whole, _, beside = written(model, scan=scan, dtype=jnp.float32, **others)
    beside = moved(beside)
    logits = jax.jit(lambda params: task.predict(params, {}, batch())['logits'][..., :VOCABULARY])
    wanted, before = logits(merge(whole, beside)), logits(whole)
    found = logits(adapters.merged(whole, beside))
    scale = np.abs(wanted).max()
    assert np.abs(wanted - before).max() > 1e-2 * scale
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * scale)


def test_a_scanned_stack_is_adapted_layer_by_layer():
    """By the names of axes: a stack's bias has two, and is no matrix."""
    _, _, _, beside = written(scan=True, dtype=jnp.float32)
    flat = flatten_dict(beside, sep='/')
    up = 'stack/layers/mlp/up/kernel'
    assert flat[up + adapter.A].shape == (2, 16, 2) and flat[up + adapter.B].shape == (2, 2, 64)
    assert flat[up + adapter.SCALE].shape == (2,)
    assert not [name for name in flat if 'bias' in name or 'norm' in name]
    assert flat['token_embedding/table' + adapter.A].shape == (24, 2)


def test_every_expert_has_an_adapter_of_its_own():
    experts = dict(experts=4, mlp_width=8, layers=1)
    _, _, _, beside = written(dtype=jnp.float32, **experts)
    flat = flatten_dict(beside, sep='/')
    up = 'stack/layer_0/mlp/experts/up/kernel'
    assert flat[up + adapter.A].shape == (4, 16, 2) and flat[up + adapter.B].shape == (4, 2, 8)
    test_merged_is_unmerged('gpt2', True, **experts)


def test_convolutions_have_adapters():
    w, a, b = np.ones((3, 3, 4, 5)), np.full((3, 3, 4, 2), 0.5), np.full((2, 5), 0.25)
    assert np.allclose(adapter.adapted(w, a, b, np.float32(2)), 1 + 2 * 2 * 0.125)


def test_the_state_saved_is_small():
    """GPT-2 with rank 4 on all matrices: parameters, optimizer and all."""

    def saved(**more):
        config = config_text.load(f'{ROOT}/configs/transformer.py:gpt2')[0]
        config.model.vocabulary = 50257
        config.update(init_from='somewhere', **more)
        config = configs.check(config)
        task = experiment.make_task(config, {'vocabulary': 50257, 'length': 1024})
        shapes = {
            name: jax.ShapeDtypeStruct((8, 1024), np.int32) for name in ('tokens', 'positions', 'segments', 'targets')
        }
        shapes |= {'mask': jax.ShapeDtypeStruct((8, 1024), np.float32)}
        mesh = make_mesh({})
        with jax.set_mesh(mesh):
            plan = blueprint.draw(config, task, shapes, mesh)
        state = plan.abstract.replace(key=plan.abstract.step)
        return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state)), plan

    few, plan = saved(adapters={'rank': 4})
    all_of_it, _ = saved()
    assert 0.001 < few / all_of_it < 0.03
    matrices = [name for name in flatten_dict(plan.frozen.base, sep='/') if name.endswith(('kernel', 'table'))]
    assert {name + adapter.SCALE for name in matrices} == set(plan.frozen.scales)


def losses_and_gradients(model, written_as, mesh, accumulate=1, learning_rate=1e-3):
    """Trains adapters for three steps on a mesh, in 64 bits."""
    task, whole, frozen, beside = written(model, **(WRITTEN[written_as]))
    config = configs.experiment()
    config.adapters.rank = 2
    devices = make_mesh(mesh)
    with jax.set_mesh(devices):
        boxed = jax.eval_shape(task.init, KEY, batch())[0]
        trained, frozen = adapters.draw(config, task, boxed, devices, 'head')
        names = layout.names(jax.eval_shape(trained.init, KEY, batch())[0])
        node = spec('optim.momentum', learning_rate=learning_rate, clip=0.0, schedule=spec('schedules.constant'))
        optimizer = build(node, names, 3, key='optimizer')
        state = steps.init(trained, [optimizer], 0.0, batch(), jax.random.key(0))
        params = jax.tree.map(lambda new, old: new.astype(old.dtype), parts(moved(beside), scales=False), state.params)
        state = state.replace(params=params)
        shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, devices, frozen.shardings)
        step = steps.make_step(task, [optimizer], accumulate=accumulate)
        step = jax.jit(step, out_shardings=(shardings, None))
        state, given = (
            jax.device_put(state, shardings),
            jax.device_put(merge(whole, parts(beside, scales=True)), frozen.shardings),
        )
        before = jax.device_get(given)
        placed = layout.place(batch(), layout.batch_sharding(devices))
        found, gradients = [], None
        for _ in range(3):
            state, terms = step(state, given, placed)
            found.append(float(steps.mean_loss(terms)))
            gradients = gradients or jax.device_get(state.opt_state)
        assert equal(jax.device_get(given), before), 'the base is frozen'
    return np.array(found), gradients


def parts(tree, scales):
    """Returns the scales of a tree, or all the rest of it."""
    flat = flatten_dict(tree, sep='/')
    return unflatten_dict({name: x for name, x in flat.items() if name.endswith(adapter.SCALE) == scales}, sep='/')


@pytest.mark.parametrize(
    ('model', 'written_as', 'mesh', 'accumulate'),
    [
        ('gpt2', 'unrolled', 'data 8', 2),
        ('gpt2', 'scanned', 'fsdp 8', 1),
        ('llama', 'scanned, all again', 'tensor 8', 1),
        ('llama', 'unrolled', 'data 2, fsdp 2, tensor 2', 2),
    ],
)
def test_a_mesh_changes_no_number(model, written_as, mesh, accumulate, float64):
    wanted, gradients = losses_and_gradients(model, written_as, {})
    assert wanted[-1] < wanted[0] - 1e-4
    found, found_gradients = losses_and_gradients(model, written_as, MESHES[mesh], accumulate)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
    for one, other in zip(jax.tree.leaves(found_gradients), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_outer_axes_are_split_as_those_of_the_base():
    config = configs.experiment()
    config.adapters.rank = 2
    task = written(dtype=jnp.float32)[0]
    mesh = make_mesh(MESHES['data 2, fsdp 2, tensor 2'])
    boxed = jax.eval_shape(task.init, KEY, batch())[0]
    trained, _ = adapters.draw(config, task, boxed, mesh, 'head')
    names = flatten_dict(layout.names(jax.eval_shape(trained.init, KEY, batch())[0]), sep='/')
    assert names['stack/layer_0/mlp/up/kernel' + adapter.A] == ('embed', 'rank')
    assert names['stack/layer_0/mlp/up/kernel' + adapter.B] == ('rank', 'mlp')


# --- going on --------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def killed_at(step):
    def look(n):
        if n == step:
            raise Killed

    return Recorder(look)


def test_a_killed_run_goes_on_bit_for_bit(corpus, base, tmp_path):
    config = adapted(corpus, base)
    train(config, tmp_path / 'whole', [Tracker()])
    with pytest.raises(Killed):
        train(config, tmp_path / 'run', [Tracker(), killed_at(5)])
    assert not (tmp_path / 'run' / 'checkpoints' / '8').exists()
    assert train(config, tmp_path / 'run', [Tracker()]) == 0
    assert rows(tmp_path / 'run') == rows(tmp_path / 'whole')
    assert parameters(tmp_path / 'run') == parameters(tmp_path / 'whole')


@pytest.fixture
def begun(corpus, base, tmp_path):
    """A run of two steps whose base is a copy, which may be changed."""
    shutil.copytree(base, tmp_path / 'base')
    assert train(adapted(corpus, tmp_path / 'base', steps=2), tmp_path / 'run', []) == 0
    return tmp_path


def test_a_base_that_is_gone_is_told(corpus, begun):
    shutil.rmtree(begun / 'base')
    told = message(train, adapted(corpus, begun / 'base', steps=4), begun / 'run', [])
    assert 'cannot be read' in told and str(begun / 'base') in told
    assert 'cannot be read' in message(jaxlab.load, begun / 'run')


def test_a_base_that_has_changed_is_told(corpus, begun):
    shutil.rmtree(begun / 'base')
    train(tiny(corpus, **SMALL | {'seed': 1, 'steps': 2}), begun / 'base', [])
    told = message(train, adapted(corpus, begun / 'base', steps=4), begun / 'run', [])
    assert 'are not those that the adapters' in told and 'differ' in told
    assert 'are not those that the adapters' in message(jaxlab.load, begun / 'run')
    assert 'are not those that the adapters' in message(replay, begun / 'run', 1)


def test_a_record_that_is_damaged_is_told(corpus, begun):
    (begun / 'run' / adapters.RECORD).write_text('{')
    assert 'missing or damaged' in message(train, adapted(corpus, begun / 'base', steps=4), begun / 'run', [])


@pytest.mark.parametrize('change', ['one bit', 'two places'])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_fingerprint_sees_every_bit(change, dtype):
    x = jax.random.normal(KEY, (7, 5)).astype(dtype)
    other = np.array(x)
    if change == 'one bit':
        other.view(np.uint8).reshape(-1)[11] ^= 1
    else:
        values = np.array(x)
        other[1, 2], other[3, 4] = values[3, 4], values[1, 2]
    assert adapters.fingerprints({'x': x}) == adapters.fingerprints({'x': jnp.array(x)})
    assert adapters.fingerprints({'x': x})['x'][:2] == [[7, 5], dtype]
    assert adapters.fingerprints({'x': x}) != adapters.fingerprints({'x': jnp.asarray(other)})


def test_a_new_head_is_trained_whole(tmp_path, monkeypatch):
    """Of a network of convolutions, whose statistics of batches go on from those of the base."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))

    def config_of(*overrides):
        config, _ = config_text.load(f'{ROOT}/configs/resnet.py:tiny')
        return configs.check(config_text.override(config, [('mesh.data', '1'), *overrides]))

    train(config_of(('steps', '2'), ('seed', '5')), tmp_path / 'base', [])
    on = ('init_from', str(tmp_path / 'base')), ('init_new_head', 'true'), ('adapters.rank', '2')
    train(config_of(('steps', '3'), *on), tmp_path / 'run', [])
    before, after = jaxlab.load(tmp_path / 'base'), jaxlab.load(tmp_path / 'run')
    changed = {
        name
        for name, leaf in flatten_dict(after.params, sep='/').items()
        if not np.array_equal(leaf, flatten_dict(before.params, sep='/')[name])
    }
    assert {'head/kernel', 'head/bias'} < changed and all(
        name.endswith('kernel') or name == 'head/bias' for name in changed
    )
    assert len(changed) > 3 and not equal(after.extra, before.extra)
    record = json.loads((tmp_path / 'run' / adapters.RECORD).read_text())
    assert not [name for name in record['parameters'] if name.startswith('head/')]


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_what_a_user_can_get_wrong(corpus, base):
    assert 'config.init_from names none' in message(tiny, corpus, adapters__rank=4)
    assert 'more than 0' in message(tiny, corpus, adapters__alpha=0.0)
    with jax.set_mesh(make_mesh({})):
        assert 'no regular expression' in message(written, patterns=('(',), dtype=jnp.float32)
        assert 'matches no matrix' in message(written, patterns=('final_norm',), dtype=jnp.float32)
        assert 'longer than rank=64' in message(written, rank=64, dtype=jnp.float32)


def test_adapters_are_part_of_what_an_experiment_is(corpus, base):
    plain = tiny(corpus, **SMALL | {'init_from': str(base)})
    few = adapted(corpus, base)
    assert config_text.identity(plain) != config_text.identity(few)
    assert config_text.identity(few) != config_text.identity(adapted(corpus, base, adapters__alpha=4.0))


# --- mutants ---------------------------------------------------------------------------------------------------------


def test_a_base_that_learns_is_noticed(corpus, base, tmp_path, monkeypatch):
    """A step that trains what it should leave: the state is no longer small, and merging shows it."""
    monkeypatch.setattr(adapter, 'of', lambda module, name: None)  # nothing uses the adapters
    recorder = Recorder()
    train(adapted(corpus, base, steps=2), tmp_path / 'run', [recorder])
    assert not any(row['train/gradient_norm'] for _, row in recorder.rows if 'train/gradient_norm' in row)


def test_a_forgotten_scale_is_noticed(monkeypatch):
    monkeypatch.setattr(adapters, 'adapted', lambda w, a, b, scale: adapter.adapted(w, a, b, jnp.ones_like(scale)))
    adapters.merged.clear_cache()
    try:
        with pytest.raises(AssertionError):
            test_merged_is_unmerged('gpt2', False)
    finally:
        adapters.merged.clear_cache()


def test_an_adapter_that_does_not_begin_at_zero_is_noticed(monkeypatch, float64):
    monkeypatch.setattr(jnp, 'zeros', jnp.ones)
    with pytest.raises(AssertionError):
        test_at_first_it_is_the_base_bit_for_bit(None, False)
