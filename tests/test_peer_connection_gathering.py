"""One connection by itself: what it gathers and when that shows, and what its configuration changes."""

from __future__ import annotations

import asyncio

import pytest

from tests.jsep.ends import data_section, offer_of
from tests.support.lone_connection import Log, connection, description_of, in_connection, ufrag_line
from tests.support.virtual_loop import run, turns
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import (
    API,
    Configuration,
    ICECandidateError,
    ICEServer,
    InvalidAccessError,
    InvalidModificationError,
    PeerConnection,
    SessionDescription,
    SettingEngine,
    URLSyntaxError,
)
from webrtc_py.sdp import parse

# Offers, gathering, candidates


@pytest.mark.row("WPC-08", "WPC-07", "TRI-03", "TRI-08", "JSE-11")
def test_the_order_of_events_while_gathering() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        await turns()
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        assert log.entries == [
            "negotiation needed",
            "signaling have-local-offer",
            "gathering gathering",
            "candidate",
            "candidate",
            "gathering complete",
            "no more candidates",
        ]
        description = pc.local_description
        assert description is not None
        media = parse(description.sdp).media[0]
        found = [candidate for candidate in log.candidates if candidate is not None]
        assert list(media.candidates) == [candidate.candidate for candidate in found]
        assert media.end_of_candidates
        for candidate in found:
            assert (candidate.sdp_mid, candidate.sdp_mline_index) == ("0", 0)
            assert candidate.username_fragment == media.ice_ufrag
            assert candidate.to_json() == {
                "candidate": candidate.candidate,
                "sdpMid": "0",
                "sdpMLineIndex": 0,
                "usernameFragment": media.ice_ufrag,
            }
        assert {candidate.address for candidate in found} == {"192.0.2.101", "2001:db8::101"}
        assert media.port in {candidate.port for candidate in found}
        # Nothing else comes.
        await asyncio.sleep(60)
        assert log.entries[-1] == "no more candidates"

    in_connection(body)


@pytest.mark.row("WPC-08")
def test_handlers_see_the_state_of_their_event_or_a_later_one() -> None:
    async def body(pc: PeerConnection) -> None:
        seen: list[tuple[object, object]] = []
        pc.on_ice_candidate(lambda candidate: seen.append((candidate and candidate.sdp_mid, pc.ice_gathering_state)))
        pc.on_signaling_state_change(lambda state: seen.append((state, pc.signaling_state)))
        pc.create_data_channel("x")
        await pc.set_local_description()
        assert seen == []  # never from inside the call
        await pc.gathering_complete()
        await turns()
        assert seen[0] == ("have-local-offer", "have-local-offer")
        assert seen[-1] == (None, "complete")

    in_connection(body)


@pytest.mark.row("JSE-13")
def test_a_pool_is_gathered_early_and_surfaced_with_the_description() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        await asyncio.sleep(10)
        assert pc.ice_gathering_state == "new"
        assert log.entries == []
        pc.create_data_channel("x")
        offer = await pc.create_offer()
        assert "a=candidate" not in offer.sdp
        await pc.set_local_description(offer)
        assert pc.ice_gathering_state == "complete"
        await turns()
        assert log.entries == [
            "signaling have-local-offer",
            "gathering gathering",
            "candidate",
            "candidate",
            "gathering complete",
            "no more candidates",
        ]

    in_connection(body, Configuration(ice_candidate_pool_size=1))


@pytest.mark.row("WPC-16", "WPC-08")
def test_a_dead_server_is_reported_and_holds_up_nothing() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        network.stun_server("dead.example", "192.0.2.5").silent = True
        async with connection(network, Configuration([ICEServer("stun:dead.example")])) as pc:
            log = Log(pc)
            errors: list[ICECandidateError] = []
            pc.on_ice_candidate_error(errors.append)
            pc.create_data_channel("x")
            await pc.set_local_description()
            await asyncio.sleep(0.1)
            assert "candidate" in log.entries
            await pc.gathering_complete()
            await turns()
            assert errors
            assert all(error.error_code == 701 for error in errors)
            assert errors[0].url == "stun:dead.example:3478"
            assert log.entries[-2:] == ["gathering complete", "no more candidates"]

    run(main())


# Rollback and configuration


@pytest.mark.row("JSE-03")
def test_rolling_back_the_first_offer_pools_its_candidates() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        await pc.set_local_description(SessionDescription("rollback"))
        assert pc.local_description is None
        assert pc.ice_gathering_state == "new"
        assert pc.signaling_state == "stable"
        await turns()
        # Still needed, and told again: the flag was cleared when the offer was made.
        assert log.entries[-3:] == ["signaling stable", "gathering new", "negotiation needed"]
        first = len(log.candidates)
        await pc.set_local_description()
        await turns()
        assert log.candidates[:first] == log.candidates[first:]
        assert log.entries[-2:] == ["gathering complete", "no more candidates"]

    in_connection(body)


@pytest.mark.row("TRI-01")
def test_a_peer_that_does_not_trickle() -> None:
    async def body(pc: PeerConnection) -> None:
        await pc.set_remote_description(SessionDescription("offer", offer_of(data_section(), options="")))
        assert pc.can_trickle_ice_candidates is False
        await pc.set_local_description()
        await pc.gathering_complete()
        description = pc.local_description
        assert description is not None
        assert "a=candidate" in description.sdp
        assert "a=end-of-candidates" in description.sdp
        assert "trickle" not in description.sdp

    in_connection(body)


