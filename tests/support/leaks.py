"""Finds what a test leaves behind: tasks, timers, watched sockets, file descriptors, threads, and errors nobody saw."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from asyncio.base_events import BaseEventLoop
from collections.abc import Coroutine, Generator
from typing import Any
from weakref import WeakSet

# Seconds for a thread that is at its end to end.
_THREAD_MAY_END = 20.0

# How often the loop turns after the test's end, for what closes in its next turns: transports, cancelled tasks.
_TURNS_TO_SETTLE = 20


async def settle() -> None:
    """Give callbacks that are ready their turn, without time passing."""
    for _ in range(_TURNS_TO_SETTLE):
        await asyncio.sleep(0)


def open_sockets() -> dict[str, str]:
    """This process's sockets and pipes by file descriptor. Empty where there is no /proc."""
    found = {}
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # the descriptor of this very listing
        if target.startswith(("socket:", "pipe:")):
            found[descriptor] = target
    return found


class Watch:
    """Watches one loop from its start: make it before the test's first task."""

    def __init__(self, loop: BaseEventLoop) -> None:
        self._loop = loop
        self._errors: list[str] = []
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._threads = set(threading.enumerate())
        self._sockets = open_sockets()
        loop.set_exception_handler(self._on_error)
        loop.set_task_factory(self._make_task)

    def leftovers(self) -> list[str]:
        """What went wrong unseen, and what is left, a line each."""
        found = list(self._errors)
        for task in list(self._tasks):
            if not task.done():
                found.append(f"task left: {task!r}")
            elif not task.cancelled() and task._log_traceback:
                error = task.exception()
                found.append(f"exception that nobody took, of {task.get_name()}: {_text(error)}")
        for timer in self._loop._scheduled:  # type: ignore[attr-defined]
            if not timer.cancelled():
                found.append(f"timer left: {timer!r}")
        found += self._watched_sockets()
        for thread in set(threading.enumerate()) - self._threads:
            # One that has said its last word to the loop needs a moment of the system's time to be gone.
            thread.join(_THREAD_MAY_END)
            if thread.is_alive():
                found.append(f"thread left: {thread!r}")
        found += [
            f"descriptor left: {number} {target}"
            for number, target in open_sockets().items()
            if self._sockets.get(number) != target
        ]
        return found

    def assert_nothing_left(self, more: list[str] | None = None) -> None:
        found = self.leftovers() + (more or [])
        assert not found, "\n".join(["left after the test, or wrong beside it:", *found])

    def abandon(self) -> None:
        """After a failure: end what is left, so that it does not trouble the next test."""
        self._loop.set_exception_handler(lambda loop, context: None)
        for task in asyncio.all_tasks(self._loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            task.cancel()
        for _ in range(_TURNS_TO_SETTLE):
            self._loop.stop()
            self._loop.run_forever()

    def _watched_sockets(self) -> list[str]:
        selector: Any = getattr(self._loop, "_selector", None)
        watched = selector.get_map().values() if hasattr(selector, "get_map") else ()
        own = getattr(self._loop, "_ssock", None)  # the loop's pipe to itself
        return [f"socket watched: {key!r}" for key in watched if own is None or key.fd != own.fileno()]

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        self._tasks.add(task)
        return task

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._errors.append(f"the loop's exception handler: {context['message']}: {_text(context.get('exception'))}")


def _text(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error is not None else ""
