"""The doctor: what it says, its exit code, its sheets, and data that it cannot look at."""

import json

import numpy as np
import pytest
from PIL import Image

import jaxlab.main
from jaxlab.data.sources import Arrays, Source, digits
from tests.experiments import ROOT

DIGITS = ['doctor', '--config=configs/mlp.py:tiny']


@pytest.fixture
def broken(monkeypatch):
    """Digits, of which some of the test part are in the training part."""
    found = digits.make()
    train, test = found.parts['train'], found.parts['test']
    test = Arrays(np.concatenate([test.inputs, train.inputs[:3]]), np.concatenate([test.targets, train.targets[:3]]))
    made = Source('digits', {'train': train, 'test': test}, found.labels, found.fingerprint)
    monkeypatch.setattr(digits, 'make', lambda: made)


def test_a_sound_data_set(tmp_path, capfd):
    assert jaxlab.main.main([*DIGITS, f'--folder={tmp_path}/new/sheets']) == 0
    said = capfd.readouterr().out
    for words in (
        'train: 1,438 examples',
        'test: 359',
        '[8, 8, 1] of uint8, values 0 to 255',
        '10 classes',
        'nothing is wrong',
    ):
        assert words in said
    for part in ('train', 'test'):
        file = tmp_path / 'new/sheets' / f'{part}.png'
        assert str(file) in said and Image.open(file).size == (662, 772)
    before = file.read_bytes()
    assert jaxlab.main.main([*DIGITS, f'--folder={tmp_path}/new/sheets']) == 0 and file.read_bytes() == before
    assert jaxlab.main.main([*DIGITS, f'--folder={tmp_path}/new/sheets', '--config.seed=1']) == 0
    assert file.read_bytes() != before


def test_a_broken_one_has_exit_code_1(broken, capfd):
    assert jaxlab.main.main([*DIGITS, '--folder=']) == 1
    said = capfd.readouterr().out
    assert (
        'wrong: examples of test that are in train as well: 3 (train 0 = test 359, ' in said and 'nothing' not in said
    )


def test_json_is_one_object(broken, tmp_path, capfd):
    assert jaxlab.main.main([*DIGITS, '--json', f'--folder={tmp_path}']) == 1
    found = json.loads(capfd.readouterr().out)
    assert [(one['kind'], one['part'], one['count'], one['wrong']) for one in found['findings']] == [
        ('shared', 'test', 3, True)
    ]
    assert found['parts']['train']['examples'] == sum(found['parts']['train']['counts']) == 1438
    assert found['sheets'] == [str(tmp_path / 'train.png'), str(tmp_path / 'test.png')]


def test_names_do_not_command_the_terminal(monkeypatch, tmp_path, capfd):
    found = digits.make()
    labels = ('\x1b[2J\nnothing is wrong', *found.labels[1:])
    monkeypatch.setattr(digits, 'make', lambda: Source('\x1b[31m', {'train': found.parts['test']}, labels, 'f' * 64))
    assert jaxlab.main.main([*DIGITS, f'--folder={tmp_path}']) == 0
    said = capfd.readouterr().out
    assert '\x1b' not in said and said.count('\nnothing is wrong') == 1


def test_a_table_has_no_sheets(tmp_path, capfd):
    assert jaxlab.main.main(['doctor', '--config=configs/mlp.py:diabetes', f'--folder={tmp_path}', '--most=50']) == 0
    said = capfd.readouterr().out
    assert 'train: 354 examples, of which 45 were looked at' in said and 'targets ' in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--config=configs/transformer.py:tiny'], 'and config.data.name=text is none of these.'),
        ([], '--config'),
        ([DIGITS[1], '--most=-1'], '--most=-1: at least 0'),
        ([DIGITS[1], '--config.data.source.name=digts'], 'Did you mean "digits"'),
        ([DIGITS[1], '--folder=README.md'], '--folder=README.md: nothing can be written there'),
    ],
)
def test_mistakes_are_one_sentence(arguments, message, capfd):
    assert jaxlab.main.main(['doctor', *arguments]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count('\n') <= 2


def test_texts_are_looked_at_too(tmp_path, capsys):
    (tmp_path / 'a.tsv').write_text('text\tlabel\n' + ''.join(f'text {n}\t{n % 2}\n' for n in range(30)))
    (tmp_path / 'b.tsv').write_text('text\tlabel\ntext 3\t1\ntext 4\t1\nnew text\t0\n')
    flags = [f'--config.data.source.{part}path={tmp_path}/{name}.tsv' for part, name in (('', 'a'), ('test_', 'b'))]
    assert jaxlab.main.main(['doctor', f'--config={ROOT}/configs/bert_finetune.py:texts', *flags]) == 1
    said = capsys.readouterr().out
    assert 'train: 30 examples' in said and 'examples of test that are in train as well: 2' in said
    assert 'the same inputs with two targets: 1' in said
    assert jaxlab.main.main(['doctor', f'--config={ROOT}/configs/bert_finetune.py:tagging_tiny']) == 2
    assert 'config.data.name=tagging is none of these' in capsys.readouterr().err
