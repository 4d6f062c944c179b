"""For which device a program is meant: this process's own, unless somebody compiles for one that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

_target: ContextVar[Any] = ContextVar('target', default=None)


def device() -> Any:
    """Returns a device of those that programs are meant for. What depends on their kind asks here, and not JAX."""
    return _target.get() or jax.devices()[0]


def kind() -> str:
    """Returns what JAX calls that kind of device, such as 'TPU v5 lite'."""
    return device().device_kind


def platform() -> str:
    """Returns 'cpu', 'gpu' or 'tpu'."""
    return device().platform


@contextmanager
def of(other: Any) -> Iterator[None]:
    """A context in which programs are meant for devices like `other`, as `plan` compiles for a pod on a laptop."""
    token = _target.set(other)
    try:
        yield
    finally:
        _target.reset(token)
