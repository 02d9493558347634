"""TLS inside streams of the virtual network: no socket, and OpenSSL's own handshake all the same."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from tests.support.server_certificate import server_certificate
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from tests.support.virtual_stream import VirtualStream
from webrtc_py.runtime.network import Stream
from webrtc_py.runtime.tls import start_tls

NAME = "turn.example"


class End:
    """Collects what a stream brings."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.data = b""
        self.lost: list[Exception | None] = []
        stream.set_receiver(self._on_data, self.lost.append)

    def _on_data(self, data: bytes) -> None:
        self.data += data


def with_streams(test: Callable[[VirtualStream, VirtualStream], Awaitable[None]]) -> None:
    """Run with the two ends of a TCP connection, the client's first."""
    network = VirtualNetwork(delay=0.05)
    alice, server = network.host("alice", "192.0.2.1"), network.host("server", "192.0.2.3")

    async def main() -> None:
        accepted: asyncio.Queue[VirtualStream] = asyncio.Queue()
        listener = server.listen("192.0.2.3", 443, accepted.put_nowait)
        near = await alice.connect_tcp(("192.0.2.3", 443))
        far = await accepted.get()
        await test(near, far)
        near.close()
        far.close()
        await asyncio.sleep(1)
        listener.close()

    run(main())


async def shake_hands(near: Stream, far: Stream) -> tuple[Stream, Stream]:
    certificate = server_certificate(NAME)
    return await asyncio.gather(
        start_tls(near, certificate.client_context(), NAME),
        start_tls(far, certificate.server_context(), None, server_side=True),
    )


def test_octets_go_encrypted_both_ways_in_any_amount() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        client_tls, server_tls = await shake_hands(near, far)
        assert client_tls.remote_address == ("192.0.2.3", 443)
        server_tls.write(b"before there is a receiver")
        await asyncio.sleep(1)
        client, server = End(client_tls), End(server_tls)
        message = bytes(range(256)) * 500
        client_tls.write(message)
        client_tls.write(b"")
        await asyncio.sleep(1)
        assert client.data == b"before there is a receiver"
        assert server.data == message
        client_tls.close()
        client_tls.write(b"after close")
        await asyncio.sleep(1)
        assert (server.data, server.lost, client.lost) == (message, [None], [])
        server_tls.close()

    with_streams(test)


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize("name", ["other.example", "192.0.2.3"])
def test_a_certificate_of_another_name_is_refused(name: str) -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        certificate = server_certificate(NAME)
        results = await asyncio.gather(
            start_tls(near, certificate.client_context(), name),
            start_tls(far, certificate.server_context(), None, server_side=True),
            return_exceptions=True,
        )
        assert isinstance(results[0], ssl.SSLCertVerificationError)

    with_streams(test)


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize(
    "context", [ssl.create_default_context(), server_certificate("turn.example", expired=True).client_context()]
)
def test_a_certificate_that_nobody_vouches_for_is_refused(context: ssl.SSLContext) -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        certificate = server_certificate(NAME, expired=True)
        results = await asyncio.gather(
            start_tls(near, context, NAME),
            start_tls(far, certificate.server_context(), None, server_side=True),
            return_exceptions=True,
        )
        assert isinstance(results[0], ssl.SSLCertVerificationError)
        assert isinstance(results[1], OSError)

    with_streams(test)


@pytest.mark.parametrize("rubbish", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\xff\xff" + bytes(70000)])
def test_what_is_no_tls_ends_the_handshake(rubbish: bytes) -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        far.set_receiver(lambda data: None, lambda error: None)
        far.write(rubbish)
        with pytest.raises(OSError):
            await start_tls(near, server_certificate(NAME).client_context(), NAME)

    with_streams(test)


def test_a_connection_that_ends_in_the_handshake() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        far.close()
        with pytest.raises(ConnectionResetError):
            await start_tls(near, server_certificate(NAME).client_context(), NAME)

    with_streams(test)


def test_who_stops_waiting_closes_the_stream() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await start_tls(near, server_certificate(NAME).client_context(), NAME)
        end = End(far)
        await asyncio.sleep(1)
        assert end.lost == [None]

    with_streams(test)


def test_rubbish_after_the_handshake_ends_the_stream_once() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        client_tls, server_tls = await shake_hands(near, far)
        client, server = End(client_tls), End(server_tls)
        far.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        far.write(b"more of it")
        await asyncio.sleep(1)
        assert len(client.lost) == 1
        assert isinstance(client.lost[0], ssl.SSLError)
        client_tls.write(b"too late")
        await asyncio.sleep(1)
        assert (client.data, server.data) == (b"", b"")
        client_tls.close()
        server_tls.close()

    with_streams(test)


def test_a_loss_before_there_is_a_receiver_is_told_to_it() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        client_tls, server_tls = await shake_hands(near, far)
        End(server_tls)
        server_tls.write(b"last words")
        server_tls.close()
        await asyncio.sleep(1)
        client = End(client_tls)
        assert (client.data, client.lost) == (b"last words", [None])
        client_tls.close()

    with_streams(test)


def test_an_end_that_shows_only_when_somebody_reads_is_told_once() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        client_tls, server_tls = await shake_hands(near, far)
        far.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await asyncio.sleep(1)
        client = End(client_tls)
        await asyncio.sleep(1)
        assert len(client.lost) == 1
        client_tls.close()
        server_tls.close()

    with_streams(test)


def test_a_name_that_cannot_be_one_is_an_error_of_the_connection() -> None:
    async def test(near: VirtualStream, far: VirtualStream) -> None:
        with pytest.raises(OSError, match="no name for TLS"):
            await start_tls(near, server_certificate(NAME).client_context(), ".")

    with_streams(test)
