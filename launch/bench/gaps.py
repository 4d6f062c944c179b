"""The numbers that a model which fills gaps has to beat: on the same gaps of the held-out text, with the same words.

  python launch/bench/gaps.py                        configs/bert_pretrain.py: the English that comes with Python
  python launch/bench/gaps.py --path=my/texts        text of your own, as --config.data.path takes it

- unigram: the most frequent token, always.
- trigram fill: the token that stood most often between the two neighbours; where none did, the one that is likeliest
  after the left one and before the right one, or beside one of them, or by itself. Counted on the training part.
- trigram before: the likeliest token after the two before it, with the same back-off to one and to none.

Both trigrams see what the model sees: gaps beside the gap are no neighbours, and where a token is shown in the place of
a gap (one time in five; it is the right one in half of these) it is taken, which is better than what they say.

The rule for what follows is half of the rows: 0.5.
"""

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import record

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.data import masked_text, sentence_store
from jaxlab.data.sources import english, text_files

CONFIG = 'configs/bert_pretrain.py'


class Counts:
    """How often tokens stand beside each other in documents, lists of tokens."""

    def __init__(self, documents: Iterator[Sequence[int]]) -> None:
        self.alone: Counter[int] = Counter()
        self.after: dict[int, Counter[int]] = defaultdict(Counter)  # what follows a token
        self.before: dict[int, Counter[int]] = defaultdict(Counter)  # what stands before one
        self.between: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        self.after_two: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        for tokens in documents:
            self.alone.update(tokens)
            for one, two in itertools.pairwise(tokens):
                self.after[one][two] += 1
                self.before[two][one] += 1
            for one, two, three in zip(tokens, tokens[1:], tokens[2:]):
                self.between[one, three][two] += 1
                self.after_two[one, two][three] += 1
        self.commonest = best(self.alone)

    def fill(self, left: int, right: int) -> int:
        """Returns what stands between two tokens."""
        if found := self.between.get((left, right)):
            return best(found)
        after, before = self.after.get(left, Counter()), self.before.get(right, Counter())
        if both := after.keys() & before.keys():
            return best(Counter({token: after[token] * before[token] / self.alone[token] for token in both}))
        surest = max((after, before), key=lambda found: max(found.values(), default=0) / max(found.total(), 1))
        return best(surest) if surest else self.commonest

    def follow(self, two_before: int, one_before: int) -> int:
        """Returns what comes after two tokens."""
        found = self.after_two.get((two_before, one_before)) or self.after.get(one_before)
        return best(found) if found else self.commonest


def best(counts: Counter[int]) -> int:
    """Returns the token of the highest count, of several the smallest."""
    return min(counts, key=lambda token: (-counts[token], token))


def documents_of(part: sentence_store.Part) -> Iterator[list[int]]:
    """Yields the tokens of each document."""
    for begin, end in zip(part.documents[:-1], part.documents[1:]):
        yield part.tokens[int(part.sentences[begin]) : int(part.sentences[end])].tolist()


def accuracies(counts: Counts, batches: Iterator[dict[str, np.ndarray]], masked: int) -> dict[str, float]:
    """Returns the share of gaps that each way fills rightly."""
    hits: Counter[str] = Counter()
    total = 0
    for batch in batches:
        for row, places, targets, mask in zip(batch['tokens'], batch['places'], batch['targets'], batch['mask']):
            for place, target in zip(places[mask > 0].tolist(), targets[mask > 0].tolist()):
                shown, (left, right, further) = int(row[place]), (int(row[i]) for i in beside(row, place))
                total += 1
                hits['unigram'] += target == counts.commonest
                hits['trigram_fill'] += target == (counts.fill(left, right) if shown == masked else shown)
                hits['trigram_before'] += target == (counts.follow(further, left) if shown == masked else shown)
    return {name: round(hits[name] / total, 4) for name in ('unigram', 'trigram_fill', 'trigram_before')} | {
        'gaps': total
    }


def beside(row: np.ndarray, place: int) -> tuple[int, int, int]:
    """Returns the places left and right of one, and that two to the left: [CLS] and [SEP] stand around each text."""
    return place - 1, min(place + 1, len(row) - 1), max(place - 2, 0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--path', default='', help='a .txt or .jsonl file, or a folder of them')
    arguments.add_argument('--name', default='gaps', help='results/NAME.json is written')
    options = arguments.parse_args()

    config, _ = config_text.load(CONFIG)
    config = configs.check(config)
    config.data.path = options.path
    batch_size = config.batch_size
    made: Any = configs.build(config.data, batch_size, config.seed, slice(0, batch_size), key='data')
    corpus = text_files.corpus(options.path) if options.path else english.corpus()
    store = sentence_store.store_of(corpus, made.processor)
    assert store.fingerprint == made.fingerprint and masked_text.HELD_OUT_SEED == 0
    print(made.summary)
    split = made.splits['held_out']
    counts = Counts(documents_of(store.train))
    found = accuracies(counts, map(split.batch, range(split.batches)), made.processor.masked)
    for name, value in found.items():
        print(f'{name:<16} {value}')
    path = record.write(options.name, {'data': made.summary, 'vocabulary': made.info['vocabulary'], 'accuracy': found})
    print(f'written to {path.relative_to(record.FOLDER.parents[2])}')


if __name__ == '__main__':
    main()
