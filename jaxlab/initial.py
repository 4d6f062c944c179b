"""What training begins with: parameters as they are born, those of another experiment, or published ones.

    --config.init_from=runs/resnet-1a2b3c4d                  another experiment: its newest checkpoint
    --config.init_from=hf:microsoft/resnet-50                published weights, by their name at the hub
    --config.init_from=weights/                              … or where they lie: .safetensors, .pth
    --config.init_new_head=true                              … all but the last layer, for classes of its own

Only the first start reads them; from then on a run goes on from its own checkpoints. But what adapters stand beside
(`jaxlab.adapters`) is read at every start.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab import adapters, certificate
from jaxlab import config as configs
from jaxlab.blueprint import HEAD, Blueprint
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.parallel.layout import path_name
from jaxlab.step import TrainState
from jaxlab.task import Tree
from jaxlab.trust import mismatch, place

FEW = 10  # names that a line lists at most
POOLER = 'pooler'  # and what stands before some heads of a model, and not before others
ENCODERS = ('wordpiece', 'roberta')  # processors of which weights bring one along
PADDING = 512  # rows that a published table of tokens may have beyond its vocabulary, to be round


def of(
    config: ConfigDict, plan: Blueprint, info: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[TrainState], TrainState]:
    """Returns what makes, of the state that a run is born with, the one that it begins with. `info` is what the data
    say of themselves.

    Raises:
      UserError: there is nothing at `config.init_from`, or it is of another model; before anything compiles.
    """
    if not config.init_from or config.adapters.rank:
        return lambda state: state
    state = plan.arguments[0]
    read = _reader(config, plan.task, {'params': state.params, 'extra': state.extra})
    if not is_workdir(config.init_from):
        check_vocabulary(config.init_from, plan.task, info)

    def begun(state: TrainState) -> TrainState:
        found = read({'params': state.params, 'extra': state.extra})
        average = jax.tree.map(jnp.copy, found['params']) if config.average else {}  # both are donated to the step
        return state.replace(params=found['params'], extra=found['extra'], average=average)

    return begun


def base(config: ConfigDict, plan: Blueprint, workdir: Path, fresh: bool) -> tuple[Tree, Tree]:
    """Returns what stands beside the state and is never trained, {} where nothing is; and the extra that it came with.

    Args:
      config: the resolved config.
      plan: of the run.
      workdir: of the run. A fresh run leaves a record there of what it was given; all others compare.
      fresh: whether the run begins.

    Raises:
      UserError: there is nothing at `config.init_from`, or it is of another model, or is not what it was.
    """
    if not config.adapters.rank:
        return {}, {}
    found = read_base(config, plan.task, plan.frozen.wanted, plan.arguments[0].extra)
    if fresh:
        adapters.remember(workdir, config.init_from, found['params'])
    else:
        adapters.check_base(workdir, config.init_from, found['params'])
    return plan.frozen.with_scales(found['params']), found['extra']


def read_base(config: ConfigDict, task: Any, params: Tree, extra: Tree) -> Tree:
    """Returns {'params': …, 'extra': …} of what `config.init_from` names.

    Args:
      config: the resolved config.
      task: what is learned.
      params, extra: shapes that know where they go.

    Raises:
      UserError: there is nothing, or it is of another model.
    """
    wanted = {'params': params, 'extra': extra}
    try:
        found = _reader(config, task, wanted)(wanted)
    except UserError as error:
        raise UserError(
            'config.adapters: the weights that they stand beside cannot be read. {error}',
            error=str(error).replace('\n', ' '),
        ) from None
    except RecursionError:
        raise UserError('config.init_from={source} goes round in a circle.', source=config.init_from) from None
    missing = {
        path_name(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(found['params'])
        if not isinstance(leaf, jax.Array)
    }
    if missing:  # modules that a new head brings along
        raise UserError(
            'config.adapters: {names} are not among the weights at {source}, and adapters stand beside what is there.',
            names=', '.join(sorted(missing)[:FEW]),
            source=config.init_from,
        )
    return found


def _reader(config: ConfigDict, task: Any, wanted: Tree) -> Callable[[Tree], Tree]:
    if is_workdir(config.init_from):
        return _of_experiment(config, task, wanted)
    return _of_weights(config, task, wanted)


def is_workdir(path: str) -> bool:
    """Whether an experiment lies at `path`: a folder with checkpoints, and not one of published weights."""
    try:
        return (place.of(path) / 'checkpoints').is_dir()
    except OSError:  # a name that no file can have
        return False


def _of_experiment(config: ConfigDict, task: Any, wanted: Tree) -> Callable[[Tree], Tree]:
    from jaxlab.experiment import load

    record = certificate.beside(config.init_from, config.certificate)
    other = load(config.init_from, mesh=dict(config.mesh))
    found = {'params': other.params, 'extra': other.extra}
    anew = _anew(config, wanted, found)
    _tell(
        config, [name for name in found['params'] if name in anew], [name for name in wanted['params'] if name in anew]
    )
    mismatch.check(_shapes(wanted, anew), _shapes(found, anew), f'config.init_from={config.init_from}')

    def read(born: Tree) -> Tree:
        def one(old: Any, leaf: Any) -> Any:
            return leaf if leaf is old else jax.device_put(leaf, old.sharding)

        taken = {name: (born if name in anew else found)['params'][name] for name in born['params']}
        _check_certificate(config, task, found, record)
        return jax.tree.map(one, born, found | {'params': taken})

    return read


def _anew(config: ConfigDict, wanted: Tree, found: Tree) -> set[str]:
    """Returns which modules are not taken over: with a new head it, and a pooler that only one of the two has."""
    if not config.init_new_head:
        return set()
    poolers = [POOLER in tree['params'] for tree in (wanted, found)]
    return {HEAD, POOLER} if poolers[0] != poolers[1] else {HEAD}


def _shapes(tree: Tree, anew: set[str]) -> Tree:
    """Returns the shapes of what is taken over."""
    params = {name: leaf for name, leaf in tree['params'].items() if name not in anew}
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree | {'params': params})


def _of_weights(config: ConfigDict, task: Any, wanted: Tree) -> Callable[[Tree], Tree]:
    from jaxlab import pretrained

    weights = pretrained.find(config.init_from)
    family = family_of(config, weights)
    record = certificate.beside(config.init_from, config.certificate)
    how: dict[str, Any] = {'new_head': config.init_new_head}
    pretrained.check(weights, family, _variables(wanted), model=getattr(task, 'model', None), **how)
    _tell(config, *pretrained.left_out(weights, family, _variables(wanted), **how))

    def read(born: Tree) -> Tree:
        variables = dict(pretrained.load(weights, family, _variables(born), **how))
        found = {'params': variables.pop('params'), 'extra': variables}
        _check_certificate(config, task, found, record)
        return found

    return read


def check_vocabulary(source: str, task: Any, info: Mapping[str, Any]) -> None:
    """Raises UserError where data have far fewer tokens than a published table, or more: they are other tokens."""
    theirs, ours = getattr(getattr(task, 'model', None), 'vocabulary', 0), info.get('vocabulary', 0)
    if theirs and ours and not theirs - PADDING <= ours <= theirs:
        raise UserError(
            'config.init_from={source}: these weights know {theirs} tokens, and config.data.processor has {ours}:'
            ' another vocabulary.',
            source=source,
            theirs=theirs,
            ours=ours,
        )


def _tell(config: ConfigDict, left: Sequence[str], new: Sequence[str]) -> None:
    """Says in one line what is not taken over, and what is made anew; nothing where there is neither."""
    nothing = say('nothing')
    shown = [', '.join([*names[:FEW], '…'] if len(names) > FEW else names) or nothing for names in (left, new)]
    if (left or new) and jax.process_index() == 0:
        line = say(
            'begins with {source}; left out of it: {left}; new here: {new}',
            source=config.init_from,
            left=shown[0],
            new=shown[1],
        )
        print(line, flush=True)


def check_words(config: ConfigDict, processor: Any) -> None:
    """Raises UserError where a run begins with weights that know other words than its data are made of.

    Where there is no saying what the weights know, nothing is said here.
    """
    words: Any = processor if hasattr(processor, 'masked') else getattr(processor, 'tokenizer', None)
    if not config.init_from or not hasattr(words, 'masked'):
        return
    from jaxlab.data import vocabulary_files

    folder = words_of(config.init_from)
    if not (kind := vocabulary_files.kind_of(folder)):
        return
    makes = configs.module('data.processors', kind).make
    theirs, ours = makes(list, path=folder).tokenizer.get_vocab(), words.tokenizer.get_vocab()
    if theirs == ours:
        return
    word = min(theirs.items() ^ ours.items(), key=lambda item: (item[1], item[0]))[0]
    raise UserError(
        'config.init_from={source} knows other words than config.data.processor makes: "{word}" is token {theirs}'
        ' there, and {ours} here.\nTake its own: --config.data.processor.name={kind}'
        ' --config.data.processor.path={folder}',
        source=config.init_from,
        word=word,
        theirs=theirs.get(word, say('none')),
        ours=ours.get(word, say('none')),
        kind=kind,
        folder=folder,
    )


def words_of(source: str) -> str:
    """Returns where the words lie that weights know: a folder, or a repository of the hub."""
    return str(place.of(source) / 'processor') if is_workdir(source) else source


def _check_certificate(config: ConfigDict, task: Any, found: Tree, record: certificate.Certificate | None) -> None:
    if record is None:
        return
    without = HEAD if config.init_new_head else ''
    off = certificate.check(record, task.model, _variables(found), config.init_from, without=without)
    if jax.process_index() == 0:
        about = {'source': config.init_from, 'made_by': record.made_by, 'off': off}
        print(say('{source} agrees with its certificate ({made_by}) within {off:.1e}', **about), flush=True)


def _variables(tree: Tree) -> dict[str, Tree]:
    return {'params': tree['params'], **tree['extra']}


def family_of(config: ConfigDict, weights: Any) -> Any:
    """Returns the table of published names for the config's model.

    Raises:
      UserError: there is none.
    """
    return tables(config).family_of(weights.tensors)


def family_for(weights: Any) -> Any:
    """Returns the table of published names of weights whose config.json says what they are of.

    Raises:
      UserError: there is none.
    """
    for name in configs.names('pretrained', 'family_of'):
        family = configs.module('pretrained', name, 'family_of').family_of(weights.tensors)
        places = [re.sub(r'\\\{[^}]*\}', '[0-9]+', re.escape(row.theirs)) for row in family.rows]
        known = re.compile('|'.join([*places, *family.ignored]))
        if family.arguments_of is not None and weights.config and all(map(known.fullmatch, weights.tensors)):
            return family
    raise UserError(
        '"{source}": nothing says what model these weights are of: their names are of none that we know, or there is no'
        ' config.json beside them.',
        source=weights.source,
    )


def tables(config: ConfigDict) -> Any:
    """Returns the module of `pretrained/` for the config's model.

    Raises:
      UserError: there is none.
    """
    name = config.model.name
    if name not in configs.names('pretrained', 'family_of'):
        raise UserError(
            'config.init_from={source}: nothing says how published weights fit config.model.name={name}.',
            source=config.init_from,
            name=name,
        )
    return configs.module('pretrained', name, 'family_of')


def with_preprocessing(config: ConfigDict) -> ConfigDict:
    """Returns the config with what the weights that a run begins with want done to a picture, and with the words that
    they know, where it says nothing else itself.

    Raises:
      UserError: the weights cannot be found, or want what we do not have.
    """
    if config.init_from and config.data.get('processor', {}).get('path') == '':
        config = config.copy_and_resolve_references()
        folder = words_of(config.init_from)
        if config.data.processor.name in ENCODERS:  # whichever of them: the weights know the words of one
            from jaxlab.data import vocabulary_files

            if (kind := vocabulary_files.kind_of(folder)) not in ('', config.data.processor.name):
                with config.unlocked():
                    config.data.processor = configs.spec(f'data.processors.{kind}')
        config.data.processor.path = folder
    if not config.init_from or is_workdir(config.init_from) or 'size' not in config.data.get('processor', {}):
        return config
    from jaxlab.pretrained import find, preprocessor

    found = find(config.init_from).preprocessor
    if not found:
        return config
    config = config.copy_and_resolve_references()
    node = config.data.processor
    for name, value in preprocessor.read(found).items():
        if name == 'size':
            value = value[0]
        if not node[name] or name == 'interpolation':
            node[name] = value
    return config
