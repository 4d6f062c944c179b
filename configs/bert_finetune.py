"""BERT learns a task from texts: their class, tags of their words, or answers to questions (Devlin et al. 2018).

python -m jaxlab.main --config=configs/bert_finetune.py                       topics of docstrings, from scratch
… --config.init_from=runs/bert_pretrain-1a2b3c4d --config.init_new_head=true  beginning with what it knows of language
… --config=configs/bert_finetune.py:texts --config.data.source.path=reviews.tsv             your own texts
… --config=configs/bert_finetune.py:pairs --config.data.source.path=pairs.tsv --config.data.source.text=sentence1 …
… --config=configs/bert_finetune.py:tagging --config.data.source.path=train.conll
… --config=configs/bert_finetune.py:squad --config.data.source.path=train-v1.1.json …        published sizes
python -m jaxlab.main predict --workdir=runs/bert_finetune-1a2b3c4d 'Wait until the thread terminates.'

The words are those of the weights it begins with; without any they are learned from the texts.
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.classification')
    c.evaluate.scores = ('accuracy', 'f1', 'matthews', 'area', 'cross_entropy')
    c.evaluate.batches = 0  # all of the validation part
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """Which part of Python's library a docstring is of, by the net that configs/bert_pretrain.py trains."""
    c.epochs = 4.0
    c.batch_size = 32
    c.data = spec(
        'data.text_examples',
        source=spec('data.sources.python_topics'),
        processor=spec('data.processors.wordpiece', vocabulary=4096),
        length=64,
    )
    c.model = _small('classes')
    c.optimizer = spec(
        'optim.adamw', learning_rate=3e-4, weight_decay=0.01, schedule=spec('schedules.linear', warmup=50)
    )
    c.checkpoint.every = 200
    c.evaluate.every = 100
    c.log.every = 20


def _small(head: str) -> ConfigDict:
    """The net of configs/bert_pretrain.py; it has never seen a text of more than 128 tokens."""
    return spec(
        'models.bert',
        head=head,
        layers=3,
        width=128,
        heads=4,
        context=128,
        vocabulary_multiple=64,
        dropout=0.1,
        init_scale=0.06,
        init='mimetic',
    )


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 30
    c.batch_size = 8
    c.data.update(length=16)
    c.data.processor.vocabulary = 512
    c.model.update(layers=2, width=32, heads=8, context=32, dropout=0.0)
    c.optimizer.update(learning_rate=3e-3)
    c.optimizer.schedule.warmup = 5
    c.evaluate.batches = 4
    c.checkpoint.every = 10
    c.evaluate.every = 15
    c.log.every = 10


def texts(c: ConfigDict) -> None:
    """Texts of your own and their classes: .tsv, .csv or .jsonl; a tenth is for validation, another for the test."""
    default(c)
    c.data.update(source=spec('data.sources.text_table'), length=128)


def pairs(c: ConfigDict) -> None:
    """Pairs of texts and whether one follows from the other, or says the same: MRPC, QQP, MNLI and the like."""
    texts(c)
    c.data.source.update(text='sentence1', second='sentence2')


def tagging(c: ConfigDict) -> None:
    """What each word of a text is; without a path, what each word of a line of Python is."""
    default(c)
    c.task = spec('tasks.tagging')
    c.data = spec('data.tagging', processor=spec('data.processors.wordpiece', vocabulary=4096), length=128)
    c.model = _small('tokens')
    c.evaluate.scores = ('accuracy', 'f1', 'cross_entropy')


def tagging_tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    tiny(c)
    c.task = spec('tasks.tagging')
    c.data = spec('data.tagging', processor=spec('data.processors.wordpiece', vocabulary=512), length=32)
    c.model.update(head='tokens')
    c.evaluate.scores = ('accuracy', 'f1', 'cross_entropy')


def entities(c: ConfigDict) -> None:
    """Names of people, places and others, in files as CoNLL has them: a run of words is right as a whole."""
    tagging(c)
    c.data.source = spec('data.sources.conll')
    c.evaluate.scores = ('entities', 'accuracy', 'cross_entropy')


def question_answering(c: ConfigDict) -> None:
    """Which piece of a text answers a question; without a path, questions about Python's functions."""
    default(c)
    c.task = spec('tasks.question_answering')
    c.data = spec(
        'data.squad',
        source=spec('data.sources.python_questions'),
        processor=spec('data.processors.wordpiece', vocabulary=4096),
        length=128,
        stride=48,
        question=40,
    )
    c.model = _small('span')
    c.evaluate.scores = ('answers',)


def question_answering_tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    tiny(c)
    c.task = spec('tasks.question_answering')
    c.data = spec(
        'data.squad',
        source=spec('data.sources.python_questions'),
        processor=spec('data.processors.wordpiece', vocabulary=512),
        length=32,
        stride=10,
        question=12,
    )
    c.model.update(head='span')
    c.evaluate.scores = ('answers',)
    c.evaluate.batches = 0  # an answer is marked when all windows of its text were looked at


def _published(c: ConfigDict, head: str, source: str = 'hf:google-bert/bert-base-uncased', **others) -> None:
    """A base as it was published, and the recipe of BERT's paper: three epochs, a small rate."""
    c.init_from = source
    c.init_new_head = True
    c.epochs = 3.0
    c.model = spec('models.bert', head=head, context=512, **others)
    c.optimizer = spec(
        'optim.adamw', learning_rate=3e-5, weight_decay=0.01, schedule=spec('schedules.linear', warmup=500)
    )
    c.checkpoint.every = 1000
    c.evaluate.every = 1000
    c.log.every = 50


def bert_base(c: ConfigDict) -> None:
    """Texts of your own, beginning with published weights."""
    texts(c)
    _published(c, 'classes')


def roberta_base(c: ConfigDict) -> None:
    """Likewise, with RoBERTa's weights and words; DistilRoBERTa: --config.model.layers=6 --config.init_from=…

    For tags or answers: --config.model.head=tokens --config.task.name=tagging --config.data.name=tagging …
    """
    texts(c)
    c.data.processor = spec('data.processors.roberta')
    shape = dict(types=1, position_offset=2, pooler=False, norm_epsilon=1e-5)
    _published(c, 'classes', 'hf:FacebookAI/roberta-base', **shape)


def squad(c: ConfigDict) -> None:
    """SQuAD v1.1 by the paper: --config.data.source.path=train-v1.1.json …validation_path=dev-v1.1.json"""
    question_answering(c)
    c.data.update(source=spec('data.sources.squad_files'), length=384, stride=128, question=64)
    _published(c, 'span')


SIZES = {
    'default': default,
    'tiny': tiny,
    'texts': texts,
    'pairs': pairs,
    'tagging': tagging,
    'tagging_tiny': tagging_tiny,
    'entities': entities,
    'question_answering': question_answering,
    'question_answering_tiny': question_answering_tiny,
    'bert_base': bert_base,
    'roberta_base': roberta_base,
    'squad': squad,
}
