"""`export`: what transformers loads says what the experiment says."""

import jax
import numpy as np
import pytest

import jaxlab
from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.data.processors.picture import Picture
from jaxlab.experiment import Experiment, make_task
from jaxlab.main import main
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import find, preprocessor
from jaxlab.verbs import export
from tests import published_folder
from tests.experiments import ROOT, message

PICTURE = Picture(16, 16, 3, 0, 'bicubic', (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), ('cat', 'dog', 'owl'))
MODELS = {
    'vit': dict(layers=1, width=16, heads=2, patch=4, pool='token', representation=0, scan=False),
    'resnet': dict(blocks=(1, 1), width=8, stem='imagenet', shortcut='B'),
    'efficientnet': dict(size=0, width=0.1, depth=0.1),
}


def of_pictures(name, tmp_path, processor=PICTURE):
    """An experiment as it is born."""
    config, _ = config_text.load(f'{ROOT}/configs/{name}.py:tiny')
    for key, value in MODELS[name].items():
        if key in config.model:
            config.model[key] = value
    config = configs.check(config)
    shape = [processor.height, processor.width, processor.channels]
    about = {'shape': shape, 'classes': 3, 'labels': list(processor.labels)}
    about |= {'mean': list(processor.mean), 'deviation': list(processor.deviation), 'class_counts': [1, 1, 1]}
    mesh = make_mesh({})
    with jax.set_mesh(mesh):
        task = make_task(config, about)
        batch = {'inputs': np.zeros((2, *shape), np.uint8), 'targets': np.zeros(2, np.int32), 'mask': np.ones(2)}
        params, extra = layout.unbox(jax.jit(task.init)(jax.random.key(0), batch))
    params = jax.tree.map(lambda x: x + 0.1, params)
    return Experiment(config, tmp_path, mesh, task, processor, params, extra, 0)


def test_of_a_language_model(tmp_path, capsys):
    published_folder.write(tmp_path / 'one')
    command = ['export', f'--workdir={tmp_path / "one"}', f'--folder={tmp_path / "two"}', '--shard=0.00002']
    assert main(command) == 0
    names = {file.name for file in (tmp_path / 'two').iterdir()}
    assert {'config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors.index.json'} <= names
    one, two = find(tmp_path / 'one'), find(tmp_path / 'two')
    assert one.config == two.config and one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        np.testing.assert_array_equal(tensor.read(), two.tensors[name].read())
    assert jaxlab.load(tmp_path / 'two')('the', tokens=4) == jaxlab.load(tmp_path / 'one')('the', tokens=4)
    assert 'model-00001-of-' in capsys.readouterr().out
    assert main(command) == 2 and 'a new folder is wanted' in capsys.readouterr().err
    halves = ['export', f'--workdir={tmp_path / "one"}', f'--folder={tmp_path / "half"}', '--dtype=bfloat16']
    assert main(halves) == 0 and find(tmp_path / 'half').config['dtype'] == 'bfloat16'
    assert {tensor.read().dtype.name for tensor in find(tmp_path / 'half').tensors.values()} == {'bfloat16'}


@pytest.mark.reference
@pytest.mark.parametrize('kind', ['gpt2', 'llama'])
def test_transformers_reads_the_same_words(kind, tmp_path):
    transformers = pytest.importorskip('transformers', reason='pip install .[reference]')
    torch = pytest.importorskip('torch', reason='pip install .[reference]')
    model, params, processor = published_folder.write(tmp_path / 'one', kind)
    export.write(jaxlab.load(tmp_path / 'one'), tmp_path / 'two')
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'two').eval()
    words = transformers.AutoTokenizer.from_pretrained(tmp_path / 'two')
    for text in ('the cat sees', '猫喜欢狗 naïve', ' two  spaces\n\n'):
        assert words(text, add_special_tokens=False).input_ids == processor.encode(text).tolist()
        assert words.decode(processor.encode(text)) == text
    assert words.eos_token_id == processor.end_of_text == theirs.config.eos_token_id
    tokens = processor.encode('the cat sees the dog')[None]
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(tokens).long()).logits.numpy()
    found = np.asarray(model.apply({'params': params}, tokens))
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.reference
@pytest.mark.parametrize('name', ['vit', 'resnet'])
def test_transformers_sees_the_same_picture(name, tmp_path):
    transformers = pytest.importorskip('transformers', reason='pip install .[reference]')
    torch = pytest.importorskip('torch', reason='pip install .[reference]')
    lab = of_pictures(name, tmp_path)
    export.write(lab, tmp_path / 'out')
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / 'out').eval()
    see = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'out')
    assert theirs.config.id2label == {0: 'cat', 1: 'dog', 2: 'owl'}
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    from PIL import Image

    with torch.no_grad():
        wanted = theirs(**see(Image.fromarray(picture), return_tensors='pt')).logits.numpy()
    with jax.set_mesh(lab.mesh):
        found = np.asarray(lab.task.predict(lab.params, lab.extra, {'inputs': picture[None]})['logits'])
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize('resize', [0, 20])
def test_what_is_done_to_pictures_there_and_back(resize):
    processor = Picture(16, 16, 3, resize, 'bicubic', (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert preprocessor.read(preprocessor.write(processor)) == {
        'size': (16, 16),
        'resize': resize,
        'mean': processor.mean,
        'deviation': processor.deviation,
        'interpolation': 'bicubic',
    }


def test_mistakes_are_one_sentence(tmp_path, capsys):
    published_folder.write(tmp_path / 'one')
    lab = jaxlab.load(tmp_path / 'one')
    command = ['export', f'--workdir={tmp_path / "one"}', f'--folder={tmp_path / "new"}']
    assert main([*command, '--shard=0']) == 2 and '--shard=0.0: more than 0' in capsys.readouterr().err
    assert main([*command, '--dtype=int8']) == 2 and 'invalid choice' in capsys.readouterr().err
    with lab.config.unlocked():
        lab.config.model.name = 'mlp'
    told = message(export.write, lab, tmp_path / 'new')
    assert (
        told.startswith('config.model.name=mlp: nothing says how it is exported; that is known of ') and 'gpt' in told
    )
