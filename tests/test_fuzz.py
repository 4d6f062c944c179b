"""Configs that nobody should write: each is accepted or refused in one or two lines, and nothing compiles before that.

They go the way of a command line, up to where the step would compile. What is drawn are values of every type and size
for every key, parts that do not fit, keys that there are not, meshes that cannot be, and settings that contradict.
"""

import random
from collections import Counter

import jax
import pytest

import jaxlab.main
from jaxlab import config as configs
from jaxlab import config_text, train
from jaxlab.config import ROOMS, leaves
from jaxlab.errors import UserError
from tests.experiments import ROOT, TRANSFORMER, write_corpus

CONFIGS = 500
BASE = [('model.layers', '1'), ('model.width', '32'), ('data.length', '16'), ('log.sample_tokens', '4')]

WHOLE = [
    '-2147483649',
    '-2',
    '-1',
    '0',
    '1',
    '2',
    '3',
    '5',
    '7',
    '64',
    '1000',
    '2147483647',
    '2147483648',
    '1' + '0' * 30,
]
WHOLE += ['9' * 5000, '1_000', ' 7 ', '٣', '0x10', '1.0', '-0']
NUMBERS = ['-1', '-0.0', '0', '1e-320', '1e-40', '1e-30', '0.5', '0.99999999999', '1', '2', '1e30', '1e39', '1e308']
NUMBERS += ['nan', 'inf', '-inf', '1e999', '1/3', '0,5', '1e', '½']
TEXTS = [
    '',
    ' ',
    'x',
    'none',
    'None',
    '日本語',
    'a' * 5000,
    '../..',
    'x.y',
    '.',
    '..',
    'os.system',
    '%s{}{0}',
    '\0',
    '\ud800',
    '"',
]
TUPLES = [
    '()',
    '(1,)',
    '("a",)',
    '("accuracy","accuracy")',
    '(1, 2, 3)',
    '[[]]',
    '((((',
    '(' * 3000,
    '{1: 2}',
    '{[]: 1}',
    'None',
]
TUPLES += [
    '1e999',
    'b"x"',
    '(None,)',
    '("",)',
    '("os.system",)',
    '("\\0",)',
    '(nan,)',
    '1j',
    '...',
    '(0.5, 2)',
    '(-1,)',
    '("../a",)',
]
GROUPS = [
    '("a", "b")',
    '(("stack/", {}),)',
    '(("stack/", {"frozen": 1}),)',
    '((".*", {"frozen": True}),)',
    '(("(", {}),)',
]
GROUPS += ['(("stack/", {"learning_rate": 1e999}),)', '(("stack/", {"learning_rate": "x"}),)', '(("stack/", {1: 2}),)']
GROUPS += [
    '((1, {}),)',
    '(("no_such", {"l1": 1.0}),)',
    '(("stack/", {"l1": -1}),)',
    '(("stack/", {"weight_decay": 10**9}),)',
]
PATHS = [
    'nowhere',
    '/dev/null',
    '/proc/self/mem',
    '~nobody_of_this_name/x',
    'a' * 5000,
    '\0',
    '/root/' * 900,
    'tests/test_fuzz.py',
]
MESHES = ['-1', '0', '1', '2', '3', '4', '5', '8', '9', '16', '-2', '1' + '0' * 20]
KEYS = [
    '',
    '.',
    '..',
    'model.',
    '.model',
    'model..width',
    'model.width.x',
    'mesh',
    'model',
    'no.such.key',
    'name',
    'model.name.name',
]
KEYS += ['日本', 'model.__class__', 'optimizer.schedule.name.x', 'seed.name', 'evaluate.scores.0', '\0', 'a' * 3000]


def value(draw, key, old):
    """A text for a key whose value is of some type now: mostly of that type, and mostly wrong."""
    if key in ('data.path', 'init_from'):
        return draw.choice(PATHS)
    if key == 'optimizer.groups':
        return draw.choice(GROUPS + TUPLES)
    if key.startswith('mesh.'):
        return draw.choice(MESHES)
    if key == 'model.layers':  # of hundreds each is traced by itself
        return draw.choice([text for text in WHOLE if text not in ('64', '1000', '1_000')])
    of = {bool: ['true', 'FALSE', '2', 'yes', ''], int: WHOLE, float: NUMBERS, tuple: TUPLES}.get(type(old), TEXTS)
    return draw.choice(of if draw.random() < 0.85 else [*WHOLE, *NUMBERS, *TEXTS, *TUPLES])


