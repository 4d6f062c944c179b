"""BERT learns English by filling gaps, and by telling whether one text follows another (Devlin et al. 2018).

python -m jaxlab.main --config=configs/bert_pretrain.py               the prose that comes with Python, on two cores
… --config.data.path=my_texts/                                        your own .txt or .jsonl files instead
… --config=configs/bert_pretrain.py:bert_base --config.data.processor.path=vocab.txt …      published sizes
jaxlab.load('runs/bert_pretrain-…')('Return the [MASK] of the file.', top=5)                  in Python: fill a gap
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.masked_language_model')
    c.evaluate.scores = ('accuracy', 'perplexity', 'next_sentence')
    c.evaluate.batches = 0  # all of the held-out part
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """24 minutes on two cores."""
    c.steps = 10_000  # 36 epochs
    c.batch_size = 16  # 2,048 tokens
    c.data = spec('data.masked_text', length=128, processor=spec('data.processors.wordpiece', vocabulary=4096))
    c.data.hidden = 0.4  # of 0.15 a small net learns less in the same time; what is held out has 0.15
    c.model = spec('models.bert', layers=3, width=128, heads=4, vocabulary_multiple=64, dropout=0.0)  # 1.2 M parameters
    c.model.update(init='mimetic', init_scale=0.06)  # so that attention need not find its neighbours first
    c.optimizer = spec('optim.muon', learning_rate=3e-3, schedule=spec('schedules.cosine', warmup=200, final=0.0))
    c.checkpoint.every = 500
    c.evaluate.every = 1000
    c.log.every = 50


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    c.steps = 30
    c.batch_size = 8
    c.data = spec('data.masked_text', length=32, processor=spec('data.processors.wordpiece', vocabulary=512))
    c.model = spec('models.bert', layers=2, width=32, heads=8, vocabulary_multiple=64, dropout=0.0)
    c.optimizer = spec('optim.adamw', learning_rate=3e-3, schedule=spec('schedules.cosine', warmup=5))
    c.checkpoint.every = 10
    c.evaluate.every = 15
    c.evaluate.batches = 4
    c.log.every = 10


def _published(layers: int, width: int, heads: int, **others):
    """Sizes of the papers; their vocabulary is a vocab.txt, such as that of bert-base-uncased.

    The papers train on rows of 128 tokens first, and on 512 at the end: --config.data.length=512 --config.init_from=RUN
    """

    def size(c: ConfigDict) -> None:
        c.steps = 1_000_000
        c.batch_size = 256
        pairs = others.get('next_sentence', True)
        c.data = spec(
            'data.masked_text', length=128, pairs=pairs, processor=spec('data.processors.wordpiece', path='vocab.txt')
        )
        c.model = spec('models.bert', layers=layers, width=width, heads=heads, context=512, **others)
        c.optimizer = spec(
            'optim.adamw', learning_rate=1e-4, weight_decay=0.01, schedule=spec('schedules.linear', warmup=10_000)
        )
        c.checkpoint.every = 5000
        c.evaluate.every = 5000
        c.log.every = 100

    return size


SIZES = {
    'default': default,
    'tiny': tiny,
    'bert_base': _published(layers=12, width=768, heads=12),
    'bert_large': _published(layers=24, width=1024, heads=16),
    'distilbert': _published(
        layers=6, width=768, heads=12, types=0, next_sentence=False, pooler=False, head_activation='relu'
    ),
}
