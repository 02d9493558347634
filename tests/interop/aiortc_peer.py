"""An aiortc peer, and the exchange of descriptions with it. aiortc does not trickle; it takes trickled candidates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from webrtc_py import ICECandidate, PeerConnection, SessionDescription


class AiortcChannel:
    """A channel of aiortc's, its messages and its end."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        self.messages: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()
        if channel.readyState == "open":
            self.opened.set()
        channel.on("open", self.opened.set)
        channel.on("close", self.closed.set)
        channel.on("message", self.messages.put_nowait)


class AiortcPeer:
    def __init__(self, servers: list[RTCIceServer] | None = None) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers or []))
        self.incoming: asyncio.Queue[AiortcChannel] = asyncio.Queue()
        self.connection.on("datachannel", lambda channel: self.incoming.put_nowait(AiortcChannel(channel)))

    def create_data_channel(self, label: str, **parameters: Any) -> AiortcChannel:
        return AiortcChannel(self.connection.createDataChannel(label, **parameters))

    async def offer(self) -> SessionDescription:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self._description()

    async def answer(self) -> SessionDescription:
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self._description()

    def _description(self) -> SessionDescription:
        local = self.connection.localDescription
        return SessionDescription(local.type, local.sdp)

    async def set_remote_description(self, description: SessionDescription) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(description.sdp, str(description.type)))

    async def add_ice_candidate(self, candidate: ICECandidate | None) -> None:
        if candidate is None:
            await self.connection.addIceCandidate(None)
            return
        init = candidate.to_json()
        parsed = candidate_from_sdp(init["candidate"].removeprefix("candidate:"))
        parsed.sdpMid, parsed.sdpMLineIndex = init["sdpMid"], init["sdpMLineIndex"]
        await self.connection.addIceCandidate(parsed)


async def negotiate(theirs: AiortcPeer, ours: PeerConnection, *, they_offer: bool, trickle: bool) -> None:
    """Exchange descriptions; with ``trickle``, webrtc_py's candidates follow its description one by one."""
    candidates: asyncio.Queue[ICECandidate | None] = asyncio.Queue()
    if trickle:
        ours.on_ice_candidate(candidates.put_nowait)

    async def our_description() -> SessionDescription:
        await ours.set_local_description()
        if not trickle:
            await ours.gathering_complete()
        assert ours.local_description is not None
        return ours.local_description

    if they_offer:
        await ours.set_remote_description(await theirs.offer())
        await theirs.set_remote_description(await our_description())
    else:
        await theirs.set_remote_description(await our_description())
        await ours.set_remote_description(await theirs.answer())
    while trickle:
        candidate = await candidates.get()
        await theirs.add_ice_candidate(candidate)
        trickle = candidate is not None


@asynccontextmanager
async def peers() -> AsyncIterator[tuple[AiortcPeer, PeerConnection]]:
    theirs = AiortcPeer()
    try:
        async with PeerConnection() as ours:
            yield theirs, ours
    finally:
        await theirs.connection.close()
