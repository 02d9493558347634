"""What the application wants sent: a queue for each stream, and whose turn it is.

Without interleaving (RFC 8260) the fragments of a message carry consecutive TSNs, so a message that was begun is
finished before any other begins (RFC 9260 section 6.9). Between messages the streams take turns, by weighted fair
queueing: of the streams that wait, the one that was served least, in bytes divided by its priority, comes next. A large
message on one stream so delays the small ones of another by one message at most, not by its queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from .chunk import UNORDERED
from .events import AssociationEvent, BufferedAmountLow

# What a message costs beside its bytes when turns are counted: a DATA chunk's and a packet's header.
_MESSAGE_COST = 28


class OutgoingStream:
    """One direction of a stream, for as long as the association lives."""

    __slots__ = ("buffered", "id", "low_threshold", "messages", "next_ssn", "resetting", "virtual_time", "waiting")

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.next_ssn = 0
        self.buffered = 0
        self.low_threshold = 0
        self.resetting = False
        self.virtual_time = 0.0
        self.waiting = False
        """Whether the stream stands in the scheduler's heap."""
        # Made for the first message and dropped with the last: most streams are quiet most of the time.
        self.messages: deque[Message] | None = None


class Message:
    """A user message: what of it has been sent, and when it is given up (RFC 3758, RFC 7496)."""

    __slots__ = (
        "abandoned",
        "accounted",
        "counted",
        "data",
        "expires",
        "flags",
        "length",
        "max_retransmits",
        "ppid",
        "priority",
        "sent",
        "ssn",
        "stream",
    )

    def __init__(
        self,
        stream: OutgoingStream,
        ppid: int,
        data: bytes | bytearray | memoryview,
        ordered: bool,
        max_retransmits: int | None,
        expires: float | None,
        counted: bool,
        priority: int,
    ) -> None:
        self.stream = stream
        self.ppid = ppid
        # As it came: a view of each message would be one more object that the garbage collector looks at.
        self.data = data
        self.length = len(data)
        self.flags = 0 if ordered else UNORDERED
        self.max_retransmits = max_retransmits
        self.expires = expires
        self.counted = counted
        self.priority = priority
        self.ssn = 0
        self.sent = 0
        self.accounted = 0
        """How much of what was sent has left the buffered amount."""
        self.abandoned = False


class SendQueue:
    """The streams with their queues; ``current`` is the message that is being sent."""

    __slots__ = ("_emit", "_sequence", "_virtual_time", "_waiting", "buffered", "current", "streams")

    def __init__(self, emit: Callable[[AssociationEvent], None]) -> None:
        self._emit = emit
        self.streams: dict[int, OutgoingStream] = {}
        self.current: Message | None = None
        self.buffered = 0
        self._waiting: list[tuple[float, int, OutgoingStream]] = []
        self._sequence = 0
        self._virtual_time = 0.0

    def __bool__(self) -> bool:
        """Whether anything waits to be sent for the first time."""
        return self.current is not None or bool(self._waiting)

    def stream(self, stream_id: int) -> OutgoingStream:
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = OutgoingStream(stream_id)
        return stream

    def push(self, message: Message) -> None:
        stream = message.stream
        if stream.messages is None:
            stream.messages = deque()
        stream.messages.append(message)
        if message.counted:
            stream.buffered += message.length
            self.buffered += message.length
        if not stream.waiting:
            # A stream that was quiet is not owed what it did not use.
            if stream.virtual_time < self._virtual_time:
                stream.virtual_time = self._virtual_time
            self._sequence += 1
            stream.waiting = True
            heappush(self._waiting, (stream.virtual_time, self._sequence, stream))

    def select(self, now: float) -> Message | None:
        """The message to send from: the one that was begun, or the next one. It stays ``current`` until it is done."""
        message = self.current
        if message is not None:
            return message
        waiting = self._waiting
        while waiting:
            virtual_time, _, stream = waiting[0]
            messages = stream.messages
            if messages is None:
                heappop(waiting)
                stream.waiting = False
                continue
            message = messages.popleft()
            # The stream pays for the message now, and so waits for its next turn behind those that were served less.
            self._virtual_time = virtual_time
            stream.virtual_time = virtual_time + (message.length + _MESSAGE_COST) / message.priority
            if messages:
                self._sequence += 1
                heapreplace(waiting, (stream.virtual_time, self._sequence, stream))
            else:
                heappop(waiting)
                stream.waiting = False
                stream.messages = None
            if message.expires is not None and now >= message.expires:
                # It has no TSN yet, so nobody needs to be told (RFC 3758 section 4.1, rule TR3).
                self.forget(message)
                continue
            self.current = message
            return message
        return None

    def forget(self, message: Message) -> None:
        """The rest of ``message`` will not be sent."""
        if message is self.current:
            self.current = None
        message.abandoned = True
        message.sent = message.length
        self.account(message)

    def account(self, message: Message) -> None:
        """Take what was sent of a message since the last time off the buffered amount."""
        size = message.sent - message.accounted
        message.accounted = message.sent
        if not message.counted or not size:
            return
        stream = message.stream
        before = stream.buffered
        stream.buffered = after = before - size
        self.buffered -= size
        if before > stream.low_threshold >= after:
            self._emit(BufferedAmountLow(stream.id))

    def has_queued(self, stream_id: int) -> bool:
        """Whether a stream still has data that was never sent."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return False
        return stream.messages is not None or (self.current is not None and self.current.stream is stream)

    def drop_stream(self, stream_id: int) -> None:
        """Forget a stream and all that is queued on it, without a word."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.buffered -= stream.buffered
            stream.messages = None
            if self.current is not None and self.current.stream is stream:
                self.current = None

    def clear(self) -> None:
        self.streams.clear()
        self._waiting.clear()
        self.current = None
        self.buffered = 0
