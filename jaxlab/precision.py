"""The dtypes of an experiment, from `config.precision`."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxlab.errors import UserError, alternatives
from jaxlab.parallel import target

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16, 'float64': jnp.float64}


def dtypes(precision: ConfigDict) -> tuple[jnp.dtype, jnp.dtype]:
    """Returns (dtype of activations, dtype of parameters); switches JAX to 64 bits where float64 is asked for.

    Raises:
      UserError: a dtype is not one of float32, bfloat16, float64 (or 'auto', for activations).
    """
    compute, parameters = precision.compute, precision.parameters
    if compute == 'auto':
        # bfloat16 is what matrix units are made for; on a CPU it is emulated, and slow.
        compute = 'float32' if target.platform() == 'cpu' else 'bfloat16'
    for key, name in {'compute': compute, 'parameters': parameters}.items():
        if name not in DTYPES:
            raise UserError(
                'config.precision.{key}={name}: {alternatives}',
                key=key,
                name=name,
                alternatives=alternatives(name, DTYPES),
            )
    if 'float64' in (compute, parameters):
        jax.config.update('jax_enable_x64', True)
    return jnp.dtype(DTYPES[compute]), jnp.dtype(DTYPES[parameters])
