"""A data channel: messages out, messages in, and how it opens and closes (W3C RTCDataChannel, RFC 8831)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from .datachannel import dcep
from .datachannel.message import encode, usv_string
from .datachannel.stream_id import LARGEST_STREAM_ID
from .errors import (
    ArgumentTypeError,
    ConnectionClosedError,
    InvalidStateError,
    OperationError,
    RTCError,
)
from .runtime.closing import ClosedOnExit
from .runtime.event import Event, EventQueue, InboxEvent, OnceEvent, is_cancelled
from .runtime.shared import Shared
from .states import DataChannelState

logger = logging.getLogger(__name__)

H = TypeVar("H", bound=Callable[..., object] | None)

MAX_BUFFERED_AMOUNT = 16 * 1024 * 1024
"""Bytes that :meth:`DataChannel.send` queues before it refuses, as libwebrtc does: a sender that does not look at
``buffered_amount`` must not fill the memory."""

# How long close() waits for the peer's part of the closing procedure; the procedure itself goes on after it.
_CLOSE_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class DataChannelInit:
    """How a channel delivers (W3C RTCDataChannelInit).

    ``max_packet_life_time`` is in milliseconds, and excludes ``max_retransmits``. ``negotiated`` is the stream id that
    both applications agreed on by other means; without it the channel is announced in-band. W3C's pair
    ``negotiated=True, id=7`` says the same as ``negotiated=7``.
    """

    ordered: bool = True
    max_packet_life_time: int | None = None
    max_retransmits: int | None = None
    protocol: str = ""
    negotiated: int | bool | None = None
    id: int | None = field(default=None)

    def __post_init__(self) -> None:
        if self.max_packet_life_time is not None and self.max_retransmits is not None:
            raise ArgumentTypeError("max_packet_life_time and max_retransmits exclude each other; give one")
        for name in ("max_packet_life_time", "max_retransmits"):
            value = getattr(self, name)
            if value is not None and not (_is_whole(value) and 0 <= value <= 65535):
                raise ArgumentTypeError(f"{name} is {value!r}; it is a whole number from 0 to 65535")
        object.__setattr__(self, "protocol", _text("protocol", self.protocol))
        if self.negotiated is True and self.id is None:
            raise ArgumentTypeError("negotiated=True needs an id; or give the id itself as negotiated")
        stream_id = self.stream_id
        if stream_id is not None and not (_is_whole(stream_id) and 0 <= stream_id <= LARGEST_STREAM_ID):
            raise ArgumentTypeError(f"the id is {stream_id!r}; it is a whole number from 0 to {LARGEST_STREAM_ID}")

    @property
    def stream_id(self) -> int | None:
        """The id that was negotiated by other means, or None for a channel that is announced in-band."""
        if self.negotiated is None or self.negotiated is False:
            return None
        return self.id if self.negotiated is True else self.negotiated


class ChannelTransport(Protocol):
    """What a channel needs of the SCTP transport, which stands above it."""

    @property
    def max_message_size(self) -> float: ...

    def send(self, channel: DataChannel, ppid: int, data: bytes, counted: bool) -> None: ...

    def close_channel(self, channel: DataChannel) -> None: ...

    def consumed(self, size: int) -> None: ...

    def buffered_amount(self, channel: DataChannel) -> int: ...

    def set_low_threshold(self, channel: DataChannel, threshold: int) -> None: ...


class DataChannel(ClosedOnExit):
    """One channel of a connection. Made by ``PeerConnection.create_data_channel`` or given to ``on_data_channel``.

    Messages are kept until ``on_message``, :meth:`recv` or ``async for`` takes them. What is kept holds the receive
    window, so an application that does not read stalls the sender and not the memory.

    Events: ``on_open()``, ``on_message(bytes | str)``, ``on_buffered_amount_low()``, ``on_closing()``, ``on_close()``,
    ``on_error(RTCError)``.
    """

    def __init__(
        self,
        transport: ChannelTransport,
        label: str,
        init: DataChannelInit,
        *,
        deliver_to_handler: bool = True,
        shared: Shared | None = None,
    ) -> None:
        self._transport = transport
        self._label = label = _text("label", label)
        self._init = init
        self._deliver_to_handler = deliver_to_handler
        self._id = init.stream_id
        self._state = DataChannelState.CONNECTING
        self._low_threshold = 0
        self._above_threshold = False
        self._inbox: deque[tuple[bytes | str, int]] = deque()
        self._pump_posted = False
        self._receivers: list[asyncio.Future[None]] = []
        self._drainers: list[tuple[int, asyncio.Future[None]]] = []
        self._openers: list[asyncio.Future[None]] = []
        self._closers: list[asyncio.Future[None]] = []
        self._shared = shared or Shared.of_running_loop()
        self._events = EventQueue(f"data channel {label!r}", self._shared)
        self.on_open = OnceEvent("on_open", self._events)
        self.on_message: InboxEvent[bytes | str] = InboxEvent("on_message", self._events, self._pump)
        self.on_buffered_amount_low: Event[()] = Event("on_buffered_amount_low", self._events)
        self.on_closing = OnceEvent("on_closing", self._events)
        self.on_close = OnceEvent("on_close", self._events)
        self.on_error: Event[RTCError] = Event("on_error", self._events)
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    def __repr__(self) -> str:
        return f"<DataChannel {self._label!r} id={self._id} {self._state.value}>"

    @property
    def label(self) -> str:
        return self._label

    @property
    def id(self) -> int | None:
        """The SCTP stream, or None while the DTLS role that decides it is not known."""
        return self._id

    @property
    def protocol(self) -> str:
        return self._init.protocol

    @property
    def ordered(self) -> bool:
        return self._init.ordered

    @property
    def max_packet_life_time(self) -> int | None:
        """Milliseconds, or None."""
        return self._init.max_packet_life_time

    @property
    def max_retransmits(self) -> int | None:
        return self._init.max_retransmits

    @property
    def negotiated(self) -> bool:
        """Whether the applications agreed on the id by other means."""
        return self._init.stream_id is not None

    @property
    def ready_state(self) -> DataChannelState:
        return self._state

    @property
    def transport(self) -> ChannelTransport:
        """The SCTPTransport."""
        return self._transport

    @property
    def buffered_amount(self) -> int:
        """Bytes given to :meth:`send` that have not been handed to the network once."""
        return self._transport.buffered_amount(self)

    @property
    def buffered_amount_low_threshold(self) -> int:
        """``on_buffered_amount_low`` comes when ``buffered_amount`` falls to this or below. Settable."""
        return self._low_threshold

    @buffered_amount_low_threshold.setter
    def buffered_amount_low_threshold(self, threshold: int) -> None:
        if threshold < 0:
            raise ArgumentTypeError(f"buffered_amount_low_threshold is {threshold!r}; it is not negative")
        self._low_threshold = threshold
        self._above_threshold = self.buffered_amount > threshold
        self._watch_buffer()

    def send(self, data: bytes | bytearray | memoryview | str) -> None:
        """Queue one message. It leaves in the loop's next turn, or as soon as the peer and the network have room.

        InvalidStateError before the channel is open, ConnectionClosedError once it closes; ArgumentTypeError for
        another type, or a message larger than the peer takes (``transport.max_message_size``); OperationError when
        ``MAX_BUFFERED_AMOUNT`` is already queued: wait with :meth:`drain`, or for ``on_buffered_amount_low``.
        """
        if self._state is not DataChannelState.OPEN:
            is_connecting = self._state is DataChannelState.CONNECTING
            error = InvalidStateError if is_connecting else ConnectionClosedError
            raise error(f"data channel {self._label!r} is {self._state.value}, not open")
        if not isinstance(data, (bytes, str, bytearray, memoryview)):
            raise ArgumentTypeError(f"a message is bytes, bytearray, memoryview or str, not {type(data).__name__}")
        ppid, octets = encode(data)
        # An empty message is one octet on the wire, and none in every count.
        size = len(octets) if data else 0
        if size > self._transport.max_message_size:
            raise ArgumentTypeError(
                f"a message of {size} bytes is larger than the {self._transport.max_message_size} that the peer takes"
            )
        buffered = self._transport.buffered_amount(self)
        if buffered and buffered + size > MAX_BUFFERED_AMOUNT:
            raise OperationError(
                f"data channel {self._label!r} has {buffered} bytes queued, of at most {MAX_BUFFERED_AMOUNT}; "
                "await drain() before more"
            )
        self._transport.send(self, ppid, octets, size > 0)
        self.messages_sent += 1
        self.bytes_sent += size
        if not self._above_threshold and buffered + size > self._low_threshold:
            self._above_threshold = True
            self._watch_buffer()

    async def opened(self) -> None:
        """Wait until the channel is open. ConnectionClosedError when it closes first."""
        if self._state is DataChannelState.CONNECTING:
            await self._wait_in(self._openers)
        if self._state in (DataChannelState.CLOSING, DataChannelState.CLOSED):
            raise ConnectionClosedError(f"data channel {self._label!r} is {self._state.value}")

    async def drain(self, low_water: int | None = None) -> None:
        """Wait until at most ``low_water`` bytes are queued; by default ``buffered_amount_low_threshold``.

        ConnectionClosedError when the channel closes first.
        """
        limit = self._low_threshold if low_water is None else low_water
        if limit < 0:
            raise ArgumentTypeError(f"low_water is {low_water!r}; it is not negative")
        while self._state is not DataChannelState.CLOSED:
            if self.buffered_amount <= limit:
                return
            waiter = (limit, self._shared.loop.create_future())
            self._drainers.append(waiter)
            self._watch_buffer()
            try:
                await waiter[1]
            finally:
                if waiter in self._drainers:
                    self._drainers.remove(waiter)
        raise ConnectionClosedError(f"data channel {self._label!r} closed before its messages were sent")

    async def recv(self) -> bytes | str:
        """The next message. ConnectionClosedError when the channel is closed and all its messages are read."""
        while not self._inbox:
            if self._state is DataChannelState.CLOSED:
                raise ConnectionClosedError(f"data channel {self._label!r} is closed")
            waiter: asyncio.Future[None] = self._shared.loop.create_future()
            self._receivers.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    # The message it was woken for belongs to the next in line.
                    self._wake_receiver()
                raise
            finally:
                if waiter in self._receivers:
                    self._receivers.remove(waiter)
        message, size = self._inbox.popleft()
        self._transport.consumed(size)
        if self._inbox:
            self._wake_receiver()
        return message

    def __aiter__(self) -> AsyncIterator[bytes | str]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[bytes | str]:
        while True:
            try:
                message = await self.recv()
            except ConnectionClosedError:
                return
            yield message

    async def detach(self) -> DetachedDataChannel:
        """The channel as a stream with ``read`` and ``write``, once it is open; ``on_message`` is not run any more."""
        await self.opened()
        self._deliver_to_handler = False
        return DetachedDataChannel(self)

    async def close(self) -> None:
        """Close the channel when what is queued has been sent (RFC 8831 section 6.7).

        Returns when the peer has closed its side too, or after a second; the procedure then goes on by itself.
        """
        self.start_closing()
        if self._state is not DataChannelState.CLOSED:
            try:
                async with asyncio.timeout(_CLOSE_WAIT):
                    await self._wait_in(self._closers)
            except TimeoutError:
                logger.debug("%r: the peer has not closed its side yet", self)

    # What follows is called by the SCTP transport.

    @property
    def init(self) -> DataChannelInit:
        return self._init

    def set_id(self, stream_id: int) -> None:
        self._id = stream_id

    def set_open(self) -> None:
        """The channel may be used: the association is up and, if it is ours to announce, the OPEN is queued."""
        if self._state is not DataChannelState.CONNECTING:
            return
        self._state = DataChannelState.OPEN
        logger.info("%r: open", self)
        _wake_all(self._openers)
        self.on_open.emit()

    def message_received(self, message: bytes | str, size: int) -> None:
        """Take a message, which holds ``size`` bytes of the receive window until it is read."""
        self.messages_received += 1
        self.bytes_received += size if message else 0
        self._inbox.append((message, size))
        if self._receivers:
            self._wake_receiver()
        elif not self._pump_posted:
            self._pump()

    def buffered_amount_is_low(self) -> None:
        """``buffered_amount`` fell to the level that :meth:`_watch_buffer` asked for."""
        amount = self.buffered_amount
        for waiter in self._drainers[:]:
            if amount <= waiter[0]:
                self._drainers.remove(waiter)
                if not waiter[1].done():
                    waiter[1].set_result(None)
        if self._above_threshold and amount <= self._low_threshold:
            self._above_threshold = False
            self.on_buffered_amount_low.emit()
        self._watch_buffer()

    def start_closing(self) -> None:
        """Begin the closing procedure, whichever side wants it."""
        if self._state in (DataChannelState.CLOSING, DataChannelState.CLOSED):
            return
        self._state = DataChannelState.CLOSING
        logger.info("%r: closing", self)
        _wake_all(self._openers)
        self.on_closing.emit()
        self._transport.close_channel(self)

    def set_closed(self, error: RTCError | None = None) -> None:
        """Nothing is sent or received any more; messages that have arrived can still be read."""
        if self._state is DataChannelState.CLOSED:
            return
        self._state = DataChannelState.CLOSED
        logger.info("%r: closed%s", self, f": {error}" if error else "")
        for waiters in (self._openers, self._closers, self._receivers):
            _wake_all(waiters)
        for _, waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)
        self._drainers.clear()
        self._release_window()
        if error is not None:
            self.on_error.emit(error)
        self.on_close.emit()

    async def join(self) -> None:
        """Wait for the handler that is running."""
        await self._events.join()

    def _release_window(self) -> None:
        """What nobody may ever read of a closed channel must not stall the others, whose window it shares."""
        if self._inbox and (self.on_message.handler is None or not self._deliver_to_handler):
            held = sum(size for _, size in self._inbox)
            messages = [(message, 0) for message, _ in self._inbox]
            self._inbox.clear()
            self._inbox.extend(messages)
            self._transport.consumed(held)

    def _watch_buffer(self) -> None:
        """Ask the transport for the next level at which somebody wants to know."""
        amount = self.buffered_amount
        levels = [level for level, _ in self._drainers if level < amount]
        if self._above_threshold:
            levels.append(self._low_threshold)
        self._transport.set_low_threshold(self, max(levels, default=0))

    def _pump(self) -> None:
        if self._inbox and not self._pump_posted and self._deliver_to_handler and self.on_message.handler is not None:
            self._pump_posted = True
            self._events.post("on_message", self._get_deliver, ())

    def _get_deliver(self) -> Callable[[], Awaitable[None] | None]:
        return self._deliver

    def _deliver(self) -> Awaitable[None] | None:
        """Run ``on_message`` for what is here now; what comes meanwhile is posted behind the events before it."""
        self._pump_posted = False
        running, left = self._deliver_until_waiting(len(self._inbox))
        return None if running is None else self._finish_delivery(running, left)

    async def _finish_delivery(self, running: Awaitable[object] | None, left: int) -> None:
        while running is not None:
            try:
                await running
            except (Exception, asyncio.CancelledError):
                if is_cancelled():
                    raise
                logger.exception("%r: the on_message handler raised", self)
            running, left = self._deliver_until_waiting(left)

    def _deliver_until_waiting(self, left: int) -> tuple[Awaitable[object] | None, int]:
        """Deliver up to ``left`` messages; stop at a handler that waits, and say how many are then left."""
        inbox = self._inbox
        consumed = 0
        running: Awaitable[object] | None = None
        while left and inbox and running is None:
            handler = self.on_message.handler
            if handler is None or not self._deliver_to_handler:
                break
            message, size = inbox.popleft()
            consumed += size
            left -= 1
            try:
                result = handler(message)
            except (Exception, asyncio.CancelledError):
                logger.exception("%r: the on_message handler raised", self)
            else:
                if result is not None and inspect.isawaitable(result):
                    running = result
        if consumed:
            self._transport.consumed(consumed)
        return running, left

    def _wake_receiver(self) -> None:
        while self._receivers:
            waiter = self._receivers.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _wait_in(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = self._shared.loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in waiters:
                waiters.remove(waiter)


class DetachedDataChannel(ClosedOnExit):
    """A data channel as a stream of messages, without events (Pion's ``Detach``)."""

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel

    @property
    def channel(self) -> DataChannel:
        return self._channel

    async def read(self) -> bytes | str:
        """The next message. ConnectionClosedError at the end."""
        return await self._channel.recv()

    async def write(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send one message, first waiting until less than 1 MiB is queued. Errors as :meth:`DataChannel.send`."""
        await self._channel.drain(1024 * 1024)
        self._channel.send(data)

    async def close(self) -> None:
        await self._channel.close()


def make_init(init: DataChannelInit | None, init_fields: dict[str, Any]) -> DataChannelInit:
    """``create_data_channel``'s two ways of saying the same. TypeError for a field that does not exist."""
    return replace(init or DataChannelInit(), **init_fields)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(name: str, value: object) -> str:
    """A label or a protocol as DCEP can carry it."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is a string, not {value!r}")
    text = usv_string(value)
    if len(text.encode()) > dcep.LARGEST_TEXT:
        raise ArgumentTypeError(f"{name} is longer than {dcep.LARGEST_TEXT} bytes in UTF-8")
    return text


def _wake_all(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
