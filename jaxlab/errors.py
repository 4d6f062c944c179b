"""The one exception a person is meant to see."""

import difflib
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
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return say(' Did you mean "{name}"?', name=close[0]) if close else ''


def alternatives(name: str, names: Iterable[str]) -> str:
    """Returns 'there are a, b, c.' for all `names`, and the closest: the end of a message about a wrong name."""
    names = list(names)
    return say('there are {names}.{nearest}', names=', '.join(names), nearest=nearest(name, names))
