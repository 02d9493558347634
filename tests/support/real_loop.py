"""Runs a test on a real loop, with real sockets, and the same checks at the end as on a virtual one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .leaks import Watch, settle

T = TypeVar("T")


def run_real(main: Coroutine[Any, Any, T], *, timeout: float = 100.0) -> T:
    """Run ``main`` on a fresh real loop; fail after ``timeout`` seconds, or when anything is left (see leaks)."""
    loop = asyncio.SelectorEventLoop()
    watch = Watch(loop)
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(asyncio.wait_for(main, timeout))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.run_until_complete(settle())
        watch.assert_nothing_left()
        return result
    finally:
        watch.abandon()
        asyncio.set_event_loop(None)
        loop.close()
