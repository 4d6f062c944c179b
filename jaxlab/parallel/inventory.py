"""What there is of parameters, for people to read: names, shapes, how they are split, bytes on each device."""

import math
import re
from typing import Any

import jax
from jax.sharding import NamedSharding

from jaxlab.parallel.layout import Names, path_name


def describe(params: Any, names_tree: Any, param_shardings: Any) -> list[dict[str, Any]]:
    """Returns a row for each kind of parameter, equal layers folded into one, for people to read."""
    rows: dict[Any, dict[str, Any]] = {}

    def add(path: Any, leaf: Any, leaf_names: Names, sharding: NamedSharding) -> None:
        name = re.sub(r'(?<=_)\d+(?=/)', '*', path_name(path))  # layer_0/… and layer_1/… are rows of one kind
        row = rows.setdefault(
            (name, leaf.shape),
            {
                'name': name,
                'times': 0,
                'names': leaf_names or (None,) * len(leaf.shape),
                'shape': leaf.shape,
                'count': 0,
                'split': '' if sharding.is_fully_replicated else str(sharding.spec).removeprefix('PartitionSpec'),
                'bytes_per_device': 0,
            },
        )
        row['times'] += 1
        row['count'] += math.prod(leaf.shape)
        row['bytes_per_device'] += math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    jax.tree_util.tree_map_with_path(add, params, names_tree, param_shardings)
    return list(rows.values())
