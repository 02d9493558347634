"""webrtc_py's side, through its public names only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.peer import KEEPALIVE_INTERVAL
from webrtc_py import DataChannel, PeerConnection, SessionDescription
from webrtc_py.ice import Agent, AgentOptions
from webrtc_py.ice.mux import UDPMux
from webrtc_py.runtime.network import Interface
from webrtc_py.runtime.system_network import SystemNetwork


class WebRTCPyChannel:
    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel
        self.send = channel.send
        self.on_message = channel.on_message

    @property
    def buffered_amount(self) -> int:
        return self._channel.buffered_amount

    def on_low(self, threshold: int, handler: Callable[[], None]) -> None:
        self._channel.buffered_amount_low_threshold = threshold
        self._channel.on_buffered_amount_low(handler)


class WebRTCPyPeer:
    def __init__(self) -> None:
        self.connection = PeerConnection()
        self._announced: asyncio.Future[DataChannel] = asyncio.get_running_loop().create_future()
        self.connection.on_data_channel(self._announced.set_result)

    def create_channel(self) -> None:
        self._announced.set_result(self.connection.create_data_channel("bench"))

    async def offer(self) -> str:
        self.create_channel()
        return await self._complete_description()

    async def answer(self, offer: str) -> str:
        await self.connection.set_remote_description(SessionDescription("offer", offer))
        return await self._complete_description()

    async def _complete_description(self) -> str:
        await self.connection.set_local_description()
        await self.connection.gathering_complete()
        description = self.connection.local_description
        assert description is not None
        return description.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.set_remote_description(SessionDescription("answer", answer))

    async def channel(self) -> WebRTCPyChannel:
        channel = await self._announced
        await channel.opened()
        return WebRTCPyChannel(channel)

    async def close(self) -> None:
        await self.connection.close()


def create_peer() -> WebRTCPyPeer:
    return WebRTCPyPeer()


async def connected_pair() -> tuple[WebRTCPyPeer, WebRTCPyPeer]:
    """Candidates trickle, as an application would have them."""
    offerer, answerer = WebRTCPyPeer(), WebRTCPyPeer()
    offerer.connection.on_ice_candidate(answerer.connection.add_ice_candidate)
    answerer.connection.on_ice_candidate(offerer.connection.add_ice_candidate)
    offerer.create_channel()
    await offerer.connection.set_local_description()
    offer = offerer.connection.local_description
    assert offer is not None
    await answerer.connection.set_remote_description(offer)
    await answerer.connection.set_local_description()
    answer = answerer.connection.local_description
    assert answer is not None
    await offerer.connection.set_remote_description(answer)
    await offerer.channel()
    await answerer.channel()
    return offerer, answerer


class Hosts(SystemNetwork):
    """The system's network, as if it had these addresses only."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._interfaces = [Interface("lo", tuple(hosts))]

    def interfaces(self) -> list[Interface]:
        return self._interfaces


async def connected_agents(
    hosts: Sequence[str] | None = None, shared_port: UDPMux | None = None
) -> tuple[Agent, Agent]:
    """Candidates trickle, as an application would have them. The dialing agent may be on a shared port."""
    options = AgentOptions() if hosts is None else AgentOptions(include_loopback=True, net=Hosts(hosts))
    assert options.timings.keepalive_interval == KEEPALIVE_INTERVAL
    dialer = Agent(options if shared_port is None else replace(options, udp_mux=shared_port))
    accepter = Agent(options)
    for agent, peer in ((dialer, accepter), (accepter, dialer)):
        agent.on_candidate(peer.add_remote_candidate)
        await agent.gather_candidates()
    await asyncio.gather(
        dialer.dial(*accepter.get_local_user_credentials()), accepter.accept(*dialer.get_local_user_credentials())
    )
    return dialer, accepter
