"""The transformer block, and a stack of them."""

# b batch, t time of the queries, s time of the keys, d width

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxlab.nn.attention import QUERY_KEY_VALUE, WEIGHTS, KeysValues
from jaxlab.nn.experts import ROUTING
from jaxlab.nn.stochastic_depth import StochasticDepth, rates
from jaxlab.parallel.layout import constrain

ATTENDED = 'attended'  # what attention adds to the residual stream, as policies call it

# What `remat` names: that which is kept of a block, from least to most; 'offload' keeps it in the memory of the host.
POLICIES: dict[str, Any] = {
    'full': None,
    'attention': jax.checkpoint_policies.save_only_these_names(*QUERY_KEY_VALUE, ATTENDED),
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'offload': jax.checkpoint_policies.offload_dot_with_no_batch_dims('device', 'pinned_host'),
}


class Block(nn.Module):
    """Attention, then an MLP, each added to what was there.

    norm_first: whether each is fed a normalised copy of it ("pre-norm": GPT-2, Llama, ViT); else the sum is normalised
      ("post-norm": the first transformer, BERT).

    The parts come as factories, `attention(name=…)` and so on, so that a block of other parts is the same block.
    Dropout falls on what the two halves add, not on attention weights: fused attention kernels have no place for it.
    """

    norm: Callable[..., nn.Module]
    attention: Callable[..., nn.Module]
    mlp: Callable[..., nn.Module]
    dropout: float = 0.0
    norm_first: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        cache: KeysValues | None = None,
        index: jax.Array | int = 0,
        train: bool = False,
        depth_rate: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, KeysValues]:
        """x [b t d], positions [b t], mask [b t s] -> x [b t d] and the keys and values of this layer.

        In training each half is left out of a part `depth_rate` of the rows.
        """
        parts = nn.Dropout(self.dropout, deterministic=not train)
        rows = StochasticDepth()

        def dropout(h: jax.Array) -> jax.Array:
            return rows(parts(h), depth_rate, train)

        def as_it_is(x: jax.Array) -> jax.Array:
            return x

        def norms(name: str) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
            """Returns what is done to what one half is fed, and to the sum."""
            norm = self.norm(name=name)
            return (norm, as_it_is) if self.norm_first else (as_it_is, norm)

        before, after = norms('attention_norm')
        h, keys_values = self.attention(name='attention')(before(x), positions, mask, cache, index)
        x = constrain(after(x + dropout(checkpoint_name(h, ATTENDED))), 'batch', 'length', 'embed')
        before, after = norms('mlp_norm')
        h = self.mlp(name='mlp')(before(x), train)
        return constrain(after(x + dropout(h)), 'batch', 'length', 'embed'), keys_values


class Stack(nn.Module):
    """`layers` blocks one after another; `block(name=…)` makes one.

    scan: one compiled block runs over stacked parameters (`layers`, with a leading axis of that name), instead of
      `layer_0`, `layer_1`, … each compiled. Same numbers; deep models compile much faster, small ones run slower.
    stochastic_depth: the part of the rows that the last block is left out of in training; those before it less, down to
      0 for the first. Above 0, blocks are given their rate as one more argument.
    remat: what the backward pass computes again instead of keeping it. 'none': nothing; 'dots': all but the results of
      2-D matrix products (attention scores above all); 'attention': all but those of the attention half, since an MLP
      is the cheaper one to compute again for what it keeps; 'full': all but the block's input. 'offload': as 'dots',
      but the host keeps them: for deep models whose host has the memory, and is near.
    """

    block: Callable[..., nn.Module]
    layers: int
    scan: bool = False
    remat: str = 'none'
    stochastic_depth: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        cache: Any = None,
        index: jax.Array | int = 0,
        train: bool = False,
    ) -> tuple[jax.Array, Any]:
        """As a block. The cache holds a pair of keys and values for each layer; where scanned, one stacked pair."""

        def run(
            block: nn.Module, x: jax.Array, cache: KeysValues | None, depth_rate: jax.Array | float
        ) -> tuple[jax.Array, KeysValues | None]:
            more = (depth_rate,) if self.stochastic_depth else ()
            x, keys_values = block(x, positions, mask, cache, index, train, *more)
            return x, None if cache is None else keys_values  # in training nobody wants them: do not keep them all

        assert self.remat in ('none', *POLICIES), self.remat
        if self.remat != 'none':
            # prevent_cse keeps XLA from merging the second computation with the first; across a loop it could not.
            run = nn.remat(run, policy=POLICIES[self.remat], prevent_cse=not self.scan)
        depth_rates = rates(self.stochastic_depth, self.layers)
        if self.scan:
            run = nn.scan(
                run,
                length=self.layers,
                variable_axes={
                    'params': 0,
                    'intermediates': 0,
                    WEIGHTS: 0,
                    ROUTING: 0,
                },  # these exist only where one asks to see them
                split_rngs={'params': True, 'dropout': True},
                in_axes=(0, 0 if self.stochastic_depth else nn.broadcast),
                metadata_params={nn.PARTITION_NAME: 'layers'},
            )
            each = jnp.array(depth_rates, jnp.promote_types(x.dtype, jnp.float32)) if self.stochastic_depth else 0.0
            return run(self.block(name='layers'), x, cache, each)
        caches = []
        for i in range(self.layers):
            x, kept = run(self.block(name=f'layer_{i}'), x, None if cache is None else cache[i], depth_rates[i])
            caches.append(kept)
        return x, None if cache is None else tuple(caches)
