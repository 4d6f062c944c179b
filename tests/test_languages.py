"""The language in which a person is spoken to, and terminals that cannot show it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxlab import main
from jaxlab.errors import UserError
from jaxlab.messages import language, say

ROOT = Path(__file__).parents[1]
VARIABLES = ('JAXLAB_LANG', 'LC_ALL', 'LC_MESSAGES', 'LANG')


# --- which language --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('variables', 'wanted'),
    [
        ({}, 'en'),
        ({'LANG': 'zh_CN.UTF-8'}, 'zh'),
        ({'LANG': 'C.UTF-8'}, 'en'),
        ({'LC_MESSAGES': 'en_GB.UTF-8', 'LANG': 'zh_CN.UTF-8'}, 'en'),
        ({'LC_ALL': 'zh_TW', 'LC_MESSAGES': 'en_GB.UTF-8', 'LANG': 'en_GB.UTF-8'}, 'zh'),
        ({'LC_ALL': 'C', 'LC_MESSAGES': 'zh_CN', 'LANG': 'zh_CN'}, 'en'),
        ({'JAXLAB_LANG': 'en', 'LC_ALL': 'zh_CN', 'LANG': 'zh_CN'}, 'en'),
        ({'JAXLAB_LANG': 'zh', 'LC_ALL': 'C'}, 'zh'),
        ({'JAXLAB_LANG': 'ZH'}, 'zh'),
        ({'JAXLAB_LANG': '', 'LANG': 'zh_CN.UTF-8'}, 'zh'),
    ],
)
def test_the_language(monkeypatch, variables, wanted):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert language() == wanted
    assert str(UserError('a number')) == say('a number') == {'en': 'a number', 'zh': '数字'}[wanted]


def test_what_the_table_lacks_is_said_in_english(monkeypatch):
    monkeypatch.setenv('JAXLAB_LANG', 'zh')
    assert say('{n} things that nobody says', n=3) == '3 things that nobody says'
    assert str(UserError('{"no": "values"}')) == '{"no": "values"}'


# --- as a person sees it ---------------------------------------------------------------------------------------------

TINY = '--config=configs/transformer.py:tiny'


def run(*command, **variables):
    """Runs Python in a process of its own, in the clone; returns (exit code, stdout, stderr)."""
    clean = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment = clean | {'PYTHONPATH': str(ROOT)} | variables
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ('arguments', 'answer'),
    [
        (['generat'], '没有命令“generat”；可选的有 certify, diff, doctor, '),
        (['--confg=x'], '--confg：train 没有这个选项。您是不是想写“--config”？'),
        (['generate'], '缺少必需的选项：--workdir；--help 会列出所有选项。'),
        (['generate', '--workdir=no/such/folder'], '--workdir=no/such/folder：这里没有实验（没有 config.json）。'),
        ([TINY, '--config.model.widht=3'], '--config.model.widht：配置里没有这个键。您是不是想写“model.width”？'),
        ([TINY, '--config.model.width=wide'], '--config.model.width=wide：应为整数，例如 --config.model.width=64'),
    ],
)
def test_mistakes_in_chinese(arguments, answer):
    code, out, error = run('-m', 'jaxlab.main', *arguments, JAXLAB_LANG='zh')
    assert (code, out) == (2, '')
    assert error.startswith(f'jaxlab: {answer}') and error.endswith('\n')


def test_a_chinese_locale_is_enough():
    assert run('-m', 'jaxlab.main', 'generat', LANG='zh_CN.UTF-8')[2].startswith('jaxlab: 没有命令“generat”')
    assert run('-m', 'jaxlab.main', 'generat')[2].startswith('jaxlab: "generat" is no verb')


def test_help_in_chinese():
    assert '训练一个实验；再次运行同一条命令会接着训练。' in run('-m', 'jaxlab.main', '--help', JAXLAB_LANG='zh')[1]
    code, out, _ = run('-m', 'jaxlab.main', 'generate', '--help', JAXLAB_LANG='zh')
    assert code == 0 and out.startswith('用法') and '--prompt=' in out
    words = set(re.findall('[A-Za-z]{2,}', re.sub(r'.*python -m.*|--?\w+.*?(?=  |\]|\n)', '', out)))
    assert words <= {'held', 'out', 'JSON', 'best', 'newest', 'no', 'yes', 'never', 'beams'} | {
        word for word in words if word.isupper()
    }, out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '缺少必需的选项：--rows'),
        (['--rows'], '选项 --rows 需要一个值'),
        (['--rows=many'], "选项 --rows：'many' 不是有效的 int"),
        (['--rows=3', '--json=yes'], "选项 --json 不带值，却给了 'yes'"),
        (['--rows=3', '--form=xml'], "选项 --form：不能取 'xml'（可选的有"),
        (['--rows=3', '--form'], '选项 --form 需要一个值'),
    ],
)
def test_argparse_speaks_chinese(arguments, message, monkeypatch):
    """Its own sentences are recognized by their words: another Python's argparse may have others."""
    monkeypatch.setenv('JAXLAB_LANG', 'zh')
    parser = main.Parser()
    parser.add_argument('--rows', type=int, required=True)
    parser.add_argument('--json', action='store_true')
    parser.add_argument('--form', choices=['html', 'pdf'])
    with pytest.raises(UserError) as caught:
        parser.parse_args(arguments)
    assert str(caught.value).startswith(message) and str(caught.value).endswith('；--help 会列出所有选项。')


# --- where Chinese cannot be shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'variables',
    [{'PYTHONIOENCODING': 'ascii'}, {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}],
    ids=['PYTHONIOENCODING', 'LC_ALL'],
)
def test_a_terminal_without_chinese_ends_no_run(variables):
    code, out, error = run('-m', 'jaxlab.main', '--help', JAXLAB_LANG='zh', **variables)
    assert (code, error) == (0, '') and '\\u547d\\u4ee4' in out and '[--config=' in out
    code, out, error = run('-m', 'jaxlab.main', 'generat', JAXLAB_LANG='zh', **variables)
    assert (code, out) == (2, '') and error.startswith('jaxlab: \\u6ca1') and error.count('\n') == 1


def test_a_terminal_that_ends_the_run_is_noticed():
    program = 'import sys, jaxlab.main as main; main.io.TextIOWrapper = (); sys.exit(main.main(["--help"]))'
    code, _, error = run('-c', program, JAXLAB_LANG='zh', PYTHONIOENCODING='ascii')
    assert code == 1 and 'UnicodeEncodeError' in error
