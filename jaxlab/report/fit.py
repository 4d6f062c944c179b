"""Is it over-fitting? Training loss against held-out loss: the gap between them, and what it means."""

from dataclasses import dataclass

import numpy as np

from jaxlab.report.record import Record, Series

CHANGE = 0.01  # a loss that moved by less than this part of itself stood still: batches differ by about as much


@dataclass(frozen=True)
class Fit:
    """What the two losses say together, at the last evaluation.

    Attributes:
      smooth: the training loss, each value the mean of `window` rows around it, or of those that there are.
      window: of how many rows.
      held_out: the held-out loss.
      gap: held-out loss minus smoothed training loss, at each evaluation.
      best: index into `held_out` of its lowest value.
      verdict: 'early' (one evaluation says nothing), 'over' (over-fitting: held-out loss has risen, and training loss
        has not), 'unstable' (both have risen), 'under' (both still fall, and are close), 'falling' (held-out loss
        still falls, well above the other), 'level' (held-out loss stands still).
    """

    smooth: Series
    window: int
    held_out: Series
    gap: Series
    best: int
    verdict: str


def smooth(series: Series) -> tuple[Series, int]:
    """Returns (each value the mean of the rows around it, how many): a fiftieth of the run, and at least 5 rows.

    At the ends it is the mean of those that there are: the last value is of `tail` rows.
    """
    half = max(2, len(series) // 100)
    total = np.concatenate([[0.0], np.cumsum(series.values)])
    at = np.arange(len(series))
    begins, ends = np.maximum(at - half, 0), np.minimum(at + half + 1, len(series))
    return Series(series.steps, (total[ends] - total[begins]) / (ends - begins)), 2 * half + 1


def tail(series: Series) -> int:
    """Returns of how many rows the last smoothed value is the mean."""
    return min(max(2, len(series) // 100) + 1, len(series))


def fit(record: Record) -> Fit | None:
    """Returns what training and held-out loss say together; None where one of them was never measured."""
    training, name = record.series.get('train/loss'), held_out_loss(record)
    if not training or not name:
        return None
    held_out = record.series[name]
    smoothed, window = smooth(training)
    at = np.searchsorted(smoothed.steps, held_out.steps, side='right') - 1
    if not (at >= 0).any():
        return None  # evaluated before the first row was logged, and never since
    held_out = Series(held_out.steps[at >= 0], held_out.values[at >= 0])
    gap = Series(held_out.steps, held_out.values - smoothed.values[at[at >= 0]])
    best = int(np.argmin(held_out.values))
    return Fit(smoothed, window, held_out, gap, best, _verdict(held_out.values, gap.values, best))


def held_out_loss(record: Record) -> str:
    """Returns the name of the held-out loss, such as 'eval/held_out/loss'; '' where there is none."""
    losses = [name for name in record.scores() if name.endswith('/loss')]
    return 'eval/held_out/loss' if 'eval/held_out/loss' in losses else losses[0] if losses else ''


def _verdict(held_out: np.ndarray, gap: np.ndarray, best: int) -> str:
    if len(held_out) < 2:
        return 'early'
    training = held_out - gap
    if held_out[-1] - held_out[best] > CHANGE * abs(held_out[best]):
        return 'unstable' if training[-1] > (1 + CHANGE) * training[best] else 'over'
    before = len(held_out) - 1 - max(1, len(held_out) // 5)  # the last fifth of the evaluations, or the last one
    if held_out[before] - held_out[-1] <= CHANGE * abs(held_out[before]):
        return 'level'
    return 'under' if gap[-1] < 0.1 * abs(held_out[-1]) else 'falling'
