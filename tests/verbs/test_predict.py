"""`predict` of texts: from arguments, from files of lines, from what is piped in; and what `evaluate` shows of them."""

import io
import json
import sys

import numpy as np
import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab.config import experiment, spec
from jaxlab.main import main
from jaxlab.report import assessment
from jaxlab.train import train


def write_films(path, count=300):
    """Lines of five words; what is good has one of two good words in it."""
    draw = np.random.default_rng(0)
    lines = []
    for _ in range(count):
        words = draw.choice(['film', 'plot', 'actor', 'long', 'short', 'scene'], 5).tolist()
        good = int(draw.integers(2))
        words[int(draw.integers(5))] = str(draw.choice([['awful', 'dull'], ['great', 'lovely']][good]))
        lines.append(f'{" ".join(words)}\t{"good" if good else "bad"}\n')
    path.write_text('text\tlabel\n' + ''.join(lines))
    return path


def films(path):
    c = experiment()
    c.steps, c.batch_size = 60, 32
    c.model = spec('models.tests.words')
    c.task = spec('tasks.classification')
    c.data = spec(
        'data.text_examples',
        source=spec('data.sources.text_table', path=str(path)),
        processor=spec('data.processors.wordpiece', vocabulary=100),
        length=16,
    )
    c.optimizer = spec('optim.adamw', learning_rate=5e-2)
    c.evaluate.scores = ('accuracy', 'f1', 'matthews', 'area')
    c.evaluate.batches = 0
    return configs.check(c)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('films')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        assert train(films(write_films(folder / 'films.tsv')), folder / 'run', []) == 0
    return folder / 'run'


def test_a_text_is_answered_from_the_workdir_alone(workdir):
    lab = jaxlab.load(workdir, allow_import=['tests'])
    ((label, probability),) = lab('a Lovely plot')
    assert label == 'good' and probability > 0.8
    both = lab.answers(['dull film', 'great scene'] * 20, top=2)
    assert len(both) == 40 and [[name for name, _ in one] for one in both[:2]] == [['bad', 'good'], ['good', 'bad']]


def test_texts_come_from_arguments_files_and_pipes(workdir, tmp_path, capsys, monkeypatch):
    file = tmp_path / 'lines.txt'
    file.write_text('an awful film\n\nlovely\n', 'utf-8')
    monkeypatch.setattr(sys, 'stdin', io.StringIO('dull\n'))
    flags = [f'--workdir={workdir}', '--allow_import=tests']
    assert main(['predict', 'great', '很好', *flags, f'--lines={file}', '--lines=-', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ['great', '很好', 'an awful film', 'lovely', 'dull']
    assert [found[text][0]['class'] for text in ('great', 'lovely', 'an awful film', 'dull')] == ['good'] * 2 + [
        'bad'
    ] * 2
    long = ' '.join(['great'] * 30)
    assert main(['predict', *flags, 'dull', long]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ['bad', 'good'] and long[:90] in said.out
    assert '1 of 2 texts are longer than 16 tokens' in said.err
    assert main(['predict', *flags]) == 2 and 'say what to look at' in capsys.readouterr().err
    assert (
        main(['predict', *flags, '--lines=none.txt']) == 2
        and '--lines=none.txt cannot be read' in capsys.readouterr().err
    )


def test_the_mistakes_are_shown_with_their_texts(workdir, capsys):
    flags = [f'--workdir={workdir}', '--allow_import=tests']
    assert main(['evaluate', *flags]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ('accuracy', 'f1', 'matthews', 'roc_auc'))
    ((found, _),) = assessment.read(workdir)
    lab = jaxlab.load(workdir, allow_import=['tests'])
    for one in found['wrong']:
        assert lab(one['text'])[0][0] == found['labels'][one['said']] != found['labels'][one['target']]
    lab.params['head']['bias'] += np.array([9, 0], np.float32)  # always the first class
    told = lab.assess()[1]
    assert len(told['wrong']) > 5 and all({'great', 'lovely'} & set(one['text'].split()) for one in told['wrong'])
