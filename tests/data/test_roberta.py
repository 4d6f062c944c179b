"""RoBERTa's words: what transformers makes of the same text, and errors that say what is wrong."""

import json

import numpy as np
import pytest

from jaxlab.data import encoder_tokens, vocabulary_files
from jaxlab.data.processors import roberta, wordpiece
from tests.experiments import message

CORPUS = ['The theme of the thesis: unthinkable thinking, naïve café!\n' * 30, '你好世界，你好 you and the cat\n' * 30]
WORDS = ['the', 'The', 'thinking,thinking', 'naïve', 'e\u0301t', 'cat', "don't", '你好', '世界！', '𠀀', '🙂', '3.14']
WORDS += ['\t', '\u3000', '\n', ' ', 'a\u00adb', '<mask>', '</s>', 'x' * 40, '\x00', '$5']


def learned(**more):
    return roberta.make(lambda: CORPUS, **{'vocabulary': 300} | more)


def lines(count, seed=0):
    """Generated lines of words, scripts, spaces of all kinds, and names of special tokens."""
    draw = np.random.default_rng(seed)
    return [' '.join(draw.choice(WORDS, draw.integers(0, 9))) for _ in range(count)]


def write(folder, **settings):
    """A learned vocabulary as RoBERTa is published: vocab.json and merges.txt."""
    folder.mkdir(exist_ok=True)
    for name, content in learned().published(64).items():
        (folder / name).write_bytes(content)
    file = folder / 'tokenizer_config.json'
    file.write_text(json.dumps(json.loads(file.read_text('utf-8')) | settings), 'utf-8')
    return folder


def test_nothing_is_lost_and_spaces_are_of_words():
    processor = learned()
    for text in ('the cat', ' the  cat\n', '你好 naïve 🙂', '<mask> </s>', ''):
        tokens = processor.encode(text)
        assert tokens.dtype == np.int32 and processor.decode(tokens) == text
        assert not processor.special[tokens].any()
    assert processor.encode('cat').tolist() != processor.encode(' cat').tolist()
    assert learned(add_prefix_space=True).encode('cat').tolist() == processor.encode(' cat').tolist()
    assert [found.tolist() for found in processor.encode_words(['the', 'cat'])] == [
        processor.encode(' the').tolist(),
        processor.encode(' cat').tolist(),
    ]


def test_special_tokens_have_their_published_places():
    processor = learned()
    assert processor.numbers() | {'vocabulary': 0} == {
        'vocabulary': 0,
        'first': 0,
        'padding': 1,
        'separator': 2,
        'unknown': 3,
        'masked': 4,
    }
    assert np.flatnonzero(processor.special).tolist() == [0, 1, 2, 3, 4]
    assert processor.name_of(4) == '<mask>' and processor.name_of(0) == '<s>'
    assert processor.decode([0, 4, 2, 1]) == '<mask>'


def test_what_nothing_is_merged_to_is_special(tmp_path):
    file = write(tmp_path) / 'vocab.json'
    words = json.loads(file.read_text('utf-8'))
    file.write_text(json.dumps(words | {'madeupword0000': len(words)}), 'utf-8')
    processor = roberta.make(list, path=str(tmp_path))
    assert processor.vocabulary == len(words) + 1
    assert processor.special[-1] and processor.special.sum() == 6 and not processor.continues[-1]


def test_words_begin_with_a_space():
    processor = learned()
    tokens = processor.encode('the cat thinking, 你好\nthe')
    words = np.split(tokens, np.flatnonzero(~processor.continues[tokens]))
    assert [processor.decode(word) for word in words] == ['the', ' cat', ' thinking,', ' 你好', '\n', ''][:4] + [
        '\nthe'
    ]


def test_two_texts_are_joined_and_shortened():
    processor = learned()
    a, b = np.full(3, 50, np.int32), np.full(5, 60, np.int32)
    tokens, types = processor.join(a, b, length=20)
    assert tokens.tolist() == [0, 50, 50, 50, 2, 2, 60, 60, 60, 60, 60, 2]
    assert types.tolist() == [0] * 6 + [1] * 6, 'which text; a model of one type takes all for 0'
    assert processor.join(a, b, length=9)[0].tolist() == [0, 50, 50, 2, 2, 60, 60, 60, 2]
    assert processor.join(b, length=4)[0].tolist() == [0, 60, 60, 2]
    assert processor.around(1) == 2 and processor.around(2) == 4


def test_saved_and_loaded_by_either_kind(tmp_path):
    """A config may say wordpiece, where the weights brought RoBERTa's words along."""
    for kind, made in (('roberta', learned(add_prefix_space=True)), ('wordpiece', wordpiece.make(lambda: CORPUS))):
        made.save(tmp_path / kind)
        for module in (roberta, wordpiece):
            again = module.load(tmp_path / kind)
            assert type(again) is type(made) and again.assets() == made.assets()
            for line in lines(50):
                np.testing.assert_array_equal(again.encode(line), made.encode(line))
    numbers = json.loads((tmp_path / 'roberta' / 'processor.json').read_text('utf-8'))
    (tmp_path / 'roberta' / 'processor.json').write_text(json.dumps(numbers | {'masked': 9999}), 'utf-8')
    with pytest.raises(ValueError, match='processor'):
        roberta.load(tmp_path / 'roberta')


