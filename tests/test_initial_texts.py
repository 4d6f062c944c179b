"""From pre-training to every purpose: what a run takes of another's weights, or of published ones, and what it says."""

import json

import jax
import numpy as np
import pytest

from jaxlab import blueprint, config_text, experiment, initial, pretrained
from jaxlab import config as configs
from jaxlab.data.processors import wordpiece
from jaxlab.main import main
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import bert
from jaxlab.train import train
from tests.experiments import ROOT, message, write_corpus
from tests.test_finetuning import sources

SMALL = dict(layers=2, width=32, heads=8, vocabulary_multiple=64, dropout=0.0)


def config_of(file, size, **overrides):
    config, _ = config_text.load(f'{ROOT}/configs/{file}.py:{size}')
    for key, value in overrides.items():
        config[key] = value
    return config


def begun(config):
    """Returns (the state that a run begins with, the one that it is born with, the data)."""
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data, config = experiment.make_data(config, mesh)
        batch = layout.global_shapes(data.batch(0), config.batch_size)
        plan = blueprint.draw(config, experiment.make_task(config, data.info), batch, mesh)
        begin = initial.of(config, plan)
        return begin(plan.born()), plan.born(), data


@pytest.fixture(scope='module')
def pretrained_run(tmp_path_factory):
    """A run that has filled gaps of a small corpus, and its experiment."""
    folder = tmp_path_factory.mktemp('gaps')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        config = config_of('bert_pretrain', 'tiny', steps=2)
        config.data.update(path=str(write_corpus(folder / 'texts')))
        config.data.processor.update(vocabulary=128)
        config.checkpoint.every = 2
        assert train(configs.check(config), folder / 'run', []) == 0
        yield folder / 'run', experiment.load(folder / 'run')


@pytest.fixture(scope='module')
def published(pretrained_run, tmp_path_factory):
    """The same, as a folder of published weights."""
    folder = tmp_path_factory.mktemp('published')
    _, lab = pretrained_run
    model = lab.task.model
    variables = {'params': lab.params}
    pretrained.save(folder, bert.family_for(model), variables, bert.config_of(model), rows=model.vocabulary)
    for name, content in lab.processor.published(model.context).items():
        (folder / name).write_bytes(content)
    return folder


def assert_equal(one, other):
    """Compares arrays; rows that only pad the table are not published."""
    assert one.shape == other.shape
    rows = 56 if len(one) == 64 else len(one)
    np.testing.assert_array_equal(one[:rows], other[:rows])


def finetuning(size, tmp_path, source, **overrides):
    config = config_of('bert_finetune', size, init_from=str(source), init_new_head=True, seed=1, **overrides)
    config.data.source = sources(tmp_path)[size]
    config.model.update(**SMALL, context=32)
    return configs.check(config)


@pytest.mark.parametrize('where', ['run', 'published'])
@pytest.mark.parametrize('size', ['tiny', 'tagging_tiny', 'question_answering_tiny'])
def test_from_filling_gaps_to_every_purpose(pretrained_run, published, tmp_path, monkeypatch, capsys, size, where):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    workdir, lab = pretrained_run
    state, born, data = begun(finetuning(size, tmp_path, workdir if where == 'run' else published))
    assert data.info['vocabulary'] == lab.processor.vocabulary
    for name in state.params:
        wanted = (born if name == 'head' else lab).params[name]
        jax.tree.map(assert_equal, state.params[name], wanted)
    assert ('pooler' in state.params) == (size == 'tiny')
    said = next(line for line in capsys.readouterr().out.splitlines() if 'begins with' in line)
    assert 'new here: head' in said
    pooler = {'run': 'pooler', 'published': 'bert.pooler.dense.'}[where]
    assert (pooler in said.partition('new here')[0]) == (size != 'tiny')


@pytest.mark.parametrize('where', ['run', 'published'])
def test_other_words_are_told_before_anything_compiles(pretrained_run, published, tmp_path, monkeypatch, where):
    """As many words, of which two have changed places: no shape can tell."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('jaxlab.train.compile_step', lambda *_: pytest.fail('compiled'))
    words = (published / 'vocab.txt').read_text('utf-8').splitlines()
    words[7], words[8] = words[8], words[7]
    (tmp_path / 'vocab.txt').write_text('\n'.join(words) + '\n', 'utf-8')
    source = pretrained_run[0] if where == 'run' else published
    config = finetuning('tiny', tmp_path, source)
    config.data.processor.path = str(tmp_path / 'vocab.txt')
    said = message(train, config, tmp_path / 'run', [])
    assert f'init_from={source} knows other words' in said and f'"{words[8]}" is token 7 there, and 8 here' in said
    assert '--config.data.processor.path=' in said


def test_what_is_published_makes_the_same_words(pretrained_run, published):
    ours, again = pretrained_run[1].processor, wordpiece.make(list, path=str(published))
    assert ours.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    assert ours.encode('the cat 猫 likes').tolist() == again.encode('the cat 猫 likes').tolist()


def test_gaps_go_on_without_a_new_head(pretrained_run, published, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    workdir, lab = pretrained_run
    config = config_of('bert_pretrain', 'tiny', init_from=str(published))
    config.data.update(path=str(workdir.parent / 'texts'))
    config.model.update(next_sentence=False)
    config.data.update(pairs=False)
    state, _, _ = begun(configs.check(config))
    kept = {name: leaf for name, leaf in lab.params['head'].items() if name != 'next'}
    jax.tree.map(np.testing.assert_array_equal, dict(state.params['head']), kept)
    said = next(line for line in capsys.readouterr().out.splitlines() if 'begins with' in line)
    assert 'cls.seq_relationship.weight' in said and 'new here: nothing' in said


@pytest.mark.reference
def test_an_export_is_loaded_by_transformers(pretrained_run, tmp_path):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    workdir, lab = pretrained_run
    assert main(['export', f'--workdir={workdir}', f'--folder={tmp_path / "out"}']) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / 'out')
    theirs = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / 'out').eval()
    text = 'the cat [MASK] 猫 and a dog'
    ids = tokenizer(text)['input_ids']
    pieces = [lab.processor.encode(piece) for piece in text.split('[MASK]')]
    ours = np.concatenate(
        [[lab.processor.first], pieces[0], [lab.processor.masked], pieces[1], [lab.processor.separator]]
    )
    assert ids == ours.tolist() and len(tokenizer) == lab.processor.vocabulary
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).prediction_logits[0].numpy()
    found = lab.task.model.apply({'params': lab.params}, ours[None])[0, :, : lab.processor.vocabulary]
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_predict_fills_the_gaps_of_a_text(pretrained_run, capsys):
    folder, lab = pretrained_run
    text = 'The [MASK] of a [MASK].'
    wanted = lab(text, top=2)
    assert main(['predict', f'--workdir={folder}', '--top=2', '--json', text]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [[gap['token'] for gap in gaps] for gaps in told[text]] == [[token for token, _ in gap] for gap in wanted]
    assert told[text][1][0]['probability'] == pytest.approx(wanted[1][0][1], rel=1e-5)
    assert main(['predict', f'--workdir={folder}', text, 'nothing is missing']) == 2, 'one of them has no gap'
    out, err = capsys.readouterr()
    assert f'{wanted[0][0][0]} {wanted[0][0][1]:.4f} | {wanted[1][0][0]}' in out and 'has no gap' in err
