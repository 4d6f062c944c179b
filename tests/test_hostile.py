"""A workdir from somebody else: nothing of it is imported or run, and what is wrong is said in one clear sentence."""

import json
import shutil
import sys

import pytest

import jaxlab
import jaxlab.main
from jaxlab.errors import UserError
from jaxlab.observers.history import History
from jaxlab.observers.samples import Samples
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from tests.experiments import tiny
from tests.report.pages import Page

EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>&lt;b&gt;$\\frac{'


@pytest.fixture(scope='module')
def trained(corpus, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('hostile') / 'run'
    quiet = {'log__every': 1, 'log__sample_every': 2, 'evaluate__batches': 1, 'log__sample_tokens': 4, 'mesh__data': 1}
    assert train(tiny(corpus, steps=2, model__layers=1, **quiet), workdir, [Tracker(), Samples(), History()]) == 0
    return workdir


@pytest.fixture
def workdir(trained, tmp_path, monkeypatch):
    """A workdir of one's own; beside it on the Python path a package that must never be imported."""
    for name in [name for name in sys.modules if name.partition('.')[0] == 'my_lab']:
        monkeypatch.delitem(sys.modules, name)  # of another test
    monkeypatch.syspath_prepend(tmp_path / 'path')
    (tmp_path / 'path' / 'my_lab').mkdir(parents=True)
    (tmp_path / 'path' / 'my_lab' / '__init__.py').write_text('')
    (tmp_path / 'path' / 'my_lab' / 'evil.py').write_text('def make(*a, **k): raise SystemExit(66)\n')
    yield shutil.copytree(trained, tmp_path / 'run')
    assert not [name for name in sys.modules if name.startswith('my_lab')], 'it was imported'


def verbs(workdir):
    return [
        ['train', f'--workdir={workdir}'],
        ['train', '--config=configs/transformer.py:tiny', f'--workdir={workdir}'],
        ['evaluate', f'--workdir={workdir}'],
        ['generate', f'--workdir={workdir}', '--tokens=1'],
    ]


def refused(capfd, workdir, verbs=verbs):
    """Runs every verb, and `jaxlab.load`; returns what was said, after a look at its form."""
    told = []
    for arguments in verbs(workdir):
        assert jaxlab.main.main(arguments) == 2, arguments
        error = capfd.readouterr().err
        assert error.startswith('jaxlab: ') and len(error.splitlines()) <= 2 and 'Traceback' not in error, error
        told.append(error)
    with pytest.raises(UserError):
        jaxlab.load(workdir)
    return told


def change(file, **values):
    """Sets values of a JSON file: model__name='x'."""
    found = json.loads(file.read_text('utf-8'))
    for key, value in values.items():
        *parents, last = key.split('__')
        node = found
        for parent in parents:
            node = node[parent]
        node[last] = value
    file.write_text(json.dumps(found), 'utf-8')


PARTS = ('model', 'task', 'data', 'optimizer', 'data__processor', 'optimizer__schedule')


@pytest.mark.parametrize('part', [*PARTS, 'scores'])
def test_names_stay_within_the_house(part, workdir, capfd):
    for name in ('os.system', 'my_lab.evil', 'my_lab', '../my_lab/evil', '.evil', 'my_lab/evil', 'my lab.evil', ''):
        where = {'evaluate__scores': [name]} if part == 'scores' else {f'{part}__name': name}
        change(workdir / 'config.json', **where)
        told = refused(capfd, workdir)
        if name in ('os.system', 'my_lab.evil'):
            key = 'evaluate.scores' if part == 'scores' else f'{part.replace("__", ".")}.name'
            assert all(f'config.{key} would import code from outside jaxlab' in line for line in told)


@pytest.mark.parametrize('name', ['jaxlab.verbs.train', 'jaxlab.main', 'jaxlab.data.text', 'jaxlab.models.gpt.make'])
def test_a_name_within_the_house_stays_in_its_room(name, workdir, capfd):
    change(workdir / 'config.json', model__name=name)
    assert all('is not in models: there are ' in line for line in refused(capfd, workdir))


def test_the_whole_name_of_a_part_is_its_name(workdir):
    change(workdir / 'config.json', model__name='jaxlab.models.gpt', optimizer__name='jaxlab.optim.adamw')
    assert jaxlab.load(workdir).step == 2


def test_what_is_allowed_is_imported(workdir, monkeypatch):
    change(workdir / 'config.json', model__name='my_lab.evil')
    with pytest.raises(SystemExit) as caught:
        jaxlab.load(workdir, allow_import=['my_lab'])
    assert caught.value.code == 66
    for name in ('my_lab', 'my_lab.evil'):
        del sys.modules[name]


DEEP = '{"model":' * 5000 + '1' + '}' * 5000


@pytest.mark.parametrize(
    'text',
    [
        *(
            '',
            'null',
            '[]',
            '7',
            '"os.system"',
            '{}',
            '{"model": 7}',
            '[' * 100_000,
            DEEP,
            '{"a":' * 20 + '1' + '}' * 20,
        ),
        *('{"model": {"name": 7}}', '{"model": {"name": ["os.system"]}}', '{"model": {}}', '{"__class__": {"a": 1}}'),
        '{"model": {"name": "gpt"}, "model": {"name": "os.system"}}',
        '{"lock": 1, "items": 2}',
        '{"a.b": 1}',
        '9' * 5000,
        '\ufeff{}',
    ],
)
def test_a_config_that_is_none(text, workdir, capfd):
    (workdir / 'config.json').write_text(text, 'utf-8')
    refused(capfd, workdir)


@pytest.mark.parametrize(
    'values',
    [
        {'steps': 'many'},
        {'steps': None},
        {'steps': True},
        {'steps': {'name': 'os.system'}},
        {'seed': 1.5},
        {'seed': 10**30},
        {'mesh': 3},
        {'mesh__data': 'os'},
        {'average': float('nan')},
        {'average': float('inf')},
        {'model__width': '64'},
        {'model__width': -1},
        {'model__layers': [1, 2]},
        {'model__dropout': float('nan')},
        {'model__norm': ['layer']},
        {'optimizer__groups': 'all'},
        {'optimizer__schedule': 'os.system'},
        {'optimizer__schedule': {'name': {'name': 'os.system'}}},
        {'data': ['os.system']},
        {'data__processor': 'os.system'},
        {'evaluate__scores': 'os.system'},
        {'evaluate__scores': [1, ['os.system']]},
        {'model__no_such': 1},
    ],
)
def test_values_of_another_type(values, workdir, capfd):
    change(workdir / 'config.json', **values)
    if 'groups' not in str(values):
        refused(capfd, workdir)
    else:  # what is generated does not ask for the optimizer
        assert jaxlab.main.main(['train', f'--workdir={workdir}']) == 2


def test_bytes_that_are_no_text(workdir, capfd):
    (workdir / 'config.json').write_bytes(b'\xff\xfe{}')
    refused(capfd, workdir)
    (workdir / 'config.json').unlink()
    (workdir / 'config.json').mkdir()
    refused(capfd, workdir)


@pytest.mark.parametrize(
    'text',
    ['', '[]', 'null', '{}', '[' * 100_000, '{"fingerprint": 1, "info": {}, "batch": {}}', b'\xff'],
)
def test_data_that_are_none(text, workdir, capfd):
    (workdir / 'processor' / 'data.json').write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(capfd, workdir, lambda workdir: verbs(workdir)[2:])
    assert jaxlab.main.main(['train', f'--workdir={workdir}']) == 2


@pytest.mark.parametrize(
    'values',
    [
        {'batch': {}},
        {'batch': {'tokens': [[8, 64], 'object']}},
        {'batch': {'tokens': [[10**30, 64], 'int32']}},
        {'batch': {'tokens': [[-8, 64], 'int32']}},
        {'batch': 7},
        {'batch__tokens': [[8, 64, 3, 2], 'int32']},
        {'batch__tokens': 'os.system'},
        {'info': []},
        {'info__vocabulary': 'os.system'},
        {'info__vocabulary': {'a': 1}},
        {'info__vocabulary': -1},
        {'info__length': 10**30},
    ],
)
def test_data_of_another_form(values, workdir, capfd):
    change(workdir / 'processor' / 'data.json', **values)
    refused(capfd, workdir, lambda workdir: verbs(workdir)[2:])


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '{"vocabulary": 257, "end_of_text": 256, "__class__": 1}',
        '{"vocabulary": 1e12, "end_of_text": 0}',
        '{}',
    ],
)
def test_processors_that_are_none(text, workdir, capfd):
    (workdir / 'processor' / 'processor.json').write_text(text, 'utf-8')
    refused(capfd, workdir)
    change(workdir / 'config.json', data__processor={'name': 'bpe'})  # another one, whose files there are not
    refused(capfd, workdir)
    (workdir / 'processor' / 'tokenizer.json').write_text('{"version": "1.0", "model": {"type": "os.system"}}')
    refused(capfd, workdir)


