"""The multilayer perceptron (Rumelhart, Hinton and Williams 1986): pixels or columns, some dense layers, an answer.

In a notebook:

    model = make({'shape': [28, 28, 1], 'classes': 10}, widths=(256,))
    params = model.init(jax.random.key(0), pictures)['params']
    logits = model.apply({'params': params}, pictures)
"""

# b batch, i inputs, d width of the last hidden layer, o outputs

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from jaxlab.models.arguments import between, one_of, outputs, shares, whole_numbers
from jaxlab.nn.linear import Linear
from jaxlab.parallel.layout import constrain

ACTIVATIONS = {'relu': nn.relu, 'gelu': nn.gelu, 'tanh': jnp.tanh, 'sigmoid': nn.sigmoid}


class MLP(nn.Module):
    """[b …] -> float32 [b o]. `make`, below, explains the fields."""

    takes = ('inputs',)

    widths: tuple[int, ...]
    outputs: int
    activation: str
    dropout: float
    dtype: Dtype
    param_dtype: Dtype

    def setup(self):
        linear = partial(Linear, dtype=self.dtype, param_dtype=self.param_dtype)
        # Megatron's way: a device has some columns of one kernel and the same rows of the next. FSDP splits those too.
        ends = [('inputs', 'hidden') if i % 2 == 0 else ('hidden', 'inputs') for i in range(len(self.widths))]
        he = nn.initializers.he_normal()
        self.layers = [
            linear(width, axes, axes[1], he, name=f'layer_{i}')
            for i, (width, axes) in enumerate(zip(self.widths, ends, strict=True))
        ]
        self.dropouts = nn.Dropout(self.dropout)
        last = ends[-1][1] if ends else 'hidden'  # without a hidden layer the pixels are split
        self.head = linear(self.outputs, (last, 'classes'), 'classes')

    def features(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        """What the head sees, [b d]."""
        x = inputs.reshape(len(inputs), -1).astype(self.dtype)
        for i, layer in enumerate(self.layers):
            x = constrain(ACTIVATIONS[self.activation](layer(x)), 'batch', 'inputs' if i % 2 else 'hidden')
            x = self.dropouts(x, deterministic=not train)
        return x

    def __call__(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        """inputs float [b …] -> float32 [b o]. With `train` dropout is on, and wants `rngs={'dropout': key}`."""
        return self.head(self.features(inputs, train=train)).astype(jnp.promote_types(self.dtype, jnp.float32))


def make(
    info: Mapping[str, Any],
    dtype: Dtype = jnp.float32,
    param_dtype: Dtype = jnp.float32,
    *,
    widths: tuple = (256,),  # of the hidden layers; () is softmax (or linear) regression
    activation: str = 'relu',  # 'relu', 'gelu', 'tanh' or 'sigmoid'
    dropout: float = 0.0,  # the part of what each hidden layer says that is dropped in training
    classes: int = 0,  # outputs; 0: as many as the data have classes, or 1 where they have numbers
) -> MLP:
    """Returns the model.

    Args:
      info: what the data say of themselves: 'shape' and 'classes'.
      dtype: of activations; outputs are in float32 at least.
      param_dtype: of parameters.
      **others: the shape of the model, each explained above.

    Raises:
      UserError: a value is out of range.
    """
    whole_numbers(widths=widths)
    between(1, 1 << 24, **{f'widths[{n}]': width for n, width in enumerate(widths)})
    one_of('activation', activation, ACTIVATIONS)
    shares(dropout=dropout)
    return MLP(tuple(widths), outputs(classes, info), activation, dropout, dtype, param_dtype)
