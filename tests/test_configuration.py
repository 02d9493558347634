from __future__ import annotations

from typing import Any

import pytest

from webrtc_py.certificate import Certificate
from webrtc_py.configuration import Configuration
from webrtc_py.errors import InvalidAccessError, InvalidModificationError, URLSyntaxError
from webrtc_py.ice_parameters import ICEServer
from webrtc_py.session_description import SessionDescription
from webrtc_py.states import BundlePolicy, ICETransportPolicy, RTCPMuxPolicy, SDPType


@pytest.mark.row("WPC-09")
def test_defaults() -> None:
    configuration = Configuration().checked()
    assert configuration.ice_servers == []
    assert configuration.ice_transport_policy is ICETransportPolicy.ALL
    assert configuration.bundle_policy is BundlePolicy.BALANCED
    assert configuration.rtcp_mux_policy is RTCPMuxPolicy.REQUIRE
    assert configuration.certificates == []
    assert configuration.ice_candidate_pool_size == 0


@pytest.mark.row("WPC-09")
def test_strings_become_enumerations() -> None:
    configuration = Configuration(ice_transport_policy="relay", bundle_policy="max-bundle").checked()
    assert configuration.ice_transport_policy is ICETransportPolicy.RELAY
    assert configuration.bundle_policy is BundlePolicy.MAX_BUNDLE


@pytest.mark.row("WPC-09")
@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"ice_servers": [ICEServer("http://example.org")]}, URLSyntaxError, "http"),
        ({"ice_servers": [ICEServer("stun:example.org"), ICEServer("stun:")]}, URLSyntaxError, "stun:"),
        ({"ice_servers": [ICEServer("stun:example.org?transport=udp")]}, URLSyntaxError, "query"),
        ({"ice_servers": [ICEServer([])]}, InvalidAccessError, "at least one URL"),
        ({"ice_servers": [ICEServer("turn:example.org")]}, InvalidAccessError, "credential"),
        ({"ice_servers": [ICEServer("turn:example.org", username="me")]}, InvalidAccessError, "credential"),
        ({"ice_servers": [ICEServer("turns:example.org", credential="x")]}, InvalidAccessError, "username"),
        ({"ice_servers": [ICEServer("turn:example.org", "u" * 509, "x")]}, InvalidAccessError, "508"),
        ({"ice_servers": [ICEServer("turn:example.org", "u", "x", "oauth")]}, InvalidAccessError, "oauth"),
        ({"ice_servers": ["stun:example.org"]}, TypeError, "stun:example.org"),
        ({"ice_servers": [ICEServer("turn:example.org", 5, "x")]}, TypeError, "strings"),  # type: ignore[arg-type]
        ({"ice_servers": [ICEServer("turn:example.org", "u", b"x")]}, TypeError, "strings"),  # type: ignore[arg-type]
        ({"certificates": ["a certificate"]}, TypeError, "a certificate"),
        ({"ice_transport_policy": "public"}, ValueError, "nohost"),
        ({"bundle_policy": "none"}, ValueError, "max-compat"),
        ({"rtcp_mux_policy": "negotiate"}, ValueError, "require"),
        ({"ice_candidate_pool_size": -1}, ValueError, "-1"),
        ({"ice_candidate_pool_size": 256}, ValueError, "255"),
        ({"ice_candidate_pool_size": "1"}, TypeError, "'1'"),
        ({"peer_identity": None}, TypeError, "None"),
    ],
)
def test_wrong_values(values: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        Configuration(**values).checked()
    assert "credential='x'" not in str(caught.value)


def test_a_copy_is_its_own() -> None:
    urls = ["stun:example.org"]
    original = Configuration([ICEServer(urls)]).checked()
    copy = original.copy()
    assert copy == original
    urls.append("stun:example.com")
    copy.ice_servers = [*copy.ice_servers, ICEServer("stun:example.net")]
    assert [server.urls for server in original.ice_servers] == [["stun:example.org"]]


@pytest.mark.row("WPC-09")
def test_what_may_change() -> None:
    old = Configuration(certificates=[Certificate.generate()]).checked()
    old.check_change(
        Configuration([ICEServer("stun:example.org")], "relay", ice_candidate_pool_size=3).checked(),
        has_local_description=False,
    )
    old.check_change(Configuration(certificates=old.certificates).checked(), has_local_description=True)


@pytest.mark.row("WPC-09")
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"bundle_policy": "max-bundle"}, "'balanced'.*'max-bundle'"),
        ({"peer_identity": "somebody"}, "peer_identity"),
        ({"certificates": [Certificate.generate()]}, "certificates"),
        ({"ice_candidate_pool_size": 1}, "ice_candidate_pool_size"),
    ],
)
def test_what_may_not_change(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidModificationError, match=says):
        Configuration().checked().check_change(Configuration(**values).checked(), has_local_description=True)


def test_a_description_and_its_json() -> None:
    description = SessionDescription("offer", "v=0\r\n")
    assert description.type is SDPType.OFFER
    assert description.to_json() == {"type": "offer", "sdp": "v=0\r\n"}
    assert SessionDescription.from_json(description.to_json()) == description
    assert SessionDescription.from_json({"type": "rollback"}) == SessionDescription(SDPType.ROLLBACK)
    with pytest.raises(ValueError, match="pranswer"):
        SessionDescription("question", "")
    with pytest.raises(TypeError, match="5"):
        SessionDescription("offer", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mapping"):
        SessionDescription.from_json("offer")  # type: ignore[arg-type]


@pytest.mark.row("WPC-09")
def test_a_policy_that_does_not_exist_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="'relays' is not a ICETransportPolicy; it is one of 'all', 'relay', 'nohost'"):
        Configuration(ice_transport_policy="relays")
