"""What a checkpoint holds against what is wanted of it: told leaf by leaf before anything is read."""

import re
from collections.abc import Mapping
from typing import Any

import jax

from jaxlab.errors import UserError
from jaxlab.messages import say

SHOWN = 10  # leaves that a message lists


def check(wanted: Mapping[str, Any], saved: Mapping[str, Any], where: str) -> None:
    """Raises UserError where trees differ: at most ten leaves, and what would be right.

    Args:
      wanted: item -> tree of what has a shape and a dtype.
      saved: the same, of what was saved; an item that is not wanted does not matter.
      where: the checkpoint, for the message.
    """
    ours, theirs = _leaves(wanted), _leaves({name: saved.get(name, {}) for name in wanted})
    missing, extra = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    lines, kinds = [], set()
    for path in sorted(ours.keys() | theirs.keys()):
        if path in missing:
            lines.append(say('{leaf} was not saved', leaf=path))
        elif path in extra:
            lines.append(say('{leaf} was saved and is not wanted', leaf=path))
        else:
            for kind, want, have in zip(('shape', 'dtype'), ours[path], theirs[path]):
                if want != have and want is not None:
                    kinds.add(kind)
                    lines.append(say('{leaf} is {saved}, not {wanted}', leaf=path, saved=have, wanted=want))
    if not lines:
        return
    shown = '; '.join(lines[:SHOWN])
    if len(lines) > SHOWN:
        shown = say('{lines}; and {count} more', lines=shown, count=len(lines) - SHOWN)
    raise UserError(
        '{where} holds other arrays than are wanted: {lines}.\n{remedy}',
        where=where,
        lines=shown,
        remedy=_remedy(missing, extra, kinds, set(wanted) - {name for name in saved if _leaves(saved[name])}),
    )


def _remedy(missing: set[str], extra: set[str], kinds: set[str], items: set[str]) -> str:
    layers = re.compile(r'(^|/)layer(_\d+|s)(?=/)')  # see `jaxlab.nn.transformer.Stack`
    stacked = [
        {bool(re.search('(^|/)layers/', path)) for path in paths if layers.search(path)} for paths in (missing, extra)
    ]
    if stacked in ([{True}, {False}], [{False}, {True}]):
        return say(
            'One has its layers stacked, the other has them one by one: set config.model.scan={scan}, as it was when'
            ' this was saved.',
            scan=str(stacked[1] == {True}).lower(),
        )
    if 'average' in items:
        return say('No average of the parameters was saved: set config.average=0, as it was then.')
    if kinds == {'dtype'} and not (missing or extra):
        return say('Set config.precision.parameters to what it was when this was saved (its config.json says it).')
    return say('Give the settings it was saved with (its config.json has them), or another --workdir to start anew.')


def _leaves(items: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Returns {'params/embedding/table': ('(257, 64)', 'float32')}; a random key is saved as numbers: (None, None)."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(dict(items))[0]:
        name = '/'.join(str(getattr(key, 'key', getattr(key, 'idx', getattr(key, 'name', key)))) for key in path)
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        found[name] = (None, None) if is_key else (str(tuple(leaf.shape)), str(leaf.dtype))
    return found
