"""The virtual network: paths with conditions, taps, forged packets, streams, names; the same seed, the same packets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from aioice import stun

from webrtc_py.runtime.network import Address, Network
from webrtc_py.train import Train

from .virtual_host import VirtualHost, VirtualSocket
from .virtual_loop import START, run
from .virtual_network import DROP, Packet, VirtualNetwork
from .virtual_stream import VirtualStream

Seen = list[tuple[float, bytes]]


def collect(socket: VirtualSocket) -> Seen:
    """The datagrams that a socket receives, with their times."""
    seen: Seen = []

    def on_train(train: Train, source: Address, now: float) -> None:
        seen.extend((round(now - START, 6), bytes(datagram)) for datagram in train)

    socket.set_receiver(on_train)
    return seen


def send_numbers(count: int, payload: int = 4, every: float = 0.0, **conditions: Any) -> tuple[Seen, VirtualNetwork]:
    """What arrives of ``count`` numbered datagrams over a path with these conditions."""
    network = VirtualNetwork(seed=7, **conditions)
    alice, bob = network.host("alice", "192.0.2.1"), network.host("bob", "192.0.2.2")
    seen: Seen = []

    async def main() -> None:
        nonlocal seen
        sender = await alice.open_udp("192.0.2.1")
        receiver = await bob.open_udp("192.0.2.2", 9000)
        seen = collect(receiver)
        for number in range(count):
            sender.send(Train.of(number.to_bytes(4, "big").ljust(payload, b".")), ("192.0.2.2", 9000))
            if every:
                await asyncio.sleep(every)
        await asyncio.sleep(60)
        sender.close()
        receiver.close()

    run(main())
    return seen, network


def numbers(seen: Seen) -> list[int]:
    return [int.from_bytes(data[:4], "big") for _, data in seen]


def test_a_datagram_arrives_after_the_delay_from_the_address_it_was_sent_from() -> None:
    seen, network = send_numbers(3, delay=0.25)
    assert seen == [(0.25, bytes([0, 0, 0, n])) for n in range(3)]
    assert network.counters == {"sent": 3, "delivered": 3}


def test_jitter_delays_and_keeps_the_order() -> None:
    seen, _ = send_numbers(200, every=0.001, delay=0.01, jitter=0.05)
    assert numbers(seen) == list(range(200))
    delays = [time - 0.001 * number for number, (time, _) in enumerate(seen)]
    assert min(delays) >= 0.01
    assert 0.03 < max(delays) <= 0.0601


def test_loss_duplication_and_reordering_happen_as_often_as_asked() -> None:
    seen, network = send_numbers(2000, every=0.001, loss=0.1, duplicate=0.05, reorder=0.2, reorder_delay=0.01)
    arrived = numbers(seen)
    assert 1700 < len(set(arrived)) < 1900
    assert 50 < len(arrived) - len(set(arrived)) < 150
    assert 200 < sum(a > b for a, b in pairwise(arrived)) < 600
    assert network.counters["link"] == 2000 - len(set(arrived))


def test_the_same_seed_gives_the_same_packets_at_the_same_times() -> None:
    conditions: dict[str, Any] = {"loss": 0.2, "jitter": 0.1, "duplicate": 0.1, "reorder": 0.1, "every": 0.003}
    assert send_numbers(300, **conditions)[0] == send_numbers(300, **conditions)[0]


def test_bandwidth_spreads_packets_and_a_full_queue_drops() -> None:
    # 1000 bytes with their headers, at 10 000 bytes a second, with room for five.
    seen, network = send_numbers(20, payload=972, delay=0.0, bandwidth=10_000, queue=5500)
    assert numbers(seen) == list(range(5))
    assert [time for time, _ in seen] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    [link] = [network.link(network.hosts["alice"], network.hosts["bob"])]
    assert link.dropped == {"queue": 15}


@pytest.mark.parametrize(("payload", "arrives"), [(1472, 1), (1473, 0)])
def test_what_is_larger_than_the_mtu_is_lost(payload: int, arrives: int) -> None:
    assert len(send_numbers(1, payload=payload)[0]) == arrives


def between_two(
    test: Callable[[VirtualNetwork, VirtualHost, VirtualHost, VirtualSocket, VirtualSocket], Coroutine[Any, Any, None]],
) -> VirtualNetwork:
    """Run ``test`` with two hosts and a socket on each."""
    network = VirtualNetwork(seed=1, delay=0.01)
    alice, bob = network.host("alice", "192.0.2.1", "2001:db8::1"), network.host("bob", "192.0.2.2", "2001:db8::2")

    async def main() -> None:
        one, other = alice.bind("192.0.2.1", 1000), bob.bind("192.0.2.2", 2000)
        try:
            await test(network, alice, bob, one, other)
        finally:
            one.close()
            other.close()

    run(main())
    return network


def test_a_cut_path_drops_in_one_direction_or_both_and_for_a_time() -> None:
    async def test(
        network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost, one: VirtualSocket, other: VirtualSocket
    ) -> None:
        at_alice, at_bob = collect(one), collect(other)

        async def exchange(name: bytes) -> tuple[int, int]:
            before = len(at_alice), len(at_bob)
            one.send(Train.of(name), other.local_address)
            other.send(Train.of(name), one.local_address)
            await asyncio.sleep(0.1)
            return len(at_alice) - before[0], len(at_bob) - before[1]

        assert await exchange(b"open") == (1, 1)
        network.cut(alice, bob, one_way=True)
        assert await exchange(b"one way") == (1, 0)
        network.restore(alice, bob)
        network.cut_for(1.0, alice, bob)
        assert await exchange(b"both ways") == (0, 0)
        await asyncio.sleep(0.9)
        assert await exchange(b"restored") == (1, 1)
        alice.set_interface_up("eth0", False)
        assert [interface.name for interface in alice.interfaces()] == ["lo"]
        assert await exchange(b"interface down") == (0, 0)

    between_two(test)


def test_a_train_arrives_as_datagrams_or_as_a_train_and_is_spoiled_afterwards() -> None:
    async def test(
        network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost, one: VirtualSocket, other: VirtualSocket
    ) -> None:
        trains: list[tuple[list[bytes], memoryview]] = []
        other.set_receiver(lambda train, source, now: trains.append(([bytes(d) for d in train], train.data)))
        batch = bytearray(b"aaabbbcc")
        one.send(Train(memoryview(batch), 3), other.local_address)
        batch[:] = b"xxxxxxxx"
        await asyncio.sleep(0.1)
        assert [datagrams for datagrams, _ in trains] == [[b"aaa"], [b"bbb"], [b"cc"]]
        assert bytes(trains[0][1]) == b"\xdd\xdd\xdd"
        trains.clear()
        network.join_trains = True
        one.send(Train(memoryview(b"aaabbbcc"), 3), other.local_address)
        one.send(Train.of(b"dddd"), other.local_address)
        await asyncio.sleep(0.1)
        assert [datagrams for datagrams, _ in trains] == [[b"aaa", b"bbb", b"cc"], [b"dddd"]]

    between_two(test)


def test_taps_see_alter_and_drop_and_packets_can_be_forged() -> None:
    async def test(
        network: VirtualNetwork, alice: VirtualHost, bob: VirtualHost, one: VirtualSocket, other: VirtualSocket
    ) -> None:
        at_bob, sources = collect(other), []
        packets: list[Packet] = []

        def tap(packet: Packet) -> Any:
            packets.append(packet)
            return {b"drop": DROP, b"alter": b"altered"}.get(packet.data)

        remove = network.tap(tap)
        for data in (b"pass", b"alter", b"drop"):
            one.send(Train.of(data), other.local_address)
        await asyncio.sleep(0.1)
        assert [data for _, data in at_bob] == [b"pass", b"altered"]
        assert [(p.sender, p.source, p.destination) for p in packets] == [
            (alice, ("192.0.2.1", 1000), ("192.0.2.2", 2000))
        ] * 3
        remove()
        other.set_receiver(lambda train, source, now: sources.append((source, bytes(train.data))))
        network.inject(b"forged", source=("203.0.113.9", 7), destination=other.local_address)
        await asyncio.sleep(0.1)
        assert sources == [(("203.0.113.9", 7), b"forged")]
        assert len(packets) == 3

    network = between_two(test)
    assert network.counters == {"sent": 4, "delivered": 3, "tap": 1}


def test_addresses_of_both_families_wildcards_loopback_and_zones() -> None:
    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1", "2001:db8::1", "fe80::1")
    bob = network.host("bob", "192.0.2.2", "2001:db8::2", "fe80::2")
    interfaces = {interface.name: interface.addresses for interface in alice.interfaces()}
    assert interfaces == {"lo": ("127.0.0.1", "::1"), "eth0": ("192.0.2.1", "2001:db8::1", "fe80::1%eth0")}

    async def reach(host: VirtualHost, local: str, target: VirtualHost, bound: str, remote: str) -> list[Address]:
        sender, receiver = await host.open_udp(local), await target.open_udp(bound)
        sources: list[Address] = []
        receiver.set_receiver(lambda train, source, now: sources.append(source))
        sender.send(Train.of(b"hello"), (remote, receiver.local_address[1]))
        await asyncio.sleep(1)
        sender.close()
        receiver.close()
        return [(source[0], 0) for source in sources]

    async def main() -> None:
        assert await reach(alice, "2001:db8::1", bob, "2001:db8::2", "2001:db8::2") == [("2001:db8::1", 0)]
        assert await reach(alice, "0.0.0.0", bob, "0.0.0.0", "192.0.2.2") == [("192.0.2.1", 0)]
        assert await reach(alice, "127.0.0.1", alice, "127.0.0.1", "127.0.0.1") == [("127.0.0.1", 0)]
        assert await reach(alice, "fe80::1%eth0", bob, "fe80::2%eth0", "fe80::2%eth0") == [("fe80::1%eth0", 0)]
        assert await reach(alice, "127.0.0.1", bob, "192.0.2.2", "192.0.2.2") == []
        with pytest.raises(OSError, match="has no address"):
            await alice.open_udp("192.0.2.7")
        taken = await alice.open_udp("192.0.2.1", 5000)
        with pytest.raises(OSError, match="in use"):
            await alice.open_udp("192.0.2.1", 5000)
        taken.close()

    run(main())


@pytest.mark.parametrize("sends", [True, False])
def test_a_socket_that_is_left_open_is_a_failure(sends: bool) -> None:
    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1")

    async def main() -> None:
        socket = await alice.open_udp("192.0.2.1")
        if sends:
            socket.send(Train.of(b"on its way"), ("192.0.2.1", 1))

    with pytest.raises(AssertionError, match=r"left open.*alice, 192\.0\.2\.1"):
        run(main())


def test_names_are_resolved_or_fail_after_a_while() -> None:
    network = VirtualNetwork()
    alice: Network = network.host("alice", "192.0.2.1")
    network.names["stun.example"] = ["192.0.2.3", "2001:db8::3"]

    async def main() -> float:
        assert await alice.resolve("stun.example", 1) == [("192.0.2.3", 1), ("2001:db8::3", 1)]
        assert await alice.resolve("192.0.2.9", 2) == [("192.0.2.9", 2)]
        with pytest.raises(OSError, match=r"nowhere\.example"):
            await alice.resolve("nowhere.example", 3)
        return asyncio.get_running_loop().time() - START

    assert run(main()) == 5.0


def ask(socket: VirtualSocket, server: Address) -> list[stun.Message]:
    answers: list[stun.Message] = []
    socket.set_receiver(lambda train, source, now: answers.append(stun.parse_message(bytes(train.data))))
    socket.send(Train.of(bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST))), server)
    return answers


def test_the_stun_server_tells_the_address_it_sees() -> None:
    network = VirtualNetwork()
    server = network.stun_server("stun.example", "192.0.2.3", "2001:db8::3")
    alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.1")
    bob = network.host("bob", "2001:db8::4")

    async def main() -> None:
        one, other = alice.bind("10.0.0.1", 1000), bob.bind("2001:db8::4", 1000)
        answers = [ask(one, ("192.0.2.3", 3478)), ask(other, ("2001:db8::3", 3478))]
        await asyncio.sleep(1)
        mapped = [answer.attributes["XOR-MAPPED-ADDRESS"] for seen in answers for answer in seen]
        assert mapped == [("198.51.100.1", 20000), ("2001:db8::4", 1000)]
        server.error_code = 420
        refused = ask(one, ("192.0.2.3", 3478))
        await asyncio.sleep(1)
        assert [answer.error_code for answer in refused] == [420]
        server.silent = True
        unanswered = ask(one, ("192.0.2.3", 3478))
        await asyncio.sleep(1)
        assert unanswered == []
        assert server.requests == 4
        one.close()
        other.close()

    run(main())


def test_a_stream_carries_octets_in_order_through_a_nat_and_over_a_cut() -> None:
    network = VirtualNetwork(delay=0.05)
    alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.1")
    server = network.host("server", "192.0.2.3")
    accepted: list[VirtualStream] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        listener = server.listen("192.0.2.3", 443, accepted.append)
        stream = await alice.connect_tcp(("192.0.2.3", 443), local_host="10.0.0.1", local_port=5555)
        assert stream.local_address == ("10.0.0.1", 5555)
        assert loop.time() - START == pytest.approx(0.1)
        [far] = accepted
        assert far.remote_address == ("198.51.100.1", 20000)
        received = bytearray()
        lost: list[Exception | None] = []
        stream.write(b"one ")
        await asyncio.sleep(1)
        far.set_receiver(received.extend, lost.append)
        network.cut_for(3.0, alice, server)
        stream.write(b"two ")
        stream.write(b"three")
        await asyncio.sleep(2.5)
        assert (bytes(received), stream.write_buffer_size) == (b"one ", 9)
        await asyncio.sleep(1)
        assert (bytes(received), stream.write_buffer_size) == (b"one two three", 0)
        far.write(b"dropped by the one who closes")
        stream.close()
        await asyncio.sleep(1)
        assert lost == [None]
        far.close()
        listener.close()

    run(main())


def test_a_stream_to_nobody_is_refused_and_one_to_nowhere_times_out() -> None:
    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1")
    network.host("server", "192.0.2.3")

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await alice.connect_tcp(("192.0.2.3", 443))
        with pytest.raises(TimeoutError):
            await alice.connect_tcp(("192.0.2.99", 443))

    run(main())


def test_a_listener_takes_connections_and_needs_an_acceptor() -> None:
    network = VirtualNetwork()
    alice = network.host("alice", "192.0.2.1", "fe80::1")
    server = network.host("server", "192.0.2.3", "fe80::3")

    async def main() -> None:
        accepted: list[VirtualStream] = []
        listener = await server.listen_tcp("192.0.2.3")
        with pytest.raises(OSError, match="in use"):
            await server.listen_tcp(*listener.local_address)
        with pytest.raises(OSError, match="has no address"):
            await server.listen_tcp("192.0.2.4")
        lost: list[Exception | None] = []
        refused = await alice.connect_tcp(listener.local_address)
        refused.set_receiver(lambda data: None, lost.append)
        await asyncio.sleep(1)
        assert lost == [None]
        listener.set_acceptor(accepted.append)
        link_local = server.listen("fe80::3%eth0", 5000, accepted.append)
        assert link_local.local_address == ("fe80::3%eth0", 5000)
        near = [
            await alice.connect_tcp(listener.local_address),
            await alice.connect_tcp(("fe80::3%eth0", 5000), local_host="fe80::1%eth0"),
        ]
        assert near[1].local_address[0] == accepted[1].remote_address[0] == "fe80::1%eth0"
        listener.close()
        link_local.close()
        with pytest.raises(ConnectionRefusedError):
            await alice.connect_tcp(listener.local_address)
        for one in [*near, *accepted]:
            one.close()

    run(main())


def test_two_who_dial_each_other_at_once_have_one_connection() -> None:
    network = VirtualNetwork(delay=0.01)
    alice, bob = network.host("alice", "192.0.2.1"), network.host("bob", "192.0.2.2")

    async def main() -> None:
        streams = await asyncio.gather(
            alice.connect_tcp(("192.0.2.2", 2000), local_host="192.0.2.1", local_port=1000),
            bob.connect_tcp(("192.0.2.1", 1000), local_host="192.0.2.2", local_port=2000),
        )
        assert streams[0].peer is streams[1]
        received: list[bytes] = []
        streams[1].set_receiver(received.append, lambda error: None)
        streams[0].write(b"hello")
        await asyncio.sleep(1)
        assert received == [b"hello"]
        for stream in streams:
            stream.close()
        with pytest.raises(ConnectionRefusedError):
            await alice.connect_tcp(("192.0.2.2", 2000), local_host="192.0.2.1", local_port=1000)

    run(main())
