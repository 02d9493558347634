"""What attributes mean, one by one."""

from __future__ import annotations

import pytest

from webrtc_py import sdp
from webrtc_py.errors import SDPSyntaxError
from webrtc_py.sdp import Direction, Group, Media, RemoteCandidate, Session, Setup

START = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


def session(*lines: str) -> Session:
    """A description with these lines in its session part."""
    return sdp.parse(START + "".join(f"{line}\r\n" for line in lines))


def section(*lines: str, first: str = DATA) -> Media:
    """A section with these lines."""
    return sdp.parse(START + first + "".join(f"{line}\r\n" for line in lines)).media[0]


@pytest.mark.row("SDP-07")
def test_mid() -> None:
    assert section("a=mid:audio0").mid == "audio0"
    assert section("a=mid:{!#$%&'*+-.^_`|~}").mid == "{!#$%&'*+-.^_`|~}"
    assert section().mid is None
    assert section("a=mid:0", "a=mid:0").mid == "0"


@pytest.mark.row("SDP-07")
def test_groups() -> None:
    described = session("a=group:BUNDLE a v d", "a=group:LS a v", "a=group:X-NEW", "a=group:BUNDLE other")
    assert described.groups == (
        Group("BUNDLE", ("a", "v", "d")),
        Group("LS", ("a", "v")),
        Group("X-NEW", ()),
        Group("BUNDLE", ("other",)),
    )
    assert [group.mids for group in described.bundle_groups] == [("a", "v", "d"), ("other",)]
    # An answer that refuses everything has this.
    assert session("a=group:BUNDLE").bundle_groups == (Group("BUNDLE", ()),)


def test_media_by_mid() -> None:
    described = sdp.parse(f"{START}{AUDIO}a=mid:a\r\n{AUDIO}{DATA}a=mid:d\r\n")
    assert described.find_media("d") is described.media[2]
    assert described.find_media("x") is None


@pytest.mark.row("SDP-ICE-06")
@pytest.mark.parametrize(
    ("name", "least"),
    [("ice-ufrag", 4), ("ice-pwd", 22)],
)
def test_ice_credentials_are_read_at_every_length(name: str, least: int) -> None:
    for length in (least, 32, 256):
        value = ("aZ09+/" * 50)[:length]
        media = section(f"a={name}:{value}")
        assert (media.ice_ufrag or media.ice_pwd) == value
    for length in (0, least - 1, 257):
        with pytest.raises(SDPSyntaxError, match=f"has {length} characters; {least} to 256"):
            section(f"a={name}:{'a' * length}")
    for wrong in (":", "\u00e9", "\u0661", "\t", '"', "@"):
        with pytest.raises(SDPSyntaxError, match="a character other than"):
            section(f"a={name}:{'a' * least}{wrong}{'a' * least}")


def test_credentials_with_the_characters_of_older_peers() -> None:
    assert section("a=ice-ufrag:a-b=c#d_e").ice_ufrag == "a-b=c#d_e"


def test_ice_options_add_up() -> None:
    assert session("a=ice-options:trickle ice2", "a=ice-options:renomination").ice_options == {
        "trickle",
        "ice2",
        "renomination",
    }
    assert session().ice_options == frozenset()
    assert session("a=ice-options:rtp+ecn google-ice").ice_options == {"rtp+ecn", "google-ice"}


@pytest.mark.row("SDP-ICE-07")
def test_ice_lite_belongs_to_the_session_part() -> None:
    assert session("a=ice-lite").ice_lite
    described = sdp.parse(f"{START}{DATA}a=ice-lite\r\n")
    assert not described.ice_lite
    assert not sdp.TransportDescription.read(described, described.media[0]).ice_lite
    ours = sdp.build_session(1, 1, ice_options=("trickle", "ice2"))
    ours.media.append(
        sdp.build_data_section("0", max_message_size=0, transport=sdp.TransportDescription(ice_lite=True))
    )
    assert "ice-lite" not in ours.serialize()


@pytest.mark.row("SDP-ICE-08")
def test_remote_candidates() -> None:
    media = section("a=remote-candidates:1 192.0.2.3 45664 2 2001:db8::1 45665")
    assert media.remote_candidates == (
        RemoteCandidate(1, "192.0.2.3", 45664),
        RemoteCandidate(2, "2001:db8::1", 45665),
    )
    assert section().remote_candidates == ()
    for wrong in ("", "1 192.0.2.3", "1 192.0.2.3 99999", "257 192.0.2.3 1"):
        with pytest.raises(SDPSyntaxError):
            section(f"a=remote-candidates:{wrong}")


def test_candidates_are_text_in_their_order() -> None:
    media = section("a=candidate:1 1 udp 2 192.0.2.1 9 typ host", "a=candidate:anything at all")
    assert media.candidates == ("candidate:1 1 udp 2 192.0.2.1 9 typ host", "candidate:anything at all")


def test_ice_mismatch() -> None:
    assert section("a=ice-mismatch").ice_mismatch
    assert not section().ice_mismatch


DIGEST = "A0:1B:" * 15 + "C2:3D"


@pytest.mark.row("FPR-01")
def test_fingerprints_in_either_case() -> None:
    media = section(
        f"a=fingerprint:sha-256 {DIGEST}",
        f"a=fingerprint:SHA-256 {DIGEST.lower()}",
        "a=fingerprint:x-future  ab:Cd",
    )
    assert media.fingerprints == (("sha-256", DIGEST), ("sha-256", DIGEST), ("x-future", "AB:CD"))


@pytest.mark.parametrize(
    "wrong", ["", "sha-256", f"sha-256 {DIGEST} x", "sha-256 AB:C", "sha-256 ABCD", "sha-256 AB:", "sha/256 AB"]
)
def test_broken_fingerprints(wrong: str) -> None:
    with pytest.raises(SDPSyntaxError):
        section(f"a=fingerprint:{wrong}")


