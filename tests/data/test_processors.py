import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from jaxlab import hub
from jaxlab.config import build, spec
from jaxlab.data.processors import bpe, bytes, check_reads, picture, published
from jaxlab.errors import UserError

CORPUS = ['the theme of the thesis 你好世界 你好 you\n' * 30, 'def f(x):\n    return x + 1\n' * 30]
TEXTS = ['', 'the end', 'naïve 世界!\r\n\t🙂 \x00', '<|endoftext|> the <|endoftext|>', '你好世界' * 5 + '\u2028']


def learned():
    return bpe.make(lambda: CORPUS, vocabulary=290)


def write_pair(folder, names=('vocab.json', 'merges.txt')):
    """Writes a learned vocabulary the way GPT-2's was published, end of text included."""
    model = json.loads(learned().tokenizer.to_str())['model']
    vocabulary = model['vocab'] | {'<|endoftext|>': len(model['vocab'])}
    (folder / names[0]).write_text(json.dumps(vocabulary), 'utf-8')
    merges = ['#version: 0.2', *(merge if isinstance(merge, str) else ' '.join(merge) for merge in model['merges'])]
    (folder / names[1]).write_text('\n'.join(merges) + '\n', 'utf-8')
    return published.make(list, path=str(folder))


def write_json(folder):
    """Writes a tokenizer.json with a special token beyond the vocabulary, a token of plain text, and a normalizer."""
    content = json.loads(learned().tokenizer.to_str())
    last = len(content['model']['vocab'])
    flags = {'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False}
    content['added_tokens'] = [
        {'id': last, 'content': '<|endoftext|>', 'special': True, **flags},
        {'id': last + 1, 'content': '世界!', 'special': False, **flags},
        {'id': last + 2, 'content': '<|pad|>', 'special': True, **flags},
    ]
    content['normalizer'] = {'type': 'NFKC'}
    (folder / 'tokenizer.json').write_text(json.dumps(content), 'utf-8')
    return published.make(list, path=str(folder))


@pytest.fixture(params=['bpe', 'bytes', 'pair', 'json'])
def processor(request, tmp_path):
    makers = {'bpe': learned, 'bytes': lambda: bytes.make(list)}
    makers |= {'pair': lambda: write_pair(tmp_path), 'json': lambda: write_json(tmp_path)}
    return makers[request.param]()


def test_nothing_is_lost(processor):
    for text, ids in zip(TEXTS, processor.encode_batch(TEXTS)):
        np.testing.assert_array_equal(ids, processor.encode(text))
        assert ids.dtype == np.int32 and ids.shape == (len(ids),)
        assert processor.decode(ids) == text
        assert processor.decode_bytes(ids) == text.encode()
        assert processor.token_bytes[ids].sum() == len(text.encode())
        assert np.all(processor.token_bytes[ids] > 0)


def test_text_never_makes_end_of_text(processor):
    for text in TEXTS:
        assert processor.end_of_text not in processor.encode(text)
    assert 0 <= processor.end_of_text < processor.vocabulary
    assert processor.token_bytes.shape == (processor.vocabulary,)
    assert processor.token_bytes[processor.end_of_text] == 0
    assert processor.decode([processor.end_of_text]) == ''


def test_broken_characters_are_replaced(processor):
    assert processor.decode(processor.encode('好')[:0]) == ''
    ids = next(ids for ids in ([i] for i in range(processor.vocabulary)) if processor.decode_bytes(ids) == b'\xe5')
    assert processor.decode([*processor.encode('a'), *ids]) == 'a�'


def test_saved_and_loaded_it_is_the_same(processor, tmp_path):
    processor.save(tmp_path / 'new' / 'saved')
    load = bytes.load if isinstance(processor, bytes.Bytes) else bpe.load
    loaded = load(tmp_path / 'new' / 'saved')
    assert loaded.assets() == processor.assets()
    assert (loaded.vocabulary, loaded.end_of_text) == (processor.vocabulary, processor.end_of_text)
    np.testing.assert_array_equal(loaded.token_bytes, processor.token_bytes)
    for text in TEXTS:
        np.testing.assert_array_equal(loaded.encode(text), processor.encode(text))


def test_bpe_learns_frequent_words():
    processor = learned()
    assert processor.vocabulary == 290
    assert len(processor.encode(' the')) == 1
    assert processor.assets() == learned().assets(), 'learning twice gives the same'
    tiny = bpe.make(lambda: ['ab'], vocabulary=290)
    assert tiny.vocabulary == 258, 'there is one pair to learn'
    assert tiny.decode(tiny.encode('任何 text')) == '任何 text'


def test_bpe_checks_its_arguments():
    with pytest.raises(UserError, match='vocabulary=256'):
        bpe.make(lambda: CORPUS, vocabulary=256)
    with pytest.raises(UserError, match='sample_bytes=0'):
        bpe.make(lambda: CORPUS, sample_bytes=0)


def test_a_sample_is_spread_over_the_whole_corpus():
    pieces = [f'{n:04}' for n in range(1000)]
    sample = [int(piece) for piece in bpe.even_sample(pieces, 400)]
    assert 50 <= len(sample) <= 100
    assert len(set(np.diff(sample))) == 1
    assert sample[0] < 20 and sample[-1] > 980
    assert bpe.even_sample(pieces, 4000) == pieces


def test_published_vocabularies_split_as_published(tmp_path):
    ours = write_pair(tmp_path, ('encoder.json', 'vocab.bpe'))
    reference = learned()
    for text in TEXTS:
        np.testing.assert_array_equal(ours.encode(text), reference.encode(text))
    assert ours.end_of_text == 289 and ours.vocabulary == 290


def test_published_special_tokens_keep_their_numbers(tmp_path):
    ours = write_json(tmp_path)
    assert (ours.end_of_text, ours.vocabulary) == (289, 292)
    assert ours.encode('世界!').tolist() == [290], 'tokens of plain text stay what they are'
    assert 291 not in ours.encode('<|pad|>')
    assert ours.decode(ours.encode('ﬁ ①')) == 'ﬁ ①', 'no normalizer changes the text'
    reference = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
    assert ours.encode('the thesis\n').tolist() == reference.encode('the thesis\n').ids


def test_published_vocabularies_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match='path is not set'):
        published.make(list)
    with pytest.raises(UserError, match='holds neither'):
        published.make(list, path=str(tmp_path))
    write_pair(tmp_path)
    with pytest.raises(UserError, match=r'Did you mean "<\|endoftext\|>"'):
        published.make(list, path=str(tmp_path), end_of_text='<|endoftxt|>')
    (tmp_path / 'vocab.json').write_text('{')
    with pytest.raises(UserError, match='cannot be read'):
        published.make(list, path=str(tmp_path))
    (tmp_path / 'vocab.json').unlink()
    words = {'version': '1.0', 'added_tokens': [], 'pre_tokenizer': {'type': 'Whitespace'}}
    words |= {'model': {'type': 'WordLevel', 'vocab': {'a': 0}, 'unk_token': 'a'}}
    (tmp_path / 'tokenizer.json').write_text(json.dumps(words))
    with pytest.raises(UserError, match='no byte-level vocabulary'):
        published.make(list, path=str(tmp_path))
    words['model'] = {'type': 'BPE', 'vocab': {'a': 0}, 'merges': [], 'byte_fallback': True}
    (tmp_path / 'tokenizer.json').write_text(json.dumps(words))
    with pytest.raises(UserError, match='does not give every text back'):
        published.make(list, path=str(tmp_path))


