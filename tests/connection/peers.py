"""Two connections and their first exchange, by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.connection.session import description
from tests.support.connections import Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import Configuration, DataChannel, PeerConnection, SettingEngine


def two_peers(
    seed: int = 1, *, settings: tuple[SettingEngine | None, SettingEngine | None] = (None, None), **configuration: Any
) -> tuple[Peer, Peer]:
    network = VirtualNetwork(seed=seed, delay=0.01)
    made = Configuration(**configuration)
    return (
        Peer(network.host("alice", "192.0.2.101"), made, settings[0]),
        Peer(network.host("bob", "192.0.2.102"), made, settings[1]),
    )


async def exchange(offerer: PeerConnection, answerer: PeerConnection) -> None:
    """Offer and answer without trickling: each description is sent once it has all candidates."""
    await offerer.set_local_description()
    await offerer.gathering_complete()
    await answerer.set_remote_description(description(offerer.local_description))
    await answerer.set_local_description()
    await answerer.gathering_complete()
    await offerer.set_remote_description(description(answerer.local_description))


async def talk(near: DataChannel, far: DataChannel) -> None:
    """A message each way."""
    near.send("there")
    assert await far.recv() == "there"
    far.send(b"and back")
    assert await near.recv() == b"and back"


def with_peers(body: Callable[[Peer, Peer], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        one, other = two_peers(**options)
        try:
            await body(one, other)
        finally:
            await one.pc.close()
            await other.pc.close()

    run(main())
