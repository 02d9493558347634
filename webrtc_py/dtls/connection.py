"""A DTLS connection as an engine: handshake with flights of its own, the check of the peer, and records in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from ..errors import InvalidStateError, ParseError
from ..states import DTLSRole
from ..train import MAX_TRAIN_LENGTH, MAX_TRAIN_SEGMENTS, Train
from .check import FingerprintCheck, PeerCheck, ServerCheck, Trust
from .context import CIPHER_SUITES, Identity
from .fingerprint import Fingerprint
from .flight import Flight
from .record import (
    CLIENT_MESSAGES,
    RECORD_HEADER_SIZE,
    SERVER_MESSAGES,
    ContentType,
    Record,
    alert_name,
    check_handshake,
    cut_flight,
    is_one_data_record_each,
    parse_records,
    renumber,
)
from .session import MAX_FEED, PublicSession, SessionClosed, SessionError, open_client_session, open_session
from .srtp import EXPORTER_LABEL, SRTPKeys, SRTPProfile

logger = logging.getLogger(__name__)

# RFC 8831 section 5 and every browser: what passes any path without fragments.
DEFAULT_MTU = 1200
HANDSHAKE_TIMEOUT = 30.0
# In the clear anybody can say that the peer gave up: it is believed when the handshake then stands still.
_ALERT_GRACE = 1.0
# OpenSSL keeps records that come before their keys, 17 KiB for each however short it is: they are counted by bytes, and
# at least so many for each.
_MAX_EARLY = 1 << 15
_EARLY_COST = 1 << 11
# Bytes of records that are kept until the handshake is complete and the peer known.
_MAX_HELD = 1 << 15
# A record is larger than its datagram's share of plaintext by the header, at most 8 bytes of nonce and 16 of tag.
_MAX_OVERHEAD = RECORD_HEADER_SIZE + 24
_ALERT_SIZE = RECORD_HEADER_SIZE + 2
_CLOSE_NOTIFY = 0
_BAD_CERTIFICATE = 42
_FATAL = 2


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """The peer is who its fingerprints say; data may pass. Names are those of the IANA registries."""

    remote_certificate: bytes = field(repr=False)
    """The peer's certificate in DER."""
    cipher_suite: str
    srtp_profile: SRTPProfile | None
    """None when the peer does not speak SRTP, which data channels do not mind."""


@dataclass(frozen=True, slots=True)
class Failed:
    """``error_detail`` is "dtls-failure" or "fingerprint-failure" (W3C RTCErrorDetailType)."""

    reason: str
    error_detail: str


@dataclass(frozen=True, slots=True)
class Closed:
    by_peer: bool


ConnectionEvent = HandshakeCompleted | Failed | Closed


class _State(Enum):
    NEW = auto()
    HANDSHAKE = auto()
    UNVERIFIED = auto()  # the handshake is complete, but the peer's fingerprints are not known yet
    ESTABLISHED = auto()
    CLOSED = auto()
    FAILED = auto()


_ENDED = (_State.CLOSED, _State.FAILED)


