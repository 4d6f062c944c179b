"""A trained experiment, used from its workdir alone: other devices, no config file, no data; and asked for what it
cannot do."""

import json
import shutil

import numpy as np
import pytest

import jaxlab
from jaxlab.errors import UserError
from jaxlab.main import main
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
