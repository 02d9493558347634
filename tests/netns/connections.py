"""PeerConnections inside a namespace, steered from outside: each counts aloud on a reliable, ordered channel."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

from tests.interop.coturn import PASSWORD, USERNAME
from webrtc_py import (
    API,
    Configuration,
    ConnectionClosedError,
    DataChannel,
    ICECandidate,
    ICEServer,
    PeerConnection,
    SettingEngine,
)

from .remote import Service, serve

# A silence so long is told of.
_NOTABLE = 0.2
_NOTABLY_LATE = 0.05
_MAX_BUFFERED = 1 << 20


@dataclass
class Count:
    """What has come of the peer's numbers, which must be 0, 1, 2 and so on."""

    received: int = 0
    wrong: list[tuple[int, int]] = field(default_factory=list)
    """What was expected, and what came instead."""
    silences: list[tuple[float, float]] = field(default_factory=list)
    """When nothing came for a notable time, in seconds of the machine's clock: the last before, the first after."""
    last: float = 0.0

    def take(self, number: int) -> None:
        now = time.monotonic()
        if self.last and now - self.last > _NOTABLE:
            self.silences.append((self.last, now))
        self.last = now
        if number != self.received:
            self.wrong.append((self.received, number))
        self.received = number + 1


@dataclass
class Call:
    """One connection. ``ufrags`` are those of all its generations."""

    pc: PeerConnection
    count: Count = field(default_factory=Count)
    sent: int = 0
    stall: float = 0.0
    """How late this program was to send in all, being kept from running."""
    states: list[tuple[float, str]] = field(default_factory=list)
    ufrags: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    channel: asyncio.Future[DataChannel] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    counting: asyncio.Task[None] | None = None
    listening: asyncio.Task[None] | None = None


class Connections(Service):
    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}

    def open(self, name: str, urls: list[str], policy: str, ca_file: str | None, continual: bool) -> None:
        """A connection; its candidates and changes follow as events."""
        settings = SettingEngine()
        settings.set_stun_gather_timeout(2.0)
        if ca_file is not None:
            settings.set_turn_tls_context(ssl.create_default_context(cafile=ca_file))
        if continual:
            settings.set_ice_continual_gathering("continually", 0.5)
        pc = API(settings).new_peer_connection(_configuration(urls, policy))
        call = self._calls[name] = Call(pc)

        @pc.on_ice_candidate
        def on_ice_candidate(candidate: ICECandidate | None) -> None:
            self.tell("candidate", name=name, candidate=candidate and candidate.to_json())

        @pc.on_data_channel
        def on_data_channel(channel: DataChannel) -> None:
            self._use(call, channel)

        @pc.on_ice_connection_state_change
        def on_state(state: str) -> None:
            call.states.append((time.monotonic(), state))
            self.tell("state", name=name, state=state, at=call.states[-1][0])

        pc.on_ice_candidate_error(lambda error: call.errors.append(str(error)))

    async def offer(self, name: str, ice_restart: bool) -> dict[str, str]:
        call = self._calls[name]
        if not call.channel.done():
            self._use(call, call.pc.create_data_channel("count"))
        await call.pc.set_local_description(await call.pc.create_offer(ice_restart=ice_restart))
        return _described(call)

    async def answer(self, name: str, description: dict[str, str]) -> dict[str, str]:
        call = self._calls[name]
        await call.pc.set_remote_description(description)
        await call.pc.set_local_description()
        return _described(call)

    async def accept(self, name: str, description: dict[str, str]) -> None:
        await self._calls[name].pc.set_remote_description(description)

    async def candidate(self, name: str, candidate: dict[str, Any] | None) -> None:
        await self._calls[name].pc.add_ice_candidate(candidate)

    async def connected(self, name: str) -> None:
        await self._calls[name].pc.wait_connected(50.0)

    def set_servers(self, name: str, urls: list[str], policy: str) -> None:
        """For the next restart."""
        self._calls[name].pc.set_configuration(_configuration(urls, policy))

    async def count(self, name: str, interval: float, size: int) -> None:
        """Send a number of ``size`` octets every ``interval`` seconds, from 0 on, until ``stop``."""
        call = self._calls[name]
        call.counting = asyncio.create_task(self._count(call, await call.channel, interval, size))

    async def stop(self, name: str) -> int:
        """How many numbers have been sent."""
        call = self._calls[name]
        if call.counting is not None:
            call.counting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call.counting
            call.counting = None
        return call.sent

    def report(self, name: str) -> dict[str, Any]:
        call = self._calls[name]
        assert call.pc.sctp is not None
        pair = call.pc.sctp.transport.ice_transport.get_selected_candidate_pair()
        assert pair is not None
        return {
            "sent": call.sent,
            "received": call.count.received,
            "wrong": call.count.wrong,
            "silences": call.count.silences,
            "stall": call.stall,
            "states": call.states,
            "errors": call.errors,
            "types": [pair.local.typ, pair.remote.typ],
            "addresses": [pair.local.address, pair.remote.address],
            "ports": [pair.local.port, pair.remote.port],
        }

    def generations(self, name: str) -> int:
        """How many local user fragments there have been."""
        return len(self._calls[name].ufrags)

    def explain(self, name: str) -> str:
        return self._calls[name].pc.explain()

    async def end(self, name: str) -> None:
        call = self._calls.pop(name)
        for task in (call.counting, call.listening):
            if task is not None:
                task.cancel()
        await call.pc.close()

    async def close(self) -> None:
        for name in list(self._calls):
            await self.end(name)

    def _use(self, call: Call, channel: DataChannel) -> None:
        call.channel.set_result(channel)
        call.listening = asyncio.create_task(self._listen(call, channel))

    async def _listen(self, call: Call, channel: DataChannel) -> None:
        with contextlib.suppress(ConnectionClosedError):
            async for message in channel:
                assert isinstance(message, bytes)
                call.count.take(int.from_bytes(message[:8], "big"))

    async def _count(self, call: Call, channel: DataChannel, interval: float, size: int) -> None:
        await channel.opened()
        due = time.monotonic()
        while True:
            late = time.monotonic() - due
            if late > _NOTABLY_LATE:
                call.stall += late
            if channel.buffered_amount < _MAX_BUFFERED:
                channel.send(call.sent.to_bytes(8, "big").ljust(size, b"-"))
                call.sent += 1
            due = time.monotonic() + interval
            await asyncio.sleep(interval)


def _configuration(urls: list[str], policy: str) -> Configuration:
    servers = [ICEServer(urls, USERNAME, PASSWORD)] if urls else []
    return Configuration(servers, ice_transport_policy=policy)


def _described(call: Call) -> dict[str, str]:
    description = call.pc.local_description
    assert description is not None
    call.ufrags.update(re.findall("a=ice-ufrag:(.*)", description.sdp))
    return description.to_json()


if __name__ == "__main__":
    serve(Connections())
