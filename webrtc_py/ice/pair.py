"""A candidate pair: one path from a base of ours to an address of the peer's, and what is known of it."""

from __future__ import annotations

from ..states import CandidatePairState, CandidateType, TCPType
from .candidate import Candidate, without_zone
from .options import CONSENT_TIMEOUT

Address = tuple[str, int]

# RFC 6298's weight of the newest sample.
_SMOOTHING = 1 / 8


def pair_priority(local: Candidate, remote: Candidate, controlling: bool) -> int:
    """RFC 8445 section 6.1.2.3: both ends compute the same."""
    ours, theirs = local.priority, remote.priority
    g, d = (ours, theirs) if controlling else (theirs, ours)
    return (min(g, d) << 32) + 2 * max(g, d) + (g > d)


class CandidatePair:
    """Identified by ``base_id``, the socket or relay it sends from, and ``destination``, where it sends to.

    ``base`` is the candidate of that socket or relay, which the checks are sent from. ``local`` is the candidate that
    the peer sees: the same, until a check's answer tells of a NAT between (RFC 8445 section 7.2.5.3.1), when the
    server-reflexive or a peer-reflexive one takes its place. So the pair that was checked and the valid pair that
    came of it are one object here: they are one path. Times are the loop's seconds, None before the first.
    """

    __slots__ = (
        "asked_since",
        "base",
        "base_id",
        "bytes_discarded_on_send",
        "bytes_received",
        "bytes_sent",
        "consent_expires",
        "consent_requests_sent",
        "current_round_trip_time",
        "destination",
        "failure",
        "first_request_sent",
        "id",
        "last_packet_received",
        "last_packet_sent",
        "last_received",
        "last_request_received",
        "last_request_sent",
        "last_response_received",
        "last_transaction_received",
        "local",
        "nominate_on_success",
        "nominated",
        "nomination",
        "overdue",
        "packets_discarded_on_send",
        "packets_received",
        "packets_sent",
        "peer_is_there",
        "priority",
        "remote",
        "requests_received",
        "requests_sent",
        "responses_received",
        "responses_sent",
        "retransmissions_received",
        "retransmissions_sent",
        "smoothed_round_trip_time",
        "state",
        "total_round_trip_time",
        "unanswered_since",
    )

    def __init__(
        self, id: int, local: Candidate, base_id: int, remote: Candidate, destination: Address, controlling: bool
    ) -> None:
        self.id = id
        self.base = local
        self.local = local
        self.base_id = base_id
        self.remote = remote
        self.destination = destination
        self.priority = pair_priority(local, remote, controlling)
        self.state = CandidatePairState.FROZEN
        self.nominated = False
        # The first request of the check under way should have been answered by now.
        self.overdue = False
        # The controlling agent has nominated it, but our own check has still to succeed.
        self.nominate_on_success = False
        # The value of its nomination, where there is one (draft-thatcher-ice-renomination).
        self.nomination = 0
        # The peer has answered a check of ours, or made one from this address, which it has signalled as its own.
        self.peer_is_there = False
        # Why the last check failed, for people.
        self.failure = ""
        self.consent_expires = 0.0
        self.last_received: float | None = None
        # When the first request was sent that nothing has been heard after.
        self.asked_since: float | None = None
        # When the first request was sent that no answer has come after, whatever else has.
        self.unanswered_since: float | None = None
        self.requests_sent = 0
        self.requests_received = 0
        self.responses_sent = 0
        self.responses_received = 0
        self.retransmissions_sent = 0
        self.retransmissions_received = 0
        self.consent_requests_sent = 0
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.packets_discarded_on_send = 0
        self.bytes_discarded_on_send = 0
        self.current_round_trip_time: float | None = None
        self.total_round_trip_time = 0.0
        self.smoothed_round_trip_time: float | None = None
        self.first_request_sent: float | None = None
        self.last_request_sent: float | None = None
        self.last_request_received: float | None = None
        self.last_response_received: float | None = None
        self.last_transaction_received = b""
        self.last_packet_sent: float | None = None
        self.last_packet_received: float | None = None

    @property
    def foundation(self) -> tuple[str, str]:
        """RFC 8445 section 6.1.2.6: pairs of one foundation tend to work or fail together."""
        return self.base.foundation, self.remote.foundation

    @property
    def succeeded(self) -> bool:
        return self.state is CandidatePairState.SUCCEEDED

    @property
    def is_stream(self) -> bool:
        """Whether it is a TCP connection, which repeats by itself what is lost."""
        return self.base.transport == "tcp"

    @property
    def is_ours_to_open(self) -> bool:
        """Whether a connection is made by sending on it (RFC 6544 section 7.1)."""
        return self.base.tcp_type in (TCPType.ACTIVE, TCPType.SIMULTANEOUS_OPEN)

    @property
    def is_unproven_stranger(self) -> bool:
        """Whether its remote address is only known from requests, and has never answered a check."""
        return self.remote.type is CandidateType.PRFLX and not (self.succeeded or self.responses_received)

    def has_consent(self, now: float) -> bool:
        """Whether application data may be sent on it (RFC 7675 section 5.1)."""
        return self.succeeded and now < self.consent_expires

    def heard(self, now: float) -> None:
        """Something of the peer's came in on it."""
        self.last_received = now
        self.asked_since = None

    def request_received(self, transaction_id: bytes, now: float) -> None:
        """A check came in, and has been answered."""
        self.requests_received += 1
        self.responses_sent += 1
        if transaction_id == self.last_transaction_received:
            self.retransmissions_received += 1
        self.last_transaction_received = transaction_id
        self.last_request_received = now
        self.heard(now)

    def request_sent(self, now: float, *, again: bool) -> None:
        self.requests_sent += 1
        self.retransmissions_sent += again
        self.last_request_sent = now
        if self.first_request_sent is None:
            self.first_request_sent = now
        if self.asked_since is None:
            self.asked_since = now
        if self.unanswered_since is None:
            self.unanswered_since = now

    def response_received(self, round_trip_time: float | None, now: float) -> None:
        """A check of ours was answered well, which consents to data."""
        self.responses_received += 1
        self.last_response_received = now
        self.unanswered_since = None
        self.consent_expires = now + CONSENT_TIMEOUT
        if round_trip_time is None:
            return
        self.current_round_trip_time = round_trip_time
        self.total_round_trip_time += round_trip_time
        if self.smoothed_round_trip_time is None:
            self.smoothed_round_trip_time = round_trip_time
        else:
            self.smoothed_round_trip_time += _SMOOTHING * (round_trip_time - self.smoothed_round_trip_time)

    def __str__(self) -> str:
        return f"{self.local} -> {self.remote}"

    def __repr__(self) -> str:
        local = f"{self.local.type} {without_zone(self.local.address)}:{self.local.port}"
        remote = f"{self.remote.type} {self.remote.address}:{self.remote.port}"
        return f"<pair {self.id} {local} -> {remote}, {self.state}{', nominated' if self.nominated else ''}>"
