"""Two peer connections on a virtual network, and the signalling between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from webrtc_py import API, Configuration, DataChannel, ICECandidate, SettingEngine

from .virtual_host import VirtualHost
from .virtual_network import VirtualNetwork


class Peer:
    """A connection on a host. ``states`` are its connection states so far."""

    def __init__(
        self, host: VirtualHost, configuration: Configuration | None = None, settings: SettingEngine | None = None
    ) -> None:
        settings = settings or SettingEngine()
        settings.set_net(host)
        self.host = host
        self.pc = API(setting_engine=settings).new_peer_connection(configuration)
        self.states: list[str] = []
        self.channels: asyncio.Queue[DataChannel] = asyncio.Queue()
        self.pc.on_connection_state_change(lambda state: self.states.append(str(state)))
        self.pc.on_data_channel(self.channels.put_nowait)


class Call:
    """An offerer and an answerer. Signalling takes ``delay`` to the other side, and keeps its order."""

    def __init__(self, offerer: Peer, answerer: Peer, *, delay: float = 0.02) -> None:
        self.offerer = offerer
        self.answerer = answerer
        self.delay = delay
        self._carriers: list[asyncio.Task[None]] = []

    @classmethod
    def over(cls, network: VirtualNetwork, configuration: Configuration | None = None, **settings: Any) -> Call:
        """Between two hosts of ``network``, ``alice`` and ``bob``, which are made unless they are there."""
        for name, address in (("alice", "192.0.2.101"), ("bob", "192.0.2.102")):
            if name not in network.hosts:
                network.host(name, address)
        return cls(Peer(network.hosts["alice"], configuration), Peer(network.hosts["bob"], configuration), **settings)

    async def negotiate(self) -> None:
        """Offer and answer, with trickled candidates."""
        to_answerer = self._carry_candidates(self.offerer, self.answerer)
        to_offerer = self._carry_candidates(self.answerer, self.offerer)
        await self.offerer.pc.set_local_description()
        done = asyncio.get_running_loop().create_future()
        to_answerer.put_nowait(lambda: self._answer(to_offerer, done))
        await done

    async def connect(self, **channel: Any) -> tuple[DataChannel, DataChannel]:
        """Negotiate and open a data channel; both ends of it."""
        near = self.offerer.pc.create_data_channel("test", **channel)
        await self.negotiate()
        await near.opened()
        far = await self.answerer.channels.get()
        await far.opened()
        return near, far

    async def close(self) -> None:
        for carrier in self._carriers:
            carrier.cancel()
        await self.offerer.pc.close()
        await self.answerer.pc.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _answer(self, to_offerer: asyncio.Queue[Callable[[], Any]], done: asyncio.Future[None]) -> None:
        offer = self.offerer.pc.local_description
        assert offer is not None
        await self.answerer.pc.set_remote_description(offer)
        await self.answerer.pc.set_local_description()

        async def take_answer() -> None:
            answer = self.answerer.pc.local_description
            assert answer is not None
            await self.offerer.pc.set_remote_description(answer)
            done.set_result(None)

        to_offerer.put_nowait(take_answer)

    def _carry_candidates(self, source: Peer, target: Peer) -> asyncio.Queue[Callable[[], Any]]:
        """A queue of calls that are made ``delay`` later, one after the other; candidates go into it by themselves."""
        queue: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()

        def on_ice_candidate(candidate: ICECandidate | None) -> None:
            queue.put_nowait(lambda: target.pc.add_ice_candidate(candidate))

        async def carry() -> None:
            while True:
                call = await queue.get()
                await asyncio.sleep(self.delay)
                if target.pc.signaling_state != "closed":
                    await call()

        source.pc.on_ice_candidate(on_ice_candidate)
        self._carriers.append(asyncio.create_task(carry(), name=f"signalling to {target.host.name}"))
        return queue
