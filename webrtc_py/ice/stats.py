"""What is counted about candidates and their pairs, as webrtc-stats names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..states import CandidatePairState
from .candidate import Candidate
from .pair import CandidatePair


@dataclass(frozen=True, slots=True)
class CandidateStats:
    """One candidate, with what its pairs have counted together. Times are seconds since the epoch."""

    candidate: Candidate
    generation: str
    """The user fragment of ours under which it is used."""
    selected: bool
    """Whether it is one end of the selected pair."""
    pairs: int
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    last_sent_timestamp: float | None
    """Of checks and data."""
    last_received_timestamp: float | None

    @classmethod
    def of(cls, candidate: Candidate, pairs: Sequence[CandidatePairStats], generation: str) -> CandidateStats:
        """``pairs`` are those of all candidates."""
        mine = [pair for pair in pairs if pair.generation == generation and candidate in (pair.local, pair.remote)]
        sent = [time for pair in mine for time in (pair.last_packet_sent_timestamp, pair.last_request_sent_timestamp)]
        received = [
            time
            for pair in mine
            for time in (
                pair.last_packet_received_timestamp,
                pair.last_request_received_timestamp,
                pair.last_response_received_timestamp,
            )
        ]
        return cls(
            candidate=candidate,
            generation=generation,
            selected=any(pair.selected for pair in mine),
            pairs=len(mine),
            packets_sent=sum(pair.packets_sent for pair in mine),
            packets_received=sum(pair.packets_received for pair in mine),
            bytes_sent=sum(pair.bytes_sent for pair in mine),
            bytes_received=sum(pair.bytes_received for pair in mine),
            last_sent_timestamp=max((time for time in sent if time is not None), default=None),
            last_received_timestamp=max((time for time in received if time is not None), default=None),
        )


@dataclass(frozen=True, slots=True)
class CandidatePairStats:
    """One pair. Times are seconds since the epoch, None before the first; round-trip times are seconds."""

    id: int
    generation: str
    """The user fragment of ours that it belongs to: a restart begins another, whose pairs are counted from 1 again."""
    local: Candidate
    remote: Candidate
    state: CandidatePairState
    priority: int
    nominated: bool
    selected: bool
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    requests_sent: int
    requests_received: int
    responses_sent: int
    responses_received: int
    consent_requests_sent: int
    """Of ``requests_sent`` those that only asked whether the peer still consents to data."""
    retransmissions_sent: int
    """Of ``requests_sent`` those that had been sent before."""
    retransmissions_received: int
    packets_discarded_on_send: int
    """What the application sent while nothing may be sent on the pair, though it is selected, or got no room in TCP."""
    bytes_discarded_on_send: int
    current_round_trip_time: float | None
    smoothed_round_trip_time: float | None
    total_round_trip_time: float
    last_packet_sent_timestamp: float | None
    last_packet_received_timestamp: float | None
    first_request_sent_timestamp: float | None
    last_request_sent_timestamp: float | None
    last_request_received_timestamp: float | None
    last_response_received_timestamp: float | None
    failure: str
    """Why the last check failed; empty when it did not."""

    @classmethod
    def of(cls, pair: CandidatePair, generation: str, *, selected: bool, epoch: float) -> CandidatePairStats:
        """``epoch`` is what to add to the loop's time to get the time of day."""

        def time_of_day(moment: float | None) -> float | None:
            return None if moment is None else moment + epoch

        return cls(
            id=pair.id,
            generation=generation,
            local=pair.local,
            remote=pair.remote,
            state=pair.state,
            priority=pair.priority,
            nominated=pair.nominated,
            selected=selected,
            packets_sent=pair.packets_sent,
            packets_received=pair.packets_received,
            bytes_sent=pair.bytes_sent,
            bytes_received=pair.bytes_received,
            requests_sent=pair.requests_sent,
            requests_received=pair.requests_received,
            responses_sent=pair.responses_sent,
            responses_received=pair.responses_received,
            consent_requests_sent=pair.consent_requests_sent,
            retransmissions_sent=pair.retransmissions_sent,
            retransmissions_received=pair.retransmissions_received,
            packets_discarded_on_send=pair.packets_discarded_on_send,
            bytes_discarded_on_send=pair.bytes_discarded_on_send,
            current_round_trip_time=pair.current_round_trip_time,
            smoothed_round_trip_time=pair.smoothed_round_trip_time,
            total_round_trip_time=pair.total_round_trip_time,
            last_packet_sent_timestamp=time_of_day(pair.last_packet_sent),
            last_packet_received_timestamp=time_of_day(pair.last_packet_received),
            first_request_sent_timestamp=time_of_day(pair.first_request_sent),
            last_request_sent_timestamp=time_of_day(pair.last_request_sent),
            last_request_received_timestamp=time_of_day(pair.last_request_received),
            last_response_received_timestamp=time_of_day(pair.last_response_received),
            failure=pair.failure,
        )
