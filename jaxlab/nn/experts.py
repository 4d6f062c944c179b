"""A mixture of experts in place of a block's MLP: each token goes through a few of many (Shazeer et al. 2017).

Which ones, a router says (Switch, arXiv:2101.03961; Mixtral, arXiv:2401.04088). An expert has places for a fixed number
of tokens of each row, so that shapes are known before any token is (GShard, arXiv:2006.16668). They are counted row by
row: so what becomes of a row depends on no other row, no mesh, and no micro-batch. Mesh axis `expert` gives each device
some of the experts: tokens travel there and back by two all-to-alls.
"""

# b batch, r rows of it on one device, t time, d width, e experts, k of them for each token, c places in each for a row,
# l layers of a scanned stack, n devices that share out experts

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import meta
from flax.typing import Dtype, Initializer
from jax.sharding import PartitionSpec

from jaxlab.nn.linear import Linear
from jaxlab.nn.ring_attention import back_in_ring_order, row_order
from jaxlab.nn.ring_order import in_ring_order
from jaxlab.parallel import layout
from jaxlab.parallel.pipeline import EXPERT, exchanged

ROUTING = 'routing'  # the collection of what `losses` and `dropped` are made of


class Routing(NamedTuple):
    """What a layer tells of its router; in a scanned stack with a leading axis l."""

    logits: jax.Array  # [b t e], float32 at least
    kept: jax.Array  # bool [b t k]: whether the expert had a place


class Experts(nn.Module):
    """[b t d] -> [b t d]: the sum of what `chosen` of `experts` make of a token, weighed by the router.

    experts, chosen: e and k.
    expert: makes one that is no part of another module, `expert(parent=None)`: [b t d] -> [b t d], as `MLP`. Their
      parameters stand one above another, along a first axis of name 'experts'.
    capacity_factor: in training an expert has c = ⌈capacity_factor · k t / e⌉ places for the tokens of a row, given to
      those that come first in it, so that no token feels a later one; who finds none is left as it is by that expert.
      0: c = t, and nobody is left out, for e / k times the arithmetic. When the model is used, it is 0: a text is
      continued as it was read.

    Choice k of a token has weight softmax(router)ₖ; of several, over their sum (Mixtral). Of one it stays as it is
    (Switch): over itself it would be 1, and the router would learn nothing.
    """

    experts: int
    chosen: int
    expert: Callable[..., nn.Module]
    capacity_factor: float = 0.0
    router_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def __call__(self, x: jax.Array, train: bool = False, ring: bool = False) -> jax.Array:
        """`ring`: whether rows are in the order of `ring_attention.ring_order`, in which none comes first."""
        if not ring:
            return self._of_rows(x, train)
        with in_ring_order(False):
            return back_in_ring_order(self._of_rows(row_order(x), train))

    @nn.compact
    def _of_rows(self, x: jax.Array, train: bool) -> jax.Array:
        t = x.shape[1]
        factor = self.capacity_factor if train else 0.0
        places = min(math.ceil(factor * self.chosen * t / self.experts), t) if factor else t
        precise = jnp.promote_types(self.dtype, jnp.float32)  # a router in halves is unstable (arXiv:2101.03961)
        router = Linear(
            self.experts, ('embed', 'routes'), '', self.router_init, precise, self.param_dtype, name='router'
        )
        logits = router(x)
        expert = self.expert(parent=None)
        if self.is_initializing():

            def born(key: jax.Array) -> Any:
                keys = jax.random.split(key, self.experts)
                boxed = jax.vmap(lambda key: expert.init(key, x)['params'])(keys)
                return meta.add_axis(boxed, 0, {nn.PARTITION_NAME: 'experts'})

            params = self.param('experts', born)
        else:  # with the adapters that may stand beside them
            params = self.get_variable('params', 'experts')

        def apply(params: Any, x: jax.Array) -> Any:
            return expert.apply({'params': params}, x)

        mesh = jax.sharding.get_abstract_mesh()
        axes = layout.batch_axes(mesh)
        mix = partial(mixture, apply, chosen=self.chosen, places=places)
        if EXPERT in mesh.manual_axes:  # in a pipeline
            mix = partial(mix, swap=partial(exchanged, axis=EXPERT))
        elif axes:  # rows are looked at where they are, and experts used where they live
            if EXPERT in axes:
                mix = partial(mix, swap=partial(jax.lax.all_to_all, axis_name=EXPERT, split_axis=0, concat_axis=0))
            name = '/'.join((*self.path, 'experts'))
            shares = layout.spec(('experts',), (self.experts,), layout.free_sizes(mesh), of=name)
            rows = PartitionSpec(axes)
            mix = jax.shard_map(mix, in_specs=(shares, rows, rows), out_specs=(rows, rows), axis_names=set(axes))
        y, kept = mix(params, x, logits)
        if not self.is_initializing():
            self.sow(ROUTING, 'told', Routing(logits, kept))
        return y


