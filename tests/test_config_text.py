"""What people write becomes a config, and mistakes are answered with the right name; records are read back."""

import importlib
import json
import re

import pytest

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.config import build, leaves, spec
from jaxlab.config_text import IDENTITY, from_json, override
from tests.experiments import message, transformer


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    """A package of the user's own on the Python path, which leaves a file behind when it is imported."""
    (tmp_path / 'my_lab').mkdir()
    (tmp_path / 'my_lab/__init__.py').write_text(f'open({str(tmp_path / "imported")!r}, "w").close()')
    (tmp_path / 'my_lab/nets.py').write_text('def make(info, dtype, param_dtype, *, width=8): return info, width\n')
    (tmp_path / 'my_lab/empty.py').write_text('')
    (tmp_path / 'my_lab/hollow.py').write_text('def make(info, *, depth=None): return depth\n')
    monkeypatch.syspath_prepend(tmp_path)
    for name in ('my_lab', 'my_lab.nets', 'my_lab.empty', 'my_lab.hollow'):
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
    return tmp_path / 'imported'


# --- overrides -------------------------------------------------------------------------------------------------------


def test_a_value_is_read_by_the_type_it_replaces():
    found = override(
        transformer(),
        [
            ('steps', '7'),
            ('average', '1'),
            ('optimizer.learning_rate', '3e-4'),
            ('model.scan', 'True'),
            ('model.tied', '0'),
            ('model.norm', 'rms'),
            ('data.path', 'a=b c'),
            ('evaluate.scores', "('accuracy',)"),
            ('mesh.fsdp', '-1'),
        ],
    )
    assert (found.steps, found.model.scan, found.model.tied, found.model.norm) == (7, True, False, 'rms')
    assert (found.average, type(found.average)) == (1.0, float)
    assert (found.optimizer.learning_rate, found.data.path, found.mesh.fsdp) == (3e-4, 'a=b c', -1)
    assert found.evaluate.scores == ('accuracy',)


def test_every_leaf_can_be_overridden_by_what_is_printed_of_it():
    c = transformer()
    assert override(c, [(key, str(value)) for key, value in leaves(c).items()]) == c


@pytest.mark.parametrize(
    ('key', 'text'),
    [
        ('steps', '1e3'),
        ('steps', 'many'),
        ('steps', ''),
        ('model.scan', 'maybe'),
        ('model.scan', '2'),
        ('optimizer.learning_rate', 'fast'),
        ('optimizer.learning_rate', 'nan'),
        ('optimizer.learning_rate', 'inf'),
        ('evaluate.scores', '(1,'),
        ('evaluate.scores', '__import__("os").getcwd()'),
        ('model', 'gpt'),
        ('mesh', '8'),
    ],
)
def test_a_value_of_the_wrong_type(key, text):
    assert f'--config.{key}' in message(override, transformer(), [(key, text)])


def test_override_leaves_its_argument_alone():
    c = transformer()
    override(c, [('model.width', '8'), ('optimizer.name', 'sgd')])
    assert c == transformer()


@pytest.mark.parametrize('turn', [1, -1])
def test_a_new_name_brings_its_own_defaults_and_takes_overrides_whatever_the_order(turn):
    c = transformer()
    c.optimizer.weight_decay = 0.77
    found = override(
        c, [('optimizer.name', 'momentum'), ('optimizer.momentum', '0.5'), ('optimizer.clip', '2')][::turn]
    )
    assert found.optimizer == spec('optim.momentum', momentum=0.5, clip=2.0)


@pytest.mark.parametrize('turn', [1, -1])
def test_nested_names_are_swapped_as_well(turn):
    flags = [
        ('optimizer.schedule.warmup', '3'),
        ('optimizer.schedule.name', 'constant'),
        ('optimizer.name', 'sgd'),
        ('data.processor.name', 'bytes'),
    ]
    found = override(transformer(), flags[::turn])
    assert found.optimizer == spec('optim.sgd', schedule=spec('schedules.constant', warmup=3))
    assert found.data == spec('data.text', processor=spec('data.processors.bytes'))


