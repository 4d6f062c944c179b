"""The first deep net: pixels, a hidden layer, an answer; and the same net as a regression.

python -m jaxlab.main --config=configs/mlp.py              scikit-learn's handwritten digits, in seconds
python -m jaxlab.main --config=configs/mlp.py:mnist        784-256-10 on MNIST (see `prepare`)
python -m jaxlab.main --config=configs/mlp.py:mnist_128    784-128-10
python -m jaxlab.main --config=configs/mlp.py:fashion      the same on pictures of clothes
python -m jaxlab.main --config=configs/mlp.py:diabetes     a number from the 10 columns of a table
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.classification')
    c.evaluate.scores = ('accuracy', 'cross_entropy')
    c.evaluate.batches = 0  # all of the validation part: it is small
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """Digits of 8 × 8 pixels: there on every machine."""
    c.epochs = 40.0
    c.batch_size = 64
    c.data = spec('data.pictures', source=spec('data.sources.digits'))
    c.model = spec('models.mlp', widths=(256,), dropout=0.2)
    c.optimizer = spec('optim.adamw', learning_rate=2e-3, schedule=spec('schedules.cosine', warmup=20, final=0.0))
    c.steps_per_call = 20  # its steps take less time than to start them
    c.checkpoint.every = 400
    c.evaluate.every = 200
    c.log.every = 20


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 60
    c.model.update(widths=(32,), dropout=0.0)
    c.optimizer.learning_rate = 1e-2
    c.checkpoint.every = 20
    c.evaluate.every = 20


def _tfds(name: str, *widths: int):
    """A data set of tensorflow-datasets."""

    def size(c: ConfigDict) -> None:
        c.epochs = 20.0
        c.batch_size = 128
        c.data = spec('data.pictures', source=spec('data.sources.tfds', set=name))
        c.model = spec('models.mlp', widths=widths, dropout=0.3)
        c.optimizer = spec('optim.adamw', learning_rate=2e-3, schedule=spec('schedules.cosine', warmup=100, final=0.0))
        c.steps_per_call = 20
        c.checkpoint.every = 2000
        c.evaluate.every = 1000
        c.log.every = 100

    return size


def diabetes(c: ConfigDict) -> None:
    """How far an illness goes within a year: 354 people are few, so the net is small and its weights are held down."""
    c.task = spec('tasks.regression')
    c.evaluate.scores = ('regression',)
    c.epochs = 100.0
    c.batch_size = 32
    c.data = spec('data.table', source=spec('data.sources.diabetes'), validation=0.2)
    c.model = spec('models.mlp', widths=(32,), dropout=0.1)
    c.optimizer = spec(
        'optim.adamw', learning_rate=2e-3, weight_decay=0.1, schedule=spec('schedules.cosine', warmup=20, final=0.0)
    )
    c.steps_per_call = 20
    c.checkpoint.every = 500
    c.evaluate.every = 100
    c.log.every = 20


SIZES = {
    'default': default,
    'tiny': tiny,
    'mnist': _tfds('mnist', 256),
    'mnist_128': _tfds('mnist', 128),
    'fashion': _tfds('fashion_mnist', 256),
    'diabetes': diabetes,
}
