"""The server's end of a DTLS connection with a client that shows no certificate, as TURN servers are: pyOpenSSL's."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from webrtc_py.dtls.record import cut_flight

from .server_certificate import ServerCertificate

_MTU = 1200
_NOTHING_YET = (SSL.WantReadError, SSL.SysCallError)


class DTLSServerSession:
    """One client's session. Datagrams in; datagrams out, and what the client sent."""

    def __init__(self, certificate: ServerCertificate) -> None:
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.use_certificate(x509.load_pem_x509_certificate(certificate.certificate))
        key = load_pem_private_key(certificate.key, None)
        assert isinstance(key, EllipticCurvePrivateKey)
        context.use_privatekey(key)
        self._connection = SSL.Connection(context, None)
        self._connection.set_ciphertext_mtu(_MTU)
        self._connection.set_accept_state()
        self.established = False
        self.closed = False

    @property
    def server_name(self) -> bytes | None:
        """The name that the client asked for."""
        return self._connection.get_servername()

    def receive(self, datagram: bytes) -> list[bytes]:
        """What the client sent in one datagram."""
        self._connection.bio_write(datagram)
        received = []
        try:
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            while True:
                received.append(self._connection.recv(65536))
        except _NOTHING_YET:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error:
            self.closed = True
        return received

    def send(self, data: bytes) -> None:
        self._connection.send(data)

    def close(self) -> None:
        self._connection.shutdown()

    def output(self) -> list[bytes]:
        """Datagrams for the client."""
        try:
            return cut_flight(self._connection.bio_read(1 << 17), _MTU)
        except SSL.WantReadError:
            return []
