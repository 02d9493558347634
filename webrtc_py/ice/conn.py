"""A path as a connection of datagrams, for those who want ICE and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ArgumentTypeError, ConnectionClosedError, InvalidAccessError
from ..runtime.closing import ClosedOnExit
from ..runtime.event import EventQueue, InboxEvent
from ..runtime.network import Address
from ..runtime.shared import Shared
from ..states import ICETransportState
from ..train import MAX_TRAIN_LENGTH, Train
from .listener import AgentListener

if TYPE_CHECKING:
    from .agent import Agent

# What waits for a reader (Pion's limit). More is dropped: these are datagrams.
_MAX_BUFFERED = 1_000_000
# Small ones cost more memory than they hold.
_MAX_DATAGRAMS = 4096
_ENDED = (ICETransportState.FAILED, ICETransportState.CLOSED)


class Conn(AgentListener, ClosedOnExit):
    """An agent's connection, from ``dial``, ``accept`` or ``await_connect``.

    Datagrams come to ``on_data`` if it is set, else to ``recv``.
    """

    def __init__(self, agent: Agent, shared: Shared) -> None:
        self._agent = agent
        # A list, since it is short and mostly empty, and an empty deque takes 600 bytes; so does an asyncio.Event.
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._changed: asyncio.Event | None = None
        self.dropped = 0
        """Datagrams that nobody read in time."""
        self._events = EventQueue("ICE connection", shared)
        self.on_data: InboxEvent[bytes] = InboxEvent("on_data", self._events, self._post_waiting)
        agent.add_listener(self)
        agent.set_data_receiver(self._receive)

    @property
    def local_address(self) -> Address | None:
        """The address of our candidate in use."""
        pair = self._agent.get_selected_candidate_pair()
        return None if pair is None else (pair[0].address, pair[0].port)

    @property
    def remote_address(self) -> Address | None:
        """The address of the peer's candidate in use."""
        pair = self._agent.get_selected_candidate_pair()
        return None if pair is None else (pair[1].address, pair[1].port)

    @property
    def bytes_sent(self) -> int:
        """Octets of datagrams, by all paths since the beginning; checks do not count."""
        return self._agent.traffic.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Likewise."""
        return self._agent.traffic.bytes_received

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send one datagram, which may be lost. Its first byte must not be 0 to 3, which STUN has (RFC 7983)."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ArgumentTypeError(f"data is bytes, a bytearray or a memoryview, not {type(data).__name__}")
        view = memoryview(data).cast("B")
        if not 0 < len(view) <= MAX_TRAIN_LENGTH:
            raise InvalidAccessError(f"data has {len(view)} bytes; a datagram has 1 to {MAX_TRAIN_LENGTH}")
        if view[0] <= 3:
            raise InvalidAccessError(f"data starts with {view[0]:#04x}, which the peer would take for STUN")
        if self._agent.connection_state in _ENDED:
            raise ConnectionClosedError(f"the ICE agent is {self._agent.connection_state}")
        self._agent.send(Train.of(view))

    async def recv(self) -> bytes:
        """The next datagram. ConnectionClosedError when there will be none."""
        while not self._buffer:
            if self._agent.connection_state in _ENDED:
                raise ConnectionClosedError(f"the ICE agent is {self._agent.connection_state}")
            if self._changed is None:
                self._changed = asyncio.Event()
            self._changed.clear()
            await self._changed.wait()
        return self._take()

    async def close(self) -> None:
        """Close the agent."""
        await self._agent.close()

    def state_changed(self, state: ICETransportState, reason: str) -> None:
        self._wake()
        if state is ICETransportState.CLOSED:
            self._events.close_after_queued()

    def _receive(self, train: Train, now: float) -> None:
        for datagram in train:
            if self._buffered + len(datagram) > _MAX_BUFFERED or len(self._buffer) == _MAX_DATAGRAMS:
                self.dropped += 1
                continue
            self._buffer.append(bytes(datagram))
            self._buffered += len(datagram)
            if self.on_data.handler is not None:
                self._post()
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _post_waiting(self) -> None:
        """A handler is set: it gets what came before it. What then finds the buffer empty does nothing."""
        if self.on_data.handler is not None:
            for _ in self._buffer:
                self._post()

    def _post(self) -> None:
        self._events.post("on_data", self._take_for_handler, ())

    def _take(self) -> bytes:
        data = self._buffer.pop(0)
        self._buffered -= len(data)
        return data

    def _take_for_handler(self) -> Callable[[], object] | None:
        """The handler with its datagram, when its turn has come and nobody has read the datagram meanwhile."""
        handler = self.on_data.handler
        if handler is None or not self._buffer:
            return None
        data = self._take()
        return lambda: handler(data)
