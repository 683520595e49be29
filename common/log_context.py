"""The log context: what the current work is about (a batch, a message, a key), bound once.

Every line that is logged while fields are bound has them, however deep in the calls it is logged::

    with bound(batch=7):
        log.warning("a worker died over it")  # … "batch": 7

Threads and Spark tasks begin without fields; :func:`carried` takes them there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_NOTHING: Mapping[str, object] = MappingProxyType({})
_fields: ContextVar[Mapping[str, object]] = ContextVar("log fields", default=_NOTHING)


def fields() -> Mapping[str, object]:
    """The fields that are bound now, here."""
    return _fields.get()


@contextmanager
def bound(**more: object) -> Iterator[None]:
    """Bind fields for the lines of the block; the innermost value of a name counts."""
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)


def carried(call: Callable[P, R]) -> Callable[P, R]:
    """``call`` with the fields that are bound now, for another thread or process to call, or several.

    What it returns can be pickled by cloudpickle, as Spark does, if the fields' values can.
    """
    now = dict(_fields.get())

    @wraps(call)
    def with_fields(*args: P.args, **kwargs: P.kwargs) -> R:
        with bound(**now):
            return call(*args, **kwargs)

    return with_fields
