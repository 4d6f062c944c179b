"""A config holds every argument of every part of an experiment.

A *part* (a model, a task, a data set, an optimizer, …) is made by a function, whose signature says all about it:

    def make(info, dtype, *, layers=6, width=256): ...        # jaxlab/models/gpt.py

What stands before the star is given by the program when it builds the part; what stands after the star is
configuration. So `spec('models.gpt', width=384)` writes *all* keyword arguments into the config, where each can be
overridden on the command line and is on record in config.json, and `build(config.model, info, dtype)` calls the
function with them. The folder is the registry: name 'gpt' under key 'model' is `jaxlab/models/gpt.py`. A dotted name,
'my_lab.nets.tiny', is a module of the user's own.
"""

import importlib
import importlib.util
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxlab.errors import UserError, alternatives, nearest

# The room of the house that each key of a config opens.
ROOMS = {
    'model': 'models',
    'task': 'tasks',
    'data': 'data',
    'processor': 'data.processors',
    'source': 'data.sources',
    'train_source': 'data.sources',
    'test_source': 'data.sources',
    'transforms': 'data.transforms',
    'optimizer': 'optim',
    'discriminator_optimizer': 'optim',
    'schedule': 'schedules',
}

# What a value may be, since devices count and compute in 32 bits.
LARGEST_INT, LARGEST_FLOAT, SMALLEST_FLOAT = 2**31 - 1, 3.4e38, 1.2e-38
COMPILED_BY = ('jit', 'pmap')
MOST = {'steps': 100_000_000, 'steps_per_call': 1000}  # the plan of a run lies in memory, and so do a call's batches


