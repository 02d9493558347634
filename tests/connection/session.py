"""Two peers that are connected and negotiate perfectly, with load on their channels and an eye on what is needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tests.support.connections import Peer
from tests.support.perfect import Negotiator, Wire
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    Configuration,
    DataChannel,
    ICETransport,
    SCTPTransport,
    SessionDescription,
)
from webrtc_py.sdp import Media, parse

DELAY = 0.02
ROUND_TRIP = 2 * DELAY
PACE = 0.005


def description(found: SessionDescription | None) -> SessionDescription:
    assert found is not None
    return found


def media_of(found: SessionDescription | None) -> Media:
    return parse(description(found).sdp).media[0]


def credentials(found: SessionDescription | None) -> tuple[str | None, str | None]:
    media = media_of(found)
    return media.ice_ufrag, media.ice_pwd


def sctp_of(peer: Peer) -> SCTPTransport:
    sctp = peer.pc.sctp
    assert sctp is not None
    return sctp


def ice_of(peer: Peer) -> ICETransport:
    ice = sctp_of(peer).transport.ice_transport
    assert isinstance(ice, ICETransport)
    return ice


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again: in virtual time that costs nothing."""
    for _ in range(2000):
        await asyncio.sleep(PACE)
        if condition():
            return
    raise TimeoutError


class Session:
    """Two connected peers that negotiate perfectly, over signalling that takes a while; the first one is polite."""

    def __init__(self, network: VirtualNetwork, **configuration: Any) -> None:
        self.network = network
        made = Configuration(**configuration)
        self.one = Peer(network.host("alice", "192.0.2.101"), made)
        self.other = Peer(network.host("bob", "192.0.2.102"), made)
        self.channels: dict[str, tuple[DataChannel, DataChannel]] = {}
        self.wires = {self.one: Wire(DELAY), self.other: Wire(DELAY)}
        self.negotiators = {
            peer: Negotiator(peer.pc, self.wires[peer].send, polite=peer is self.one) for peer in self.peers
        }
        for peer in self.peers:
            self.wires[peer].target = self.negotiators[self.opposite(peer)]

    @property
    def peers(self) -> tuple[Peer, Peer]:
        return self.one, self.other

    def opposite(self, peer: Peer) -> Peer:
        return self.other if peer is self.one else self.one

    async def connect(self) -> None:
        near = {
            "reliable": self.one.pc.create_data_channel("reliable"),
            "fleeting": self.one.pc.create_data_channel("fleeting", ordered=False, max_retransmits=0),
        }
        for _ in near:
            far = await self.other.channels.get()
            self.channels[far.label] = (near[far.label], far)
            await near[far.label].opened()
        await asyncio.sleep(1)

    async def offer_restart(self, peer: Peer) -> None:
        """Set a restarting offer, and send it to the other side, which answers."""
        await peer.pc.set_local_description(await peer.pc.create_offer(ice_restart=True))
        self.wires[peer].send({"description": description(peer.pc.local_description).to_json()})

    async def restart(self, peer: Peer) -> None:
        """Restart once, and wait until both ends are on the new path."""
        await self.offer_restart(peer)
        await self.settled()

    async def settled(self) -> None:
        async with asyncio.timeout(10):
            await until(lambda: all(peer.pc.signaling_state == "stable" for peer in self.peers))
            await until(lambda: not any(ice_of(peer).is_restarting for peer in self.peers))

    def check(self) -> None:
        """Nobody had to complain."""
        for peer in self.peers:
            assert self.negotiators[peer].errors == []
            assert not self.wires[peer].is_broken

    def cut(self) -> None:
        self.network.cut(self.one.host, self.other.host)

    def restore(self) -> None:
        self.network.restore(self.one.host, self.other.host)

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(10):
            await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self.peers:
            self.wires[peer].stop()
            await peer.pc.close()


class Counter:
    """Counts up over one channel, in one direction, at a steady pace."""

    def __init__(self, source: DataChannel, target: DataChannel) -> None:
        self.arrived: list[tuple[int, float]] = []
        self.sent = 0
        self._source = source
        self._loop = asyncio.get_running_loop()
        target.on_message(lambda message: self.arrived.append((int(message), self._loop.time())))
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            self._source.send(str(self.sent))
            self.sent += 1
            await asyncio.sleep(PACE)

    def stop(self) -> None:
        self._task.cancel()

    @property
    def longest_gap(self) -> float:
        times = [time for _, time in self.arrived]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


class Load:
    """Counters over all channels, both ways."""

    def __init__(self, session: Session) -> None:
        self.counters = {
            f"{name} {way}": Counter(*ends)
            for name, (near, far) in session.channels.items()
            for way, ends in (("there", (near, far)), ("back", (far, near)))
        }

    async def stop(self, patience: float = 1) -> None:
        for counter in self.counters.values():
            counter.stop()
        await asyncio.sleep(patience)

    def check(self) -> None:
        """No number is missing, none came twice, and no stream has paused for longer than a round trip."""
        for name, counter in self.counters.items():
            assert sorted(number for number, _ in counter.arrived) == list(range(counter.sent)), name
            assert counter.longest_gap <= ROUND_TRIP + PACE, name


class Offers:
    """Counts how often negotiation is needed."""

    def __init__(self, peer: Peer) -> None:
        self.count = 0
        peer.pc.on_negotiation_needed(self._needed)

    def _needed(self) -> None:
        self.count += 1

    async def fired(self) -> int:
        await asyncio.sleep(PACE)
        count, self.count = self.count, 0
        return count


def in_session(
    body: Callable[[Session], Awaitable[None]], *, withdraws_offers: bool = False, **configuration: Any
) -> None:
    """``withdraws_offers``: candidates are trickled for descriptions that the other side never sees, or forgot."""

    async def main() -> None:
        async with Session(VirtualNetwork(seed=1, delay=DELAY), **configuration) as session:
            await body(session)
            if not withdraws_offers:
                session.check()

    run(main())
