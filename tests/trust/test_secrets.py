"""What looks like a secret is told to nobody, and what does not is told as it is."""

import json
import os
import stat
import subprocess
import sys
import types

import pytest

import jaxlab.main
from jaxlab import report
from jaxlab import workdir as workdirs
from jaxlab.observers import wandb as wandbs
from jaxlab.observers.history import History
from jaxlab.observers.progress import Progress
from jaxlab.observers.report import Report
from jaxlab.observers.samples import Samples
from jaxlab.observers.tensorboard import TensorBoard
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from jaxlab.trust import place, secrets
from jaxlab.trust.secrets import HIDDEN, hidden, without_secrets
from tests.experiments import ROOT, tiny, write_corpus

S = 's3cr3tS3CR3T'


@pytest.fixture(autouse=True)
def no_others(monkeypatch):
    """The machine's own variables say nothing here."""
    for name in os.environ:
        if secrets._SECRET_VARIABLE.fullmatch(name):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    'text',
    [
        *(f's3://user:{S}@bucket/key', f'https://{S}@host/x', f'postgres://u:{S}/{S}@host:5432/db', f'see redis://:{S}@h'),
        *(f'https://h/x?token={S}', f'https://h/x?a=1&sig={S}&b=2', f'https://h/?X-Amz-Signature={S}', f'h?key={S}'),
        *(f'HF_TOKEN={S}', f'export AWS_SECRET_ACCESS_KEY="{S}"', f"{{'api_key': '{S}'}}", f'{{"password": "{S}"}}'),
        *(f'--password {S}', f'--api-key={S}', f'--config.data.password={S}: a number', f'Authorization: Bearer {S}'),
        *(f'data.secret: {S}', f'my_access_token = {S}', f'passphrase:{S}', f'PASSWORD2={S}'),
        *(f'hf_{S}{S}', f'ghp_{S}{S}', f'github_pat_{S}{S}', f'sk-{S}{S}', f'xoxb-{S}', f'glpat-{S}{S}'),
        f'AKIA{"IOSFODNN7EXAMPLE"}',
        f'eyJ{S}.eyJ{S}.{S}',
        f'-----BEGIN RSA PRIVATE KEY-----\n{S}\n{S}\n-----END RSA PRIVATE KEY-----',
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(text):
    found = hidden(text)
    assert S not in found and 'IOSFODNN7' not in found and HIDDEN in found
    assert hidden(found) == found, 'once is enough'
    assert without_secrets({'a': [{'b': text}]}) == {'a': [{'b': found}]}


@pytest.mark.parametrize(
    'text',
    [
        *('', 'tokens=200', 'sample_tokens: 128', 'end_of_text=<|endoftext|>', '2,617,173 tokens; held out'),
        *('my_texts/keys', 'key: value', '--config.model.name=gpt', 'https://host/path?page=2', 'http://host:8080/a'),
        *('git@github.com', 'a@b.c', '0.5 MB in 18 (files with sha256(name) % 20 == 0)', 'model.width: 64 → 128'),
        *('PWD=/home/me', '4e57e86a1b2c3d4e5f60718293a4b5c6d7e8f901', 'token_embedding/table: (257, 64)', 'monkey=1'),
        *('the key of step n is fold_in(key, n)', 'config.optimizer: learning_rate=-1.0', '--api_key: no such flag'),
    ],
)  # fmt: skip
def test_what_does_not(text):
    assert hidden(text) == text and without_secrets([text, 3, None, True]) == [text, 3, None, True]


@pytest.mark.parametrize(
    ('name', 'secret'),
    [
        *((name, True) for name in ('password', 'data.password', 'api_key', 'hf_token', 'aws-secret-access-key')),
        *((name, True) for name in ('CREDENTIALS', 'data.storage_key', 'passwd', 'wandb_key', 'secret')),
        *((name, False) for name in ('tokens', 'log.sample_tokens', 'token', 'key', 'seed', 'data.length', 'keys')),
        *((name, False) for name in ('end_of_text', 'monkey', 'secretary', 'passwords_path_length', 'bypass')),
    ],
)  # fmt: skip
def test_names(name, secret):
    assert secrets.is_secret(name) == secret
    assert without_secrets({name: 'x1'}) == {name: HIDDEN if secret else 'x1'}
    assert without_secrets({name: ''}) == {name: ''} and without_secrets({name: 7}) == {name: 7}


def test_variables(monkeypatch):
    monkeypatch.setenv('JAX_TOKEN', 'abc')
    monkeypatch.setenv('JAX_PROXY', f'http://me:{S}@proxy')
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('WANDB_API_KEY', '0123456789abcdef0123456789abcdef01234567')
    monkeypatch.setenv('GOOGLE_APPLICATION_CREDENTIALS', '/home/me/google.json')
    monkeypatch.setenv('SHORT_TOKEN', 'gpt')
    found = secrets.variables(('JAX_TOKEN', 'JAX_PROXY', 'JAX_PLATFORMS'))
    assert found == {'JAX_PLATFORMS': 'cpu', 'JAX_PROXY': 'http://***@proxy', 'JAX_TOKEN': HIDDEN}
    assert hidden('key 0123456789abcdef0123456789abcdef01234567!') == 'key ***!', 'whatever it looks like'
    assert hidden('reads /home/me/google.json by gpt') == 'reads /home/me/google.json by gpt'


# --- the whole program -----------------------------------------------------------------------------------------------


PLANTED = {
    'WANDB_API_KEY': f'a{S}',
    'HF_TOKEN': f'b{S}',
    'AWS_SECRET_ACCESS_KEY': f'c{S}/{S}',
    'JAX_SOMETHING_TOKEN': f'd{S}',
    'XLA_ENDPOINT': f'grpc://u:e{S}@host?token={S}',
    'JAXLAB_CACHE_PASSWORD': f'f{S}',
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Secrets everywhere: in variables, and in the path of the data."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    corpus = write_corpus(tmp_path / f'texts?token=g{S}')
    quiet = {
        'log__every': 1,
        'log__sample_every': 2,
        'evaluate__every': 1,
        'evaluate__batches': 1,
        'checkpoint__every': 1,
    }
    return tiny(corpus, steps=2, mesh__data=1, log__sample_tokens=4, **quiet)


def leaks(folder):
    return {
        str(file.relative_to(folder))
        for file in folder.rglob('*')
        if file.is_file() and S.encode() in file.read_bytes()
    }


def test_no_secret_reaches_logs_or_reports(planted, tmp_path, capfd, monkeypatch):
    written, workdir = tiny(tmp_path), tmp_path / 'run'
    observers = [Progress(), Tracker(), History('a.py', written), TensorBoard(), Report()]
    assert train(planted, workdir, observers) == 0
    assert jaxlab.main.main(['report', str(workdir)]) == 0
    assert jaxlab.main.main(['train', f'--workdir={workdir}', '--config.seed=7']) == 2
    assert jaxlab.main.main([f'--config=https://u:{S}@host/x.py']) == 2
    assert jaxlab.main.main(['train', '--config=configs/transformer.py:tiny', f'--config.api_key={S}']) == 2
    assert jaxlab.main.main(['generate', f'--workdir=x?token={S}']) == 2
    out, err = capfd.readouterr()
    assert S not in out + err and HIDDEN in out and err.count(HIDDEN) == 2
    assert leaks(workdir) == {'config.json'}, 'from which a run goes on'
    config = workdir / 'config.json'
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert workdirs.read_config(workdir).data.path == planted.data.path
    (run,) = json.loads((workdir / 'runs.json').read_text('utf-8'))
    assert run['variables']['JAX_SOMETHING_TOKEN'] == HIDDEN and run['changed']['data.path'][1].endswith('?token=***')
    assert HIDDEN in (workdir / 'report.html').read_text('utf-8')
    monkeypatch.setattr(secrets, 'hidden', lambda text: text)
    report.write([workdir])
    assert leaks(workdir) == {'config.json', 'report.html'}, 'the test sees what is there'


def test_what_holds_no_secret_is_as_readable_as_before(corpus, tmp_path):
    before = os.umask(0o022)
    try:
        quiet = {'log__sample_every': 0, 'evaluate__batches': 1, 'mesh__data': 1}
        assert train(tiny(corpus, steps=1, **quiet), tmp_path / 'run', [Samples()]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'run' / 'config.json').stat().st_mode) == 0o644


def test_wandb_is_told_no_secret(planted, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(wandbs.importlib.util, 'find_spec', lambda name: types.SimpleNamespace(origin='wandb.py'))
    monkeypatch.setattr(wandbs.subprocess, 'Popen', lambda *a, **k: None)
    observer = wandbs.WandB('cats')
    monkeypatch.setattr(observer, '_tell', told.append)
    observer.start(types.SimpleNamespace(workdir=tmp_path, config=planted))
    assert S not in json.dumps(told) and told[0]['config']['model']['width'] == 64


def test_a_file_that_is_private_is_so_from_the_start(tmp_path):
    (tmp_path / '.a.new').write_text('left')
    (tmp_path / '.a.new').chmod(0o644)
    place.write(tmp_path / 'a', 'x', private=True)
    assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == 0o600
    (tmp_path / 'mine').write_text('mine')
    (tmp_path / '.b.new').symlink_to(tmp_path / 'mine')
    with pytest.raises(OSError):
        place.write(tmp_path / 'b', 'x')
    assert (tmp_path / 'mine').read_text() == 'mine'


def test_a_crash_tells_no_secret():
    program = f"""
import sys, threading, jaxlab.main
sys.argv = ['jaxlab']
def broken(arguments):
    thread = threading.Thread(target=lambda: open('https://u:{S}@thread'))
    thread.start(); thread.join()
    raise ValueError('https://u:{S}@host and b{S}')
jaxlab.main.parse = broken
import runpy
sys.excepthook = jaxlab.main.crash
threading.excepthook = lambda told: jaxlab.main.crash(told.exc_type, told.exc_value, told.exc_traceback)
jaxlab.main.main()
"""
    variables = os.environ | {'HF_TOKEN': f'b{S}'}
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count('Traceback') == 2 and 'https://***@host and ***' in done.stderr
    assert S not in done.stderr and 'https://***@thread' in done.stderr
