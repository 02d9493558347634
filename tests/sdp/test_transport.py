"""A section's transport: its own attributes and those it inherits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webrtc_py import sdp
from webrtc_py.sdp import Media, Setup, TransportDescription

START = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"

SESSION_LINES = (
    "a=ice-ufrag:sess\r\na=ice-pwd:session0session0session0\r\na=fingerprint:sha-256 AA:AA\r\n"
    "a=fingerprint:sha-512 BB:BB\r\na=setup:actpass\r\na=tls-id:ssssssssssssssssssss\r\na=ice-options:trickle ice2\r\n"
)
MEDIA_LINES = (
    "a=ice-ufrag:medi\r\na=ice-pwd:media0media0media0media0\r\na=fingerprint:sha-384 CC:CC\r\n"
    "a=setup:passive\r\na=tls-id:mmmmmmmmmmmmmmmmmmmm\r\na=ice-options:renomination\r\n"
)
INHERITED = TransportDescription(
    ice_ufrag="sess",
    ice_pwd="session0session0session0",
    fingerprints=(("sha-256", "AA:AA"), ("sha-512", "BB:BB")),
    setup=Setup.ACTPASS,
    tls_id="s" * 20,
    ice_options=frozenset(("trickle", "ice2")),
)
OWN = TransportDescription(
    ice_ufrag="medi",
    ice_pwd="media0media0media0media0",
    fingerprints=(("sha-384", "CC:CC"),),
    setup=Setup.PASSIVE,
    tls_id="m" * 20,
    ice_options=frozenset(("renomination",)),
)


def transport(session_lines: str = "", media_lines: str = "") -> TransportDescription:
    session = sdp.parse(START + session_lines + DATA + media_lines)
    return TransportDescription.read(session, session.media[0])


@pytest.mark.row("SDP-ICE-05")
def test_the_sections_own_values_come_before_the_session_parts() -> None:
    assert transport() == TransportDescription()
    assert transport(SESSION_LINES) == INHERITED
    assert transport("", MEDIA_LINES) == OWN
    everything = INHERITED.ice_options | OWN.ice_options
    assert transport(SESSION_LINES, MEDIA_LINES) == replace(OWN, ice_options=everything)


@pytest.mark.row("SDP-ICE-05")
def test_each_section_by_itself() -> None:
    session = sdp.parse(START + SESSION_LINES + DATA + DATA + MEDIA_LINES)
    assert [TransportDescription.read(session, media).ice_ufrag for media in session.media] == ["sess", "medi"]


@pytest.mark.row("FPR-11")
def test_tls_id_may_be_absent() -> None:
    assert transport(SESSION_LINES.replace("a=tls-id:ssssssssssssssssssss\r\n", "")).tls_id is None


@pytest.mark.row("SDP-ICE-13")
def test_end_of_candidates_for_one_section_or_for_all() -> None:
    end = "a=end-of-candidates\r\n"
    assert not transport().end_of_candidates
    assert transport("", end).end_of_candidates
    assert transport(end).end_of_candidates
    session = sdp.parse(START + DATA + end + DATA)
    assert [TransportDescription.read(session, media).end_of_candidates for media in session.media] == [True, False]


def test_ice_lite() -> None:
    assert transport("a=ice-lite\r\n").ice_lite


def test_candidates_are_not_inherited() -> None:
    assert transport("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n").candidates == ()


@pytest.mark.row("SDP-ICE-13")
def test_what_is_written_is_read() -> None:
    written = TransportDescription(
        ice_ufrag="abcd",
        ice_pwd="p" * 22,
        fingerprints=(("sha-256", "AA:BB"), ("sha-384", "CC:DD")),
        setup=Setup.ACTIVE,
        tls_id="t" * 20,
        candidates=("candidate:1 1 udp 1 192.0.2.1 4000 typ host", "candidate:2 1 udp 1 2001:db8::1 4001 typ host"),
        end_of_candidates=True,
    )
    session = sdp.build_session(1, 1)
    session.media.append(Media("application", 9, "UDP/DTLS/SCTP", ["webrtc-datachannel"]))
    written.write(session.media[0])
    assert list(session.media[0].attributes.lines()) == [
        "a=ice-ufrag:abcd",
        "a=ice-pwd:pppppppppppppppppppppp",
        "a=fingerprint:sha-256 AA:BB",
        "a=fingerprint:sha-384 CC:DD",
        "a=setup:active",
        "a=tls-id:tttttttttttttttttttt",
        "a=candidate:1 1 udp 1 192.0.2.1 4000 typ host",
        "a=candidate:2 1 udp 1 2001:db8::1 4001 typ host",
        "a=end-of-candidates",
    ]
    read = sdp.parse(session.serialize())
    assert TransportDescription.read(read, read.media[0]) == written
