"""The prepare verb: what is prepared already is left alone, and where a host is out of reach it says what can be done.

A stand-in takes the place of the official builder; what it downloads with is the library's own.
"""

import gzip
import hashlib
import http.server
import socket
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip('tensorflow_datasets', reason='TensorFlow Datasets is not here (the extra "tfds")')

import tensorflow_datasets
from tensorflow_datasets.core.download import checksums, download_manager, downloader, extractor

import jaxlab.main
from jaxlab.data.sources import tfds
from jaxlab.verbs import prepare as verb
from tests.experiments import message
from tests.prepared_sets import pictures, write_set

CONFIG = """
from ml_collections import ConfigDict
from jaxlab.config import spec

def get_config():
    return ConfigDict({'data': {'name': 'pictures', 'source': spec('data.sources.tfds', set='shapes')}})
"""
HELD = b'pictures, packed'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'sets'))
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    (tmp_path / 'shapes.py').write_text(CONFIG)
    monkeypatch.setattr(verb, 'has_tensorflow', lambda: True)
    monkeypatch.setattr(downloader, 'MAX_RETRIES', 0)
    return tmp_path / 'sets'


@pytest.fixture
def run(tmp_path, capfd):
    def run(*flags):
        code = jaxlab.main.main(['prepare', f'--config={tmp_path / "shapes.py"}', *flags])
        return code, *capfd.readouterr()

    return run


