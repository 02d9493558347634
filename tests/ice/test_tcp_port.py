"""One listening port for many: who gets a connection, and what those get who name nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualHost, VirtualNetwork
from tests.support.virtual_stream import VirtualStream
from webrtc_py.ice import stun
from webrtc_py.ice.framing import frame
from webrtc_py.ice.tcp import TCPEndpoint
from webrtc_py.ice.tcp_port import Lobby, TCPPort
from webrtc_py.runtime.network import Address
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import Train

HERE = ("192.0.2.1", 4000)
DATA = bytes([128]) + bytes(99)


def check(ufrag: str) -> bytes:
    return stun.binding_request(bytes(12), username=f"{ufrag}:x", key=b"k", priority=1, controlling=True, tie_breaker=1)


class User:
    def __init__(self, port: TCPPort, ufrag: str) -> None:
        self.received: list[bytes] = []
        self.sources: set[Address] = set()
        self.lost: list[str] = []
        self.paths_lost: list[tuple[Address, str]] = []
        self.endpoint: TCPEndpoint = port.open_endpoint(ufrag)
        self.endpoint.set_receiver(self._receive)
        self.endpoint.on_lost = self.lost.append
        self.endpoint.on_path_lost = lambda address, reason: self.paths_lost.append((address, reason))

    def _receive(self, train: Train, source: Address, now: float) -> None:
        self.received += map(bytes, train)
        self.sources.add(source)


class Client:
    """A connection to the port, and whether the port has ended it."""

    def __init__(self, stream: VirtualStream) -> None:
        self.stream = stream
        self.received = b""
        self.is_lost = False
        stream.set_receiver(self._on_data, self._on_lost)

    def _on_data(self, data: bytes) -> None:
        self.received += data

    def _on_lost(self, error: Exception | None) -> None:
        self.is_lost = True

    def send(self, *datagrams: bytes) -> None:
        for one in datagrams:
            self.stream.write(frame(Train.of(one)))


class Scene:
    def __init__(self, most: int = 4096, most_of_network: int = 256) -> None:
        self.network = VirtualNetwork(delay=0.01)
        listener = self.network.host("here", HERE[0], "2001:db8::1").listen(*HERE)
        shared = Shared.of_running_loop()
        self.lobby = Lobby(shared, most, most_of_network)
        self.port = TCPPort(listener, shared, self.lobby)
        self.clients: list[Client] = []

    def host(self, number: int) -> VirtualHost:
        name = f"client {number}"
        if name in self.network.hosts:
            return self.network.hosts[name]
        return self.network.host(name, f"198.51.{number // 256}.{number % 256}")

    async def connect(self, number: int = 1, count: int = 1) -> Client:
        host = self.host(number)
        streams = await asyncio.gather(*(host.connect_tcp(HERE) for _ in range(count)))
        self.clients += map(Client, streams)
        return self.clients[-1]

    def close(self) -> None:
        self.port.close("the end")
        self.lobby.close()
        for client in self.clients:
            client.stream.close()

    @property
    def open(self) -> int:
        return sum(not client.is_lost for client in self.clients)


def on(test: Callable[[Scene], Coroutine[Any, Any, None]], **limits: int) -> None:
    async def main() -> None:
        scene = Scene(**limits)
        await test(scene)
        scene.close()
        await asyncio.sleep(1)
        assert scene.lobby.count == 0
        assert (scene.lobby._of_network, scene.lobby._new, scene.lobby._new_of_network) == ({}, {}, {})

    run(main())


@pytest.mark.row("TCP-01", "TCP-05")
def test_a_connection_goes_to_whom_its_first_check_names() -> None:
    async def test(scene: Scene) -> None:
        a, b = User(scene.port, "aaaa"), User(scene.port, "bbbb")
        to_a, to_b = await scene.connect(1), await scene.connect(2)
        for octet in frame(Train.of(check("aaaa"))):
            to_a.stream.write(bytes([octet]))
        to_b.stream.write(frame(Train.of(check("bbbb"))) + frame(Train.of(DATA)) * 2)
        await asyncio.sleep(1)
        assert (a.received, b.received) == ([check("aaaa")], [check("bbbb"), DATA, DATA])
        assert a.sources == {to_a.stream.local_address}
        a.endpoint.send(Train.of(DATA), to_a.stream.local_address)
        a.endpoint.send(Train.of(DATA), to_b.stream.local_address)
        to_b.send(check("aaaa"))
        await asyncio.sleep(1)
        assert to_a.received == frame(Train.of(DATA))
        assert (to_b.received, a.endpoint.dropped) == (b"", 1)
        assert b.received[-1] == check("aaaa")
        assert (scene.lobby.count, scene.lobby.refused) == (2, 0)

    on(test)


@pytest.mark.row("TCP-07")
@pytest.mark.parametrize(
    "octets",
    [
        frame(Train.of(check("nobody"))),
        frame(Train.of(DATA)),
        frame(Train.of(stun.binding_success(bytes(12), mapped_address=HERE, key=b"k"))),
        frame(Train.of(check("aaaa")[:20])),
        b"\xff\xff",
        b"\x05\xdd",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(512),
    ],
)
def test_who_begins_with_anything_else_is_cut_off_without_an_answer(octets: bytes) -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "aaaa")
        client = await scene.connect()
        client.stream.write(octets)
        await asyncio.sleep(0.1)
        assert (client.is_lost, client.received, user.received) == (True, b"", [])
        assert (scene.lobby.count, scene.lobby.refused) == (0, 1)

    on(test)


@pytest.mark.row("TCP-07")
@pytest.mark.parametrize("drip", [b"", b"\x00", b"\x00\x00"])
def test_who_says_nothing_in_time_is_cut_off(drip: bytes) -> None:
    async def test(scene: Scene) -> None:
        User(scene.port, "aaaa")
        first = await scene.connect(1)
        await asyncio.sleep(5)
        second = await scene.connect(2)
        for _ in range(48):
            first.stream.write(drip)
            await asyncio.sleep(0.1)
        assert not first.is_lost
        await asyncio.sleep(0.3)
        assert (first.is_lost, second.is_lost) == (True, False)
        await asyncio.sleep(5)
        assert second.is_lost
        assert scene.lobby.refused == 2

    on(test)


@pytest.mark.row("TCP-07")
@pytest.mark.row("TCP-07")
@pytest.mark.parametrize("filler", [bytes(2), b"\x00\x01a", b"\x00\x01a\x00\x02bb", b"\xff\xff" + bytes(65535)])
@pytest.mark.parametrize("knows_a_name", [False, True])
def test_who_has_not_shown_that_it_is_the_peer_may_send_little(filler: bytes, knows_a_name: bool) -> None:
    """Small frames and empty ones cost their sender nothing, and us time."""

    async def test(scene: Scene) -> None:
        received = []
        endpoint = scene.port.open_endpoint("name")
        endpoint.set_receiver(lambda train, source, now: received.append(len(train)))
        client = await scene.connect()
        if knows_a_name:
            client.send(check("name"))
            await asyncio.sleep(0.1)
        for _ in range(64):
            client.stream.write((filler * (20_000 // len(filler) + 1))[:20_000])
        await asyncio.sleep(1)
        assert client.is_lost
        assert scene.lobby.count == 0
        assert sum(received) <= (64 << 10) // 3 + 1

    on(test)


def test_slow_drips_of_a_first_frame_do_not_buy_time() -> None:
    async def test(scene: Scene) -> None:
        User(scene.port, "aaaa")
        client = await scene.connect()
        for octet in frame(Train.of(check("aaaa"))):
            client.stream.write(bytes([octet]))
            await asyncio.sleep(0.2)
        assert client.is_lost

    on(test)


@pytest.mark.row("TCP-07")
def test_a_flood_of_one_host_fills_its_own_share_and_others_get_in() -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "aaaa")
        await scene.connect(1, 1000)
        await asyncio.sleep(0.1)
        assert (scene.lobby.count, scene.open) == (16, 16)
        friend = await scene.connect(2)
        await scene.connect(1, 100)
        friend.send(check("aaaa"))
        await asyncio.sleep(0.1)
        assert user.received == [check("aaaa")]
        assert scene.lobby.count == 17
        # The newest of the flood are those that are left.
        assert [client.is_lost for client in scene.clients[-17:]] == [True] + [False] * 16

    on(test)


@pytest.mark.row("TCP-07")
def test_a_flood_of_many_hosts_is_bounded_and_who_speaks_at_once_gets_in() -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "aaaa")
        for number in range(10, 110):
            await scene.connect(number, 10)
        await asyncio.sleep(0.1)
        assert (scene.lobby.count, scene.open) == (256, 256)
        friend = await scene.connect(2)
        friend.send(check("aaaa"))
        await asyncio.sleep(0.1)
        assert user.received == [check("aaaa")]
        await asyncio.sleep(10)
        assert (scene.lobby.count, scene.open) == (1, 1)

    on(test)


@pytest.mark.row("TCP-07")
def test_all_connections_together_and_those_of_one_network_are_bounded() -> None:
    async def test(scene: Scene) -> None:
        users = [User(scene.port, f"user{number}") for number in range(20)]
        for user in range(12):
            client = await scene.connect(1)
            client.send(check(f"user{user}"))
            await asyncio.sleep(0.1)
        assert [bool(user.received) for user in users[:12]] == [True] * 8 + [False] * 4
        for user in range(12, 20):
            client = await scene.connect(user)
            client.send(check(f"user{user}"))
            await asyncio.sleep(0.1)
        assert (scene.lobby.count, scene.lobby.refused) == (12, 8)
        users[0].endpoint.close()
        client = await scene.connect(50)
        client.send(check("user19"))
        await asyncio.sleep(0.1)
        assert users[19].received

    on(test, most=12, most_of_network=8)


@pytest.mark.row("TCP-07")
def test_an_ipv6_network_counts_as_one() -> None:
    async def main() -> None:
        scene = Scene()
        listener = scene.network.hosts["here"].listen("2001:db8::1", 4000)
        port = TCPPort(listener, Shared.of_running_loop(), scene.lobby)
        hosts = [scene.network.host(f"six {n}", f"2001:db8:1::{n:x}") for n in range(1, 101)]
        streams = [await host.connect_tcp(("2001:db8::1", 4000)) for host in hosts]
        await asyncio.sleep(0.1)
        assert scene.lobby.count == 16
        port.close("")
        scene.close()
        for stream in streams:
            stream.close()

    run(main())


@pytest.mark.row("TCP-07")
def test_who_knows_a_name_and_not_the_password_holds_few_connections_and_not_for_long() -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "aaaa")
        friend = await scene.connect(2)
        friend.send(check("aaaa"))
        await asyncio.sleep(0.1)
        user.endpoint.claim(friend.stream.local_address)
        for number in range(100):
            stranger = await scene.connect(10 + number)
            stranger.send(check("aaaa"))
        await asyncio.sleep(0.1)
        assert (scene.lobby.count, len(user.endpoint.connections)) == (32, 32)
        assert not friend.is_lost
        for _ in range(10):
            friend.send(check("aaaa"))
            await asyncio.sleep(8)
        assert (scene.open, scene.lobby.count) == (1, 1)
        assert len(user.paths_lost) == 100

    on(test)


def test_a_connection_that_ends_is_a_path_lost() -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "aaaa")
        client = await scene.connect()
        client.send(check("aaaa"))
        await asyncio.sleep(0.1)
        user.endpoint.claim(client.stream.local_address)
        client.stream.close()
        await asyncio.sleep(0.1)
        [(address, reason)] = user.paths_lost
        assert address == client.stream.local_address
        assert "has closed it" in reason
        assert scene.lobby.count == 0

    on(test)


def test_closing_the_port_tells_those_who_use_it_and_closing_an_endpoint_only_its_connections() -> None:
    async def test(scene: Scene) -> None:
        a, b = User(scene.port, "aaaa"), User(scene.port, "bbbb")
        clients = [await scene.connect(), await scene.connect(), await scene.connect()]
        clients[0].send(check("aaaa"))
        clients[1].send(check("bbbb"))
        await asyncio.sleep(0.1)
        a.endpoint.close()
        await asyncio.sleep(0.1)
        assert [client.is_lost for client in clients] == [True, False, False]
        late = await scene.connect()
        late.send(check("aaaa"))
        await asyncio.sleep(0.1)
        assert late.is_lost
        assert not scene.port.has("aaaa")
        scene.port.close("maintenance")
        scene.lobby.close()
        await asyncio.sleep(0.1)
        assert [client.is_lost for client in clients] == [True, True, True]
        assert (a.lost, b.lost, b.paths_lost) == ([], ["maintenance"], [])

    on(test)


def test_a_port_of_its_own_closes_with_its_endpoint() -> None:
    async def main() -> None:
        network = VirtualNetwork()
        host = network.host("here", HERE[0])
        port = TCPPort(host.listen(*HERE), Shared.of_running_loop())
        user = User(port, "aaaa")
        client = Client(await network.host("there", "192.0.2.2").connect_tcp(HERE))
        user.endpoint.close()
        await asyncio.sleep(1)
        assert client.is_lost
        assert (host.listeners, user.lost) == ({}, [])
        client.stream.close()

    run(main())


PIECES = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([frame(Train.of(check("a"))), frame(Train.of(check("?"))), frame(Train.of(DATA)), bytes(2)]),
    max_size=12,
)


@pytest.mark.row("TCP-07")
@given(PIECES, st.lists(st.integers(1, 60), max_size=20))
def test_any_stream_is_taken_or_cut_off(pieces: list[bytes], cuts: list[int]) -> None:
    async def test(scene: Scene) -> None:
        user = User(scene.port, "a")
        client = await scene.connect()
        stream = b"".join(pieces)
        for cut in [*cuts, len(stream)]:
            client.stream.write(stream[:cut])
            stream = stream[cut:]
            await asyncio.sleep(0.01)
        await asyncio.sleep(90)
        assert client.is_lost, "nobody has proved to be there"
        assert not user.received or user.received[0] == check("a")
        # What names nobody is turned away without a word.
        assert client.received == b""

    on(test)
