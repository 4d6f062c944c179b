"""WordPiece: words are cut into the longest pieces that a vocabulary has (BERT; Devlin et al. 2018, Wu et al. 2016).

The vocabulary is learned from the training part, or a published one: a vocab.txt, or a folder with vocab.txt or
tokenizer.json.
"""

# t tokens of a text, v vocabulary

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from jaxlab import hub
from jaxlab.data.documents import existing
from jaxlab.data.processors import save_assets
from jaxlab.data.processors.bpe import even_sample
from jaxlab.errors import UserError, alternatives, nearest
from jaxlab.messages import say

# The special tokens: our word, the key of transformers' tokenizer_config.json, and the name that BERT gave it.
SPECIAL = {
    'padding': ('pad_token', '[PAD]'),
    'unknown': ('unk_token', '[UNK]'),
    'first': ('cls_token', '[CLS]'),
    'separator': ('sep_token', '[SEP]'),
    'masked': ('mask_token', '[MASK]'),
}
ACCENTS = {'auto': None, 'strip': True, 'keep': False}
FILES = ('vocab.txt', 'tokenizer.json')  # either is a published vocabulary
CONTINUES = '##'  # what a piece that continues a word begins with


@dataclass(frozen=True)
class WordPiece:
    """Text <-> pieces of words. What a text spells is text, also where it spells the name of a special token.

    Not without loss: spaces, and with `lowercase` capitals and accents, are forgotten; a word that cannot be put
    together of pieces becomes `unknown` as a whole.

    Attributes:
      tokenizer: of the `tokenizers` library.
      vocabulary: how many tokens there are, special ones included.
      padding: what stands behind the end of a text.
      unknown: what stands for a word that has no pieces.
      first: what stands before a text, [CLS].
      separator: what stands behind each text, [SEP].
      masked: what hides a token, [MASK].
    """

    tokenizer: Tokenizer
    vocabulary: int
    padding: int
    unknown: int
    first: int
    separator: int
    masked: int

    def __post_init__(self) -> None:
        self.tokenizer.encode_special_tokens = True  # a tokenizer's file does not keep this
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @cached_property
    def continues(self) -> np.ndarray:
        """bool [v]: which tokens continue a word."""
        found = np.zeros(self.vocabulary, bool)
        for token, id in self.tokenizer.get_vocab().items():
            found[id] = token.startswith(CONTINUES) and len(token) > len(CONTINUES)
        return found

    @cached_property
    def special(self) -> np.ndarray:
        """bool [v]: which tokens no text makes: the five, and other names in brackets ("[unused1]")."""
        found = np.zeros(self.vocabulary, bool)
        for token, id in self.tokenizer.get_vocab().items():
            found[id] = len(token) > 2 and token[0] == '[' and token[-1] == ']'
        found[list(self.numbers().values())[1:]] = True
        return found

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 [t], without special ones around them."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the tokens of every text: `[encode(text) for text in texts]`, faster."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encodings]

    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the tokens of `text`, int32 [t], and which characters of it each stands for, int32 [t 2]: begin, end.

        The characters are text[begin:end], as they were before capitals and accents were forgotten.
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return np.array(encoding.ids, np.int32), np.array(encoding.offsets, np.int32).reshape(-1, 2)

    def join(
        self, first: np.ndarray, second: np.ndarray | None = None, *, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns [CLS] first [SEP] or [CLS] first [SEP] second [SEP], and its types: 0, and 1 from `second` on.

        What is too long loses its end, a token of the longer text at a time; where an odd number is left for two that
        are both too long, the one that was longer has one more (the second, where neither was).

        Args:
          first: int32 [t], tokens without special ones.
          second: likewise; None where there is one text.
          length: how many tokens come back at most; 3 at least.

        Returns:
          tokens and types, int32 [t].
        """
        begin, end = [self.first], [self.separator]
        if second is None:
            kept = first[: max(length - 2, 0)]
            tokens = np.concatenate([begin, kept, end]).astype(np.int32)
            return tokens, np.zeros(len(tokens), np.int32)
        lengths = shortened(len(first), len(second), max(length - 3, 0))
        first, second = first[: lengths[0]], second[: lengths[1]]
        tokens = np.concatenate([begin, first, end, second, end]).astype(np.int32)
        types = np.arange(len(tokens)) >= len(first) + 2
        return tokens, types.astype(np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text that the tokens stand for, without padding, [CLS] and [SEP]."""
        silent = {self.padding, self.first, self.separator}
        tokens = [self.tokenizer.id_to_token(int(id)) for id in ids if int(id) not in silent]
        return decoders.WordPiece(prefix=CONTINUES, cleanup=True).decode([token or '' for token in tokens])

    def name_of(self, token: int) -> str:
        """Returns a token as the vocabulary has it: '##ing', '[CLS]'."""
        return self.tokenizer.id_to_token(token) or ''

    def numbers(self) -> dict[str, int]:
        """Returns its fields that are numbers."""
        return {name: getattr(self, name) for name in ('vocabulary', *SPECIAL)}

    def assets(self) -> dict[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        return {
            'tokenizer.json': self.tokenizer.to_str().encode(),
            'processor.json': json.dumps(self.numbers()).encode(),
        }

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `load(folder)` reads them."""
        save_assets(self.assets(), folder)

    def published(self, length: int) -> dict[str, bytes]:
        """Returns the files by which transformers makes this tokenizer, for texts of up to `length` tokens."""
        tokens = {id: token for token, id in self.tokenizer.get_vocab().items()}
        lines = [tokens.get(id, f'[gap{id}]') for id in range(self.vocabulary)]
        normalizer = json.loads(self.tokenizer.to_str())['normalizer'] or {}
        config: dict[str, Any] = {key: tokens[getattr(self, name)] for name, (key, _) in SPECIAL.items()}
        config |= {
            'tokenizer_class': 'BertTokenizer',
            'model_max_length': length,
            'do_lower_case': normalizer.get('lowercase', True),
            'strip_accents': normalizer.get('strip_accents'),
            'tokenize_chinese_chars': normalizer.get('handle_chinese_chars', True),
        }
        text = json.dumps(config, indent=2, ensure_ascii=False)
        return {'vocab.txt': ''.join(f'{line}\n' for line in lines).encode(), 'tokenizer_config.json': text.encode()}


def shortened(first: int, second: int, length: int) -> tuple[int, int]:
    """Returns how many tokens of two texts are kept, so that they are at most `length` together."""
    if first + second <= length:
        return first, second
    short, long = min(first, second), max(first, second)
    short = min(short, length // 2)
    long = min(long, length - short)
    return (short, long) if first <= second else (long, short)


def load(folder: Path) -> WordPiece:
    """Returns what `WordPiece.save` wrote.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    numbers = json.loads((folder / 'processor.json').read_text('utf-8'))
    if not isinstance(numbers, dict) or set(numbers) != {'vocabulary', *SPECIAL}:
        raise ValueError('processor.json')
    tokenizer = Tokenizer.from_buffer((folder / 'tokenizer.json').read_bytes())
    known = set(tokenizer.get_vocab().values())
    if numbers['vocabulary'] != max(known) + 1 or not {numbers[name] for name in SPECIAL} <= known:
        raise ValueError('processor.json')
    return WordPiece(tokenizer, **numbers)


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
    names = [name for _, name in SPECIAL.values()]
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
        unk_token=unknown or SPECIAL['unknown'][1],
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
    numbers = {word: vocabulary[name] for word, (_, name) in SPECIAL.items()}
    return WordPiece(_tokenizer(vocabulary, lowercase, strip), max(vocabulary.values()) + 1, **numbers)


# --- published -------------------------------------------------------------------------------------------------------


def _published(path: str, lowercase: bool, strip: bool | None) -> WordPiece:
    place = _of_hub(path) if hub.is_of_hub(path) else existing(path, 'path') or Path(path)
    folder = place if place.is_dir() else place.parent
    try:
        settings = _settings(folder)
        names = {word: _name(settings.get(key), name) for word, (key, name) in SPECIAL.items()}
        whole = place / 'tokenizer.json' if place.is_dir() else place
        if whole.suffix == '.json' and whole.is_file():
            tokenizer = _of_json(whole)
        else:
            lowercase = bool(settings.get('do_lower_case', lowercase))
            strip = settings.get('strip_accents', strip)
            tokens = _lines(place / 'vocab.txt' if place.is_dir() else place)
            _check_capitals(path, tokens, lowercase)
            tokenizer = _tokenizer(tokens, lowercase, strip, names['unknown'])
    except UserError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        raise UserError('path: the vocabulary in "{path}" cannot be read: {error}', path=path, error=error) from None
    there = tokenizer.get_vocab()
    for name in names.values():
        if name not in there:
            raise UserError(
                'path: "{path}" has no token "{token}", and a WordPiece vocabulary has one.{nearest}',
                path=path,
                token=name,
                nearest=nearest(name, there),
            )
    return WordPiece(tokenizer, max(there.values()) + 1, **{word: there[name] for word, name in names.items()})


def _of_hub(source: str) -> Path:
    """Returns the folder in which the files of a vocabulary of the hub now lie."""
    found = [file for name in ('tokenizer_config.json', *FILES) if (file := hub.fetch(source, name))]
    if not found:
        raise UserError('path: "{source}" has no vocabulary: no {names}.', source=source, names=', '.join(FILES))
    return found[-1].parent


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / 'tokenizer_config.json'
    found = json.loads(file.read_text('utf-8')) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _name(found: Any, usual: str) -> str:
    """Returns the name of a special token: published settings have it alone, or within a description."""
    found = found.get('content') if isinstance(found, dict) else found
    return found if isinstance(found, str) else usual


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
