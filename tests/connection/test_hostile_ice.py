"""Peers and signalling that abuse ICE, against whole connections: what they may cost, in numbers."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.connection.test_hostile import addresses, still_works
from tests.support.connections import Call, Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    Configuration,
    ICECandidateInit,
    ICEServer,
    PeerConnection,
    SessionDescription,
    SettingEngine,
)
from webrtc_py.errors import SDPSyntaxError, WebRTCError
from webrtc_py.ice import stun
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.sdp.fragment import Fragment

EVIL = "203.0.113.66"


def attack(test: Callable[[VirtualNetwork, Call], Coroutine[Any, Any, None]], *, seed: int, **conditions: Any) -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=seed, delay=0.005, **conditions)
        async with Call.over(network) as call:
            await test(network, call)

    run(main(), timeout_virtual=5000)


def agent_of(pc: PeerConnection) -> Agent:
    assert pc.sctp is not None
    return pc.sctp.transport.ice_transport.gatherer.agent


def memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def with_credentials(sdp: str, ufrag: str, pwd: str) -> str:
    """The description of a restart, whose candidates are nobody's."""
    sdp = re.sub(r"a=candidate:[^\r]*\r\n", "", sdp)
    sdp = re.sub(r"a=ice-ufrag:[^\r]*", f"a=ice-ufrag:{ufrag}", sdp)
    return re.sub(r"a=ice-pwd:[^\r]*", f"a=ice-pwd:{pwd}", sdp)


async def refusal_of(call: Coroutine[Any, Any, None]) -> str:
    """What an application is told, empty when nothing: one line that somebody can read."""
    try:
        await call
    except WebRTCError as error:
        return str(error)
    return ""


def line(number: int) -> str:
    """Candidates of all sorts, some of them none."""
    host = f"203.0.{number // 250 % 250}.{number % 250}"
    return [
        f"candidate:{number} 1 udp {2**31 - 1 - number} {host} {1000 + number} typ host",
        f"candidate:{number} 1 udp {2**31 - 1 - number} name-{number}.local 5000 typ host",
        f"candidate:{number} 1 tcp {2**30 - number} {host} 443 typ host tcptype passive",
        f"candidate:{number} 1 udp 1 2001:db8::{number:x} 5000 typ host x{number} " + "y" * 1900,
        f"candidate:{number} 1 sctp{number} 1 {host} 5000 typ host",
        f"candidate:{number} 1 udp 1 {host} 5000 typ kind{number} raddr {'n' * 250} rport 1",
        f"candidate:{number} 1 udp 1 {host} 99999 typ host",
        f"candidate:{number} 1 udp 1 {host} 5000 typ host ufrag {'u' * 1000}{number}",
    ][number % 8]


@pytest.mark.row("ICE-54")
@pytest.mark.parametrize("is_connected", [False, True])
def test_ten_thousand_candidates_by_signalling(is_connected: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork, call: Call) -> None:
        channels = await call.connect() if is_connected else None
        pc = call.answerer.pc
        if not is_connected:
            call.offerer.pc.create_data_channel("test")
            await call.offerer.pc.set_local_description()
            offer = call.offerer.pc.local_description
            assert offer is not None
            await pc.set_remote_description(offer)
            await pc.set_local_description()
        tracemalloc.start()
        try:
            before, sent, errors = memory(), network.counters["sent"], 0
            caplog.clear()
            for number in range(10_000):
                refusal = await refusal_of(pc.add_ice_candidate(ICECandidateInit(line(number), "0")))
                errors += bool(refusal)
                assert len(refusal) < 3000
                if number % 100 == 0:
                    await asyncio.sleep(0.1)
            assert memory() - before < 2_000_000
        finally:
            tracemalloc.stop()
        assert errors >= 10_000 // 8
        # Seven requests for each pair, three questions in each of two groups for each name, a few checks of consent.
        assert network.counters["sent"] - sent <= 7 * 100 + 2 * 3 * 110 + 100
        assert len(asyncio.all_tasks()) <= 100
        assert len(agent_of(pc).get_candidate_pairs_stats()) <= 100
        assert len([record for record in caplog.records if record.levelno > logging.DEBUG]) <= 150
        assert len(pc.explain()) < 3000
        if channels is not None:
            await still_works(*channels)

    with caplog.at_level(logging.INFO, "webrtc_py"):
        attack(test, seed=1)


