"""Events: one handler each, in order, never from inside the call that caused them, and never fatal."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple

from ..errors import ConnectionClosedError
from .shared import Shared

logger = logging.getLogger(__name__)

Args = TypeVarTuple("Args")
T = TypeVar("T")


class EventQueue:
    """The events of one object, one after the other.

    A function runs to its end; a coroutine runs as a task, and the object's next event waits for it. What a handler
    raises is logged: with its traceback, unless it says that something was closed meanwhile. After :meth:`close`
    nothing runs any more, but a handler that is running comes to its end.
    """

    __slots__ = ("_closed", "_drain_posted", "_owner", "_queue", "_shared", "_task")

    def __init__(self, owner: str, shared: Shared | None = None) -> None:
        self._owner = owner
        self._shared = shared or Shared.of_running_loop()
        # A list, since it is short, and an empty deque takes 600 bytes: an idle connection has a handful of queues.
        self._queue: list[tuple[str, Callable[[], Callable[..., object] | None], tuple[Any, ...]]] = []
        self._task: asyncio.Task[None] | None = None
        self._drain_posted = False
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether an event that is posted now would be the next to run."""
        return not self._queue and self._task is None

    def post(self, name: str, handler: Callable[[], Callable[..., object] | None], args: tuple[Any, ...]) -> None:
        """Queue an event; ``handler()`` is asked for the handler when its turn has come."""
        if self._closed:
            return
        self._queue.append((name, handler, args))
        if self._task is None and not self._drain_posted:
            self._drain_posted = True
            self._shared.step.post(self._drain)

    def call(self, call: Callable[[], None]) -> None:
        """Run ``call`` in its place among this object's events. It must not raise."""
        self.post("", lambda: call, ())

    def close(self) -> None:
        """Drop what has not run, and run nothing more."""
        self._closed = True
        self._queue.clear()

    def close_after_queued(self) -> None:
        """Take no more events, but run those that are queued."""
        self._closed = True

    async def join(self) -> None:
        """Wait for the coroutine handler that is running, unless it is the caller."""
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task])

    def _drain(self) -> None:
        self._drain_posted = False
        queue = self._queue
        # What handlers post meanwhile is drained by what they posted it with.
        for _ in range(len(queue)):
            if not queue or self._task is not None:
                return
            name, get_handler, args = queue.pop(0)
            handler = get_handler()
            if handler is None:
                continue
            try:
                result = handler(*args)
            except ConnectionClosedError as error:
                self._came_too_late(name, error)
                continue
            except (Exception, asyncio.CancelledError):
                logger.exception("%s: the %s handler raised", self._owner, name)
                continue
            if result is not None and inspect.isawaitable(result):
                self._task = self._shared.loop.create_task(self._wait(name, result), name=f"{self._owner} {name}")

    async def _wait(self, name: str, result: Awaitable[object]) -> None:
        try:
            await result
        except ConnectionClosedError as error:
            self._came_too_late(name, error)
        except (Exception, asyncio.CancelledError):
            if is_cancelled():
                raise
            logger.exception("%s: the %s handler raised", self._owner, name)
        finally:
            self._task = None
            if self._queue and not self._drain_posted:
                self._drain_posted = True
                self._shared.step.post(self._drain)

    def _came_too_late(self, name: str, error: ConnectionClosedError) -> None:
        """Two ends close at different moments, so what one tells the other may always come too late."""
        logger.info("%s: the %s handler came too late: %s", self._owner, name, error)


def is_cancelled() -> bool:
    """Whether the running task is cancelled itself, and not only something that its handler waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Event(Generic[*Args]):
    """One event of an object. Call it with a handler to set that, with None to remove it; it returns its argument.

    ``self.on_track: Event[TrackRemote, RTPReceiver] = Event("on_track", self._events)`` declares it,
    ``pc.on_track(handler)`` or ``@pc.on_track`` sets the handler, and ``self.on_track.emit(...)`` posts it.
    """

    __slots__ = ("_events", "_handler", "name")

    def __init__(self, name: str, events: EventQueue) -> None:
        self.name = name
        self._events = events
        self._handler: Callable[[*Args], object] | None = None

    def __call__(self, handler: Callable[[*Args], object] | None) -> Callable[[*Args], object] | None:
        if handler is not None and not callable(handler):
            raise TypeError(f"{self.name} takes a function, a coroutine function or None, not {handler!r}")
        self._handler = handler
        return handler

    @property
    def handler(self) -> Callable[[*Args], object] | None:
        return self._handler

    def emit(self, *args: *Args) -> None:
        """Post the event; the handler that is set when its turn comes is run."""
        self._events.post(self.name, self._get_handler, args)

    def _get_handler(self) -> Callable[..., object] | None:
        return self._handler


class OnceEvent(Event[()]):
    """An event that happens once, such as ``on_open``: a handler that is set after it happened is still run, once."""

    __slots__ = ("_pending",)

    def __init__(self, name: str, events: EventQueue) -> None:
        super().__init__(name, events)
        self._pending = False

    def __call__(self, handler: Callable[[], object] | None) -> Callable[[], object] | None:
        super().__call__(handler)
        if handler is not None and self._pending:
            self._pending = False
            self.emit()
        return handler

    def _get_handler(self) -> Callable[..., object] | None:
        if self._handler is None:
            self._pending = True
        return self._handler


class InboxEvent(Event[T]):
    """An event for what waits until somebody takes it, such as ``on_message``: ``on_set`` hears of each new handler."""

    __slots__ = ("_on_set",)

    def __init__(self, name: str, events: EventQueue, on_set: Callable[[], None]) -> None:
        super().__init__(name, events)
        self._on_set = on_set

    def __call__(self, handler: Callable[[T], object] | None) -> Callable[[T], object] | None:
        super().__call__(handler)
        self._on_set()
        return handler