# --- what is only looked at ------------------------------------------------------------------------------------------


def page_of(workdir):
    assert jaxlab.main.main(['report', f'--workdir={workdir}']) == 0
    text = (workdir / 'report.html').read_text('utf-8')
    return text, Page(text)


def test_the_report_shows_html_and_runs_none(workdir):
    row = {'step': 2, 'train/loss': 2.0, f'eval/{EVIL}/loss': 1.0, f'train/{EVIL}': 3.0, EVIL: 1}
    with (workdir / 'metrics.jsonl').open('a') as file:
        file.write(json.dumps(row) + '\n')
    (workdir / 'samples' / '2.txt').write_text(EVIL)
    words = ('started', 'ended', 'config_file', 'python', 'commit', 'devices', 'device_kind', 'data', 'evaluation')
    run = dict.fromkeys(words, EVIL) | {'changed': {EVIL: [EVIL, EVIL]}, 'seconds': {EVIL: 1.0}, EVIL: EVIL}
    run |= {'machine': {'processor': EVIL, 'system': EVIL}, 'versions': {EVIL: EVIL}, 'variables': {EVIL: EVIL}}
    (workdir / 'runs.json').write_text(json.dumps([run, run]))
    change(workdir / 'config.json', log__prompt=EVIL, data__path=EVIL)
    change(workdir / 'processor' / 'data.json', fingerprint=EVIL, info={EVIL: EVIL, 'length': 64})
    text, page = page_of(workdir)
    assert '<script>alert' not in text and '<img src=x' not in text and text.count('<script') == 1
    assert EVIL in ''.join(part for part, *_ in page.texts), 'it is shown as what it is'
    (workdir.parent / 'all').mkdir()
    workdir.rename(workdir.parent / 'all' / 'one')
    shutil.copytree(workdir.parent / 'all' / 'one', workdir.parent / 'all' / EVIL.replace('/', ''))
    assert jaxlab.main.main(['report', str(workdir.parent / 'all')]) == 0
    text = (workdir.parent / 'all' / 'report.html').read_text('utf-8')
    assert '<script>alert' not in text and '<img src=x' not in text and text.count('<script') == 1


