"""A DCGAN: two networks play against each other, and one of them learns to make pictures (Radford et al. 2015).

python -m jaxlab.main --config=configs/gan.py              scikit-learn's handwritten digits
python -m jaxlab.main --config=configs/gan.py:mnist        MNIST, digit by digit (see `prepare`)
python -m jaxlab.main --config=configs/gan.py:fashion      Fashion-MNIST, pictures of clothes
python -m jaxlab.main --config=configs/gan.py:cifar10      CIFAR-10; for a GPU
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.gan', loss='hinge', fake_labels='data')
    c.evaluate.scores = ('believed',)
    c.evaluate.batches = 0  # all of the validation part: it is small
    c.best.score = ''  # no number of a game between two says which evaluation is the best
    c.average = 0.999
    pick(size, SIZES)(c)
    return c


def _adam(learning_rate: float) -> ConfigDict:
    """Adam as Miyato et al. 2018 and Zhang et al. 2018 take it for GANs: without a memory of where gradients pointed
    before the other network moved, and with nothing clipped."""
    return spec(
        'optim.adam',
        learning_rate=learning_rate,
        beta1=0.0,
        beta2=0.9,
        clip=0.0,
        schedule=spec('schedules.constant', warmup=0),
    )


def default(c: ConfigDict) -> None:
    """Digits of 8 × 8 pixels: there on every machine."""
    c.steps = 5000
    c.batch_size = 64
    c.data = spec('data.pictures', source=spec('data.sources.digits'))
    c.model = spec('models.dcgan', noise=64, width=32)
    # Two rates (Heusel et al. 2017), one four times the other, as in Zhang et al. 2018, and both twice as high as
    # there, since the run is short. With one rate, and beta1=0.5, all pictures of a class became the same.
    c.optimizer = _adam(2e-4)
    c.discriminator_optimizer = _adam(8e-4)
    c.checkpoint.every = 1000
    c.evaluate.every = 500
    c.log.every = 20
    c.log.sample_every = 500


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.steps = 20
    c.batch_size = 16
    c.average = 0.9
    c.model.update(noise=8, width=8)
    c.checkpoint.every = 10
    c.evaluate.every = 10
    c.log.every = 5
    c.log.sample_every = 10


def mnist(c: ConfigDict) -> None:
    """28 × 28 pixels, 60,000 pictures: 35 minutes on one busy core."""
    default(c)
    c.steps = 8000
    c.data = spec('data.pictures', source=spec('data.sources.tfds', set='mnist'))
    c.model = spec('models.dcgan', noise=128, width=32)
    c.checkpoint.every = 1000
    c.evaluate.every = 2000
    c.evaluate.batches = 16
    c.log.every = 50
    c.log.sample_every = 1000


def fashion(c: ConfigDict) -> None:
    """As large as MNIST; a mirrored shirt is a shirt, but which way shoes point is the same in all pictures."""
    mnist(c)
    c.data.source.set = 'fashion_mnist'


def cifar10(c: ConfigDict) -> None:
    """32 × 32 pixels in colour; the sizes of the paper, and of Miyato et al. 2018: hours on a GPU."""
    mnist(c)
    c.steps = 100_000
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.tfds', set='cifar10'),
        transforms=spec('data.transforms.standard', flip=True),
    )
    c.model = spec('models.dcgan', noise=128, width=64)
    c.optimizer = _adam(1e-4)
    c.discriminator_optimizer = _adam(4e-4)
    c.average = 0.9999


SIZES = {'default': default, 'tiny': tiny, 'mnist': mnist, 'fashion': fashion, 'cifar10': cifar10}
