"""A trained experiment, used from its workdir alone: other devices, no config file, no data; and asked for what it
cannot do."""

import dataclasses
import json
import math
import shutil

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import experiment, workdir
from jaxlab import step as steps
from jaxlab.config import spec
from jaxlab.errors import UserError
from jaxlab.main import main
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.train import train
from tests.experiments import run, tiny, write_corpus


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('experiment')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        corpus = write_corpus(folder / 'corpus')
        config = tiny(corpus, mesh__data=2, steps=30, log__sample_every=0, checkpoint__every=10, evaluate__every=0)
        train(config, folder / 'run', [])
        yield folder


@pytest.fixture(scope='module')
def lab(place):
    return jaxlab.load(place / 'run')


def test_text_in_text_out(lab):
    one, two, other = (lab('the cat', tokens=30, seed=seed) for seed in (0, 0, 1))
    assert one == two != other and one
    assert ''.join(lab.stream('the cat', tokens=30, seed=0)) == one
    assert lab('the', tokens=10, temperature=0.0) == lab('the', tokens=10, temperature=0.0, seed=5)
    assert len(lab('', tokens=150)) > 64, 'longer than the context'


def test_probabilities(lab):
    found = lab.probabilities('the ca', top=500)
    assert np.isclose(sum(p for _, p in found), 1, atol=1e-5)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


def test_evaluate_reads_all_of_the_held_out_part(lab, place):
    found = lab.evaluate()
    assert found['loss'] < np.log(257) and found['bits_per_byte'] < 8
    assert lab.evaluate(batches=1) != found
    with pytest.raises(UserError, match='held_out'):
        lab.evaluate('heldout')


def test_loads_on_other_meshes(lab, place):
    for mesh in ({'data': 2}, {'fsdp': 4}, {'tensor': 8}):
        other = jaxlab.load(place / 'run', mesh=mesh)
        assert np.isclose(other.evaluate()['loss'], lab.evaluate()['loss'], rtol=1e-5)


def test_works_without_its_data_and_elsewhere(lab, place, tmp_path):
    shutil.copytree(place / 'run', tmp_path / 'moved')
    written = lab('cat', tokens=20)
    code, output = run(
        'generate', f'--workdir={tmp_path / "moved"}', '--prompt=cat', '--tokens=20', cache=tmp_path / 'none'
    )
    assert code == 0 and output == f'cat{written}\n'


def test_earlier_steps(place):
    assert jaxlab.load(place / 'run').step == 30
    assert jaxlab.load(place / 'run', step=20).step == 20
    assert jaxlab.load(place / 'run', step='best').step == 30  # the only one that was evaluated
    with pytest.raises(UserError, match='there are 20, 30'):
        jaxlab.load(place / 'run', step=7)


def test_verbs_on_the_screen(place, capsys):
    assert main(['evaluate', f'--workdir={place / "run"}', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['step'] == 30 and found['split'] == 'held_out' and found['bits_per_byte'] > 0
    assert main(['evaluate', f'--workdir={place / "run"}', '--step=20']) == 0
    assert 'bits_per_byte' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['generate', '--prompt=' + 'long ' * 50], 'looks back on 64'),
        (['generate', '--tokens=0'], 'tokens=0'),
        (['generate', '--temperature=-1'], 'temperature=-1'),
        (['generate', '--top_p=0'], 'top_p=0'),
        (['generate', '--step=7'], 'no checkpoint of step 7'),
        (['generate', '--step=bst'], '"bst" is no step: a number, best or newest is'),
        (['generate', '--config.mesh.tensor=999'], 'wants 999 devices'),
        (['evaluate', '--split=test'], 'held_out'),
        (['evaluate', '--batchs=1'], '--batches'),
    ],
)
def test_mistakes_are_one_sentence(place, capsys, arguments, says):
    verb, *flags = arguments
    assert main([verb, f'--workdir={place / "run"}', *flags]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) <= 2


def test_a_workdir_may_not_run_code_of_its_own(place, tmp_path, capsys):
    shutil.copytree(place / 'run', tmp_path / 'run')
    file = tmp_path / 'run' / 'config.json'
    file.write_text(file.read_text('utf-8').replace('"gpt"', '"my_lab.evil"'), 'utf-8')
    assert main(['generate', f'--workdir={tmp_path / "run"}']) == 2
    assert '--allow_import=my_lab' in capsys.readouterr().err
    assert main(['generate', f'--workdir={tmp_path / "run"}', '--allow_import=my_lab']) == 2
    assert 'no module my_lab' in capsys.readouterr().err


