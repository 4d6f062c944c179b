"""Text <-> tokens for encoders, special ones around a text or two: BERT's WordPiece and RoBERTa's byte-level pairs.

The classes behind `processors/wordpiece.py` and `processors/roberta.py`, and what both of them save.
"""

# t tokens of a text, v vocabulary

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer, decoders

from jaxlab.data.byte_level import bytes_of
from jaxlab.data.decoder_tokens import ids_of
from jaxlab.data.processors import save_assets

# The special tokens: our word, and the key of transformers' tokenizer_config.json.
SPECIAL = {
    'padding': 'pad_token',
    'unknown': 'unk_token',
    'first': 'cls_token',
    'separator': 'sep_token',
    'masked': 'mask_token',
}
CONTINUES = '##'  # what a piece of WordPiece that continues a word begins with


@dataclass(frozen=True)
class EncoderTokens(ABC):
    """Text <-> tokens. What a text spells is text, also where it spells the name of a special token.

    Attributes:
      tokenizer: of the `tokenizers` library.
      vocabulary: how many tokens there are, special ones included.
      padding: what stands behind the end of a text.
      unknown: what stands for a word that has no tokens.
      first: what stands before a text, [CLS] or <s>.
      separator: what stands behind each text, [SEP] or </s>.
      masked: what hides a token, [MASK] or <mask>.
      between: how many separators stand between two texts.
      space: what stands before a word that is not the first of its text, where this makes a difference.
      types: how many types of tokens the published models of these words know: with one, transformers tells a model no
        more of two texts than the separators do.
    """

    tokenizer: Tokenizer
    vocabulary: int
    padding: int
    unknown: int
    first: int
    separator: int
    masked: int
    between: ClassVar[int] = 1
    space: ClassVar[str] = ''
    types: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self.tokenizer.encode_special_tokens = True  # a tokenizer's file does not keep this
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @property
    @abstractmethod
    def continues(self) -> np.ndarray:
        """bool [v]: which tokens continue a word."""

    @property
    @abstractmethod
    def special(self) -> np.ndarray:
        """bool [v]: which tokens no text makes, the five among them."""

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 [t], without special ones around them."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the tokens of every text: `[encode(text) for text in texts]`, faster."""
        return ids_of(self.tokenizer, texts)

    def encode_words(self, words: Sequence[str]) -> list[np.ndarray]:
        """Returns the tokens of each word of a text, int32 [t], as if it stood among the others."""
        return self.encode_batch([self.space + word for word in words])

    def spans(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the tokens of `text`, int32 [t], and which characters of it each stands for, int32 [t 2]: begin, end.

        The characters are text[begin:end], as they were before capitals and accents were forgotten, and without the
        space before a word.
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return np.array(encoding.ids, np.int32), np.array(encoding.offsets, np.int32).reshape(-1, 2)

    def around(self, texts: int) -> int:
        """Returns how many special tokens `join` puts around one text, or two."""
        return 2 + (self.between if texts == 2 else 0)

    def join(
        self, first: np.ndarray, second: np.ndarray | None = None, *, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns [CLS] first [SEP] or [CLS] first [SEP] second [SEP], and which text each token is of: 0, and 1 from
        `second` on. (RoBERTa: <s> first </s></s> second </s>; its models have one type, and take all for 0.)

        What is too long loses its end, a token of the longer text at a time; where an odd number is left for two that
        are both too long, the one that was longer has one more (the second, where neither was).

        Args:
          first: int32 [t], tokens without special ones.
          second: likewise; None where there is one text.
          length: how many tokens come back at most; `around` and one for each text at least.

        Returns:
          tokens and types, int32 [t].
        """
        begin, end = [self.first], [self.separator]
        if second is None:
            kept = first[: max(length - self.around(1), 0)]
            tokens = np.concatenate([begin, kept, end]).astype(np.int32)
            return tokens, np.zeros(len(tokens), np.int32)
        lengths = shortened(len(first), len(second), max(length - self.around(2), 0))
        first, second = first[: lengths[0]], second[: lengths[1]]
        tokens = np.concatenate([begin, first, end * self.between, second, end]).astype(np.int32)
        types = np.arange(len(tokens)) >= 1 + len(first) + self.between
        return tokens, types.astype(np.int32)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text that the tokens stand for, without padding and what stands around texts."""

    @property
    def silent(self) -> set[int]:
        """The tokens that `decode` leaves out."""
        return {self.padding, self.first, self.separator}

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

    @abstractmethod
    def published(self, length: int) -> dict[str, bytes]:
        """Returns the files by which transformers makes this tokenizer, for texts of up to `length` tokens."""

    def described(self, length: int, **more: Any) -> bytes:
        """Returns a tokenizer_config.json: the names of the special tokens, `length`, and `more`."""
        config: dict[str, Any] = {key: self.name_of(getattr(self, name)) for name, key in SPECIAL.items()}
        config |= {'model_max_length': length, **more}
        return json.dumps(config, indent=2, ensure_ascii=False).encode()


class WordPiece(EncoderTokens):
    """Words in their longest pieces. Not without loss: spaces, and with `lowercase` capitals and accents, are
    forgotten; a word that cannot be put together of pieces becomes `unknown` as a whole."""

    @cached_property
    def continues(self) -> np.ndarray:
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

    def decode(self, ids: Iterable[int]) -> str:
        tokens = [self.tokenizer.id_to_token(int(id)) for id in ids if int(id) not in self.silent]
        return decoders.WordPiece(prefix=CONTINUES, cleanup=True).decode([token or '' for token in tokens])

    def published(self, length: int) -> dict[str, bytes]:
        tokens = {id: token for token, id in self.tokenizer.get_vocab().items()}
        lines = [tokens.get(id, f'[gap{id}]') for id in range(self.vocabulary)]
        normalizer = json.loads(self.tokenizer.to_str())['normalizer'] or {}
        about = self.described(
            length,
            tokenizer_class='BertTokenizer',
            do_lower_case=normalizer.get('lowercase', True),
            strip_accents=normalizer.get('strip_accents'),
            tokenize_chinese_chars=normalizer.get('handle_chinese_chars', True),
        )
        return {'vocab.txt': ''.join(f'{line}\n' for line in lines).encode(), 'tokenizer_config.json': about}


class RoBERTa(EncoderTokens):
    """Byte-level pairs, as GPT-2's: nothing is unknown and nothing is lost, and the space before a word is a part of
    its token."""

    between: ClassVar[int] = 2
    space: ClassVar[str] = ' '
    types: ClassVar[int] = 1

    @cached_property
    def pieces(self) -> list[bytes]:
        """The bytes of every token; of special ones their names."""
        names = {getattr(self, name) for name in SPECIAL}
        pieces = bytes_of(self.tokenizer, self.vocabulary, names)
        for id in names - self.silent:
            pieces[id] = super().name_of(id).encode()
        return pieces

    @cached_property
    def continues(self) -> np.ndarray:
        """bool [v]: which tokens continue a word: all that begin with no space, and stand for text."""
        return np.array([bool(piece) and not piece[:1].isspace() for piece in self.pieces]) & ~self.special

    @cached_property
    def special(self) -> np.ndarray:
        """bool [v]: which tokens no text makes: the five, and those that nothing is merged to ("madeupword0000")."""
        model = json.loads(self.tokenizer.to_str())['model']
        made = {''.join(pair if isinstance(pair, list) else pair.split(' ')) for pair in model['merges']}
        found = np.array([self.tokenizer.id_to_token(id) not in made for id in range(self.vocabulary)])
        for token, id in model['vocab'].items():
            found[id] &= len(token) > 1
        found[list(self.numbers().values())[1:]] = True
        return found

    def decode(self, ids: Iterable[int]) -> str:
        found = (int(id) for id in ids)
        return b''.join(self.pieces[id] for id in found if id < self.vocabulary).decode(errors='replace')

    def name_of(self, token: int) -> str:
        """Returns a token as one reads it: ' the', '<s>'."""
        return super().name_of(token) if token in self.silent else self.decode([token])

    def described(self, length: int, **more: Any) -> bytes:
        config = json.loads(super().described(length, **more))
        names = {key: EncoderTokens.name_of(self, getattr(self, name)) for name, key in SPECIAL.items()}
        names |= {'bos_token': names['cls_token'], 'eos_token': names['sep_token']}
        return json.dumps(config | names, indent=2, ensure_ascii=False).encode()

    def published(self, length: int) -> dict[str, bytes]:
        content = json.loads(self.tokenizer.to_str())
        pairs = (pair if isinstance(pair, str) else ' '.join(pair) for pair in content['model']['merges'])
        about = self.described(
            length, tokenizer_class='RobertaTokenizer', add_prefix_space=content['pre_tokenizer']['add_prefix_space']
        )
        return {
            'vocab.json': json.dumps(self.tokenizer.get_vocab(), ensure_ascii=False).encode(),
            'merges.txt': '\n'.join(['#version: 0.2', *pairs, '']).encode(),
            'tokenizer_config.json': about,
        }


KINDS: Mapping[str, type[EncoderTokens]] = {'WordPiece': WordPiece, 'BPE': RoBERTa}  # by the model of the tokenizer


def shortened(first: int, second: int, length: int) -> tuple[int, int]:
    """Returns how many tokens of two texts are kept, so that they are at most `length` together."""
    if first + second <= length:
        return first, second
    short, long = min(first, second), max(first, second)
    short = min(short, length // 2)
    long = min(long, length - short)
    return (short, long) if first <= second else (long, short)


def load(folder: Path) -> EncoderTokens:
    """Returns what `EncoderTokens.save` wrote, of either kind.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    numbers = json.loads((folder / 'processor.json').read_text('utf-8'))
    if not isinstance(numbers, dict) or set(numbers) != {'vocabulary', *SPECIAL}:
        raise ValueError('processor.json')
    content = (folder / 'tokenizer.json').read_bytes()
    tokenizer = Tokenizer.from_buffer(content)
    known = set(tokenizer.get_vocab().values())
    if numbers['vocabulary'] != max(known) + 1 or not {numbers[name] for name in SPECIAL} <= known:
        raise ValueError('processor.json')
    return KINDS[json.loads(content)['model']['type']](tokenizer, **numbers)
