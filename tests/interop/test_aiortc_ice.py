"""webrtc_py's ICE and aiortc's: relays, lite, one port for many, hidden addresses, and a restart that it cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiortc import RTCIceServer

from webrtc_py import (
    API,
    Configuration,
    DataChannel,
    ICEServer,
    ICETransport,
    MulticastDNSMode,
    PeerConnection,
    SettingEngine,
    UDPMux,
)

from .aiortc_peer import AiortcChannel, AiortcPeer, negotiate
from .coturn import PASSWORD, USERNAME, Coturn, coturn
from .test_aiortc import both_offer, connected_channels, message_of, run
from .test_relay import own_address

pytestmark = [pytest.mark.interop, pytest.mark.realtime]


@asynccontextmanager
async def peers(
    settings: SettingEngine, configuration: Configuration | None = None, servers: list[RTCIceServer] | None = None
) -> AsyncIterator[tuple[AiortcPeer, PeerConnection]]:
    theirs = AiortcPeer(servers)
    try:
        async with API(settings).new_peer_connection(configuration) as ours:
            yield theirs, ours
    finally:
        await theirs.connection.close()


async def exchange(there: AiortcChannel, here: DataChannel) -> None:
    messages = [message_of(binary, size) for size in (1, 16 * 1024, 200_000) for binary in (False, True)]
    for message in messages:
        here.send(message)
        there.channel.send(message)
    assert [await here.recv() for _ in messages] == messages
    assert [await there.messages.get() for _ in messages] == messages


def ice_of(connection: PeerConnection) -> ICETransport:
    assert connection.sctp is not None
    return connection.sctp.transport.ice_transport


@pytest.fixture(scope="module")
def server() -> Iterator[Coturn]:
    """aiortc does not look at loopback, so that the server has the host's address too."""
    host = own_address()
    with coturn(f"--listening-ip={host}", f"--relay-ip={host}") as one:
        yield one


@pytest.mark.needs("coturn")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@both_offer
def test_only_relays_may_be_used(server: Coturn, they_offer: bool, transport: str) -> None:
    """By us; aiortc has no such policy, but a relay of its own too."""
    url = server.url("turn", own_address(), transport)

    async def test() -> None:
        configuration = Configuration([ICEServer(url, USERNAME, PASSWORD)], ice_transport_policy="relay")
        theirs = [RTCIceServer(url, USERNAME, PASSWORD)]
        async with peers(SettingEngine(), configuration, theirs) as (there, here):
            await exchange(*await connected_channels(there, here, they_offer=they_offer))
            pair = ice_of(here).get_selected_candidate_pair()
            assert pair is not None
            assert pair.local.typ == "relay"

    run(test())


@pytest.mark.row("ICE-50")
@both_offer
def test_we_are_a_lite_agent(they_offer: bool) -> None:
    settings = SettingEngine()
    settings.set_lite(True)

    async def test() -> None:
        async with peers(settings) as (theirs, ours):
            await exchange(*await connected_channels(theirs, ours, they_offer=they_offer))
            assert ice_of(ours).role == "controlled"

    run(test())


@both_offer
def test_our_names_hide_our_addresses(they_offer: bool) -> None:
    settings = SettingEngine()
    settings.set_ice_multicast_dns_mode(MulticastDNSMode.QUERY_AND_GATHER)

    async def test() -> None:
        async with peers(settings) as (theirs, ours):
            await exchange(*await connected_channels(theirs, ours, they_offer=they_offer))
            assert ours.local_description is not None
            assert own_address() not in ours.local_description.sdp

    run(test())


def test_one_port_for_twenty() -> None:
    async def test() -> None:
        async with await UDPMux.listen() as mux, AsyncExitStack() as stack:
            settings = SettingEngine()
            settings.set_ice_udp_mux(mux)
            pairs = [await stack.enter_async_context(peers(settings)) for _ in range(20)]
            channels = await asyncio.gather(
                *(connected_channels(*pair, they_offer=at % 2 == 0) for at, pair in enumerate(pairs))
            )
            await asyncio.gather(*(exchange(*pair) for pair in channels))
            for _, ours in pairs:
                pair = ice_of(ours).get_selected_candidate_pair()
                assert pair is not None
                assert pair.local.port == mux.port

    run(test())


def test_a_restart_that_the_peer_does_not_do() -> None:
    """aiortc answers with the credentials it has, which is no restart: the session goes on as it is."""

    async def test() -> None:
        async with peers(SettingEngine()) as (theirs, ours):
            there, here = await connected_channels(theirs, ours, they_offer=False)
            before = ice_of(ours).get_selected_candidate_pair_stats()
            states: list[str] = []
            ours.on_connection_state_change(states.append)
            ours.restart_ice()
            await negotiate(theirs, ours, they_offer=False, trickle=False)
            await exchange(there, here)
            after = ice_of(ours).get_selected_candidate_pair_stats()
            assert before is not None
            assert after is not None
            assert (after.generation, after.remote) == (before.generation, before.remote)
            assert not ice_of(ours).is_restarting
            assert states == []

    run(test())
