"""Published vocabularies against transformers: the same ids for lines of English and Chinese."""

import json
import os
import random
from pathlib import Path

import pytest

from jaxlab.data.processors import bpe, published

pytestmark = pytest.mark.reference
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

WORDS = ['the', 'The', "cat's", 'DOGS', "don't", "we'll", 'naïve', 'café', '3.14', '1,000,000', 'x=y+1;', '__init__']
WORDS += ['https://a.b/c?d=e', '(no)', '“yes”', '…', '—', '_a_']
CHINESE = list(
    '的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年，。！？：；“”（）《》、'
)
SPACES = [' ', ' ', ' ', '  ', '\t', ' \u3000', '']
# Llama 3's: words of up to three digits, contractions in either case, lines kept together.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


def lines(count=10_000):
    """Half of them mostly English, half mostly Chinese; the same each time."""
    choose = random.Random(0)
    for number in range(count):
        parts = [choose.choice(CHINESE if number % 2 and choose.random() < 0.9 else WORDS) for _ in range(12)]
        text = ''.join(part + ('' if number % 2 else choose.choice(SPACES)) for part in parts)
        yield text + choose.choice(['', '\n', '🙂'])


def learned():
    return bpe.make(lambda: [' '.join(lines(300)), 'the cat and the dog ' * 50], vocabulary=700)


def write_gpt2(folder):
    """As GPT-2 is published: vocab.json and merges.txt."""
    model = json.loads(learned().tokenizer.to_str())['model']
    vocabulary = model['vocab'] | {'<|endoftext|>': len(model['vocab'])}
    (folder / 'vocab.json').write_text(json.dumps(vocabulary), 'utf-8')
    merges = [merge if isinstance(merge, str) else ' '.join(merge) for merge in model['merges']]
    (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *merges]) + '\n', 'utf-8')
    (folder / 'tokenizer_config.json').write_text(json.dumps({'tokenizer_class': 'GPT2Tokenizer'}))
    return '<|endoftext|>'


def write_llama3(folder):
    """As Llama 3 is published: tokenizer.json, split by its own pattern, with merges left out for whole words."""
    content = json.loads(learned().tokenizer.to_str())
    split = {'type': 'Split', 'pattern': {'Regex': LLAMA3}, 'behavior': 'Isolated', 'invert': False}
    bytes_ = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': False}
    content['pre_tokenizer'] = {'type': 'Sequence', 'pretokenizers': [split, bytes_]}
    content['decoder'] = bytes_ | {'add_prefix_space': True}
    content['model']['ignore_merges'] = True
    flags = {'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False, 'special': True}
    last = len(content['model']['vocab'])
    names = ['<|begin_of_text|>', '<|end_of_text|>', '<|reserved_special_token_0|>']
    content['added_tokens'] = [{'id': last + i, 'content': name, **flags} for i, name in enumerate(names)]
    (folder / 'tokenizer.json').write_text(json.dumps(content), 'utf-8')
    about = {'tokenizer_class': 'PreTrainedTokenizerFast', 'bos_token': names[0], 'eos_token': names[1]}
    (folder / 'tokenizer_config.json').write_text(json.dumps(about))
    return names[0]


@pytest.mark.parametrize('write', [write_gpt2, write_llama3])
def test_the_same_ids(write, tmp_path):
    first = write(tmp_path)
    ours, theirs = published.make(list, path=str(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.end_of_text == theirs.convert_tokens_to_ids(first)
    assert ours.vocabulary == max(theirs.get_vocab().values()) + 1
    texts = list(lines())
    wanted = theirs(texts, add_special_tokens=False).input_ids
    for text, found, ids in zip(texts, ours.encode_batch(texts), wanted, strict=True):
        assert found.tolist() == ids, text
        assert ours.decode(found) == text


@pytest.mark.skipif('JAXLAB_GPT2_LINES' not in os.environ, reason='by hand: a folder of GPT-2, and files of real lines')
def test_the_same_ids_of_real_lines(tmp_path):
    """JAXLAB_GPT2_LINES=folder:file:file…; the folder has encoder.json and vocab.bpe."""
    folder, *files = os.environ['JAXLAB_GPT2_LINES'].split(':')
    for theirs, ours in (('encoder.json', 'vocab.json'), ('vocab.bpe', 'merges.txt')):
        (tmp_path / ours).write_bytes((Path(folder) / theirs).read_bytes())
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'tokenizer_class': 'GPT2Tokenizer'}))
    ours, theirs = published.make(list, path=folder), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.vocabulary == 50257 and ours.end_of_text == 50256
    count = 0
    for file in files:
        texts = [line for line in Path(file).read_text('utf-8').split('\n') if line.strip()]
        for text, found, ids in zip(
            texts, ours.encode_batch(texts), theirs(texts, add_special_tokens=False).input_ids, strict=True
        ):
            assert found.tolist() == ids, text
            count += 1
    print(count, 'lines')
