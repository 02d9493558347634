"""OpenSSL's half of a connection: a session on two memory BIOs, and the calls that seal and open records.

:class:`PublicSession` uses what pyOpenSSL documents. :class:`Session` makes the same calls through the functions
beneath, on buffers that are there already: a third of the time for each record. Where a pyOpenSSL has other private
names, :func:`open_session` quietly takes the first.

A memory BIO is a stream and keeps no datagram boundaries. OpenSSL reads 16 KiB of it at a time, and a record that is
cut there is lost: so at most MAX_FEED bytes of whole records are written before they are read again.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from ..states import DTLSRole
from .check import PeerCheck, Trust, is_numeric
from .context import Identity, certificate_der, client_context, shared_context
from .srtp import SRTPProfile

_ffi: Any
_lib: Any
try:
    from OpenSSL._util import ffi as _ffi
    from OpenSSL._util import lib as _lib
except ImportError:  # pragma: no cover
    _ffi = _lib = None

MAX_FEED = 16384
_MAX_OUTPUT = 1 << 17
_WANT_READ = (SSL.WantReadError, SSL.SysCallError)
"""Nothing to read. OpenSSL says SysCallError when it dropped a handshake fragment that made no sense."""


class SessionError(Exception):
    """OpenSSL gave the session up. The message is its reason, such as "no shared cipher"."""


class SessionClosed(SessionError):
    """The peer sent close_notify."""


class PublicSession:
    """One DTLS session. What the network does wrong ends in SessionError or in nothing; nothing else is raised.

    ``opened`` and ``sealed`` are the buffers that plaintexts and records are written to.
    """

    def __init__(self, connection: SSL.Connection, opened: bytearray, sealed: bytearray) -> None:
        self.connection = connection
        self._opened = memoryview(opened)
        self._sealed = memoryview(sealed)

    # The handshake

    def feed(self, records: memoryview | bytes) -> None:
        """Hand over whole records, at most MAX_FEED bytes of them or a single one."""
        self.connection.bio_write(records)

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is complete."""
        try:
            self.connection.do_handshake()
        except _WANT_READ:
            return False
        except SSL.ZeroReturnError:
            raise SessionClosed("the peer closed DTLS during the handshake") from None
        except SSL.Error as error:
            raise SessionError(_reason(error)) from None
        return True

    def retransmit_if_due(self) -> bool:
        """Let OpenSSL send its flight again, with new record numbers, if its own clock says so."""
        if self.connection.DTLSv1_get_timeout() != 0:
            return False
        try:
            return self.connection.DTLSv1_handle_timeout()
        except (SSL.Error, *_WANT_READ):
            return False

    def output(self) -> bytes:
        """The records that OpenSSL wrote since the last call, apart from those that :meth:`seal` returned."""
        try:
            return self.connection.bio_read(_MAX_OUTPUT)
        except SSL.WantReadError:
            return b""

    def shutdown(self) -> None:
        """Write a close_notify, if there is a session to close."""
        try:
            self.connection.shutdown()
        except SSL.Error:
            return

    # Records of application data

    def open(self, records: memoryview | bytes, count: int, lengths: list[int]) -> None:
        """Decrypt ``count`` records to ``opened``, behind those whose lengths are in ``lengths``; theirs are appended.

        A record that is forged, replayed or no application data is left out. SessionClosed on close_notify.
        """
        connection, opened, position = self.connection, self._opened, sum(lengths)
        connection.bio_write(records)
        try:
            for _ in range(count):
                plaintext = connection.recv(min(MAX_FEED, len(opened) - position))
                length = len(plaintext)
                opened[position : position + length] = plaintext
                lengths.append(length)
                position += length
        except _WANT_READ:
            pass
        except SSL.ZeroReturnError:
            raise SessionClosed("the peer closed DTLS") from None
        except SSL.Error as error:
            raise SessionError(_reason(error)) from None

    def seal(self, data: memoryview, size: int) -> int:
        """Encrypt each ``size`` bytes of ``data`` to a record, one behind the other in ``sealed``. Their length."""
        connection = self.connection
        try:
            for start in range(0, len(data), size):
                connection.send(data[start : start + size])
            records = connection.bio_read(len(self._sealed))
        except SSL.Error:
            return 0
        self._sealed[: len(records)] = records
        return len(records)

    # What the handshake agreed on

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite."""
        return self.connection.get_cipher_name() or ""

    @property
    def srtp_profile(self) -> SRTPProfile | None:
        name = self.connection.get_selected_srtp_profile().decode()
        return SRTPProfile[name] if name else None

    def export_keying_material(self, label: str, length: int) -> bytes:
        return self.connection.export_keying_material(label.encode(), length)

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER."""
        certificate = self.connection.get_peer_certificate()
        return None if certificate is None else certificate_der(certificate)


