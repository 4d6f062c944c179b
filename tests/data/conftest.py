import json

import pytest

from jaxlab.config import build, spec
from jaxlab.data import token_store


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Every test has a cache of its own."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def make_text():
    """make_text(path, length=…, processor=spec(…), …) -> Data of data.text, with plain bytes unless told otherwise."""

    def make(path='', *, batch_size=4, seed=0, rows=slice(0, 4), known=None, length=16, processor=None, **arguments):
        processor = processor or spec('data.processors.bytes')
        node = spec('data.text', path=str(path), length=length, processor=processor, **arguments)
        return build(node, batch_size, seed, rows, known, key='data')

    return make


@pytest.fixture
def chinese(tmp_path):
    """A .jsonl file of 60 documents in Chinese and English, of 1 to some 100 characters."""
    lines = [{'text': f'第{n}课:今天天气很好。\nLesson {n}: “naïve” 🙂\n' * (n % 4) + f'完{n}'} for n in range(60)]
    path = tmp_path / 'lessons.jsonl'
    path.write_text('\n'.join(json.dumps(line, ensure_ascii=n % 2 > 0) for n, line in enumerate(lines)), 'utf-8')
    return path


@pytest.fixture
def builds(monkeypatch):
    """The list of stores written during the test."""
    written = []
    original = token_store.write_store

    def write(corpus, processor, folder):
        written.append(folder)
        original(corpus, processor, folder)

    monkeypatch.setattr(token_store, 'write_store', write)
    return written
