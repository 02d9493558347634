"""TCP streams on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any, cast

import pytest

from tests.support.real_loop import run_real
from webrtc_py.runtime.network import Stream
from webrtc_py.runtime.tcp import TCPStream, connect_tcp, listen_tcp


class Collector:
    def __init__(self, stream: Stream) -> None:
        self.data = b""
        self.lost: list[Exception | None] = []
        self._changed = asyncio.Event()
        stream.set_receiver(self._on_data, self._on_lost)

    def _on_data(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def _on_lost(self, error: Exception | None) -> None:
        self.lost.append(error)
        self._changed.set()

    async def until(self, size: int = 0, *, lost: bool = False) -> None:
        while len(self.data) < size or (lost and not self.lost):
            self._changed.clear()
            await self._changed.wait()


class Peer:
    """A server for one connection."""

    def __init__(self) -> None:
        self.accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.get_running_loop().create_future()
        )

    async def start(self) -> tuple[str, int]:
        self.server = await asyncio.start_server(lambda r, w: self.accepted.set_result((r, w)), "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        return host, port

    async def stop(self) -> None:
        if self.accepted.done():
            _, writer = self.accepted.result()
            writer.transport.abort()
        self.server.close()
        await self.server.wait_closed()


def test_octets_go_both_ways_and_none_is_lost_before_there_is_a_receiver() -> None:
    async def main() -> None:
        peer = Peer()
        address = await peer.start()
        stream = await connect_tcp(address)
        assert stream.remote_address == address
        reader, writer = await peer.accepted
        writer.write(b"early")
        stream.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        collector = Collector(stream)
        await collector.until(5)
        assert collector.data == b"early"
        assert stream.write_buffer_size == 0
        stream.close()
        assert await reader.read() == b""
        stream.write(b"after close")
        stream.close()
        await peer.stop()
        assert collector.lost == []

    run_real(main())


def test_the_peer_closes() -> None:
    async def main() -> None:
        peer = Peer()
        stream = await connect_tcp(await peer.start())
        collector = Collector(stream)
        _, writer = await peer.accepted
        writer.close()
        await collector.until(lost=True)
        assert len(collector.lost) == 1
        await peer.stop()

    run_real(main())


def test_a_peer_that_closes_and_reads_no_more_is_lost_at_once() -> None:
    """What it has not taken is nothing to wait for: it would hold the connection open for minutes."""

    async def main() -> None:
        peer = Peer()
        stream = await connect_tcp(await peer.start())
        collector = Collector(stream)
        _, writer = await peer.accepted
        transport = cast(asyncio.Transport, writer.transport)
        transport.pause_reading()
        stream.write(bytes(16 << 20))
        assert stream.write_buffer_size
        transport.write_eof()
        await collector.until(lost=True)
        stream.close()
        await peer.stop()

    run_real(main())


def test_a_connection_that_the_peer_has_reset_already_is_lost_and_no_error_in_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            connect = loop.sock_connect

            async def connect_and_be_reset(sock: socket.socket, address: Any) -> None:
                await connect(sock, address)
                accepted, _ = server.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

            loop.sock_connect = connect_and_be_reset  # type: ignore[method-assign]
            stream = await connect_tcp(server.getsockname())
            assert stream.remote_address == server.getsockname()
            collector = Collector(stream)
            await collector.until(lost=True)
            stream.close()

    run_real(main())


def test_a_loss_before_there_is_a_receiver_is_told_to_it() -> None:
    async def main() -> None:
        peer = Peer()
        stream = await connect_tcp(await peer.start())
        await peer.accepted
        assert isinstance(stream, TCPStream)
        assert stream._transport is not None
        stream._transport.abort()
        await asyncio.sleep(0)
        collector = Collector(stream)
        await collector.until(lost=True)
        stream.close()
        await peer.stop()

    run_real(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        peer = Peer()
        address = await peer.start()
        await peer.stop()
        with pytest.raises(OSError):
            await connect_tcp(address)

    run_real(main())


def test_what_a_stalled_peer_has_not_taken_is_known_and_does_not_hold_up_close() -> None:
    async def main() -> None:
        peer = Peer()
        stream = await connect_tcp(await peer.start())
        Collector(stream)
        _, writer = await peer.accepted
        cast(asyncio.Transport, writer.transport).pause_reading()
        for _ in range(100):
            stream.write(bytes(1 << 20))
        assert stream.write_buffer_size > 1 << 20
        stream.close()
        await peer.stop()

    run_real(main())


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.needs("ipv6"))])
def test_a_listener_takes_connections_and_outlives_none(host: str) -> None:
    async def main() -> None:
        listener = await listen_tcp(host)
        accepted: asyncio.Queue[Stream] = asyncio.Queue()
        listener.set_acceptor(accepted.put_nowait)
        near = await connect_tcp(listener.local_address, local_host=host)
        far = await accepted.get()
        assert (near.local_address, near.remote_address) == (far.remote_address, far.local_address)
        near.write(b"early")
        collector = Collector(far)
        await collector.until(5)
        with pytest.raises(OSError):
            await listen_tcp(*listener.local_address)
        listener.close()
        listener.close()
        far.write(b"still here")
        answers = Collector(near)
        await answers.until(10)
        with pytest.raises(OSError):
            await connect_tcp(listener.local_address)
        near.close()
        await collector.until(lost=True)

    run_real(main())


def test_a_listener_without_an_acceptor_turns_connections_away() -> None:
    async def main() -> None:
        listener = await listen_tcp("127.0.0.1")
        near = await connect_tcp(listener.local_address)
        collector = Collector(near)
        await collector.until(lost=True)
        near.close()
        listener.close()

    run_real(main())


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="not applicable: this system shares no ports")
def test_who_listens_may_dial_from_the_same_port() -> None:
    async def main() -> None:
        here = await listen_tcp("127.0.0.1", shares_port=True)
        there = await listen_tcp("127.0.0.1")
        accepted: asyncio.Queue[Stream] = asyncio.Queue()
        there.set_acceptor(accepted.put_nowait)
        near = await connect_tcp(there.local_address, local_host="127.0.0.1", local_port=here.local_address[1])
        far = await accepted.get()
        assert far.remote_address == near.local_address == here.local_address
        far.close()
        near.close()
        here.close()
        there.close()

    run_real(main())


def test_whoever_gives_up_listening_leaves_nothing_in_the_loop() -> None:
    async def main() -> None:
        listening = asyncio.ensure_future(listen_tcp("127.0.0.1"))
        await asyncio.sleep(0)  # now it listens, and is about to return
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert listening.cancelled()
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        for key in selector.get_map().values():
            os.fstat(key.fd)  # which fails for one that is closed

    run_real(main())
