"""A relay's links to its server: trains over UDP, messages over a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.turn_server import FakeTurnServer
from tests.support.virtual_loop import run
from webrtc_py.errors import ParseError
from webrtc_py.ice.links import DatagramLink, Link, MessageFramer, StreamLink
from webrtc_py.ice.relay import Allocation, Relay
from webrtc_py.runtime.network import Address, Receiver
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import Train

SERVER = ("192.0.2.3", 3478)
PEER = ("192.0.2.77", 5000)


class LoopbackSocket:
    """A datagram socket on whose other side a server sits."""

    local_address = ("192.0.2.1", 1000)

    def __init__(self, server: FakeTurnServer) -> None:
        self.server = server
        self.trains: list[tuple[bytes, int]] = []
        self.closed = False
        self.receiver: Receiver | None = None

    def set_receiver(self, receiver: Receiver | None) -> None:
        self.receiver = receiver

    def send(self, train: Train, address: Address) -> None:
        assert address == SERVER
        self.trains.append((bytes(train.data), train.segment_size))
        for datagram in train:
            for answer in self.server.receive(bytes(datagram)):
                asyncio.get_running_loop().call_soon(self.deliver, Train.of(answer))

    def deliver(self, train: Train, source: Address = SERVER) -> None:
        if self.receiver is not None:
            self.receiver(train, source, asyncio.get_running_loop().time())

    def close(self) -> None:
        self.closed = True


class StalledStream:
    """A stream whose other end has stopped reading, from the moment a test says so."""

    local_address = ("192.0.2.1", 1000)
    remote_address = SERVER

    def __init__(self, server: FakeTurnServer) -> None:
        self.server = server
        self.write_buffer_size = 0
        self.stalled = False
        self.written = b""
        self.closed = False

    def set_receiver(self, on_data: Callable[[bytes], None], on_lost: Callable[[Exception | None], None]) -> None:
        self.on_data = on_data
        self.on_lost = on_lost

    def write(self, data: bytes) -> None:
        self.written += data
        if self.stalled:
            self.write_buffer_size += len(data)
            return
        for message in MessageFramer().feed(data):
            for answer in self.server.receive(bytes(message)):
                asyncio.get_running_loop().call_soon(self.on_data, answer)

    def close(self) -> None:
        self.closed = True


class Lost:
    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.refused: list[str] = []

    def make(self, link: Link, families: tuple[int, ...] = (4,)) -> Allocation:
        return Allocation(
            link,
            username="user",
            password="secret",
            families=families,
            shared=Shared.of_running_loop(),
            on_lost=lambda relay, reason: self.reasons.append(reason),
            on_refused=lambda relay, host, reason: self.refused.append(host),
        )


async def udp_relay() -> tuple[Relay, LoopbackSocket, list[tuple[list[bytes], Address]]]:
    """A relay with a channel to PEER; what peers send is collected train by train."""
    socket = LoopbackSocket(FakeTurnServer())
    allocation = Lost().make(DatagramLink(socket, SERVER))
    allocated = await allocation.allocate(5.0)
    [relay] = allocation.relays
    assert (relay.local_address,) == allocated.relayed == (("203.0.113.9", 50000),)
    got: list[tuple[list[bytes], Address]] = []
    relay.set_receiver(lambda train, source, now: got.append(([bytes(one) for one in train], source)))
    relay.bind_channel(PEER, asyncio.get_running_loop().time())
    await asyncio.sleep(0.1)
    socket.trains.clear()
    return relay, socket, got


def train_of(sizes: list[int], segment: int) -> Train:
    return Train(memoryview(b"".join(bytes([n + 1]) * size for n, size in enumerate(sizes))), segment)


@pytest.mark.parametrize("sizes", [[7], [100] * 50, [100] * 9 + [1], [1, 1]])
def test_a_train_goes_as_a_train_of_channel_data(sizes: list[int]) -> None:
    async def main() -> None:
        relay, socket, _ = await udp_relay()
        train = train_of(sizes, sizes[0])
        relay.send(train, PEER)
        [(data, segment)] = socket.trains
        assert segment == sizes[0] + 4
        assert len(data) == sum(sizes) + 4 * len(sizes)
        assert socket.server.to_peers == [(bytes(one), PEER) for one in train]
        await relay.close()
        assert socket.closed
        assert not socket.server.allocated

    run(main())


@pytest.mark.parametrize("sizes", [[7], [100] * 50, [100] * 9 + [1], [1, 1]])
def test_a_train_of_channel_data_comes_as_a_train(sizes: list[int]) -> None:
    async def main() -> None:
        relay, socket, got = await udp_relay()
        datagrams = [bytes(one) for one in train_of(sizes, sizes[0])]
        wrapped = b"".join(b"\x40\x00" + len(one).to_bytes(2, "big") + one for one in datagrams)
        socket.deliver(Train(memoryview(wrapped), sizes[0] + 4))
        assert got == [(datagrams, PEER)]
        await relay.close()

    run(main())


@pytest.mark.row("DMX-05")
@pytest.mark.parametrize(
    "wrapped",
    [
        b"\x40\x00\x00\x04aaaa\x40\x00\x00\x05bbbb\x40\x00\x00\x04cccc",  # one lies about its length
        b"\x40\x00\x00\x04aaaa\x40\x01\x00\x04bbbb\x40\x00\x00\x04cccc",  # one is of a channel that nobody bound
        b"\x40\x00\x00\x04aaaa\xff\x00\x00\x04bbbb\x40\x00\x00\x04cccc",  # one is no message
        b"\x40\x00\x00\x04aaaa\x00\x01\x00\x00bbbb\x40\x00\x00\x04cccc",
    ],
)
def test_one_bad_message_in_a_train_costs_itself(wrapped: bytes) -> None:
    async def main() -> None:
        relay, socket, got = await udp_relay()
        socket.deliver(Train(memoryview(wrapped), 8))
        assert [datagram for datagrams, _ in got for datagram in datagrams] == [b"aaaa", b"cccc"]
        await relay.close()

    run(main())


@pytest.mark.row("TRN-15")
def test_datagrams_from_elsewhere_are_dropped() -> None:
    async def main() -> None:
        relay, socket, got = await udp_relay()
        socket.deliver(Train.of(b"\x40\x00\x00\x02hi"), ("192.0.2.3", 9))
        socket.deliver(Train.of(b"\x40\x00\x00\x02hi"), ("192.0.2.4", 3478))
        assert got == []
        await relay.close()

    run(main())


@given(st.binary(min_size=1, max_size=80), st.integers(1, 80))
def test_any_train_from_the_server_is_taken_or_dropped(data: bytes, size: int) -> None:
    async def main() -> None:
        relay, socket, got = await udp_relay()
        socket.deliver(Train(memoryview(data), size))
        assert all(source == PEER for _, source in got)
        relay.abort()

    run(main())


def test_a_stream_that_does_not_keep_up_loses_datagrams_and_not_memory() -> None:
    async def main() -> None:
        stream = StalledStream(FakeTurnServer())
        lost = Lost()
        allocation = lost.make(StreamLink(stream, Shared.of_running_loop()))
        await allocation.allocate(5.0)
        [relay] = allocation.relays
        relay.bind_channel(PEER, asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        relay.send(train_of([3], 3), PEER)
        assert stream.server.to_peers == [(b"\1\1\1", PEER)]
        assert stream.written.endswith(b"\x40\x00\x00\x03\1\1\1\0")
        stream.stalled = True
        for _ in range(1000):
            relay.send(train_of([1200] * 20, 1200), PEER)
        assert stream.write_buffer_size < (256 << 10) + 25_000
        await relay.close()  # the server cannot answer: a second, and no longer
        assert stream.closed
        assert lost.reasons == []

    run(main())


def test_a_request_is_sent_even_where_data_has_no_room() -> None:
    """Over a stream nothing is sent again, so a refresh that is dropped would cost the allocation."""

    async def main() -> None:
        stream = StalledStream(FakeTurnServer())
        allocation = Lost().make(StreamLink(stream, Shared.of_running_loop()))
        await allocation.allocate(5.0)
        [relay] = allocation.relays
        now = asyncio.get_running_loop().time()
        relay.bind_channel(PEER, now)
        relay.permit("192.0.2.77", now)
        await asyncio.sleep(0.1)
        stream.stalled = True
        for _ in range(1000):
            relay.send(train_of([1200] * 20, 1200), PEER)
        full = stream.write_buffer_size
        relay.send(train_of([1200], 1200), ("192.0.2.77", 7))
        assert stream.write_buffer_size == full
        relay.permit("192.0.2.78", now)
        assert stream.write_buffer_size > full
        relay.abort()

    run(main())


def test_a_lost_connection_is_told_once() -> None:
    async def main() -> None:
        stream = StalledStream(FakeTurnServer())
        lost = Lost()
        allocation = lost.make(StreamLink(stream, Shared.of_running_loop()))
        await allocation.allocate(5.0)
        [relay] = allocation.relays
        stream.on_lost(ConnectionResetError("reset by peer"))
        stream.on_lost(None)
        assert len(lost.reasons) == 1
        assert "reset by peer" in lost.reasons[0]
        await relay.close()

    run(main())


def test_rubbish_on_a_stream_ends_it() -> None:
    async def main() -> None:
        stream = StalledStream(FakeTurnServer())
        lost = Lost()
        allocation = lost.make(StreamLink(stream, Shared.of_running_loop()))
        await allocation.allocate(5.0)
        [relay] = allocation.relays
        stream.on_data(b"\xff\xff\xff\xff")
        assert stream.closed
        assert len(lost.reasons) == 1
        relay.abort()

    run(main())


@pytest.mark.row("TRN-08")
def test_each_family_of_an_allocation_has_a_socket_of_its_own() -> None:
    async def main() -> None:
        server = FakeTurnServer(also_relayed=("2001:db8::9", 50001))
        socket = LoopbackSocket(server)
        lost = Lost()
        allocation = lost.make(DatagramLink(socket, SERVER), families=(4, 6))
        await allocation.allocate(5.0)
        ipv4, ipv6 = allocation.relays
        assert (ipv4.local_address[0], ipv6.local_address[0]) == ("203.0.113.9", "2001:db8::9")
        got: list[tuple[str, bytes]] = []
        ipv4.set_receiver(lambda train, source, now: got.append(("IPv4", bytes(train.data))))
        ipv6.set_receiver(lambda train, source, now: got.append(("IPv6", bytes(train.data))))
        for peer in (PEER, ("2001:db8::77", 5000)):
            ipv4.send(train_of([3], 3), peer)
            await asyncio.sleep(0.1)
            arrived = server.from_peer(peer[0].encode(), peer)
            assert arrived is not None
            socket.deliver(Train.of(arrived))
        assert got == [("IPv4", PEER[0].encode()), ("IPv6", b"2001:db8::77")]
        await ipv4.close()
        assert server.allocated
        await ipv6.close()
        assert not server.allocated
        assert socket.closed

    run(main())


@pytest.mark.row("TRN-09")
def test_the_end_of_an_allocation_is_the_end_of_both_its_relays() -> None:
    async def main() -> None:
        server = FakeTurnServer(also_relayed=("2001:db8::9", 50001))
        lost = Lost()
        allocation = lost.make(DatagramLink(LoopbackSocket(server), SERVER), families=(4, 6))
        await allocation.allocate(5.0)
        assert await allocation.confirm(5.0)
        server.allocated = False
        assert not await allocation.confirm(5.0)
        assert lost.reasons == ["reason 437", "reason 437"]
        for relay in allocation.relays:
            relay.abort()

    run(main())


def test_an_allocation_may_be_closed_twice_at_once() -> None:
    async def main() -> None:
        server = FakeTurnServer()
        allocation = Lost().make(DatagramLink(LoopbackSocket(server), SERVER))
        await allocation.allocate(5.0)
        server.receive = lambda data: []  # type: ignore[method-assign]
        first = asyncio.create_task(allocation.close())
        await asyncio.sleep(0.5)
        first.cancel()
        await allocation.close()
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main())


MESSAGES = [
    b"\x00\x01\x00\x04" + bytes(16) + b"abcd",
    b"\x40\x00\x00\x05hello\0\0\0",
    b"\x40\x01\x00\x00",
    b"\x4f\xff\0\4four",
]
WANTED = [MESSAGES[0], b"\x40\x00\x00\x05hello", MESSAGES[2], MESSAGES[3]]


@pytest.mark.row("TRN-07")
@given(st.lists(st.integers(1, 30)))
def test_a_stream_is_cut_into_messages_however_it_arrives(pieces: list[int]) -> None:
    stream = b"".join(MESSAGES)
    framer = MessageFramer()
    found = []
    for piece in [*pieces, len(stream)]:
        found += [bytes(message) for message in framer.feed(stream[:piece])]
        stream = stream[piece:]
    assert found == WANTED


@given(st.lists(st.binary(max_size=50)))
def test_any_stream_gives_messages_or_a_parse_error(pieces: list[bytes]) -> None:
    framer = MessageFramer()
    try:
        for piece in pieces:
            for message in framer.feed(piece):
                assert len(message) >= 4
    except ParseError:
        pass
