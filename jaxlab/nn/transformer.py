"""The transformer block, and a stack of them."""

# b batch, t time of the queries, s time of the keys, d width

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.scope import LazyRng, is_filter_empty, subtract_filters
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from jaxlab.nn.attention import QUERY_KEY_VALUE, WEIGHTS, KeysValues, Mask
from jaxlab.nn.dropout import Dropout
from jaxlab.nn.experts import ROUTING
from jaxlab.nn.ring_attention import RING, Sight
from jaxlab.nn.stochastic_depth import StochasticDepth, rates
from jaxlab.parallel import pipeline
from jaxlab.parallel.layout import constrain, path_name, splits, unbox

ATTENDED = 'attended'  # what attention adds to the residual stream, as policies call it

# What `remat` names: that which is kept of a block, from least to most; 'offload' keeps it in the memory of the host.
POLICIES: dict[str, Any] = {
    'full': None,
    'attention': jax.checkpoint_policies.save_only_these_names(*QUERY_KEY_VALUE, *RING, ATTENDED),
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
        mask: Mask,
        cache: KeysValues | None = None,
        index: jax.Array | int = 0,
        train: bool = False,
        depth_rate: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, KeysValues]:
        """x [b t d], positions [b t], mask [b t s] -> x [b t d] and the keys and values of this layer.

        In training each half is left out of a part `depth_rate` of the rows.
        """
        parts = Dropout(self.dropout)
        rows = StochasticDepth()

        def dropout(h: jax.Array) -> jax.Array:
            return rows(parts(h, train), depth_rate, train)

        def as_it_is(x: jax.Array) -> jax.Array:
            return x

        def norms(name: str) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
            """Returns what is done to what one half is fed, and to the sum."""
            norm = self.norm(name=name)
            return (norm, as_it_is) if self.norm_first else (as_it_is, norm)

        def whole(h: jax.Array) -> jax.Array:
            return constrain(h, 'batch', 'length', 'embed')

        def in_parts(x: jax.Array) -> jax.Array:
            return constrain(x, 'batch', 'residual_length', 'embed')

        # On a tensor mesh rows are put together before each half, and what its devices found is added up after it.
        before, after = norms('attention_norm')
        h, keys_values = self.attention(name='attention')(whole(before(x)), positions, mask, cache, index)
        x = in_parts(after(x + dropout(checkpoint_name(whole(h), ATTENDED))))
        before, after = norms('mlp_norm')
        h = whole(self.mlp(name='mlp')(whole(before(x)), train, isinstance(mask, Sight)))
        return in_parts(after(x + dropout(h))), keys_values


def listened_to(module: nn.Module, besides: str) -> bool:
    """Whether what a module does inside may be wanted outside, since a collection is mutable that is not `besides`."""
    return module.scope is not None and not is_filter_empty(subtract_filters(module.scope.mutable, besides))


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
    micro_batches: where the mesh has stages, and the stack is scanned: into how many parts they cut the rows in
      training; see `pipeline.check`. With a cache, or where somebody looks into the layers, each of them is gathered
      from its stage, and there is no pipeline; so it is with experts on a mesh of context, who want to see whole rows.
    """

    block: Callable[..., nn.Module]
    layers: int
    scan: bool = False
    remat: str = 'none'
    stochastic_depth: float = 0.0
    micro_batches: int = 0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: Mask,
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
            each = jnp.array(depth_rates, jnp.promote_types(x.dtype, jnp.float32)) if self.stochastic_depth else 0.0
            if pipeline.stages() > 1 and cache is None:
                if self.is_initializing():
                    pipeline.check(self.layers, len(x), self.micro_batches)  # of shapes, before anything compiles
                elif not listened_to(self, besides=ROUTING) and not self._wants_rows():
                    return self._in_stages(x, positions, mask, train, each), None
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
                check_constancy_invariants=False,  # or it is traced twice, and dropout has the keys of the second time
            )
            return run(self.block(name='layers'), x, cache, each)
        caches = []
        for i in range(self.layers):
            x, kept = run(self.block(name=f'layer_{i}'), x, None if cache is None else cache[i], depth_rates[i])
            caches.append(kept)
        return x, None if cache is None else tuple(caches)

    def _wants_rows(self) -> bool:
        """Whether there are experts, and a ring of devices that have a part of each row."""
        layers = jax.tree_util.tree_leaves_with_path(self.variables['params']['layers'])
        return splits('length') > 1 and any(_of_experts(path) for path, _ in layers)

    def _in_stages(
        self, x: jax.Array, positions: jax.Array, mask: Mask, train: bool, depth_rates: jax.Array | float
    ) -> jax.Array:
        """`__call__` where stages of the mesh have some of the layers each: the same parameters, keys and numbers."""
        assert self.scope is not None
        block = self.block(parent=None)
        layers = {'params': unbox(self.variables['params']['layers'])}
        if self.has_rng('dropout'):
            keys = LazyRng.create(self.scope.rngs['dropout'], 'layers')  # that of `nn.scan`, which splits it like this
            layers['key'] = jax.tree.map(partial(jax.random.split, num=self.layers), keys)
        if self.stochastic_depth:
            layers['depth_rate'] = depth_rates
        over_experts, over_stages = PartitionSpec(pipeline.STAGE, pipeline.EXPERT), PartitionSpec(pipeline.STAGE)
        shares = jax.tree_util.tree_map_with_path(
            lambda path, _: over_experts if _of_experts(path) else over_stages, layers
        )
        asked = [ROUTING] if self.is_mutable_collection(ROUTING) else []
        seen, form = jax.tree.flatten((positions, mask))

        def run(x: jax.Array, layer: dict[str, Any], *seen: jax.Array) -> tuple[jax.Array, Any]:
            positions, mask = jax.tree.unflatten(form, seen)
            more = (layer['depth_rate'],) if self.stochastic_depth else ()
            rngs = {'dropout': layer['key']} if 'key' in layer else {}
            given = x, positions, mask, None, 0, train, *more
            (x, _), told = block.apply({'params': layer['params']}, *given, rngs=rngs, mutable=asked)
            return x, told

        if self.remat != 'none':
            run = jax.checkpoint(run, policy=POLICIES[self.remat], prevent_cse=False)
        wanted = self.micro_batches if train else 0  # of other batches there may be fewer rows
        x, told = pipeline.pipelined(run, layers, x, *seen, micro_batches=wanted, shares=shares)
        if ROUTING in told:
            self.sow(ROUTING, 'layers', told[ROUTING])
        return x


def _of_experts(path: Any) -> bool:
    """Whether a parameter of a block is one of those that its experts have each."""
    return 'experts' in path_name(path).split('/')
