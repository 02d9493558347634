"""Peers that stay on the old path after a restart, as libwebrtc does where it is a better one than the new."""

from __future__ import annotations

import asyncio

import pytest

from tests.ice.agent_pair import Pair, in_network
from tests.ice.test_agent_restart import count_through, restart, until
from tests.support.virtual_network import DROP, Packet, VirtualNetwork
from webrtc_py.ice import stun


def checks_of(network: VirtualNetwork, ufrag: str) -> list[stun.Message]:
    """The requests to or from this user fragment, from now on."""
    found: list[stun.Message] = []

    def look(packet: Packet) -> None:
        if stun.is_stun(packet.data):
            message = stun.parse_message(packet.data)
            if ufrag in message.attributes.get("USERNAME", "").split(":"):
                found.append(message)

    network.tap(look)
    return found


@pytest.mark.row("ICE-41")
def test_an_old_path_falls_silent_when_a_new_one_is_selected() -> None:
    """So that the peer sees that it is over. What it still sends there arrives: see the restarts that lose nothing."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            await pair.connect()
            old = pair.one.get_local_user_credentials()[0]
            await restart(pair)
            await until(lambda: not (pair.one.is_restarting or pair.other.is_restarting))
            await asyncio.sleep(0.1)
            checks = checks_of(network, old)
            await asyncio.sleep(10)
            assert checks == []

    in_network(test, delay=0.01)


@pytest.mark.row("ICE-41")
def test_a_peer_that_does_not_nominate_a_new_path_is_taken_the_old_one() -> None:
    """Else a policy that forbids the old path would never take effect. Nothing is lost on the way."""

    async def test(network: VirtualNetwork) -> None:
        async with Pair(network) as pair:
            here, there = await pair.connect()
            network.tap(lambda packet: DROP if nominates(packet) else None)
            (old,) = {one.generation for one in pair.other.get_candidate_pairs_stats()}

            async def work() -> None:
                await restart(pair)
                await asyncio.sleep(4)
                assert sent_by(pair)[old] > 200, "it has some time"
                await asyncio.sleep(2)
                before = sent_by(pair)
                await asyncio.sleep(2)
                after = sent_by(pair)
                assert after[old] == before[old]
                assert sum(after.values()) > sum(before.values()) + 100

            await asyncio.gather(count_through(there, here, work()), count_through(here, there, asyncio.sleep(8)))
            assert pair.other.is_restarting

    in_network(test, delay=0.01)


def nominates(packet: Packet) -> bool:
    return stun.is_stun(packet.data) and "USE-CANDIDATE" in stun.parse_message(packet.data).attributes


def sent_by(pair: Pair) -> dict[str, int]:
    """How many datagrams the controlled agent has sent, by generation."""
    counted: dict[str, int] = {}
    for one in pair.other.get_candidate_pairs_stats():
        counted[one.generation] = counted.get(one.generation, 0) + one.packets_sent
    return counted
