"""The descriptions that we write, to the letter."""

from __future__ import annotations

import pytest

from webrtc_py import sdp
from webrtc_py.sdp import Setup, TransportDescription

TRANSPORT = TransportDescription(
    ice_ufrag="abcd",
    ice_pwd="0123456789abcdefABCDEF",
    fingerprints=(("sha-256", "AB:CD"),),
    setup=Setup.ACTPASS,
)


@pytest.mark.row("JSE-04", "DSD-01", "SDP-ICE-12")
def test_the_initial_offer_of_a_data_session() -> None:
    offer = sdp.build_session(4962303333179871722 >> 1, 1, ice_options=("trickle", "ice2"))
    sdp.add_group(offer, "BUNDLE", ["0"])
    offer.media.append(sdp.build_data_section("0", max_message_size=262144, transport=TRANSPORT))
    assert offer.serialize().split("\r\n") == [
        "v=0",
        "o=- 2481151666589935861 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-options:trickle ice2",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789abcdefABCDEF",
        "a=fingerprint:sha-256 AB:CD",
        "a=setup:actpass",
        "",
    ]
    assert sdp.parse(offer.serialize()) == offer


def test_the_session_id_has_its_limits() -> None:
    for right in (0, (1 << 62) - 1):
        assert sdp.build_session(right, 1).origin.session_id == right
    for wrong in (-1, 1 << 62):
        with pytest.raises(ValueError, match="session_id"):
            sdp.build_session(wrong, 1)


def test_nothing_to_say_makes_no_line() -> None:
    session = sdp.build_session(1, 1)
    sdp.add_group(session, "BUNDLE", [])
    assert len(session.attributes) == 0


def test_a_section_that_is_bundled_into_another() -> None:
    bundled = sdp.build_data_section("d", max_message_size=0, transport=None)
    assert bundled.port == 9
    assert list(bundled.attributes.lines()) == ["a=mid:d", "a=sctp-port:5000", "a=max-message-size:0"]


def test_an_answer_to_a_section_without_a_mid_has_none() -> None:
    assert sdp.build_data_section(None, max_message_size=1, transport=TRANSPORT).mid is None


def test_a_bundle_only_section_has_no_transport() -> None:
    media = sdp.build_data_section("d", max_message_size=65536, transport=TRANSPORT, bundle_only=True)
    assert media.port == 0
    assert not media.rejected
    assert list(media.attributes.lines()) == [
        "a=mid:d",
        "a=sctp-port:5000",
        "a=max-message-size:65536",
        "a=bundle-only",
    ]


@pytest.mark.parametrize("protocol", ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"])
def test_an_answer_repeats_the_protocol(protocol: str) -> None:
    media = sdp.build_data_section("d", max_message_size=1, transport=TRANSPORT, protocol=protocol, sctp_port=5001)
    session = sdp.build_session(1, 1)
    session.media.append(media)
    read = sdp.parse(session.serialize()).media[0]
    assert read.protocol == protocol
    assert read.is_data_channel
    assert read.sctp_port == 5001
    assert read.ice_ufrag == "abcd"


@pytest.mark.parametrize(
    ("line", "rejected"),
    [
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9", "m=audio 0 UDP/TLS/RTP/SAVPF 0"),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"),
        ("m=application 9 DTLS/SCTP 5000", "m=application 0 DTLS/SCTP 5000"),
        ("m=x-new 1 SOME/New a b", "m=x-new 0 SOME/New a b"),
    ],
)
def test_any_section_can_be_refused(line: str, rejected: str) -> None:
    start = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    offered = sdp.parse(f"{start}{line}\r\nb=AS:1\r\na=mid:x\r\na=sendrecv\r\na=candidate:1\r\n{line}\r\n").media
    answer = sdp.parse(start)
    answer.media += map(sdp.build_rejected_section, offered)
    assert answer.serialize() == (
        f"{start}{rejected}\r\nc=IN IP4 0.0.0.0\r\na=mid:x\r\na=inactive\r\n"
        f"{rejected}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"
    )
    assert all(media.rejected for media in sdp.parse(answer.serialize()).media)


def test_the_default_destination() -> None:
    media = sdp.build_data_section("d", max_message_size=1, transport=TRANSPORT)
    sdp.set_default_destination(media, "192.0.2.1", 4000)
    assert (media.port, media.connections) == (4000, [("IN", "IP4", "192.0.2.1")])
    sdp.set_default_destination(media, "2001:db8::1", 4001)
    assert (media.port, media.connections) == (4001, [("IN", "IP6", "2001:db8::1")])