class Session(PublicSession):
    """The same, with the calls for each record made directly."""

    def __init__(self, connection: SSL.Connection, opened: bytearray, sealed: bytearray) -> None:
        super().__init__(connection, opened, sealed)
        self._ssl: Any = connection._ssl
        self._into: Any = connection._into_ssl
        self._from: Any = connection._from_ssl
        self._opened_at: Any = _ffi.from_buffer(opened)
        self._sealed_at: Any = _ffi.from_buffer(sealed)

    def open(self, records: memoryview | bytes, count: int, lengths: list[int]) -> None:
        read, ssl, position = _lib.SSL_read, self._ssl, sum(lengths)
        at, room = self._opened_at + position, len(self._opened) - position
        # What another call left in the thread's error queue would be taken for a failure of this one.
        _lib.ERR_clear_error()
        _lib.BIO_write(self._into, _ffi.from_buffer(records), len(records))
        for _ in range(count):
            # A read that finds nothing is slower than one that finds something, so the records are counted.
            length = read(ssl, at, room)
            if length <= 0:
                self._check(length)
                break
            lengths.append(length)
            at += length
            room -= length

    def seal(self, data: memoryview, size: int) -> int:
        write, ssl, at = _lib.SSL_write, self._ssl, _ffi.from_buffer(data)
        left = len(data)
        while left > 0:
            if write(ssl, at, size if left > size else left) <= 0:
                _lib.ERR_clear_error()
                return 0
            at += size
            left -= size
        length: int = _lib.BIO_read(self._from, self._sealed_at, len(self._sealed))
        return max(length, 0)

    def _check(self, result: int) -> None:
        """Why a read gave nothing."""
        error = _lib.SSL_get_error(self._ssl, result)
        if error in (_lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_SYSCALL):
            return
        if error == _lib.SSL_ERROR_ZERO_RETURN:
            raise SessionClosed("the peer closed DTLS")
        reason = _lib.ERR_reason_error_string(_lib.ERR_get_error())
        _lib.ERR_clear_error()
        raise SessionError(_ffi.string(reason).decode() if reason else "DTLS failed")


def open_session(
    identity: Identity,
    role: DTLSRole,
    mtu: int,
    check: PeerCheck,
    opened: bytearray,
    sealed: bytearray,
) -> PublicSession:
    """A session with a certificate, in the given role. No record of its handshake is longer than ``mtu`` bytes.

    ``check`` is asked about the peer's certificate.
    """
    connection = SSL.Connection(shared_context(), None)
    connection.use_certificate(identity.x509)
    connection.use_privatekey(identity.private_key)
    if role is DTLSRole.SERVER:
        connection.set_accept_state()
    else:
        connection.set_connect_state()
    return _session_of(connection, mtu, check, opened, sealed)


def open_client_session(
    host: str, trust: Trust, mtu: int, check: PeerCheck, opened: bytearray, sealed: bytearray
) -> PublicSession:
    """A session without a certificate, with the server of this name or numeric address."""
    connection = SSL.Connection(client_context(trust), None)
    if not is_numeric(host):  # a numeric address is no server name (RFC 6066 section 3)
        connection.set_tlsext_host_name(host.encode())
    connection.set_connect_state()
    return _session_of(connection, mtu, check, opened, sealed)


def _session_of(
    connection: SSL.Connection, mtu: int, check: PeerCheck, opened: bytearray, sealed: bytearray
) -> PublicSession:
    connection.set_ciphertext_mtu(mtu)
    connection.set_app_data(check)
    session = Session if has_private_calls(connection) else PublicSession
    return session(connection, opened, sealed)


def has_private_calls(connection: SSL.Connection) -> bool:
    """Whether this pyOpenSSL has the private names that :class:`Session` uses."""
    names = ("SSL_read", "SSL_write", "SSL_get_error", "BIO_read", "BIO_write", "ERR_get_error", "ERR_clear_error")
    return all(hasattr(_lib, name) for name in names) and all(
        hasattr(connection, name) for name in ("_ssl", "_into_ssl", "_from_ssl")
    )


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words for what went wrong: the last part of the first entry of its error queue."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return str(queue[0][-1]) or "DTLS failed"
    return "DTLS failed"
