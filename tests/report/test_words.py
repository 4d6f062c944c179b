"""Both languages: every sentence of the page has its Chinese, with the same places, and none is left over."""

import ast
import string
from pathlib import Path

import pytest

import jaxlab.report
from jaxlab.report.html import both
from jaxlab.report.words import CHINESE, MEASURES, WORK

FILES = sorted(Path(jaxlab.report.__file__).parent.glob('*.py'))


def texts(node):
    """The texts that an expression may be: a constant, or one of several."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return set()


def sentences():
    """Every English text that stands in the code where the page's words do: in both(…), and in tables for it."""
    found = set(MEASURES.values()) | set(WORK.values())
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text('utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'both':
                found |= texts(node.args[0])
            elif isinstance(node, ast.Constant) and node.value in CHINESE and file.name != 'words.py':
                found.add(node.value)
    return found


def places(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def test_every_sentence_has_its_chinese_and_none_is_left_over():
    assert sentences() == set(CHINESE)


@pytest.mark.parametrize('english', CHINESE)
def test_places_are_the_same_and_the_chinese_is_chinese(english):
    chinese = CHINESE[english]
    assert places(english) == places(chinese)
    assert any('\u4e00' <= c <= '\u9fff' for c in chinese)
    assert not any('\u4e00' <= c <= '\u9fff' for c in english)


def test_both_escapes_what_it_is_given_and_not_what_it_is():
    english, chinese = '&lt;b&gt; &amp; {x} by step', '&lt;b&gt; &amp; {x}，按步数'
    sentence = both('{name} by step', name='<b> & {x}')
    assert sentence == f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'
    assert both('{name} by step', name=both('Loss')).chinese == '损失，按步数'


def test_a_sentence_without_chinese_is_noticed():
    with pytest.raises(KeyError):
        both('Nobody has translated this.')
