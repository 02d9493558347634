"""What an application hands over, checked at the call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .errors import ArgumentTypeError

T = TypeVar("T")


def listed(name: str, values: Iterable[T]) -> list[T]:
    """The values of the argument ``name``. ArgumentTypeError for what holds none, and for a string.

    A string is a sequence too, but never what was meant.
    """
    if isinstance(values, str):
        raise ArgumentTypeError(f"{name} is a list, not the string {values!r}")
    if not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} is a list, not {values!r}")
    return list(values)
