"""webrtc_py and Pion, on which it is modelled: both offer, trickled and not, both restart; and the agents alone."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_loop import run_real
from webrtc_py import Configuration, ICEServer, SettingEngine, UDPMux
from webrtc_py.ice import Agent, AgentOptions, unmarshal_candidate

from .coturn import PASSWORD, USERNAME, coturn
from .pion_peer import TIMEOUT, Call, Pion, build, under_load

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("pion")]

# Pion's reader takes no more, though it says nothing of it, and 64 KiB is what RFC 8841 then lets others send.
LARGEST = 65535
MESSAGES = [message for size in (0, 1, 1024, LARGEST) for message in (bytes(size), "x" * size)]

both_offer = pytest.mark.parametrize("they_offer", [True, False], ids=["Pion offers", "Pion answers"])
either_restarts = pytest.mark.parametrize("they_restart", [True, False], ids=["Pion restarts", "we restart"])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache is not None
    return build(tmp_path_factory.mktemp("pion"), pytestconfig.cache.mkdir("go-build"))


def run(test: Coroutine[Any, Any, None]) -> None:
    run_real(test, timeout=200.0)


def lite() -> SettingEngine:
    settings = SettingEngine()
    settings.set_lite(True)
    return settings


@pytest.mark.row("X-01", "DCH-02")
@pytest.mark.parametrize("trickle", [True, False], ids=["trickle", "complete"])
@both_offer
def test_messages_of_every_size_both_ways(program: Path, they_offer: bool, trickle: bool) -> None:
    async def test() -> None:
        async with Pion(program) as pion, Call(pion, trickle=trickle) as call:
            await call.connect(they_offer=they_offer)
            await call.exchange(MESSAGES)
            assert call.ice.role == ("controlled" if they_offer else "controlling")

    run(test())


def test_channels_of_every_kind(program: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"ordered": False},
        {"max_retransmits": 3},
        {"ordered": False, "max_packet_life_time": 500, "protocol": "p"},
    ]

    async def test() -> None:
        async with Pion(program) as pion, Call(pion) as call:
            await call.connect(they_offer=True)
            for number, kind in enumerate(kinds):
                channel = call.connection.create_data_channel(str(number), **kind)
                await channel.opened()
                assert await call.event(f"open {number}") == {
                    "ordered": channel.ordered,
                    "protocol": channel.protocol,
                    "maxRetransmits": channel.max_retransmits,
                    "maxPacketLifeTime": channel.max_packet_life_time,
                }
                await channel.close()
                await call.event(f"closed {number}")

    run(test())


@pytest.mark.row("ICE-50")
@pytest.mark.parametrize("ours_is_lite", [True, False], ids=["we are lite", "Pion is lite"])
@both_offer
def test_a_lite_agent_and_its_restarts(program: Path, they_offer: bool, ours_is_lite: bool) -> None:
    async def test() -> None:
        settings = lite() if ours_is_lite else None
        async with Pion(program) as pion, Call(pion, settings, theirs={"lite": not ours_is_lite}) as call:
            await call.connect(they_offer=they_offer)
            async with under_load(call):
                for they_restart in (True, False):
                    await restart(call, they_restart=they_restart)
            assert call.ice.role == ("controlled" if ours_is_lite else "controlling")
            assert call.states == ["connecting", "connected"]

    run(test())


async def restart(call: Call, *, they_restart: bool) -> None:
    before = call.ice.gatherer.get_local_parameters()
    await call.negotiate(they_offer=they_restart, ice_restart=True)
    assert call.ice.gatherer.get_local_parameters() != before
    async with asyncio.timeout(TIMEOUT):
        while call.ice.is_restarting:  # noqa: ASYNC110  it is told by an event only if the path is another
            await asyncio.sleep(0.01)


@pytest.mark.row("ICE-41", "ICE-42")
@either_restarts
@both_offer
def test_restarts_under_load(program: Path, they_offer: bool, they_restart: bool) -> None:
    """Pion gives up the old path before it has a new one, so that packets are lost, but no message is."""

    async def test() -> None:
        async with Pion(program) as pion, Call(pion) as call:
            await call.connect(they_offer=they_offer)
            async with under_load(call):
                for _ in range(3):
                    await restart(call, they_restart=they_restart)
            assert call.states == ["connecting", "connected"]

    run(test())


@both_offer
def test_tcp_to_pions_port(program: Path, they_offer: bool) -> None:
    settings = SettingEngine()
    settings.set_network_types(["tcp4"])

    async def test() -> None:
        theirs = {"networkTypes": ["tcp4"], "tcpMux": True}
        async with Pion(program) as pion, Call(pion, settings, theirs=theirs) as call:
            await call.connect(they_offer=they_offer)
            await call.exchange(MESSAGES)
            pair = call.ice.get_selected_candidate_pair()
            assert pair is not None
            assert (pair.local.protocol, pair.local.tcp_type, pair.remote.tcp_type) == ("tcp", "active", "passive")

    run(test())


@pytest.mark.parametrize("ours_is_one", [True, False], ids=["our port", "Pion's port"])
@both_offer
def test_one_port_for_ten(program: Path, they_offer: bool, ours_is_one: bool) -> None:
    async def test() -> None:
        ports: set[int] = set()
        async with Pion(program) as pion, await UDPMux.listen() as mux:
            settings = SettingEngine()
            settings.set_ice_udp_mux(mux if ours_is_one else None)

            async def one(number: int) -> None:
                async with Call(pion, settings, number=number, theirs={"udpMux": not ours_is_one}) as call:
                    await call.connect(they_offer=they_offer)
                    await call.exchange([str(number), bytes(LARGEST)])
                    pair = call.ice.get_selected_candidate_pair()
                    assert pair is not None
                    ports.add(pair.local.port if ours_is_one else pair.remote.port)

            async with asyncio.TaskGroup() as tasks:
                for number in range(10):
                    tasks.create_task(one(number))
            assert len(ports) == 1

    run(test())


@both_offer
def test_both_hide_their_addresses(program: Path, they_offer: bool) -> None:
    settings = SettingEngine()
    settings.set_ice_multicast_dns_mode("query-and-gather")

    async def test() -> None:
        async with Pion(program) as pion, Call(pion, settings, theirs={"mdns": True}) as call:
            await call.connect(they_offer=they_offer)
            await call.exchange(MESSAGES)
            pair = call.ice.get_selected_candidate_pair()
            assert pair is not None
            assert pair.local.address.endswith(".local")

    run(test())


@pytest.mark.needs("coturn")
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_only_relays_at_both_ends(program: Path, transport: str) -> None:
    """Pion's way to the server is UDP; it has no way to be told of a certificate of one's own."""

    async def test() -> None:
        with coturn() as server:
            scheme, ours_by = ("turns", "tcp") if transport == "tls" else ("turn", transport)
            url, their_url = server.url(scheme, transport=ours_by), server.url("turn", transport="udp")
            settings = SettingEngine()
            settings.set_turn_tls_context(server.tls_context())
            ours = Configuration([ICEServer(url, USERNAME, PASSWORD)], ice_transport_policy="relay")
            theirs = {
                "iceServers": [{"urls": [their_url], "username": USERNAME, "credential": PASSWORD}],
                "iceTransportPolicy": "relay",
            }
            async with Pion(program) as pion, Call(pion, settings, ours, their_configuration=theirs) as call:
                await call.connect(they_offer=False)
                await call.exchange(MESSAGES)
                pair = call.ice.get_selected_candidate_pair()
                assert pair is not None
                assert (pair.local.typ, pair.remote.typ) == ("relay", "relay")

    run(test())


@both_offer
def test_a_peer_that_stops_for_a_while(program: Path, they_offer: bool) -> None:
    settings = SettingEngine()
    settings.set_ice_timeouts(1, 100, 0.5)

    async def test() -> None:
        async with Pion(program) as pion, Call(pion, settings, theirs={"timeouts": [1, 100, 0.5]}) as call:
            await call.connect(they_offer=they_offer)
            pion.signal(signal.SIGSTOP)
            call.ours.send("are you there?")
            await call.connection_state("disconnected")
            pion.signal(signal.SIGCONT)
            await call.connection_state("connected")
            assert await call.recv_there() == "are you there?"
            await call.exchange(MESSAGES)

    run(test())


@pytest.mark.parametrize("they_close", [True, False], ids=["Pion closes", "we close"])
def test_the_other_end_notices_the_end(program: Path, they_close: bool) -> None:
    async def test() -> None:
        async with Pion(program) as pion, Call(pion) as call:
            await call.connect(they_offer=True)
            if they_close:
                await call.ask("close")
                async for _ in call.ours:
                    pass
            else:
                await call.connection.close()
                await call.event("closed chat")

    run(test())


@pytest.mark.parametrize(
    ("they_dial", "they_are_lite"),
    [(True, False), (False, False), (False, True)],
    ids=["Pion dials", "Pion accepts", "Pion accepts and is lite"],
)
def test_the_agent_alone(program: Path, they_dial: bool, they_are_lite: bool) -> None:
    async def test() -> None:
        async with Pion(program) as pion, Agent(AgentOptions(candidate_types=["host"])) as agent:
            await pion.ask(1, "agent", settings={"lite": they_are_lite})
            await pion.ask(1, "gather")
            await agent.gather_candidates()
            await agent.gathering_complete()
            for candidate in agent.get_local_candidates():
                await pion.ask(1, "candidate", candidate={"candidate": candidate.marshal()})
            theirs = await pion.ask(1, "credentials")
            ufrag, pwd = agent.get_local_user_credentials()
            await pion.ask(1, "dial" if they_dial else "accept", ufrag=ufrag, pwd=pwd)
            extended = await pion.event(1, "candidate") + " network-cost 10 unheard-of 1"
            agent.add_remote_candidate(unmarshal_candidate(extended))
            connect = agent.accept if they_dial else agent.dial
            conn = await asyncio.wait_for(connect(theirs["ufrag"], theirs["pwd"]), TIMEOUT)
            await pion.event(1, "connected")
            for size in (1, 1200, 8000):
                data = b"x" * size
                conn.send(data)
                assert base64.b64decode(await pion.event(1, "data")) == data
                await pion.ask(1, "send", data=base64.b64encode(data).decode())
                assert await asyncio.wait_for(conn.recv(), TIMEOUT) == data
            assert f"candidate:{extended}" in [candidate.marshal() for candidate in agent.get_remote_candidates()]

    run(test())