def test_the_name_that_is_there_changes_nothing():
    c = transformer()
    assert override(c, [('model.name', 'gpt')]) == c


def test_an_argument_of_the_old_part_is_none_of_the_new():
    text = message(override, transformer(), [('optimizer.name', 'sgd'), ('optimizer.beta1', '0.5')])
    assert '--config.optimizer.beta1' in text


@pytest.mark.parametrize(
    ('name', 'answer'),
    [
        ('gtp', 'Did you mean "gpt"?'),
        ('', 'there are bert'),
        ('../gpt', 'there are bert'),
        ('.gpt', 'Did you mean "gpt"?'),
        ('no_such.module', 'no module'),
        ('json', 'there are bert'),
        ('json.decoder', 'no function make'),
    ],
)
def test_a_name_that_is_not_there(name, answer):
    text = message(override, transformer(), [('model.name', name)])
    assert text.startswith(f'--config.model.name={name}') and answer in text


# --- on record -------------------------------------------------------------------------------------------------------


def test_json_round_trip():
    c = override(transformer(), [('evaluate.scores', "('accuracy', 'perplexity')"), ('optimizer.learning_rate', '0.1')])
    back = config_text.from_json(config_text.to_json(c))
    assert back == c
    assert config_text.identity(back) == config_text.identity(c) and config_text.difference(back, c) == []
    assert {key: type(value) for key, value in leaves(back).items()} == {key: type(v) for key, v in leaves(c).items()}


def test_a_damaged_record():
    assert 'JSON' in message(config_text.from_json, config_text.to_json(transformer())[:-20])


def test_identity_is_what_is_learned_and_not_how_it_runs():
    c = transformer()
    who = config_text.identity(c)
    assert re.fullmatch('[0-9a-f]{8}', who)
    same = [
        ('steps', '9'),
        ('mesh.fsdp', '8'),
        ('model.micro_batches', '4'),  # of a mesh with stages
        ('log.every', '3'),
        ('checkpoint.keep', '9'),
        ('precision.compute', 'bfloat16'),
    ]
    for flag in same:
        assert config_text.identity(override(c, [flag])) == who, flag
    other = [('seed', '1'), ('batch_size', '64'), ('model.width', '32'), ('model.dropout', '0.1'), ('data.length', '8')]
    other += [('optimizer.name', 'sgd'), ('optimizer.schedule.warmup', '1'), ('task.label_smoothing', '0.1')]
    names = {config_text.identity(override(c, [flag])) for flag in other}
    assert len(names | {who}) == len(other) + 1
    of_a_gan = {'discriminator_optimizer'}  # see tests/verbs/test_generate.py
    assert {flag[0].split('.')[0] for flag in other} == set(IDENTITY) - of_a_gan
    whole = override(c, [('full_batch', 'true')])
    assert configs.check(whole).full_batch and config_text.identity(whole) not in names | {who}
    counted = whole.copy_and_resolve_references()
    counted.batch_size = 1234  # as the data say, and as config.json has it
    assert 'config.accumulate cuts it' in message(override, whole, [('batch_size', '1234')])
    assert config_text.identity(counted) == config_text.identity(whole) and config_text.difference(counted, whole) == []
    assert config_text.difference(c, whole) == ['batch_size: 32 → all']


def test_steps_on_the_command_line_win_over_epochs_of_the_file():
    c = transformer()
    c.epochs = 3.0
    assert override(c, [('steps', '7')]).epochs == 0.0 and override(c, [('epochs', '2')]).epochs == 2.0
    assert override(c, [('seed', '1')]).epochs == 3.0
    assert 'one of them' in message(override, c, [('steps', '7'), ('epochs', '2')])


def test_difference_is_in_words():
    c = transformer()
    new = override(c, [('model.width', '128'), ('steps', '5'), ('optimizer.name', 'momentum')])
    found = config_text.difference(c, new)
    assert 'model.width: 64 → 128' in found
    assert 'optimizer.momentum: (none) → 0.9' in found and 'optimizer.beta1: 0.9 → (none)' in found
    assert not [line for line in found if line.startswith('steps')]


