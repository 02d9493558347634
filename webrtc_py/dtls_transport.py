"""DTLS on an ICE transport, and what shares its port told apart (W3C RTCDtlsTransport, RFC 7983)."""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Callable, Sequence

from .certificate import Certificate
from .dtls import Closed, Connection, ConnectionEvent, DTLSParameters, Failed, HandshakeCompleted
from .errors import InvalidAccessError, InvalidStateError, RTCError
from .ice_transport import ICETransport
from .mux import PROTOCOL_OF_FIRST_BYTE, Protocol
from .runtime.driver import Driver
from .runtime.event import Event, EventQueue
from .runtime.shared import Shared
from .setting_engine import SettingEngine
from .states import DTLSRole, DTLSTransportState, ICERole, ICETransportState
from .train import Train

logger = logging.getLogger(__name__)

# A ClientHello in two datagrams, sent a few times, and the first SCTP packets. What is not kept, its sender repeats.
_MAX_EARLY_DATAGRAMS = 16
_MAX_EARLY_BYTES = 1 << 15

_PROTOCOLS = bytes(PROTOCOL_OF_FIRST_BYTE)
_ENDED = (DTLSTransportState.CLOSED, DTLSTransportState.FAILED)
_ICE_CONNECTED = (ICETransportState.CONNECTED, ICETransportState.COMPLETED)

DataReceiver = Callable[[Train, float], None]


class _Early:
    """A few datagrams that came before there was somebody to take them."""

    __slots__ = ("_size", "datagrams")

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self._size = 0

    def keep(self, train: Train) -> int:
        """Keep what there is room for; how many there was none for."""
        dropped = 0
        for datagram in train:
            if len(self.datagrams) < _MAX_EARLY_DATAGRAMS and self._size + len(datagram) <= _MAX_EARLY_BYTES:
                self.datagrams.append(bytes(datagram))
                self._size += len(datagram)
            else:
                dropped += 1
        return dropped

    def take(self) -> list[bytes]:
        datagrams, self.datagrams, self._size = self.datagrams, [], 0
        return datagrams


