"""What an association reports to who drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


# Not frozen, for there is one for each message, and freezing trebles what it costs to make.
@dataclass(slots=True)
class MessageReceived:
    """A whole message. Its bytes hold the receive window until ``Association.consumed`` is called for them."""

    stream_id: int
    ppid: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Established:
    """Data may flow, on the streams 0 to these counts minus one (RFC 9260 section 5.1.1)."""

    outbound_streams: int
    inbound_streams: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The peer lost the association and made it anew (RFC 9260 section 5.2.4, action A).

    All streams begin again; what was queued or under way on them, in both directions, is gone.
    """

    outbound_streams: int
    inbound_streams: int


@dataclass(frozen=True, slots=True)
class BufferedAmountLow:
    """The stream's buffered amount fell to its threshold."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamsResetByPeer:
    """The peer closed its direction of these streams (RFC 6525), of all when none is named.

    All that it sent before has been reported.
    """

    stream_ids: list[int]


@dataclass(frozen=True, slots=True)
class StreamsResetDone:
    """The peer took our reset of these streams: they begin anew."""

    stream_ids: list[int]


@dataclass(frozen=True, slots=True)
class StreamsResetFailed:
    """The peer refused our reset of these streams, or does not know resets at all."""

    stream_ids: list[int]


@dataclass(frozen=True, slots=True)
class Closed:
    """The association is over; nothing more is reported, sent or taken.

    ``cause_code`` is an error cause of RFC 9260 section 3.3.10 where an ABORT gave one, ``failed`` tells an accident
    from an end that somebody wished for.
    """

    reason: str
    cause_code: int | None = None
    by_peer: bool = False
    failed: bool = False


AssociationEvent: TypeAlias = (
    MessageReceived
    | Established
    | Restarted
    | BufferedAmountLow
    | StreamsResetByPeer
    | StreamsResetDone
    | StreamsResetFailed
    | Closed
)
