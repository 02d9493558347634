"""Connections that carry datagrams, and the bases that open them (RFC 6544), without an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualHost, VirtualNetwork
from tests.support.virtual_stream import VirtualStream
from webrtc_py.ice import stun
from webrtc_py.ice.framing import FrameReader, frame
from webrtc_py.ice.tcp import BAD_PORTS, DISCARD_PORT, TCPEndpoint
from webrtc_py.runtime.network import Address, Stream
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import Train

THERE = ("192.0.2.2", 4000)
CHECK = stun.binding_request(bytes(12), username="a:b", key=b"k", priority=1, controlling=True, tie_breaker=1)
ANSWER = stun.binding_success(bytes(12), mapped_address=("192.0.2.1", 1), key=b"k")
DATA = bytes([128]) + bytes(999)


class Far:
    """Somebody who listens on the other host."""

    def __init__(self, host: VirtualHost, port: int = THERE[1], answers: bytes = frame(Train.of(ANSWER))) -> None:
        self.streams: list[VirtualStream] = []
        self.received: list[bytes] = []
        self.lost: list[Exception | None] = []
        self._answers = answers
        self._listener = host.listen(host.interfaces()[1].addresses[0], port, self._accept)

    def _accept(self, stream: VirtualStream) -> None:
        reader = FrameReader()
        self.streams.append(stream)

        def on_data(data: bytes) -> None:
            for train in reader.feed(data):
                self.received += map(bytes, train)
            if self._answers:
                stream.write(self._answers)

        stream.set_receiver(on_data, self.lost.append)

    def close(self) -> None:
        self._listener.close()
        for stream in self.streams:
            stream.close()


class Near:
    """An endpoint that opens connections."""

    def __init__(self, host: VirtualHost, address: str = "192.0.2.1") -> None:
        self.host = host
        self.received: list[tuple[bytes, Address]] = []
        self.trains: list[int] = []
        self.lost: list[tuple[Address, str]] = []
        self.dialled: list[Address] = []
        self.endpoint = TCPEndpoint((address, DISCARD_PORT), Shared.of_running_loop(), self._dial)
        self.endpoint.set_receiver(self._receive)
        self.endpoint.on_path_lost = lambda address, reason: self.lost.append((address, reason))

    async def _dial(self, address: Address) -> Stream:
        self.dialled.append(address)
        return await self.host.connect_tcp(address, local_host=self.endpoint.local_address[0])

    def _receive(self, train: Train, source: Address, now: float) -> None:
        self.trains.append(len(train))
        self.received += [(bytes(one), source) for one in train]

    async def check(self, address: Address = THERE, wait: float = 1.0) -> None:
        self.endpoint.send(Train.of(CHECK), address)
        await asyncio.sleep(wait)


def scene(test: Callable[[VirtualNetwork, Near], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        network = VirtualNetwork(delay=0.01)
        here = network.host("here", "192.0.2.1", "fe80::1")
        network.host("there", "192.0.2.2", "fe80::2")
        near = Near(here)
        await test(network, near)
        near.endpoint.close()

    run(main())


@pytest.mark.row("TCP-01", "TCP-05")
def test_a_check_opens_the_connection_that_answers_and_data_use() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"])
        near.endpoint.send(Train.of(CHECK), THERE)
        near.endpoint.send(Train.of(CHECK), THERE)
        await asyncio.sleep(1)
        assert near.dialled == [THERE]
        assert far.received == [CHECK, CHECK]
        assert near.received == [(ANSWER, THERE), (ANSWER, THERE)]
        [connection] = near.endpoint.connections
        near.endpoint.send(Train(memoryview(DATA * 10), len(DATA)), THERE)
        await asyncio.sleep(1)
        assert far.received[2:] == [DATA] * 10
        near.trains.clear()
        far.streams[0].write(frame(Train(memoryview(DATA * 10), len(DATA))))
        await asyncio.sleep(1)
        assert near.trains[0] == 10
        assert near.endpoint.connections == [connection]
        assert near.lost == []
        far.close()

    scene(test)


def test_data_opens_no_connection() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        near.endpoint.send(Train(memoryview(DATA * 3), len(DATA)), THERE)
        await asyncio.sleep(1)
        assert (near.dialled, near.endpoint.dropped) == ([], 3)

    scene(test)


@pytest.mark.parametrize(
    ("listens", "expected", "after"), [(False, "refused", 0.02), (None, "no answer in time", 10.0)]
)
def test_a_connection_that_cannot_be_made_is_a_path_lost(listens: bool | None, expected: str, after: float) -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        if listens is None:
            network.cut(network.hosts["here"], network.hosts["there"])
        near.endpoint.send(Train.of(CHECK), THERE)
        await asyncio.sleep(after - 0.001)
        assert near.lost == []
        await asyncio.sleep(0.002)
        [(address, reason)] = near.lost
        assert address == THERE
        assert expected in reason

    scene(test)


def test_what_waits_for_a_connection_is_little() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        network.cut(network.hosts["here"], network.hosts["there"])
        far = Far(network.hosts["there"])
        for _ in range(100):
            near.endpoint.send(Train.of(CHECK), THERE)
        near.endpoint.send(Train.of(DATA), THERE)
        await asyncio.sleep(0.1)
        network.restore(network.hosts["here"], network.hosts["there"])
        await asyncio.sleep(2)
        assert far.received == [CHECK] * 8
        assert near.endpoint.dropped == 93
        assert near.dialled == [THERE]
        far.close()

    scene(test)


@pytest.mark.row("TCP-08")
def test_another_protocols_server_is_not_dialled() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        for port in sorted(BAD_PORTS):
            await near.check((THERE[0], port), 0)
        await asyncio.sleep(0.1)
        assert near.dialled == []
        assert [address[1] for address, _ in near.lost] == sorted(BAD_PORTS)
        assert {25, 110, 6667} <= BAD_PORTS
        assert not {80, 443, 3478, 8080, 50000} & BAD_PORTS

    scene(test)


@pytest.mark.row("TCP-07")
def test_a_peer_that_names_many_addresses_makes_us_open_few_connections() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        for port in range(20000, 20100):
            near.endpoint.send(Train.of(CHECK), (THERE[0], port))
        await asyncio.sleep(0.001)
        assert len(near.dialled) == 32
        await asyncio.sleep(1)
        assert len(near.lost) == 100

    scene(test)


@pytest.mark.row("TCP-07")
@pytest.mark.parametrize(
    "answers",
    [
        b"220 mail.example ESMTP\r\n",
        b"\x00\x02OK",
        b"\xff\xff",
        b"\x05\xdd",
        frame(Train.of(DATA)),
        b"\x00\x14" + bytes(20),
    ],
)
def test_who_does_not_answer_with_stun_is_no_agent(answers: bytes) -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"], answers=answers)
        await near.check()
        assert near.endpoint.connections == []
        assert [address for address, _ in near.lost] == [THERE]
        assert near.received == []
        assert far.lost == [None]
        far.close()

    scene(test)


def test_a_proved_connection_is_opened_again_by_the_next_check_and_another_is_lost() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"])
        await near.check()
        near.endpoint.claim(THERE)
        far.streams[0].close()
        await asyncio.sleep(1)
        assert near.lost == []
        near.endpoint.send(Train.of(DATA), THERE)
        await asyncio.sleep(1)
        assert near.dialled == [THERE]
        await near.check()
        assert near.dialled == [THERE, THERE]
        assert len(near.endpoint.connections) == 1
        far.streams[1].close()
        await asyncio.sleep(1)
        assert [reason for _, reason in near.lost] == ["it has ended: the other end has closed it"]
        far.close()

    scene(test)


def test_a_connection_on_which_nobody_speaks_any_more_is_given_up() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"])
        await near.check()
        near.endpoint.claim(THERE)
        for _ in range(10):
            await near.check(wait=30)
        assert len(near.endpoint.connections) == 1
        await asyncio.sleep(80)
        assert near.endpoint.connections == []
        assert near.lost == []
        await near.check()
        for _ in range(3):
            await near.check(wait=30)
        assert near.endpoint.connections == []
        assert len(near.lost) == 1
        far.close()

    scene(test)


def test_a_connection_that_does_not_keep_up_drops_and_does_not_queue() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"], answers=b"")
        await near.check()
        network.cut(network.hosts["here"], network.hosts["there"])
        train = Train(memoryview(DATA * 50), len(DATA))
        for _ in range(1000):
            near.endpoint.send(train, THERE)
        [stream] = network.hosts["here"].streams
        assert stream.write_buffer_size < (256 << 10) + 60_000
        assert near.endpoint.dropped == 1000 * 50 - stream.write_buffer_size // (len(DATA) + 2)
        network.restore(network.hosts["here"], network.hosts["there"])
        await asyncio.sleep(1)
        assert set(far.received) == {CHECK, DATA}
        far.close()

    scene(test)


def test_closing_in_the_middle_leaves_nothing() -> None:
    async def test(network: VirtualNetwork, near: Near) -> None:
        far = Far(network.hosts["there"])
        await near.check()
        near.endpoint.send(Train.of(CHECK), ("192.0.2.2", 4001))
        near.endpoint.send(Train.of(CHECK), ("192.0.2.99", 4001))
        near.endpoint.close()
        near.endpoint.close()
        near.endpoint.send(Train.of(CHECK), THERE)
        await asyncio.sleep(200)
        assert near.lost == []
        assert far.lost == [None]
        far.close()

    scene(test)


def test_link_local_addresses_are_dialled_in_the_bases_zone() -> None:
    async def test(network: VirtualNetwork, _: Near) -> None:
        near = Near(network.hosts["here"], "fe80::1%eth0")
        listener = network.hosts["there"].listen("fe80::2%eth0", 4000)
        accepted: list[VirtualStream] = []
        listener.set_acceptor(accepted.append)
        await near.check(("fe80::2", 4000))
        assert near.dialled == [("fe80::2%eth0", 4000)]
        accepted[0].write(frame(Train.of(ANSWER)))
        await asyncio.sleep(1)
        assert near.received == [(ANSWER, ("fe80::2", 4000))]
        near.endpoint.close()
        await asyncio.sleep(1)
        accepted[0].close()
        listener.close()

    scene(test)