def test_what_is_published_makes_it_again(tmp_path):
    for space in (False, True):
        processor = learned(add_prefix_space=space)
        for name, content in processor.published(64).items():
            (tmp_path / name).write_bytes(content)
        again = roberta.make(list, path=str(tmp_path))
        assert again.numbers() == processor.numbers()
        for line in lines(50):
            for one, other in zip(again.spans(line), processor.spans(line)):
                np.testing.assert_array_equal(one, other)


def test_which_kind_lies_there(tmp_path):
    assert vocabulary_files.kind_of(str(write(tmp_path / 'r'))) == 'roberta'
    learned().save(tmp_path / 'saved')
    assert vocabulary_files.kind_of(str(tmp_path / 'saved')) == 'roberta'
    wordpiece.make(lambda: CORPUS).save(tmp_path / 'w')
    assert vocabulary_files.kind_of(str(tmp_path / 'w')) == 'wordpiece'
    assert vocabulary_files.kind_of(str(tmp_path)) == vocabulary_files.kind_of(str(tmp_path / 'none')) == ''
    (tmp_path / 'tokenizer.json').write_text('{"model": 3}')
    assert vocabulary_files.kind_of(str(tmp_path)) == ''


def test_what_a_user_can_get_wrong(tmp_path):
    def said(**arguments):
        return message(roberta.make, lambda: CORPUS, **arguments)

    assert 'at least 261 tokens' in said(vocabulary=260)
    assert 'sample_bytes=0' in said(sample_bytes=0)
    assert 'holds neither' in said(path=str(tmp_path / 'nowhere'))
    folder = write(tmp_path / 'named', mask_token={'content': '<masked>'})
    assert 'has no token "<masked>", and a vocabulary of roberta has one. Did you mean "<mask>"?' in said(
        path=str(folder)
    )
    (folder / 'vocab.json').write_text('{')
    assert 'cannot be read' in said(path=str(folder))
    wordpiece.make(lambda: CORPUS).save(tmp_path / 'w')
    assert 'no byte-level vocabulary' in said(path=str(tmp_path / 'w'))
    learned().save(tmp_path / 'own')
    file = tmp_path / 'own' / 'tokenizer.json'
    content = json.loads(file.read_text('utf-8'))
    content['pre_tokenizer']['use_regex'] = False
    file.write_text(json.dumps(content), 'utf-8')
    assert 'in a way of its own' in said(path=str(tmp_path / 'own'))


@pytest.mark.reference
@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('space', [False, True])
def test_the_same_as_transformers(space, whole, tmp_path):
    """Ids, pairs, and characters; from vocab.json and merges.txt, and from a tokenizer.json."""
    transformers = pytest.importorskip('transformers')
    write(tmp_path / 'one', add_prefix_space=space)
    theirs = transformers.RobertaTokenizerFast.from_pretrained(tmp_path / 'one')
    if whole:
        theirs.save_pretrained(tmp_path / 'two')
        assert (tmp_path / 'two' / 'tokenizer.json').is_file()
        (tmp_path / 'two' / 'vocab.json').unlink(missing_ok=True)
    ours = roberta.make(list, path=str(tmp_path / ('two' if whole else 'one')))
    assert (
        ours.vocabulary == len(theirs) and ours.masked == theirs.mask_token_id and ours.padding == theirs.pad_token_id
    )
    # What spells the name of a special token is text here; there it is the token.
    texts = [line.replace('<mask>', 'm').replace('</s>', 's') for line in lines(1000, seed=1)]
    wanted = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    assert [ids.tolist() for ids in ours.encode_batch(texts)] == wanted['input_ids']
    for text, characters in zip(texts, wanted['offset_mapping']):
        assert ours.spans(text)[1].tolist() == [list(span) for span in characters], text
        assert ours.decode(ours.encode(text)) == theirs.decode(ours.encode(text), clean_up_tokenization_spaces=False)
    for first, second in zip(texts[:200], texts[200:400]):
        alone = theirs(first, truncation=True, max_length=9)
        assert ours.join(ours.encode(first), length=9)[0].tolist() == alone['input_ids']
        if second:  # transformers takes an empty second text for none
            pair = theirs(first, second, truncation='longest_first', max_length=18, return_token_type_ids=True)
            tokens, _ = ours.join(ours.encode(first), ours.encode(second), length=18)
            assert tokens.tolist() == pair['input_ids'] and set(pair['token_type_ids']) == {0}
    if space:
        words = [text.split() for text in texts if text.split()]
        found = theirs(words, is_split_into_words=True, add_special_tokens=False)['input_ids']
        for one, ids in zip(words, found):
            assert np.concatenate(ours.encode_words(one)).tolist() == ids


# --- mutants ---------------------------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize('mutant', ['one separator', 'untrimmed', 'a space at the beginning'])
def test_other_words_are_noticed(mutant, tmp_path, monkeypatch):
    if mutant == 'one separator':
        monkeypatch.setattr(encoder_tokens.RoBERTa, 'between', 1)
    elif mutant == 'untrimmed':
        monkeypatch.setattr(
            roberta, '_with_offsets', lambda tokenizer, _, numbers: encoder_tokens.RoBERTa(tokenizer, **numbers)
        )
    else:
        monkeypatch.setattr(
            encoder_tokens.RoBERTa,
            'encode_batch',
            lambda self, texts: encoder_tokens.EncoderTokens.encode_batch(self, [f' {text}' for text in texts]),
        )
    with pytest.raises(AssertionError):
        test_the_same_as_transformers(False, False, tmp_path)
