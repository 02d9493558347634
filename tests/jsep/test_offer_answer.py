"""The descriptions we write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.jsep.ends import (
    FINGERPRINT,
    HOST,
    HOST_2,
    End,
    audio_section,
    connect,
    data_section,
    offer_of,
    session,
    with_line_changed,
)
from webrtc_py.errors import InvalidStateError
from webrtc_py.jsep import StopTransport
from webrtc_py.sdp import Setup
from webrtc_py.states import BundlePolicy, DTLSRole


@pytest.mark.row("JSE-04", "SDP-ICE-12", "FPR-07", "DSD-01", "ICE-43", "TRI-01", "BUN-01")
def test_the_initial_offer_line_by_line() -> None:
    end = End()
    assert end.create_offer().split("\r\n") == [
        "v=0",
        "o=- 1234567890 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-options:trickle ice2",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=ice-ufrag:alicufrag",
        "a=ice-pwd:alic+password+of+many+characters",
        f"a=fingerprint:sha-256 {FINGERPRINT.value}",
        "a=setup:actpass",
        "",
    ]


@pytest.mark.row("JSE-05")
@pytest.mark.parametrize("policy", list(BundlePolicy))
def test_the_only_section_is_never_bundle_only(policy: BundlePolicy) -> None:
    media = session(End(policy=policy).create_offer()).media[0]
    assert not media.bundle_only
    assert media.port == 9
    assert media.ice_ufrag is not None


@pytest.mark.row("SDP-ICE-07", "SEC-04", "SEC-13")
def test_what_we_never_write() -> None:
    offerer, answerer = End(), End("bobs")
    texts = [offerer.offer()]
    answerer.take_offer(texts[0])
    texts.append(answerer.answer()[0])
    for text in texts:
        for name in ("a=crypto", "a=ice-lite", "a=key-mgmt", "a=rtcp:", "a=tls-id", "k="):
            assert f"\r\n{name}" not in text


def test_an_offer_without_data_has_no_section_and_no_group() -> None:
    end = End(data=False)
    text = end.offer()
    assert not session(text).media
    assert not session(text).groups
    assert end.negotiation.transport_section is None


@pytest.mark.row("JSE-02", "SDP-02")
def test_creating_again_gives_the_same_and_a_change_raises_the_version() -> None:
    end = End()
    before = end.negotiation.state
    first = end.create_offer()
    assert end.create_offer() == first
    assert end.negotiation.state is before
    end.transport = replace(end.transport, candidates=(HOST,))
    second = end.create_offer()
    assert session(first).origin.session_version + 1 == session(second).origin.session_version
    assert session(first).origin.session_id == session(second).origin.session_id
    assert 0 <= session(second).origin.session_id < 1 << 62
    assert end.create_offer() == second


@pytest.mark.row("JSE-02", "SDP-02")
def test_a_rolled_back_version_is_not_used_again() -> None:
    end = End()
    first = session(end.offer()).origin.session_version
    end.roll_back()
    end.data = False
    assert session(end.create_offer()).origin.session_version == first + 1


@pytest.mark.row("JSE-08", "BUN-02", "FPR-08", "FPR-12", "DSD-02")
def test_the_answer_line_by_line() -> None:
    answerer = End("bobs")
    answerer.take_offer(offer_of(data_section("data"), group="data", options="trickle renomination"))
    assert answerer.create_answer().split("\r\n") == [
        "v=0",
        "o=- 1234567890 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=ice-options:trickle",
        "a=group:BUNDLE data",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:data",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "a=ice-ufrag:bobsufrag",
        "a=ice-pwd:bobs+password+of+many+characters",
        f"a=fingerprint:sha-256 {FINGERPRINT.value}",
        "a=setup:active",
        "",
    ]


@pytest.mark.row("TRI-01", "ICE-43")
@pytest.mark.parametrize(
    ("offered", "answered"), [("", set()), ("trickle", {"trickle"}), ("trickle ice2", {"trickle", "ice2"})]
)
def test_the_answer_has_the_ice_options_of_the_offer(offered: str, answered: set[str]) -> None:
    answerer = End()
    answerer.take_offer(offer_of(data_section(), options=offered))
    assert session(answerer.create_answer()).ice_options == answered


@pytest.mark.row("FPR-08", "FPR-12")
@pytest.mark.parametrize(
    ("offered", "preferred", "answered"),
    [
        ("actpass", None, Setup.ACTIVE),
        ("actpass", DTLSRole.CLIENT, Setup.ACTIVE),
        ("actpass", DTLSRole.SERVER, Setup.PASSIVE),
        ("active", None, Setup.PASSIVE),
        ("active", DTLSRole.CLIENT, Setup.PASSIVE),
        ("passive", None, Setup.ACTIVE),
        ("passive", DTLSRole.SERVER, Setup.ACTIVE),
    ],
)
def test_the_role_in_the_answer(offered: str, preferred: DTLSRole | None, answered: Setup) -> None:
    answerer = End(role=preferred)
    answerer.take_offer(with_line_changed(offer_of(data_section()), "a=setup", f"a=setup:{offered}"))
    assert session(answerer.create_answer()).media[0].setup is answered


@pytest.mark.row("SDP-03", "JSE-08", "JSE-15", "BUN-02")
@pytest.mark.parametrize("tagged", ["a d v", "d a v"])
def test_media_is_rejected_in_its_place_and_data_carries_the_transport(tagged: str) -> None:
    """Whether or not the peer tagged the data section: what is rejected carries nothing."""
    offer = offer_of(
        audio_section("a"),
        data_section("d"),
        audio_section("v").replace("m=audio", "m=video"),
        group=tagged,
    )
    answerer = End()
    answerer.take_offer(offer)
    answer = session(answerer.create_answer())
    assert [(media.kind, media.port, media.mid) for media in answer.media] == [
        ("audio", 0, "a"),
        ("application", 9, "d"),
        ("video", 0, "v"),
    ]
    assert [media.protocol for media in answer.media] == [media.protocol for media in session(offer).media]
    assert [group.mids for group in answer.bundle_groups] == [("d",)]
    assert [media.ice_ufrag for media in answer.media] == [None, "alicufrag", None]
    answerer.answer()
    assert answerer.negotiation.transport_section == ("d", 1)


@pytest.mark.row("JSE-08")
def test_sections_of_unknown_kinds_are_rejected() -> None:
    answerer = End()
    answerer.take_offer(
        offer_of(
            data_section("0"),
            "m=text 9 RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtcp-mux\r\n",
            "m=application 9 UDP/BFCP *\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n",
            data_section("3"),
            group="0 1 2 3",
        )
    )
    answer = session(answerer.create_answer())
    assert [media.port for media in answer.media] == [9, 0, 0, 0]
    assert [media.formats for media in answer.media][2] == ["*"]


def test_a_section_without_a_mid_is_answered_without_one() -> None:
    answerer = End()
    answerer.take_offer(offer_of(data_section(None)))
    answer = session(answerer.create_answer())
    assert answer.media[0].mid is None
    assert not answer.groups
    answerer.answer()
    assert answerer.negotiation.transport_section == (None, 0)
    # A later offer of ours needs one, as all offers do.
    assert session(answerer.create_offer()).media[0].mid == "0"


@pytest.mark.row("BUN-02", "JSE-08")
def test_max_bundle_rejects_what_is_not_bundled_with_the_first_section() -> None:
    apart = offer_of(audio_section("a"), data_section("d"))
    together = offer_of(audio_section("a"), data_section("d"), group="a d")
    for policy, offer, port in (
        (BundlePolicy.MAX_BUNDLE, apart, 0),
        (BundlePolicy.MAX_BUNDLE, together, 9),
        (BundlePolicy.BALANCED, apart, 9),
        (BundlePolicy.MAX_COMPAT, apart, 9),
    ):
        answerer = End(policy=policy)
        answerer.take_offer(offer)
        assert session(answerer.create_answer()).media[1].port == port


@pytest.mark.row("DSD-02")
def test_sctp_port_zero_is_a_rejection() -> None:
    answerer = End()
    answerer.take_offer(with_line_changed(offer_of(data_section()), "a=sctp-port", "a=sctp-port:0"))
    text, plan = answerer.answer()
    assert session(text).media[0].port == 0
    assert plan == ()
    offerer = End()
    offerer.offer()
    answer = offer_of(data_section("0").replace("actpass", "active").replace("sctp-port:5000", "sctp-port:0"))
    assert offerer.take_answer(answer) == (StopTransport(),)


@pytest.mark.row("DSD-05")
def test_the_section_of_the_drafts_is_answered_in_kind() -> None:
    answerer = End()
    answerer.take_offer(
        offer_of(
            "m=application 9 DTLS/SCTP 5001\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\n"
            "a=sctpmap:5001 webrtc-datachannel 1024\r\n"
            + audio_section().split("a=mid:a\r\n")[1].split("a=rtcp-mux")[0]
        )
    )
    text, plan = answerer.answer()
    media = session(text).media[0]
    assert (media.protocol, media.formats) == ("DTLS/SCTP", ["5000"])
    assert media.is_data_channel
    assert plan[-1].remote_port == 5001  # type: ignore[union-attr]


@pytest.mark.row("JSE-06", "SDP-04", "BUN-04", "FPR-09")
def test_later_offers_keep_everything() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    first = offerer.negotiation.state.current_local
    assert first is not None
    again = session(offerer.create_offer())
    assert again.media == first.session.media
    assert again.media[0].setup is Setup.ACTPASS
    # The end that answered offers in the same order, with the peer's mid and credentials of its own.
    other = session(answerer.create_offer())
    assert other.media[0].mid == "0"
    assert other.media[0].ice_ufrag == "bobsufrag"


@pytest.mark.row("FPR-09", "FPR-08")
def test_a_later_answer_keeps_the_role() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    connect(answerer, offerer)
    local = offerer.negotiation.state.current_local
    assert local is not None
    # It is the DTLS server since its first offer was answered.
    assert local.session.media[0].setup is Setup.PASSIVE
    assert local.type == "answer"


@pytest.mark.row("SDP-04", "JSE-06")
def test_rejected_sections_stay_in_our_later_offers() -> None:
    answerer = End()
    offer = offer_of(audio_section("a"), data_section("d"), group="a d")
    answerer.take_offer(offer)
    answerer.answer()
    later = session(answerer.create_offer())
    assert [(media.kind, media.mid, media.port) for media in later.media] == [
        ("audio", "a", 0),
        ("application", "d", 9),
    ]
    assert [group.mids for group in later.bundle_groups] == [("d",)]


@pytest.mark.row("SDP-04", "JSE-06", "BUN-04")
def test_a_data_section_that_was_rejected_is_used_again_with_a_new_mid() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    refused = with_line_changed(offer_of(data_section("0", port=0)), "a=setup", "a=setup:active")
    offerer.offer()
    assert offerer.take_answer(refused) == (StopTransport(),)
    offerer.data = False
    assert [media.port for media in session(offerer.create_offer()).media] == [0]
    offerer.data = True
    media = session(offerer.create_offer()).media
    assert [(section.mid, section.port) for section in media] == [("1", 9)]


def test_data_that_comes_later_is_appended() -> None:
    answerer = End(data=True)
    answerer.take_offer(offer_of(audio_section("0"), group="0"))
    text, plan = answerer.answer()
    assert [media.port for media in session(text).media] == [0]
    assert not session(text).groups
    # Nothing was agreed, and nothing of ours was refused: our own channels wait for our own offer.
    assert plan == ()
    assert answerer.negotiation.needs_offer(data=True)
    offer = session(answerer.offer())
    assert [(media.kind, media.mid, media.port) for media in offer.media] == [
        ("audio", "0", 0),
        ("application", "1", 9),
    ]
    assert answerer.negotiation.transport_section == ("1", 1)


@pytest.mark.row("JSE-06", "SDP-ICE-13", "TRI-08")
def test_candidates_stand_in_the_description_as_they_come() -> None:
    end = End()
    end.offer()
    local = end.negotiation.state.local
    assert local is not None
    assert local.text_with([end.transport]) == local.text
    some = replace(end.transport, candidates=(HOST,), default_destination=("192.0.2.1", 5000))
    media = session(local.text_with([some])).media[0]
    assert media.candidates == (HOST,)
    assert not media.end_of_candidates
    assert (media.port, media.connections[0].address) == (5000, "192.0.2.1")
    everything = replace(
        some, candidates=(HOST, HOST_2), gathering_complete=True, default_destination=("2001:db8::1", 6000)
    )
    text = local.text_with([everything])
    media = session(text).media[0]
    assert media.candidates == (HOST, HOST_2)
    assert media.end_of_candidates
    assert (media.ice_ufrag, media.ice_pwd) == (end.transport.ice_ufrag, end.transport.ice_pwd)
    assert media.connections[0].serialize() == "IN IP6 2001:db8::1"
    assert text.count("a=end-of-candidates") == 1
    # And in what is created from then on, once.
    end.transport = everything
    media = session(end.create_offer()).media[0]
    assert media.candidates == (HOST, HOST_2)
    assert media.end_of_candidates
    # Those of other credentials do not belong.
    assert local.text_with([replace(everything, ice_ufrag="another")]) == local.text


@pytest.mark.row("SDP-ICE-10")
def test_the_default_destination_of_a_later_offer() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    offerer.transport = replace(offerer.transport, candidates=(HOST,), default_destination=("192.0.2.1", 5000))
    media = session(offerer.create_offer()).media[0]
    assert (media.port, media.connections[0].address) == (5000, "192.0.2.1")


@pytest.mark.row("JSE-01")
def test_creating_in_a_wrong_state() -> None:
    offerer, answerer = End(), End("bobs")
    with pytest.raises(InvalidStateError, match="stable"):
        offerer.create_answer()
    offer = offerer.offer()
    with pytest.raises(InvalidStateError, match="have-local-offer"):
        offerer.create_answer()
    answerer.take_offer(offer)
    with pytest.raises(InvalidStateError, match="have-remote-offer"):
        answerer.create_offer()
