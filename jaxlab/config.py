"""A config holds every argument of every part of an experiment.

A *part* (a model, a task, a data set, an optimizer, …) is made by a function, whose signature says all about it:

    def make(info, dtype, *, layers=6, width=256): ...        # jaxlab/models/gpt.py

What stands before the star is given by the program when it builds the part; what stands after the star is
configuration. So `spec('models.gpt', width=384)` writes *all* keyword arguments into the config, where each can be
overridden on the command line and is on record in config.json, and `build(config.model, info, dtype)` calls the
function with them. The folder is the registry: name 'gpt' under key 'model' is `jaxlab/models/gpt.py`. A dotted name,
'my_lab.nets.tiny', is a module of the user's own.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxlab.errors import UserError, nearest

# The room of the house that each key of a config opens.
ROOMS = {
    'model': 'models',
    'task': 'tasks',
    'data': 'data',
    'processor': 'data.processors',
    'optimizer': 'optim',
    'schedule': 'schedules',
}

# What makes two runs the same experiment. The rest (mesh, precision, steps, logging, …) may change when a run resumes.
IDENTITY = ('model', 'task', 'data', 'optimizer', 'seed', 'batch_size')


def experiment() -> ConfigDict:
    """Returns a config with the keys that every experiment has; its parts are for the config file."""
    return ConfigDict(
        {
            'seed': 0,  # of parameters, data order, dropout and samples
            'steps': 1000,  # optimizer steps in all; a resumed run goes on up to here
            'batch_size': 32,  # rows in one step, over all devices and micro-batches
            'accumulate': 1,  # micro-batches that a step is cut into, to fit memory; the result is the same
            'average': 0.0,  # decay of an exponential moving average of the parameters, used to evaluate; 0: none
            'mesh': {
                'data': -1,
                'fsdp': 1,
                'stage': 1,
                'expert': 1,
                'context': 1,
                'tensor': 1,
            },  # devices along each axis
            'precision': {
                'compute': 'auto',  # float32, bfloat16, float64; auto: bfloat16 on GPU and TPU, else float32
                'parameters': 'float32',  # of parameters and optimizer state
            },
            'checkpoint': {
                'every': 500,  # steps between two saves; the last step and Ctrl-C save as well
                'keep': 2,  # the newest so many are kept
            },
            'evaluate': {
                'every': 500,  # steps between two evaluations; 0: only at the end
                'batches': 8,  # batches of the held-out part each time; 0: all of it
                'scores': ('perplexity',),  # what is measured: files of jaxlab/scores/
            },
            'log': {
                'every': 10,  # steps between two lines of progress and rows of metrics.jsonl
                'sample_every': 500,  # steps between two samples, where the task makes something; 0: never
                'prompt': '',  # what a sample starts from
                'sample_tokens': 128,  # length of a sample
                'wandb': '',  # project at Weights & Biases that gets the rows as well; '': none (extra: wandb)
            },
        }
    )


# --- parts -----------------------------------------------------------------------------------------------------------


def spec(path: str, /, **arguments: Any) -> ConfigDict:
    """Returns the config of a part: its name and every keyword argument it takes, with `arguments` over its defaults.

    Args:
      path: room and name, such as 'models.gpt', 'data.processors.bpe' or 'optim.adamw'.
      **arguments: what differs from the defaults.

    Raises:
      UserError: no such part, or no such argument (the nearest right name is given), or one of the wrong type.
    """
    room = max((room for room in ROOMS.values() if path.startswith(room + '.')), key=len, default='')
    if not room:
        raise UserError(
            f'"{path}": a part is named by its room and name, such as "models.gpt"; rooms: {", ".join(ROOMS.values())}.'
        )
    return _spec(room, path.removeprefix(room + '.'), arguments)


def _spec(room: str, name: str, arguments: Mapping[str, Any]) -> ConfigDict:
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(part(room, name)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for argument, default in defaults.items():
        if not isinstance(default, bool | int | float | str | tuple | ConfigDict):
            raise UserError(
                f'{room}.{name}: argument "{argument}" wants a default that a flag can change'
                ' (true, 1, 0.5, "text", a tuple, spec(…));'
                ' for "none" take 0 or "".'
            )
    # Through copies: a default that is itself a spec must not be shared between two configs.
    filled = {
        key: value.copy_and_resolve_references() if isinstance(value, ConfigDict) else value
        for key, value in defaults.items()
    }
    node = ConfigDict({'name': name} | filled)
    for argument, value in arguments.items():
        if argument not in defaults:
            raise UserError(f'{room}.{name} has no argument "{argument}".{nearest(argument, defaults)}')
        try:
            node[argument] = (
                value  # a whole number becomes a float where the default is one; no other type becomes another
            )
        except TypeError:
            raise UserError(
                f'{room}.{name}: {argument}={value!r} is not of the type of its default, {defaults[argument]!r}.'
            ) from None
    return node


def part(room: str, name: str) -> Callable[..., Any]:
    """Returns the function that makes a part: `make` of module <room>/<name>.py, or `name` of the file <room>.py."""
    found = module(room, name)
    return found.make if hasattr(found, 'make') else getattr(found, name)


def module(room: str, name: str) -> ModuleType:
    """Returns the module that holds part `name`; a dotted name is a module of the user's own.

    Raises:
      UserError: there is no such part, or the user's module has no function `make`.
    """
    if '.' in name and all(word.isidentifier() for word in name.split('.')):
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name + '.').startswith(error.name + '.'):
                raise  # the module is there, and something that it imports is not: the traceback helps
            raise UserError(
                f'name "{name}": no module {error.name} on the Python path (PYTHONPATH=… adds a folder).'
            ) from None
        if not hasattr(found, 'make'):
            raise UserError(f'name "{name}": {found.__file__} has no function make(…).')
        return found
    if name not in names(room):
        raise UserError(f'"{name}" is not in {room}: there are {", ".join(names(room))}.{nearest(name, names(room))}')
    home = importlib.import_module(f'jaxlab.{room}')
    return importlib.import_module(f'jaxlab.{room}.{name}') if hasattr(home, '__path__') else home


def names(room: str) -> list[str]:
    """Returns the names of all parts of a room."""
    home = importlib.import_module(f'jaxlab.{room}')
    if hasattr(home, '__path__'):
        inside = [found.name for found in pkgutil.iter_modules(home.__path__) if not found.ispkg]
        return [name for name in inside if _defines_make(room, name)]
    return list(home.__all__)


def _defines_make(room: str, name: str) -> bool:
    found = importlib.util.find_spec(f'jaxlab.{room}.{name}')
    return found is not None and found.origin is not None and '\ndef make(' in Path(found.origin).read_text('utf-8')


def build(node: ConfigDict, *given: Any, key: str) -> Any:
    """Makes the part that a config describes.

    Args:
      node: `name` and the keyword arguments, as `spec` returns them. Nested specs are handed on as they are, for the
        part to build.
      *given: what the program gives: the positional arguments of the part's function.
      key: where the node stands in the config, such as 'model' or 'data.processor'; its last word says the room.

    Raises:
      UserError: whatever the part says of its arguments, with the key it stands at.
    """
    arguments = {name: value for name, value in node.items() if name != 'name'}
    make = part(ROOMS[key.rpartition('.')[2]], node.name)
    try:
        inspect.signature(make).bind(*given, **arguments)
    except TypeError as error:
        raise UserError(f'config.{key} ({node.name}): {error}.') from None
    try:
        return make(*given, **arguments)
    except UserError as error:
        raise UserError(f'config.{key}: {error}' if not str(error).startswith('config.') else str(error)) from None


# --- files and the command line --------------------------------------------------------------------------------------


def load(argument: str) -> tuple[ConfigDict, str]:
    """Reads 'configs/transformer.py' or 'configs/transformer.py:tiny'; returns the config and the experiment's name
    ('transformer').

    Raises:
      UserError: no such file, no `get_config` in it, or no such size.
    """
    path, _, size = argument.partition(':')
    file = Path(path)
    if not file.is_file():
        there = sorted(str(config) for config in Path('configs').glob('*.py'))
        raise UserError(f'--config={argument}: there is no file {path}.{nearest(path, there)}')
    found = importlib.util.spec_from_file_location(f'_jaxlab_config_{file.stem}', file)
    assert found is not None and found.loader is not None
    config_file = importlib.util.module_from_spec(found)
    found.loader.exec_module(config_file)
    if not hasattr(config_file, 'get_config'):
        raise UserError(f'--config={argument}: {path} has no function get_config(size).')
    if size and not inspect.signature(config_file.get_config).parameters:
        raise UserError(f'--config={argument}: {path} has no sizes; --config={path} is all there is.')
    return (config_file.get_config(size) if size else config_file.get_config()), file.stem


def pick(size: str, sizes: Mapping[str, Any]) -> Any:
    """Returns `sizes[size]`, for the `get_config(size)` of a config file; UserError names the nearest size."""
    if size not in sizes:
        raise UserError(f'size "{size}": there are {", ".join(sizes)}.{nearest(size, sizes)}')
    return sizes[size]


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
                replacement = _spec(ROOMS[parent.rpartition('.')[2]], text, {})
            except UserError as error:
                raise UserError(f'--config.{key}={text}: {error}') from None
            grandparent, _, last = parent.rpartition('.')
            _get(config, grandparent, key)[last] = replacement
    for key, text in overrides:
        if not _is_name(key):
            parent, _, last = key.rpartition('.')
            node = _get(config, parent, key)
            if not isinstance(node, ConfigDict) or last not in node:
                raise _unknown(config, key)
            node[last] = _read(key, text, node[last])
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
        f'--config.{key}: the config has no such key.{nearest(key, leaves(config)) or nearest(key, config)}'
    )


def _read(key: str, text: str, old: Any) -> Any:
    try:
        match old:
            case ConfigDict():
                raise UserError(f'--config.{key} is a group of keys: {", ".join(f"{key}.{inner}" for inner in old)}')
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
    except (KeyError, ValueError, SyntaxError):
        wanted = {bool: 'true or false', int: 'a whole number', float: 'a number', tuple: 'a tuple such as (1,2)'}[
            type(old)
        ]
        raise UserError(f'--config.{key}={text}: {wanted} is wanted, as in --config.{key}={old}') from None


def leaves(config: ConfigDict, prefix: str = '') -> dict[str, Any]:
    """Returns {'model.width': 256, …}: every value of a config by its dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= leaves(value, f'{prefix}{key}.') if isinstance(value, ConfigDict) else {prefix + key: value}
    return found


