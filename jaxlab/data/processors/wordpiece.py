"""WordPiece: words are cut into the longest pieces that a vocabulary has (BERT; Devlin et al. 2018, Wu et al. 2016).

The vocabulary is learned from the training part, or a published one: a vocab.txt, or a folder with vocab.txt or
tokenizer.json.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from jaxlab.data import vocabulary_files
from jaxlab.data.encoder_tokens import CONTINUES, WordPiece, load
from jaxlab.data.processors.bpe import even_sample
from jaxlab.errors import UserError, alternatives
from jaxlab.messages import say

__all__ = ['load', 'make']

READS = 'texts'


# Its special tokens, by our words for them, as BERT names them.
NAMES = {
    'padding': '[PAD]',
    'unknown': '[UNK]',
    'first': '[CLS]',
    'separator': '[SEP]',
    'masked': '[MASK]',
}
ACCENTS = {'auto': None, 'strip': True, 'keep': False}


def make(
    documents: Callable[[], Iterable[str]],
    *,
    vocabulary: int = 8192,
    path: str = '',
    lowercase: bool = True,
    accents: str = 'auto',
    sample_bytes: int = 32_000_000,
) -> WordPiece:
    """Learns a vocabulary, or reads a published one.

    Args:
      documents: reads the text to learn from, in pieces.
      vocabulary: how many tokens are learned, special ones included; of a published vocabulary all are taken. A very
        small corpus yields fewer.
      path: a vocab.txt, a folder with vocab.txt or tokenizer.json, or 'hf:owner/name' of the hub; '': learn. A
        tokenizer.json says all of it itself, and so does a tokenizer_config.json of capitals, accents and the names of
        special tokens.
      lowercase: whether capitals are forgotten.
      accents: 'strip' (é is e), 'keep', or 'auto': stripped where capitals are forgotten.
      sample_bytes: learn from an even sample of about this much text, where there is more.

    Raises:
      UserError: an argument is out of range, the files are absent or no WordPiece vocabulary, a special token is not in
        it, or it has capitals that would be forgotten.
    """
    if accents not in ACCENTS:
        raise UserError(
            'accents="{name}": {alternatives}', name=accents, alternatives=alternatives(accents, list(ACCENTS))
        )
    if path:
        return _published(path, lowercase, ACCENTS[accents])
    if vocabulary < 64:
        raise UserError('vocabulary={vocabulary}: at least 64 pieces are wanted.', vocabulary=vocabulary)
    if sample_bytes < 1:
        raise UserError('sample_bytes={value}: must be positive.', value=sample_bytes)
    texts = even_sample(documents(), sample_bytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    learning = say('learning {tokens:,} tokens from {megabytes:.1f} MB of text', tokens=vocabulary, megabytes=megabytes)
    print(learning, flush=True)
    words = _tokenizer({'[UNK]': 0}, lowercase, ACCENTS[accents])
    return _of_vocabulary(_learn(words, texts, vocabulary), lowercase, ACCENTS[accents])


def _learn(words: Tokenizer, texts: Sequence[str], vocabulary: int) -> dict[str, int]:
    """Returns {piece: number}, learned by merging the most frequent pairs.

    All single characters are given their numbers here, in order: the library would hand them out by the order of a hash
    table, which is another one in each process, and pairs that are equally frequent are merged by these numbers.
    """
    names = NAMES.values()
    first, later = Counter[str](), Counter[str]()
    for word, count in _words(words, texts).items():
        first[word[0]] += count
        for character in word[1:]:
            later[CONTINUES + character] += count
    # About half of the vocabulary at most are single characters; rarer ones stay unknown.
    often = sorted((first + later).items(), key=lambda item: (-item[1], item[0]))[: vocabulary // 3]
    found = {character for character, _ in often}
    # The library leaves out a character that does not also stand alone.
    alphabet = sorted(found | {character.removeprefix(CONTINUES) or character for character in found})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*names, *alphabet],  # type: ignore[list-item]
        limit_alphabet=0,
        show_progress=False,
    )
    learner = _tokenizer({'[UNK]': 0}, None, None)
    learner.normalizer = words.normalizer
    learner.train_from_iterator(texts, trainer)
    return learner.get_vocab()


def _words(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[str]:
    """Returns how often each word stands in the texts, by the spaces between them and then by the tokenizer."""
    found: Counter[str] = Counter()
    normalizer, split = tokenizer.normalizer, tokenizer.pre_tokenizer
    assert normalizer is not None and split is not None
    spaced: Counter[str] = Counter()
    for text in texts:
        spaced.update(normalizer.normalize_str(text).split())
    for run, count in spaced.items():
        for word, _ in split.pre_tokenize_str(run):
            found[word] += count
    return found


def _tokenizer(
    vocabulary: Mapping[str, int], lowercase: bool | None, strip: bool | None, unknown: str = ''
) -> Tokenizer:
    model = models.WordPiece(
        vocab=dict(vocabulary),
        unk_token=unknown or NAMES['unknown'],
        continuing_subword_prefix=CONTINUES,
        max_input_chars_per_word=100,
    )
    found = Tokenizer(model)
    found.normalizer = normalizers.BertNormalizer(  # type: ignore[assignment]
        clean_text=True, handle_chinese_chars=True, strip_accents=strip, lowercase=bool(lowercase)
    )
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    return found


def _of_vocabulary(vocabulary: Mapping[str, int], lowercase: bool, strip: bool | None) -> WordPiece:
    numbers = {word: vocabulary[name] for word, name in NAMES.items()}
    return WordPiece(_tokenizer(vocabulary, lowercase, strip), max(vocabulary.values()) + 1, **numbers)


# --- published -------------------------------------------------------------------------------------------------------


def _published(path: str, lowercase: bool, strip: bool | None) -> WordPiece:
    def tokenizer_of(place: Path, settings: Mapping[str, Any], names: Mapping[str, str]) -> Tokenizer:
        whole = place / vocabulary_files.WHOLE if place.is_dir() else place
        if whole.suffix == '.json' and whole.is_file():
            return _of_json(whole)
        forgets = bool(settings.get('do_lower_case', lowercase))
        tokens = _lines(place / 'vocab.txt' if place.is_dir() else place)
        _check_capitals(path, tokens, forgets)
        return _tokenizer(tokens, forgets, settings.get('strip_accents', strip), names['unknown'])

    tokenizer, numbers = vocabulary_files.read(path, 'wordpiece', NAMES, tokenizer_of)
    return WordPiece(tokenizer, **numbers)


def _lines(file: Path) -> dict[str, int]:
    """Returns {piece: number of its line}."""
    if not file.is_file():
        raise UserError('path: there is no vocab.txt and no tokenizer.json at "{path}".', path=file)
    with file.open(encoding='utf-8') as lines:
        return {line.rstrip('\n'): number for number, line in enumerate(lines)}


def _of_json(file: Path) -> Tokenizer:
    content = json.loads(file.read_text('utf-8'))
    model = content['model']
    if model.get('type', 'WordPiece') != 'WordPiece' or model.get('continuing_subword_prefix') != CONTINUES:
        raise UserError('path: "{file}" is no WordPiece vocabulary, whose pieces continue with "##".', file=file)
    return Tokenizer.from_str(json.dumps(content | {'post_processor': None, 'truncation': None, 'padding': None}))


def _check_capitals(path: str, tokens: Mapping[str, int], lowercase: bool) -> None:
    """A vocabulary with capitals, read as if there were none, would be wrong without a word."""
    capitals = [token for token in tokens if token != token.lower() and not (token[0] == '[' and token[-1] == ']')]
    if lowercase and len(capitals) > len(tokens) / 100:
        raise UserError(
            'path: "{path}" has words with capitals, such as "{token}": lowercase=False keeps those of the text.',
            path=path,
            token=capitals[0],
        )
