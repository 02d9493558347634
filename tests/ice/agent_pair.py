"""Two agents that are introduced to each other, mostly on a virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.url import ServerURL

TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")


class Pair:
    """Two agents that trickle their candidates to each other."""

    def __init__(self, network: VirtualNetwork | None = None, one: Any = None, other: Any = None) -> None:
        if network is not None:
            for name, address in (("alice", "192.0.2.1"), ("bob", "192.0.2.2")):
                if name not in network.hosts:
                    network.host(name, address)
            one = {"net": network.hosts["alice"], **(one or {})}
            other = {"net": network.hosts["bob"], **(other or {})}
        self.one = Agent(AgentOptions(**(one or {})))
        self.other = Agent(AgentOptions(**(other or {})))
        self.one.on_candidate(self.other.add_remote_candidate)
        self.other.on_candidate(self.one.add_remote_candidate)

    async def __aenter__(self) -> Pair:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.one.close(), self.other.close())

    async def connect(self) -> tuple[Conn, Conn]:
        await self.one.gather_candidates()
        await self.other.gather_candidates()
        dialled, accepted = await asyncio.gather(
            self.one.dial(*self.other.get_local_user_credentials()),
            self.other.accept(*self.one.get_local_user_credentials()),
        )
        return dialled, accepted


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]], **conditions: Any) -> None:
    run(test(VirtualNetwork(seed=1, **conditions)))
