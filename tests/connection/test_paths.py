"""Whole connections over all kinds of paths: NATs, relays, families, loss, delay; and bad ones."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import pytest

from tests.support.connections import Call, Peer
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import VirtualLoop, run
from tests.support.virtual_nat import NATKind
from tests.support.virtual_network import Packet, VirtualNetwork
from webrtc_py import Configuration, DataChannel, ICEServer
from webrtc_py.runtime.network import Address


def configuration(*, relay_only: bool = False, turn: bool = True) -> Configuration:
    servers = [ICEServer("stun:stun.example")]
    if turn:
        servers.append(ICEServer("turn:turn.example", username="user", credential="secret"))
    return Configuration(servers, ice_transport_policy="relay" if relay_only else "all")


def network_with_servers(seed: int = 5, **conditions: Any) -> VirtualNetwork:
    network = VirtualNetwork(seed, **{"delay": 0.01, **conditions})
    network.stun_server("stun.example", "192.0.2.3", "2001:db8::3")
    network.turn_server("turn.example", "192.0.2.4", "2001:db8::4")
    return network


def behind(network: VirtualNetwork, name: str, kind: NATKind | None, number: int) -> VirtualHost:
    """A host on the internet, or behind a router of its own."""
    if kind is None:
        return network.host(name, f"203.0.113.{number}")
    return network.nat(f"router of {name}", f"198.51.100.{number}", kind=kind).host(name, "10.0.0.2")


async def exchange(near: DataChannel, far: DataChannel, sizes: list[int]) -> None:
    """Messages of these sizes both ways, the contents compared."""
    source = random.Random(1)
    messages = [source.randbytes(size) for size in sizes]

    async def send(channel: DataChannel) -> None:
        for message in messages:
            await channel.drain(1_000_000)
            channel.send(message)

    async def receive(channel: DataChannel) -> list[str]:
        return [hashlib.sha256(await channel.recv()).hexdigest() for _ in messages]  # type: ignore[arg-type]

    _, _, at_far, at_near = await asyncio.gather(send(near), send(far), receive(far), receive(near))
    assert at_far == at_near == [hashlib.sha256(message).hexdigest() for message in messages]


def selected_types(peer: Peer) -> tuple[str, str]:
    assert peer.pc.sctp is not None
    pair = peer.pc.sctp.transport.ice_transport.get_selected_candidate_pair()
    assert pair is not None
    return str(pair.local.typ), str(pair.remote.typ)


# Two routers that both give each target a port of its own, or one such and one that lets in only whom it knows by
# address and port, cannot be passed without a relay.
_HARD = {NATKind.SYMMETRIC, NATKind.PORT_RESTRICTED}


@pytest.mark.row("X-05")
@pytest.mark.parametrize("theirs", [None, *NATKind])
@pytest.mark.parametrize("ours", [None, *NATKind])
def test_every_kind_of_nat_against_every_other(ours: NATKind | None, theirs: NATKind | None) -> None:
    network = network_with_servers()
    needs_relay = {ours, theirs} <= _HARD and NATKind.SYMMETRIC in (ours, theirs)

    async def main() -> None:
        offerer = Peer(behind(network, "alice", ours, 1), configuration())
        answerer = Peer(behind(network, "bob", theirs, 2), configuration())
        async with Call(offerer, answerer) as call:
            near, far = await call.connect()
            await exchange(near, far, [0, 1, 1200, 100_000])
            types = {*selected_types(offerer), *selected_types(answerer)}
            assert ("relay" in types) == needs_relay

    run(main())


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_relay_only_tells_nothing_of_the_host(transport: str) -> None:
    network = network_with_servers()
    seen: list[Packet] = []

    async def main() -> None:
        only = Configuration(
            [ICEServer(f"turn:turn.example?transport={transport}", username="user", credential="secret")],
            ice_transport_policy="relay",
        )
        call = Call(
            Peer(behind(network, "alice", NATKind.SYMMETRIC, 1), only),
            Peer(behind(network, "bob", NATKind.SYMMETRIC, 2), only),
        )
        network.tap(seen.append)
        async with call:
            near, far = await call.connect()
            await exchange(near, far, [10, 100_000])
            assert selected_types(call.offerer) == ("relay", "relay")
            for peer in (call.offerer, call.answerer):
                description = peer.pc.local_description
                assert description is not None
                assert "10.0.0.2" not in description.sdp
                assert "198.51.100" not in description.sdp
        from_hosts = {packet.destination for packet in seen if packet.sender and packet.sender.name in ("alice", "bob")}
        assert from_hosts <= {("192.0.2.4", 3478)}

    run(main())


def test_an_address_that_only_a_check_brought_to_light_stands_in_no_description() -> None:
    """The peer on the same network answers our check with the address that the policy hides."""
    network = network_with_servers()
    lan = network.nat("router", "198.51.100.1", kind=NATKind.SYMMETRIC)

    async def main() -> None:
        no_host = Configuration([ICEServer("stun:stun.example")], ice_transport_policy="nohost")
        call = Call(Peer(lan.host("alice", "10.0.0.2"), no_host), Peer(lan.host("bob", "10.0.0.3")))
        async with call:
            await call.connect()
            assert selected_types(call.offerer) == ("prflx", "host")
            description = call.offerer.pc.local_description
            assert description is not None
            assert "10.0.0.2" not in description.sdp

    run(main())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (("2001:db8::11",), ("2001:db8::12",)),
        (("203.0.113.1", "2001:db8::11"), ("2001:db8::12",)),
        (("203.0.113.1",), ("203.0.113.2", "2001:db8::12")),
        (("203.0.113.1", "fe80::11"), ("203.0.113.2", "fe80::12")),
    ],
    ids=["IPv6", "both to IPv6", "IPv4 to both", "IPv4 and link-local"],
)
@pytest.mark.row("DST-03")
def test_families(ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    network = network_with_servers()

    async def main() -> None:
        call = Call(
            Peer(network.host("alice", *ours), configuration()), Peer(network.host("bob", *theirs), configuration())
        )
        async with call:
            near, far = await call.connect()
            await exchange(near, far, [10, 100_000])

    run(main())


@pytest.mark.row("X-06")
@pytest.mark.parametrize(
    "conditions",
    [
        {"loss": 0.05},
        {"loss": 0.2},
        {"duplicate": 0.2},
        {"reorder": 0.2, "reorder_delay": 0.05},
        {"delay": 0.15, "jitter": 0.1},
        {"bandwidth": 250_000, "queue": 30_000},
        {"delay": 0.15, "loss": 0.05, "duplicate": 0.05, "reorder": 0.05, "jitter": 0.05},
    ],
    ids=str,
)
def test_what_arrives_is_right_over_a_bad_path(conditions: dict[str, float]) -> None:
    network = VirtualNetwork(seed=11, **conditions)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            await exchange(near, far, [1, 1200, 20_000, 262_144] * 2)
            assert call.offerer.states[-1] == call.answerer.states[-1] == "connected"

    run(main(), timeout_virtual=300)


@pytest.mark.row("SCD-03", "DTL-03")
def test_every_datagram_fits_the_smallest_path_of_ipv6() -> None:
    network = VirtualNetwork(seed=3, mtu=1280)
    alice, bob = network.host("alice", "2001:db8::11"), network.host("bob", "2001:db8::12")

    async def main() -> None:
        async with Call(Peer(alice), Peer(bob)) as call:
            near, far = await call.connect()
            await exchange(near, far, [1, 1200, 262_144])
        for link in (network.link(alice, bob), network.link(bob, alice)):
            # Path MTU discovery tries a larger packet three times, and takes the loss for an answer.
            assert link.dropped.get("mtu", 0) <= 3

    run(main())


def test_a_third_of_all_packets_lost() -> None:
    """Slow, but right: checks, handshake and data all come through."""
    network = VirtualNetwork(seed=2, delay=0.02, loss=0.33)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            await exchange(near, far, [10, 3000])

    run(main(), timeout_virtual=600)


def test_unreliable_channels_lose_and_reliable_ones_do_not() -> None:
    network = VirtualNetwork(seed=4, delay=0.02)

    async def main() -> None:
        async with Call.over(network) as call:
            _, _ = await call.connect()
            lossy = call.offerer.pc.create_data_channel("lossy", ordered=False, max_retransmits=0)
            far = await call.answerer.channels.get()
            await lossy.opened()
            network.set_path(call.offerer.host, call.answerer.host, loss=0.2)
            got: list[bytes | str] = []
            far.on_message(got.append)
            for number in range(500):
                lossy.send(str(number))
                await asyncio.sleep(0.005)
            await asyncio.sleep(5)
            assert 300 < len(got) < 480
            assert len(set(got)) == len(got)

    run(main())


def course(seed: int) -> list[tuple[float, Address, Address, int]]:
    """Every datagram of a connection with some messages over a bad path: when, from where, to where, how large."""
    sent = []

    async def main() -> None:
        network = VirtualNetwork(seed, delay=0.03, jitter=0.01, loss=0.03, reorder=0.02)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with Call.over(network) as call:
            near, far = await call.connect()
            network.tap(lambda packet: sent.append((loop.elapsed, packet.source, packet.destination, len(packet.data))))
            await exchange(near, far, [100, 50_000, 200_000])

    run(main(), seed=seed)
    return sent


def test_the_same_seed_gives_the_same_course() -> None:
    first = course(1)
    assert len(first) > 200
    assert course(1) == first
    assert course(2) != first


def test_a_path_that_comes_back_is_used_again() -> None:
    network = VirtualNetwork(seed=6, delay=0.02)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            network.cut_for(12.0, call.offerer.host, call.answerer.host)
            near.send("during the cut")
            assert await far.recv() == "during the cut"
            assert call.offerer.states == ["connecting", "connected", "disconnected", "connected"]

    run(main())


@pytest.mark.row("CON-07", "SCP-21")
def test_a_peer_that_disappears() -> None:
    network = VirtualNetwork(seed=6, delay=0.02)

    async def main() -> None:
        async with Call.over(network) as call:
            await call.connect()
            loop = asyncio.get_running_loop()
            begin, failed = loop.time(), loop.create_future()
            network.cut(call.offerer.host, call.answerer.host)
            call.offerer.pc.on_connection_state_change(
                lambda state: failed.set_result(loop.time()) if state == "failed" else None
            )
            assert 25 <= await failed - begin <= 45

    run(main())
