"""Llama 2's kind of vocabulary, in a tokenizer.json: characters, ▁ for spaces, and bytes for all that it lacks."""

import json

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from jaxlab.config import spec
from jaxlab.data import text
from jaxlab.data.byte_fallback import SPACE, ByteFallback
from jaxlab.data.processors import published
from tests.experiments import message

CORPUS = ['The theme of the thesis: unthinkable thinking!\n' * 20, '你好世界，你好 you and the cat\n' * 20]
WORDS = [
    'the',
    'The',
    'thinking,thinking',
    'naïve',
    'café',
    'cat',
    "don't",
    '你好',
    '世界！',
    '𠀀',
    '🙂',
    '3.14',
    '1,000',
]
WORDS += [
    '1,000',
    'x=y+1;',
    '__init__',
    '\t',
    '\u3000',
    '\n',
    '',
    'https://a.b/c?d=e',
    'каша',
    '가나',
    'x' * 30,
    '<0x41>',
]


def lines(count, seed=0):
    draw = np.random.default_rng(seed)
    return [' '.join(draw.choice(WORDS, draw.integers(0, 12))) for _ in range(count)]


def write(folder, kind='normalizer'):
    """A small vocabulary, made here, as Llama 2 has been published ('normalizer') or as transformers writes it."""
    folder.mkdir(exist_ok=True)
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme='first')
    learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=150, show_progress=False))
    learned = json.loads(learner.to_str())['model']
    special = ['<unk>', '<s>', '</s>']
    names = [*special, *(f'<0x{byte:02X}>' for byte in range(256)), *learned['vocab']]
    pairs = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(' ')) for pair in learned['merges']]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    if kind == 'normalizer':
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(' ', SPACE)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme='first', split=False)
    steps = [decoders.Replace(SPACE, ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing('<s> $A', '<s> $A <s> $B', [('<s>', 1)])
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in special])
    tokenizer.save(str(folder / 'tokenizer.json'))
    about = {'tokenizer_class': 'LlamaTokenizer', 'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'}
    (folder / 'tokenizer_config.json').write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize('kind', ['normalizer', 'metaspace'])
def test_nothing_is_lost_but_a_space_is_before_it(kind, tmp_path):
    processor = published.make(list, path=str(write(tmp_path, kind)))
    assert isinstance(processor, ByteFallback) and processor.end_of_text == 1 and processor.lead == 1
    for line in lines(200):
        if not line or line[0] == ' ':  # which transformers' way does not tell from none
            continue
        ids = processor.encode(line)
        assert ids.dtype == np.int32 and processor.decode(ids) == f' {line}'
        assert processor.token_bytes[ids].sum() == len(line.encode()) + 1
        begin, further = processor.encode_pieces([line, line], [True, False])
        assert begin.tolist() == ids.tolist() and processor.decode(further) == line
    assert 1 not in processor.encode('<s> and </s>') and processor.token_bytes[1] == 0


def test_saved_and_loaded(tmp_path):
    processor = published.make(list, path=str(write(tmp_path)))
    processor.save(tmp_path / 'saved')
    again = published.load(tmp_path / 'saved')
    assert again.assets() == processor.assets() and type(again) is ByteFallback
    (tmp_path / 'saved' / 'processor.json').write_text('{"vocabulary": 3, "end_of_text": 1}')
    with pytest.raises(ValueError, match='processor'):
        published.load(tmp_path / 'saved')
    for name, content in processor.published(32).items():
        (tmp_path / name).write_bytes(content)
    assert published.make(list, path=str(tmp_path)).assets() == processor.assets()


def test_every_byte_of_a_corpus_is_counted_once(tmp_path, monkeypatch):
    """Also of documents in several pieces, and of rows that begin within one."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('jaxlab.data.documents.PIECE_BYTES', 64)
    folder = tmp_path / 'texts'
    folder.mkdir()
    for number in range(40):
        (folder / f'{number:02}.txt').write_text('x' + '\n'.join(lines(9, number)), 'utf-8')
    path = write(tmp_path / 'words')
    node = spec('data.processors.published', path=str(path))
    data = text.make(4, 0, slice(0, 4), path=str(folder), length=16, processor=node)
    split = data.splits['held_out']
    counted = sum(split.batch(n)['bytes'].sum() for n in range(split.batches))
    held_out = split.counts['bytes']
    assert counted == held_out > 500


def test_what_has_no_tokenizer_json_says_how_to_make_one(tmp_path):
    (tmp_path / 'tokenizer.model').write_bytes(b'\n\x0e\n')
    said = message(published.make, list, path=str(tmp_path))
    assert 'tokenizer.model alone' in said and 'save_pretrained' in said
    words = json.loads((write(tmp_path) / 'tokenizer.json').read_text('utf-8'))
    words['normalizer'] = {'type': 'NFKC'}
    (tmp_path / 'tokenizer.json').write_text(json.dumps(words))
    assert 'does not give every text back' in message(published.make, list, path=str(tmp_path))


@pytest.mark.reference
@pytest.mark.parametrize('kind', ['normalizer', 'metaspace'])
def test_the_same_ids_as_transformers(kind, tmp_path):
    transformers = pytest.importorskip('transformers')
    ours = published.make(list, path=str(write(tmp_path, kind)))
    whole = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / 'tokenizer.json'))
    llama = transformers.LlamaTokenizerFast.from_pretrained(tmp_path)
    texts = lines(1000, seed=1)
    found = ours.encode_batch(texts)
    for text_, ids, wanted, of_llama in zip(
        texts, found, *(words(texts, add_special_tokens=False).input_ids for words in (whole, llama)), strict=True
    ):
        assert ids.tolist() == wanted, text_
        if kind == 'metaspace' or text_[:1] not in ('', ' '):  # before which transformers' own class puts no other
            assert ids.tolist() == of_llama, text_
        assert whole.decode(ids) == ours.decode(ids).removeprefix(' ')


# --- mutants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('mutant', ['a space before every piece', 'a byte too many'])
def test_other_counts_are_noticed(mutant, tmp_path, monkeypatch):
    if mutant == 'a byte too many':
        windows = text.HeldOutWindows
        monkeypatch.setattr(text, 'HeldOutWindows', lambda *parts, lead, **others: windows(*parts, **others))
        with pytest.raises(AssertionError):
            test_every_byte_of_a_corpus_is_counted_once(tmp_path, monkeypatch)
    else:
        monkeypatch.setattr(
            ByteFallback,
            'encode_pieces',
            lambda self, texts, begins: [
                np.array(one.ids, np.int32) for one in self.tokenizer.encode_batch(texts, add_special_tokens=False)
            ],
        )
        with pytest.raises(AssertionError):
            test_nothing_is_lost_but_a_space_is_before_it('normalizer', tmp_path)
