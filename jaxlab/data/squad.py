"""Questions whose answers are pieces of a text, in files as SQuAD v1.1 has them (Rajpurkar et al. 2016).

{"data": [{"paragraphs": [{"context": "…", "qas": [{"id": "…", "question": "…",
                                                    "answers": [{"text": "…", "answer_start": 34}]}]}]}]}

Texts that are longer than a row are read in windows, and the best answer of all windows of a question is its answer.
"""

# n windows of a part, b rows of this process, t tokens of a row

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data import answers, examples, question_windows
from jaxlab.data.buckets import edges
from jaxlab.data.question_windows import QuestionText, Window
from jaxlab.data.questions import Question, Questions
from jaxlab.data.stream import Data
from jaxlab.data.text import check_memory, learned
from jaxlab.data.text_rows import TextRows
from jaxlab.errors import UserError
from jaxlab.messages import say


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: QuestionText | None = None,
    *,
    source: ConfigDict = spec('data.sources.squad_files'),
    processor: ConfigDict = spec('data.processors.wordpiece'),
    length: int = 384,
    stride: int = 128,
    question: int = 64,
    buckets: tuple = (),
) -> Data:
    """Reads questions, learns their tokens where these are not published, and makes rows of them.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: a new one, with the tokens of `processor`.
      source: where the questions come from; a file of sources/.
      processor: text <-> tokens; a file of processors/ that knows which characters a token stands for.
      length: tokens in a row, special ones included.
      stride: how many tokens of a text a window begins after the one before.
      question: tokens of a question at most; longer ones lose their ends, and are counted.
      buckets: lengths below `length`, such as (32, 64): rows of about one length stand in one batch, which is padded to
        the smallest that holds them, so that short ones take less time; (): all are padded to `length`.

    Returns:
      Data with the split 'validation' and the test 'test', as far as there are such parts, which know how to mark
      answers; batches of tokens and types, int32 [b t], lengths, int32 [b], targets, int32 [b 2]: places of the
      answer's first and last token, (0, 0) where the window does not show it; and mask, float32 [b]; info
      {'vocabulary', 'length', 'types', 'padding'}.

    Raises:
      UserError: an argument is out of range, or there are no questions.
    """
    if not 0 < question < length - 3 - 8:
        raise UserError(
            'question={question}: of a row of length={length} tokens at least 11 are left for the text.',
            question=question,
            length=length,
        )
    if stride < 1:
        raise UserError('stride={stride}: a window begins at least one token after the one before.', stride=stride)
    bounds = edges(buckets, length)
    check_memory(len(range(batch_size)[rows]), length)
    found: Questions = build(source, key='data.source')
    if not isinstance(found, Questions):
        raise UserError('{source} has no questions: sources such as squad_files do.', source=found.name)

    def texts() -> Iterator[str]:
        yield from dict.fromkeys(one.context for one in found.parts['train'])
        yield from (one.question for one in found.parts['train'])

    tokenizer = known.tokenizer if known else learned(processor, texts, found.fingerprint, 'separator')
    encoder = QuestionText(tokenizer, length, stride, question)
    parts = {name: Part.of(part, encoder) for name, part in found.parts.items()}
    training = parts['train']
    # What has no answer in its text cannot be learned; it still counts where answers are marked.
    numbers = np.flatnonzero(training.has_answer[training.question])
    if not len(numbers):
        raise UserError('{source}: no question of its part "train" has its answer in its text.', source=found.name)
    divided = {name: (name, np.arange(len(part.question))) for name, part in parts.items()}
    data = examples.of_rows(
        lambda name, losses: parts[name].rows,
        divided | {'train': ('train', numbers)},
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        info={'vocabulary': tokenizer.vocabulary, 'length': length, 'types': 2, 'padding': tokenizer.padding},
        processor=encoder,
        fingerprint=found.fingerprint,
        summary=summary(found, parts),
        edges=bounds,
    )
    splits, tests = (
        {name: replace(split, judge=parts[name].judge) for name, split in some.items()}
        for some in (data.splits, data.tests)
    )
    return replace(data, splits=splits, tests=tests)


def saved(folder: Path, tokenizer: Any) -> QuestionText:
    """Returns the processor of an experiment, of which `tokenizer` was read from the same folder already."""
    return question_windows.load(folder, tokenizer)


