"""The main job: a decoder-only transformer that learns to write Python from the standard library's own source text.

python -m jaxlab.main --config=configs/transformer.py               a few minutes on two cores
python -m jaxlab.main --config=configs/transformer.py:small         about half an hour on two cores
python -m jaxlab.main --config=configs/transformer.py:moe           a mixture of experts
… --config.data.path=my_texts/                                      your own .txt or .jsonl files instead
… --config=configs/transformer.py:gpt2 --config.data.processor.path=gpt2_vocabulary/         published sizes
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
    """Learns what Python looks like while you watch."""
    c.steps = 360  # about half an epoch
    c.batch_size = 16  # 4,096 tokens: half a second a step
    c.data = spec('data.text', length=256, processor=spec('data.processors.bpe', vocabulary=2048))
    c.model = spec('models.gpt', layers=4, width=192, heads=4, vocabulary_multiple=64)  # 2.2 M parameters
    c.optimizer = spec(
        'optim.muon',  # AdamW for the tables, orthogonal updates for the matrices
        learning_rate=4e-3,
        schedule=spec('schedules.cosine', warmup=20, final=0.0),  # ends at 0: the last steps gain the most
    )
    c.checkpoint.every = 120
    c.evaluate.every = 120
    c.log.sample_every = 60  # the first after half a minute


def tiny(c: ConfigDict) -> None:
    """For tests: seconds. No dropout, since every draw of random numbers takes its time to compile."""
    c.steps = 200
    c.batch_size = 8
    c.data = spec('data.text', length=64, processor=spec('data.processors.bytes'))  # bytes need no learning
    c.model = spec('models.gpt', layers=2, width=64, heads=8, vocabulary_multiple=64)
    c.optimizer = spec('optim.adamw', learning_rate=3e-3, schedule=spec('schedules.cosine', warmup=10))
    c.steps_per_call = 10  # its steps take less time than to start them
    c.average = 0.9  # short memory for a short run
    c.checkpoint.every = 50
    c.evaluate.every = 100
    c.evaluate.batches = 4
    c.log.sample_every = 100
    c.log.sample_tokens = 32


def small(c: ConfigDict) -> None:
    """Sized for half an hour on two cores that do nothing else."""
    default(c)
    c.steps = 1200  # about two epochs
    c.model.update(layers=6, width=256)  # 5.3 M parameters
    c.checkpoint.every = 200
    c.evaluate.every = 200
    c.log.sample_every = 200


def moe(c: ConfigDict) -> None:
    """A mixture of experts (Mixtral, arXiv:2401.04088): the arithmetic of `default`, with 5.8 M parameters."""
    default(c)
    c.model.update(
        experts=8,  # a device of a mesh may have 1, 2, 4 or all of them: --config.mesh.expert=4
        experts_per_token=2,  # one would leave routers little to compare
        mlp_width=384,  # half of what `default` has: two of them are as much
        capacity_factor=2.0,  # after 60 steps 1 % of the choices found no place; with 1.0, of an even spread, 18 %
    )


def _gpt2(layers: int, width: int, heads: int):
    """GPT-2 (Radford et al. 2019); its vocabulary is a folder with encoder.json and vocab.bpe."""

    def size(c: ConfigDict) -> None:
        c.steps = 600_000
        c.batch_size = 512
        c.data = spec('data.text', length=1024, processor=spec('data.processors.published'))
        c.model = spec(
            'models.gpt', layers=layers, width=width, heads=heads, vocabulary_multiple=128, dropout=0.0, remat='dots'
        )
        c.optimizer = spec('optim.adamw', learning_rate=6e-4, schedule=spec('schedules.cosine', warmup=2000))
        c.checkpoint.every = 2000
        c.evaluate.every = 2000
        c.log.sample_every = 2000

    return size


def _llama(layers: int, width: int, heads: int, mlp_width: int, vocabulary_multiple: int = 1):
    """Llama 3 (arXiv:2407.21783); its vocabulary is a folder with tokenizer.json."""

    def size(c: ConfigDict) -> None:
        c.steps = 500_000
        c.batch_size = 1024
        c.data = spec('data.text', length=8192, processor=spec('data.processors.published'))
        c.model = spec(
            'models.gpt',
            layers=layers,
            width=width,
            heads=heads,
            kv_heads=8,
            mlp_width=mlp_width,
            vocabulary=128256,
            vocabulary_multiple=vocabulary_multiple,
            positions='rotary',
            rotary_base=500000.0,
            norm='rms',
            activation='swiglu',
            bias=False,
            tied=False,
            scan=True,  # one compiled layer instead of dozens
            remat='full',
        )
        c.optimizer = spec('optim.adamw', learning_rate=3e-4, schedule=spec('schedules.cosine', warmup=2000))
        c.checkpoint.every = 2000
        c.evaluate.every = 2000
        c.log.sample_every = 0

    return size


SIZES = {
    'default': default,
    'tiny': tiny,
    'small': small,
    'moe': moe,
    'gpt2': _gpt2(layers=12, width=768, heads=12),
    'gpt2_medium': _gpt2(layers=24, width=1024, heads=16),
    'gpt2_large': _gpt2(layers=36, width=1280, heads=20),
    'gpt2_xl': _gpt2(layers=48, width=1600, heads=25),
    'llama_8b': _llama(layers=32, width=4096, heads=32, mlp_width=14336),
    'llama_70b': _llama(layers=80, width=8192, heads=64, mlp_width=28672, vocabulary_multiple=512),  # of 512 chips
}
