"""Which evaluation is the best so far, when a run ends early, and what may not choose."""

import dataclasses
import json

import pytest
from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab.best import Best, make_best
from jaxlab.errors import UserError
from jaxlab.evaluation import make_scores


def follow(best, values):
    """Returns the best after evaluations at the steps 10, 20, …, and the step at which the run ends."""
    for number, value in enumerate(values, 1):
        best = best.after(10 * number, {'eval/held_out/loss': value, 'eval/held_out/other': -value})
        if best.exhausted:
            return best, 10 * number
    return best, 0


@pytest.mark.parametrize(
    ('rule', 'values', 'step', 'ends'),
    [
        ({}, [3, 2, 4, 1, 5], 40, 0),
        ({}, [3, 2, 2, 2], 20, 0),  # the first of equals
        ({'higher': True}, [3, 2, 4, 1, 5], 50, 0),
        ({'least': 0.5}, [3, 2.6, 2.4, 2.0], 30, 0),  # 2.6 and 2.0 are not better by more than that
        ({'patience': 2}, [3, 2, 4, 1, 5, 6, 0], 40, 60),
        ({'patience': 1}, [3, 2, 4, 1], 20, 30),
        ({'patience': 2, 'least': 10.0}, [3, 2, 1, 0], 10, 30),
        ({'patience': 2}, [float('nan'), float('inf'), 3], 0, 20),  # nothing finite is ever the best
        ({}, [float('nan'), 3, float('nan'), float('-inf')], 20, 0),
        ({'score': ''}, [3, 2], 0, 0),
    ],
)
def test_the_best_so_far(rule, values, step, ends):
    best, ended = follow(Best(**{'score': 'held_out/loss', **rule}), values)
    assert (best.step, ended) == (step, ends)
    if step:
        assert best.value == values[step // 10 - 1]


def test_whoever_goes_on_ends_where_the_unbroken_one_does():
    rule, values = Best('held_out/loss', patience=3), [5, 4, 4.5, 4.6, 3, 3.5, 3.5, 3.5, 1]
    unbroken, ended = follow(rule, values)
    assert (unbroken.step, ended) == (50, 80)
    for broken in range(1, 8):
        record = json.loads(json.dumps(follow(rule, values[:broken])[0].record()))
        best = rule.resumed(record)
        for number in range(broken + 1, 9):
            best = best.after(10 * number, {'eval/held_out/loss': values[number - 1]})
        assert best == unbroken and best.exhausted
    assert dataclasses.replace(rule, score='held_out/other').resumed(record).step == 0  # of another score


def make(parts=('held_out',), names=('perplexity', 'accuracy'), every=10, **settings):
    node = ConfigDict({**configs.experiment().best.to_dict(), **settings})
    return make_best(node, parts, make_scores(names, {}), every)


def test_a_score_says_itself_which_is_better():
    assert make() == Best('held_out/loss', higher=False)
    assert make(score='held_out/accuracy') == Best('held_out/accuracy', higher=True)
    assert make(names=('accuracy',)) == Best('held_out/accuracy', higher=True)
    assert make(parts=('test', 'held_out'), score='auto').score == 'held_out/loss'
    assert make(parts=('test',)) == Best() == make(score='')


@pytest.mark.parametrize(
    ('settings', 'answer'),
    [
        ({'score': 'held_out/los'}, 'Did you mean "held_out/loss"?'),
        ({'score': 'loss'}, 'there are: held_out/loss, held_out/perplexity, held_out/accuracy'),
        ({'score': 'held_out/bits_per_byte'}, 'not measured'),
        ({'score': 'test/loss', 'parts': ('held_out', 'test')}, 'chosen by the test part'),
        ({'score': 'test_b/loss', 'parts': ('held_out', 'test_b')}, 'chosen by the test part'),
        ({'patience': -1}, 'config.best.patience=-1'),
        ({'least': -0.1}, 'config.best.least=-0.1'),
        ({'patience': 2, 'score': ''}, 'config.best.score=""'),
        ({'patience': 2, 'every': 0}, 'config.evaluate.every=0'),
        ({'patience': 2, 'parts': ('test',)}, 'nothing is evaluated'),
    ],
)
def test_mistakes(settings, answer):
    with pytest.raises(UserError) as caught:
        make(**settings)
    assert answer in str(caught.value) and 'config.best.' in str(caught.value)
