"""No data becomes code: nothing here unpickles, evaluates text, reads unsafe YAML, or runs what was downloaded.

Read off the syntax trees of all our files, and heard from Python itself while a run trains, is loaded and is shown.
"""

import ast
import sys
from pathlib import Path

import pytest

import jaxlab
from jaxlab import report
from jaxlab.observers.history import History
from jaxlab.observers.report import Report
from jaxlab.observers.tensorboard import TensorBoard
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from tests.experiments import tiny

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ('jaxlab', 'configs', 'launch') for file in (ROOT / folder).rglob('*.py'))

# Libraries whose files are programs.
LIBRARIES = {'_pickle', 'cPickle', 'cloudpickle', 'dill', 'jsonpickle', 'joblib', 'marshal', 'pickle', 'shelve'}
# What turns text or files into code, or hands text to a shell.
NAMES = {
    *(f'{prefix}{name}' for prefix in ('', 'builtins.') for name in ('eval', 'exec', 'compile', '__import__')),
    *(f'yaml.{name}' for name in ('load', 'load_all', 'full_load', 'full_load_all', 'unsafe_load', 'unsafe_load_all')),
    *('torch.load', 'torch.hub.load', 'pandas.read_pickle', 'runpy.run_path', 'runpy.run_module'),
    *('os.system', 'os.popen', 'subprocess.getoutput', 'subprocess.getstatusoutput', 'code.InteractiveInterpreter'),
}
SWITCHES = {'allow_pickle', 'shell', 'trust_remote_code', 'weights_only'}  # allowed at the safe value alone
SAFE = {'weights_only': True}
# Code that a name chooses is imported here, and nowhere else: parts (names are checked there), config files, verbs; and
# libraries whose names stand in the code.
IMPORTERS = {'jaxlab/config.py', 'jaxlab/config_text.py', 'jaxlab/main.py', 'jaxlab/trust/first_bad.py'}


def mistakes(source: str, may_import: bool = False) -> list[str]:
    """Returns what of this source could turn data into code."""
    tree = ast.parse(source)
    found, known = [], {}  # known: a name in this file -> what was imported under it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f'imports {alias.name}' for alias in node.names if alias.name.split('.')[0] in LIBRARIES]
            known |= {(alias.asname or alias.name.split('.')[0]): alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            found += [f'imports {node.module}'] * ((node.module or '').split('.')[0] in LIBRARIES)
            known |= {(alias.asname or alias.name): f'{node.module}.{alias.name}' for alias in node.names}

    def whole_name(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute) and (left := whole_name(node.value)):
            return f'{left}.{node.attr}'
        return known.get(node.id, node.id) if isinstance(node, ast.Name) else ''

    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (name := whole_name(node)) in NAMES:
            found.append(f'uses {name}')
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                safe = SAFE.get(keyword.arg, False)
                if keyword.arg in SWITCHES and getattr(keyword.value, 'value', None) is not safe:
                    found.append(f'sets {keyword.arg}')
            name = whole_name(node.func)
            if name.split('.')[-1] in ('import_module', 'exec_module', 'load_module') and not may_import:
                found.append(f'imports by name: {ast.unparse(node)}')
        if isinstance(node, ast.Dict):  # keywords that are handed on: **{'trust_remote_code': True}
            found += [f'sets {key.value}' for key in node.keys if getattr(key, 'value', None) in SWITCHES]
    return found


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_data_becomes_code(file):
    may_import = file.relative_to(ROOT).as_posix() in IMPORTERS
    assert mistakes(file.read_text('utf-8'), may_import) == []


def test_all_files_are_looked_at():
    assert len(FILES) > 100 and {name for name in IMPORTERS if (ROOT / name) in FILES} == IMPORTERS


@pytest.mark.parametrize(
    'line',
    [
        'import pickle',
        'def f():\n    from pickle import loads',
        'import os.path, dill',
        'import cloudpickle as cp',
        'from joblib import load',
        'import marshal',
        'import shelve',
        'eval(text)',
        'exec(text)',
        'compile(text, "", "exec")',
        'f = eval',
        'list(map(eval, texts))',
        '__import__(name)',
        'import builtins\nbuiltins.eval(text)',
        'import builtins as b\nb.exec(text)',
        'from builtins import eval as value_of\nvalue_of(text)',
        'import yaml\nyaml.load(text, Loader=yaml.Loader)',
        'from yaml import unsafe_load',
        'from yaml import full_load as read\nread(text)',
        'import yaml as y\ny.load_all(text)',
        'import numpy as np\nnp.load(file, allow_pickle=True)',
        'import numpy as np\nnp.load(file, allow_pickle=may)',
        'import torch\ntorch.load(file)',
        'from torch import load\nload(file)',
        'torch.load(file, weights_only=False)',
        'model(name, trust_remote_code=True)',
        'model(name, **{"trust_remote_code": True})',
        'import subprocess\nsubprocess.run(text, shell=True)',
        'subprocess.Popen(text, shell=1)',
        'import os\nos.system(text)',
        'from os import system',
        'import os as system\nsystem.popen(text)',
        'import importlib\nimportlib.import_module(name)',
        'from importlib import import_module\nimport_module(name)',
        'spec.loader.exec_module(found)',
        'import pandas as pd\npd.read_pickle(file)',
    ],
)
def test_what_would_make_code_of_data_is_noticed(line):
    # `from yaml import unsafe_load` alone does nothing yet; who imports it will call it.
    used = line if len(line.splitlines()) > 1 or ' import ' not in line else f'{line}\n{line.split()[-1]}(text)'
    assert mistakes(used)


@pytest.mark.parametrize(
    'line',
    [
        'import re\nre.compile(text)',
        'step.lower(x).compile()',
        'import torch\ntorch.compile(model)',
        'model.eval()',
        'import yaml\nyaml.safe_load(text)',
        'import json\njson.load(file)',
        'import numpy as np\nnp.load(file)',
        'np.load(file, allow_pickle=False)',
        'subprocess.run([program], shell=False)',
        'import ast\nast.literal_eval(text)',
    ],
)
def test_what_is_harmless_is_left_alone(line):
    assert mistakes(line) == []


# --- while it runs ---------------------------------------------------------------------------------------------------

_heard: list[str] | None = None


def _listen(event, arguments):
    if _heard is not None and event in ('pickle.find_class', 'os.system', 'marshal.load'):
        _heard.append(f'{event}{arguments}')


def test_no_library_unpickles_for_us(corpus, tmp_path):
    """Saving, restoring, loading, the cache of programs and of tokens, TensorBoard, the report."""
    global _heard
    sys.addaudithook(_listen)  # for good: Python has no way to take it back; so it listens while `_heard` is a list
    _heard = []
    try:
        quiet = {'log__every': 2, 'log__sample_every': 0, 'evaluate__batches': 1, 'checkpoint__every': 2}
        for steps in (2, 4):
            observers = [Tracker(), History(), TensorBoard(), Report()]
            assert train(tiny(corpus, steps=steps, mesh__data=1, **quiet), tmp_path / 'run', observers) == 0
        assert jaxlab.load(tmp_path / 'run').step == 4
        report.write([tmp_path / 'run'])
        assert [line for line in _heard if 'multiprocessing' not in line] == []
        import copyreg
        import pickle

        pickle.loads(pickle.dumps(copyreg.constructor))
        assert len(_heard) == 1, 'what does unpickle is heard'
    finally:
        _heard = None
