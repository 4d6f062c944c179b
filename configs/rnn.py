"""A recurrent language model: it reads byte after byte, and all that it knows of them is in its state.

python -m jaxlab.main --config=configs/rnn.py                 Python's standard library
… --config.data.path=shakespeare/                             your own .txt or .jsonl files instead
… --config.model.cell=gru                                     or vanilla: see what each cell reaches
python -m jaxlab.main generate --workdir=runs/rnn-1a2b3c4d --prompt="def "
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.language_model')
    c.evaluate.scores = ('perplexity', 'bits_per_byte', 'accuracy')
    c.log.prompt = 'def'  # samples start like a function
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """A byte a step: no tokens are learned, so it must find out about words by itself."""
    c.steps = 1200
    c.batch_size = 32
    c.data = spec('data.text', length=128, processor=spec('data.processors.bytes'))
    c.model = spec('models.rnn', cell='lstm', layers=2, width=256, embedding=64)  # 0.9 M parameters
    c.optimizer = spec(
        'optim.adamw', learning_rate=3e-3, schedule=spec('schedules.cosine', warmup=50, final=0.0)
    )  # ends at 0: the last steps gain the most
    c.checkpoint.every = 300
    c.evaluate.every = 300
    c.log.sample_every = 150
    c.log.sample_tokens = 200  # of one byte each


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    c.steps = 100
    c.batch_size = 8
    c.data = spec('data.text', length=32, processor=spec('data.processors.bytes'))
    c.model = spec('models.rnn', cell='gru', width=32, vocabulary_multiple=8)
    c.optimizer = spec('optim.adamw', learning_rate=1e-2, schedule=spec('schedules.cosine', warmup=10))
    c.steps_per_call = 10  # its steps take less time than to start them
    c.checkpoint.every = 50
    c.evaluate.every = 50
    c.evaluate.batches = 4
    c.log.sample_every = 50
    c.log.sample_tokens = 32


def shakespeare(c: ConfigDict) -> None:
    """A megabyte of plays (Karpathy 2015): --config.data.path=tinyshakespeare/. It is soon known by heart: dropout."""
    default(c)
    c.steps = 1500
    c.model.update(dropout=0.3)
    c.log.prompt = 'ROMEO:'


SIZES = {'default': default, 'tiny': tiny, 'shakespeare': shakespeare}
