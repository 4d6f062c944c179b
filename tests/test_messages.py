"""What is said to people is said in two languages: every template has its Chinese, with the same places."""

import ast
import os
import re
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jaxlab import main
from jaxlab.chinese import CHINESE
from jaxlab.errors import UserError
from jaxlab.messages import language, say

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / 'jaxlab'
FILES = sorted(HOUSE.rglob('*.py'))
TABLES = [file for file in FILES if file.parent.name == 'chinese']
# Calls that hand on what stands elsewhere: the template of a UserError and the first line of a verb's module. (The
# report keeps pairs of its own, and calls what writes them `say` too.)
HANDED_ON = {
    'errors.py': {'say(template, **values)'},
    'main.py': {'say(line)'},
    'report/comparison.py': {'say(values[row])'},
    'report/html.py': {"say(template, 'english')", "say(CHINESE[template], 'chinese')"},
}
UNIVERSAL = {'MFU {value}'}  # the field's own words, in every language
VARIABLES = ('JAXLAB_LANG', 'LC_ALL', 'LC_MESSAGES', 'LANG')


def name(file):
    return file.relative_to(HOUSE).as_posix()


def calls(source):
    """Yields the calls of UserError and say."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', getattr(node.func, 'attr', '')) in (
            'NothingYet',  # a UserError of the report
            'BadRecord',  # one of the data
            'TooMany',  # one of numbers that are not finite
            'UserError',
            'say',
        ):
            yield node


def template_of(call):
    """The template of a call, None where it is not written there."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def places(template):
    """Returns {('size', None, '.1f'), …}: name, conversion and format of each place of a template."""
    found = set()
    for _, field, form, conversion in string.Formatter().parse(template):
        if field is not None:
            found |= {(field, conversion, form)} | places(form)
    return found


def has_words(template):
    return bool(re.search('[A-Za-z]', ''.join(text for text, *_ in string.Formatter().parse(template))))


def call_mistakes(source, handed_on=()):
    """Returns what is wrong with the calls in a file."""
    found = []
    for call in calls(source):
        template = template_of(call)
        if template is None or len(call.args) != 1:
            found += [] if ast.unparse(call) in handed_on else [f'no plain template: {ast.unparse(call)}']
            continue
        wanted, given = {place[0] for place in places(template)}, {keyword.arg for keyword in call.keywords}
        if wanted != given and not (None in given and given - {None} <= wanted):  # None: **values
            found.append(f'other values than places: {template}')
        if not given and re.search('[{}]', template):
            found.append(f'braces in a sentence without values, which is not formatted: {template}')
    return found


def english():
    """Returns every template that is said, and the files that say it."""
    found = {}
    for file in FILES:
        source = file.read_text('utf-8')
        templates = [template_of(call) for call in calls(source)]
        if file.parent.name == 'verbs' and file.stem != '__init__':
            templates.append((ast.get_docstring(ast.parse(source)) or '').partition('\n')[0])
        for template in templates:
            if template is not None:
                found.setdefault(template, set()).add(name(file))
    return found


def translation_mistakes(template, chinese):
    """Returns what is wrong with one entry of the table."""
    found = []
    if places(template) != places(chinese):
        found.append(f'other places: {template!r} and {chinese!r}')
    words = set(re.findall('[A-Za-z]+', re.sub(r'\{.*?\}|--[a-z_.]+', '', template))) - {
        'config',
        'groups',
        'precision',
        'workdir',
    }
    if template not in UNIVERSAL and not re.search(
        '[\u4e00-\u9fff]' if words else '[\u4e00-\u9fff\uff00-\uffef]', chinese
    ):
        found.append(f'not Chinese: {chinese!r}')
    if re.search('[\u4e00-\u9fff][,;:?!]|[,;?!][\u4e00-\u9fff]', chinese):
        found.append(f'punctuation that is not Chinese: {chinese!r}')
    if template.count('\n') != chinese.count('\n'):
        found.append(f'another number of lines: {template!r}')
    flags = [set(re.findall(r'--[a-z_]+(?:\.[a-z_]+)*', text)) for text in (template, chinese)]
    if flags[0] != flags[1]:
        found.append(f'other flags: {template!r}')
    return found


def missing(templates, table):
    return {template for template in templates if has_words(template)} - table.keys()


# --- every sentence, in both languages -------------------------------------------------------------------------------


@pytest.mark.parametrize('file', FILES, ids=name)
def test_a_sentence_is_a_plain_template_with_its_values(file):
    assert call_mistakes(file.read_text('utf-8'), HANDED_ON.get(name(file), ())) == []


def test_every_sentence_has_its_chinese():
    said = english()
    assert len(said) > 150
    assert missing(said, CHINESE) == set()
    assert CHINESE.keys() - said.keys() == set(), 'nothing says this any more'


def test_every_sentence_stands_in_the_table_once():
    keys = Counter(
        ast.literal_eval(key)
        for file in TABLES
        for node in ast.walk(ast.parse(file.read_text('utf-8')))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if key is not None  # a table in a table
    )
    assert set(keys) == set(CHINESE)
    assert [key for key, count in keys.items() if count > 1] == []


@pytest.mark.parametrize('template', CHINESE)
def test_the_chinese_says_the_same(template):
    assert translation_mistakes(template, CHINESE[template]) == []


