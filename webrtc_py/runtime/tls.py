"""TLS inside any :class:`Stream`: a TCP connection, a tunnel through a proxy, a stream of a virtual network."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

from .network import Address, Stream
from .shared import Shared

# The plaintext of one TLS record.
_MAX_READ = 1 << 14


async def start_tls(
    stream: Stream, context: ssl.SSLContext, server_hostname: str | None, *, server_side: bool = False
) -> Stream:
    """Make the handshake, and give the stream inside. The context says how the certificate and the name are verified.

    Whoever stops waiting closes the stream. Raises OSError: ``ssl.SSLError`` when TLS fails, and
    ``ssl.SSLCertVerificationError`` when the server is not who it should be; the stream is closed then.
    """
    shared = Shared.of_running_loop()
    complete: asyncio.Future[None] = shared.loop.create_future()
    try:
        inside = TLSStream(stream, context, server_hostname, complete, server_side=server_side)
        await complete
    except ValueError as error:
        stream.close()
        if isinstance(error, OSError):  # SSLCertVerificationError is both
            raise
        raise ssl.SSLError(f"{server_hostname!r} is no name for TLS: {error}") from None
    except BaseException:
        stream.close()
        if complete.done() and not complete.cancelled():
            complete.exception()  # taken, in case it came in the moment of a cancellation
        raise
    return inside


class TLSStream:
    """A :class:`Stream`, whose octets go encrypted through another. :func:`start_tls` makes it."""

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        server_hostname: str | None,
        complete: asyncio.Future[None],
        *,
        server_side: bool,
    ) -> None:
        """``complete`` gets the handshake's end, or why there is none. The handshake begins here."""
        self._stream = stream
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._session = context.wrap_bio(
            self._received, self._to_send, server_side=server_side, server_hostname=server_hostname
        )
        self._complete = complete
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._ended = False
        self._error: Exception | None = None
        stream.set_receiver(self._receive, self._lose)
        if not server_side:
            self._handshake()

    @property
    def local_address(self) -> Address:
        return self._stream.local_address

    @property
    def remote_address(self) -> Address:
        return self._stream.remote_address

    @property
    def write_buffer_size(self) -> int:
        return self._stream.write_buffer_size

    def set_receiver(self, on_data: Callable[[bytes], None], on_lost: Callable[[Exception | None], None]) -> None:
        self._on_data, self._on_lost = on_data, on_lost
        had_ended = self._ended
        self._read()  # which tells of an end that only shows now
        if had_ended and self._on_lost is not None:
            on_lost(self._error)

    def write(self, data: bytes) -> None:
        if self._ended or not data:
            return
        try:
            self._session.write(data)
        except ssl.SSLError as error:
            self._lose(error)
            return
        self._flush()

    def close(self) -> None:
        self._on_data = self._on_lost = None
        if not self._ended:
            self._ended = True
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._session.unwrap()  # writes close_notify, and then wants to read the peer's
            self._flush()
        self._stream.close()

    def _receive(self, data: bytes) -> None:
        if self._ended:
            return
        self._received.write(data)
        if self._complete.done():
            self._read()
        else:
            self._handshake()

    def _handshake(self) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except OSError as error:
            self._flush()  # the alert that tells the peer why
            self._lose(error)
        else:
            self._flush()
            if not self._complete.done():
                self._complete.set_result(None)

    def _read(self) -> None:
        """Hand on what can be decrypted; without a receiver it stays where it is."""
        try:
            while self._on_data is not None:
                data = self._session.read(_MAX_READ)
                if not data:
                    raise ssl.SSLZeroReturnError
                self._on_data(data)
        except ssl.SSLWantReadError:
            self._flush()  # a key update is answered
        except ssl.SSLZeroReturnError:
            self._lose(None)
        except OSError as error:
            self._lose(error)

    def _flush(self) -> None:
        data = self._to_send.read()
        if data:
            self._stream.write(data)

    def _lose(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._error = error
        if not self._complete.done():
            self._complete.set_exception(error or ConnectionResetError("the server closed the connection"))
        elif self._on_lost is not None:
            self._on_lost(error)
