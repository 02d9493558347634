"""Sections that share a transport, and how much work they may make."""

from __future__ import annotations

import time

import pytest

from tests.jsep.ends import FINGERPRINT, HOST, TRANSPORT, End, data_section, offer_of, session
from webrtc_py.jsep import AddRemoteCandidates
from webrtc_py.jsep.description import MAX_REMOTE_CANDIDATES
from webrtc_py.jsep.sections import Sections

SECTIONS = 1000
LATE_TRANSPORT = [""] * (SECTIONS - 1) + [TRANSPORT + "".join(f"a={HOST}{n}\r\n" for n in range(5000))]
MANY = [data_section(f"m{index}", transport=transport) for index, transport in enumerate(LATE_TRANSPORT)]
CROWD = offer_of(*MANY, group=" ".join(f"m{index}" for index in range(SECTIONS)))


def test_a_thousand_bundled_sections_are_read_quickly() -> None:
    """Each asks for the transport of its group, which the last one has: three nested loops once took minutes."""
    end = End()
    for number in range(100):
        end.candidate(f"candidate:{number} 1 udp 1 192.0.2.1 {number} typ host", None, ufrag="peer")
    start = time.process_time()
    end.take_offer(CROWD)
    _, plan = end.answer()
    end.candidate(HOST, "m999")
    assert time.process_time() - start < 20.0
    added = [step for step in plan if isinstance(step, AddRemoteCandidates)]
    assert len(added[0].candidates) == MAX_REMOTE_CANDIDATES


def test_a_bundled_section_has_the_transport_of_its_group() -> None:
    described = session(
        offer_of(
            data_section("a", transport=""), data_section("b"), data_section("c", transport=""), group="a b"
        ).replace("peer", "bobs", 1)
    )
    sections = Sections(described)
    one, other, alone = described.media
    assert sections.transport_of(one) == sections.transport_of(other)
    assert sections.transport_of(one).ice_ufrag == "bobs"
    assert sections.transport_of(alone).ice_ufrag is None
    assert sections.are_bundled(one, other)
    assert not sections.are_bundled(one, alone)
    assert not sections.are_bundled(alone, alone)
    assert sections.tagged(other) is one
    assert sections.tagged(alone) is None


@pytest.mark.parametrize("own", [True, False])
def test_own_credentials_come_before_the_group_s(own: bool) -> None:
    second = data_section("b", transport=TRANSPORT.replace("peer", "bobs", 1) if own else "")
    described = session(offer_of(data_section("a"), second, group="a b"))
    assert Sections(described).transport_of(described.media[1]).ice_ufrag == ("bobs" if own else "peer")


def test_the_session_part_s_credentials_come_before_the_group_s() -> None:
    text = offer_of(data_section("a"), data_section("b", transport=""), group="a b")
    head = f"a=ice-ufrag:head\r\na=ice-pwd:headpasswordheadpassword\r\na=fingerprint:sha-256 {FINGERPRINT.value}\r\n"
    described = session(text.replace("a=group", head + "a=group", 1))
    assert Sections(described).transport_of(described.media[1]).ice_ufrag == "head"


def test_a_section_of_port_0_is_live_only_when_it_is_bundled_and_says_so() -> None:
    bundle_only = data_section("b", port=0, transport="", more="a=bundle-only\r\na=sctp-port:5000\r\n")
    described = session(offer_of(data_section("a"), bundle_only, data_section("c", port=0), group="a b c"))
    assert [Sections(described).is_live(media) for media in described.media] == [True, True, False]
    described = session(offer_of(data_section("a"), bundle_only, group="a"))
    assert not Sections(described).is_live(described.media[1])
