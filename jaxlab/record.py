"""A config on record: as config.json has it, what makes two runs one experiment, and what a found config may import."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from jaxlab import config as configs
from jaxlab.errors import UserError
from jaxlab.messages import say

# What makes two runs the same experiment. The rest (mesh, precision, steps, logging, …) may change when a run resumes.
IDENTITY = ('model', 'task', 'data', 'optimizer', 'seed', 'batch_size')


def to_json(config: ConfigDict) -> str:
    """Returns the resolved config as JSON text; tuples become lists."""
    return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(text: str, allow_import: Iterable[str] = ()) -> ConfigDict:
    """Reads back what `to_json` wrote.

    Args:
      text: the JSON text.
      allow_import: packages of the user's own that names in the config may reach: a config found in somebody's workdir
        may not run code of its choice.

    Raises:
      UserError: the text is damaged, or a name reaches outside jaxlab, to a package that is not allowed.
    """

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return ConfigDict({key: read(inner) for key, inner in value.items()})
        return read_plain(value)

    def read_plain(value: Any) -> Any:  # a dict inside a tuple, as in groups of an optimizer, is no group of keys
        if isinstance(value, dict):
            return {key: read_plain(inner) for key, inner in value.items()}
        return tuple(read_plain(inner) for inner in value) if isinstance(value, list) else value

    try:
        config = read(json.loads(text))
    except json.JSONDecodeError as error:
        raise UserError('config.json is damaged, and no JSON any more ({error}).', error=error) from None
    for key, package in outside(config):
        if package not in allow_import:
            raise UserError(
                'config.{key} would import code from outside jaxlab, of package "{package}".'
                ' If you trust it: --allow_import={package}',
                key=key,
                package=package,
            )
    _complete(config, configs.experiment())
    return config


def _complete(config: ConfigDict, defaults: ConfigDict) -> None:
    """Gives keys and arguments that are newer than the file their defaults: a run goes on after the code has grown."""
    for key, default in defaults.items():
        if key not in config:
            config[key] = default
    for key, node in config.items():
        if isinstance(node, ConfigDict):
            is_part = key in configs.ROOMS and 'name' in node
            newer = configs.fill(configs.ROOMS[key], node.name, {}) if is_part else defaults.get(key, ConfigDict())
            _complete(node, newer)


def outside(config: ConfigDict) -> list[tuple[str, str]]:
    """Returns [('model.name', 'my_lab'), …]: where a config names a part outside jaxlab, and its package."""
    found = []
    for key, value in configs.leaves(config).items():
        parts = [value] if configs.is_name(key) else value if key == 'evaluate.scores' else ()
        found += [(key, name.partition('.')[0]) for name in parts if '.' in name]
    return found


def identity(config: ConfigDict) -> str:
    """Returns 8 hex digits of what makes this experiment the one it is (`IDENTITY`)."""
    what = {key: config[key].to_dict() if isinstance(config[key], ConfigDict) else config[key] for key in IDENTITY}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns lines such as 'model.width: 256 → 384' for the keys of `IDENTITY` in which two configs differ."""
    before, after, none = configs.leaves(old), configs.leaves(new), say('(none)')
    return [
        f'{key}: {before.get(key, none)} → {after.get(key, none)}'
        for key in {**before, **after}
        if key.split('.')[0] in IDENTITY and before.get(key) != after.get(key)
    ]