def experiment() -> ConfigDict:
    """Returns a config with the keys that every experiment has; its parts are for the config file."""
    return ConfigDict(
        {
            'seed': 0,  # of parameters, data order, dropout and samples
            'steps': 1000,  # optimizer steps in all; a resumed run goes on up to here
            'init_from': '',  # weights to begin with: a workdir, a folder or file of weights, hf:owner/name; '': none
            'certificate': '',  # a record that these weights must agree with; '': that beside them, if there is one
            'init_new_head': False,  # whether the last layer begins anew all the same, for other classes
            'adapters': {  # LoRA: what `init_from` names stays as it is, and narrow matrices beside its own learn
                'rank': 0,  # their inner width; 0: there are none, and all parameters learn
                'alpha': 16.0,  # what they add is multiplied by alpha / rank
                'dropout': 0.0,  # the part of what they see that is dropped in training; tables drop none
                'patterns': ('.*',),  # which matrices and tables have one: regular expressions that names begin with
            },
            'epochs': 0.0,  # times through the training part; above 0, it says how many `steps` there are
            'batch_size': 32,  # rows in one step, over all devices and micro-batches
            'full_batch': False,  # every batch is the whole training part: it says what `batch_size` is
            'accumulate': 1,  # micro-batches that a step is cut into, to fit memory; the result is the same
            'steps_per_call': 1,  # up to so many steps in one dispatch: tiny models train faster, with the same numbers
            'compile': 'jit',  # 'jit', for every mesh; 'pmap': the same step, written for one device: mesh data alone
            'deterministic': False,  # on GPUs as well the same numbers, bit for bit, whenever it runs; costs some speed
            'average': 0.0,  # decay of an exponential moving average of the parameters, used to evaluate; 0: none
            # Devices along each axis; see parallel/layout.py.
            'mesh': {'data': -1, 'zero1': 1, 'fsdp': 1, 'stage': 1, 'expert': 1, 'context': 1, 'tensor': 1},
            'precision': {
                'compute': 'auto',  # float32, bfloat16, float64; auto: bfloat16 on GPU and TPU, else float32
                'parameters': 'float32',  # of parameters and optimizer state
            },
            'numbers': {
                # Updates from a loss or gradient that is not finite are always left out; what else is, and when to end.
                'spike': 0.0,  # a loss so many times its usual distance above the usual loss is left out too; 0: none
                'patience': 10,  # so many left out in a row end the run, or take it back
                'rollbacks': 0,  # times that it goes back to its newest checkpoint before them, and on with other data
            },
            'checkpoint': {
                'every': 500,  # steps between two saves; the last step and Ctrl-C save as well
                'keep': 2,  # the newest so many are kept
                'retry': 10.0,  # seconds until a save that failed is tried again; twice as many after each further one
            },
            'hang': {
                'times': 5.0,  # a step that takes so many times the median ends the run; 0: none does
                'least': 60.0,  # seconds that any step may take
            },
            'evaluate': {
                'every': 500,  # steps between two evaluations; 0: only at the end
                'batches': 8,  # batches of the held-out part each time; 0: all of it
                'scores': ('perplexity',),  # what is measured: files of jaxlab/scores/
            },
            'best': {
                'score': 'auto',  # by which an evaluation is the best yet, as held_out/loss; auto: the first; '': none
                'least': 0.0,  # how much better it must be than the best before, in units of the score
                'patience': 0,  # evaluations in a row without a new best that end the run early; 0: it never does
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
            '"{path}": a part is named by its room and name, such as "models.gpt"; rooms: {rooms}.',
            path=path,
            rooms=', '.join(ROOMS.values()),
        )
    return spec_of(room, path.removeprefix(room + '.'), arguments)


def spec_of(room: str, name: str, arguments: Mapping[str, Any]) -> ConfigDict:
    """Returns what `spec` does, of a part whose room is known."""
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(part(room, name)).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for argument, default in defaults.items():
        if not isinstance(default, bool | int | float | str | tuple | ConfigDict):
            raise UserError(
                '{room}.{name}: argument "{argument}" wants a default that a flag can change'
                ' (true, 1, 0.5, "text", a tuple, spec(…)); for "none" take 0 or "".',
                room=room,
                name=name,
                argument=argument,
            )
    # Through copies: a default that is itself a spec must not be shared between two configs.
    filled = {
        key: value.copy_and_resolve_references() if isinstance(value, ConfigDict) else value
        for key, value in defaults.items()
    }
    node = ConfigDict({'name': name} | filled)
    for argument, value in arguments.items():
        if argument not in defaults:
            raise UserError(
                '{room}.{name} has no argument "{argument}".{nearest}',
                room=room,
                name=name,
                argument=argument,
                nearest=nearest(argument, defaults),
            )
        try:
            node[argument] = (
                value  # a whole number becomes a float where the default is one; no other type becomes another
            )
        except TypeError:
            raise UserError(
                '{room}.{name}: {argument}={value!r} is not of the type of its default, {default!r}.',
                room=room,
                name=name,
                argument=argument,
                value=value,
                default=defaults[argument],
            ) from None
    return node


def part(room: str, name: str) -> Callable[..., Any]:
    """Returns the function that makes a part: `make` of module <room>/<name>.py, or `name` of the file <room>.py."""
    found = module(room, name)
    return found.make if hasattr(found, 'make') else getattr(found, name.removeprefix(f'jaxlab.{room}.'))


def is_outside(name: str) -> bool:
    """Whether the name of a part is that of a module outside jaxlab, which is imported for it."""
    words = name.split('.')
    return len(words) > 1 and words[0] != 'jaxlab' and all(map(str.isidentifier, words))


def module(room: str, name: str, function: str = 'make') -> ModuleType:
    """Returns the module that holds part `name`; a dotted name is a module of the user's own.

    Raises:
      UserError: there is no such part, or the user's module has no function `make`.
    """
    if is_outside(name):
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name + '.').startswith(error.name + '.'):
                raise  # the module is there, and something that it imports is not: the traceback helps
            raise UserError(
                'name "{name}": no module {module} on the Python path (PYTHONPATH=… adds a folder).',
                name=name,
                module=error.name,
            ) from None
        if not hasattr(found, 'make'):
            raise UserError('name "{name}": {file} has no function make(…).', name=name, file=found.__file__)
        return found
    name = name.removeprefix(f'jaxlab.{room}.')
    if name not in (known := names(room, function)):
        raise UserError(
            '"{name}" is not in {room}: {alternatives}',
            name=name,
            room=room,
            alternatives=alternatives(name, known),
        )
    home = importlib.import_module(f'jaxlab.{room}')
    return importlib.import_module(f'jaxlab.{room}.{name}') if hasattr(home, '__path__') else home


def names(room: str, function: str = 'make') -> list[str]:
    """Returns the names of all parts of a room: of its modules that have the function which makes them."""
    home = importlib.import_module(f'jaxlab.{room}')
    if hasattr(home, '__path__'):
        inside = [found.name for found in pkgutil.iter_modules(home.__path__) if not found.ispkg]
        return [name for name in inside if _defines(function, room, name)]
    return list(home.__all__)


def _defines(function: str, room: str, name: str) -> bool:
    found = importlib.util.find_spec(f'jaxlab.{room}.{name}')
    return (
        found is not None and found.origin is not None and f'\ndef {function}(' in Path(found.origin).read_text('utf-8')
    )


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
        raise UserError('config.{key} ({name}): {error}.', key=key, name=node.name, error=error) from None
    try:
        return make(*given, **arguments)
    except UserError as error:
        if str(error).startswith('config.'):
            raise
        raise UserError('config.{key}: {error}', key=key, error=error) from None


# --- the whole -------------------------------------------------------------------------------------------------------


def pick(size: str, sizes: Mapping[str, Any]) -> Any:
    """Returns `sizes[size]`, for the `get_config(size)` of a config file; UserError names the nearest size."""
    if size not in sizes:
        raise UserError('size "{size}": {alternatives}', size=size, alternatives=alternatives(size, sizes))
    return sizes[size]


def leaves(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
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
            raise UserError(
                'config.{key}: the config file sets none; c.{key} = spec("{room}.…") does.', key=key, room=ROOMS[key]
            )
    if not all(isinstance(name, str) for name in config.evaluate.scores):
        raise UserError(
            'config.evaluate.scores={scores}: a tuple of names is wanted, such as ("perplexity",).',
            scores=config.evaluate.scores,
        )
    for name in config.evaluate.scores:
        try:
            module('scores', name)
        except UserError as error:
            raise UserError('config.{key}: {error}', key='evaluate.scores', error=error) from None
    least = {
        'steps': 1,
        'batch_size': 1,
        'accumulate': 1,
        'steps_per_call': 1,
        'adapters.rank': 0,
        'numbers.spike': 0,
        'numbers.patience': 1,
        'numbers.rollbacks': 0,
        'checkpoint.every': 1,
        'checkpoint.keep': 1,
        'checkpoint.retry': 0,
        'hang.times': 0,
        'hang.least': 0,
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
                'config.{key}=None: no flag could change it, since it has no type; for "none" take 0 or "".', key=key
            )
        low, high = (-LARGEST_INT, LARGEST_INT) if isinstance(value, int) else (-LARGEST_FLOAT, LARGEST_FLOAT)
        if isinstance(value, int | float) and not low <= value <= high:  # nan, too
            raise UserError(
                'config.{key}={value}: devices count and compute in 32 bits; between {low:.8g} and {high:.8g} is'
                ' wanted.',
                key=key,
                value=value if abs(value) < 1e100 or isinstance(value, float) else '…',
                low=low,
                high=high,
            )
        if isinstance(value, float) and 0 < abs(value) < SMALLEST_FLOAT:
            raise UserError(
                'config.{key}={value}: in 32 bits this is 0; at least {least} is wanted.',
                key=key,
                value=value,
                least=SMALLEST_FLOAT,
            )
    for key, most in MOST.items():
        if values[key] > most:
            raise UserError('config.{key}={value}: at most {most} is wanted.', key=key, value=values[key], most=most)
    for key, low in least.items():
        if values[key] < low:
            raise UserError('config.{key}={value}: at least {least} is wanted.', key=key, value=values[key], least=low)
    if (way := config.compile) not in COMPILED_BY:
        known = alternatives(way, COMPILED_BY)
        raise UserError('{name}={value}: {alternatives}', name='config.compile', value=way, alternatives=known)
    if not 0 <= config.epochs < math.inf:
        raise UserError(
            'config.epochs={epochs}: a number above 0 is wanted, or 0 where config.steps says it.', epochs=config.epochs
        )
    if config.batch_size % config.accumulate and not config.full_batch:
        raise UserError(
            'config.accumulate={accumulate} does not divide config.batch_size={batch_size}.',
            accumulate=config.accumulate,
            batch_size=config.batch_size,
        )
    if not 0 <= config.average < 1:
        raise UserError(
            'config.average={average}: a decay is at least 0 (no average) and below 1, such as 0.999.',
            average=config.average,
        )
    if config.adapters.alpha <= 0:
        raise UserError(
            'config.adapters.alpha={alpha}: more than 0 is wanted, such as 16.', alpha=config.adapters.alpha
        )
    if not 0 <= config.adapters.dropout < 1:
        raise UserError(
            'config.adapters.dropout={dropout}: at least 0 and below 1 is wanted, such as 0.1.',
            dropout=config.adapters.dropout,
        )
    if config.adapters.rank and not config.init_from:
        raise UserError(
            'config.adapters.rank={rank}: adapters learn beside weights that stay as they are, and config.init_from'
            ' names none: a workdir, a folder or file of weights, or hf:owner/name.',
            rank=config.adapters.rank,
        )
    return config.lock()