@pytest.mark.row("WPC-09")
def test_get_and_set_configuration() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        server = network.stun_server("stun.example", "192.0.2.3")
        async with connection(network) as pc:
            configuration = pc.get_configuration()
            configuration.ice_servers = [ICEServer("stun:stun.example")]
            assert pc.get_configuration().ice_servers == []
            # A channel is there already: its transport takes the servers all the same.
            pc.create_data_channel("x")
            pc.set_configuration(configuration)
            assert [server.urls for server in pc.get_configuration().ice_servers] == ["stun:stun.example"]
            await pc.set_local_description()
            await pc.gathering_complete()
            assert server.requests == 1
            # A server that is another in place is noticed too: it needs a restart, before which nothing is changed.
            configuration = pc.get_configuration()
            configuration.ice_servers[0].urls = "stun:other.example"
            assert pc.get_configuration().ice_servers[0].urls == "stun:stun.example"
            configuration.ice_candidate_pool_size = 2
            with pytest.raises(InvalidModificationError):
                pc.set_configuration(configuration)
            with pytest.raises(InvalidModificationError):
                pc.set_configuration(Configuration(bundle_policy="max-bundle"))
            with pytest.raises(URLSyntaxError):
                pc.set_configuration(Configuration([ICEServer("nothing")]))
            with pytest.raises(TypeError, match="is a Configuration"):
                pc.set_configuration({"iceServers": []})  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="is a Configuration"):
                PeerConnection({"iceServers": []})  # type: ignore[arg-type]

    run(main())


@pytest.mark.row("JSE-13", "SEC-11")
@pytest.mark.parametrize("when", ["before", "rolled back"])
def test_a_pool_is_gathered_again_when_the_policy_changes(when: str) -> None:
    """What the policy hides now must not come to light with the first description."""

    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        if when == "rolled back":
            await pc.set_local_description()
            await pc.gathering_complete()
            await pc.set_local_description(SessionDescription("rollback"))
        await asyncio.sleep(10)
        await turns()
        log.candidates.clear()
        pc.set_configuration(Configuration(ice_transport_policy="relay", ice_candidate_pool_size=1))
        await asyncio.sleep(10)
        offer = await pc.create_offer()
        await pc.set_local_description(offer)
        await pc.gathering_complete()
        await turns()
        assert log.candidates == [None]
        assert "a=candidate" not in description_of(pc).sdp
        assert ufrag_line(description_of(pc).sdp) == ufrag_line(offer.sdp)

    in_connection(body, Configuration(ice_candidate_pool_size=1))


@pytest.mark.row("JSE-13")
def test_a_pool_is_gathered_from_the_servers_there_are_now() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        network.stun_server("stun.example", "192.0.2.3")
        settings = SettingEngine()
        settings.set_net(network.nat("router", "198.51.100.1").host("alice", "10.0.0.2"))
        async with API(setting_engine=settings).new_peer_connection(Configuration(ice_candidate_pool_size=1)) as pc:
            await asyncio.sleep(1)
            pc.create_data_channel("x")
            servers = [ICEServer("stun:stun.example")]
            pc.set_configuration(Configuration(ice_servers=servers, ice_candidate_pool_size=1))
            await asyncio.sleep(1)
            await pc.set_local_description()
            assert pc.ice_gathering_state == "complete"
            assert " typ srflx" in description_of(pc).sdp

    run(main())


@pytest.mark.row("ICE-52")
def test_a_candidate_that_is_withdrawn_stands_in_no_description() -> None:
    async def main() -> None:
        network = VirtualNetwork(seed=1, delay=0.01)
        host = network.host("alice", "192.0.2.1")
        settings = SettingEngine()
        settings.set_net(host)
        settings.set_ice_continual_gathering("continually")
        async with API(setting_engine=settings).new_peer_connection() as pc:
            log = Log(pc)
            pc.create_data_channel("x")
            await pc.set_local_description()
            await pc.gathering_complete()
            assert pc.ice_gathering_state == "gathering"
            host.add_interface("eth1", "192.0.2.77")
            await asyncio.sleep(5)
            assert "192.0.2.77" in description_of(pc).sdp
            host.remove_interface("eth1")
            await asyncio.sleep(5)
            assert "192.0.2.77" not in description_of(pc).sdp
            assert "192.0.2.1 " in description_of(pc).sdp
            assert None not in log.candidates
            assert len(log.candidates) == 2

    run(main())


@pytest.mark.row("WPC-09")
def test_a_configuration_that_is_refused_changes_nothing() -> None:
    async def main() -> None:
        settings = SettingEngine()
        settings.set_net(VirtualNetwork(seed=1).host("alice", "192.0.2.1"))
        settings.set_lite(True)
        async with API(setting_engine=settings).new_peer_connection() as pc:
            with pytest.raises(InvalidAccessError, match="lite"):
                pc.set_configuration(Configuration(ice_transport_policy="relay"))
            assert pc.get_configuration().ice_transport_policy == "all"

    run(main())


@pytest.mark.row("WPC-09")
def test_the_policy_may_change_before_gathering() -> None:
    async def body(pc: PeerConnection) -> None:
        log = Log(pc)
        pc.create_data_channel("x")
        pc.set_configuration(Configuration(ice_transport_policy="relay"))
        await pc.set_local_description()
        await pc.gathering_complete()
        await turns()
        assert log.candidates == [None]

    in_connection(body)
