"""Perfect negotiation (webrtc-pc section 10.7): either side may offer at any time, and the polite one gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from webrtc_py import PeerConnection, WebRTCError


class Negotiator:
    """W3C's example of perfect negotiation (webrtc-pc section 10.7), as applications copy it."""

    def __init__(self, pc: PeerConnection, send: Callable[[dict[str, Any]], None], *, polite: bool) -> None:
        self.pc = pc
        self.send = send
        self.polite = polite
        self.making_offer = False
        self.ignoring_offer = False
        self.errors: list[WebRTCError] = []
        pc.on_ice_candidate(lambda candidate: send({"candidate": candidate.to_json() if candidate else None}))
        pc.on_negotiation_needed(self.negotiate)

    async def negotiate(self) -> None:
        try:
            self.making_offer = True
            await self.pc.set_local_description()
            self.send({"description": self._description()})
        finally:
            self.making_offer = False

    def _description(self) -> dict[str, str]:
        description = self.pc.local_description
        assert description is not None
        return description.to_json()

    async def receive(self, message: dict[str, Any]) -> None:
        if "description" in message:
            collision = message["description"]["type"] == "offer" and (
                self.making_offer or self.pc.signaling_state != "stable"
            )
            self.ignoring_offer = collision and not self.polite
            if self.ignoring_offer:
                return
            await self.pc.set_remote_description(message["description"])
            if message["description"]["type"] == "offer":
                await self.pc.set_local_description()
                self.send({"description": self._description()})
            return
        try:
            await self.pc.add_ice_candidate(message["candidate"])
        except WebRTCError as error:
            if not self.ignoring_offer:
                self.errors.append(error)


class Wire:
    """Signalling that takes time and keeps its order."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.target: Negotiator | None = None
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._carry())

    def send(self, message: dict[str, Any]) -> None:
        self._queue.put_nowait(message)

    async def _carry(self) -> None:
        while True:
            message = await self._queue.get()
            await asyncio.sleep(self.delay)
            assert self.target is not None
            await self.target.receive(message)

    @property
    def is_broken(self) -> bool:
        """Whether what it carried has raised."""
        return self._task.done()

    def stop(self) -> None:
        self._task.cancel()