class Builder:
    """Stands for an official builder: two files of one host, which become a prepared set."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = None

    def __init__(self, root, base='http://127.0.0.1:9', name='shapes', content=HELD):
        self.root, self.name, self.urls = root, name, [f'{base}/train-images.gz', f'{base}/train-labels.gz']
        digest = hashlib.sha256(content).hexdigest()
        self.url_infos = {
            url: checksums.UrlInfo(size=len(content), checksum=digest, filename=url.rpartition('/')[2])
            for url in self.urls
        }
        self.info = SimpleNamespace(download_size=2 * len(content))
        self.data_dir = str(root / name / '1.0.0')
        self.found, self.unpacks = [], False

    def download_and_prepare(self, *, download_dir, download_config, file_format):
        assert file_format == 'array_record' and not download_config.try_download_gcs
        manager = download_manager.DownloadManager(
            download_dir=download_dir,
            extract_dir=download_config.extract_dir,
            manual_dir=download_config.manual_dir,
            url_infos=self.url_infos,
            dataset_name=self.name,
        )
        self.found = (manager.download_and_extract if self.unpacks else manager.download)(self.urls)
        write_set(self.root, {'train': pictures(5)}, name=self.name)


@pytest.fixture
def stand_in(root, monkeypatch):
    def take(builder):
        monkeypatch.setattr(tensorflow_datasets, 'builder', lambda *_, **__: builder)
        return builder

    return take


@pytest.fixture
def server():
    """serve(status) -> the address of a host that answers so."""
    servers = []

    def serve(status, content=HELD):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{servers[-1].server_port}'

    yield serve
    for each in servers:
        each.shutdown()
        each.server_close()


def test_a_set_is_prepared_once(root, run, stand_in, server):
    builder = stand_in(Builder(root, server(200)))
    code, out, _ = run()
    assert code == 0 and f'shapes is prepared: "{root}/shapes/1.0.0"' in out
    assert len(tfds.make(set='shapes').parts['train']) == 5
    builder.download_and_prepare = lambda **_: pytest.fail('it is prepared already')
    code, out, _ = run()
    assert (code, out) == (0, f'shapes is prepared already: "{root}/shapes/1.0.0"\n')


def two_sets(root, run, stand_in, monkeypatch):
    """Prepares two sets from packed files of the same names, placed by hand; returns what each was made of."""
    files = SimpleNamespace(gfile=SimpleNamespace(GFile=open))  # what unpacking takes of TensorFlow
    monkeypatch.setattr(extractor, 'tf', SimpleNamespace(io=files, compat=SimpleNamespace(as_text=str)))
    found = []
    for name in ('shapes', 'signs'):
        packed = gzip.compress(name.encode())
        builder = stand_in(Builder(root, f'http://{name}.invalid', name, packed))
        manual = verb.downloads_of(root, name) / 'manual'
        manual.mkdir(parents=True, exist_ok=True)
        for url in builder.urls:
            (manual / url.rpartition('/')[2]).write_bytes(packed)
        builder.unpacks = True
        assert run(f'--config.data.source.set={name}')[0] == 0
        found.append(builder.found[0].read_text())
    return found


def test_sets_are_not_taken_for_one_another(root, run, stand_in, monkeypatch):
    assert two_sets(root, run, stand_in, monkeypatch) == ['shapes', 'signs']


def test_one_folder_for_all_downloads_would_mix_them_up(root, run, stand_in, monkeypatch):
    """The mutant, and the library as it is: it reuses what it unpacked, by the name alone."""
    monkeypatch.setattr(verb, 'downloads_of', lambda root, set: root / 'downloads')
    assert two_sets(root, run, stand_in, monkeypatch) == ['shapes', 'shapes']


def test_another_folder(root, run, stand_in, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    write_set(elsewhere, {'train': pictures(5)})
    stand_in(None)
    code, out, _ = run(f'--config.data.source.dir={elsewhere}')
    assert code == 0 and f'"{elsewhere}/shapes/1.0.0"' in out


@pytest.mark.parametrize(
    ('status', 'reason'), [(403, 'HTTP code: 403'), (404, 'HTTP code: 404'), (503, 'too many 503'), (0, 'refused')]
)
def test_a_host_out_of_reach(root, run, stand_in, server, status, reason):
    base = server(status) if status else 'http://127.0.0.1:9'  # where nobody listens
    stand_in(Builder(root, base))
    code, _, error = run()
    assert code == 2 and 'jaxlab: shapes: 127.0.0.1 cannot be reached' in error and reason in error
    assert f'{base}/train-images.gz, {base}/train-labels.gz' in error and 'HTTPS_PROXY' in error
    assert f'"{root}/downloads/shapes/manual"' in error and f'"{root}/shapes/1.0.0"' in error
    assert 'Traceback' not in error and error.partition('jaxlab: ')[2].count('\n') == 2


@pytest.mark.parametrize('first', [True, False])
def test_a_host_that_nobody_knows(root, run, stand_in, monkeypatch, first):
    """Found by the first request, or while it downloads."""
    if not first:
        monkeypatch.setattr(verb, 'knock', lambda *_: None)
    stand_in(Builder(root, 'https://pictures.invalid/set'))
    code, _, error = run()
    assert code == 2 and 'shapes: pictures.invalid cannot be reached' in error
    assert 'https://pictures.invalid/set/train-images.gz' in error


def test_a_host_that_does_not_answer(root, run, stand_in, monkeypatch):
    """It is given up soon: the library itself would go on asking."""
    silent = socket.create_server(('127.0.0.1', 0))
    monkeypatch.setattr(verb, 'PATIENCE', 0.2)
    builder = stand_in(Builder(root, f'http://127.0.0.1:{silent.getsockname()[1]}'))
    builder.download_and_prepare = lambda **_: pytest.fail('the library is asked')
    code, _, error = run()
    silent.close()
    assert code == 2 and '127.0.0.1 cannot be reached' in error and 'timed out' in error


def test_one_host_of_two_is_enough(root, run, stand_in, server):
    builder = stand_in(Builder(root, server(200)))
    builder.url_infos = {'http://127.0.0.2:9/more.gz': builder.url_infos[builder.urls[0]]} | builder.url_infos
    assert run()[0] == 0


def test_what_was_put_there_by_hand_is_taken(root, run, stand_in):
    """As the message promises: the files that it names, in the folder that it names."""
    stand_in(Builder(root))
    assert run()[0] == 2
    for name in ('train-images.gz', 'train-labels.gz'):
        (root / 'downloads/shapes/manual' / name).write_bytes(HELD)
    code, out, _ = run()
    assert code == 0 and 'shapes is prepared' in out


@pytest.mark.parametrize('by_hand', [False, True])
def test_a_damaged_download(root, run, stand_in, server, by_hand):
    stand_in(Builder(root, server(200, b'please log in')))
    if by_hand:
        (root / 'downloads/shapes/manual').mkdir(parents=True)
        (root / 'downloads/shapes/manual/train-images.gz').write_bytes(b'half of')
    code, _, error = run()
    assert code == 2 and 'a download is damaged' in error and 'train-images.gz' in error


def test_files_by_hand_only(root, run, stand_in):
    builder = stand_in(Builder(root))
    builder.url_infos = {}
    builder.MANUAL_DOWNLOAD_INSTRUCTIONS = 'ask\n   its owners'
    builder.download_and_prepare = lambda **_: (_ for _ in ()).throw(AssertionError('Manual directory is empty'))
    code, _, error = run()
    assert code == 2 and 'shapes wants files that are fetched by hand' in error and 'ask its owners' in error
    builder.MANUAL_DOWNLOAD_INSTRUCTIONS = None
    with pytest.raises(AssertionError):  # a mistake of ours keeps its traceback
        run()


def test_a_full_disk(root, run, stand_in):
    builder = stand_in(Builder(root))
    builder.url_infos = {}
    builder.download_and_prepare = lambda **_: (_ for _ in ()).throw(OSError('Not enough disk space. Needed: 3 GiB'))
    code, _, error = run()
    assert (code, error) == (2, 'jaxlab: shapes: Not enough disk space. Needed: 3 GiB\n')


def test_without_tensorflow(root, run, monkeypatch):
    monkeypatch.setattr(verb, 'has_tensorflow', lambda: False)
    code, _, error = run()
    assert code == 2 and '--extras=prepare' in error and "pip install -e '.[prepare]'" in error


def test_unknown_sets(root, run):
    assert 'Did you mean "mnist"?' in run('--config.data.source.set=mnst')[2]
    assert 'only: 3.0.1' in run('--config.data.source.set=mnist', '--config.data.source.version=2.0.0')[2]
    assert 'BuilderConfig v5 not found' in run('--config.data.source.set=cifar10_1/v5')[2]


def test_no_config(capfd):
    assert jaxlab.main.main(['prepare']) == 2
    assert 'say whose data to prepare' in capfd.readouterr().err


def test_a_config_without_such_a_set(root, run, tmp_path):
    for config in (
        CONFIG.replace("spec('data.sources.tfds', set='shapes')", '3'),
        CONFIG.replace("'source'", "'other'"),
        CONFIG.replace("spec('data.sources.tfds', set='shapes')", "spec('data.sources.image_folder')"),
    ):
        (tmp_path / 'shapes.py').write_text(config)
        code, _, error = run()
        assert code == 2 and 'nothing to prepare' in error


def test_a_builder_is_asked_for_by_name_and_folder(root, monkeypatch):
    asked = []

    def builder(name, **arguments):
        asked.append((name, arguments))
        raise ValueError('no such version')

    monkeypatch.setattr(tensorflow_datasets, 'builder', builder)
    said = message(lambda: verb.prepare('shapes', '', '1.2.3'))
    assert said == 'set="shapes": no such version'
    assert asked == [('shapes:1.2.3', {'data_dir': root, 'try_gcs': False})]
