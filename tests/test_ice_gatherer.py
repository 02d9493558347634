"""ICEGatherer and the dictionaries of candidates and servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.errors import ArgumentTypeError, InvalidAccessError, InvalidStateError, SDPSyntaxError, URLSyntaxError
from webrtc_py.ice.options import AgentTimings, RenominationOptions
from webrtc_py.ice.rewrite import AddressRewriteRule
from webrtc_py.ice_gatherer import GathererListener, ICEGatherer, _agent_options
from webrtc_py.ice_parameters import (
    ICECandidate,
    ICECandidateError,
    ICECandidateInit,
    ICEGatherOptions,
    ICEParameters,
    ICEServer,
)
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import CandidateType, ICEGathererState, TCPType


def in_network(test: Callable[[VirtualNetwork], Coroutine[Any, Any, None]]) -> None:
    run(test(VirtualNetwork(seed=1, delay=0.01)))


def make_gatherer(network: VirtualNetwork, *servers: ICEServer, **options: Any) -> ICEGatherer:
    host = network.hosts.get("alice") or network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")
    settings = SettingEngine()
    settings.set_net(host)
    return ICEGatherer(ICEGatherOptions(servers, **options), settings)


@pytest.mark.row("TRI-03", "TRI-08")
def test_candidates_come_one_by_one_then_the_state_then_none() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        async with make_gatherer(network, ICEServer("stun:stun.example")) as gatherer:
            heard: list[str] = []
            told: list[str] = []

            class Heard(GathererListener):
                def local_candidate(self, candidate: ICECandidate | None) -> None:
                    heard.append(str(candidate.typ) if candidate else "end")

                def gathering_changed(self) -> None:
                    heard.append(str(gatherer.state))

            gatherer.add_listener(Heard())
            gatherer.on_local_candidate(lambda one: told.append(str(one.typ) if one else "end"))
            gatherer.on_state_change(lambda state: told.append(str(state)))
            assert str(gatherer.state) == "new"
            await gatherer.gather()
            assert str(gatherer.state) == "gathering"
            await gatherer.gathering_complete()
            await asyncio.sleep(0)
            assert str(gatherer.state) == "complete"
            assert told == heard[:-1] == ["gathering", "host", "srflx", "complete", "end"]
            assert [one.typ for one in gatherer.get_local_candidates()] == [CandidateType.HOST, CandidateType.SRFLX]
            with pytest.raises(InvalidStateError):
                await gatherer.gather()

    in_network(test)


def test_close_ends_gathering() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").silent = True
        gatherer = make_gatherer(network, ICEServer("stun:stun.example"))
        states: list[ICEGathererState] = []
        gatherer.on_state_change(states.append)
        await gatherer.gather()
        await asyncio.sleep(0.1)
        await gatherer.close()
        await gatherer.close()
        await asyncio.sleep(0)
        assert states == [ICEGathererState.GATHERING, ICEGathererState.CLOSED]
        with pytest.raises(InvalidStateError):
            await gatherer.gather()

    in_network(test)


@pytest.mark.row("TRN-02")
def test_errors_are_told_with_url_code_and_text() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").silent = True
        network.turn_server("turn.example", "192.0.2.4")
        servers = [ICEServer("stun:stun.example"), ICEServer("turn:turn.example", "user", "wrong")]
        async with make_gatherer(network, *servers) as gatherer:
            errors: list[ICECandidateError] = []
            gatherer.on_error(errors.append)
            await gatherer.gather()
            await gatherer.gathering_complete()
            await asyncio.sleep(0)
            assert [(error.url, error.error_code) for error in errors] == [
                ("turn:turn.example:3478?transport=udp", 401),
                ("stun:stun.example:3478", 701),
            ]
            assert errors[1].address == "10.0.0.2"
            assert errors[1].port is not None
            assert all(error.error_text for error in errors)
            assert "701" in str(errors[1])

    in_network(test)


@pytest.mark.row("SEC-11", "TRI-10")
@pytest.mark.parametrize(
    ("policy", "types"), [("all", "host srflx relay"), ("nohost", "srflx relay"), ("relay", "relay")]
)
def test_the_policy_decides_what_is_told(policy: str, types: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        network.turn_server("turn.example", "192.0.2.4")
        servers = [ICEServer("stun:stun.example"), ICEServer("turn:turn.example", "user", "secret")]
        async with make_gatherer(network, *servers, ice_gather_policy=policy) as gatherer:
            await gatherer.gather()
            await gatherer.gathering_complete()
            assert {str(one.typ) for one in gatherer.get_local_candidates()} == set(types.split())
            # RTP and RTCP share one component, so that nothing of a second one could come too early.
            assert {one.component for one in gatherer.get_local_candidates()} == {1}

    in_network(test)


def test_what_was_gathered_is_given_up_for_other_options() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").silent = True
        network.turn_server("turn.example", "192.0.2.4")
        async with make_gatherer(network, ICEServer("stun:stun.example")) as gatherer:
            parameters = gatherer.get_local_parameters()
            await gatherer.gather()
            await asyncio.sleep(0.1)
            gatherer.set_options(ICEGatherOptions([ICEServer("turn:turn.example", "user", "secret")], "relay"))
            gatherer.discard()
            assert str(gatherer.state) == "new"
            assert gatherer.get_local_candidates() == []
            await gatherer.gather()
            await gatherer.gathering_complete()
            assert [one.typ for one in gatherer.get_local_candidates()] == [CandidateType.RELAY]
            assert gatherer.get_local_parameters() == parameters

    in_network(test)


def test_options_may_change_before_gathering() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        async with make_gatherer(network) as gatherer:
            parameters = gatherer.get_local_parameters()
            with pytest.raises(URLSyntaxError):
                gatherer.set_options(ICEGatherOptions([ICEServer("nonsense")]))
            gatherer.set_options(ICEGatherOptions([ICEServer("turn:turn.example", "user", "secret")], "relay"))
            await gatherer.gather()
            await gatherer.gathering_complete()
            assert [one.typ for one in gatherer.get_local_candidates()] == [CandidateType.RELAY]
            assert gatherer.get_local_parameters() == parameters

    in_network(test)


@pytest.mark.row("URI-04")
def test_servers_that_cannot_be_used_are_refused_at_once() -> None:
    async def test(network: VirtualNetwork) -> None:
        with pytest.raises(InvalidAccessError):
            make_gatherer(network, ICEServer("turn:turn.example"))
        with pytest.raises(URLSyntaxError):
            make_gatherer(network, ICEServer("turn.example"))
        with pytest.raises(ValueError, match="nowhere"):
            ICEGatherOptions(ice_gather_policy="nowhere")

    in_network(test)


def test_settings_reach_the_agent() -> None:
    async def test(network: VirtualNetwork) -> None:
        host = network.host("alice", "192.0.2.1", "2001:db8::1")
        settings = SettingEngine()
        settings.set_net(host)
        settings.set_ice_credentials("abcd", "p" * 22)
        settings.set_network_types(["udp6"])
        settings.set_ephemeral_udp_port_range(6000, 6000)
        settings.set_ice_max_binding_requests(20)
        async with ICEGatherer(None, settings) as gatherer:
            assert gatherer.get_local_parameters() == ICEParameters("abcd", "p" * 22)
            assert "p" * 22 not in repr(gatherer.get_local_parameters())
            await gatherer.gather()
            await gatherer.gathering_complete()
            [candidate] = gatherer.get_local_candidates()
            assert (candidate.address, candidate.port) == ("2001:db8::1", 6000)

    in_network(test)


def test_every_setting_of_ice_is_an_option_of_the_agent() -> None:
    settings = SettingEngine()
    settings.set_ice_timings(AgentTimings(failed_timeout=7))
    settings.set_multicast_dns_host_name("here.local")
    settings.set_nat_1to1_ips(["203.0.113.1"])
    settings.set_ice_continual_gathering("continually", 5)
    settings.disable_active_tcp()
    settings.set_ice_max_pairs(20)
    settings.set_ice_renomination(RenominationOptions(automatic=False))
    settings.set_turn_transport_protocols(["tcp", "tls"])
    settings.set_ice_proxy("socks5://proxy.example:1080")
    options = _agent_options(ICEGatherOptions(), settings)
    assert options.timings.failed_timeout == 7
    assert options.multicast_dns_host_name == "here.local"
    assert list(options.address_rewrite_rules) == [AddressRewriteRule(["203.0.113.1"])]
    assert (options.continual_gathering, options.network_monitor_interval) == ("continually", 5.0)
    assert not options.active_tcp
    assert options.max_pairs == 20
    assert options.renomination == RenominationOptions(automatic=False)
    assert list(options.turn_transport_protocols) == ["tcp", "tls"]
    assert options.proxy == "socks5://proxy.example:1080"
    # The settings are for all connections, also for one whose policy has no use for a rule.
    assert not _agent_options(ICEGatherOptions(ice_gather_policy="relay"), settings).address_rewrite_rules


@pytest.mark.row("ICE-50")
def test_a_lite_gatherer_has_hosts_only() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        settings = SettingEngine()
        settings.set_net(network.host("alice", "192.0.2.1"))
        settings.set_lite(True)
        async with ICEGatherer(ICEGatherOptions([ICEServer("stun:stun.example")]), settings) as gatherer:
            assert gatherer.get_local_parameters().ice_lite
            await gatherer.gather()
            await gatherer.gathering_complete()
            assert [one.typ for one in gatherer.get_local_candidates()] == [CandidateType.HOST]
        with pytest.raises(InvalidAccessError, match="'relay' forbids"):
            ICEGatherer(ICEGatherOptions(ice_gather_policy="relay"), settings)

    in_network(test)


LINE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host generation 0 ufrag abcd network-cost 10"


def test_a_candidate_and_its_text() -> None:
    candidate = ICECandidate.from_init(ICECandidateInit(LINE, "0", 0, "abcd"))
    assert candidate.candidate == LINE
    assert (candidate.typ, candidate.address, candidate.port, candidate.protocol) == ("host", "192.0.2.1", 5000, "udp")
    assert candidate.username_fragment == "abcd"
    assert candidate.to_json() == {
        "candidate": LINE,
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "usernameFragment": "abcd",
    }
    assert ICECandidate.from_json(candidate.to_json()) == candidate
    assert str(candidate) == "host udp 192.0.2.1:5000"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "candidate:1 1 udp 1 198.51.100.1 5000 typ srflx raddr 10.0.0.2 rport 9",
            "srflx udp 198.51.100.1:5000 (from 10.0.0.2:9)",
        ),
        ("candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active", "host tcp active [2001:db8::1]:9"),
    ],
)
def test_candidates_for_people(line: str, text: str) -> None:
    candidate = ICECandidate.from_init(ICECandidateInit(line))
    assert str(candidate) == text
    assert candidate.candidate == line
    assert candidate.tcp_type in (None, TCPType.ACTIVE)


def test_a_candidate_that_is_none() -> None:
    with pytest.raises(SDPSyntaxError):
        ICECandidate.from_init(ICECandidateInit("candidate:nonsense"))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "candidate:1",
        {"candidate": None},
        {"candidate": "x", "sdpMid": 0},
        {"candidate": "x", "sdpMLineIndex": "0"},
        {"candidate": "x", "sdpMLineIndex": -1},
        {"candidate": "x", "sdpMLineIndex": True},
        {"candidate": "x", "usernameFragment": 7},
    ],
)
def test_json_that_is_no_candidate(value: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        ICECandidateInit.from_json(value)


@given(
    st.builds(
        ICECandidateInit, st.text(), st.none() | st.text(), st.none() | st.integers(0, 65535), st.none() | st.text()
    )
)
def test_json_there_and_back(init: ICECandidateInit) -> None:
    assert ICECandidateInit.from_json(init.to_json()) == init
