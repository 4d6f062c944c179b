"""The vision transformer (Dosovitskiy et al. 2020): a picture is cut into patches, and read like a text.

python -m jaxlab.main --config=configs/vit.py                 scikit-learn's handwritten digits, in some minutes
python -m jaxlab.main --config=configs/vit.py:mnist           MNIST (see `prepare`)
python -m jaxlab.main --config=configs/vit.py:imagenet_s      ImageNet by DeiT's recipe: ti, s, b, l
python -m jaxlab.main --config=configs/vit.py:finetune --config.init_from=hf:google/vit-base-patch16-224 …
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
    """Digits of 8 × 8 pixels as 16 words. Nothing tells a transformer what is near what, so it wants to see much."""
    c.epochs = 50.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.digits'),
        transforms=spec('data.transforms.standard', crop_padding=1, rotate=10.0),
    )
    c.model = spec('models.vit', layers=4, width=64, heads=4, patch=2, pool='mean', init_scale=0.1)
    c.optimizer = spec(
        'optim.muon', learning_rate=4e-3, schedule=spec('schedules.cosine', warmup=50, final=0.0)
    )  # at 30 epochs AdamW was at 0.91, Muon at 0.96
    c.average = 0.99
    c.checkpoint.every = 400
    c.evaluate.every = 200
    c.log.every = 50


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    default(c)
    c.epochs = 0.0
    c.steps = 30
    c.average = 0.0
    c.model.update(layers=2, width=32, patch=4, dropout=0.0)
    c.optimizer.schedule.warmup = 5
    c.checkpoint.every = 10
    c.evaluate.every = 10
    c.log.every = 10


def mnist(c: ConfigDict) -> None:
    """28 × 28 pixels as 49 words."""
    default(c)
    c.epochs = 20.0
    c.batch_size = 128
    c.data.source = spec('data.sources.tfds', set='mnist')
    c.data.transforms = spec('data.transforms.standard', crop_padding=2)
    c.model = spec('models.vit', layers=6, width=96, heads=4, patch=4, pool='mean', dropout=0.1)
    c.checkpoint.every = 1000
    c.evaluate.every = 1000


def _imagenet(width: int, layers: int, heads: int, stochastic_depth: float):
    """DeiT's recipe (Touvron et al. 2021): no more data than ImageNet, but much that is done to it."""

    def size(c: ConfigDict) -> None:
        c.epochs = 300.0
        c.batch_size = 1024
        c.data = spec(
            'data.pictures',
            source=spec('data.sources.tfds', set='imagenet2012'),
            processor=spec('data.processors.picture', size=224, resize=256, interpolation='bicubic'),
            transforms=spec('data.transforms.standard', random_resized_crop=0.08, flip=True, rand_augment=2),
        )
        c.task.update(label_smoothing=0.1, mixup=0.8)
        c.model = spec('models.vit', width=width, layers=layers, heads=heads, stochastic_depth=stochastic_depth)
        c.evaluate.scores = ('accuracy', 'top_five', 'cross_entropy')
        c.optimizer = spec(
            'optim.adamw', learning_rate=1e-3, weight_decay=0.05, schedule=spec('schedules.cosine', warmup=6000)
        )
        c.checkpoint.every = 5000
        c.evaluate.every = 5000
        c.log.every = 100

    return size


def finetune(c: ConfigDict) -> None:
    """Published weights and pictures of your own: --config.data.source.path=pictures/, a folder for each class.

    Layers near the picture know already what they need: their rates are smaller (Clark et al. 2020).
    """
    c.init_new_head = True
    c.epochs = 10.0
    c.batch_size = 64
    c.data = spec(
        'data.pictures',
        source=spec('data.sources.image_folder'),
        processor=spec('data.processors.picture', size=224),
        transforms=spec('data.transforms.standard', random_resized_crop=0.5, flip=True),
    )
    c.model = spec('models.vit', width=768, heads=12, norm_epsilon=1e-12)
    layers = [(rf'stack/layer_{i}/.*', {'learning_rate': 3e-4 * 0.75 ** (12 - i)}) for i in range(12)]
    c.optimizer = spec(
        'optim.adamw', learning_rate=3e-4, weight_decay=0.05, schedule=spec('schedules.cosine', warmup=100, final=0.0)
    )
    c.optimizer.groups = (*layers, (r'(?!head/|stack/).*', {'learning_rate': 3e-4 * 0.75**13}))
    c.checkpoint.every = 500
    c.evaluate.every = 100
    c.log.every = 10


SIZES = {
    'default': default,
    'tiny': tiny,
    'mnist': mnist,
    'imagenet_ti': _imagenet(192, 12, 3, 0.0),
    'imagenet_s': _imagenet(384, 12, 6, 0.1),
    'imagenet_b': _imagenet(768, 12, 12, 0.2),
    'imagenet_l': _imagenet(1024, 24, 16, 0.3),
    'finetune': finetune,
}
