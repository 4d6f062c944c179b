"""`evaluate` of a classification: scores and a table on the screen, and in the workdir what the report draws."""

# b batch, h height, w width, c classes

import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from jaxlab import experiment
from jaxlab.config import experiment as defaults
from jaxlab.data.stream import Data, Split
from jaxlab.errors import UserError
from jaxlab.experiment import Experiment
from jaxlab.main import main
from jaxlab.observers.screen import cells
from jaxlab.parallel.mesh import make_mesh
from jaxlab.report import assessment
from jaxlab.trust import place
from jaxlab.verbs.evaluate import captions, table

LABELS = ['zero', 'one', '二', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
ROWS = 500
CLUELESS = 7  # every seventh row cannot be read


class Nearest:
    """Takes a digit for the class whose mean picture is the nearest."""

    def predict(self, params, extra, batch):
        x = batch['inputs'].reshape(len(batch['inputs']), 1, -1) / 255
        return {'logits': -jnp.sum((x - params) ** 2, axis=-1)}


def digits():
    found = load_digits()
    return (found.images * 15.9).astype(np.uint8)[..., None], found.target.astype(np.int32)


def part(pictures, targets, size=64):
    """A split of batches of `size`, of which the last is filled up."""
    more = -len(targets) % size
    rows = {
        'inputs': np.concatenate([pictures, np.zeros((more, *pictures.shape[1:]), pictures.dtype)]),
        'targets': np.concatenate([targets, np.full(more, -1, np.int32)]),
        'mask': np.concatenate([np.arange(len(targets)) % CLUELESS != 3, np.zeros(more)]).astype(np.float32),
    }
    batches = len(rows['mask']) // size
    counts = {'examples': int(rows['mask'].sum())}
    return Split(batches, lambda n: {name: x[n * size : (n + 1) * size] for name, x in rows.items()}, counts)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """An experiment without training: its parameters are means."""
    pictures, targets = digits()
    means = np.stack([pictures[-ROWS:][targets[-ROWS:] == c].mean(0).ravel() / 255 for c in range(10)])
    splits = {'validation': part(pictures[:ROWS], targets[:ROWS])}
    tests = {'test': part(pictures[ROWS : ROWS + 99], targets[ROWS : ROWS + 99])}
    info = {'classes': 10, 'labels': LABELS, 'shape': [8, 8, 1]}
    data = Data(None, splits, info, None, 'f1', 'digits', 1.0, tests)
    config = defaults()
    config.evaluate.scores = ('accuracy', 'cross_entropy', 'area')
    monkeypatch.setattr(experiment, 'make_data', lambda *arguments: (data, config))
    monkeypatch.setattr(experiment.workdirs, 'read_data', lambda workdir: {'fingerprint': 'f1'})
    made = Experiment(
        config, tmp_path, make_mesh({'data': 1}), Nearest(), None, jnp.asarray(means, jnp.float32), {}, 70
    )
    monkeypatch.setattr(experiment, 'load', lambda *arguments, **keywords: made)
    return made


def wanted():
    """What is right of the rows that can be read: their numbers, targets and guesses."""
    pictures, targets = digits()
    x = pictures.reshape(len(pictures), 1, -1) / 255
    means = np.stack([x[-ROWS:, 0][targets[-ROWS:] == c].mean(0) for c in range(10)])
    guesses = ((x[:ROWS] - means) ** 2).sum(-1).argmin(-1)
    numbers = np.flatnonzero(np.arange(ROWS) % CLUELESS != 3)
    return numbers, targets[numbers], guesses[numbers]


def test_the_verb(lab, tmp_path, capsys):
    numbers, targets, guesses = wanted()
    assert main(['evaluate', f'--workdir={tmp_path}']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f'validation at step 70 ({len(numbers)} examples)'
    assert lines[1].split() == ['accuracy', f'{np.mean(targets == guesses):.4f}']
    one = next(line.split() for line in lines if line.split()[:1] == ['二'])
    assert one[:3] == ['二', str((targets == 2).sum()), f'{np.mean(targets[guesses == 2] == 2):.4f}']
    assert lines[-1] == f'curves, calibration and the surest mistakes: {tmp_path}/evaluations/validation.json'
    ((found, sheet),) = assessment.read(tmp_path)
    assert (found['split'], found['step'], found['complete'], found['rows']) == ('validation', 70, True, len(numbers))
    assert found['scores'].keys() == {'accuracy', 'loss', 'roc_auc', 'average_precision'}
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (targets, guesses), 1)
    assert found['confusion'] == matrix.tolist()
    assert {one['number'] for one in found['wrong']} <= set(numbers[targets != guesses])
    assert sheet.is_file() and sorted(file.name for file in sheet.parent.iterdir()) == [
        'validation.json',
        'validation_wrong.png',
    ]


def test_the_sheet_shows_the_rows_that_are_named(lab, tmp_path):
    found, told, pictures = lab.assess()
    assert found['split'] == 'validation'
    every = digits()[0]
    assert len(pictures) == len(told['wrong']) > 5
    for one, picture in zip(told['wrong'], pictures):
        assert np.array_equal(picture, every[one['number']])
    main(['evaluate', f'--workdir={tmp_path}'])
    sheet = Image.open(io.BytesIO((tmp_path / 'evaluations' / 'validation_wrong.png').read_bytes()))
    assert sheet.size == (2 + 98 * 6, 2 + 109 * math.ceil(len(pictures) / 6))
    second = np.asarray(sheet.crop((100, 2, 196, 98)).convert('L'))
    assert np.array_equal(second, np.repeat(np.repeat(every[told['wrong'][1]['number']][..., 0], 12, 0), 12, 1))


def test_rows_by_the_number_among_those_that_count_are_noticed(lab, monkeypatch):
    """A row that cannot be read has a number, too; without it, the sheet shows other pictures than were wrong."""
    add = experiment.Probabilities.finish

    def counted(self, rows):
        return {'rows': {**add(self, rows)['rows'], 'number': np.arange(len(rows['number']))}}

    monkeypatch.setattr(experiment.Probabilities, 'finish', counted)
    _, told, _ = lab.assess()
    numbers, targets, guesses = wanted()
    assert not {one['number'] for one in told['wrong']} <= set(numbers[targets != guesses])


def test_evaluate_alone_finds_the_scores_alone(lab):
    found = lab.evaluate()
    assert found.keys() == {'split', 'accuracy', 'loss', 'roc_auc', 'average_precision', 'examples'}
    with pytest.raises(UserError, match='Did you mean "test"'):
        lab.evaluate('tst')


def test_the_test_part_and_some_batches(lab, tmp_path, capsys):
    assert main(['evaluate', f'--workdir={tmp_path}', '--split=test', '--batches=1', '--json']) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed['split'] == 'test' and 'examples' not in printed
    ((found, _),) = assessment.read(tmp_path)
    assert (found['split'], found['complete'], found['rows']) == ('test', False, np.sum(np.arange(64) % CLUELESS != 3))


def test_a_mesh_changes_nothing(lab, tmp_path):
    other = dataclasses.replace(lab, mesh=make_mesh({'data': 8}))
    (one, told, _), (two, told_there, _) = lab.assess(), other.assess()
    assert one == pytest.approx(two) and told['confusion'] == told_there['confusion']
    assert [row['number'] for row in told['wrong']] == [row['number'] for row in told_there['wrong']]


def test_a_model_that_never_errs_leaves_no_sheet_of_before(lab, tmp_path, monkeypatch):
    main(['evaluate', f'--workdir={tmp_path}'])
    right = lambda self, params, extra, batch: {'logits': 9.0 * jax.nn.one_hot(batch['targets'], 10)}  # noqa: E731
    monkeypatch.setattr(Nearest, 'predict', right)
    main(['evaluate', f'--workdir={tmp_path}'])
    ((found, sheet),) = assessment.read(tmp_path)
    assert found['wrong'] == [] and not sheet.exists()


def test_what_is_no_classification_writes_nothing(lab, tmp_path, monkeypatch):
    lab.config.evaluate.scores = ()
    monkeypatch.setattr(Nearest, 'predict', lambda self, params, extra, batch: {'values': batch['mask']})
    assert lab.assess()[1:] == ({}, [])
    assert main(['evaluate', f'--workdir={tmp_path}']) == 0 and not (tmp_path / 'evaluations').exists()


def test_a_workdir_that_cannot_be_written_is_evaluated(lab, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(place, 'write', full)
    assert main(['evaluate', f'--workdir={tmp_path}']) == 0
    told = capsys.readouterr().out
    assert 'accuracy' in told and 'could not be written (No space left on device)' in told


def test_captions_have_letters_that_a_sheet_has():
    wrong = [{'target': 0, 'said': 1}, {'target': 2, 'said': 0}]
    told = {'labels': ['cat', '狗', 'a\nb'], 'wrong': wrong}
    assert captions(told) == ['cat > 1', '2 > cat']
    assert captions({**told, 'labels': ['cat', 'dog', 'fox']}) == ['cat > dog', 'fox > cat']


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_columns_stand_under_one_another(lab, monkeypatch, language):
    monkeypatch.setenv('JAXLAB_LANG', language)
    _, told, _ = lab.assess()
    told['labels'][3] = 'a name that is far too long for a table\x1b[2J'
    told['classes'][4]['precision'] = None
    lines = table(told)
    assert len({cells(line) for line in lines}) == 1 and max(map(cells, lines)) < 100
    assert ('精确率' in lines[0]) == (language == 'zh')
    assert '\x1b' not in ''.join(lines) and lines[5].split()[2] == '-'


def test_nan_is_null_in_what_is_printed_and_written(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Nearest, 'predict', lambda *arguments: {'logits': jnp.full((64, 10), jnp.nan)})
    assert main(['evaluate', f'--workdir={tmp_path}', '--json']) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed['roc_auc'] is None
    ((found, _),) = assessment.read(tmp_path)
    assert found['rows'] == 0 and found['not_finite'] == len(wanted()[0]) and found['scores']['loss'] is None