def test_setup() -> None:
    for setup in Setup:
        assert section(f"a=setup:{setup}").setup is setup
        assert section(f"a=setup:{setup.upper()}").setup is setup
    assert section().setup is None
    with pytest.raises(SDPSyntaxError, match="not one of active, passive, actpass, holdconn"):
        section("a=setup:both")


def test_tls_id() -> None:
    assert section("a=tls-id:abc3de65cddef001be82").tls_id == "abc3de65cddef001be82"
    assert section().tls_id is None
    for wrong in ("a" * 19, "a" * 256, "a" * 20 + " b"):
        with pytest.raises(SDPSyntaxError, match="20 to 255"):
            section(f"a=tls-id:{wrong}")


def test_directions() -> None:
    for direction in Direction:
        assert section(f"a={direction}").direction is direction
    described = sdp.parse(f"{START}a=sendonly\r\n{AUDIO}a=inactive\r\n{AUDIO}")
    assert [described.direction_of(media) for media in described.media] == [Direction.INACTIVE, Direction.SENDONLY]
    described = sdp.parse(START + AUDIO)
    assert described.media[0].direction is None
    assert described.direction_of(described.media[0]) is Direction.SENDRECV


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a=mid:0", "a=mid:1"),
        ("a=ice-ufrag:abcd", "a=ice-ufrag:abce"),
        (f"a=ice-pwd:{'a' * 22}", f"a=ice-pwd:{'b' * 22}"),
        ("a=setup:active", "a=setup:passive"),
        (f"a=tls-id:{'a' * 20}", f"a=tls-id:{'b' * 20}"),
        ("a=sctp-port:5000", "a=sctp-port:5001"),
        ("a=max-message-size:1", "a=max-message-size:2"),
        ("a=sendrecv", "a=recvonly"),
    ],
)
def test_what_contradicts_itself_is_refused(first: str, second: str) -> None:
    section(first, first)
    with pytest.raises(SDPSyntaxError) as raised:
        section(first, second)
    assert raised.value.line == 7


@pytest.mark.row("DSD-01")
def test_the_data_section() -> None:
    media = section("a=sctp-port:5000", "a=max-message-size:262144")
    assert media.is_data_channel
    assert media.sctp_port == 5000
    assert media.max_message_size == 262144
    assert section(first="m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\n").is_data_channel
    for other in ("m=application 9 UDP/DTLS/SCTP other", "m=application 9 UDP/BFCP *", "m=audio 9 RTP/AVP 0"):
        assert not section(first=f"{other}\r\n").is_data_channel
    assert section().sctp_port is None
    assert section("a=sctp-port:0").sctp_port == 0
    for wrong in ("a=sctp-port:65536", "a=sctp-port:x", "a=sctp-port", "a=sctp-port:-1"):
        with pytest.raises(SDPSyntaxError):
            section(wrong)


def test_max_message_size_absent_any_and_huge() -> None:
    assert section().max_message_size == 65536
    assert section("a=max-message-size:0").max_message_size == 0
    assert section("a=max-message-size:18446744073709551616").max_message_size == 1 << 64
    with pytest.raises(SDPSyntaxError):
        section("a=max-message-size:64k")


@pytest.mark.row("DSD-05")
def test_the_drafts_data_section() -> None:
    media = section("a=sctpmap:5001 webrtc-datachannel 1024", first="m=application 9 DTLS/SCTP 5001\r\n")
    assert media.is_data_channel
    assert media.sctp_port == 5001
    assert media.max_message_size == 65536
    assert not section(first="m=application 9 DTLS/SCTP 5000\r\n").is_data_channel
    assert not section("a=sctpmap:5000 other 16", first="m=application 9 DTLS/SCTP 5000\r\n").is_data_channel
    with pytest.raises(SDPSyntaxError):
        section(first="m=application 9 DTLS/SCTP webrtc-datachannel\r\n")


@pytest.mark.row("BUN-05")
def test_port_zero_refuses_unless_bundle_only() -> None:
    zero = DATA.replace("9", "0")
    assert section(first=zero).rejected
    assert not section("a=bundle-only", first=zero).rejected
    assert section("a=bundle-only", first=zero).bundle_only
    assert not section(first=DATA).rejected


def test_rtp_sections() -> None:
    media = section("a=rtcp-mux", "a=rtcp-rsize", first=AUDIO)
    assert media.is_rtp
    assert media.rtcp_mux
    assert media.rtcp_rsize
    assert not section().is_rtp
    assert not section(first=AUDIO).rtcp_mux


def test_a_section_is_in_one_bundle_group() -> None:
    session("a=group:BUNDLE 0 1", "a=group:LS 0 1")
    for second in ("a=group:BUNDLE 2 1", "a=group:BUNDLE 3 3"):
        with pytest.raises(SDPSyntaxError, match="bundled twice") as raised:
            session("a=group:BUNDLE 0 1", second)
        assert raised.value.line == 6


@pytest.mark.row("JSE-14", "PAD-03")
def test_what_nobody_reads_is_kept() -> None:
    lines = [
        "a=imageattr:* send [x=[480:16:800],y=[320:16:640]] recv *",
        "a=sctp-init:AQAAHo==",
        "a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level 48000 x=1",
        "a=ssrc:1234 cname",
        "a=fmtp:0 ",
        "a=rid:hi send pt=97;max-width=1280",
        "a=simulcast:send hi;~lo",
        "a=identity:eyJpZHAi== ;x",
    ]
    media = section(*lines, first=AUDIO)
    assert list(media.attributes.lines()) == lines
