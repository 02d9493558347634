from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.rewrite import AddressRewriteRule
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import CandidateType, ContinualGatheringPolicy, DTLSRole, MulticastDNSMode, NetworkType


def test_defaults_are_pions() -> None:
    settings = SettingEngine()
    timings = settings.ice_timings
    assert (timings.disconnected_timeout, timings.failed_timeout, timings.keepalive_interval) == (5.0, 25.0, 2.0)
    assert [timings.acceptance_min_wait(one) for one in ("host", "srflx", "prflx", "relay")] == [0.0, 0.5, 1.0, 2.0]
    assert settings.stun_gather_timeout == 5.0
    assert timings.max_binding_requests == 7
    assert settings.active_tcp
    assert settings.ice_continual_gathering is ContinualGatheringPolicy.ONCE
    assert settings.ice_network_monitor_interval == 2.0
    assert settings.network_types == (NetworkType.UDP4, NetworkType.UDP6)
    assert settings.ice_multicast_dns_mode is MulticastDNSMode.QUERY_ONLY
    assert settings.answering_dtls_role is None
    assert settings.ice_credentials is None
    assert settings.sctp_max_receive_buffer_size == 1 << 20
    assert settings.sctp_max_message_size == 262144
    assert not settings.sctp_zero_checksum
    assert settings.receive_mtu == 1500


def test_setters_store_what_transports_read() -> None:
    settings = SettingEngine()
    settings.set_ice_timeouts(1, 0, 0.5)
    settings.set_ice_credentials("abcd", "x" * 22)
    settings.set_ice_max_binding_requests(3)
    settings.set_ice_multicast_dns_mode("disabled")
    settings.set_host_acceptance_min_wait(0.1)
    settings.set_srflx_acceptance_min_wait(0.2)
    settings.set_prflx_acceptance_min_wait(0.3)
    settings.set_relay_acceptance_min_wait(0.4)
    settings.set_stun_gather_timeout(2)
    settings.set_network_types(["udp6", "udp6"])
    settings.set_interface_filter(lambda name: name != "docker0")
    settings.set_ip_filter(lambda address: not address.startswith("169.254."))
    settings.set_remote_ip_filter(None)
    settings.set_ephemeral_udp_port_range(50000, 50010)
    settings.set_include_loopback_candidate(True)
    settings.set_answering_dtls_role("server")
    settings.set_receive_mtu(9000)
    settings.set_sctp_max_receive_buffer_size(4 << 20)
    settings.set_sctp_max_message_size(65536)
    settings.enable_sctp_zero_checksum()
    settings.detach_data_channels()
    settings.set_logger(logging.getLogger("application"))
    settings.set_turn_tls_context(ssl.create_default_context())
    assert settings.ice_timings == AgentTimings(1.0, 0.0, 0.5, 0.05, 3, 0.1, 0.2, 0.3, 0.4)
    assert settings.ice_credentials == ("abcd", "x" * 22)
    assert settings.ice_multicast_dns_mode is MulticastDNSMode.DISABLED
    assert settings.network_types == (NetworkType.UDP6,)
    assert settings.interface_filter is not None
    assert not settings.interface_filter("docker0")
    assert settings.ephemeral_udp_port_range == (50000, 50010)
    assert settings.include_loopback_candidate
    assert settings.answering_dtls_role is DTLSRole.SERVER
    assert settings.receive_mtu == 9000
    assert settings.sctp_zero_checksum
    assert settings.detached_data_channels
    assert settings.logger is logging.getLogger("application")