def check(config: ConfigDict) -> ConfigDict:
    """Checks what no single part can: the keys that every experiment has. Returns `config`, locked.

    Raises:
      UserError: a part is missing, or a value is out of range; the parts check their own when they are built.
    """
    for key in ('model', 'task', 'data', 'optimizer'):
        if key not in config:
            raise UserError(f'config.{key}: the config file sets none; c.{key} = spec("{ROOMS[key]}.…") does.')
    least = {
        'steps': 1,
        'batch_size': 1,
        'accumulate': 1,
        'checkpoint.every': 1,
        'checkpoint.keep': 1,
        'evaluate.every': 0,
        'evaluate.batches': 0,
        'log.every': 1,
        'log.sample_every': 0,
        'log.sample_tokens': 1,
        'seed': 0,
    }
    values = leaves(config)
    for key, value in values.items():
        if value is None:
            raise UserError(
                f'config.{key}=None: no flag could change it, since it has no type; for "none" take 0 or "".'
            )
    for key, low in least.items():
        if values[key] < low:
            raise UserError(f'config.{key}={values[key]}: at least {low} is wanted.')
    if config.batch_size % config.accumulate:
        raise UserError(f'config.accumulate={config.accumulate} does not divide config.batch_size={config.batch_size}.')
    if not 0 <= config.average < 1:
        raise UserError(
            f'config.average={config.average}: a decay is at least 0 (no average) and below 1, such as 0.999.'
        )
    return config.lock()


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
        raise UserError(f'config.json is damaged, and no JSON any more ({error}).') from None
    for key, package in outside(config):
        if package not in allow_import:
            raise UserError(
                f'config.{key} would import code from outside jaxlab, of package "{package}".'
                f' If you trust it: --allow_import={package}'
            )
    _fill(config, experiment())
    return config


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
    """Gives keys and arguments that are newer than the file their defaults: a run goes on after the code has grown."""
    for key, default in defaults.items():
        if key not in config:
            config[key] = default
    for key, node in config.items():
        if isinstance(node, ConfigDict):
            is_part = key in ROOMS and 'name' in node
            _fill(node, _spec(ROOMS[key], node.name, {}) if is_part else defaults.get(key, ConfigDict()))


def outside(config: ConfigDict) -> list[tuple[str, str]]:
    """Returns [('model.name', 'my_lab'), …]: where a config names a part outside jaxlab, and its package."""
    found = []
    for key, value in leaves(config).items():
        parts = [value] if _is_name(key) else value if key == 'evaluate.scores' else ()
        found += [(key, name.partition('.')[0]) for name in parts if '.' in name]
    return found


def identity(config: ConfigDict) -> str:
    """Returns 8 hex digits of what makes this experiment the one it is (`IDENTITY`)."""
    what = {key: config[key].to_dict() if isinstance(config[key], ConfigDict) else config[key] for key in IDENTITY}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def difference(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns lines such as 'model.width: 256 → 384' for the keys of `IDENTITY` in which two configs differ."""
    before, after = leaves(old), leaves(new)
    return [
        f'{key}: {before.get(key, "(none)")} → {after.get(key, "(none)")}'
        for key in {**before, **after}
        if key.split('.')[0] in IDENTITY and before.get(key) != after.get(key)
    ]
