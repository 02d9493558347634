"""How long ICE takes on a bad path: a virtual network in virtual time, the same seeds for both stacks.

A round trip takes 100 ms between the two hosts, and from each to a STUN server, and 20 % of the packets are lost each
way. Signalling loses nothing and takes half a round trip. The time runs from the offerer's first act until both are
connected. Candidates trickle, or offer and answer wait for all of them; aioice does not trickle what it gathers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from statistics import median, quantiles
from typing import Any

from aioice import ice

from benchmarks.report import Options, Row, main
from tests.support.virtual_host import VirtualHost, VirtualSocket
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.ice import Agent, AgentOptions, Candidate
from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

ROUND_TRIP_TIME = 0.100
LOSS = 0.20
RUNS_FOR_EACH_COUNT = 4
SERVER = "198.51.100.3"

Way = Callable[[VirtualHost, VirtualHost], Coroutine[Any, Any, float]]


async def signalling() -> None:
    await asyncio.sleep(ROUND_TRIP_TIME / 2)


def agents(*hosts: VirtualHost) -> list[Agent]:
    return [Agent(AgentOptions(net=host, urls=[f"stun:{SERVER}"])) for host in hosts]


def carry(sender: Agent, receiver: Agent) -> None:
    """Signal each candidate when it is found."""
    loop = asyncio.get_running_loop()

    def signal(candidate: Candidate | None) -> None:
        loop.call_later(ROUND_TRIP_TIME / 2, receiver.add_remote_candidate, candidate)

    sender.on_candidate(signal)


async def trickling(*hosts: VirtualHost) -> float:
    offerer, answerer = agents(*hosts)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for agent, peer in ((offerer, answerer), (answerer, offerer)):
        carry(agent, peer)
    await offerer.gather_candidates()
    await signalling()
    await answerer.gather_candidates()
    answered = asyncio.create_task(answerer.accept(*offerer.get_local_user_credentials()))
    await signalling()
    await asyncio.gather(answered, offerer.dial(*answerer.get_local_user_credentials()))
    elapsed = loop.time() - started
    await asyncio.gather(offerer.close(), answerer.close())
    return elapsed


async def complete(*hosts: VirtualHost) -> float:
    offerer, answerer = agents(*hosts)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def describe(agent: Agent) -> Sequence[Any]:
        await agent.gather_candidates()
        await agent.gathering_complete()
        return *agent.get_local_candidates(), None

    offered = await describe(offerer)
    await signalling()
    for candidate in offered:
        answerer.add_remote_candidate(candidate)
    candidates = await describe(answerer)
    answered = asyncio.create_task(answerer.accept(*offerer.get_local_user_credentials()))
    await signalling()
    for candidate in candidates:
        offerer.add_remote_candidate(candidate)
    await asyncio.gather(answered, offerer.dial(*answerer.get_local_user_credentials()))
    elapsed = loop.time() - started
    await asyncio.gather(offerer.close(), answerer.close())
    return elapsed


class Transport(asyncio.DatagramTransport):
    """A virtual socket as asyncio's transport, for aioice."""

    def __init__(self, socket: VirtualSocket, protocol: asyncio.DatagramProtocol) -> None:
        super().__init__({"sockname": socket.local_address})
        self._socket = socket
        self._protocol = protocol
        socket.set_receiver(self._receive)
        protocol.connection_made(self)

    def _receive(self, train: Train, source: Address, now: float) -> None:
        for datagram in train:
            self._protocol.datagram_received(bytes(datagram), source)

    def sendto(self, data: Any, addr: Any = None) -> None:
        self._socket.send(Train.of(data), addr)

    def close(self) -> None:
        self._socket.close()
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


async def complete_with_aioice(*hosts: VirtualHost) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    connections = [ice.Connection(controlling, stun_server=(SERVER, 3478)) for controlling in (True, False)]
    offerer, answerer = connections

    async def gather(connection: ice.Connection) -> None:
        host = hosts[connections.index(connection)]

        async def create_datagram_endpoint(factory: Callable[[], Any], local_addr: Address) -> tuple[Any, Any]:
            protocol = factory()
            return Transport(host.bind(*local_addr), protocol), protocol

        loop.create_datagram_endpoint = create_datagram_endpoint  # type: ignore[method-assign,assignment]
        addresses = [address for one in host.interfaces() if one.name == "eth0" for address in one.addresses]
        ice.get_host_addresses = lambda use_ipv4, use_ipv6: addresses
        await connection.gather_candidates()

    async def take(connection: ice.Connection, peer: ice.Connection) -> None:
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for candidate in (*peer.local_candidates, None):
            await connection.add_remote_candidate(candidate)

    await gather(offerer)
    await signalling()
    await take(answerer, offerer)
    await gather(answerer)
    answered = asyncio.create_task(answerer.connect())
    await signalling()
    await take(offerer, answerer)
    await asyncio.gather(answered, offerer.connect())
    elapsed = loop.time() - started
    await asyncio.gather(offerer.close(), answerer.close())
    return elapsed


def measure(way: Way, seed: int) -> float:
    """Milliseconds."""
    network = VirtualNetwork(seed=seed, delay=ROUND_TRIP_TIME / 2, loss=LOSS)
    network.stun_server("stun", SERVER)
    ends = network.host("offerer", "198.51.100.1"), network.host("answerer", "198.51.100.2")
    return 1000 * run(way(*ends), seed=seed)


def rows(options: Options) -> list[Row]:
    found = []
    path = f"{1000 * ROUND_TRIP_TIME:.0f} ms round trip, {LOSS:.0%} loss"
    ways: dict[str, dict[str, Way]] = {
        "trickled": {"webrtc_py": trickling},
        "complete": {"webrtc_py": complete, "aiortc": complete_with_aioice},
    }
    for candidates, stacks in ways.items():
        times = {
            stack: [measure(way, seed) for seed in range(RUNS_FOR_EACH_COUNT * options.count)]
            for stack, way in stacks.items()
            if stack in options.stacks
        }
        what = f"ICE connects at {path}, {candidates} candidates"
        for name, figure in (("median", median), ("95th percentile", lambda all: quantiles(all, n=20)[18])):
            found.append(Row(f"{what}, {name}", "ms", {stack: [figure(all)] for stack, all in times.items()}))
    return found


if __name__ == "__main__":
    main(__doc__, rows)