@dataclass(frozen=True)
class Part:
    """The windows of the questions of a part.

    Attributes:
      questions: of the part.
      rows: of the windows, n.
      question: int64 [n]: which question each is of; windows of one question follow each other.
      windows: what each shows.
      spans: of each question the characters that the tokens of its text stand for.
      has_answer: bool, of each question: whether one of its answers stands in its text.
      inside: how many answers begin or end inside a token, so that no tokens are exactly they.
      cut: how many questions are longer than the room for them.
    """

    questions: Sequence[Question]
    rows: TextRows
    question: np.ndarray
    windows: Sequence[Window]
    spans: Sequence[np.ndarray]
    has_answer: np.ndarray
    inside: int
    cut: int

    @classmethod
    def of(cls, questions: Sequence[Question], encoder: QuestionText) -> 'Part':
        tokenizer = encoder.tokenizer
        texts = {text: tokenizer.spans(text) for text in dict.fromkeys(one.context for one in questions)}
        windows: list[Window] = []
        owner: list[int] = []
        targets: list[tuple[int, int]] = []
        has_answer = np.zeros(len(questions), bool)
        inside = cut = 0
        encoded = tokenizer.encode_batch([one.question for one in questions])
        for number, (one, tokens) in enumerate(zip(questions, encoded, strict=True)):
            text, spans = texts[one.context]
            characters = one.place()
            answer = question_windows.tokens_of(spans, *characters) if characters else None
            has_answer[number] = answer is not None
            if characters and answer:
                inside += (int(spans[answer[0], 0]), int(spans[answer[1], 1])) != characters
            cut += len(tokens) > encoder.question
            for window in encoder.windows(tokens, text):
                windows.append(window)
                owner.append(number)
                targets.append(window.target(answer) if answer else (0, 0))
        rows = TextRows(
            np.concatenate([window.tokens for window in windows]),
            np.concatenate([[0], np.cumsum([len(window.tokens) for window in windows])]),
            np.array([len(window.types) - int(window.types.sum()) for window in windows], np.int32),
            np.array(targets, np.int32),
            encoder.length,
            tokenizer.padding,
            cut,
        )
        spans_of = [texts[one.context][1] for one in questions]
        return cls(questions, rows, np.array(owner), windows, spans_of, has_answer, inside, cut)

    def judge(self, found: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Returns {'exact_match', 'f1'}, shares from 0 to 1, of the questions of which all windows were looked at.

        Args:
          found: of windows, [m …]: 'number', which of the part each is; 'span', int [m 2], its best answer, as places
            in the row; and 'score', float [m].
        """
        scores, places = np.full(len(self.question), -np.inf), np.zeros((len(self.question), 2), int)
        scores[found['number']], places[found['number']] = found['score'], found['span']
        seen = np.zeros(len(self.question), bool)
        seen[found['number']] = True
        whole = np.bincount(self.question[seen], minlength=len(self.questions)) == np.bincount(self.question)
        said = {number: self.said(number, places, scores) for number in np.flatnonzero(whole).tolist()}
        marks = {'exact_match': answers.exact_match, 'f1': answers.f1}
        return {
            name: float(np.mean([mark(text, self.questions[n].texts) for n, text in said.items()])) if said else np.nan
            for name, mark in marks.items()
        }

    def said(self, number: int, places: np.ndarray, scores: np.ndarray) -> str:
        """Returns the answer to a question, given the best of each window of the part."""
        begin, end = np.searchsorted(self.question, [number, number + 1])
        first, last, _ = question_windows.best(
            self.windows[begin:end], self.spans[number], places[begin:end], scores[begin:end]
        )
        return self.questions[number].context[first:last]


def summary(source: Questions, parts: Mapping[str, Part]) -> str:
    """Returns one line for the screen: how much there is, and what of it is not as it should be."""
    counts = (f'{name} {len(part.questions):,} ({len(part.question):,})' for name, part in parts.items())
    line = say(
        '{name}: questions (and rows) {counts}; fingerprint {fingerprint}',
        name=source.name,
        counts=', '.join(counts),
        fingerprint=source.fingerprint[:16],
    )
    missing = sum(int((~part.has_answer).sum()) for part in parts.values())
    if missing:
        line = say(
            '{line}; of {count:,} questions no answer stands in the text: not trained on, counted as wrong',
            line=line,
            count=missing,
        )
    if inside := sum(part.inside for part in parts.values()):
        line = say('{line}; {count:,} answers begin or end inside a token', line=line, count=inside)
    if cut := sum(part.cut for part in parts.values()):
        line = say('{line}; {count:,} questions were cut', line=line, count=cut)
    if source.without:
        line = say('{line}; {count:,} questions without any answer were left out', line=line, count=source.without)
    return line
