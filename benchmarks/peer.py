"""What a benchmark asks of a stack, in the smallest common words; ``peer_*.py`` answer it for each stack."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, cast

STACKS = ("webrtc_py", "aiortc")

# webrtc_py's default. aioice's is 5 s and no option; it is made the same, so that idle agents do the same.
KEEPALIVE_INTERVAL = 2.0


class Channel(Protocol):
    """An open data channel."""

    @property
    def buffered_amount(self) -> int: ...

    def send(self, data: bytes) -> None: ...

    def on_message(self, handler: Callable[[bytes], None]) -> object: ...

    def on_low(self, threshold: int, handler: Callable[[], None]) -> None:
        """Call the handler whenever the buffered amount falls to ``threshold`` bytes."""


class Peer(Protocol):
    """One end of a connection with one channel, made by the offerer: ordered, reliable, no ICE servers.

    Descriptions are complete (candidates inside), and travel as text.
    """

    async def offer(self) -> str: ...

    async def answer(self, offer: str) -> str: ...

    async def accept(self, answer: str) -> None: ...

    async def channel(self) -> Channel:
        """Wait until the channel is open."""

    async def close(self) -> None: ...


class Agent(Protocol):
    """An ICE agent that is connected and does nothing. aiortc's is aioice's ``Connection``."""

    async def close(self) -> None: ...


class Stack(Protocol):
    """The module ``peer_<stack>``."""

    def create_peer(self) -> Peer: ...

    async def connected_pair(self) -> tuple[Peer, Peer]:
        """Two peers of this process, connected as fast as the stack can; both channels are open."""

    async def connected_agents(self, hosts: Sequence[str] | None = None) -> tuple[Agent, Agent]:
        """Two agents without servers, connected as fast as the stack can.

        With ``hosts`` they have these loopback addresses, else those that they find. Each asks for consent every
        :data:`KEEPALIVE_INTERVAL` seconds.
        """


def load(name: str) -> Stack:
    """The stack's module; the other one is not imported, so that memory is its own."""
    return cast(Stack, importlib.import_module(f"benchmarks.peer_{name}"))
