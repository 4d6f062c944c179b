"""A small convolutional network: two convolutions that look, two dense layers that decide (after LeCun et al. 1998).

python -m jaxlab.main --config=configs/cnn.py              scikit-learn's handwritten digits, within a minute
python -m jaxlab.main --config=configs/cnn.py:mnist        MNIST (see `prepare`)
python -m jaxlab.main --config=configs/cnn.py:fashion      Fashion-MNIST, pictures of clothes
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
    """Digits of 8 × 8 pixels: there on every machine. They are few, so each is shown a little moved and turned."""
    c.epochs = 25.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.digits'),
        transforms=spec('data.transforms.standard', crop_padding=1, rotate=10.0),
    )
    c.model = spec('models.cnn', dropout=0.3, norm=True)
    c.optimizer = spec('optim.muon', learning_rate=4e-3, schedule=spec('schedules.cosine', warmup=50, final=0.0))
    c.average = 0.99
    c.checkpoint.every = 400
    c.evaluate.every = 200
    c.log.every = 20


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 40
    c.average = 0.0
    c.model.update(dropout=0.0)
    c.checkpoint.every = 20
    c.evaluate.every = 20


def mnist(c: ConfigDict) -> None:
    """28 × 28 pixels, 60,000 pictures."""
    c.epochs = 12.0
    c.batch_size = 128
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.tfds', set='mnist'),
        transforms=spec('data.transforms.standard', crop_padding=2),
    )
    c.model = spec('models.cnn', dropout=0.4, norm=True)
    c.optimizer = spec('optim.adamw', learning_rate=2e-3, schedule=spec('schedules.cosine', warmup=100, final=0.0))
    c.average = 0.999
    c.checkpoint.every = 1000
    c.evaluate.every = 500
    c.log.every = 50


def fashion(c: ConfigDict) -> None:
    """As large as MNIST, and harder: a third convolution, and twice as long; a mirrored shirt is a shirt."""
    mnist(c)
    c.epochs = 25.0
    c.model.widths = (32, 64, 128)
    c.data.source.set = 'fashion_mnist'
    c.data.transforms.flip = True


SIZES = {'default': default, 'tiny': tiny, 'mnist': mnist, 'fashion': fashion}
