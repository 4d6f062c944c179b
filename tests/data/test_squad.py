"""Questions about texts: windows show all of a text, labels given back are the answers, and marks are SQuAD's."""

import json

import numpy as np
import pytest

from jaxlab.config import module, spec
from jaxlab.data import answers, question_windows, squad
from jaxlab.data.questions import Question, divided, read
from jaxlab.data.sources import python_questions, squad_files
from tests.experiments import message

WHOLE = slice(0, 4)
TEXT = 'The café in Paris — built in 1889, “in iron” — has 324 metres. It is tall; the tower in London is not. ' * 4


def question(text, begin=-1, context=TEXT, asked='What is it?'):
    return {'question': asked, 'answers': [{'text': text, 'answer_start': context.find(text) if begin < 0 else begin}]}


def write(path, *qas, context=TEXT):
    """Writes a file of SQuAD, each question about a text of its own."""
    paragraphs = [{'context': f'{context}{n}', 'qas': [one]} for n, one in enumerate(qas)]
    path.write_text(json.dumps({'version': '1.1', 'data': [{'title': 't', 'paragraphs': paragraphs}]}), 'utf-8')
    return str(path)


def made(path, known=None, seed=0, rows=WHOLE, **options):
    options = {'length': 32, 'stride': 10, 'question': 10} | options
    source = spec('data.sources.squad_files', path=path, validation_path=path, divide=False)
    processor = spec('data.processors.wordpiece', vocabulary=90)
    return squad.make(4, seed, rows, known, source=source, processor=processor, **options)


GOOD = ('Paris', '1889', '“in iron” — has 324 metres', 'The café', 'is not', 'tall')


def given_back(data, part):
    """What the split says of the labels, given back as if a model had said them."""
    split = data.splits[part]
    batches = [split.batch(n) for n in range(split.batches)]
    rows = {name: np.concatenate([batch[name] for batch in batches]) for name in ('targets', 'number', 'mask')}
    real = rows['mask'] > 0
    found = {'span': rows['targets'], 'number': rows['number'], 'score': (rows['targets'][:, 1] > 0).astype(float)}
    return split.judge({name: array[real] for name, array in found.items()})


def test_labels_given_back_are_the_answers(tmp_path):
    data = made(write(tmp_path / 'a.json', *map(question, GOOD)))
    assert given_back(data, 'validation') == {'exact_match': 1.0, 'f1': 1.0}
    assert data.splits['validation'].counts['examples'] > 4 * len(GOOD), 'a text is several windows'


def test_a_span_that_is_one_token_too_far_is_noticed(tmp_path, monkeypatch):
    data = made(write(tmp_path / 'a.json', *map(question, GOOD)))
    tokens_of = question_windows.Window.tokens_of
    monkeypatch.setattr(question_windows.Window, 'tokens_of', lambda self, place: tokens_of(self, place) + 1)
    assert given_back(data, 'validation')['exact_match'] < 0.5


@pytest.mark.parametrize(('length', 'stride'), [(32, 10), (32, 1), (64, 64), (500, 10)])
def test_every_token_of_a_text_is_in_a_window(tmp_path, length, stride):
    data = made(write(tmp_path / 'a.json', *map(question, GOOD)), length=length, stride=stride)
    encoder = data.processor
    text = encoder.tokenizer.encode(TEXT)
    asked = encoder.tokenizer.encode('What is it?')
    seen = np.zeros(len(text), bool)
    for window in encoder.windows(asked, text):
        assert len(window.tokens) <= length and np.array_equal(window.tokens[1 : 1 + len(asked)], asked)
        place = np.arange(window.begin, window.end)
        assert np.array_equal(window.tokens[window.first : -1], text[place])
        assert (window.types[window.first :] == 1).all() and (window.types[: window.first] == 0).all()
        assert [window.tokens_of(window.first + n) for n in range(len(place))] == place.tolist()
        seen[place] = True
    assert seen.all()


def test_a_batch_is_what_a_model_of_answers_takes(tmp_path):
    data = made(write(tmp_path / 'a.json', *map(question, GOOD)))
    batch = data.batch(0)
    shapes = {name: (array.shape, array.dtype.name) for name, array in batch.items()}
    assert shapes == {
        'tokens': ((4, 32), 'int32'),
        'types': ((4, 32), 'int32'),
        'lengths': ((4,), 'int32'),
        'targets': ((4, 2), 'int32'),
        'mask': ((4,), 'float32'),
    }
    shown = [data.batch(n) for n in range(20)]
    for batch in shown:
        for tokens, types, (begin, end) in zip(batch['tokens'], batch['types'], batch['targets']):
            assert begin == end == 0 or (types[begin : end + 1] == 1).all()
            assert tokens[0] == data.processor.tokenizer.first
    halves = [made(write(tmp_path / 'a.json', *map(question, GOOD)), rows=rows) for rows in (slice(0, 2), slice(2, 4))]
    for name, array in data.batch(3).items():
        assert np.array_equal(array, np.concatenate([half.batch(3)[name] for half in halves]))


