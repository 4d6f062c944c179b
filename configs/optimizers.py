"""A race of all optimizers: one task, one model, the same batches and steps, each with the rate that suits it best.

python -m jaxlab.main --config=configs/optimizers.py                a few minutes on two cores; a table at the end
python -m jaxlab.main --config=configs/optimizers.py:lion           one of them alone
… --config.steps=1000 --config.optimizer.schedule.name=plateau      a change for all of them

Full-batch gradient descent is not among them: one of its steps reads twenty-seven times what the others read in all of
theirs. It is `--config.optimizer.name=gradient_descent --config.full_batch=true` of any config.
"""

from ml_collections import ConfigDict

from jaxlab.config import experiment, pick, spec

# Learning rates: the best on the held-out part of those that launch/bench/optimizers.py tries.
RATES = {
    'sgd': 0.3,
    'momentum': 0.1,
    'nesterov': 0.1,
    'adagrad': 3e-3,
    'rmsprop': 1e-3,
    'adam': 3e-3,
    'adamw': 3e-3,
    'adafactor': 0.1,
    'lamb': 0.01,
    'lion': 3e-4,
    'muon': 0.03,
}


def get_configs(size: str = 'default') -> dict[str, ConfigDict]:
    return {name: _racer(name, size) for name in RATES}


def _racer(name: str, size: str) -> ConfigDict:
    c = experiment()
    c.task = spec('tasks.language_model')
    c.evaluate.scores = ('perplexity', 'bits_per_byte', 'accuracy')
    c.log.sample_every = 0  # nothing here writes well
    c.checkpoint.keep = 1
    pick(size, SIZES)(c)
    rise = c.steps // 10
    c.optimizer = spec(
        f'optim.{name}', learning_rate=RATES[name], schedule=spec('schedules.cosine', warmup=rise, final=0.0)
    )
    return c


def default(c: ConfigDict) -> None:
    """Small enough that a dozen of them train while you watch."""
    c.steps = 300
    c.batch_size = 8
    c.data = spec('data.text', length=128, processor=spec('data.processors.bytes'))  # 0.3 MB of it, a byte a token
    c.model = spec('models.gpt', layers=2, width=128, heads=4, vocabulary_multiple=64)  # 0.4 M parameters
    c.checkpoint.every = 150
    c.evaluate.every = 100
    c.evaluate.batches = 64


def tiny(c: ConfigDict) -> None:
    """For tests: seconds."""
    c.steps = 20
    c.batch_size = 8
    c.data = spec('data.text', length=32, processor=spec('data.processors.bytes'))
    c.model = spec('models.gpt', layers=1, width=32, heads=8, vocabulary_multiple=64)
    c.checkpoint.every = 10
    c.evaluate.every = 10
    c.evaluate.batches = 4


SIZES = {'default': default, 'tiny': tiny}