@pytest.mark.parametrize(
    ('source', 'mistake'),
    [
        ("raise UserError(f'{n} rows')", 'no plain template'),
        ('raise UserError(message)', 'no plain template'),
        ("say('{n} ' + 'rows', n=3)", 'no plain template'),
        ('messages.say(template, **values)', 'no plain template'),
        ("say('{n} rows', 3)", 'no plain template'),
        ("say('{n} rows', m=3)", 'other values'),
        ("say('{n} rows')", 'other values'),
        ("say('{n} rows', m=3, **values)", 'other values'),
        ("say('{n} of {} rows', n=3)", 'other values'),
        ("say('{n:{width}} rows', n=3)", 'other values'),
        ("say('all rows', n=3)", 'other values'),
        ("say('{{n}} rows')", 'braces'),
    ],
)
def test_a_call_in_another_form_is_noticed(source, mistake):
    assert any(mistake in found for found in call_mistakes(source))


@pytest.mark.parametrize(
    ('template', 'chinese', 'mistake'),
    [
        ('{n:,} rows', '{m:,} 行', 'other places'),
        ('{n:,} rows', '{n} 行', 'other places'),
        ('{n!r} rows', '{n} 行', 'other places'),
        ('{n} rows', '行', 'other places'),
        ('{n} rows', '{n} rows：', 'not Chinese'),
        ('config.{key}: {error}', 'config.{key}: {error}', 'not Chinese'),
        ('one row, or two', '一行, 或两行', 'punctuation'),
        ('one\ntwo', '一二', 'lines'),
        ('take --workdir', '请用 --wrokdir', 'flags'),
    ],
)
def test_a_wrong_translation_is_noticed(template, chinese, mistake):
    assert any(mistake in found for found in translation_mistakes(template, chinese))


def test_a_missing_entry_is_noticed():
    table = dict(CHINESE)
    del table['the experiment']
    assert missing(english(), table) == {'the experiment'}
    assert missing({'{name} = {value}'}, {}) == set()  # there is nothing to translate


# --- nothing is said past the table ----------------------------------------------------------------------------------

PLAIN_ENGLISH: set[str] = set()


def texts(node):
    """Yields the pieces of text that an expression puts together; those in calls are theirs."""
    if isinstance(node, ast.Constant):
        yield from [node.value] if isinstance(node.value, str) else []
    elif isinstance(node, ast.Call):
        yield from texts(node.func.value) if isinstance(node.func, ast.Attribute) else ()
    elif isinstance(node, ast.FormattedValue):
        yield from texts(node.value)  # and not its format
    elif not isinstance(node, ast.Subscript):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def unsaid(source):
    """Returns words that a file prints, or gives as the help of a flag, without saying them in both languages."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            shown = [keyword.value for keyword in node.keywords if keyword.arg in ('help', 'description')]
            shown += node.args if getattr(node.func, 'id', '') == 'print' else []
            found += [text for part in shown for text in texts(part) if re.search('[A-Za-z]', text)]
    return [text for text in found if text != 'jaxlab: ']


@pytest.mark.parametrize('file', FILES, ids=name)
def test_words_on_the_screen_are_said(file):
    if name(file) in PLAIN_ENGLISH:
        assert unsaid(file.read_text('utf-8')), f'{name(file)} says all it prints: take it off the list'
    else:
        assert unsaid(file.read_text('utf-8')) == []


@pytest.mark.parametrize(
    'line',
    [
        "print('done')",
        "print(f'{n} rows')",
        "print('rows ' + str(n))",
        "print(f'{n} rows'.rstrip())",
        "print('one' if n == 1 else say('many'))",
        "parser.add_argument('--n', help='how many')",
    ],
)
def test_words_that_are_not_said_are_noticed(line):
    assert unsaid(line)
    assert not unsaid("print('  ' + say('rows'), f'{row[\"name\"]:4}', json.dumps({'n': 1}), end='')")


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
        (['generat'], '没有命令“generat”；可选的有 doctor, evaluate, generate, '),
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
    assert words <= {'held', 'out', 'JSON', 'best', 'newest'} | {word for word in words if word.isupper()}, out


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


# --- the scripts -----------------------------------------------------------------------------------------------------


def script_templates(text):
    """Returns every template that a shell script says, without its table."""
    said = re.findall(
        r"""\b(?:say|fail|words) (?:'([^']*)'|"([^"$]*)")""", re.sub(r'(?ms)^chinese\(\).*?^\}', '', text)
    )
    return {single or double for single, double in said}


def script_table(text):
    """Returns [(template, Chinese), …] of launch/setup.sh."""
    table = re.search(r'(?ms)^chinese\(\).*?^\}', text)
    entries = re.findall(r"""^    (?:'([^']*)'|"([^"]*)"\))\)?\s+echo '([^']*)' ;;""", table[0], re.MULTILINE)
    return [(single or double, chinese) for single, double, chinese in entries]


def test_the_scripts_speak_both_languages():
    texts = {script.name: script.read_text('utf-8') for script in sorted((ROOT / 'launch').glob('*.sh'))}
    said = set().union(*map(script_templates, texts.values()))
    table = script_table(texts['setup.sh'])
    keys = {template for template, _ in table}
    assert len(keys) == len(table) > 20 and keys <= said
    assert not {template for template in said - keys if re.search('[A-Za-z]', template.replace('%s', ''))}
    for template, chinese in table:
        assert template.count('%') == template.count('%s') == chinese.count('%s') == chinese.count('%')
        assert translation_mistakes(template.replace('%s', '{}'), chinese.replace('%s', '{}')) == []
