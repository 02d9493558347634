"""aiortc's side: it does not trickle, so that each description waits for gathering."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aioice import ice
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from benchmarks.peer import KEEPALIVE_INTERVAL


class AiortcChannel:
    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        self.send = channel.send

    @property
    def buffered_amount(self) -> int:
        return self._channel.bufferedAmount

    def on_message(self, handler: Callable[[bytes], None]) -> None:
        self._channel.on("message", handler)

    def on_low(self, threshold: int, handler: Callable[[], None]) -> None:
        self._channel.bufferedAmountLowThreshold = threshold
        self._channel.on("bufferedamountlow", handler)


class AiortcPeer:
    def __init__(self) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._open: asyncio.Future[AiortcChannel] = asyncio.get_running_loop().create_future()
        # An incoming channel is announced open.
        self._connection.on("datachannel", self._opened)

    def _opened(self, channel: RTCDataChannel) -> None:
        self._open.set_result(AiortcChannel(channel))

    async def offer(self) -> str:
        channel = self._connection.createDataChannel("bench")
        channel.on("open", lambda: self._opened(channel))
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def answer(self, offer: str) -> str:
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def channel(self) -> AiortcChannel:
        return await self._open

    async def close(self) -> None:
        await self._connection.close()


def create_peer() -> AiortcPeer:
    return AiortcPeer()


async def connected_pair() -> tuple[AiortcPeer, AiortcPeer]:
    offerer, answerer = AiortcPeer(), AiortcPeer()
    await offerer.accept(await answerer.answer(await offerer.offer()))
    await offerer.channel()
    await answerer.channel()
    return offerer, answerer


async def connected_agents(hosts: Sequence[str] | None = None) -> tuple[ice.Connection, ice.Connection]:
    ice.CONSENT_INTERVAL = KEEPALIVE_INTERVAL  # type: ignore[assignment]
    if hosts is not None:
        # It leaves out loopback addresses, and has no filter of its own.
        ice.get_host_addresses = lambda use_ipv4, use_ipv6: list(hosts)
    agents = ice.Connection(ice_controlling=True), ice.Connection(ice_controlling=False)
    await asyncio.gather(*(agent.gather_candidates() for agent in agents))
    for agent, peer in (agents, agents[::-1]):
        agent.remote_username, agent.remote_password = peer.local_username, peer.local_password
        for candidate in (*peer.local_candidates, None):
            await agent.add_remote_candidate(candidate)
    await asyncio.gather(*(agent.connect() for agent in agents))
    return agents
