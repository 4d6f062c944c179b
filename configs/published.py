"""A published language model, trained further on texts of your own: GPT-2, Llama 2 to 3.2, from a folder or the hub.

python -m jaxlab.main --config=configs/published.py:hf:openai-community/gpt2 --config.data.path=my_texts
python -m jaxlab.main --config=configs/published.py:my_folder --config.data.path=my_texts
(a folder has model.safetensors, config.json, and tokenizer.json or vocab.json and merges.txt)
"""

from ml_collections import ConfigDict

from jaxlab import published
from jaxlab.config import experiment, pick, spec


def get_config(size: str = 'default') -> ConfigDict:
    if size in SIZES:
        c = experiment()
        c.task = spec('tasks.language_model')
        pick(size, SIZES)(c)
    else:
        c = published.config(size)
    schedule(c)
    return c


def schedule(c: ConfigDict) -> None:
    """Further training is short, and its steps are small."""
    c.steps = 400
    c.batch_size = 4
    c.optimizer = spec('optim.adamw', learning_rate=5e-5, schedule=spec('schedules.cosine', warmup=20))
    c.evaluate.scores = ('perplexity', 'bits_per_byte', 'accuracy')
    c.checkpoint.every = 200
    c.evaluate.every = 100
    c.log.sample_every = 200


def default(c: ConfigDict) -> None:
    """GPT-2 (124 M parameters), as the hub has it."""
    c.init_from = 'hf:openai-community/gpt2'
    c.data = spec('data.text', length=1024, processor=spec('data.processors.published', path=c.init_from))
    c.model = spec('models.gpt', layers=12, width=768, heads=12, context=1024, vocabulary=50257, dropout=0.1)


def tiny(c: ConfigDict) -> None:
    """For tests: of this shape, and not published."""
    c.data = spec('data.text', length=64, processor=spec('data.processors.bytes'))
    c.model = spec('models.gpt', layers=2, width=64, heads=8)


SIZES = {'default': default, 'tiny': tiny}
