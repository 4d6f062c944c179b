"""What the README says is so: its code is read out of it and run, its flags are parsed, its files exist, in both
languages."""

import re
import shlex
import sys

import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text, main
from jaxlab.train import train
from tests.experiments import ROOT, tiny, write_corpus

PAGES = ('README.md', 'README.zh.md')


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text('utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    """The README's own modules, as a package my_lab; and a corpus."""
    folder = tmp_path_factory.mktemp('readme')
    (folder / 'my_lab').mkdir()
    for name in [name for name in sys.modules if name.partition('.')[0] == 'my_lab']:
        del sys.modules[name]  # another test's package of that name
    for code in blocks('README.md', 'python'):
        if match := re.match(r'# jaxlab/\w+/(\w+\.py)\n', code):
            (folder / 'my_lab' / match[1]).write_text(code, 'utf-8')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        write_corpus(folder / 'corpus')
        yield folder


@pytest.mark.parametrize('page', PAGES)
def test_its_files_and_links_exist(page):
    text = (ROOT / page).read_text('utf-8')
    links = [link for link in re.findall(r'\]\(([^)#]+)\)', text) if '://' not in link]
    assert len(links) >= 8
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_pages_are_one_page():
    """Code, commands and links are the same in both languages; only the words differ."""
    english, chinese = ((ROOT / page).read_text('utf-8') for page in PAGES)
    for language in ('python', 'text'):
        assert blocks('README.md', language) == blocks('README.zh.md', language)
    commands = [
        [line.split('#')[0].strip() for block in blocks(page, 'bash') for line in block.splitlines()] for page in PAGES
    ]
    assert commands[0] == commands[1]
    links = [set(re.findall(r'\]\(([^)]+)\)', text)) - set(PAGES) for text in (english, chinese)]
    assert links[0] == links[1]
    assert english.count('\n## ') == chinese.count('\n## ')


def test_its_commands_parse():
    lines = [
        line for block in blocks('README.md', 'bash') for line in block.splitlines() if line.startswith('bash launch/')
    ]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line, comments=True)
        assert (ROOT / words[1]).is_file()
        if words[1] == 'launch/local.sh':
            flags = words[2:]
            if flags and not flags[0].startswith('-'):
                main.parse(flags)  # another verb than train, which takes no config
                continue
            if not any(flag.startswith('--config=') for flag in flags):
                flags.append('--config=configs/transformer.py')
            parsed = main.parse(flags)
            path = parsed.config.replace('configs/', f'{ROOT}/configs/')
            for config in config_text.load_all(path)[0].values():
                configs.check(config_text.override(config, parsed.overrides))


@pytest.mark.parametrize(
    'overrides',
    [
        [('model.name', 'my_lab.bigram'), ('model.rank', '16'), ('log.sample_every', '0')],
        [('data.name', 'my_lab.counting'), ('data.length', '48')],
        [('task.name', 'my_lab.calm_language_model'), ('task.z', '1e-3')],
    ],
    ids=['model', 'data', 'task'],
)
def test_its_model_data_set_and_task_train(lab, tmp_path, overrides):
    rows: list[dict] = []

    class Recorder:
        def start(self, run): ...

        def row(self, step, row):
            rows.append(row)

        def sample(self, step, text): ...

        def end(self, step): ...

    config = tiny(lab / 'corpus', mesh__data=1, steps=30, log__every=1, checkpoint__every=100)
    train(configs.check(config_text.override(config, overrides)), tmp_path / 'run', [Recorder()])
    losses = [row['train/loss'] for row in rows if 'train/loss' in row]
    assert losses[-1] < losses[0] - 0.3


def test_its_notebook_runs(lab, tmp_path, monkeypatch):
    config = tiny(lab / 'corpus', mesh__data=1, steps=2, log__sample_every=0)
    workdir = tmp_path / 'runs' / 'transformer-1a2b3c4d'
    train(config, workdir, [])
    (code,) = [block for block in blocks('README.md', 'python') if block.startswith('import jax, jaxlab')]
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)
    assert found['logits'].shape == (1, 10, 1000)
    assert isinstance(found['lab'], jaxlab.experiment.Experiment)
    assert isinstance(found['lab']('猫', tokens=3), str)