def mixture(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    x: jax.Array,
    logits: jax.Array,
    *,
    chosen: int,
    places: int,
    swap: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the sum of what the chosen experts make of each token [r t d], and which had a place for it [r t k].

    Args:
      apply: what an expert with its parameters makes of rows [… … d].
      params: of all experts, one above another; of this device's, where they are shared out.
      x: [r t d].
      logits: [r t e], of the router.
      chosen: k.
      places: c.
      swap: where experts are shared out, inside a `shard_map`: hands part k of [n ...] to the device that has part k of
        them, and gets a part of every device. None: all are here.
    """
    r, t, d = x.shape
    e = logits.shape[-1]
    weights, experts = choose(logits, chosen)
    slots = jax.vmap(partial(seat, count=e, places=places))(experts)  # [r t k]

    def owners(slots: jax.Array) -> jax.Array:
        """Says for each place whose it is: the number of the choice, [e·c]; t·k: it stays empty."""
        return jnp.full(e * places, t * chosen).at[slots.ravel()].set(jnp.arange(t * chosen), mode='drop')

    owner = jax.vmap(owners)(slots)
    seated = jax.vmap(pick)(x, owner // chosen, slots).reshape(r, e, places, d)
    if swap:  # each device keeps its rows' places in its own experts, and gives the others away
        here = len(jax.tree.leaves(params)[0])
        seated = swap(jnp.moveaxis(seated.reshape(r, e // here, here, places, d), 1, 0))  # [n r e/n c d]
        seated = jnp.moveaxis(seated, 0, 1).reshape(-1, here, places, d)
    made = jax.vmap(apply, in_axes=(0, 1), out_axes=1)(params, seated)
    if swap:
        made = swap(jnp.moveaxis(made.reshape(r, -1, here, places, d), 1, 0))
        made = jnp.moveaxis(made, 0, 1)
    made = jax.vmap(pick)(made.reshape(r, e * places, d), slots.reshape(r, -1), owner[..., None])
    y = (weights[..., None] * made.reshape(r, t, chosen, d)).sum(2)
    return y.astype(x.dtype), slots < e * places


def choose(logits: jax.Array, chosen: int) -> tuple[jax.Array, jax.Array]:
    """Returns the weights of the `chosen` likeliest experts of each token, and their numbers: both [… k]."""
    weights, experts = jax.lax.top_k(jax.nn.softmax(logits), chosen)
    if chosen > 1:
        weights /= weights.sum(-1, keepdims=True)
    return weights, experts


def seat(experts: jax.Array, count: int, places: int) -> jax.Array:
    """Returns the place of each choice of a row, int [t k]: that of expert i are i·c … i·c + c - 1, given away in the
    order of the tokens. `count`·c: it has none."""
    wanted = jax.nn.one_hot(experts.ravel(), count, dtype=jnp.int32)  # [t·k e]
    before = jnp.sum((jnp.cumsum(wanted, axis=0) - wanted) * wanted, axis=1).reshape(experts.shape)
    return jnp.where(before < places, experts * places + before, count * places)


@jax.custom_vjp
def pick(x: jax.Array, which: jax.Array, back: jax.Array) -> jax.Array:
    """Returns rows of x [m d] by their numbers, [n] -> [n d]; number m is a row of zeros.

    `back` [m j] says which of the n are a row of x's, at most j; n: none. So the gradient picks rows as well, and adds
    them in this order; that of indexing adds them as they come, which on a GPU is another order every time.
    """
    return x.at[which].get(mode='fill', fill_value=0)


def _pick(x: jax.Array, which: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
    return pick(x, which, back), back


def _picked(back: jax.Array, g: jax.Array) -> tuple[jax.Array, None, None]:
    return g.at[back].get(mode='fill', fill_value=0).sum(1), None, None


pick.defvjp(_pick, _picked)


# --- what keeps routers in order -------------------------------------------------------------------------------------


class Sums(NamedTuple):
    """Sums over all tokens that count, of all layers; each [] float."""

    tokens: jax.Array  # how many they are, once for each layer
    balance: jax.Array
    z: jax.Array
    dropped: jax.Array  # choices without a place, over k
    layers: int


def sums(routing: Any, mask: jax.Array) -> Sums:
    """Returns the losses of all routers, as sums over tokens.

    Args:
      routing: the collection ROUTING that a model was asked for.
      mask: [b t]: what each token counts.

    Balance: of each row e Σᵢ fᵢ Pᵢ, with fᵢ the share of expert i in the row's choices, and Pᵢ its mean probability: 1
    where experts are chosen alike (Switch, arXiv:2101.03961). That is a product of means. Over the whole batch it would
    be no sum of anything; within a row (arXiv:2412.19437, eq. 17) it is a number of the row's, and rows, each times the
    count of its tokens, can be added over micro-batches and devices. The shares are taken as they are: gradients come
    by the probabilities.
    z: the square of log Σ exp(logits), which keeps them small (ST-MoE, arXiv:2202.08906).
    """
    layers = [leaf for leaf in jax.tree.leaves(routing, is_leaf=_is_routing) if _is_routing(leaf)]
    found = [_of_layer(layer, mask) for layer in layers]
    number = sum(math.prod(layer.logits.shape[:-3]) for layer in layers)
    balance, z, dropped = (sum(parts) for parts in zip(*found, strict=True))
    return Sums(number * mask.sum(), balance, z, dropped, number)


def _is_routing(leaf: Any) -> bool:
    return isinstance(leaf, Routing)


def _of_layer(routing: Routing, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    logits, kept = routing
    e, k = logits.shape[-1], kept.shape[-1]
    mask = mask.astype(logits.dtype)
    whole = mask.sum(-1, keepdims=True)  # [b 1]
    _, experts = choose(logits, k)
    chosen = jax.nn.one_hot(experts, e, dtype=logits.dtype).sum(-2)  # [… b t e]
    share = (chosen * mask[..., None]).sum(-2) / (k * jnp.where(whole > 0, whole, 1))  # [… b e]
    probability = (jax.nn.softmax(logits) * mask[..., None]).sum(-2)  # times the row's count
    z = jnp.square(jax.nn.logsumexp(logits, axis=-1))
    dropped = (~kept).mean(-1, dtype=logits.dtype)
    return e * jnp.sum(share * probability), jnp.sum(z * mask), jnp.sum(dropped * mask)
