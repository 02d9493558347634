"""The W3C operations chain: one negotiation step at a time, in the order of the calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import ConnectionClosedError

T = TypeVar("T")


class OperationsChain:
    """Runs each operation when those before it have ended (webrtc-pc section 4.4.1.2).

    An operation runs in its caller's task, so a caller that is cancelled takes its operation along and the next one
    goes on. After :meth:`close` nothing starts any more: where W3C leaves the promises of the calls that wait
    unsettled, Python's callers would hang, so they get a ConnectionClosedError.
    """

    __slots__ = ("_busy", "_closed", "_on_empty", "_waiting")

    def __init__(self, on_empty: Callable[[], None]) -> None:
        """``on_empty`` is called each time the last operation of the chain has ended."""
        self._on_empty = on_empty
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False
        self._closed = False

    @property
    def empty(self) -> bool:
        return not self._busy and not self._waiting

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Chain ``operation`` and return its result. ConnectionClosedError when the chain is closed before its turn."""
        if self._busy and not self._closed:
            await self._turn()
        if self._closed:
            # Also between the moment that gave this call its turn, and now.
            raise ConnectionClosedError("the connection is closed")
        self._busy = True
        try:
            return await operation()
        finally:
            self._next()

    def close(self) -> None:
        """Refuse what waits; the operation that runs comes to its end."""
        self._closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(ConnectionClosedError("the connection was closed before this call's turn came"))

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled in the moment between being given the turn and taking it: it is the next one's now.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
        if not self._closed:
            self._on_empty()
