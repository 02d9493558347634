"""Closing the streams of data channels: SSN resets (RFC 6525).

One request is under way at a time. The peer's request is done as soon as all that it sent before has arrived; until
then the answer is "in progress", and the peer asks again.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ParseError
from ..serial import diff32
from .chunk import ReconfigChunk
from .events import AssociationEvent, StreamsResetByPeer, StreamsResetDone, StreamsResetFailed
from .inbound import Inbound
from .outbound import Outbound
from .parameter import (
    AddOutgoingStreamsRequest,
    IncomingResetRequest,
    OutgoingResetRequest,
    Parameter,
    ReconfigRequest,
    ReconfigResponse,
    ReconfigResult,
    parse_reconfig,
)

_MASK = 0xFFFFFFFF

# A RE-CONFIG chunk has one or two parameters (RFC 6525 section 3.1).
_MAX_PARAMETERS = 2

# As many stream numbers as leave room for everything else in the smallest packet.
_MAX_STREAMS = 256

# There is no stream 65535: its number is an illegal data channel id, and counts end there (RFC 8831 section 6.2).
_MOST_STREAMS = 65535


class StreamReset:
    """Request numbers begin with ``sequence``, the local initial TSN, and ``peer_sequence``, the peer's."""

    __slots__ = (
        "_answering",
        "_deferred",
        "_emit",
        "_in_progress",
        "_inbound",
        "_last_answer",
        "_outbound",
        "_peer_sequence",
        "_request",
        "_request_due",
        "_responses",
        "_sequence",
        "_waiting",
        "retransmit_at",
        "supported",
    )

    def __init__(
        self,
        sequence: int,
        peer_sequence: int,
        outbound: Outbound,
        inbound: Inbound,
        emit: Callable[[AssociationEvent], None],
        *,
        supported: bool,
    ) -> None:
        self._sequence = sequence
        self._peer_sequence = peer_sequence
        self._outbound = outbound
        self._inbound = inbound
        self._emit = emit
        self.supported = supported
        self.retransmit_at: float | None = None
        self._waiting: list[int] = []
        """Streams to reset, in the order in which it was asked for."""
        self._request: OutgoingResetRequest | None = None
        self._request_due = False
        self._in_progress = False
        self._answering: tuple[int, frozenset[int]] | None = None
        """The peer's request that we reset streams, which our own request for them will answer."""
        self._deferred: OutgoingResetRequest | None = None
        self._last_answer: int | None = None
        """How the peer's last request was answered, for when it is repeated."""
        self._responses: list[ReconfigResponse] = []

    # Our requests.

    def request(self, stream_ids: list[int]) -> None:
        """Reset these outgoing streams when all that is queued on them has been sent."""
        if not self.supported:
            self._fail(stream_ids)
            return
        requested = self._request.stream_ids if self._request is not None else ()
        for stream_id in stream_ids:
            if stream_id not in self._waiting and stream_id not in requested:
                self._waiting.append(stream_id)
                self._outbound.queue.stream(stream_id).resetting = True

    def take_chunk(self, now: float) -> ReconfigChunk | None:
        """The RE-CONFIG that is due, if one is: answers, and the request when none is under way."""
        parameters: list[Parameter] = [response.serialize() for response in self._responses[:_MAX_PARAMETERS]]
        del self._responses[:_MAX_PARAMETERS]
        if self._waiting and self._request is None and len(parameters) < _MAX_PARAMETERS:
            self._make_request()
        if self._request is not None and self._request_due and len(parameters) < _MAX_PARAMETERS:
            parameters.append(self._request.serialize())
            self._request_due = False
            self.retransmit_at = now + self._outbound.round_trip_time.rto
        return ReconfigChunk(tuple(parameters)) if parameters else None

    def _make_request(self) -> None:
        """RFC 6525 section 5.1.2."""
        queue = self._outbound.queue
        ready = [stream_id for stream_id in self._waiting if not queue.has_queued(stream_id)][:_MAX_STREAMS]
        if not ready:
            return
        response_sequence = self._peer_sequence - 1
        if self._answering is not None:
            response_sequence, asked = self._answering
            ready = [stream_id for stream_id in ready if stream_id in asked] or ready
            self._answering = None
        self._waiting = [stream_id for stream_id in self._waiting if stream_id not in ready]
        last_tsn = self._outbound.rtx.next_tsn - 1
        self._request = OutgoingResetRequest(self._sequence, response_sequence & _MASK, last_tsn & _MASK, tuple(ready))
        self._request_due = True
        self._sequence = (self._sequence + 1) & _MASK

    def handle_timeout(self) -> None:
        """The request was not answered, or is not done yet: send it again (RFC 6525 section 5.1.1)."""
        self.retransmit_at = None
        if self._request is None:
            return
        self._request_due = True
        if self._in_progress:
            # The peer is there, and waits for data of ours (section 5.2.7, H2).
            self._in_progress = False
        else:
            self._outbound.errors += 1
            self._outbound.round_trip_time.back_off()

    def _handle_response(self, response: ReconfigResponse, now: float) -> None:
        """RFC 6525 section 5.2.7."""
        request = self._request
        if request is None or response.response_sequence != request.request_sequence:
            return
        if response.result in (ReconfigResult.IN_PROGRESS, ReconfigResult.REQUEST_IN_PROGRESS):
            self._in_progress = True
            self.retransmit_at = now + self._outbound.round_trip_time.rto
            return
        self._request = None
        self._in_progress = False
        self.retransmit_at = None
        streams = list(request.stream_ids)
        if response.result not in (ReconfigResult.PERFORMED, ReconfigResult.NOTHING_TO_DO):
            self._fail(streams)
            return
        for stream_id in streams:
            self._outbound.queue.drop_stream(stream_id)
        self._emit(StreamsResetDone(streams))

    def _fail(self, streams: list[int]) -> None:
        for stream_id in streams:
            stream = self._outbound.queue.streams.get(stream_id)
            if stream is not None:
                stream.resetting = False
        self._emit(StreamsResetFailed(streams))

    # The peer's requests.

    def handle_chunk(self, chunk: ReconfigChunk, now: float) -> None:
        """RFC 6525 section 5.2. ParseError when a parameter is not what its type demands."""
        if not chunk.parameters:
            raise ParseError("an empty RE-CONFIG")
        for parameter in chunk.parameters[:_MAX_PARAMETERS]:
            item = parse_reconfig(parameter)
            if isinstance(item, ReconfigResponse):
                self._handle_response(item, now)
            elif item is not None:
                self._handle_request(item)

    def _handle_request(self, request: ReconfigRequest) -> None:
        sequence = request.request_sequence
        if sequence == self._peer_sequence - 1 & _MASK and self._last_answer is not None:
            # It was repeated: the same answer again (RFC 6525 section 5.2.1), or by now a better one.
            self._answer(sequence, self._last_answer)
        elif sequence != self._peer_sequence:
            self._respond(sequence, ReconfigResult.BAD_SEQUENCE_NUMBER)
        elif self._deferred is not None:
            # Not counted as received: the peer may ask again when the first one is done.
            self._respond(sequence, ReconfigResult.REQUEST_IN_PROGRESS)
        else:
            self._peer_sequence = (sequence + 1) & _MASK
            self._answer(sequence, self._perform(request))

    def _perform(self, request: ReconfigRequest) -> int:
        """Do what the peer asks, if it may be done now; the result to answer with."""
        if isinstance(request, OutgoingResetRequest):
            return self._perform_outgoing(request)
        if isinstance(request, IncomingResetRequest):
            return self._perform_incoming(request)
        if isinstance(request, AddOutgoingStreamsRequest):
            if self._inbound.streams + request.new_streams > _MOST_STREAMS:
                return ReconfigResult.DENIED
            self._inbound.streams += request.new_streams
            return ReconfigResult.PERFORMED
        # More streams of ours than we asked for, or all TSNs anew: nothing in WebRTC has a use for them.
        return ReconfigResult.DENIED

    def _perform_outgoing(self, request: OutgoingResetRequest) -> int:
        """RFC 6525 section 5.2.2."""
        inbound = self._inbound
        if any(stream_id >= inbound.streams for stream_id in request.stream_ids):
            return ReconfigResult.WRONG_SSN
        behind = diff32(request.last_assigned_tsn, inbound.cumulative & _MASK)
        if behind > 0:
            self._deferred = request
            inbound.defer_reset(inbound.cumulative + behind, frozenset(request.stream_ids))
            return ReconfigResult.IN_PROGRESS
        self._reset_inbound(request.stream_ids)
        return ReconfigResult.PERFORMED

    def _reset_inbound(self, stream_ids: tuple[int, ...]) -> None:
        self._inbound.reset_streams(stream_ids)
        self._emit(StreamsResetByPeer(list(stream_ids)))

    def _perform_incoming(self, request: IncomingResetRequest) -> int:
        """RFC 6525 section 5.2.3: the peer wants us to reset our streams."""
        queue = self._outbound.queue
        requested = self._request.stream_ids if self._request is not None else ()
        asked = request.stream_ids or tuple(queue.streams)
        streams = [stream_id for stream_id in asked if stream_id in queue.streams and stream_id not in requested]
        if not streams or not self.supported:
            return ReconfigResult.NOTHING_TO_DO
        self._answering = request.request_sequence, frozenset(streams)
        self.request(streams)
        return ReconfigResult.IN_PROGRESS

    def _answer(self, sequence: int, result: int) -> None:
        self._last_answer = result
        self._respond(sequence, result)

    def _respond(self, sequence: int, result: int) -> None:
        # What is left unanswered in a flood of requests is asked again.
        if len(self._responses) < _MAX_PARAMETERS:
            self._responses.append(ReconfigResponse(sequence, result))

    def data_received(self) -> None:
        """The cumulative TSN may have moved on: do the reset that waited for it."""
        deferred = self._deferred
        if deferred is None or diff32(deferred.last_assigned_tsn, self._inbound.cumulative & _MASK) > 0:
            return
        self._deferred = None
        self._reset_inbound(deferred.stream_ids)
        self._inbound.end_deferral()
        self._answer(deferred.request_sequence, ReconfigResult.PERFORMED)
