"""DTLS to a TURN server (RFC 7350): a link whose messages go encrypted over UDP."""

from __future__ import annotations

import asyncio
import ssl

from ..dtls import Closed, ConnectionEvent, Failed, ServerConnection, Trust
from ..runtime.driver import Driver
from ..runtime.network import Address, DatagramSocket, Receiver
from ..runtime.shared import Shared
from ..train import Train
from .links import DatagramLink, OnLost, OnTrain

# A train of the largest length, and what is beneath in the loop's own buffers, which the layers above use.
_BUFFER_SIZE = 1 << 17


def trust_of(context: ssl.SSLContext | None) -> Trust:
    """What an application's context for TLS says of servers, for DTLS, which ``ssl`` cannot speak.

    Honoured are ``verify_mode``, ``check_hostname`` and the authorities that are loaded. Without a context it is the
    system's authorities. Not honoured, for they cannot be read: a server's own certificate that is trusted without
    being an authority's; authorities in a directory, from which OpenSSL takes one only when it needs it; the client's
    own certificate; cipher suites; revocation lists.
    """
    if context is None:
        return Trust()
    return Trust(
        tuple(context.get_ca_certs(binary_form=True)),
        verify=context.verify_mode is not ssl.CERT_NONE,
        check_name=context.check_hostname,
    )


async def start_dtls(socket: DatagramSocket, server: Address, host: str, trust: Trust, shared: Shared) -> SecureLink:
    """Make the handshake with the server of this name. Whoever stops waiting closes the socket.

    Raises ConnectionError, saying why, when there is no agreement; the socket is closed then.
    """
    link = SecureLink(socket, server, host, trust, shared)
    try:
        await link.established
    except BaseException:
        link.close()
        raise
    return link


class SecureLink(DatagramLink):
    """A link over DTLS. :func:`start_dtls` makes it."""

    def __init__(self, socket: DatagramSocket, server: Address, host: str, trust: Trust, shared: Shared) -> None:
        self._session = _Session(socket, server, host, trust, shared)
        self.established = self._session.established
        super().__init__(self._session, server)

    def set_receiver(self, on_train: OnTrain, on_lost: OnLost) -> None:
        super().set_receiver(on_train, on_lost)
        self._session.on_lost = on_lost


class _Session:
    """Stands in for the socket: what is sent leaves encrypted, and only what can be decrypted arrives."""

    def __init__(self, socket: DatagramSocket, server: Address, host: str, trust: Trust, shared: Shared) -> None:
        self._socket = socket
        self._server = server
        self._receiver: Receiver | None = None
        self.on_lost: OnLost | None = None
        self.established: asyncio.Future[None] = shared.loop.create_future()
        self._shared = shared
        self._connection = ServerConnection(host, trust, bytearray(_BUFFER_SIZE), bytearray(_BUFFER_SIZE))
        self._driver: Driver[Train, ConnectionEvent] = Driver(self._connection, self._transmit, self._on_event, shared)
        socket.set_receiver(self._receive)
        now = shared.loop.time()
        self._connection.start(now)
        self._driver.flush(now)

    @property
    def local_address(self) -> Address:
        return self._socket.local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self._receiver = receiver

    def send(self, train: Train, address: Address) -> None:
        for records in self._connection.seal(train):
            self._transmit(records)

    def close(self) -> None:
        self._receiver = self.on_lost = None
        now = self._shared.loop.time()
        self._connection.close(now)
        self._driver.flush(now)
        self._driver.close()
        self._socket.close()
        if not self.established.cancel() and not self.established.cancelled():
            self.established.exception()  # taken, in case it came in the moment of a cancellation

    def _transmit(self, train: Train) -> None:
        self._socket.send(train, self._server)

    def _receive(self, train: Train, source: Address, now: float) -> None:
        if source != self._server:
            return
        for messages in self._connection.receive(train, now):
            if self._receiver is not None:
                self._receiver(messages, self._server, now)
        self._driver.flush(now)

    def _on_event(self, event: ConnectionEvent) -> None:
        if not isinstance(event, Failed | Closed):
            if not self.established.done():
                self.established.set_result(None)
            return
        reason = event.reason if isinstance(event, Failed) else "the server closed the DTLS connection"
        if not self.established.done():
            self.established.set_exception(ConnectionError(reason))
        elif self.on_lost is not None:
            on_lost, self.on_lost = self.on_lost, None
            on_lost(reason)
