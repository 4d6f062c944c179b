"""EfficientNet (Tan and Le 2019): depth, width and resolution grow together, from B0 to B7.

python -m jaxlab.main --config=configs/efficientnet.py               scikit-learn's handwritten digits, in minutes
python -m jaxlab.main --config=configs/efficientnet.py:cifar10       CIFAR-10 (see `prepare`)
python -m jaxlab.main --config=configs/efficientnet.py:imagenet_b0   ImageNet: b0 … b7, each at its resolution
python -m jaxlab.main --config=configs/efficientnet.py:finetune --config.init_from=hf:google/efficientnet-b0 …
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec

RESOLUTIONS = (224, 240, 260, 300, 380, 456, 528, 600)  # pixels
DROPOUTS = (0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5)


def get_config(size: str = 'default') -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.classification')
    c.evaluate.scores = ('accuracy', 'cross_entropy')
    c.evaluate.batches = 0  # all of the validation part
    pick(size, SIZES)(c)
    return c


def default(c: ConfigDict) -> None:
    """Digits of 8 × 8 pixels, made larger: B0 halves a picture five times."""
    c.epochs = 15.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.digits'),
        processor=spec('data.processors.picture', size=32),
        transforms=spec('data.transforms.standard', crop_padding=3, rotate=10.0),
    )
    c.model = spec('models.efficientnet', width=0.25, depth=0.3, dropout=0.1, stochastic_depth=0.0, norm_momentum=0.9)
    c.optimizer = spec('optim.adamw', learning_rate=4e-3, schedule=spec('schedules.cosine', warmup=20, final=0.0))
    c.average = 0.99
    c.checkpoint.every = 100
    c.evaluate.every = 100
    c.log.every = 20


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 20
    c.average = 0.0
    c.data.processor.size = 16
    c.checkpoint.every = 10
    c.evaluate.every = 10
    c.log.every = 10


def cifar10(c: ConfigDict) -> None:
    """32 × 32 pixels, shown twice as large."""
    default(c)
    c.epochs = 60.0
    c.batch_size = 128
    c.data.source = spec('data.sources.tfds', set='cifar10')
    c.data.processor.size = 64
    c.data.transforms = spec('data.transforms.standard', crop_padding=8, flip=True)
    c.model = spec('models.efficientnet', norm_momentum=0.9)
    c.checkpoint.every = 1000
    c.evaluate.every = 1000


def _imagenet(number: int):
    """The paper's recipe, with AdamW in the place of RMSProp."""

    def size(c: ConfigDict) -> None:
        c.epochs = 350.0
        c.batch_size = 2048
        c.data = spec(
            'data.pictures',
            source=spec('data.sources.tfds', set='imagenet2012'),
            processor=spec(
                'data.processors.picture',
                size=RESOLUTIONS[number],
                resize=RESOLUTIONS[number] + 32,
                interpolation='bicubic',
            ),
            transforms=spec('data.transforms.standard', random_resized_crop=0.08, flip=True, rand_augment=2),
        )
        c.task.label_smoothing = 0.1
        c.model = spec('models.efficientnet', size=number, dropout=DROPOUTS[number])
        c.evaluate.scores = ('accuracy', 'top_five', 'cross_entropy')
        c.optimizer = spec(
            'optim.adamw', learning_rate=1e-3, weight_decay=0.05, schedule=spec('schedules.cosine', warmup=3000)
        )
        c.average = 0.9999
        c.checkpoint.every = 5000
        c.evaluate.every = 5000
        c.log.every = 100

    return size


def finetune(c: ConfigDict) -> None:
    """Published weights of B0 and pictures of your own: --config.data.source.path=pictures/, with a folder a class."""
    c.init_new_head = True
    c.epochs = 10.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.image_folder'),
        processor=spec('data.processors.picture', size=224),
        transforms=spec('data.transforms.standard', random_resized_crop=0.5, flip=True),
    )
    c.model = spec('models.efficientnet', norm_momentum=0.9)
    c.optimizer = spec('optim.adamw', learning_rate=5e-4, schedule=spec('schedules.cosine', warmup=100, final=0.0))
    c.optimizer.groups = ((r'(?!head/).*', {'learning_rate': 5e-5}),)  # what is new learns faster
    c.checkpoint.every = 500
    c.evaluate.every = 100
    c.log.every = 10


SIZES = {
    'default': default,
    'tiny': tiny,
    'cifar10': cifar10,
    **{f'imagenet_b{number}': _imagenet(number) for number in range(8)},
    'finetune': finetune,
}
