"""What other implementations write, and what we make of it.

The offers and answers of Chromium 156 and aiortc 1.16 were recorded. Firefox' is put together from what its versions
write: transport attributes in the session part, component 2, TCP candidates, bundle-only sections.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from webrtc_py import sdp
from webrtc_py.sdp import Direction, Session, Setup, TransportDescription


def read(name: str) -> Session:
    return sdp.parse((Path(__file__).parent / "vectors" / f"{name}.sdp").read_text())


@pytest.mark.parametrize(
    ("name", "kinds", "setup", "ufrag", "hashes", "options", "max_message_size"),
    [
        ("chromium-offer", ["audio", "video", "application"], "actpass", "l18P", ["sha-256"], {"trickle"}, 262144),
        ("chromium-answer", ["audio", "video", "application"], "active", "uC9R", ["sha-256"], {"trickle"}, 262144),
        ("firefox-offer", ["audio", "video", "application"], "actpass", "3b9d51c2", ["sha-256"], {"trickle"}, 1 << 30),
        ("aiortc-offer", ["audio", "application"], "actpass", None, ["sha-256", "sha-384", "sha-512"], set(), 262144),
        ("legacy-data-offer", ["application"], "actpass", "8hhY", ["sha-256"], set(), 65536),
    ],
)
def test_the_transport_and_the_data_section(
    name: str,
    kinds: list[str],
    setup: str,
    ufrag: str | None,
    hashes: list[str],
    options: set[str],
    max_message_size: int,
) -> None:
    session = read(name)
    assert [media.kind for media in session.media] == kinds
    assert not any(media.rejected for media in session.media)
    data = session.media[-1]
    assert data.is_data_channel
    assert data.sctp_port == 5000
    assert max_message_size - 1 <= data.max_message_size <= max_message_size
    transport = TransportDescription.read(session, data)
    assert transport.setup is Setup(setup)
    assert transport.ice_ufrag == (ufrag or data.attributes.get("ice-ufrag"))
    assert transport.ice_pwd is not None
    assert [algorithm for algorithm, _ in transport.fingerprints] == hashes
    assert transport.ice_options == options
    assert transport.candidates
    assert not transport.ice_lite
    if len(kinds) > 1:
        assert [group.mids for group in session.bundle_groups] == [tuple(media.mid for media in session.media)]
        assert all(media.rtcp_mux for media in session.media if media.is_rtp)


def test_chromium() -> None:
    session = read("chromium-offer")
    assert session.origin.address == "127.0.0.1"
    assert session.direction_of(session.media[1]) is Direction.RECVONLY
    assert session.media[0].port == 59419
    assert session.media[1].attributes.get_all("rtcp-fb")[:2] == ["96 goog-remb", "96 transport-cc"]


def test_firefox() -> None:
    session = read("firefox-offer")
    assert session.direction is Direction.SENDRECV
    audio, video, data = session.media
    assert session.direction_of(audio) is Direction.RECVONLY
    assert video.bundle_only
    assert not video.rejected
    assert TransportDescription.read(session, audio).end_of_candidates
    assert len(audio.candidates) == 3
    assert data.fingerprints == ()
    assert TransportDescription.read(session, data).fingerprints == session.fingerprints != ()


def test_a_session_part_of_the_legacy_offer_counts_for_its_section() -> None:
    session = read("legacy-data-offer")
    (data,) = session.media
    assert (data.protocol, data.formats, data.connections[0].address_type) == ("DTLS/SCTP", ["5000"], "IP6")
    assert data.ice_ufrag is None
    assert TransportDescription.read(session, data).ice_ufrag == "8hhY"


@pytest.mark.parametrize("name", ["chromium-offer", "firefox-offer", "aiortc-offer"])
def test_media_that_we_do_not_take_can_be_answered(name: str) -> None:
    offer = read(name)
    answer = sdp.build_session(1, 1)
    answer.media += [
        sdp.build_data_section(media.mid or "", max_message_size=1, transport=None, protocol=media.protocol)
        if media.is_data_channel
        else sdp.build_rejected_section(media)
        for media in offer.media
    ]
    parsed = sdp.parse(answer.serialize())
    assert [(media.kind, media.protocol, media.mid) for media in parsed.media] == [
        (media.kind, media.protocol, media.mid) for media in offer.media
    ]
    assert [media.rejected for media in parsed.media] == [media.is_rtp for media in offer.media]
