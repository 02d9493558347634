"""What all connections on one event loop share: the step that orders handlers, and the buffers of the data path."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from weakref import WeakValueDictionary

# Room for the largest train with its DTLS overhead, and for the largest that UDP_GRO hands over.
_BUFFER_SIZE = 1 << 17


class Step:
    """One pass through the stack: engines first, handlers last.

    What the loop calls (a readable socket, a timer) runs ``with step:``. What it posts meanwhile is run when the
    outermost step ends, so a handler never runs inside an engine. What is posted outside a step, by an application's
    own call, runs in the loop's next turn: never inside the call that caused it.
    """

    __slots__ = ("_depth", "_loop", "_posted", "_running", "_scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._depth = 0
        self._running = False
        self._scheduled = False
        self._posted: deque[Callable[[], None]] = deque()

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._posted and not self._depth and not self._running:
            self._run()

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call``, which must not raise, when this step ends, or in the loop's next turn."""
        self._posted.append(call)
        if not self._depth and not self._running and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run_soon)

    def _run_soon(self) -> None:
        self._scheduled = False
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running = True
        try:
            # Handlers post more by what they call; a bound gives the loop's other work its turn.
            for _ in range(min(len(self._posted) + 1000, 10_000)):
                if not self._posted:
                    return
                self._posted.popleft()()
        finally:
            self._running = False
        if self._posted and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run_soon)


class Shared:
    """The one object for each running loop; ``Shared.of_running_loop()`` finds or makes it.

    It lives as long as somebody holds it, so hold it, and not a part of it.

    The buffers are used by one chain of plain calls at a time, which is why one set serves every connection:
    ``received`` holds what a socket read, ``opened`` what DTLS decrypted of it, ``built`` the packets that SCTP
    makes, and ``sealed`` their DTLS records.
    """

    __slots__ = ("__weakref__", "built", "loop", "opened", "received", "sealed", "step")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.step = Step(loop)
        self.received = bytearray(_BUFFER_SIZE)
        self.opened = bytearray(_BUFFER_SIZE)
        self.built = bytearray(_BUFFER_SIZE)
        self.sealed = bytearray(_BUFFER_SIZE)

    @staticmethod
    def of_running_loop() -> Shared:
        """The running loop's object. RuntimeError outside a coroutine or a callback of a loop."""
        loop = asyncio.get_running_loop()
        shared = _shared.get(loop)
        if shared is None:
            shared = _shared[loop] = Shared(loop)
        return shared


# An entry lives as long as a connection holds its object: neither keeps a finished loop alive.
_shared: WeakValueDictionary[asyncio.AbstractEventLoop, Shared] = WeakValueDictionary()
