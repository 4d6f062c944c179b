"""Mistyped names are answered with the right one: keys, parts, verbs, flags, sizes, through what really reads them."""

import importlib
import random
import re
import string

import pytest

from jaxlab import config as configs
from jaxlab import config_text, errors, main
from jaxlab.config import ROOMS, leaves
from jaxlab.config_text import override
from jaxlab.errors import nearest
from tests.experiments import ROOT, TRANSFORMER, message

TYPOS = 200
OPTIMIZERS = str(ROOT / 'configs' / 'optimizers.py')


def typo(word, draw):
    """One edit, as fingers make them: a letter left out, added, changed, or two neighbours exchanged."""
    at, letter = draw.randrange(len(word)), draw.choice(string.ascii_lowercase)
    return draw.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
        ]
    )


def verbs():
    return [file.stem for file in (ROOT / 'jaxlab/verbs').glob('*.py') if file.stem != '__init__']


def flags(verb):
    parser = main.Parser(add_help=False)
    importlib.import_module(f'jaxlab.verbs.{verb}').arguments(parser)
    return [option for action in parser._actions for option in action.option_strings]


@pytest.fixture(scope='module')
def every_config():
    found = [config_text.load(f'{TRANSFORMER}:{size}')[0] for size in config_text_sizes()]
    return found + list(config_text.load_all(f'{OPTIMIZERS}:tiny')[0].values())


def config_text_sizes():
    spec = importlib.util.spec_from_file_location('transformer', TRANSFORMER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.SIZES)


def draw_one(draw, every_config):
    """Returns (what was meant, what was typed, all names of its kind, what reads it and complains)."""
    kind = draw.choices(['key', 'part', 'score', 'verb', 'flag', 'size', 'head'], [8, 4, 1, 1, 4, 1, 1])[0]
    config = draw.choice(every_config)
    if kind == 'key':
        names = [*leaves(config), *(key for key in config)]
        meant = draw.choice(list(leaves(config)))
        typed = typo(meant, draw)
        return meant, typed, names, lambda: override(config, main.parse([f'--config.{typed}=1']).overrides)
    if kind == 'part':
        key = draw.choice(['optimizer', 'optimizer', 'optimizer.schedule', 'data.processor', 'model', 'task', 'data'])
        names = configs.names(ROOMS[key.rpartition('.')[2]])
        meant = draw.choice(names)
        typed = typo(meant, draw)
        return meant, typed, names, lambda: override(config, main.parse([f'--config.{key}.name={typed}']).overrides)
    if kind == 'score':
        names = configs.names('scores')
        meant = draw.choice(names)
        typed = typo(meant, draw)
        flag = f'--config.evaluate.scores=("{typed}",)'
        return meant, typed, names, lambda: configs.check(override(config, main.parse([flag]).overrides))
    if kind == 'verb':
        meant = draw.choice(verbs())
        typed = typo(meant, draw)
        return meant, typed, verbs(), lambda: main.parse([typed])
    if kind == 'flag':
        verb = draw.choice(verbs())
        meant = draw.choice(flags(verb))
        typed = '--' + typo(meant[2:], draw)
        required = ['--workdir=.'] * (verb not in ('train', 'report', 'prepare', 'certify', 'diff')) + ['--step=1'] * (
            verb == 'replay'
        )
        required += (
            ['cat.png'] * (verb == 'predict')
            + ['weights'] * (verb == 'certify')
            + ['--folder=out'] * (verb == 'export')
            + ['a', 'b'] * (verb == 'diff')
        )
        return meant, typed, flags(verb), lambda: main.parse([verb, *required, f'{typed}=1'])
    if kind == 'size':
        names = config_text_sizes()
        meant = draw.choice(names)
        typed = typo(meant, draw)
        return meant, typed, names, lambda: config_text.load(f'{TRANSFORMER}:{typed}')
    meant = '--config.' + draw.choice(list(leaves(config)))
    typed = '--' + typo('config', draw) + meant.removeprefix('--config')
    return meant, typed, [meant], lambda: main.parse(['train', f'{typed}=1'])


def wrong_answers(every_config):
    """Returns, of TYPOS typos, those that are answered with another name or none: (typed, meant, answered)."""
    draw, wrong, tried = random.Random(0), [], set()
    while len(tried) < TYPOS:
        meant, typed, names, read = draw_one(draw, every_config)
        if typed in names or not typed.strip('-') or typed.startswith('-') > meant.startswith('-'):
            continue  # no typo: another name of this kind, or nothing
        if (typed, meant) in tried:
            continue
        tried.add((typed, meant))
        suggested = re.search(r'Did you mean "([^"]*)"\?', message(read))
        if not suggested or suggested[1] != meant:
            wrong.append((typed, meant, suggested and suggested[1]))
    return wrong


def test_typos_are_answered_with_the_right_name(every_config):
    wrong = wrong_answers(every_config)
    print(f'the right name first: {1 - len(wrong) / TYPOS:.1%} of {TYPOS}; not: {wrong}')
    assert len(wrong) <= 0.05 * TYPOS, wrong


@pytest.mark.parametrize(
    'other',
    [
        lambda typed, meant, limit: abs(len(typed) - len(meant)),
        lambda typed, meant, limit: sum(a != b for a, b in zip(typed, meant)) + abs(len(typed) - len(meant)),
    ],
    ids=['lengths', 'places'],
)
def test_other_distances_are_noticed(other, every_config, monkeypatch):
    monkeypatch.setattr(errors, '_edits', other)
    assert len(wrong_answers(every_config)) > 0.05 * TYPOS


@pytest.mark.parametrize(
    ('typed', 'meant'),
    [
        *(('learning_rate', 'optimizer.learning_rate'), ('learning_rte', 'optimizer.learning_rate')),
        *(('model.learning_rate', 'optimizer.learning_rate'), ('schedule.warmup', 'optimizer.schedule.warmup')),
        *(('optimizer.warmup', 'optimizer.schedule.warmup'), ('processor.vocabulary', 'data.processor.vocabulary')),
        *(('batchsize', 'batch_size'), ('Batch_Size', 'batch_size'), ('layers', 'model.layers')),
        *(('model.dropuot', 'model.dropout'), ('eval.scores', 'evaluate.scores')),
    ],
)  # fmt: skip
def test_groups_that_are_left_out_or_others(typed, meant):
    config, _ = config_text.load(TRANSFORMER)
    assert f'Did you mean "{meant}"?' in message(override, config, [(typed, '1')])


@pytest.mark.parametrize('typed', ['', 'zzzzzz', 'q', 'x.y.z', '日本', '.', '..', 'qqqq.qqqqqq'])
def test_what_is_like_nothing_is_answered_with_nothing(typed):
    config, _ = config_text.load(TRANSFORMER)
    assert nearest(typed, leaves(config)) == ''


def test_what_is_likelier_wins():
    assert '"adamw"' in nearest('adaw', ['adam', 'adamw']), 'a letter left out, and not just this one changed'
    assert '"steps"' in nearest('stpes', ['stops', 'steps'])
    assert '"model.width"' in nearest('model.widh', ['model.width', 'width'])


def test_large_vocabularies_are_searched_in_no_time(monkeypatch):
    draw = random.Random(0)
    names = [''.join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 12))) for _ in range(5000)]
    looked = []
    edits = errors._edits
    monkeypatch.setattr(errors, '_edits', lambda *a: looked.append(a) or edits(*a))
    assert '"<|endoftext|>"' in nearest('<|endoftxt|>', [*names, '<|endoftext|>'])
    assert len(looked) <= len(names) + 1