class Connection:
    """One DTLS association, from the first ClientHello to close_notify.

    ``remote_fingerprints`` may be None for a server whose answer is still under way; what the peer sends is then held
    until :meth:`set_remote_fingerprints`. ``opened`` and ``sealed`` are the buffers that trains are built in: 128 KiB
    each, shared by all connections of a loop. No datagram of the handshake is longer than ``mtu`` bytes.
    """

    __slots__ = (
        "_check",
        "_early",
        "_events",
        "_flight",
        "_from_peer",
        "_give_up",
        "_handshake_timeout",
        "_heard",
        "_held",
        "_held_size",
        "_mtu",
        "_opened",
        "_outgoing",
        "_peer_alert",
        "_sealed",
        "_sequence",
        "_session",
        "_state",
        "discarded",
        "role",
    )

    def __init__(
        self,
        identity: Identity,
        role: DTLSRole,
        remote_fingerprints: Sequence[Fingerprint] | None,
        opened: bytearray,
        sealed: bytearray,
        *,
        mtu: int = DEFAULT_MTU,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        if role is DTLSRole.AUTO:
            raise ValueError("role must be 'client' or 'server': two ends that both wait never meet")
        check = FingerprintCheck(remote_fingerprints)
        session = open_session(identity, role, mtu, check, opened, sealed)
        self._set_up(role, check, session, opened, sealed, mtu, handshake_timeout)

    def _set_up(
        self,
        role: DTLSRole,
        check: PeerCheck,
        session: PublicSession,
        opened: bytearray,
        sealed: bytearray,
        mtu: int,
        handshake_timeout: float,
    ) -> None:
        self.role = role
        self.discarded = 0
        """Datagrams, or their rest, that no peer would have sent."""
        self._opened = memoryview(opened)
        self._sealed = memoryview(sealed)
        self._mtu = mtu
        self._handshake_timeout = handshake_timeout
        self._check = check
        self._session = session
        self._from_peer = CLIENT_MESSAGES if role is DTLSRole.SERVER else SERVER_MESSAGES
        self._state = _State.NEW
        self._flight = Flight()
        self._give_up = 0.0
        self._heard = False
        self._peer_alert: tuple[int, float] | None = None
        self._early = 0
        self._held: list[bytes] = []
        self._held_size = 0
        self._outgoing: list[bytes] = []
        self._sequence = 0
        self._events: list[ConnectionEvent] = []

    # Commands

    def start(self, now: float) -> None:
        """Begin: a client sends its ClientHello, a server waits for one."""
        if self._state is not _State.NEW:
            raise InvalidStateError("the DTLS connection was started already")
        self._state = _State.HANDSHAKE
        self._give_up = now + self._handshake_timeout
        self._handshake(now)

    def set_remote_fingerprints(self, fingerprints: Sequence[Fingerprint], now: float) -> list[Train]:
        """Say who the peer must be, once that is known. Returns the data that was held until now."""
        assert isinstance(self._check, FingerprintCheck)
        self._check.fingerprints = fingerprints
        lengths: list[int] = []
        if self._state is _State.UNVERIFIED:
            self._verify()
            self._release(lengths)
        return self._trains(lengths)

    def close(self, now: float) -> None:
        """Send close_notify, if there is a session to close. Nothing is received any more."""
        if self._state in (_State.ESTABLISHED, _State.UNVERIFIED):
            self._session.shutdown()
        if self._state not in _ENDED:
            self._end(_State.CLOSED, Closed(by_peer=False))

    def export_keying_material(self, label: str, length: int) -> bytes:
        """Keys for another protocol, equal on both ends (RFC 5705), without a context."""
        self._require_established()
        return self._session.export_keying_material(label, length)

    def srtp_keys(self) -> SRTPKeys | None:
        """The keys of SRTP (RFC 5764 section 4.2), or None when no profile was agreed on."""
        self._require_established()
        profile = self._session.srtp_profile
        if profile is None:
            return None
        material = self._session.export_keying_material(EXPORTER_LABEL, profile.keying_material_length)
        return SRTPKeys.split(profile, material, self.role)

    # The data path

    def seal(self, train: Train) -> Iterator[Train]:
        """The train's datagrams as DTLS records, a train or more in ``sealed``: each valid until the next."""
        data, size = train.data, train.segment_size
        count = max(1, min(MAX_TRAIN_SEGMENTS, MAX_TRAIN_LENGTH // (size + _MAX_OVERHEAD)))
        for start in range(0, len(data), count * size):
            if self._state is not _State.ESTABLISHED:
                return
            part = data[start : start + count * size]
            length = self._session.seal(part, size)
            if length:
                overhead = (length - len(part)) // -(-len(part) // size)
                yield Train(self._sealed[:length], size + overhead)

    def receive(self, train: Train, now: float) -> list[Train]:
        """Take what arrived; returns the data in it, decrypted to ``opened``, valid until the next call."""
        data, size = train.data, train.segment_size
        lengths: list[int] = []
        if self._state is _State.ESTABLISHED and is_one_data_record_each(data, size):
            count = max(1, MAX_FEED // size)
            for start in range(0, len(data), count * size):
                self._open(data[start : start + count * size], count, lengths)
        else:
            for datagram in train:
                self._receive_datagram(datagram, lengths, now)
        return self._trains(lengths)

    def _open(self, records: memoryview | bytes, count: int, lengths: list[int]) -> None:
        """Decrypt up to ``count`` records of data, behind those that ``lengths`` tells of."""
        if self._state is not _State.ESTABLISHED:
            return
        before = len(lengths)
        try:
            self._session.open(records, count, lengths)
        except SessionClosed:
            self._session.shutdown()
            self._end(_State.CLOSED, Closed(by_peer=True))
        except SessionError as error:
            self._fail(f"DTLS failed: {error}")
        if len(lengths) > before and self._flight.records:
            # Who sends data has our Finished.
            self._flight.forget()

    def _trains(self, lengths: list[int]) -> list[Train]:
        """The plaintexts, which lie one behind the other in ``opened``, as trains of equal segments."""
        if not lengths:
            return []
        size, equal = lengths[0], lengths.count(lengths[0])
        if equal == len(lengths) or (equal == len(lengths) - 1 and lengths[-1] < size):
            return [Train(self._opened[: sum(lengths)], size)]
        trains: list[Train] = []
        index = position = 0
        while index < len(lengths):
            size = lengths[index]
            start, end = position, index
            while end < len(lengths) and lengths[end] == size:
                end += 1
            position += size * (end - index)
            if end < len(lengths) and lengths[end] < size:
                position += lengths[end]
                end += 1
            trains.append(Train(self._opened[start:position], size))
            index = end
        return trains

    # Records one by one: the handshake, alerts, and what is no good

    def _receive_datagram(self, datagram: memoryview, lengths: list[int], now: float) -> None:
        try:
            for record in parse_records(datagram):
                if self._state is _State.HANDSHAKE:
                    self._receive_early(record, lengths, now)
                elif self._state in (_State.ESTABLISHED, _State.UNVERIFIED):
                    self._receive_late(record, lengths, now)
                else:
                    return
        except ParseError as error:
            self.discarded += 1
            logger.debug("dropped what came as DTLS: %s", error)

    def _receive_early(self, record: Record, lengths: list[int], now: float) -> None:
        """A record during the handshake: nothing of epoch 0 is authenticated."""
        if record.epoch == 0:
            if record.content_type == ContentType.ALERT:
                self._note_alert(record.payload, now)
                return
            if record.content_type == ContentType.HANDSHAKE:
                check_handshake(record.payload, self._from_peer)
            elif record.content_type != ContentType.CHANGE_CIPHER_SPEC or bytes(record.payload) != b"\x01":
                raise ParseError(f"a record of content type {record.content_type} is not for epoch 0")
        elif record.epoch == 1:
            if record.content_type == ContentType.APPLICATION_DATA:
                # It overtook the peer's Finished.
                self._hold(record)
                return
            # OpenSSL keeps a Finished that comes before its keys (RFC 6347 section 4.1).
            self._early += max(len(record.data), _EARLY_COST)
            if self._early > _MAX_EARLY:
                raise ParseError("too many records came before their keys")
        else:
            raise ParseError(f"there is no epoch {record.epoch}")
        self._heard = True
        self._session.feed(record.data)
        self._handshake(now)
        self._release(lengths)

    def _receive_late(self, record: Record, lengths: list[int], now: float) -> None:
        """A record after the handshake: what is not authenticated changes nothing (RFC 6347 section 4.1.2.7)."""
        if record.content_type in (ContentType.HANDSHAKE, ContentType.CHANGE_CIPHER_SPEC) and record.epoch < 2:
            output = b""
            if record.epoch == 1 and self._state is _State.ESTABLISHED:
                # The peer's Finished once more, which OpenSSL answers with ours when it is no replay; or a
                # renegotiation, which it refuses (RFC 8827 section 6.5).
                self._open(record.data, 1, lengths)
                output = self._session.output()
            if not output and self._flight.wanted(now):
                output = self._flight.records
            self._send(output)
        elif record.epoch != 1:
            raise ParseError(f"content type {record.content_type} of epoch {record.epoch} is not for now")
        elif self._state is _State.ESTABLISHED:
            self._open(record.data, 1, lengths)
        else:
            self._hold(record)

    def _hold(self, record: Record) -> None:
        """Keep what cannot be opened yet, or must not be: who the peer is is not known."""
        if self._held_size + len(record.data) > _MAX_HELD:
            raise ParseError("too many records came before the handshake was complete")
        self._held.append(bytes(record.data))
        self._held_size += len(record.data)

    def _release(self, lengths: list[int]) -> None:
        """Open what was held, if that may be now."""
        if self._held and self._state is _State.ESTABLISHED:
            held, self._held, self._held_size = self._held, [], 0
            for record in held:
                self._open(record, 1, lengths)

    def _note_alert(self, payload: memoryview, now: float) -> None:
        """An alert in the clear, from the peer or from anybody: only a handshake that stands still believes it."""
        if len(payload) != 2:
            raise ParseError(f"an alert of {len(payload)} bytes")
        level, description = payload
        if (level == _FATAL or description == _CLOSE_NOTIFY) and self._peer_alert is None:
            logger.debug("the peer's DTLS seems to refuse: %s", alert_name(description))
            self._peer_alert = (description, now + _ALERT_GRACE)

    # The handshake

    def _handshake(self, now: float) -> None:
        try:
            complete = self._session.handshake()
        except SessionError as error:
            if self._check.refused:
                self._refuse()
            else:
                self._fail(f"DTLS handshake failed: {error}")
            return
        output = self._session.output()
        self._send(output)
        if output and output[0] != ContentType.ALERT and self._flight.replace(output, now):
            self._peer_alert = None
            self._early = 0
        if complete:
            # The server's flight is the last: it is the one that may have to be sent again.
            if self.role is DTLSRole.SERVER:
                self._flight.finish(now)
            else:
                self._flight.forget()
            self._state = _State.UNVERIFIED
            if self._check.is_ready:
                self._verify()

    def _verify(self) -> None:
        """The handshake is complete: is the peer who it should be (RFC 8842 section 5.1)?"""
        certificate = self._session.peer_certificate
        if certificate is None or not self._check.accepts(certificate):
            self._session.shutdown()
            self._refuse()
            return
        self._state = _State.ESTABLISHED
        self._events.append(
            HandshakeCompleted(certificate, CIPHER_SUITES[self._session.cipher], self._session.srtp_profile)
        )

    def _refuse(self) -> None:
        self._fail(self._check.reason, self._check.error_detail)

    def _fail(self, reason: str, error_detail: str = "dtls-failure") -> None:
        self._end(_State.FAILED, Failed(reason, error_detail))

    def _end(self, state: _State, event: ConnectionEvent) -> None:
        """Nothing is sent any more but the alert that the session has written."""
        self._state = state
        alert = self._session.output()
        if self._check.refused and alert and alert[-_ALERT_SIZE] == ContentType.ALERT:
            # It is in the clear. OpenSSL names the certificate's issuer; RFC 8122 section 6.2 wants this description.
            alert = alert[:-1] + bytes((_BAD_CERTIFICATE,))
        self._send(alert)
        self._flight.forget()
        self._held.clear()
        self._events.append(event)

    def _send(self, records: bytes) -> None:
        records, self._sequence = renumber(records, self._sequence)
        self._outgoing += cut_flight(records, self._mtu)

    def _require_established(self) -> None:
        if self._state is not _State.ESTABLISHED:
            raise InvalidStateError("the DTLS connection has no keys: it is not established")

    # The engine's verbs

    def next_timeout(self) -> float | None:
        if self._state is not _State.HANDSHAKE:
            return None
        due = self._give_up
        if self._flight.deadline is not None:
            due = min(due, self._flight.deadline)
        if self._peer_alert is not None:
            due = min(due, self._peer_alert[1])
        return due

    def handle_timeout(self, now: float) -> None:
        if self._state is not _State.HANDSHAKE:
            return
        if self._peer_alert is not None and now >= self._peer_alert[1]:
            self._fail(f"the peer refused the DTLS handshake: {alert_name(self._peer_alert[0])}")
        elif now >= self._give_up:
            what = "the peer's DTLS stopped answering" if self._heard else "no answer from the peer's DTLS"
            self._fail(f"{what}: the handshake took more than {self._handshake_timeout:g} s")
        elif self._flight.deadline is not None and now >= self._flight.deadline:
            self._early = 0
            # A peer that has our flight drops the same records as replays; new numbers make it answer once more.
            if self._session.retransmit_if_due():
                self._flight.replace(self._session.output(), now)
            self._flight.back_off(now)
            self._send(self._flight.records)

    def datagrams_to_send(self, now: float) -> Iterator[Train]:
        """Datagrams of the handshake, and alerts. Data takes the short way through :meth:`seal`."""
        outgoing, self._outgoing = self._outgoing, []
        return map(Train.of, outgoing)

    def events(self) -> list[ConnectionEvent]:
        events, self._events = self._events, []
        return events


class ServerConnection(Connection):
    """A client's connection to a server that is known by its name. The client shows no certificate.

    ``host`` is the name or numeric address that the server's certificate must be for.
    """

    __slots__ = ()

    def __init__(
        self,
        host: str,
        trust: Trust,
        opened: bytearray,
        sealed: bytearray,
        *,
        mtu: int = DEFAULT_MTU,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        check = ServerCheck(trust, host)
        session = open_client_session(host, trust, mtu, check, opened, sealed)
        self._set_up(DTLSRole.CLIENT, check, session, opened, sealed, mtu, handshake_timeout)
