"""What a text is about, or whether it is glad: an LSTM reads it both ways, and a class is told from its outputs.

python -m jaxlab.main --config=configs/sentiment.py                 topics of docstrings that every Python brings along
python -m jaxlab.main --config=configs/sentiment.py:sst2 --config.data.source.path=SST2/train.tsv \\
    --config.data.source.validation_path=SST2/dev.tsv --config.data.source.test_path=SST2/test.tsv
python -m jaxlab.main --config=configs/sentiment.py:hotel --config.data.source.path=ChnSentiCorp_htl_all.csv
python -m jaxlab.main predict --workdir=runs/sentiment-1a2b3c4d 'A gripping film.'
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.classification')
    c.evaluate.scores = ('accuracy', 'cross_entropy')
    c.evaluate.batches = 0  # all of the validation part
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """The interpreter's own texts: which library a docstring is of."""
    c.epochs = 6.0
    c.batch_size = 32
    c.data = spec(
        'data.text_examples',
        source=spec('data.sources.python_topics'),
        processor=spec('data.processors.wordpiece', vocabulary=4000),
        length=64,
    )
    c.model = spec('models.rnn', cell='lstm', width=96, bidirectional=True, pool='max', dropout=0.3, word_dropout=0.1)
    c.optimizer = spec('optim.adamw', learning_rate=2e-3, schedule=spec('schedules.cosine', warmup=50, final=0.0))
    c.checkpoint.every = 500
    c.evaluate.every = 250
    c.log.every = 50


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 60
    c.data.update(length=16)
    c.data.processor.vocabulary = 500
    c.model.update(cell='gru', width=16, dropout=0.0, word_dropout=0.0)
    c.optimizer.update(learning_rate=1e-2)
    c.optimizer.schedule.warmup = 5
    c.steps_per_call = 10
    c.checkpoint.every = 20
    c.evaluate.every = 20
    c.log.every = 10


def sst2(c: ConfigDict) -> None:
    """Sentences of film reviews, glad or not (Socher et al. 2013): 6,920 are few, so much is dropped."""
    default(c)
    c.epochs = 6.0
    c.data.update(source=spec('data.sources.text_table'), length=48)
    c.data.processor.vocabulary = 8000
    c.model.update(width=64, embedding=128, dropout=0.5, word_dropout=0.3)
    c.average = 0.99
    c.checkpoint.every = 1000
    c.evaluate.every = 217  # an epoch


def hotel(c: ConfigDict) -> None:
    """Chinese reviews of hotels (ChnSentiCorp): 6,200 to learn from, a character a token."""
    default(c)
    c.epochs = 5.0
    c.data.update(source=spec('data.sources.text_table', bad='skip'), length=160)  # one has no text
    c.model.update(width=64, embedding=96, dropout=0.4, word_dropout=0.1)
    c.average = 0.995
    c.evaluate.scores = ('accuracy', 'area', 'cross_entropy')
    c.checkpoint.every = 1000
    c.evaluate.every = 195  # an epoch


SIZES = {'default': default, 'tiny': tiny, 'sst2': sst2, 'hotel': hotel}
