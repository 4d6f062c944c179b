"""The one exception a person is meant to see."""

import math
from collections.abc import Iterable

from jaxlab.messages import say


class UserError(Exception):
    """A mistake the user can mend: UserError('{count} rows: at least 1 is wanted.', count=count).

    The message is one or two lines: what is wrong, where it was set, what would be right. `jaxlab.main` prints it
    without a traceback and exits with code 2. Broken invariants are `assert`s instead: they are our mistake, and want
    the traceback.
    """

    def __init__(self, template: str, /, **values: object) -> None:
        super().__init__(say(template, **values))


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns ' Did you mean "…"?' for the closest of `names`, or '' where nothing is close."""
    best, found = math.inf, ''
    for other in names:
        if (cost := _unlikeliness(name.casefold(), other.casefold(), best)) < best:
            best, found = cost, other
    return say(' Did you mean "{name}"?', name=found) if found else ''


def _unlikeliness(typed: str, meant: str, limit: float) -> float:
    """Returns how unlikely it is that somebody who meant one name typed the other; infinity where it is none of both
    or not below `limit`."""
    words = meant.split('.')
    last = typed.rpartition('.')[2]
    # As it is; with groups of a config left out (learning_rate); in another group (model.learning_rate).
    ways = [(0.0, typed, meant)] + [(1.0, typed, '.'.join(words[n:])) for n in range(1, len(words))]
    ways += [(2.0, last, words[-1])] * ('.' in typed)
    costs = [limit]
    for cost, one, other in ways:
        # Of a name of some length half may be wrong, of a very short one a single letter.
        most = max(0.56 * max(len(one), len(other)), 1.1) if min(len(one), len(other)) > 1 else 0.0
        edits = _edits(one, other, min(min(costs) - cost, most + 0.01))
        if len(one) > 2 and other.startswith(one):
            edits = min(edits, 1.5)  # a name that somebody did not finish
        if edits <= most:
            costs.append(cost + edits)
    return min(costs) if min(costs) < limit else math.inf


def _edits(typed: str, meant: str, limit: float) -> float:
    """Returns how many letters were left out, exchanged with their neighbour, added or changed (the Damerau–Levenshtein
    distance, of which no letter is edited twice); infinity from `limit` on.

    To add or change one counts a little more: to hit just this letter, of all, is less likely.
    """
    if abs(len(typed) - len(meant)) >= limit:
        return math.inf
    before: list[float] = []
    row = [float(j) for j in range(len(meant) + 1)]
    for i, letter in enumerate(typed, 1):
        before, last, row = row, before, [1.1 * i]
        for j, right in enumerate(meant, 1):
            cost = min(before[j - 1] + 1.1 * (letter != right), before[j] + 1.1, row[-1] + 1.0)
            if i > 1 and j > 1 and letter == meant[j - 2] and typed[i - 2] == right:
                cost = min(cost, last[j - 2] + 1.0)
            row.append(cost)
        if min(*row, *before) >= limit:
            return math.inf
    return row[-1]


def alternatives(name: str, names: Iterable[str]) -> str:
    """Returns 'there are a, b, c.' for all `names`, and the closest: the end of a message about a wrong name."""
    names = list(names)
    return say('there are {names}.{nearest}', names=', '.join(names), nearest=nearest(name, names))
