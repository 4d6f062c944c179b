"""WordPiece: what transformers makes of the same text, learned alike everywhere, and errors that say what is wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxlab.data import encoder_tokens
from jaxlab.data.processors import wordpiece
from jaxlab.errors import UserError

CORPUS = ['The theme of the thesis: unthinkable thinking, naïve café!\n' * 30, '你好世界，你好 you\n' * 30]
NAMES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
PIECES = [
    'the',
    'them',
    '##e',
    'think',
    '##ing',
    '##able',
    'un',
    'a',
    '##b',
    'c',
    ',',
    '!',
    '[',
    ']',
    'mask',
    '你',
    '好',
]


def learned(**more):
    return wordpiece.make(lambda: CORPUS, vocabulary=140, **more)


def published(folder, pieces=PIECES, names=NAMES, **settings):
    (folder / 'vocab.txt').write_text('\n'.join([*names, *pieces]) + '\n', 'utf-8')
    if settings:
        (folder / 'tokenizer_config.json').write_text(json.dumps(settings), 'utf-8')
    return folder


def lines(count, seed=0):
    """Generated lines of words, scripts, accents, spaces of all kinds, and characters that are none."""
    generator = np.random.default_rng(seed)
    words = ['the', 'Them', 'UNTHINKABLE', 'thinking,thinking', 'naïve', 'e\u0301te\u0301', 'ﬁ', 'x' * 99, 'x' * 101]
    words += [
        '你好',
        '世界！',
        '𠀀',
        'ＡＢ',
        '\u3000',
        '\t',
        '\r',
        '\u200b',
        '\x00',
        '\ufffd',
        '🙂',
        'a\u00adb',
        '¿',
        '`',
        '$5.00',
    ]
    words += ['Straße', 'İstanbul', 'ÅNGSTRÖM', '가나', 'каша', 'שלום', '\u2028', '\x7f', '№', "don't", '##ing', 'e_e']
    return [' '.join(generator.choice(words, generator.integers(0, 9))) for _ in range(count)]


def test_pieces_are_the_longest_there_are(tmp_path):
    processor = wordpiece.make(list, path=str(published(tmp_path)))
    texts = {
        'Unthinkable': ['[UNK]'],
        'thinking theme': ['think', '##ing', 'them', '##e'],
        'them,a': ['them', ',', 'a'],
    }
    for text, pieces in texts.items():  # 'un' has no '##think' behind it: the whole word is unknown
        assert [processor.tokenizer.id_to_token(id) for id in processor.encode(text)] == pieces
    assert processor.numbers() == {
        'vocabulary': 22,
        'padding': 0,
        'unknown': 1,
        'first': 2,
        'separator': 3,
        'masked': 4,
    }


def test_names_of_special_tokens_are_text(tmp_path):
    processor = wordpiece.make(list, path=str(published(tmp_path)))
    ids = processor.encode('[MASK] the [CLS]')
    assert processor.masked not in ids and processor.first not in ids
    assert processor.decode(ids[:3]) == '[ mask ]'
    again = learned()
    assert not set(again.encode('[MASK] [PAD] [CLS] [SEP]')) & {
        again.masked,
        again.padding,
        again.first,
        again.separator,
    }


def test_spans_are_of_the_text_as_it_was():
    processor = learned()
    text = 'The  NAÏVE thinking，你好!'
    ids, spans = processor.spans(text)
    np.testing.assert_array_equal(ids, processor.encode(text))
    assert spans.dtype == np.int32 and spans.shape == (len(ids), 2)
    found = ''.join(text[begin:end] for begin, end in spans)
    assert found == text.replace(' ', '')
    ids, spans = processor.spans('')
    assert ids.shape == (0,) and spans.shape == (0, 2)


def test_continues_and_special():
    processor = learned()
    names = [processor.tokenizer.id_to_token(id) for id in range(processor.vocabulary)]
    assert [name.startswith('##') for name in names] == processor.continues.tolist()
    assert [name in NAMES for name in names] == processor.special.tolist()


def test_two_texts_are_joined_and_shortened():
    processor = learned()
    a, b = np.full(3, 50, np.int32), np.full(5, 60, np.int32)
    tokens, types = processor.join(a, b, length=20)
    assert tokens.tolist() == [2, 50, 50, 50, 3, 60, 60, 60, 60, 60, 3]
    assert types.tolist() == [0] * 5 + [1] * 6 and tokens.dtype == types.dtype == np.int32
    tokens, types = processor.join(a, b, length=9)  # the longer one loses first
    assert tokens.tolist() == [2, 50, 50, 50, 3, 60, 60, 60, 3] and types.tolist() == [0] * 5 + [1] * 4
    assert processor.join(a, b, length=8)[0].tolist() == [2, 50, 50, 3, 60, 60, 60, 3]
    tokens, types = processor.join(b, length=5)
    assert tokens.tolist() == [2, 60, 60, 60, 3] and types.tolist() == [0] * 5
    for first in range(9):
        for second in range(9):
            for length in range(16):
                kept = encoder_tokens.shortened(first, second, length)
                assert sum(kept) == min(length, first + second) and kept[0] <= first and kept[1] <= second


def test_saved_and_loaded(tmp_path):
    processor = learned(lowercase=False)
    processor.save(tmp_path)
    again = wordpiece.load(tmp_path)
    assert again.assets() == processor.assets()
    for line in lines(50):
        np.testing.assert_array_equal(again.encode(line), processor.encode(line))
    (tmp_path / 'processor.json').write_text(json.dumps(processor.numbers() | {'vocabulary': 9}), 'utf-8')
    with pytest.raises(ValueError):
        wordpiece.load(tmp_path)


def test_what_is_published_makes_it_again(tmp_path):
    processor = learned(lowercase=False, accents='keep')
    for name, content in processor.published(64).items():
        (tmp_path / name).write_bytes(content)
    again = wordpiece.make(list, path=str(tmp_path))
    for line in lines(50):
        np.testing.assert_array_equal(again.encode(line), processor.encode(line))


def test_learned_alike_in_every_process():
    """The library numbers characters by a hash table, which differs from process to process; see `_learn`."""
    code = (
        'import sys; sys.path.insert(0, "tests/data"); import test_wordpiece as t, hashlib;'
        'print(hashlib.sha256(repr(sorted(t.learned().tokenizer.get_vocab().items())).encode()).hexdigest())'
    )
    found = {
        subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()[-1]
        for _ in range(2)
    }
    assert len(found) == 1


def test_learned_pieces():
    processor = learned()
    assert processor.vocabulary <= 140
    for text in CORPUS:
        ids = processor.encode(text)
        assert processor.unknown not in ids and processor.decode(ids[:4]) in ('the theme of the', '你 好 世 界')
    assert len(processor.encode('thinking')) < len('thinking')
    assert learned(accents='keep').encode('café').tolist() != learned().encode('café').tolist() != []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(vocabulary=3), 'vocabulary=3: at least 64'),
        (dict(accents='drop'), 'accents="drop"'),
        (dict(sample_bytes=0), 'sample_bytes=0'),
        (dict(path='nowhere/vocab.txt'), 'no vocab.txt and no tokenizer.json'),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        wordpiece.make(lambda: CORPUS, **arguments)


def test_vocabularies_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r'no token "\[MASK\]"'):
        wordpiece.make(list, path=str(published(tmp_path, names=NAMES[:-1])))
    with pytest.raises(UserError, match='no token "<mask>"'):
        wordpiece.make(list, path=str(published(tmp_path, mask_token={'content': '<mask>'})))
    (tmp_path / 'tokenizer_config.json').unlink()
    with pytest.raises(UserError, match='words with capitals, such as "The"'):
        wordpiece.make(list, path=str(published(tmp_path, pieces=['The', *PIECES])))
    (tmp_path / 'tokenizer.json').write_text('{"model": {"type": "BPE"}}')
    with pytest.raises(UserError, match='no WordPiece vocabulary'):
        wordpiece.make(list, path=str(tmp_path))
    (tmp_path / 'tokenizer.json').write_text('{')
    with pytest.raises(UserError, match='cannot be read'):
        wordpiece.make(list, path=str(tmp_path))


def test_published_settings_count(tmp_path):
    folder = published(tmp_path, ['The', 'é', 'e', 'the'], do_lower_case=False)
    processor = wordpiece.make(list, path=str(folder))
    assert processor.encode('The the é').tolist() == [5, 8, 6]
    folder = published(tmp_path, ['é', 'e'], do_lower_case=True, strip_accents=False)
    assert wordpiece.make(list, path=str(folder)).encode('É').tolist() == [5]


@pytest.mark.reference
@pytest.mark.parametrize('lowercase', [True, False])
def test_the_same_ids_as_transformers(lowercase, tmp_path):
    transformers = pytest.importorskip('transformers')
    pieces = sorted({piece for line in lines(300) for piece in line.lower().split()} | {f'##{c}' for c in 'aeinorst'})
    published(tmp_path, [*PIECES, *(piece for piece in pieces if piece not in PIECES)], do_lower_case=lowercase)
    ours = wordpiece.make(list, path=str(tmp_path))
    theirs = transformers.BertTokenizer(vocab=str(tmp_path / 'vocab.txt'), do_lower_case=lowercase)
    texts = lines(1000, seed=1)
    wanted = theirs(texts, add_special_tokens=False)['input_ids']
    assert [ids.tolist() for ids in ours.encode_batch(texts)] == wanted
    theirs.save_pretrained(tmp_path / 'whole')  # a tokenizer.json
    again = wordpiece.make(list, path=str(tmp_path / 'whole'))
    assert [ids.tolist() for ids in again.encode_batch(texts)] == wanted
    for first, second in zip(texts[:200], texts[200:400]):
        if second.strip():  # transformers takes an empty second text for none
            pair = theirs(first, second, truncation='longest_first', max_length=17)
            tokens, types = ours.join(ours.encode(first), ours.encode(second), length=17)
            assert (tokens.tolist(), types.tolist()) == (pair['input_ids'], pair['token_type_ids'])
    spans = theirs(texts[5], add_special_tokens=False, return_offsets_mapping=True)['offset_mapping']
    assert ours.spans(texts[5])[1].tolist() == [list(span) for span in spans]