def test_five_hundred_restarts_by_a_peer_that_is_not_there() -> None:
    """Each of its offers has other credentials, under which nobody ever speaks. The old path carries on."""

    async def main() -> None:
        network = VirtualNetwork(seed=2, delay=0.005)
        server = network.turn_server("turn.example", "192.0.2.50")
        servers = [ICEServer("turn:turn.example", username="user", credential="secret")]
        async with Call.over(network, Configuration(ice_servers=servers)) as call:
            near, far = await call.connect()
            await asyncio.sleep(10)
            pc = call.answerer.pc
            pc.on_ice_candidate(None)
            offer = call.offerer.pc.local_description
            assert offer is not None
            sockets = tasks = allocations = 0
            before = 0
            for number in range(500):
                if number == 100:
                    tracemalloc.start()
                    before = memory()
                evil = with_credentials(offer.sdp, f"evil{number:06}", f"{number:022}")
                await pc.set_remote_description(SessionDescription("offer", evil))
                await pc.set_local_description()
                await asyncio.sleep(0.05)
                sockets = max(sockets, len(network.hosts["bob"].sockets))
                tasks = max(tasks, len(asyncio.all_tasks()))
                allocations = max(allocations, server.allocations)
            grown = memory() - before
            tracemalloc.stop()
            # The tests' server remembers each client, with its log.
            assert grown < 400 * 10_000
            assert sockets <= 6
            assert allocations <= 8
            assert tasks <= 40
            assert len(list(agent_of(pc)._generations)) <= 3
            assert call.answerer.states == ["connecting", "connected"]
            await still_works(near, far)
        await asyncio.sleep(2)
        assert server.allocations == 0

    run(main(), timeout_virtual=5000)


@pytest.mark.row("JSE-03")
def test_restarts_that_are_offered_and_taken_back_leave_the_session_whole() -> None:
    async def test(network: VirtualNetwork, call: Call) -> None:
        near, far = await call.connect()
        pc = call.answerer.pc
        offer = call.offerer.pc.local_description
        assert offer is not None
        sent = network.counters["sent"]
        for number in range(200):
            evil = with_credentials(offer.sdp, f"evil{number:06}", f"{number:022}")
            await pc.set_remote_description(SessionDescription("offer", evil))
            await pc.add_ice_candidate(
                ICECandidateInit(f"candidate:1 1 udp 1 {EVIL} {1000 + number} typ host ufrag evil{number:06}", "0")
            )
            await pc.set_remote_description(SessionDescription("rollback", ""))
        assert network.counters["sent"] - sent <= 10
        assert len(list(agent_of(pc)._generations)) == 1
        assert len(agent_of(pc)._ahead.candidates) <= 100
        await still_works(near, far)
        assert call.answerer.states == ["connecting", "connected"]

    attack(test, seed=3)


@pytest.mark.row("ICE-57")
@pytest.mark.parametrize(
    ("ufrag", "pwd"),
    [
        ("abc", "p" * 22),
        ("evil" * 16384, "p" * 22),
        ("evil", "p" * 21),
        ("evil", "p" * 257),
        ("ev\x1bil", "p" * 22),
        ("evil name", "p" * 22),
        ("\N{CYRILLIC SMALL LETTER A}" * 4, "p" * 22),
        ("", ""),
    ],
)
def test_credentials_that_cannot_be_are_refused_in_few_words_and_change_nothing(ufrag: str, pwd: str) -> None:
    async def test(network: VirtualNetwork, call: Call) -> None:
        near, far = await call.connect()
        pc = call.answerer.pc
        offer = call.offerer.pc.local_description
        assert offer is not None
        with pytest.raises(WebRTCError) as caught:
            await pc.set_remote_description(SessionDescription("offer", with_credentials(offer.sdp, ufrag, pwd)))
        assert len(str(caught.value)) < 500
        assert str(caught.value).isprintable()
        assert pc.signaling_state == "stable"
        await still_works(near, far)

    attack(test, seed=4)


