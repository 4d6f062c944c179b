"""The page of a run: whole, self-contained, in both languages, with the run's own numbers, whatever the run wrote."""

import base64
import hashlib
import json
import math
import re
import shlex

import pytest

import jaxlab.main
from jaxlab import config_text, report
from jaxlab.config import leaves
from jaxlab.observers.history import changes
from jaxlab.report import facts
from jaxlab.report.page import page
from jaxlab.report.record import read
from tests.experiments import write_run
from tests.report.pages import Page

HOSTILE = '</script><script>alert(1)</script> </pre></li> <b>&amp; "quoted" {braces} \x00\x1b[31m 猫 \u202e'
RUNS = [
    {
        'started': '2026-01-02T03:04:05+0000',
        'ended': '2026-01-02T03:05:05+0000',
        'from_step': 0,
        'step': 100,
        'config_file': 'configs/transformer.py:tiny',
        'changed': {'steps': [200, 100], 'log.prompt': ['def', "it's"], 'evaluate.scores': [['a'], ['b', 'c']]},
        'python': '.venv/bin/python',
        'versions': {'jax': '1.2.3', 'python': '3.14.15'},
        'commit': '0123456789abcdef-dirty',
        'devices': '8 × cpu',
        'device_kind': 'cpu',
        'processes': 1,
        'machine': {'system': 'Linux-1', 'processor': 'AMD EPYC', 'cores': 2, 'memory': 16 * 2**30},
        'variables': {'XLA_FLAGS': '--xla_x=1'},
        'data': 'a corpus of cats',
        'evaluation': 'all of held_out',
        'parameters': 123456,
        'seconds': {'start': 5.0, 'compile': 2.5, 'step': 40.0, 'evaluate': 2.5},
    }
]


def rows(steps=100, every=25):
    for step in range(5, steps + 1, 5):
        yield {
            'step': step,
            'train/loss': 2 + 2 / step,
            'train/learning_rate': 1e-3 * step,
            'train/gradient_norm': 1.0,
            'train/tokens_per_second': 5000.0 + step,
            'train/examples_per_second': 50.0,
            'train/seconds_left': 1.0,
        }
        if step % every == 0:
            yield {'step': step, 'eval/held_out/loss': 2.5 + 3 / step, 'eval/held_out/accuracy': step / 400}


@pytest.fixture
def workdir(tmp_path):
    return write_run(
        tmp_path / 'run', rows(), {25: 'first', 50: HOSTILE, 100: 'last'}, RUNS, steps=100, log__prompt="it's"
    )


def test_it_is_whole_and_self_contained(workdir):
    text = page(read(workdir))
    parsed = Page(text)
    assert text.startswith('<!doctype html>') and '://' not in text.replace(HOSTILE, '')
    for name, attributes in parsed.elements:
        assert name not in ('link', 'iframe', 'object', 'embed', 'base', 'form')
        assert not {'src', 'srcset', 'action', 'onclick', 'onload'} & set(attributes) or name == 'img'
        if 'href' in attributes:
            assert name == 'use' and attributes['href'].startswith('#')
    ids = [attributes['id'] for _, attributes in parsed.elements if 'id' in attributes]
    assert len(ids) == len(set(ids))


def test_only_its_own_script_may_run(workdir):
    text = page(read(workdir))
    (script,) = re.findall(r'<script>(.*?)</script>', text, re.DOTALL)
    (allowed,) = re.findall(r'script-src &#x27;sha256-([^&]*)&#x27;', text)
    assert base64.b64decode(allowed) == hashlib.sha256(script.encode()).digest()
    assert 'default-src &#x27;none&#x27;' in text


def test_every_word_is_there_in_both_languages(workdir):
    parsed = Page(page(read(workdir)))
    assert parsed.untranslated() == []
    spans = [attributes['lang'] for name, attributes in parsed.elements if name == 'span' and 'lang' in attributes]
    assert len(spans) > 100 and spans.count('en') == spans.count('zh')
    english, chinese = parsed.shown('en'), parsed.shown('zh')
    for word in ('Is it over-fitting?', 'Where the time went', 'Run it again', 'Fingerprint of the data'):
        assert word in english and word not in chinese
    for word in ('是否过拟合？', '时间用在了哪里', '再运行一次', '数据指纹'):
        assert word in chinese and word not in english


def test_a_text_outside_both_languages_is_noticed(workdir):
    text = page(read(workdir)).replace('</main>', '<p>Only English</p></main>')
    assert Page(text).untranslated() == ['Only English']


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_the_writers_language_is_shown_first(workdir, monkeypatch, language):
    monkeypatch.setenv('JAXLAB_LANG', language)
    assert f'<html lang="{language}" data-language="{language}">' in page(read(workdir))