# --- modules of the user's own ---------------------------------------------------------------------------------------


def test_a_module_of_the_users_own(my_lab):
    found = override(transformer(), [('model.width', '3'), ('model.name', 'my_lab.nets')])
    assert my_lab.exists() and found.model == spec('models.my_lab.nets', width=3)
    assert build(found.model, 'info', None, None, key='model') == ('info', 3)
    assert 'no function make' in message(spec, 'models.my_lab.empty')
    assert 'depth' in message(spec, 'models.my_lab.hollow')  # None: no flag could change it


@pytest.mark.parametrize('key', ['model.name', 'data.processor.name', 'optimizer.schedule.name', 'evaluate.scores'])
def test_a_config_that_was_found_imports_nothing_unless_it_is_allowed_to(key, my_lab):
    c = transformer()
    *parents, last = key.split('.')
    node = c
    for parent in parents:
        node = node[parent]
    node[last] = ('my_lab.nets',) if key == 'evaluate.scores' else 'my_lab.nets'
    text = config_text.to_json(c)
    assert '--allow_import=my_lab' in message(config_text.from_json, text)
    assert '--allow_import=my_lab' in message(config_text.from_json, text, ['my_la', 'nets'])
    assert not my_lab.exists()
    found = config_text.from_json(text, ['my_lab'])
    assert configs.leaves(found)[key] == configs.leaves(c)[key]


# --- config files ----------------------------------------------------------------------------------------------------


def test_a_config_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').mkdir()
    file = tmp_path / 'configs/mine.py'
    file.write_text(
        'from jaxlab.config import experiment, pick\n'
        'def get_config(size="default"):\n'
        '  c = experiment()\n'
        '  c.steps = pick(size, {"default": 5, "tiny": 2})\n'
        '  return c\n'
    )
    assert [config_text.load(f'configs/mine.py{size}')[0].steps for size in ('', ':tiny')] == [5, 2]
    assert config_text.load('configs/mine.py:tiny')[1] == 'mine'
    assert 'Did you mean "tiny"?' in message(config_text.load, 'configs/mine.py:tyni')
    assert 'Did you mean "configs/mine.py"?' in message(config_text.load, 'configs/mien.py')
    with_more = file.read_text() + (
        'def get_configs(size="default"):\n  return {name: get_config(size) for name in ("one", "two")}\n'
    )
    (tmp_path / 'configs/several.py').write_text(with_more)
    for words, chosen, steps in [('', ['one', 'two'], 5), (':two', ['two'], 5), (':tiny:two', ['two'], 2)]:
        found, *rest = config_text.load_all(f'configs/several.py{words}')
        assert rest == [chosen, 'several'] and {name: c.steps for name, c in found.items()} == dict.fromkeys(
            ('one', 'two'), steps
        )
    assert config_text.load('configs/several.py:tiny:one')[0].steps == 2
    assert 'configs/several.py:one is one of them' in message(config_text.load, 'configs/several.py')
    assert 'Did you mean "two"?' in message(config_text.load_all, 'configs/several.py:tow')
    file.write_text('')
    assert 'get_config' in message(config_text.load, 'configs/mine.py')
    file.write_text('def get_config(): return 3\n')
    assert 'no sizes' in message(config_text.load, 'configs/mine.py:tiny')


def test_a_config_from_before_the_code_grew_gets_the_new_defaults():
    config = transformer()
    old = json.loads(config_text.to_json(config))
    del old['optimizer']['clip'], old['optimizer']['schedule']['final'], old['model']['dropout'], old['accumulate']
    del old['checkpoint']['keep']
    found = from_json(json.dumps(old))
    defaults = spec('optim.' + config.optimizer.name)
    assert found.optimizer.clip == defaults.clip and found.model.dropout == 0.0
    assert (found.accumulate, found.checkpoint.keep) == (1, 2)
    assert found.model.width == config.model.width
