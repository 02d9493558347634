"""What ``get_stats()`` tells: webrtc-stats' dictionaries with its names in snake case.

Sizes are bytes, times are seconds, timestamps are seconds since the epoch. None stands for what is not known (yet).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from .bundle_transport import BundleTransport
from .data_channel import DataChannel
from .dtls.fingerprint import Fingerprint
from .ice.candidate import Candidate
from .ice.stats import CandidatePairStats
from .states import (
    CandidatePairState,
    CandidateType,
    DataChannelState,
    DTLSRole,
    DTLSTransportState,
    ICERole,
    ICETransportState,
)

_PEER_CONNECTION_ID = "peer-connection"
_TRANSPORT_ID = "transport"
_SCTP_TRANSPORT_ID = "sctp-transport"
# There are so few addresses that a hash without a secret would tell them.
_SECRET = secrets.token_bytes(16)
_LOCAL_CERTIFICATE_ID = "local-certificate"
_REMOTE_CERTIFICATE_ID = "remote-certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What all entries have: an id that stays the same, and the time at which the figures were taken."""

    id: str
    timestamp: float
    type: str = field(init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnectionStats(Stats):
    type: str = field(default="peer-connection", init=False)
    data_channels_opened: int
    data_channels_closed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats(Stats):
    """The one transport, as ICE carries it: datagrams of DTLS, without those of STUN."""

    type: str = field(default="transport", init=False)
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    ice_role: ICERole | None
    ice_local_username_fragment: str
    ice_state: ICETransportState
    dtls_state: DTLSTransportState
    dtls_role: DTLSRole
    dtls_cipher: str | None
    selected_candidate_pair_id: str | None
    local_certificate_id: str
    remote_certificate_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SCTPTransportStats(Stats):
    """The association (not in webrtc-stats any more; Pion has it)."""

    type: str = field(default="sctp-transport", init=False)
    transport_id: str
    smoothed_round_trip_time: float | None
    congestion_window: int
    receiver_window: int
    mtu: int
    unacknowledged_data: int
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ICECandidateStats(Stats):
    """``address`` is None for a peer's address that the peer did not tell (webrtc-stats, section 8.12)."""

    type: str
    transport_id: str
    address: str | None
    port: int
    protocol: str
    candidate_type: CandidateType
    priority: int
    foundation: str
    username_fragment: str | None
    related_address: str | None
    related_port: int | None
    url: str | None
    """The server that a local candidate comes from."""
    relay_protocol: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ICECandidatePairStats(Stats):
    type: str = field(default="candidate-pair", init=False)
    transport_id: str
    local_candidate_id: str
    remote_candidate_id: str
    state: CandidatePairState
    nominated: bool
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    last_packet_sent_timestamp: float | None
    last_packet_received_timestamp: float | None
    total_round_trip_time: float
    current_round_trip_time: float | None
    requests_sent: int
    requests_received: int
    responses_sent: int
    responses_received: int
    consent_requests_sent: int
    retransmissions_sent: int
    retransmissions_received: int
    packets_discarded_on_send: int
    bytes_discarded_on_send: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelStats(Stats):
    type: str = field(default="data-channel", init=False)
    label: str
    protocol: str
    data_channel_identifier: int | None
    state: DataChannelState
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStats(Stats):
    type: str = field(default="certificate", init=False)
    fingerprint: str
    fingerprint_algorithm: str
    base64_certificate: str


S = TypeVar("S", bound=Stats)


class StatsReport(dict[str, Stats]):
    """Entries by their id."""

    def of(self, kind: type[S]) -> list[S]:
        """The entries of one kind: ``report.of(ICECandidatePairStats)``."""
        return [entry for entry in self.values() if isinstance(entry, kind)]

    def add(self, entry: Stats) -> None:
        self[entry.id] = entry


def collect(transport: BundleTransport) -> StatsReport:
    """The report of a connection with this transport."""
    now = time.time()
    report = StatsReport()
    sctp = transport.sctp
    report.add(
        PeerConnectionStats(
            id=_PEER_CONNECTION_ID,
            timestamp=now,
            data_channels_opened=sctp.data_channels_opened,
            data_channels_closed=sctp.data_channels_closed,
        )
    )
    for channel in sctp.channels:
        report.add(_data_channel(channel, now))
    pairs = transport.ice.get_candidate_pairs_stats()
    _add_candidates(report, transport, pairs, now)
    for pair in pairs:
        report.add(_candidate_pair(pair, now))
    _add_certificates(report, transport, now)
    report.add(_transport(transport, pairs, now))
    if sctp.association is not None:
        figures = sctp.association.stats
        report.add(
            SCTPTransportStats(
                id=_SCTP_TRANSPORT_ID,
                timestamp=now,
                transport_id=_TRANSPORT_ID,
                smoothed_round_trip_time=figures.smoothed_round_trip_time,
                congestion_window=figures.congestion_window,
                receiver_window=figures.receiver_window,
                mtu=figures.mtu,
                unacknowledged_data=figures.unacknowledged_data,
                bytes_sent=figures.bytes_sent,
                bytes_received=figures.bytes_received,
            )
        )
    return report


def _transport(transport: BundleTransport, pairs: Iterable[CandidatePairStats], now: float) -> TransportStats:
    ice, dtls = transport.ice, transport.dtls
    return TransportStats(
        id=_TRANSPORT_ID,
        timestamp=now,
        packets_sent=ice.traffic.packets_sent,
        packets_received=ice.traffic.packets_received,
        bytes_sent=ice.traffic.bytes_sent,
        bytes_received=ice.traffic.bytes_received,
        ice_role=ice.role,
        ice_local_username_fragment=transport.gatherer.get_local_parameters().username_fragment,
        ice_state=ice.state,
        dtls_state=dtls.state,
        dtls_role=dtls.role,
        dtls_cipher=None if dtls.negotiated is None else dtls.negotiated.cipher_suite,
        selected_candidate_pair_id=next((_pair_id(pair) for pair in pairs if pair.selected), None),
        local_certificate_id=_LOCAL_CERTIFICATE_ID,
        remote_certificate_id=None if dtls.negotiated is None else _REMOTE_CERTIFICATE_ID,
    )


def _data_channel(channel: DataChannel, now: float) -> DataChannelStats:
    return DataChannelStats(
        # Its stream's number may not be known yet, and be another channel's later.
        id=f"data-channel-{id(channel):x}",
        timestamp=now,
        label=channel.label,
        protocol=channel.protocol,
        data_channel_identifier=channel.id,
        state=channel.ready_state,
        messages_sent=channel.messages_sent,
        bytes_sent=channel.bytes_sent,
        messages_received=channel.messages_received,
        bytes_received=channel.bytes_received,
    )


def _candidate_id(side: str, candidate: Candidate, generation: str) -> str:
    """Tells the address to nobody, and stays the same. ``generation`` is our user fragment: restarts find them anew."""
    c = candidate
    path = f"{side} {generation} {c.transport} {c.tcp_type} {c.address} {c.port} {c.type} {c.foundation} {c.priority}"
    return f"{side}-candidate-{hashlib.blake2b(path.encode(), digest_size=8, key=_SECRET).hexdigest()}"


def _pair_id(pair: CandidatePairStats) -> str:
    return f"candidate-pair-{pair.generation}-{pair.id}"


def _add_candidates(
    report: StatsReport, transport: BundleTransport, pairs: Iterable[CandidatePairStats], now: float
) -> None:
    """All that were told, and those that checks brought to light."""
    newest = transport.gatherer.get_local_parameters().username_fragment
    for local in transport.gatherer.get_local_candidates():
        report.add(_candidate("local", local.to_candidate(), newest, now))
    for remote in transport.ice.get_remote_candidates():
        report.add(_candidate("remote", remote.to_candidate(), newest, now))
    for pair in pairs:
        report.add(_candidate("local", pair.local, pair.generation, now))
        report.add(_candidate("remote", pair.remote, pair.generation, now))


def _candidate(side: str, candidate: Candidate, generation: str, now: float) -> ICECandidateStats:
    hidden = side == "remote" and candidate.type is CandidateType.PRFLX
    return ICECandidateStats(
        id=_candidate_id(side, candidate, generation),
        timestamp=now,
        type=f"{side}-candidate",
        transport_id=_TRANSPORT_ID,
        address=None if hidden else candidate.address,
        port=candidate.port,
        protocol=candidate.transport,
        candidate_type=candidate.type,
        priority=candidate.priority,
        foundation=candidate.foundation,
        username_fragment=candidate.ufrag,
        related_address=None if hidden else candidate.related_address,
        related_port=candidate.related_port,
        url=candidate.url or None,
        relay_protocol=candidate.relay_protocol or None,
    )


def _candidate_pair(pair: CandidatePairStats, now: float) -> ICECandidatePairStats:
    return ICECandidatePairStats(
        id=_pair_id(pair),
        timestamp=now,
        transport_id=_TRANSPORT_ID,
        local_candidate_id=_candidate_id("local", pair.local, pair.generation),
        remote_candidate_id=_candidate_id("remote", pair.remote, pair.generation),
        state=pair.state,
        nominated=pair.nominated,
        packets_sent=pair.packets_sent,
        packets_received=pair.packets_received,
        bytes_sent=pair.bytes_sent,
        bytes_received=pair.bytes_received,
        last_packet_sent_timestamp=pair.last_packet_sent_timestamp,
        last_packet_received_timestamp=pair.last_packet_received_timestamp,
        total_round_trip_time=pair.total_round_trip_time,
        current_round_trip_time=pair.current_round_trip_time,
        requests_sent=pair.requests_sent,
        requests_received=pair.requests_received,
        responses_sent=pair.responses_sent,
        responses_received=pair.responses_received,
        consent_requests_sent=pair.consent_requests_sent,
        retransmissions_sent=pair.retransmissions_sent,
        retransmissions_received=pair.retransmissions_received,
        packets_discarded_on_send=pair.packets_discarded_on_send,
        bytes_discarded_on_send=pair.bytes_discarded_on_send,
    )


def _add_certificates(report: StatsReport, transport: BundleTransport, now: float) -> None:
    certificates = {_LOCAL_CERTIFICATE_ID: transport.certificate.der}
    if (remote := transport.dtls.get_remote_certificate()) is not None:
        certificates[_REMOTE_CERTIFICATE_ID] = remote
    for identity, der in certificates.items():
        fingerprint = Fingerprint.of(der)
        report.add(
            CertificateStats(
                id=identity,
                timestamp=now,
                fingerprint=fingerprint.value,
                fingerprint_algorithm=fingerprint.algorithm,
                base64_certificate=base64.b64encode(der).decode(),
            )
        )
