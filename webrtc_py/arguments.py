"""What an application hands over, checked at the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .errors import ArgumentTypeError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any] | None)


def listed(name: str, values: Iterable[T]) -> list[T]:
    """The values of the argument ``name``. ArgumentTypeError for what holds none, and for a string.

    A string is a sequence too, but never what was meant.
    """
    if isinstance(values, str):
        raise ArgumentTypeError(f"{name} is a list, not the string {values!r}")
    if not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} is a list, not {values!r}")
    return list(values)


def function(name: str, value: F) -> F:
    """The argument ``name``, a function that is asked something, or None. ArgumentTypeError for anything else.

    So for a coroutine function, whose coroutine would be taken for a yes.
    """
    if value is None:
        return value
    if not callable(value):
        raise ArgumentTypeError(f"{name} is a function or None, not {value!r}")
    if inspect.iscoroutinefunction(value):
        raise ArgumentTypeError(f"{name} is asked for an answer at once: it cannot be the coroutine function {value!r}")
    return value
