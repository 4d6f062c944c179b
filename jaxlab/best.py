"""The best evaluation so far: its checkpoint is kept, and a run that has not improved on it for long ends early.

It is a value on the host, saved with every checkpoint, so a run that was killed goes on as the unbroken one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml_collections import ConfigDict

from jaxlab.errors import UserError, nearest
from jaxlab.messages import say
from jaxlab.scores import RowScore, Score


@dataclass(frozen=True)
class Best:
    """What to look at, and what has been seen.

    Attributes:
      score: such as 'held_out/loss'; '': nothing is looked at.
      higher: whether more is better.
      least: how much better than the best so far an evaluation must be, in units of the score; 0: any bit.
      patience: evaluations in a row without a new best after which training ends; 0: it does not.
      value, step: the best so far, and the step it was of; 0: nothing was evaluated yet.
      since: evaluations after that.
      owed: whether the evaluation and the sample that were due at this step are still to be made: the run was asked to
        end before.
    """

    score: str = ''
    higher: bool = False
    least: float = 0.0
    patience: int = 0
    value: float = 0.0
    step: int = 0
    since: int = 0
    owed: bool = False

    def after(self, step: int, row: Mapping[str, float]) -> 'Best':
        """Returns the best with one evaluation more, of `step`: {'eval/held_out/loss': 2.1, …}."""
        if not self.score:
            return self
        value = row[f'eval/{self.score}']
        gain = value - self.value if self.higher else self.value - value
        if math.isfinite(value) and (not self.step or gain > self.least):
            return replace(self, value=value, step=step, since=0)
        return replace(self, since=self.since + 1)

    @property
    def exhausted(self) -> bool:
        """Whether training ends here."""
        return 0 < self.patience <= self.since

    def record(self) -> dict[str, Any]:
        """Returns what goes on record: JSON values."""
        return {'score': self.score, 'value': self.value, 'step': self.step, 'since': self.since, 'owed': self.owed}

    def resumed(self, record: Mapping[str, Any]) -> 'Best':
        """Returns the best that a run goes on from. A record of another score says no more than what is owed."""
        return replace(self, **record) if record['score'] == self.score else replace(self, owed=record['owed'])

    def summary(self, step: int) -> str:
        """Returns one line for the end of a run at `step`; '' where there is nothing to tell."""
        if self.exhausted:
            return say(
                'ended early at step {step}: {score} has not improved in {since} evaluations; the best was {value:.4f}'
                ' at step {best} (--step=best)',
                **{**self.record(), 'step': step, 'best': self.step},
            )
        if self.step in (0, step):
            return ''
        return say(
            'the best {score} was {value:.4f} at step {step}; its checkpoint is kept (--step=best)', **self.record()
        )


def make_best(config: ConfigDict, parts: Collection[str], scores: Sequence[Score | RowScore], every: int) -> Best:
    """Returns the best of a new run.

    Args:
      config: the config's `best`.
      parts: names of the parts of the data that are evaluated.
      scores: what is measured on each.
      every: steps between two evaluations; 0: only the last step is evaluated.

    Raises:
      UserError: there is no such score, or it is one of the test part, on which nothing may be chosen; or a value is
        out of range.
    """
    better = {name: which for score in scores for name, which in score.better.items()}
    higher = {f'{part}/{name}': which == 'higher' for part in parts for name, which in better.items()}
    valid = [name for name in higher if not _is_test(name)]
    score = next(iter(valid), '') if config.score == 'auto' else config.score
    known = ', '.join(valid)
    if _is_test(score):
        raise UserError(
            'config.best.score={score}: what is chosen by the test part cannot be tested on it; there are: {known}.',
            score=score,
            known=known,
        )
    if score and score not in valid:
        raise UserError(
            'config.best.score={score}: this is not measured; there are: {known}.{near}',
            score=score,
            known=known,
            near=nearest(score, valid),
        )
    for name, low in (('least', 0.0), ('patience', 0)):
        if config[name] < low:
            raise UserError('config.best.{name}={value}: a number from 0 up is wanted.', name=name, value=config[name])
    if config.patience and not (score and every):
        raise UserError(
            'config.best.patience={patience}: nothing is evaluated that training could be ended by'
            ' (config.evaluate.every={every}, config.best.score="{score}").',
            patience=config.patience,
            every=every,
            score=score,
        )
    return Best(score, bool(score) and higher[score], config.least, config.patience)


def _is_test(score: str) -> bool:
    return score.partition('/')[0].startswith('test')