def conflict(draw):
    """Settings that do not go together, or only just."""
    return draw.choice(
        [
            [('epochs', draw.choice(['1', '1e30', '1e-30', '0.001'])), ('steps', '3')],
            [('epochs', draw.choice(['1e30', '1e-30', '1e9', '3.4e38']))],
            [('full_batch', 'true'), ('accumulate', draw.choice(['3', '1000', '2147483647']))],
            [('full_batch', 'true'), ('epochs', '2'), ('steps_per_call', '1000')],
            [('batch_size', '2147483647'), ('accumulate', '2147483647')],
            [('data.length', '2147483647')],
            [('data.length', '1')],
            [('data.length', '2147483647'), ('batch_size', '2147483647')],
            [('mesh.data', '1'), ('mesh.tensor', '8'), ('model.heads', draw.choice(['2', '4', '8', '16', '32']))],
            [('mesh.data', '1'), ('mesh.fsdp', '8'), ('model.width', draw.choice(['20', '24', '36']))],
            [('mesh.data', '-1'), ('mesh.tensor', draw.choice(['-1', '3', '2'])), ('model.mlp_width', '33')],
            [('model.width', '2147483647'), ('model.heads', '7')],
            [('model.width', '2147483646'), ('model.heads', '2')],
            [('model.layers', '2147483647')],
            [('model.layers', '300'), ('model.scan', 'true')],
            [('model.vocabulary', '2147483647')],
            [('model.vocabulary_multiple', '2147483647')],
            [('model.context', '5')],
            [('model.positions', 'rotary'), ('model.heads', '32')],
            [('model.attention', 'cudnn')],
            [('precision.compute', draw.choice(['float64', 'bfloat16', 'int8'])), ('precision.parameters', 'bfloat16')],
            [('best.patience', '1'), ('evaluate.every', '0')],
            [('best.score', draw.choice(['test/loss', 'held_out/accuracy', 'held_out/', '/', 'x']))],
            [('evaluate.scores', '()'), ('best.patience', '1')],
            [('log.prompt', draw.choice(['\ud800', 'x' * 100, '日' * 30])), ('log.sample_every', '1')],
            [('log.sample_tokens', '2147483647')],
            [('optimizer.name', 'muon'), ('optimizer.iterations', '2147483647')],
            [('optimizer.name', 'adafactor'), ('optimizer.factor_from', '-5')],
            [('optimizer.schedule.warmup', '2147483647'), ('optimizer.schedule.horizon', '2147483647')],
            [('optimizer.schedule.name', 'plateau'), ('optimizer.schedule.window', '2147483647')],
            [('optimizer.schedule.name', 'step'), ('optimizer.schedule.at', draw.choice(TUPLES))],
            [('data.processor.name', 'published'), ('data.processor.path', draw.choice(PATHS))],
            [('data.processor.name', 'bpe'), ('data.processor.vocabulary', draw.choice(WHOLE))],
            [('data.processor.name', 'bpe'), ('data.processor.sample_bytes', draw.choice(WHOLE))],
            [('seed', draw.choice(['2147483647', '4294967296', '-1']))],
            [('steps', '2147483647'), ('steps_per_call', '2147483647')],
            [('log.wandb', 'x')],
        ]
    )


def draw_one(draw):
    """Returns overrides, as of a command line."""
    config, _ = config_text.load(f'{TRANSFORMER}:tiny')
    found = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        kind = draw.choices(['value', 'part', 'conflict', 'key', 'mesh'], [12, 3, 4, 1, 1])[0]
        if kind == 'value':
            key = draw.choice(list(leaves(config)))
            found.append((key, value(draw, key, leaves(config)[key])))
        elif kind == 'part':
            key = draw.choice(
                ['optimizer', 'optimizer', 'optimizer.schedule', 'data.processor', 'model', 'task', 'data']
            )
            room = ROOMS[key.rpartition('.')[2]]
            name = (
                draw.choice(configs.names(room))
                if draw.random() < 0.8
                else draw.choice([*TEXTS, 'jaxlab.train', 'json.x'])
            )
            found.append((f'{key}.name', name))
            try:
                own = configs.spec_of(room, name, {})
            except (UserError, ValueError):
                continue
            own_key = draw.choice(list(leaves(own)))
            if own_key != 'name':
                found.append((f'{key}.{own_key}', value(draw, f'{key}.{own_key}', leaves(own)[own_key])))
        elif kind == 'conflict':
            found += conflict(draw)
        elif kind == 'key':
            found.append((draw.choice(KEYS), draw.choice([*WHOLE, *TEXTS])))
        else:
            axes = draw.sample(['data', 'fsdp', 'stage', 'expert', 'context', 'tensor'], 2)
            found += [(f'mesh.{axis}', draw.choice(MESHES)) for axis in axes]
    return found


