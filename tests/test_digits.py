"""What a newcomer gets: each default config, started as from a shell, on the digits that scikit-learn brings along.

The test part (359 pictures) is read once, by the verb; the configs were chosen by the validation part.
"""

import json
from pathlib import Path

import pytest

from tests.experiments import ROOT, run

LEAST = {'mlp': 0.97, 'cnn': 0.985, 'resnet': 0.985, 'vit': 0.96}  # accuracy on the test part


@pytest.mark.parametrize('name', LEAST)
def test_a_default_config_learns_digits(name: str, tmp_path: Path):
    workdir, cache = tmp_path / 'run', tmp_path / 'cache'
    code, output = run(f'--config={ROOT}/configs/{name}.py', f'--workdir={workdir}', cache=cache)
    assert code == 0 and 'predict' in output, output
    code, output = run('evaluate', f'--workdir={workdir}', '--split=test', '--json', cache=cache)
    found = json.loads(output.splitlines()[-1])
    assert code == 0 and found['examples'] == 359, output
    assert found['accuracy'] >= LEAST[name]


def test_pictures_of_files_are_predicted(tmp_path: Path):
    """From training to an answer about a file, at :tiny; a file that is none is named, and the others are answered."""
    from PIL import Image

    from jaxlab.data.sources import digits

    workdir, cache, folder = tmp_path / 'run', tmp_path / 'cache', tmp_path / 'pictures'
    code, output = run(f'--config={ROOT}/configs/mlp.py:tiny', f'--workdir={workdir}', cache=cache)
    assert code == 0, output
    test = digits.make().parts['test']
    folder.mkdir()
    for n in range(40):
        Image.fromarray(test.inputs[n, ..., 0]).save(folder / f'{n:02}_{test.targets[n]}.png')
    (folder / 'notes.txt').write_text('no picture')
    code, output = run('predict', str(folder), f'--workdir={workdir}', '--top=2', '--json', cache=cache)
    assert code == 2 and 'notes.txt" is no picture' in output
    found = json.loads(output.splitlines()[-1])
    right = [answer[0]['class'] == Path(name).stem[-1] for name, answer in found.items()]
    assert len(right) == 40 and sum(right) >= 34
    assert all(len(answer) == 2 and answer[0]['probability'] >= answer[1]['probability'] for answer in found.values())


def test_a_number_of_a_row_is_predicted(tmp_path: Path):
    workdir, cache = tmp_path / 'run', tmp_path / 'cache'
    flags = [f'--config={ROOT}/configs/mlp.py:diabetes', f'--workdir={workdir}', '--config.epochs=30']
    code, output = run(*flags, cache=cache)
    assert code == 0, output
    row = '59,2,32.1,101,157,93.2,38,4,4.8598,87'
    code, output = run('predict', row, f'--workdir={workdir}', cache=cache)
    assert code == 0 and 100 < float(output.split()[-1]) < 300, output
    code, output = run('predict', '1,2,3', f'--workdir={workdir}', cache=cache)
    assert code == 2 and 'a row of 10 numbers is wanted' in output
    code, output = run('evaluate', f'--workdir={workdir}', '--split=test', '--json', cache=cache)
    assert json.loads(output.splitlines()[-1])['r2'] > 0.3