@pytest.mark.parametrize("ufrag", ["evil", "u" * 65536, "\r\n\x1b[2J", ""])
def test_candidates_of_unknown_generations_are_refused_or_dropped_and_kept_nowhere(ufrag: str) -> None:
    async def test(network: VirtualNetwork, call: Call) -> None:
        near, far = await call.connect()
        pc = call.answerer.pc
        sent = network.counters["sent"]
        for number in range(300):
            init = ICECandidateInit(
                f"candidate:1 1 udp 1 {EVIL} {1000 + number} typ host",
                "0",
                username_fragment=ufrag and f"{ufrag}{number}",
            )
            refusal = await refusal_of(pc.add_ice_candidate(init))
            assert len(refusal) < 500
            assert refusal.isprintable()
        assert len(agent_of(pc)._ahead.candidates) == 0
        assert network.counters["sent"] - sent <= 10
        await still_works(near, far)

    attack(test, seed=5)


def test_a_peer_whose_nominations_flap_while_data_flows() -> None:
    """Its two paths take turns a hundred times a second: nothing is lost, and hardly more is sent."""

    async def main(flap: bool) -> int:
        network = VirtualNetwork(seed=6, delay=0.005)
        network.host("alice", "192.0.2.101", "192.0.2.201")
        settings = SettingEngine()
        settings.set_ice_renomination(RenominationOptions())
        network.host("bob", "192.0.2.102")
        call = Call(Peer(network.hosts["alice"]), Peer(network.hosts["bob"], settings=settings))
        async with call:
            near, far = await call.connect()
            await asyncio.sleep(1)
            hostile, target = agent_of(call.offerer.pc), addresses(call)[1]
            agent = agent_of(call.answerer.pc)
            ends = [(one.address, one.port) for one in hostile.get_local_candidates()]
            ufrag, pwd = agent.get_local_user_credentials()
            sent = network.counters["sent"]
            for number in range(500):
                if flap:
                    request = stun.binding_request(
                        number.to_bytes(12, "big"),
                        username=f"{ufrag}:{hostile.get_local_user_credentials()[0]}",
                        key=pwd.encode(),
                        priority=1,
                        controlling=True,
                        tie_breaker=2**64 - 1,
                        use_candidate=True,
                        nomination=(stun.NOMINATION, 100 + number),
                    )
                    network.inject(request, source=ends[number % 2], destination=target)
                far.send(bytes(500))
                assert await near.recv() == bytes(500)
            await still_works(near, far)
            return network.counters["sent"] - sent

    calm, flapping = run(main(False)), run(main(True))
    # The request, its answer, and two datagrams more at most for each of them.
    assert flapping - calm <= 500 * 4


FRAGMENT_LINES = [
    "a=ice-ufrag:evil",
    f"a=ice-pwd:{'p' * 22}",
    "m=audio 9 RTP/AVP 0",
    "a=mid:0",
    "a=mid:1",
    f"a=candidate:1 1 udp 1 {EVIL} 5000 typ host",
    "a=end-of-candidates",
    "a=ice-lite",
    "",
]


@given(st.lists(st.one_of(st.sampled_from(FRAGMENT_LINES), st.text(max_size=60)), max_size=12))
def test_any_fragment_is_read_or_refused_and_reads_as_it_is_written(lines: list[str]) -> None:
    try:
        fragment = Fragment.parse("\r\n".join(lines))
    except SDPSyntaxError:
        return
    assert Fragment.parse(fragment.serialize()) == fragment
    assert len(list(fragment.trickled())) <= len(lines)