class DTLSTransport:
    """Starts when both the peer's parameters and ICE are there; then carries the data of SCTP, a train at a time.

    Events: ``on_state_change(DTLSTransportState)``, ``on_error(RTCError)``.
    """

    def __init__(
        self,
        ice_transport: ICETransport,
        certificates: Sequence[Certificate] = (),
        setting_engine: SettingEngine | None = None,
    ) -> None:
        """The first of the certificates is used; one is made when there is none. InvalidAccessError if it expired."""
        self._certificate = certificates[0] if certificates else Certificate.generate()
        if self._certificate.expires <= datetime.datetime.now(datetime.UTC):
            raise InvalidAccessError(f"the certificate expired at {self._certificate.expires}")
        self._ice = ice_transport
        self._settings = setting_engine or SettingEngine()
        self._shared = Shared.of_running_loop()
        self._state = DTLSTransportState.NEW
        self._role = DTLSRole.AUTO
        self._remote_parameters: DTLSParameters | None = None
        self._connection: Connection | None = None
        self._driver: Driver[Train, ConnectionEvent] | None = None
        self._negotiated: HandshakeCompleted | None = None
        self._failure = ""
        self._early = _Early()
        self._early_data = _Early()
        self._data_receiver: DataReceiver | None = None
        self._state_listeners: list[Callable[[DTLSTransportState], None]] = []
        self.dropped = 0
        """Datagrams that nobody could take: before or after the connection, of no known protocol, or media."""
        self._events = EventQueue("DTLS transport", self._shared)
        self.on_state_change: Event[DTLSTransportState] = Event("on_state_change", self._events)
        self.on_error: Event[RTCError] = Event("on_error", self._events)
        ice_transport.add_state_listener(self._ice_state_changed)
        ice_transport.set_receiver(self._receive)

    @property
    def ice_transport(self) -> ICETransport:
        """The path below."""
        return self._ice

    @property
    def name(self) -> str:
        """What log lines call the connection."""
        return self._ice.name

    @property
    def state(self) -> DTLSTransportState:
        return self._state

    @property
    def role(self) -> DTLSRole:
        """Our role: "auto" until :meth:`start`."""
        return self._role

    @property
    def negotiated(self) -> HandshakeCompleted | None:
        """What the handshake agreed on, once it is complete."""
        return self._negotiated

    @property
    def failure(self) -> str:
        """Why the transport has failed, in words; empty when it has not."""
        return self._failure

    @property
    def discarded(self) -> int:
        """Datagrams, or their rest, that came as DTLS and were none."""
        return self._connection.discarded if self._connection is not None else 0

    def get_local_parameters(self) -> DTLSParameters:
        """What the peer is to be told."""
        return DTLSParameters(self._role, self._certificate.get_fingerprints())

    def get_remote_certificate(self) -> bytes | None:
        """The peer's certificate in DER, once it is known to be the peer's."""
        return self._negotiated.remote_certificate if self._negotiated is not None else None

    def add_state_listener(self, listener: Callable[[DTLSTransportState], None]) -> None:
        """Tell another part of the stack of each state, before the application's events."""
        self._state_listeners.append(listener)

    def start(self, remote_parameters: DTLSParameters) -> None:
        """Take the peer's parameters; the handshake begins as soon as ICE is connected.

        When their role is "auto", ours is the setting's answering role, or else the server's if we control ICE, as an
        offerer does. InvalidStateError when it was started or stopped; InvalidAccessError when no fingerprint is of a
        hash function that we verify.
        """
        if self._remote_parameters is not None or self._state is not DTLSTransportState.NEW:
            raise InvalidStateError(f"the DTLS transport was started already, or is {self._state.value}")
        if not any(fingerprint.usable for fingerprint in remote_parameters.fingerprints):
            names = ", ".join(fingerprint.algorithm for fingerprint in remote_parameters.fingerprints) or "none"
            raise InvalidAccessError(f"a fingerprint by sha-256, sha-384 or sha-512 is needed, not {names}")
        self._remote_parameters = remote_parameters
        self._role = self._choose_role(DTLSRole(remote_parameters.role))
        if self._ice.state in _ICE_CONNECTED:
            self._begin(remote_parameters)

    def stop(self) -> None:
        """Send close_notify, if there is a session to close, and end everything."""
        if self._state is DTLSTransportState.CLOSED:
            return
        if self._connection is not None:
            now = self._shared.loop.time()
            self._connection.close(now)
            # Not through the driver: this may be called from inside its flush, and its events are no news here.
            for train in self._connection.datagrams_to_send(now):
                self._ice.send(train)
        self._end(DTLSTransportState.CLOSED, "stopped")

    async def join(self) -> None:
        """Wait for the handlers that are running."""
        await self._events.join()

    # The data path, for the SCTP transport

    def send(self, train: Train) -> None:
        """Seal and send now. What is sent before or after the connection is dropped and counted."""
        connection = self._connection
        if connection is None or self._state is not DTLSTransportState.CONNECTED:
            self.dropped += len(train)
            return
        for sealed in connection.seal(train):
            self._ice.send(sealed)

    def set_data_receiver(self, receiver: DataReceiver | None) -> None:
        """Who takes the decrypted data. A few datagrams that came before are handed over at once."""
        self._data_receiver = receiver
        if receiver is not None:
            now = self._shared.loop.time()
            for datagram in self._early_data.take():
                receiver(Train.of(datagram), now)

    def _receive(self, train: Train, now: float) -> None:
        """Tell protocols apart by the first byte (RFC 7983 section 7). Nearly always a train is of one."""
        protocols = train.first_bytes().translate(_PROTOCOLS)
        if protocols.count(Protocol.DTLS) == len(protocols):
            self._receive_dtls(train, now)
            return
        data, size = train.data, train.segment_size
        start = 0
        for protocol, group in itertools.groupby(protocols):
            end = start + size * len(list(group))
            part = Train(data[start:end], size)
            start = end
            if protocol == Protocol.DTLS:
                self._receive_dtls(part, now)
            elif protocol == Protocol.RTP:
                self._receive_media(part, now)
            else:
                self.dropped += len(part)

    def _receive_dtls(self, train: Train, now: float) -> None:
        connection, driver = self._connection, self._driver
        if connection is None or driver is None:
            # A ClientHello that outran the answer, or ICE's last check (RFC 8842 section 5.2).
            self.dropped += len(train) if self._state in _ENDED else self._early.keep(train)
            return
        opened = connection.receive(train, now)
        if self._state is DTLSTransportState.CONNECTING:
            # The layer above hears of the connection before it gets data.
            driver.flush(now)
        for data in opened:
            if self._data_receiver is not None:
                self._data_receiver(data, now)
            elif self._state is DTLSTransportState.CONNECTED:
                self.dropped += self._early_data.keep(data)
        driver.flush(now)

    def _receive_media(self, train: Train, now: float) -> None:
        """SRTP and SRTCP: media takes them here. Nothing of them is ever taken as it is (RFC 8827 section 6.5)."""
        self.dropped += len(train)

    # The handshake

    def _choose_role(self, remote_role: DTLSRole) -> DTLSRole:
        if remote_role is DTLSRole.CLIENT:
            return DTLSRole.SERVER
        if remote_role is DTLSRole.SERVER:
            return DTLSRole.CLIENT
        if self._settings.answering_dtls_role is not None:
            return self._settings.answering_dtls_role
        return DTLSRole.SERVER if self._ice.role is ICERole.CONTROLLING else DTLSRole.CLIENT

    def _ice_state_changed(self, state: ICETransportState) -> None:
        if self._state in _ENDED:
            return
        if state is ICETransportState.CLOSED:
            self._end(DTLSTransportState.CLOSED, "the ICE transport is closed")
        elif state in _ICE_CONNECTED and self._remote_parameters is not None and self._connection is None:
            self._begin(self._remote_parameters)

    def _begin(self, remote_parameters: DTLSParameters) -> None:
        self._connection = Connection(
            self._certificate,
            self._role,
            remote_parameters.fingerprints,
            self._shared.opened,
            self._shared.sealed,
        )
        self._driver = Driver(self._connection, self._ice.send, self._handle_event, self._shared)
        self._set_state(DTLSTransportState.CONNECTING, f"as {self._role.value}")
        now = self._shared.loop.time()
        self._connection.start(now)
        self._driver.flush(now)
        for datagram in self._early.take():
            self._receive_dtls(Train.of(datagram), now)

    def _handle_event(self, event: ConnectionEvent) -> None:
        match event:
            case HandshakeCompleted():
                self._negotiated = event
                self._set_state(DTLSTransportState.CONNECTED, event.cipher_suite)
            case Failed():
                self._failure = event.reason
                self.on_error.emit(RTCError(event.error_detail, event.reason))
                self._end(DTLSTransportState.FAILED, event.reason)
            case Closed(by_peer=True):
                self._end(DTLSTransportState.CLOSED, "by the peer")

    def _end(self, state: DTLSTransportState, why: str) -> None:
        if self._driver is not None:
            self._driver.close()
        self._early.take()
        self._early_data.take()
        self._set_state(state, why)
        if state is DTLSTransportState.CLOSED:
            self._events.close_after_queued()

    def _set_state(self, state: DTLSTransportState, why: str) -> None:
        logger.info("DTLS %s: %s -> %s (%s)", self._ice.name, self._state.value, state.value, why)
        self._state = state
        for listener in list(self._state_listeners):
            listener(state)
        self.on_state_change.emit(state)
