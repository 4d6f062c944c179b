"""What was saved against what is wanted: which leaves differ, and what would be right."""

import jax
import jax.numpy as jnp
import pytest

from jaxlab.trust import mismatch
from tests.experiments import message


def of(**leaves):
    """of(a__b=(2, 3)) is {'a': {'b': float32 [2, 3]}}; a pair of a shape and a dtype gives another dtype."""
    tree = {}
    for name, shape in leaves.items():
        *parents, last = name.split('__')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        shape, dtype = shape if shape and isinstance(shape[0], tuple) else (shape, 'float32')
        node[last] = jax.ShapeDtypeStruct(shape, dtype)
    return tree


def said(wanted, saved):
    return message(mismatch.check, wanted, saved, 'checkpoints/5')


def test_what_is_the_same_passes():
    tree = {'params': of(w=(3,)), 'training': of(key=((2,), 'uint32'))}
    mismatch.check(tree, tree, 'checkpoints/5')
    mismatch.check({'params': tree['params']}, tree, 'checkpoints/5')  # what is not wanted does not matter
    key = {'key': jax.eval_shape(lambda: jax.random.key(0))}
    mismatch.check({'training': key}, tree, 'checkpoints/5')  # a random key is saved as its numbers


@pytest.mark.parametrize(
    'wanted, saved, told, remedy',
    [
        (of(w=(3,)), of(w=(4,)), 'params/w is (4,), not (3,).', 'settings it was saved with'),
        (of(w=(3,), b=(1,)), of(w=(3,)), 'params/b was not saved.', 'settings it was saved with'),
        (of(w=(3,)), of(w=(3,), b=(1,)), 'params/b was saved and is not wanted.', 'settings it was saved with'),
        (of(w=(3,)), of(w=((3,), 'bfloat16')), 'params/w is bfloat16, not float32.', 'config.precision.parameters'),
        (
            of(stack__layers__w=(2, 3)),
            of(stack__layer_0__w=(3,), stack__layer_1__w=(3,)),
            'stack/layer_0/w was saved',
            'config.model.scan=false',
        ),
        (
            of(stack__layer_0__w=(3,), stack__layer_1__w=(3,)),
            of(stack__layers__w=(2, 3)),
            'stack/layer_1/w was not saved',
            'config.model.scan=true',
        ),
        (of(stack__layer_2__w=(3,)), of(stack__layer_1__w=(3,)), 'stack/layer_2/w was not', 'settings it was saved'),
    ],
)
def test_what_differs_is_said(wanted, saved, told, remedy):
    text = said({'params': wanted}, {'params': saved})
    first, second = text.splitlines()
    assert first.startswith('checkpoints/5 holds other arrays') and told in first and remedy in second


def test_at_most_ten_leaves():
    text = said({'params': of(**{f'w{n}': (3,) for n in range(25)})}, {'params': {}})
    assert text.count('was not saved') == 10 and '; and 15 more.' in text


def test_no_average_was_saved():
    text = said({'params': of(w=(3,)), 'average': of(w=(3,))}, {'params': of(w=(3,))})
    assert 'average/w was not saved' in text and 'config.average=0' in text


def test_names_of_optimizer_states_are_those_of_the_file():
    """A state is tuples with names; what was saved is read back as dicts and lists."""
    from optax import ScaleByAdamState

    ours = (ScaleByAdamState(jnp.zeros((), 'int32'), {'w': jnp.zeros(3)}, {'w': jnp.zeros(3)}),)
    theirs = [{'count': jnp.zeros((), 'int32'), 'mu': {'w': jnp.zeros(3)}, 'nu': {'w': jnp.zeros(4)}}]
    assert 'training/opt_state/0/nu/w is (4,), not (3,).' in said(
        {'training': {'opt_state': ours}}, {'training': {'opt_state': theirs}}
    )