@pytest.mark.parametrize(('about', 'wanted'), [('"<|pad|>"', 291), ('{"content": "<|pad|>"}', 291), ('null', 289)])
def test_documents_begin_with_what_the_model_has_read_there(about, wanted, tmp_path):
    write_json(tmp_path)
    (tmp_path / 'tokenizer_config.json').write_text(f'{{"bos_token": {about}}}')
    assert published.make(list, path=str(tmp_path)).end_of_text == wanted
    assert published.make(list, path=str(tmp_path), end_of_text='<|endoftext|>').end_of_text == 289


def test_a_vocabulary_comes_from_the_hub(tmp_path, monkeypatch):
    wanted = write_json(tmp_path)
    monkeypatch.setattr(hub, 'fetch', lambda source, file: found if (found := tmp_path / file).is_file() else None)
    assert published.make(list, path='hf:owner/name').assets() == wanted.assets()
    monkeypatch.setattr(hub, 'fetch', lambda source, file: None)
    with pytest.raises(UserError, match='"hf:owner/name" has no vocabulary'):
        published.make(list, path='hf:owner/name')


def test_files_for_others_hold_the_same_words(processor):
    """What transformers makes of them is compared where it is installed: tests/verbs/test_export.py."""
    files = processor.published(64)
    tokenizer = Tokenizer.from_str(files['tokenizer.json'].decode())
    for text in ('the end', 'naïve 世界!\r\n\t🙂 \x00'):
        assert tokenizer.encode(text, add_special_tokens=False).ids == processor.encode(text).tolist()
        assert tokenizer.decode(processor.encode(text)) == text
    name = json.loads(files['tokenizer_config.json'])['eos_token']
    assert tokenizer.token_to_id(name) == processor.end_of_text


@pytest.mark.parametrize(
    ('data', 'processor', 'message'),
    [
        ('text', 'wordpiece', 'no token "end_of_text".*; bpe, bytes, published have'),
        ('text', 'roberta', 'no token "end_of_text"'),
        ('masked_text', 'bpe', 'no token "masked".*; wordpiece, roberta have'),
        ('text_examples', 'bytes', 'no token "separator".*; wordpiece, roberta have'),
        ('tagging', 'bpe', 'no token "separator"'),
    ],
)
def test_words_of_another_kind_are_refused(data, processor, message, corpus):
    node = spec(f'data.{data}', processor=spec(f'data.processors.{processor}'))
    if 'vocabulary' in node.processor:
        node.processor.vocabulary = 300
    if data in ('text', 'masked_text'):
        node.path = str(corpus)
    with pytest.raises(UserError, match=message):
        build(node, 4, 0, slice(0, 4), key='data')


@pytest.mark.parametrize(
    ('data', 'name', 'answer'),
    [
        ('pictures', 'table', 'name=table is for tables, and these data are pictures'),
        ('table', 'picture', 'name=picture is for pictures, and these data are tables'),
        ('table', 'bytes', 'name=bytes is for texts, and these data are tables'),
        ('pictures', 'bpe', 'name=bpe is for texts, and these data are pictures'),
        ('text', 'picture', 'name=picture is for pictures, and these data are texts'),
        ('text_examples', 'table', 'name=table is for tables, and these data are texts'),
    ],
)
def test_a_processor_for_other_data_is_refused(data, name, answer):
    node = spec(f'data.{data}', processor=spec(f'data.processors.{name}'))
    with pytest.raises(UserError, match=answer):
        build(node, 8, 0, slice(0, 8), None, key='data')


def test_a_processor_of_ones_own_need_not_say_what_it_is_for(monkeypatch):
    monkeypatch.delattr(picture, 'READS')
    check_reads(spec('data.processors.picture'), 'tables')