# Found once, by other draws.
FOUND = [
    [('optimizer.groups', '(("stack/", {1: 2}),)')],
    [('log.sample_tokens', '2147483647')],
    [('model.vocabulary', '2147483647')],
    [('model.width', '16777216'), ('model.heads', '7')],
    [('optimizer.schedule.name', 'plateau'), ('optimizer.schedule.window', '2147483647')],
]


class Accepted(BaseException):
    """It would compile now."""


class Stop:
    """Stands where the thread would start that compiles the step. Every so many times the step is traced at least."""

    number, every = 0, 8

    def __init__(self, workers):
        pass

    def submit(self, timed, compile_step, step, arguments, mesh, *more):
        Stop.number += 1
        if Stop.number % Stop.every == 0:
            jax.jit(step).trace(*arguments)
        raise Accepted


def outcome(overrides, workdir, capfd, file=TRANSFORMER):
    """Returns 'accepted', or what the user reads; anything else that happens is raised."""
    flags = [f'--config={file}:tiny', f'--workdir={workdir}', *(f'--config.{k}={v}' for k, v in overrides)]
    try:
        code = jaxlab.main.main(flags)
    except Accepted:
        capfd.readouterr()
        return 'accepted'
    finally:
        jax.config.update('jax_enable_x64', False)
    told = capfd.readouterr().err
    assert code == 2 and told.startswith('jaxlab: ') and len(told.splitlines()) <= 2 and 'Traceback' not in told, told
    assert len(told) < 20_000
    return told


def test_every_config_is_accepted_or_refused_in_a_sentence(tmp_path, monkeypatch, capfd, compiled):
    monkeypatch.setattr(train, 'ThreadPoolExecutor', Stop)
    monkeypatch.chdir(ROOT)
    corpus = str(write_corpus(tmp_path / 'corpus', documents=21))
    base = [*BASE, ('data.path', corpus)]
    assert outcome(base, tmp_path / 'base', capfd) == 'accepted'
    draw, found, broken = random.Random(0), Counter(), []
    for number in range(CONFIGS):
        overrides = FOUND[number] if number < len(FOUND) else draw_one(draw)
        keys = {key for key, _ in overrides}
        flags = [pair for pair in base if pair[0] not in keys] + overrides
        try:
            told = outcome(flags, tmp_path / str(number), capfd)
        except Exception as error:
            broken.append((overrides, f'{type(error).__name__}: {error}'[:300]))
            continue
        found['accepted' if told == 'accepted' else 'refused'] += 1
        if compiled:
            broken.append((overrides, f'{compiled} were compiled'))
            compiled.clear()
    assert 'looks back' in outcome([*base[:-2], ('data.path', corpus), *FOUND[1]], tmp_path / 'last', capfd)
    print(found)
    assert not broken, '\n'.join(f'{overrides}\n    {error}' for overrides, error in broken)
    assert min(found['accepted'], found['refused']) > CONFIGS // 10, 'both happen'


@pytest.mark.parametrize('size', ['transformer', 'mlp', 'gan'])
def test_parts_that_do_not_fit_are_refused_in_a_sentence(size, tmp_path, monkeypatch, capfd, compiled):
    monkeypatch.setattr(train, 'ThreadPoolExecutor', Stop)
    monkeypatch.setattr(Stop, 'every', 1)
    monkeypatch.chdir(ROOT)
    path = [('data.path', str(write_corpus(tmp_path / 'corpus', documents=21)))] if size == 'transformer' else []
    file, found = str(ROOT / 'configs' / f'{size}.py'), {}
    for task in configs.names('tasks'):
        for model in configs.names('models'):
            names = [('task.name', task), ('model.name', model)]
            told = outcome([*path, *names], tmp_path / f'{task}_{model}', capfd, file)
            found[task, model] = told
            assert not compiled
    own, _ = config_text.load(f'{file}:tiny')
    assert found[own.task.name.rpartition('.')[2], own.model.name.rpartition('.')[2]] == 'accepted'
    assert found['gan', 'gpt'] != 'accepted' != found['language_model', 'cnn']
    assert 'object' not in ''.join(found.values()), 'words of the program'
