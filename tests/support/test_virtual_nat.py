"""The four kinds of NAT: what they map, what they let in, for how long, and whether they turn packets round."""

from __future__ import annotations

import asyncio

import pytest

from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

from .virtual_host import VirtualSocket
from .virtual_loop import run
from .virtual_nat import NATKind
from .virtual_network import VirtualNetwork


class Neighbourhood:
    """A host behind a NAT, and two outside, one of them with two ports."""

    def __init__(self, kind: NATKind = NATKind.PORT_RESTRICTED, hairpin: bool = False) -> None:
        self.network = VirtualNetwork()
        self.router = self.network.nat("router", "198.51.100.1", kind=kind, hairpin=hairpin, timeout=30)
        self.inner = self.router.host("inner", "10.0.0.1").bind("10.0.0.1", 1000)
        self.neighbour = self.router.host("neighbour", "10.0.0.2").bind("10.0.0.2", 1000)
        bob, carol = self.network.host("bob", "192.0.2.2"), self.network.host("carol", "192.0.2.3")
        self.bob, self.bob_too, self.carol = (
            bob.bind("192.0.2.2", 1),
            bob.bind("192.0.2.2", 2),
            carol.bind("192.0.2.3", 1),
        )
        self.sockets = [self.inner, self.neighbour, self.bob, self.bob_too, self.carol]
        self.seen: list[Address] = []
        for socket in self.sockets:
            socket.set_receiver(lambda train, source, now: self.seen.append(source))

    async def send(self, sender: VirtualSocket, destination: Address) -> Address | None:
        """The source that the receiver sees, or None when the datagram does not arrive."""
        self.seen.clear()
        sender.send(Train.of(b"hello"), destination)
        await asyncio.sleep(0.1)
        return self.seen[0] if self.seen else None

    async def close(self) -> None:
        for socket in self.sockets:
            socket.close()


@pytest.mark.parametrize(
    ("kind", "same_mapping", "other_port_in", "stranger_in"),
    [
        (NATKind.FULL_CONE, True, True, True),
        (NATKind.RESTRICTED, True, True, False),
        (NATKind.PORT_RESTRICTED, True, False, False),
        (NATKind.SYMMETRIC, False, False, False),
    ],
)
def test_what_each_kind_maps_and_lets_in(
    kind: NATKind, same_mapping: bool, other_port_in: bool, stranger_in: bool
) -> None:
    there = Neighbourhood(kind)

    async def main() -> None:
        outer = await there.send(there.inner, there.bob.local_address)
        assert outer is not None
        assert outer[0] == "198.51.100.1"
        assert await there.send(there.bob, outer) == there.bob.local_address
        assert (await there.send(there.bob_too, outer) is not None) == other_port_in
        assert (await there.send(there.carol, outer) is not None) == stranger_in
        assert (await there.send(there.inner, there.carol.local_address) == outer) == same_mapping
        assert await there.send(there.bob, ("10.0.0.1", 1000)) is None
        await there.close()

    run(main())


def test_a_mapping_ends_after_silence_and_is_kept_by_sending() -> None:
    there = Neighbourhood()

    async def main() -> None:
        outer = await there.send(there.inner, there.bob.local_address)
        assert outer is not None
        for _ in range(3):
            await asyncio.sleep(20)
            assert await there.send(there.inner, there.bob.local_address) == outer
        await asyncio.sleep(31)
        assert await there.send(there.bob, outer) is None
        assert await there.send(there.inner, there.bob.local_address) != outer
        there.router.forget()
        assert await there.send(there.bob, outer) is None
        await there.close()

    run(main())


@pytest.mark.parametrize("hairpin", [True, False])
def test_a_packet_to_the_own_outer_address_comes_back_only_when_the_router_can(hairpin: bool) -> None:
    there = Neighbourhood(NATKind.FULL_CONE, hairpin)

    async def main() -> None:
        outer = await there.send(there.neighbour, there.bob.local_address)
        assert outer is not None
        assert (await there.send(there.inner, outer) is not None) == hairpin
        assert await there.send(there.inner, ("10.0.0.2", 1000)) == ("10.0.0.1", 1000)
        await there.close()

    run(main())


def test_a_nat_behind_a_nat() -> None:
    network = VirtualNetwork()
    carrier = network.nat("carrier", "198.51.100.1")
    inner = carrier.nat("home", "100.64.0.1").host("inner", "192.168.0.2").bind("192.168.0.2", 1000)
    bob = network.host("bob", "192.0.2.2").bind("192.0.2.2", 1)

    async def main() -> None:
        at_bob: list[Address] = []
        at_inner: list[bytes] = []
        bob.set_receiver(lambda train, source, now: at_bob.append(source))
        inner.set_receiver(lambda train, source, now: at_inner.append(bytes(train.data)))
        inner.send(Train.of(b"out"), bob.local_address)
        await asyncio.sleep(0.1)
        assert [address for address, _ in at_bob] == ["198.51.100.1"]
        bob.send(Train.of(b"in"), at_bob[0])
        await asyncio.sleep(0.1)
        assert at_inner == [b"in"]
        inner.close()
        bob.close()

    run(main())


def test_simultaneous_packets_open_both_sides() -> None:
    """A packet is let in by what its receiver has sent before it arrives, not before it left."""
    network = VirtualNetwork(delay=0.05)
    one = network.nat("one", "198.51.100.1").host("alice", "10.0.0.1").bind("10.0.0.1", 1000)
    other = network.nat("other", "198.51.100.2").host("bob", "10.0.0.1").bind("10.0.0.1", 1000)

    async def main() -> None:
        seen: list[str] = []
        one.set_receiver(lambda train, source, now: seen.append("one"))
        other.set_receiver(lambda train, source, now: seen.append("other"))
        one.send(Train.of(b"hello"), ("198.51.100.2", 20000))
        await asyncio.sleep(0.02)
        other.send(Train.of(b"hello"), ("198.51.100.1", 20000))
        await asyncio.sleep(1)
        assert seen == ["other", "one"]
        one.close()
        other.close()

    run(main())