@pytest.mark.parametrize(
    'runs',
    [
        '[' * 100_000,
        '{"step": 1}',
        [7, None, [], {}],
        [{key: value for key in ('started', 'ended', 'config_file', 'python', 'commit', 'devices', 'device_kind')}
         | dict.fromkeys(('from_step', 'step', 'processes', 'parameters', 'data', 'evaluation', 'machine'), value)
         | dict.fromkeys(('changed', 'versions', 'variables', 'seconds'), value)
         for value in (None, 'x', 7, [1], {'a': 'b'}, {'a': [1, 2, 3]}, {'memory': 'x', 'a': 1e400}, -1, True)],
        [{'seconds': {'train': -5, 'data': 'x', 'save': float('nan')}, 'changed': {'a': 1, 'b': [1]}}],
    ],
    ids=['deep', 'no list', 'no objects', 'other types', 'other numbers'],
)  # fmt: skip
def test_the_report_survives_other_records(runs, workdir):
    (workdir / 'runs.json').write_text(runs if isinstance(runs, str) else json.dumps(runs))
    for name, value in (('steps', 'x'), ('batch_size', [1]), ('average', {}), ('model', 7)):
        change(workdir / 'config.json', **{name: value})
    change(workdir / 'processor' / 'data.json', fingerprint=7, info={'length': 'x'})
    with (workdir / 'metrics.jsonl').open('a') as file:
        file.write('[' * 100_000 + '\n7\nnull\n{"step": "1"}\n{"step": 3, "eval/": 1, "a": [1], "b": 1e999}\n')
    page_of(workdir)
    for name in ('config.json', 'runs.json', 'processor/data.json'):
        (workdir / name).write_bytes(b'\xff')
    page_of(workdir)


def test_a_report_holds_no_file_of_its_reader(workdir, tmp_path):
    (tmp_path / 'key').write_text('"a private key"')
    (tmp_path / 'keys.json').write_text('{"steps": 2, "key": "a private key"}')
    (workdir / 'samples' / '1.txt').symlink_to(tmp_path / 'key')
    (workdir / 'config.json').unlink()
    (workdir / 'config.json').symlink_to(tmp_path / 'keys.json')
    assert 'a private key' not in page_of(workdir)[0]
    shutil.rmtree(workdir / 'samples')
    (tmp_path / 'samples').mkdir()
    (tmp_path / 'samples' / '2.txt').write_text('a private key')
    (workdir / 'samples').symlink_to(tmp_path / 'samples')
    assert 'a private key' not in page_of(workdir)[0]


def test_verify_looks_and_opens_nothing_elsewhere(workdir, capfd):
    folder = workdir / 'checkpoints'
    (folder / '5').symlink_to('/')
    (folder / '7').write_text('no folder')
    assert jaxlab.main.main(['verify', f'--workdir={workdir}']) == 2
    out = capfd.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in out] == ['2', '5', '7'] and '2: good' in out[0]
    assert 'a link to elsewhere' in out[1] and 'cannot be read' in out[2]
    assert jaxlab.load(workdir).step == 2
