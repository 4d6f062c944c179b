"""Configs as text: the files that hold them, the flags that change them, and the record that a run leaves of its own.

A file of configs/ is Python and returns a config; a flag `--config.model.width=384` is read by the type of the value
that it replaces; `config.json` in the workdir holds every value, and says by 8 digits which experiment it is.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab.config import ROOMS, experiment, is_outside, leaves, spec_of
from jaxlab.errors import UserError, nearest
from jaxlab.messages import say
from jaxlab.trust.secrets import without_secrets

# What makes two runs the same experiment. The rest (mesh, precision, steps, logging, …) may change when a run resumes.
IDENTITY = ('model', 'task', 'data', 'optimizer', 'discriminator_optimizer', 'seed', 'batch_size')


# --- files and the command line --------------------------------------------------------------------------------------


def load(argument: str) -> tuple[ConfigDict, str]:
    """Returns the one config of 'configs/transformer.py:tiny', and the file's name ('transformer').

    Raises:
      UserError: as `load_all`; or there are several.
    """
    found, chosen, stem = load_all(argument)
    if len(chosen) > 1:
        raise UserError(
            '--config={argument} is {count} experiments; {argument}:{name} is one of them.',
            argument=argument,
            count=len(chosen),
            name=chosen[0],
        )
    return found[chosen[0]], stem


def load_all(argument: str) -> tuple[dict[str, ConfigDict], list[str], str]:
    """Reads a config file: 'configs/transformer.py' or 'configs/transformer.py:tiny', which is of another size.

    A file with `get_config(size)` is one experiment, of name ''. One with `get_configs(size)` is several by name, and
    'configs/optimizers.py:tiny:adam' chooses among them.

    Returns:
      (all experiments by name, the names of those that are chosen, the file's own name: 'transformer').

    Raises:
      UserError: no such file, neither function in it, or no such size or experiment.
    """
    path, *words = argument.split(':')
    file = Path(path)
    if not file.is_file():
        there = sorted(str(config) for config in Path('configs').glob('*.py'))
        raise UserError(
            '--config={argument}: there is no file {path}.{nearest}',
            argument=argument,
            path=path,
            nearest=nearest(path, there),
        )
    found = importlib.util.spec_from_file_location(f'_jaxlab_config_{file.stem}', file)
    assert found is not None and found.loader is not None
    config_file = importlib.util.module_from_spec(found)
    found.loader.exec_module(config_file)
    several = hasattr(config_file, 'get_configs')
    get = getattr(config_file, 'get_configs' if several else 'get_config', None)
    if get is None:
        raise UserError('--config={argument}: {path} has no function get_config(size).', argument=argument, path=path)
    names = list(get()) if several else []
    chosen = [word for word in words if word in names]
    size = ':'.join(word for word in words if word not in names)
    if size and not inspect.signature(get).parameters:
        raise UserError(
            '--config={argument}: {path} has no sizes; --config={path} is all there is.', argument=argument, path=path
        )
    try:
        configs = get(size) if size else get()
    except UserError as error:
        near = nearest(size, names)
        raise UserError('--config={argument}: {error}{near}', argument=argument, error=error, near=near) from None
    return (configs if several else {'': configs}), chosen or names or [''], file.stem


def override(config: ConfigDict, overrides: Iterable[tuple[str, str]]) -> ConfigDict:
    """Returns `config` with values from the command line, each read by the type of the value that it replaces.

    Names go first: `optimizer.name=muon` replaces the whole part by the new one's defaults, whatever order the flags
      come in.

    Args:
      config: what to start from; it is not changed.
      overrides: pairs such as ('model.width', '384').

    Raises:
      UserError: no such key (with the nearest right one), or a value that is not of the key's type.
    """
    config = config.copy_and_resolve_references()
    overrides = list(overrides)
    for key, text in sorted((o for o in overrides if _is_name(o[0])), key=lambda o: o[0].count('.')):
        parent, _, _ = key.rpartition('.')
        node = _get(config, parent, key)
        if not isinstance(node, ConfigDict) or 'name' not in node:
            raise _unknown(config, key)
        if text != node.name:
            try:
                replacement = spec_of(ROOMS[parent.rpartition('.')[2]], text, {})
            except UserError as error:
                raise UserError('--config.{key}={text}: {error}', key=key, text=text, error=error) from None
            grandparent, _, last = parent.rpartition('.')
            _get(config, grandparent, key)[last] = replacement
    for key, text in overrides:
        if not _is_name(key):
            parent, _, last = key.rpartition('.')
            node = _get(config, parent, key)
            if not isinstance(node, ConfigDict) or last not in node:
                raise _unknown(config, key)
            node[last] = _read(key, text, node[last])
    given = dict(overrides)
    if 'steps' in given and config.epochs:
        if 'epochs' in given:
            raise UserError(
                '--config.steps={steps} and --config.epochs={epochs}: one of them says how long to train.',
                steps=given['steps'],
                epochs=given['epochs'],
            )
        config.epochs = 0.0  # the file's
    if 'batch_size' in given and config.full_batch:
        raise UserError(
            '--config.batch_size={rows}: with config.full_batch=true a batch has all rows; config.accumulate cuts it.',
            rows=given['batch_size'],
        )
    return config


def _is_name(key: str) -> bool:
    return key.endswith('.name') and key.split('.')[-2] in ROOMS


def _get(config: ConfigDict, path: str, key: str) -> Any:
    node = config
    for word in path.split('.') if path else ():
        if not isinstance(node, ConfigDict) or word not in node:
            raise _unknown(config, key)
        node = node[word]
    return node


def _unknown(config: ConfigDict, key: str) -> UserError:
    return UserError(
        '--config.{key}: the config has no such key.{nearest}',
        key=key,
        nearest=nearest(key, [*leaves(config), *config]),
    )


def _read(key: str, text: str, old: Any) -> Any:
    try:
        match old:
            case ConfigDict():
                keys = ', '.join(f'{key}.{inner}' for inner in old)
                raise UserError('--config.{key} is a group of keys: {keys}', key=key, keys=keys)
            case bool():
                return {'true': True, '1': True, 'false': False, '0': False}[text.lower()]
            case int():
                return int(text)
            case float():
                value = float(text)
                if not math.isfinite(value):
                    raise ValueError
                return value
            case tuple():
                values = ast.literal_eval(text)  # literals only: nothing is executed
                return tuple(values) if isinstance(values, tuple | list) else (values,)
            case _:
                return text
    except (KeyError, ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # whatever a text may be
        wanted = {
            bool: say('true or false'),
            int: say('a whole number'),
            float: say('a number'),
            tuple: say('a tuple such as (1,2)'),
        }
        raise UserError(
            '--config.{key}={text}: {wanted} is wanted, as in --config.{key}={old}',
            key=key,
            text=text,
            wanted=wanted[type(old)],
            old=old,
        ) from None


# --- on record -------------------------------------------------------------------------------------------------------


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
      UserError: the text is damaged, or a name reaches outside jaxlab, to a package that is not allowed. Nothing was
        imported then.
    """

    def read(value: Any, depth: int = 1) -> Any:
        if isinstance(value, dict):
            if depth > DEPTH or not all(map(str.isidentifier, value)):
                raise ValueError
            return ConfigDict({key: read(inner, depth + 1) for key, inner in value.items()})
        return read_plain(value)

    def read_plain(value: Any) -> Any:  # a dict inside a tuple, as in groups of an optimizer, is no group of keys
        if isinstance(value, dict):
            return {key: read_plain(inner) for key, inner in value.items()}
        return tuple(read_plain(inner) for inner in value) if isinstance(value, list) else value

    try:
        config = read(json.loads(text, object_pairs_hook=_once))
        if not isinstance(config, ConfigDict):
            raise TypeError
    except json.JSONDecodeError as error:
        raise UserError('config.json is damaged, and no JSON any more ({error}).', error=error) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError('config.json is damaged: this JSON is no config that jaxlab has written.') from None
    for key, package in outside(config):
        if package not in allow_import:
            raise UserError(
                'config.{key} would import code from outside jaxlab, of package "{package}".'
                ' If you trust it: --allow_import={package}',
                key=key,
                package=package,
            )
    _complete(config, experiment())
    return config


DEPTH = 8  # groups within groups of a config: optimizer, schedule, … and a few more


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the dict of a JSON object whose keys all differ: of two, nobody could say which one counts."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _complete(config: ConfigDict, defaults: ConfigDict, prefix: str = '') -> None:
    """Gives keys and arguments that are newer than the file their defaults: a run goes on after the code has grown.

    Raises:
      UserError: a value is not of the type of its default, or a part has no name, or one that there is not.
    """
    for key, default in defaults.items():
        if key not in config:
            config[key] = default
        elif not _fits(config[key], default):
            raise UserError(
                'config.json is damaged: {key}={value} is not of the type of its default, {default}.',
                key=prefix + key,
                value=_short(config[key]),
                default=_short(default),
            )
        elif isinstance(default, float):
            config[key] = float(config[key])
    for key, node in config.items():
        is_part = key in ROOMS and (not prefix or isinstance(node, ConfigDict))
        if is_part and not (isinstance(node, ConfigDict) and isinstance(node.get('name'), str)):
            raise UserError('config.json is damaged: {key} names no part.', key=prefix + key)
        if isinstance(node, ConfigDict):
            known = spec_of(ROOMS[key], node.name, {}) if is_part else defaults.get(key, ConfigDict())
            _complete(node, known, f'{prefix}{key}.')


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is type(default)


def _short(value: Any) -> str:
    text = '{…}' if isinstance(value, ConfigDict) else repr(value)
    return text if len(text) <= 50 else f'{text[:50]}…'


def outside(config: ConfigDict) -> list[tuple[str, str]]:
    """Returns [('model.name', 'my_lab'), …]: where a config names a part outside jaxlab, and its package."""
    found = []
    for key, value in leaves(config).items():
        parts = [value] if _is_name(key) else value if key == 'evaluate.scores' and isinstance(value, tuple) else ()
        found += [(key, name.partition('.')[0]) for name in parts if isinstance(name, str) and is_outside(name)]
    return found


def identity(*configs: ConfigDict) -> str:
    """Returns 8 hex digits of what makes this experiment (or these) the one it is (`IDENTITY`)."""
    texts = [json.dumps(_what(config), sort_keys=True, default=ConfigDict.to_dict) for config in configs]
    return hashlib.sha256('\n'.join(texts).encode()).hexdigest()[:8]


def difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns lines such as 'model.width: 256 → 384' for the keys of `IDENTITY` in which two configs differ."""
    before, after, none = leaves(_what(old)), leaves(_what(new)), say('(none)')
    was, now = without_secrets(before), without_secrets(after)
    return [
        f'{key}: {was.get(key, none)} → {now.get(key, none)}'
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]


def _what(config: ConfigDict) -> dict[str, Any]:
    """Returns the part of a config that makes it the experiment it is. How many rows a full batch has, the data say."""
    what = {key: config[key] for key in IDENTITY if key in config}
    if 'micro_batches' in what.get('model', ()):  # how stages of a mesh are kept busy: as free to change as the mesh
        what['model'] = ConfigDict({key: value for key, value in what['model'].items() if key != 'micro_batches'})
    what |= {key: config[key] for key in ('init_from', 'init_new_head') if config.get(key)}
    if config.adapters.rank:
        of = config.adapters  # without dropout it is what it was before there was any
        what['adapters'] = ConfigDict({key: of[key] for key in of if key != 'dropout' or of[key]})
    return what | ({'batch_size': 'all'} if config.full_batch else {})
