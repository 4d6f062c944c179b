"""From a folder of published weights to text, perplexity and further training, as a person does it."""

import json

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import hub, published
from jaxlab.errors import UserError
from jaxlab.main import main
from tests import published_folder
from tests.experiments import ROOT, message, write_corpus

CONFIG = str(ROOT / 'configs' / 'published.py')


@pytest.fixture
def texts(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    return write_corpus(tmp_path / 'texts')


def test_beams(tmp_path, capsys):
    published_folder.write(tmp_path)
    lab = jaxlab.load(tmp_path)
    found = lab.beams('the cat', beams=3, tokens=6)
    assert len(found) == 3 and found == sorted(found, key=lambda text: -text[1])
    capsys.readouterr()
    command = ['generate', f'--workdir={tmp_path}', '--prompt=the cat', '--tokens=6']
    assert main([*command, '--beams=3']) == 0
    assert capsys.readouterr().out == f'the cat{found[0][0]}\n'
    assert main([*command, '--beams=-1']) == 2 and 'beams=-1: at least 1' in capsys.readouterr().err
    assert main([*command, '--beams=400']) == 2 and 'beams=400: at most 145' in capsys.readouterr().err
    assert main([*command, '--beams=2', '--early=maybe']) == 2
    assert 'early=maybe: there are no, yes, never' in message(lab.beams, 'the', early='maybe')


@pytest.mark.parametrize('kind', ['gpt2', 'llama'])
def test_it_writes_text_as_it_is(kind, tmp_path, capsys):
    model, params, processor = published_folder.write(tmp_path, kind)
    lab = jaxlab.load(tmp_path)
    assert (lab.step, lab.processor.vocabulary) == (0, processor.vocabulary)
    assert jax.tree.all(jax.tree.map(np.array_equal, lab.params, params))
    text = lab('the cat', tokens=5, temperature=0.0)
    tokens = np.array([[processor.end_of_text, *processor.encode('the cat')]])
    logits = model.apply({'params': params}, tokens)[0, -1]
    assert lab.probabilities('the cat', top=1)[0][0] == processor.decode([int(logits.argmax())])
    capsys.readouterr()
    command = ['generate', f'--workdir={tmp_path}', '--prompt=the cat', '--tokens=5', '--temperature=0']
    assert main(command) == 0
    assert capsys.readouterr().out == f'the cat{text}\n'


def test_perplexity_with_strides(tmp_path, capsys, monkeypatch):
    """Each token is counted once, whatever the stride; with a smaller one it has more to go by."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    texts, folder = write_corpus(tmp_path / 'texts', lines=1), tmp_path / 'weights'
    model, params, processor = published_folder.write(folder)
    command = ['evaluate', f'--workdir={folder}', f'--config.data.path={texts}', '--json', '--config.data.length=12']
    found = {}
    for stride in (12, 3):
        assert main([*command, f'--config.data.stride={stride}']) == 0
        found[stride] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found[3]['tokens'] == found[12]['tokens'] and found[3]['loss'] != found[12]['loss']
    # By hand: windows of 12 over a document, each counting what the ones before did not.
    apply, nats, counted = jax.jit(model.apply), 0.0, 0
    for name in held_out(texts):
        row = np.array([processor.end_of_text, *processor.encode((texts / name).read_text()), processor.end_of_text])
        length = len(row) - 1
        for start in range(0, max(length - 12, 0) + 3, 3):
            part = np.pad(row[start : start + 13], (0, max(start + 13 - len(row), 0)))
            logs = jax.nn.log_softmax(apply({'params': params}, part[None, :-1])[0])
            first, end = 0 if start == 0 else 9, min(length - start, 12)
            nats -= float(np.take_along_axis(np.asarray(logs), part[1:, None], 1)[first:end].sum())
            counted += max(end - first, 0)
    assert counted == found[3]['tokens'] and found[3]['loss'] == pytest.approx(nats / counted, rel=1e-4)


def held_out(texts):
    from jaxlab.data.sources import text_files

    return [document.name for document in text_files.corpus(str(texts)).documents() if document.held_out]


def test_it_is_trained_further_and_goes_on(texts, tmp_path, capsys):
    folder, run = tmp_path / 'weights', tmp_path / 'run'
    _, params, _ = published_folder.write(folder)
    command = [f'--config={CONFIG}:{folder}', f'--workdir={run}', f'--config.data.path={texts}']
    short = [
        '--config.data.length=16',
        '--config.mesh.data=1',
        '--config.log.sample_every=0',
        '--config.evaluate.every=2',
    ]
    assert main([*command, *short, '--config.steps=2', '--config.optimizer.learning_rate=1e-3']) == 0
    lab = jaxlab.load(run)
    moved = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), lab.params, params)
    assert 0 < max(jax.tree.leaves(moved)) < 0.01, 'it begins with the weights'
    assert main([*command, *short, '--config.steps=4', '--config.optimizer.learning_rate=1e-3']) == 0
    assert jaxlab.load(run).step == 4
    assert 'step 4' in capsys.readouterr().out


def test_other_words_than_those_of_the_weights_are_told_before_anything_compiles(texts, tmp_path, monkeypatch):
    folder = tmp_path / 'weights'
    published_folder.write(folder)
    monkeypatch.setattr('jaxlab.train.compile_step', lambda *_: pytest.fail('compiled'))
    monkeypatch.setattr('jaxlab.initial.PADDING', 8)
    command = [f'--config={CONFIG}:{folder}', f'--config.data.path={texts}', '--config.mesh.data=1']
    fewer = message_of([*command, f'--workdir={tmp_path / "fewer"}', '--config.data.processor.name=bytes'])
    assert '290 tokens, and config.data.processor has 257: another vocabulary' in fewer
    published_folder.write(tmp_path / 'more', vocabulary=310)
    more = [f'--workdir={tmp_path / "other"}', f'--config.data.processor.path={tmp_path / "more"}']
    assert 'config.model: vocabulary=290, and the data have 296' in message_of([*command, *more])


def message_of(command):
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert main(command) == 2
    return told.getvalue()


def test_mistakes_are_one_sentence(tmp_path):
    (tmp_path / 'config.json').write_text('{"model_type": "bloom"}')
    assert 'model_type=bloom, and what can be asked as it is are gpt2, llama' in message(jaxlab.load, tmp_path)
    (tmp_path / 'config.json').write_text('{"model_type": "gpt2"}')
    assert 'holds neither' in message(jaxlab.load, tmp_path), 'a tokenizer is wanted'
    published_folder.write(tmp_path)
    with pytest.raises(UserError, match='published weights have no steps'):
        jaxlab.load(tmp_path, step=3)
    assert not published.is_published(tmp_path / 'nowhere')


def test_all_of_it_comes_from_the_hub(tmp_path, monkeypatch):
    published_folder.write(tmp_path)
    asked = []

    def fetch(source, file):
        asked.append(file)
        return tmp_path / file if (tmp_path / file).is_file() else None

    monkeypatch.setattr(hub, 'fetch', fetch)
    lab = jaxlab.load('hf:owner/name')
    assert {'model.safetensors', 'config.json', 'tokenizer.json'} <= set(asked)
    assert lab('the', tokens=3, temperature=0.0) == jaxlab.load(tmp_path)('the', tokens=3, temperature=0.0)
