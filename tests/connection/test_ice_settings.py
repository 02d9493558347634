"""What the settings of ICE make of whole connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.connection.peers import talk
from tests.support.connections import Call, Peer
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    Configuration,
    ICETransport,
    InvalidAccessError,
    InvalidStateError,
    SessionDescription,
    SettingEngine,
)
from webrtc_py.ice.mux import TCPMux, UDPMux
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.sdp import parse


def ice_of(peer: Peer) -> ICETransport:
    sctp = peer.pc.sctp
    assert sctp is not None
    ice = sctp.transport.ice_transport
    assert isinstance(ice, ICETransport)
    return ice


def text(found: SessionDescription | None) -> str:
    assert found is not None
    return found.sdp


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]]) -> None:
    run(test(VirtualNetwork(seed=1, delay=0.01)))


def pair_of_peers(network: VirtualNetwork, ours: SettingEngine, theirs: SettingEngine) -> Call:
    for name, address in (("alice", "192.0.2.101"), ("bob", "192.0.2.102")):
        if name not in network.hosts:
            network.host(name, address)
    return Call(Peer(network.hosts["alice"], None, ours), Peer(network.hosts["bob"], None, theirs))


async def restart(call: Call) -> None:
    await call.offerer.pc.set_local_description(await call.offerer.pc.create_offer(ice_restart=True))
    await call.offerer.pc.gathering_complete()
    await call.answerer.pc.set_remote_description(call.offerer.pc.local_description)
    await call.answerer.pc.set_local_description()
    await call.answerer.pc.gathering_complete()
    await call.offerer.pc.set_remote_description(call.answerer.pc.local_description)
    await asyncio.sleep(10)
    assert not ice_of(call.offerer).is_restarting
    assert not ice_of(call.answerer).is_restarting


# Lite


@pytest.mark.row("ICE-50", "ICE-11", "SDP-ICE-07")
@pytest.mark.parametrize("lite", ["offerer", "answerer", "both"])
def test_lite_agents(lite: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        ours, theirs = SettingEngine(), SettingEngine()
        ours.set_lite(lite != "answerer")
        theirs.set_lite(lite != "offerer")
        async with pair_of_peers(network, ours, theirs) as call:
            near, far = await call.connect()
            await talk(near, far)
            roles = {"offerer": ("controlled", "controlling")}.get(lite, ("controlling", "controlled"))
            assert tuple(str(ice_of(peer).role) for peer in (call.offerer, call.answerer)) == roles
            for peer, is_lite in ((call.offerer, lite != "answerer"), (call.answerer, lite != "offerer")):
                session = parse(text(peer.pc.local_description))
                assert session.ice_lite is is_lite
                assert all(" typ host" in line for line in session.media[0].candidates)
            # It lives on, and it restarts.
            await asyncio.sleep(60)
            await talk(near, far)
            await restart(call)
            await talk(near, far)
            assert tuple(str(ice_of(peer).role) for peer in (call.offerer, call.answerer)) == roles
            assert call.offerer.states == call.answerer.states == ["connecting", "connected"]

    in_network(test)


def test_a_lite_peer_connection_has_no_relay_policy() -> None:
    async def test(network: VirtualNetwork) -> None:
        settings = SettingEngine()
        settings.set_lite(True)
        with pytest.raises(InvalidAccessError, match="relay"):
            Peer(network.host("alice", "192.0.2.101"), Configuration(ice_transport_policy="relay"), settings)

    in_network(test)


# Renomination


def renominating() -> SettingEngine:
    settings = SettingEngine()
    settings.set_ice_renomination(RenominationOptions(automatic=False))
    return settings


@pytest.mark.row("REN-01", "REN-03")
def test_the_path_is_changed_by_hand_and_nothing_is_lost() -> None:
    async def test(network: VirtualNetwork) -> None:
        for name, number in (("alice", 101), ("bob", 102)):
            host = network.host(name, f"192.0.2.{number}")
            host.add_interface("eth1", f"198.51.100.{number}")
        async with pair_of_peers(network, renominating(), renominating()) as call:
            near, far = await call.connect(ordered=False, max_retransmits=0)
            assert "a=ice-options:trickle ice2 renomination\r\n" in text(call.answerer.pc.local_description)
            await asyncio.sleep(5)
            received: list[object] = []
            far.on_message(received.append)
            ours, theirs = ice_of(call.offerer), ice_of(call.answerer)
            before = ours.get_selected_candidate_pair()
            assert before is not None
            local = next(one for one in ours.gatherer.get_local_candidates() if one.address != before.local.address)
            remote = next(one for one in ours.get_remote_candidates() if one.address != before.remote.address)
            for number in range(100):
                near.send(str(number))
                await asyncio.sleep(0.005)
                if number == 50:
                    ours.renominate(local, remote)
            await asyncio.sleep(1)
            assert received == [str(number) for number in range(100)]
            for ice, ends in ((ours, (local, remote)), (theirs, (remote, local))):
                pair = ice.get_selected_candidate_pair()
                assert pair is not None
                assert (pair.local.address, pair.remote.address) == (ends[0].address, ends[1].address)
            with pytest.raises(InvalidStateError, match="controlled"):
                theirs.renominate(remote, local)
            with pytest.raises(InvalidAccessError, match="no candidate pair"):
                ours.renominate(local, local)

    in_network(test)


@pytest.mark.row("REN-01")
def test_a_peer_that_does_not_know_renomination_is_not_renominated() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with pair_of_peers(network, renominating(), SettingEngine()) as call:
            await call.connect()
            pair = ice_of(call.offerer).get_selected_candidate_pair()
            assert pair is not None
            assert "renomination" not in text(call.answerer.pc.local_description)
            with pytest.raises(InvalidStateError, match="peer does not understand"):
                ice_of(call.offerer).renominate(pair.local, pair.remote)

    in_network(test)


@pytest.mark.row("REN-01")
def test_a_peer_that_knows_renomination_and_does_not_say_so_is_renominated_after_restarts_too() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with pair_of_peers(network, renominating(), SettingEngine()) as call:
            near, far = await call.connect()
            ice = ice_of(call.offerer)
            ice.set_remote_renomination(True)
            await restart(call)
            pair = ice.get_selected_candidate_pair()
            assert pair is not None
            ice.renominate(pair.local, pair.remote)
            await talk(near, far)

    in_network(test)


# Muxes


def test_many_connections_on_one_udp_port() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.host("bob", "192.0.2.102")
        mux = await UDPMux.listen("192.0.2.102", 5000, net=server)
        settings = SettingEngine()
        settings.set_ice_udp_mux(mux)
        calls = []
        for number in range(3):
            client = network.host(f"client {number}", f"192.0.2.{number + 1}")
            call = Call(Peer(client), Peer(server, None, settings))
            calls.append(call)
            near, far = await call.connect()
            await talk(near, far)
            pair = ice_of(call.answerer).get_selected_candidate_pair()
            assert pair is not None
            assert (pair.local.address, pair.local.port) == ("192.0.2.102", 5000)
        # A restart stays on the port.
        await calls[0].offerer.pc.set_local_description(await calls[0].offerer.pc.create_offer(ice_restart=True))
        await calls[0].answerer.pc.set_remote_description(calls[0].offerer.pc.local_description)
        await calls[0].answerer.pc.set_local_description()
        await calls[0].offerer.pc.set_remote_description(calls[0].answerer.pc.local_description)
        await asyncio.sleep(1)
        assert not any(ice_of(peer).is_restarting for peer in (calls[0].offerer, calls[0].answerer))
        assert [
            line.split()[5] for line in parse(text(calls[0].answerer.pc.local_description)).media[0].candidates
        ] == ["5000"]
        for call in calls:
            await call.close()
        mux.close()

    in_network(test)


@pytest.mark.row("TCP-01", "TCP-03")
def test_tcp_candidates_in_descriptions() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.host("bob", "192.0.2.102")
        client = network.host("alice", "192.0.2.101")
        mux = await TCPMux.listen("192.0.2.102", 443, net=server)
        theirs, ours = SettingEngine(), SettingEngine()
        theirs.set_ice_tcp_mux(mux)
        theirs.disable_active_tcp()
        for settings in (ours, theirs):
            settings.set_network_types(["tcp4"])
        async with Call(Peer(client, None, ours), Peer(server, None, theirs)) as call:
            near, far = await call.connect()
            await talk(near, far)
            media = parse(text(call.answerer.pc.local_description)).media[0]
            [line] = media.candidates
            assert " tcp " in line.lower()
            assert " tcptype passive" in line
            # TCP is no default: the section's protocol is UDP's (RFC 8829 section 5.1.2).
            assert (media.protocol, media.port, media.connections[0].address) == ("UDP/DTLS/SCTP", 9, "0.0.0.0")
            assert " tcptype active" in text(call.offerer.pc.local_description)
            pair = ice_of(call.offerer).get_selected_candidate_pair()
            assert pair is not None
            assert (pair.remote.protocol, pair.remote.port) == ("tcp", 443)
        mux.close()

    in_network(test)


# Names and outer addresses


@pytest.mark.row("MDN-01", "SDP-ICE-12")
def test_a_description_of_hidden_hosts_has_no_address_at_all() -> None:
    async def test(network: VirtualNetwork) -> None:
        hiding = SettingEngine()
        hiding.set_ice_multicast_dns_mode("query-and-gather")
        async with pair_of_peers(network, hiding, SettingEngine()) as call:
            near, far = await call.connect()
            await talk(near, far)
            await asyncio.sleep(1)
            described = text(call.offerer.pc.local_description)
            assert ".local " in described
            assert "192.0.2.101" not in described
            # A name cannot stand in a c= line; before and after the nomination nothing stands there.
            media = parse(described).media[0]
            assert (media.port, media.connections[0].address) == (9, "0.0.0.0")

    in_network(test)


def test_a_nat_of_one_to_one() -> None:
    async def test(network: VirtualNetwork) -> None:
        settings = SettingEngine()
        settings.set_nat_1to1_ips(["203.0.113.7"])
        async with pair_of_peers(network, settings, SettingEngine()) as call:
            await call.offerer.pc.set_local_description()
            call.offerer.pc.create_data_channel("x")
            await call.offerer.pc.set_local_description()
            await call.offerer.pc.gathering_complete()
            described = text(call.offerer.pc.local_description)
            assert " 203.0.113.7 " in described
            assert "192.0.2.101" not in described

    in_network(test)
