"""Residual networks (He et al. 2015): what a block adds is learned, so a hundred layers train as well as ten.

python -m jaxlab.main --config=configs/resnet.py                scikit-learn's handwritten digits, in some minutes
python -m jaxlab.main --config=configs/resnet.py:cifar10_8      CIFAR-10 with 8 layers (see `prepare`)
python -m jaxlab.main --config=configs/resnet.py:cifar10_20     … 20, 32, 44, 56, 110, as in the paper
python -m jaxlab.main --config=configs/resnet.py:imagenet_50    ImageNet with 50 layers … 18, 34, 101, 152
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
    """Digits of 8 × 8 pixels: there on every machine."""
    c.epochs = 20.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.digits'),
        transforms=spec('data.transforms.standard', crop_padding=1, rotate=10.0),
    )
    c.model = spec('models.resnet', depth=8)
    c.optimizer = spec('optim.adamw', learning_rate=4e-3, schedule=spec('schedules.cosine', warmup=20, final=0.0))
    c.average = 0.99
    c.checkpoint.every = 200
    c.evaluate.every = 100
    c.log.every = 20


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 30
    c.average = 0.0
    c.model.update(blocks=(1, 1), width=8)
    c.checkpoint.every = 10
    c.evaluate.every = 10


def _cifar10(depth: int):
    """The paper's recipe: momentum, and rates that fall twice; pictures are moved by up to 4 pixels and mirrored."""

    def size(c: ConfigDict) -> None:
        c.epochs = 180.0
        c.batch_size = 128
        c.data = spec(
            'data.pictures',
            source=spec('data.sources.tfds', set='cifar10'),
            transforms=spec('data.transforms.standard', crop_padding=4, flip=True),
        )
        c.model = spec('models.resnet', depth=depth)
        c.optimizer = spec(
            'optim.nesterov', learning_rate=0.1, weight_decay=1e-4, schedule=spec('schedules.cosine', warmup=400)
        )
        c.checkpoint.every = 2000
        c.evaluate.every = 1000
        c.log.every = 100

    return size


def cifar10_8(c: ConfigDict) -> None:
    """What two cores train in half an hour, on a fifth of CIFAR-10 or less."""
    _cifar10(8)(c)
    c.epochs = 60.0
    c.batch_size = 64
    c.optimizer = spec('optim.adamw', learning_rate=4e-3, schedule=spec('schedules.cosine', warmup=200, final=0.0))
    c.average = 0.999
    c.checkpoint.every = 1000
    c.evaluate.every = 500


def _imagenet(depth: int):
    """Goyal et al. 2017: 90 epochs, a rate that grows with the batch, blocks that begin as their shortcuts."""

    def size(c: ConfigDict) -> None:
        c.epochs = 90.0
        c.batch_size = 1024
        c.data = spec(
            'data.pictures',
            source=spec('data.sources.tfds', set='imagenet2012'),
            processor=spec('data.processors.picture', size=224, resize=256),
            transforms=spec('data.transforms.standard', random_resized_crop=0.08, flip=True),
        )
        c.model = spec('models.resnet', depth=depth, zero_init=True)
        c.task.label_smoothing = 0.1
        c.evaluate.scores = ('accuracy', 'top_five', 'cross_entropy')
        c.optimizer = spec(
            'optim.nesterov', learning_rate=0.4, weight_decay=5e-5, schedule=spec('schedules.cosine', warmup=6000)
        )
        c.checkpoint.every = 5000
        c.evaluate.every = 5000
        c.log.every = 100

    return size


SIZES = {
    'default': default,
    'tiny': tiny,
    'cifar10_8': cifar10_8,
    **{f'cifar10_{depth}': _cifar10(depth) for depth in (20, 32, 44, 56, 110)},
    **{f'imagenet_{depth}': _imagenet(depth) for depth in (18, 34, 50, 101, 152)},
}
