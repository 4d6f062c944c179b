"""Settings that differ from parameter to parameter, by patterns of their names: `config.optimizer.groups`."""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from jaxlab.errors import UserError, nearest
from jaxlab.messages import say


def settings(names: Any, shared: Mapping[str, Any], groups: tuple) -> dict[str, dict[str, Any]]:
    """Returns {'stack/layer_0/mlp/up/kernel': its settings, …}, for every parameter.

    Args:
      names: nested dicts of the parameters' axis names.
      shared: the settings of all: numbers from 0 up, and `frozen`.
      groups: pairs (pattern, overrides). Overrides replace shared settings of every parameter whose name begins with
        the pattern, a regular expression; where several patterns match, the last one that says something wins.

    Returns:
      for each name the keys of `shared`, and 'axes': its axis names.

    Raises:
      UserError: a pattern matches nothing, an override is unknown, or a value is out of range.
    """
    check_from_0(**shared)
    found = {name: {**shared, 'axes': axes} for name, axes in flatten_dict(names, sep='/').items()}
    for group in groups:
        match group:
            case str(pattern), Mapping() as overrides:
                pass
            case _:
                raise UserError(
                    "groups: {group!r} is no pair such as in (('stack/', {{'frozen': True}}),).", group=group
                )
        for key, value in overrides.items():
            if key not in shared:
                raise UserError(
                    'groups: "{pattern}": no override "{key}"; they are {keys}.{nearest}',
                    pattern=pattern,
                    key=key,
                    keys=', '.join(shared),
                    nearest=nearest(str(key), shared),
                )
            if isinstance(value, bool) != (key == 'frozen') or not isinstance(value, int | float):
                wanted = say('True or False') if key == 'frozen' else say('a number')
                raise UserError(
                    'groups: "{pattern}": {key}={value!r}: {wanted} is wanted.',
                    pattern=pattern,
                    key=key,
                    value=value,
                    wanted=wanted,
                )
        try:
            check_from_0(**overrides)
        except UserError as error:
            raise UserError('groups: "{pattern}": {error}', pattern=pattern, error=error) from None
        try:
            matching = [name for name in found if re.match(pattern, name)]
        except re.error as error:
            raise UserError(
                'groups: "{pattern}": no regular expression ({error}).', pattern=pattern, error=error
            ) from None
        if not matching:
            near = difflib.get_close_matches(pattern, found, n=3, cutoff=0)
            raise UserError(
                'groups: "{pattern}": no parameter\'s name begins so; the nearest: {names}.',
                pattern=pattern,
                names=', '.join(near),
            )
        for name in matching:
            found[name] |= overrides
    if groups and all(setting['frozen'] for setting in found.values()):
        raise UserError('groups: every parameter is frozen, and nothing is left to train.')
    return found


def split(tree: Any, names: Collection[str]) -> tuple[Any, Any]:
    """Splits nested dicts into (leaves that are in `names`, all others)."""
    flat = flatten_dict(tree, sep='/')
    others = {name: leaf for name, leaf in flat.items() if name not in names}
    return unflatten_dict({name: flat[name] for name in names}, sep='/'), unflatten_dict(others, sep='/')


def merge(*trees: Any) -> Any:
    """Unites nested dicts, as `split` has split them; later ones win."""
    flat: dict[str, Any] = {}
    for tree in trees:
        flat |= flatten_dict(tree, sep='/')
    return unflatten_dict(flat, sep='/')


def check_from_0(**values: float) -> None:
    """Raises UserError where a value is negative, or infinite."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise UserError('{name}={value}: a number from 0 up is wanted.', name=name, value=value)
