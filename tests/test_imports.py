"""Which room may import which, read off the syntax trees: nn <- models <- tasks <- step, train <- verbs <- main."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / 'jaxlab'
FILES = sorted(HOUSE.rglob('*.py'))

# Room, or file beside the rooms: what it may import of the house, beside itself and `errors`. Those that are not here
# (train, experiment, verbs, …) put the parts together; parts that a config names are no imports.
ARROWS = {
    'errors': {'messages'},
    'allocator': set(),
    'messages': {'chinese'},
    'chinese': set(),
    'nn': {'parallel'},
    'models': {'nn', 'parallel'},
    'tasks': {'task', 'decode', 'models', 'nn', 'parallel'},
    'task': set(),
    'step': {'task', 'optim', 'parallel', 'parameter_groups', 'trust'},
    'config': set(),
    'config_text': {'config', 'trust'},
    'best': {'scores'},
    'parameter_groups': set(),
    'precision': {'parallel'},
    'flops': {'task', 'parallel'},
    'memory': set(),
    'devices': set(),
    'schedules': set(),
    'gradient_norm': {'parallel'},
    'optim': {'config', 'gradient_norm', 'parameter_groups'},
    'hub': set(),
    'data': {'config', 'hub', 'trust'},
    'scores': {'task'},
    'decode': set(),
    'parallel': {'devices', 'trust'},
    'trust': set(),
    'pretrained': {'hub', 'models', 'nn', 'parallel', 'trust'},
    'report': {'trust', 'workdir'},
    'adapters': {'nn', 'optim', 'parallel', 'parameter_groups', 'task', 'trust'},
    'certificate': {'nn', 'trust', '__version__'},
    'original': {'pretrained'},
    'observers': {'best', 'config', 'config_text', 'data', 'memory', 'report', 'step', 'task', 'trust', 'workdir'},
}
NEVER_MODELS = ('data', 'optim', 'scores', 'observers', 'decode', 'parallel', 'trust')

# Slow to import and not needed for the first step: imported where they are used.
LAZY = {'orbax', 'grain', 'matplotlib', 'tensorboardX', 'rich', 'psutil', 'sklearn', 'wandb', 'tensorflow_datasets'}
LAZY |= {'PIL', 'safetensors', 'huggingface_hub'}
NEVER = {'tensorflow', 'torch', 'transformers'}
THE_ORIGINAL = {'original.py': {'torch', 'transformers'}}  # runs what ours is compared with, where somebody asks for it
# What must: the processors that are made of it, which are themselves imported when a config names them.
PROCESSORS = {'bpe', 'published', 'roberta', 'wordpiece'}
BEHIND = {
    f'data/{name}.py'
    for name in ('byte_level', 'byte_fallback', 'decoder_tokens', 'encoder_tokens', 'vocabulary_files')
}  # what these are made of
AT_THE_TOP = {'tokenizers': {*BEHIND, *(f'data/processors/{name}.py' for name in PROCESSORS)}}


def room(file):
    return file.relative_to(HOUSE).with_suffix('').parts[0]


def imported(nodes):
    """Yields the dotted names that these statements import, every name of a package as if it were a module."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'imports say the whole name'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def everywhere(file):
    return set(imported(ast.walk(ast.parse(file.read_text('utf-8')))))


def at_the_top(file):
    """What is imported with the file: not within a function."""

    def statements(body):
        for node in body:
            yield node
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for field in ('body', 'orelse', 'finalbody', 'handlers'):
                    yield from statements(getattr(node, field, []))

    return set(imported(statements(ast.parse(file.read_text('utf-8')).body)))


def rooms_imported(file):
    """The rooms of the house that a file imports, its own left out."""
    words = [name.split('.') for name in everywhere(file)]
    return {word[1] for word in words if word[0] == 'jaxlab' and len(word) > 1} - {room(file)}


def outside(names):
    return {name.split('.')[0] for name in names}


def arrow_mistakes(file):
    allowed = ARROWS.get(room(file))
    return set() if allowed is None else rooms_imported(file) - allowed - {'errors', 'messages'}


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_imports_point_one_way(file):
    assert not arrow_mistakes(file)
    if room(file) in NEVER_MODELS:
        assert 'models' not in rooms_imported(file)
    if room(file) not in ('verbs', 'main'):
        assert not {'verbs', 'main'} & rooms_imported(file)
    if room(file) not in ('nn', 'models'):
        names = everywhere(file)
        assert not [name for name in names if name.startswith('flax.linen') or name.startswith('flax.nnx')]


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_what_is_slow_is_imported_where_it_is_used(file):
    assert not outside(everywhere(file)) & NEVER - THE_ORIGINAL.get(str(file.relative_to(HOUSE)), set())
    assert not outside(at_the_top(file)) & (LAZY | NEVER)
    for library, files in AT_THE_TOP.items():
        assert library not in outside(at_the_top(file)) or str(file.relative_to(HOUSE)) in files


def test_the_first_floor_is_fast(fresh):
    """Reading the command line needs nothing of JAX; building a model nothing that it does not compute with."""
    program = 'import sys, {}; print(*sorted({{name.partition(".")[0] for name in sys.modules}}))'
    light = set(fresh('-c', program.format('jaxlab, jaxlab.main, jaxlab.errors')).stdout.split())
    assert 'jaxlab' in light and not light & ({'jax', 'numpy', 'flax', 'optax', 'ml_collections'} | LAZY | NEVER)
    heavy = set(fresh('-c', program.format('jaxlab.train, jaxlab.experiment, jaxlab.models.gpt')).stdout.split())
    assert 'flax' in heavy and not heavy & (LAZY - {'rich'} | NEVER | {'tokenizers'})  # flax imports rich


def test_every_library_is_one_that_we_ask_for():
    text = (ROOT / 'pyproject.toml').read_text('utf-8')
    known = {'absl': 'absl-py', 'orbax': 'orbax-checkpoint', 'tensorboardX': 'tensorboardx'}
    known |= {'sklearn': 'scikit-learn', 'PIL': 'pillow'}
    used = set().union(*(outside(everywhere(file)) for file in FILES))
    for library in used - set(sys.stdlib_module_names) - {'jaxlab'}:
        assert f"'{known.get(library, library).replace('_', '-')}" in text, library


def test_no_room_for_odds_and_ends():
    words = {part for file in FILES for part in file.relative_to(HOUSE).with_suffix('').parts}
    assert not words & {'utils', 'util', 'common', 'helpers', 'helper', 'base', 'misc'}


def test_no_file_is_two():
    lines = {str(file.relative_to(ROOT)): len(file.read_text('utf-8').splitlines()) for file in FILES}
    assert not {name: count for name, count in lines.items() if count > 400}


@pytest.mark.parametrize(
    ('name', 'line'),
    [
        ('nn/linear.py', 'from jaxlab.models import gpt'),
        ('nn/linear.py', 'import jaxlab.step'),
        ('models/gpt.py', 'from jaxlab.tasks.language_model import LanguageModel'),
        ('decode/sampling.py', 'def f():\n    from jaxlab.models import gpt'),
        ('step.py', 'from jaxlab import train'),
    ],
)
def test_an_arrow_the_wrong_way_is_noticed(name, line, monkeypatch):
    file, read = HOUSE / name, Path.read_text
    monkeypatch.setattr(Path, 'read_text', lambda path, *rest: read(path, *rest) + line * (path == file))
    assert arrow_mistakes(file)
