"""What is said to people is said in two languages: every template has its Chinese, with the same places."""

import ast
import re
import string
from collections import Counter
from pathlib import Path

import pytest

from jaxlab.chinese import CHINESE

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
