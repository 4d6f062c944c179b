"""The evaluation of a classification on the page: what `evaluate` wrote, drawn and told in both languages, and nothing
of what is damaged."""

import json
import re

import numpy as np
import pytest

from jaxlab import report
from jaxlab.assessment import assess
from jaxlab.report import assessment, evaluation
from jaxlab.report.page import page
from jaxlab.report.record import read
from tests.experiments import write_run
from tests.report.pages import Page

ROWS = [{'step': 10, 'train/loss': 3.0}, {'step': 10, 'eval/validation/roc_auc': 0.5}]
EVIL = '"><script>x</script>{braces}'


def told(classes=4, n=400, labels=('cat', '狐狸', EVIL), seed=0):
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, n).astype(np.int32)
    odds = np.exp(draw.normal(size=(n, classes)) * 1.5 + 3 * np.eye(classes)[targets])
    found = assess(odds / odds.sum(1, keepdims=True), targets, labels)
    return {'split': 'test', 'step': 10, 'complete': True, 'scores': {}, **found}


@pytest.fixture
def workdir(tmp_path):
    return write_run(tmp_path / 'run', ROWS)


def write(workdir, found, split='test'):
    (workdir / 'evaluations').mkdir(exist_ok=True)
    (workdir / 'evaluations' / f'{split}.json').write_text(json.dumps(found), 'utf-8')


def shown(workdir, language='en'):
    parsed = Page(page(read(workdir)))
    assert parsed.untranslated() == []
    return parsed.shown(language)


def test_a_page_without_has_no_such_section(workdir):
    assert 'id="evaluation"' not in page(read(workdir))


def test_everything_is_shown(workdir):
    found = told()
    write(workdir, found)
    text = page(read(workdir))
    english, chinese = Page(text).shown('en'), shown(workdir, 'zh')
    for words in (
        'test at step 10: 400 rows.',
        f'area of the macro mean: {found["roc"]["macro"]["area"]:.4f}',
        'Confusion matrix',
        f'狐狸 {found["classes"][1]["rows"]} {found["classes"][1]["precision"]:.4f}',
        f'expected calibration error: {error(found):.4f}',
    ):
        assert words in english, words
    for words in ('混淆矩阵', '400 个样本', '召回率', '期望校准误差', '最有把握却错了的样本'):
        assert words in chinese, words
    assert text.count('<script') == 1 and '{braces}' in Page(text).shown('en')
    for one in found['wrong']:
        assert f'{one["probability"]:.4f}' in english
    counts = re.findall(r'<title>([^<]*): ([\d,]+)</title>', text)
    assert len(counts) == sum(count > 0 for line in found['confusion'] for count in line)
    assert sum(int(count) for _, count in counts) == 400
    assert len(re.findall('<svg class="square"', text)) == 3


def error(found):
    return (
        sum(one['rows'] * abs(one['accuracy'] - one['confidence']) for one in found['reliability'] if one['rows']) / 400
    )


def test_many_classes_make_a_page_that_can_be_read(workdir):
    write(workdir, told(60, 3000, ()))
    text = page(read(workdir))
    assert 'svg class="confusion"' not in text and 'pairs of classes that are confused the most' in shown(workdir)
    assert len(text) < 300_000
    write(workdir, told(50, 3000, ()))
    text = page(read(workdir))
    assert 'class="confusion"' in text and len(text) < 700_000


def test_little_is_enough(workdir):
    for n, classes in ((0, 2), (1, 1), (3, 2)):
        write(workdir, told(classes, n))
        assert f': {n} rows.' in shown(workdir)


def test_several_splits_and_part_of_one(workdir):
    write(workdir, told() | {'split': 'validation', 'complete': False, 'not_finite': 5}, 'validation')
    write(workdir, told(3))
    english = shown(workdir)
    assert 'validation at step 10: its first 400 rows.' in english and 'test at step 10: 400 rows.' in english
    assert 'which are left out: 5' in english
    ids = re.findall(r' id="([^"]*)"', page(read(workdir)))
    assert len(ids) == len(set(ids))


def test_the_sheet_is_embedded(workdir, tmp_path):
    write(workdir, told())
    sheet = workdir / 'evaluations' / 'test_wrong.png'
    sheet.write_bytes(b'\x89PNG...')
    assert 'src="data:image/png;base64,iVBORy4uLg=="' in page(read(workdir))
    sheet.write_bytes(bytes(evaluation.SHEET_BYTES + 1))
    assert '<img' not in page(read(workdir))
    sheet.unlink()
    (tmp_path / 'other.png').write_bytes(b'secret')
    sheet.symlink_to(tmp_path / 'other.png')
    assert '<img' not in page(read(workdir))


def broken():
    """Yields what nobody of ours writes."""
    good = told()
    for name in assessment.KINDS:
        yield {key: value for key, value in good.items() if key != name}
        yield good | {name: None}
        yield good | {name: -1}
        yield good | {name: [[[]]]}
    yield good | {'labels': ['one']}
    yield good | {'confusion': [[1, 2]] * 4}
    yield good | {'confused': [{'target': 4, 'said': 0, 'rows': 1}]}
    yield good | {'roc': {'macro': {'x': [0, 1], 'y': [0], 'area': 0.5}, 'classes': []}}
    yield good | {'roc': {'macro': {'x': [0, 2], 'y': [0, 1], 'area': 0.5}, 'classes': []}}
    yield good | {'roc': {'macro': {'x': [], 'y': [], 'area': 0.5}, 'classes': []}}
    yield good | {'reliability': [{'rows': 1, 'confidence': None, 'accuracy': None}]}
    yield good | {'reliability': [{'rows': 1, 'confidence': float('nan'), 'accuracy': 0.5}]}
    yield good | {'step': True}
    yield from ([], 7, None, 'x', {})


def test_what_is_damaged_is_left_out(workdir):
    write(workdir, told())
    assert 'id="evaluation"' in page(read(workdir))
    for found in broken():
        write(workdir, found)
        assert list(assessment.read(workdir)) == [], found
    for text in ('', '{', '[' * 100_000, '\xff'):
        (workdir / 'evaluations' / 'test.json').write_bytes(text.encode('latin-1'))
        assert list(assessment.read(workdir)) == []
    assert 'id="evaluation"' not in page(read(workdir))


def test_links_are_not_followed(workdir, tmp_path):
    other = write_run(tmp_path / 'other', ROWS)
    write(other, told())
    (workdir / 'evaluations').symlink_to(other / 'evaluations')
    assert list(assessment.read(workdir)) == []
    (workdir / 'evaluations').unlink()
    (workdir / 'evaluations').mkdir()
    (workdir / 'evaluations' / 'test.json').symlink_to(other / 'evaluations' / 'test.json')
    assert list(assessment.read(workdir)) == []


def test_a_page_is_made_anew_when_there_is_a_new_one(workdir):
    assert workdir / 'evaluations' in report.inputs([workdir])


def test_counts_in_the_wrong_cells_are_noticed(workdir, monkeypatch):
    """The transposed matrix has other sentences in its cells."""
    found = told()
    write(workdir, found)
    cells = re.findall(r'<title>[^<]*</title>', page(read(workdir)))
    write(workdir, found | {'confusion': np.transpose(found['confusion']).tolist()})
    assert cells != re.findall(r'<title>[^<]*</title>', page(read(workdir)))
