"""Whole connections whose network changes under them, or whose addresses are hidden."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.connections import Call, Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import ICECandidateStats, SessionDescription, SettingEngine


def settings_for(**calls: tuple[Any, ...]) -> SettingEngine:
    settings = SettingEngine()
    for name, arguments in calls.items():
        getattr(settings, name)(*arguments)
    return settings


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]], **conditions: Any) -> None:
    run(test(VirtualNetwork(seed=1, **conditions)))


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("mover", ["offerer", "answerer"])
@pytest.mark.parametrize("overlap", [1.0, -0.5])
def test_a_change_of_the_network_loses_nothing_of_a_reliable_channel(mover: str, overlap: float) -> None:
    """The new interface comes before the old one goes, or half a second behind it; numbered messages both ways."""

    async def test(network: VirtualNetwork) -> None:
        home, hotspot = network.nat("home", "198.51.100.1"), network.nat("hotspot", "198.51.100.2")
        mobile, fixed = home.host("mobile", "10.0.0.2"), network.host("fixed", "192.0.2.2")
        moving = Peer(mobile, settings=settings_for(set_ice_continual_gathering=("continually",)))
        resting = Peer(fixed)
        ends = (moving, resting) if mover == "offerer" else (resting, moving)
        async with Call(*ends) as call:
            near, far = await call.connect()
            arrived: dict[str, list[tuple[float, int]]] = {"near": [], "far": []}
            loop = asyncio.get_running_loop()
            near.on_message(lambda message: arrived["near"].append((loop.time(), int(message))))
            far.on_message(lambda message: arrived["far"].append((loop.time(), int(message))))

            async def talk() -> None:
                for number in range(1000):
                    near.send(str(number))
                    far.send(str(number))
                    await asyncio.sleep(0.02)

            talking = asyncio.create_task(talk())
            await asyncio.sleep(3)
            if overlap > 0:
                mobile.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
                await asyncio.sleep(overlap)
            gone = loop.time()
            mobile.remove_interface("eth0")
            if overlap < 0:
                await asyncio.sleep(-overlap)
                mobile.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
            await talking
            await asyncio.sleep(2)
            for messages in arrived.values():
                assert [number for _, number in messages] == list(range(1000))
                assert min(time for time, _ in messages if time > gone + 0.05) - gone < 3.0
            for peer in ends:
                assert peer.states[-1] == "connected"
                assert "failed" not in peer.states

    in_network(test, delay=0.02)


@pytest.mark.row("X-04")
@pytest.mark.parametrize("seconds", [2.0, 3.0])
def test_after_an_outage_that_was_no_disconnection_data_flows_at_once(seconds: float) -> None:
    """SCTP has doubled its timer meanwhile; the first sign of life makes waiting for it needless."""

    async def test(network: VirtualNetwork) -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            loop = asyncio.get_running_loop()
            await asyncio.sleep(5)
            network.cut_for(seconds, call.offerer.host, call.answerer.host)
            restored = loop.time() + seconds
            near.send("during the outage")
            assert await far.recv() == "during the outage"
            # Checks that are not answered are repeated twice a second.
            assert restored < loop.time() < restored + 0.6
            assert "disconnected" not in call.offerer.states + call.answerer.states

    in_network(test, delay=0.02)


@pytest.mark.row("X-04", "ICE-52")
def test_when_its_peer_has_moved_the_end_that_stays_sends_again_at_once() -> None:
    async def test(network: VirtualNetwork) -> None:
        mobile = network.host("mobile", "192.0.2.1")
        mobile.add_address("eth0", "192.0.2.9")
        moving = Peer(mobile, settings=settings_for(set_ice_continual_gathering=("continually",)))
        resting = Peer(network.host("fixed", "192.0.2.2"))
        async with Call(moving, resting) as call:
            near, far = await call.connect()
            loop = asyncio.get_running_loop()
            assert resting.pc.sctp is not None
            ice = resting.pc.sctp.transport.ice_transport
            moves: list[float] = []
            ice.on_selected_candidate_pair_change(lambda pair: moves.append(loop.time()))
            await asyncio.sleep(5)
            before = ice.get_selected_candidate_pair()
            assert before is not None
            mobile.remove_address("eth0", before.remote.address)
            far.send("to where it was")
            assert await near.recv() == "to where it was"
            assert loop.time() == pytest.approx(moves[-1] + 0.02, abs=0.01)

    in_network(test, delay=0.02)


def test_the_first_round_makes_a_description_that_can_be_sent_whole() -> None:
    async def test(network: VirtualNetwork) -> None:
        one = Peer(
            network.host("alice", "192.0.2.1"), settings=settings_for(set_ice_continual_gathering=("continually",))
        )
        one.pc.create_data_channel("test")
        candidates: list[Any] = []
        one.pc.on_ice_candidate(candidates.append)
        await one.pc.set_local_description()
        await one.pc.gathering_complete()
        assert one.pc.local_description is not None
        assert "192.0.2.1 " in one.pc.local_description.sdp
        assert "end-of-candidates" not in one.pc.local_description.sdp
        one.host.add_address("eth0", "192.0.2.5")
        await asyncio.sleep(2)
        assert "192.0.2.5 " in one.pc.local_description.sdp
        one.host.remove_address("eth0", "192.0.2.1")
        await asyncio.sleep(2)
        assert "192.0.2.1 " not in one.pc.local_description.sdp
        assert None not in candidates
        assert one.pc.ice_gathering_state == "gathering"
        await one.pc.close()

    in_network(test)


@pytest.mark.row("JSE-03", "ICE-52")
def test_what_was_withdrawn_during_a_restart_is_gone_when_that_is_taken_back() -> None:
    async def test(network: VirtualNetwork) -> None:
        mobile = network.host("mobile", "192.0.2.1")
        mobile.add_address("eth0", "192.0.2.9")
        moving = Peer(mobile, settings=settings_for(set_ice_continual_gathering=("continually",)))
        async with Call(moving, Peer(network.host("fixed", "192.0.2.2"))) as call:
            await call.connect()
            pc = moving.pc
            await pc.set_local_description(await pc.create_offer(ice_restart=True))
            await pc.gathering_complete()
            mobile.remove_address("eth0", "192.0.2.9")
            mobile.add_address("eth0", "192.0.2.10")
            await asyncio.sleep(5)
            told: list[Any] = []
            pc.on_ice_candidate(told.append)
            await pc.set_local_description(SessionDescription("rollback"))
            await asyncio.sleep(1)
            assert pc.local_description is not None
            lines = [line.split()[4] for line in pc.local_description.sdp.splitlines() if "a=candidate" in line]
            assert lines == ["192.0.2.1", "192.0.2.10"]
            assert [candidate.address for candidate in told] == ["192.0.2.10"]

    in_network(test, delay=0.01)


@pytest.mark.row("MDN-01", "MDN-04", "SEC-13")
def test_hidden_addresses_are_in_no_description_and_no_statistics() -> None:
    async def test(network: VirtualNetwork) -> None:
        hidden = {"set_ice_multicast_dns_mode": ("query-and-gather",)}
        alice = Peer(network.host("alice", "10.0.0.1"), settings=settings_for(**hidden))
        bob = Peer(network.host("bob", "10.0.0.2"), settings=settings_for(**hidden))
        async with Call(alice, bob) as call:
            near, far = await call.connect()
            near.send("hello")
            assert await far.recv() == "hello"
            for peer in (alice, bob):
                assert peer.pc.local_description is not None
                sdp = peer.pc.local_description.sdp
                assert "10.0.0." not in sdp
                assert ".local " in sdp
                assert "c=IN IP4 0.0.0.0" in sdp
                assert "m=application 9 " in sdp
                report = await peer.pc.get_stats()
                assert "10.0.0." not in repr(report)
                local = [one for one in report.of(ICECandidateStats) if one.type == "local-candidate"]
                assert all(one.address is not None and one.address.endswith(".local") for one in local)
                assert "10.0.0." not in peer.pc.explain()

    in_network(test, delay=0.01)


@pytest.mark.row("MDN-01")
def test_hidden_addresses_are_in_no_event() -> None:
    async def test(network: VirtualNetwork) -> None:
        hidden = settings_for(set_ice_multicast_dns_mode=("query-and-gather",))
        pc = Peer(network.host("alice", "10.0.0.1"), settings=hidden).pc
        told: list[Any] = []
        pc.on_ice_candidate(told.append)
        pc.create_data_channel("x")
        await pc.set_local_description()
        await pc.gathering_complete()
        await asyncio.sleep(0)
        [candidate, end] = told
        assert end is None
        assert candidate.address.endswith(".local")
        assert "10.0.0." not in repr(candidate) + repr(candidate.to_init())
        await pc.close()

    in_network(test, delay=0.01)