async def _later(asked: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda s: s.set_ice_timeouts(-1, 1, 1), "disconnected"),
        (lambda s: s.set_ice_timeouts(1, float("nan"), 1), "failed"),
        (lambda s: s.set_ice_timeouts(1, 1, float("inf")), "keepalive"),
        (lambda s: s.set_ice_timeouts(1, 1, "2"), "'2'"),
        (lambda s: s.set_ice_timeouts(True, 1, 1), "True"),
        (lambda s: s.set_ice_credentials("abc", "x" * 22), "user fragment, 3 characters"),
        (lambda s: s.set_ice_credentials("a" * 33, "x" * 22), "user fragment"),
        (lambda s: s.set_ice_credentials("ab cd", "x" * 22), "user fragment"),
        (lambda s: s.set_ice_credentials("abcd", "x" * 21), "password"),
        (lambda s: s.set_ice_max_binding_requests(0), "not 0"),
        (lambda s: s.set_ice_max_binding_requests(21), "1 to 20, not 21"),
        (lambda s: s.set_ice_max_binding_requests(1.5), "1.5"),
        (lambda s: s.set_ice_timings({"failed_timeout": 1}), "AgentTimings"),
        (lambda s: s.set_multicast_dns_host_name("a.b.local"), "'a.b.local'"),
        (lambda s: s.set_ice_address_rewrite_rules("203.0.113.1"), "'203.0.113.1'"),
        (lambda s: s.set_nat_1to1_ips("203.0.113.1"), "'203.0.113.1'"),
        (lambda s: s.set_nat_1to1_ips(["203.0.113.1"], "prflx"), "not prflx"),
        (lambda s: s.set_nat_1to1_ips(["203.0.113.1", "203.0.113.2"]), "second"),
        (lambda s: s.set_nat_1to1_ips(["203.0.113.1/there"]), "'there'"),
        (lambda s: s.set_nat_1to1_ips(["here"]), "'here'"),
        (lambda s: s.set_nat_1to1_ips([5]), "strings, with 5"),
        (lambda s: s.set_multicast_dns_host_name(None), "not None"),
        (lambda s: s.set_ice_proxy(None), "a proxy is"),
        (lambda s: s.set_lite("no"), "lite is True or False, not 'no'"),
        (lambda s: s.set_include_loopback_candidate(1), "include is True or False"),
        (lambda s: s.disable_active_tcp("no"), "disable is True or False"),
        (lambda s: s.enable_sctp_zero_checksum(None), "enable is True or False"),
        (lambda s: s.set_ice_udp_mux(5000), "UDPMux or None, not 5000"),
        (lambda s: s.set_ice_tcp_mux(5000), "TCPMux or None, not 5000"),
        (lambda s: s.set_ice_continual_gathering("often"), "continually"),
        (lambda s: s.set_ice_max_pairs(0), "not 0"),
        (lambda s: s.set_ice_max_pairs(1001), "1 to 1000"),
        (lambda s: s.set_ice_binding_request_handler(True), "function or None, not True"),
        (lambda s: s.set_ice_tcp_priority_offset(127), "0 to 126"),
        (lambda s: s.set_ice_renomination(True), "RenominationOptions or None, not True"),
        (lambda s: s.set_turn_transport_protocols("udp"), "'udp'"),
        (lambda s: s.set_turn_transport_protocols(["sctp"]), "udp, dtls, tcp, tls, not 'sctp'"),
        (lambda s: s.set_ice_proxy("ftp://proxy.example:21"), "'ftp'"),
        (lambda s: s.set_ice_continual_gathering("continually", 0), "interval"),
        (lambda s: s.set_ice_multicast_dns_mode("on"), "query-only"),
        (lambda s: s.set_relay_acceptance_min_wait(-0.1), "-0.1"),
        (lambda s: s.set_stun_gather_timeout(0), "0"),
        (lambda s: s.set_network_types([]), "at least one"),
        (lambda s: s.set_network_types(None), "types is a list, not None"),
        (lambda s: s.set_turn_transport_protocols(None), "protocols is a list, not None"),
        (lambda s: s.set_nat_1to1_ips(None), "ips is a list, not None"),
        (lambda s: s.set_network_types("udp4"), "'udp4'"),
        (lambda s: s.set_network_types(["udp5"]), "udp6"),
        (lambda s: s.set_interface_filter("eth0"), "'eth0'"),
        (lambda s: s.set_remote_ip_filter(_later), "coroutine function"),
        (lambda s: s.set_ice_binding_request_handler(_later), "coroutine function"),
        (lambda s: s.set_ephemeral_udp_port_range(0, 10), "low"),
        (lambda s: s.set_ephemeral_udp_port_range(10, 9), "no port"),
        (lambda s: s.set_ephemeral_udp_port_range(10, 65536), "65536"),
        (lambda s: s.set_answering_dtls_role("auto"), "client"),
        (lambda s: s.set_answering_dtls_role("active"), "client"),
        (lambda s: s.set_receive_mtu(100), "100"),
        (lambda s: s.set_sctp_max_receive_buffer_size(10), "10"),
        (lambda s: s.set_sctp_max_message_size(0), "not 0"),
        (lambda s: s.set_logger("log"), "'log'"),
        (lambda s: s.set_turn_tls_context(object()), "ssl.SSLContext"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(call: Callable[[SettingEngine], Any], named: str) -> None:
    settings = SettingEngine()
    before = dict(vars(settings))
    with pytest.raises((ValueError, TypeError), match=named):
        call(settings)
    assert vars(settings) == before


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError) as error:
        SettingEngine().set_ice_credentials("abcd", "secret")
    assert "secret" not in str(error.value)
    with pytest.raises(ValueError) as error:
        SettingEngine().set_ice_proxy("http://user:secret@proxy.example")
    assert "secret" not in str(error.value)


def test_nat_1to1_is_rewrite_rules() -> None:
    settings = SettingEngine()
    settings.set_nat_1to1_ips(["203.0.113.1", "203.0.113.2/10.0.0.2", "2001:db8::1"])
    assert settings.ice_address_rewrite_rules == (
        AddressRewriteRule(["203.0.113.1"]),
        AddressRewriteRule(["203.0.113.2"], local="10.0.0.2"),
        AddressRewriteRule(["2001:db8::1"]),
    )
    settings.set_nat_1to1_ips(["203.0.113.1"], CandidateType.SRFLX)
    assert settings.ice_address_rewrite_rules == (AddressRewriteRule(["203.0.113.1"], as_candidate_type="srflx"),)
    settings.set_nat_1to1_ips([])
    assert settings.ice_address_rewrite_rules == ()