def test_answers_that_are_not_there_are_counted_and_told(tmp_path):
    long = question('Paris', asked='What ' * 30)
    path = write(
        tmp_path / 'a.json',
        question('Paris', 99),
        question('Rome', 3),
        question('ari'),
        long,
        {'question': 'x', 'answers': []},
    )
    data = made(path)
    assert 'of 2 questions no answer stands in the text' in data.summary, 'in each of two parts'
    assert '2 answers begin or end inside a token' in data.summary and '2 questions were cut' in data.summary
    assert '2 questions without any answer were left out' in data.summary
    marks = given_back(data, 'validation')
    assert marks['exact_match'] == 0.5, 'what is not there counts as wrong, and so does a piece of a token'
    assert read(tmp_path / 'a.json')[0][0].place()[0] == TEXT.find('Paris', 60)  # the nearest to 99


@pytest.mark.parametrize(
    ('said', 'right', 'exact', 'f1'),
    [
        ('the Eiffel tower.', ['Eiffel Tower'], 1.0, 1.0),
        ('Eiffel', ['an Eiffel tower', 'Paris'], 0.0, 2 / 3),
        ('in Paris in', ['in Paris'], 0.0, 0.8),
        ('', ['x'], 0.0, 0.0),
        ('a', ['the'], 1.0, 0.0),
        ('U.S.', ['us'], 1.0, 1.0),
        ('巴黎', ['巴黎'], 1.0, 1.0),
    ],
)
def test_marks_are_those_of_squad(said, right, exact, f1):
    assert answers.exact_match(said, right) == exact and answers.f1(said, right) == pytest.approx(f1)


def test_only_questions_that_were_seen_whole_are_marked(tmp_path):
    data = made(write(tmp_path / 'a.json', *map(question, GOOD)))
    judge = data.splits['validation'].judge
    one = {'span': np.zeros((1, 2), int), 'number': np.zeros(1, int), 'score': np.zeros(1)}
    assert np.isnan(judge(one)['exact_match'])


def test_the_saved_processor_makes_the_same_rows(tmp_path):
    path = write(tmp_path / 'a.json', *map(question, GOOD))
    data = made(path)
    data.processor.save(tmp_path / 'processor')
    tokenizer = module('data.processors', 'wordpiece').load(tmp_path / 'processor')
    found = squad.saved(tmp_path / 'processor', tokenizer)
    assert found.assets() == data.processor.assets()
    assert np.array_equal(made(path, found).batch(2)['tokens'], data.batch(2)['tokens'])
    rows, windows, _ = found.rows(f'What is it?\t{TEXT}')
    assert len(rows) == len(windows) > 1 and rows[0]['tokens'].shape == (32,) and rows[0]['lengths'].shape == ()
    assert 'a question and a text are wanted' in message(found.encode, 'alone')
    (tmp_path / 'processor' / question_windows.FILE).write_text('{"length": 3}')
    with pytest.raises(ValueError):
        squad.saved(tmp_path / 'processor', tokenizer)


def test_what_is_no_file_of_questions(tmp_path):
    (tmp_path / 'a.json').write_text('{"data": [{"paragraphs": [{"context": 3, "qas": []}]}]}')
    assert 'is no file of SQuAD v1.1' in message(read, tmp_path / 'a.json')
    (tmp_path / 'b.json').write_text('{"data": []}')
    assert 'no question with an answer' in message(read, tmp_path / 'b.json')
    assert 'path is not set' in message(squad_files.make)
    path = write(tmp_path / 'c.json', question('Rome', 3))
    assert 'no question of its part "train"' in message(made, path)
    assert 'at least 11 are left' in message(made, path, question=30)
    assert 'stride=0' in message(made, path, stride=0)
    assert 'has no questions' in message(squad.make, 4, 0, WHOLE, source=spec('data.sources.digits'))


def test_a_text_and_its_questions_are_in_one_part():
    some = [Question(f'q{n}', f'text {n % 50}', ('text',), (0,)) for n in range(200)]
    parts = divided(some)
    texts = {name: {one.context for one in part} for name, part in parts.items()}
    assert sum(map(len, texts.values())) == 50 and sum(map(len, parts.values())) == 200


def test_questions_that_python_brings_along():
    found = python_questions.make()
    assert len(found.parts['train']) > 1000 and set(found.parts) == {'train', 'validation', 'test'}
    for one in found.parts['validation']:
        assert one.context.startswith(one.texts[0], one.begins[0])