def test_its_numbers_are_the_runs(workdir):
    shown = Page(page(read(workdir))).shown('en')
    for words in (
        'Finished: 100 steps.',
        'Held-out loss 2.5300',
        'Accuracy 0.2500',
        f'Training loss {2 + 2 / 3 * (1 / 90 + 1 / 95 + 1 / 100):.4f} mean of the last 3 rows',
        'Tokens per second 5,052.5 median',
        'Time 0:50 80 % in training steps',
        'Parameters 123,456',
        'Training steps 40.0 80.0 %',
        'Starting: importing, reading data, making or restoring the state 5.0 10.0 %',
        'All of it, by the clock 50.0 0:50',
        'a corpus of cats',
        'f1' * 32,
        'AMD EPYC , 2 cores, 16 GiB',
        'jax 1.2.3',
        'XLA_FLAGS=--xla_x=1',
        '0123456789abcdef-dirty',
    ):
        assert words in shown, words
    gap = 2.53 - (2 + 2 / 3 * (1 / 90 + 1 / 95 + 1 / 100))
    assert f'The gap at the end is {gap:.4f} : held-out loss 2.5300 minus training loss' in shown


def test_samples_are_shown_as_they_are_and_break_nothing(workdir):
    text = page(read(workdir))
    parsed = Page(text)
    samples = [text for text, names, _ in parsed.texts if names[-2:] == ['pre', 'samp']]
    assert samples == ['first', HOSTILE.replace('\x00', '\ufffd').replace('\x1b', '\ufffd'), 'last']
    assert text.count('<script') == 1 and '\x00' not in text
    steps = [attributes['data-step'] for name, attributes in parsed.elements if 'data-step' in attributes]
    assert steps == ['25', '50', '100']


def test_unescaped_samples_are_noticed(workdir, monkeypatch):
    monkeypatch.setattr(facts, '_sample', lambda file: facts.Html(f'<pre>{file.read_text("utf-8")}</pre>'))
    text = page(read(workdir))
    with pytest.raises(AssertionError):
        Page(text)


def test_hostile_names_and_values_break_nothing(tmp_path):
    evil = '"><script>x</script>'
    run = RUNS[0] | {'data': evil, 'devices': evil, 'versions': {evil: evil}, 'changed': {evil: [evil, evil]}}
    many = [row | {f'train/{evil}': 1.0, f'eval/{evil}/{evil}': 2.0} for row in rows()]
    text = page(read(write_run(tmp_path / f'run {evil.replace("/", "")}', many, runs=[run], log__prompt=evil)))
    Page(text)
    assert text.count('<script') == 1


def test_many_samples_and_long_ones_are_bounded(tmp_path):
    samples = {step: f'sample {step} ' + 'x' * 10_000 for step in range(5, 5001, 5)}
    text = page(read(write_run(tmp_path / 'run', [{'step': 5000, 'train/loss': 1.0}], samples)))
    shown = re.findall(r'sample (\d+) x', text)
    assert len(shown) == facts.SAMPLES and shown[0] == '5' and shown[-1] == '5000'
    assert len(text) < 600_000
    assert 'Of 1,000 samples, 60 are shown' in Page(text).shown('en')


def test_pictures_among_samples_are_embedded(workdir):
    (workdir / 'samples' / '75.png').write_bytes(b'\x89PNG...')
    (workdir / 'samples' / '80.wav').write_bytes(b'RIFF')
    parsed = Page(page(read(workdir)))
    (image,) = [attributes for name, attributes in parsed.elements if name == 'img']
    kind, _, content = image['src'].partition(';base64,')
    assert kind == 'data:image/png' and base64.b64decode(content) == b'\x89PNG...'
    assert 'not a kind of file that this page can show: 80.wav' in parsed.shown('en')


def test_a_run_of_600000_rows_makes_a_small_page(tmp_path):
    workdir = write_run(tmp_path / 'run', rows())
    with (workdir / 'metrics.jsonl').open('w') as file:
        for step in range(1, 60_001):  # a tenth of it is enough to see whether it grows
            row = {'step': step, **{f'train/{name}': math.sin(step * k) for k, name in enumerate(('loss', 'a', 'b'))}}
            print(json.dumps(row), file=file)
            if step % 200 == 0:
                print(json.dumps({'step': step, 'eval/held_out/loss': math.cos(step)}), file=file)
    assert len(page(read(workdir))) < 500_000


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ([{'step': 101, 'train/loss': math.nan}], 'Training loss is NaN or infinite since step 101.'),
        ([{'step': 101, 'train/loss': math.nan}, {'step': 102, 'train/loss': 1.0}], 'NaN or infinite: 1, the first at'),
        ([{'step': 101, 'eval/held_out/loss': math.inf}], 'eval/held_out/loss : values that were NaN or infinite: 1'),
    ],
)
def test_what_is_no_number_is_said(tmp_path, more, words):
    text = page(read(write_run(tmp_path / 'run', [*rows(), *more])))
    assert words in Page(text).shown('en')
    shown = re.sub(r'<(style|script)>.*?</\1>', '', text, flags=re.DOTALL)
    assert not re.search(r'\bnan\b(?! or| 或)|\binf\b', shown, re.IGNORECASE)


