"""A tiny model of texts, as a module of the user's own: tokens, their neighbours and their types, one layer, an answer.

Enough to learn which words make a class, a tag or the ends of an answer, in seconds; a config names it as
spec('models.tests.words', head='classes'), and jaxlab.load(workdir, allow_import=['tests']) reads it.
"""

# b rows, t tokens, d width, o outputs

import flax.linen as nn
import jax.numpy as jnp


class Words(nn.Module):
    takes = ('tokens', 'types', 'lengths')

    vocabulary: int
    outputs: int
    width: int
    head: str

    @nn.compact
    def __call__(self, tokens, types, lengths, *, train=False):
        real = (jnp.arange(tokens.shape[1]) < lengths[:, None])[..., None]
        x = nn.Embed(self.vocabulary, self.width, name='words')(tokens) + nn.Embed(2, self.width, name='types')(types)
        x = x * real
        if self.head == 'classes':
            return nn.Dense(self.outputs, name='head')(x.sum(1) / jnp.maximum(lengths, 1)[:, None])
        around = jnp.concatenate([jnp.roll(x, by, 1) for by in range(-2, 3)], -1)
        mean = jnp.broadcast_to(x.sum(1, keepdims=True), x.shape)
        hidden = nn.tanh(nn.Dense(4 * self.width, name='layer')(jnp.concatenate([around, mean], -1)))
        return nn.Dense(self.outputs, name='head')(hidden)


def make(info, dtype=jnp.float32, param_dtype=jnp.float32, *, width: int = 16, head: str = 'classes'):
    outputs = 2 if head == 'span' else info['classes']
    return Words(info['vocabulary'], outputs, width, head)