# --- what the data say: full batches and epochs ----------------------------------------------------------------------


def small(place, **overrides):
    config = tiny(place / 'corpus', data__length=512, batch_size=4, mesh__data=2, **overrides)
    mesh = make_mesh(config.mesh)
    return mesh, *experiment.make_data(config, mesh)


def check_full_batch(place):
    """A full batch has the rows of an epoch of small batches, and their mean gradient, however it is cut."""
    _, parts, config = small(place)
    count = round(4 * parts.batches_per_epoch)
    assert count % 4 == 0 and count % 10, 'whole small batches, and rows that pad the full one'
    _, whole, resolved = small(place, full_batch=True, accumulate=5)
    assert resolved.batch_size == 10 * math.ceil(count / 10) and whole.batches_per_epoch == 1
    every, small_ones = whole.batch(0), [parts.batch(n) for n in range(count // 4)]
    together = {name: np.concatenate([one[name] for one in small_ones]) for name in every}
    counted = every['tokens'][every['mask'].any(axis=1)]
    assert sorted(map(bytes, counted)) == sorted(map(bytes, together['tokens']))
    assert all((whole.batch(7)[name] == every[name]).all() for name in every), 'the same at every step'

    config.precision.update(compute='float64', parameters='float64')
    config.model.update(layers=1, width=16, heads=2)
    task = experiment.make_task(config, parts.info)
    params = layout.unbox(task.init(jax.random.key(0), every)[0])

    @jax.jit
    def mean(params, micro_batches):
        return steps.gradient(task.loss, params, {}, {}, micro_batches, jax.random.key(0))[0]

    gradients = [mean(params, steps.cut(one, 1)) for one in small_ones]
    wanted = jax.tree.map(lambda *each: sum(each) / len(each), *gradients)
    found = mean(params, steps.cut(every, 5))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13), found, wanted)


def test_a_full_batch_has_the_gradient_of_an_epoch(place, float64):
    check_full_batch(place)


def test_rows_that_pad_a_full_batch_do_not_count(place, float64, monkeypatch):
    same_rows = lambda data, rows, count: dataclasses.replace(data, batch=lambda n, one=data.batch(0): one)  # noqa: E731
    monkeypatch.setattr(experiment, 'whole', same_rows)  # mutant: the first rows of the next epoch come again
    with pytest.raises(AssertionError):
        check_full_batch(place)


def test_gradient_descent(place, tmp_path):
    """Trains, goes on and is evaluated; and what it is does not hang on how many rows there are."""
    flags = dict(optimizer=spec('optim.gradient_descent'), full_batch=True, accumulate=5)
    config = tiny(place / 'corpus', data__length=512, mesh__data=2, steps=2, log__sample_every=0, **flags)
    train(config, tmp_path / 'run', [])
    config = config.copy_and_resolve_references()
    config.steps = 3
    train(config, tmp_path / 'run', [])
    record = workdir.read_config(tmp_path / 'run')
    assert record.full_batch and record.batch_size % 10 == 0
    assert workdir.default('', record) == workdir.default('', config)
    lab = jaxlab.load(tmp_path / 'run')
    assert lab.step == 3 and lab.evaluate()['loss'] < 10


def test_epochs_say_how_many_steps(place):
    for epochs in (0.5, 1, 2.3):
        _, data, config = small(place, epochs=float(epochs))
        assert config.steps == math.ceil(epochs * data.batches_per_epoch)
    assert f'batches in an epoch: {data.batches_per_epoch:,.5g}' in data.summary
    assert small(place, epochs=1e-9)[2].steps == 1
    assert small(place)[2].steps == tiny(place / 'corpus').steps


@pytest.mark.parametrize('key', ['epochs', 'full_batch'])
def test_data_without_an_end(key, place, monkeypatch):
    build = experiment.configs.build
    endless = lambda *a, **k: dataclasses.replace(build(*a, **k), batches_per_epoch=math.inf)  # noqa: E731
    monkeypatch.setattr(experiment.configs, 'build', endless)
    with pytest.raises(UserError, match=f'config.{key}: these data have no end'):
        small(place, **{key: {'epochs': 2.0, 'full_batch': True}[key]})
    assert 'epoch' not in small(place)[1].summary