@pytest.mark.parametrize(
    'lines',
    [
        [{'step': 1, 'train/loss': math.nan}],
        [{'step': 1, 'train/loss': 3.0}],
        [{'step': 1, 'eval/held_out/loss': 3.0}],
        [{'step': 1, 'eval/held_out/fluency': 3.0}, {'step': 1, 'eval/other/loss': 3.0}],
        [{'step': 1, 'custom/number': 0.0}],
    ],
)
def test_little_is_enough_for_a_page(tmp_path, lines):
    workdir = write_run(tmp_path / 'run', lines)
    (workdir / 'processor' / 'data.json').unlink()
    assert Page(page(read(workdir))).untranslated() == []


def test_cautions_name_what_raises_training_loss(tmp_path):
    config = {'model__dropout': 0.1, 'task__label_smoothing': 0.2, 'average': 0.99}
    many = [row | ({'train/z': 1.0} if 'train/loss' in row else {}) for row in rows()]
    shown = Page(page(read(write_run(tmp_path / 'run', many, **config)))).shown('en')
    for words in ('model.dropout=0.1 , task.label_smoothing=0.2', 'average=0.99', 'further terms: train/z'):
        assert words in shown
    plain = Page(page(read(write_run(tmp_path / 'plain', rows(), average=0.0)))).shown('en')
    assert 'dropout=0.1' not in plain and 'moving average' not in plain and 'further terms' not in plain


def test_the_command_makes_the_same_config(tmp_path):
    file = 'configs/transformer.py:tiny'
    flags = [
        ('optimizer.name', 'muon'),
        ('optimizer.learning_rate', '2e-3'),
        ('model.bias', 'false'),
        ('evaluate.scores', '("accuracy", "perplexity")'),
        ('log.prompt', 'it\'s a "quoted" prompt; rm -rf $HOME'),
        ('steps', '77'),
        ('optimizer.groups', "(('.*bias', {'weight_decay': 0.0}),)"),
        ('data.path', 'texts with spaces'),
    ]
    written, _ = config_text.load(file)
    config = config_text.override(written, flags)
    run = RUNS[0] | {'config_file': file, 'changed': json.loads(json.dumps(changes(written, config)))}
    workdir = write_run(tmp_path / 'run', rows(), runs=[run])
    text = Page(page(read(workdir))).texts
    (command,) = [''.join(t for t, names, _ in text if names[-3:] == ['pre', 'code', 'span'])]
    words = shlex.split(facts.command_line(read(workdir), '.venv/bin/python', f'{workdir}-again'))
    assert ''.join(command.split()) == ''.join(shlex.join(words).split())
    assert words[:4] == ['.venv/bin/python', '-m', 'jaxlab.main', 'train']
    parsed = jaxlab.main.parse(words[3:])
    assert parsed.workdir == f'{workdir}-again'
    again = config_text.override(config_text.load(parsed.config)[0], parsed.overrides)
    assert leaves(again) == leaves(config)


def test_differences_from_the_file_are_marked(workdir):
    parsed = Page(page(read(workdir)))
    shown = parsed.shown('en')
    assert 'These values differ from configs/transformer.py:tiny :' in shown
    assert "log.prompt def it's" in shown and 'steps 200 100' in shown
    changed = [attributes for name, attributes in parsed.elements if attributes.get('class') == 'changed']
    assert len(changed) == 3


def test_the_same_files_make_the_same_page(workdir):
    texts = [re.sub(r'<time>[^<]*</time>', '', page(read(workdir))) for _ in range(2)]
    assert texts[0] == texts[1]


def test_write(workdir, tmp_path):
    assert report.write([workdir]) == workdir / 'report.html'
    assert report.write([workdir], tmp_path / 'new' / 'page.html').read_text('utf-8').endswith('</html>')
    assert sorted(path.name for path in workdir.glob('*.html')) == ['report.html'] and not list(workdir.glob('.*'))
