"""What a remote description must have, at first and later: all of it is applied, or nothing is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jsep.ends import (
    FINGERPRINT,
    OTHER_FINGERPRINT,
    End,
    answer_to_data,
    audio_section,
    connect,
    data_section,
    offer_of,
    session,
    with_line_changed,
)
from webrtc_py.errors import InvalidAccessError, NotSupportedError, SDPSyntaxError, WebRTCError
from webrtc_py.jsep import StartTransport, StopTransport
from webrtc_py.states import SDPType, SignalingState


@pytest.mark.row("JSE-10", "SEC-04", "FPR-02")
@pytest.mark.parametrize(
    ("start", "line", "says"),
    [
        ("a=ice-ufrag", "", "ice-ufrag"),
        ("a=ice-pwd", "", "ice-pwd"),
        ("a=fingerprint", "", "no fingerprint"),
        (
            "a=fingerprint",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
            "no fingerprint",
        ),
        ("a=fingerprint", "a=fingerprint:md5 " + ":".join(["AA"] * 16), "md5 only"),
        ("a=fingerprint", "a=fingerprint:sha-1 " + ":".join(["AA"] * 20), "sha-1 only"),
        ("a=fingerprint", "a=fingerprint:future-hash AA:BB", "future-hash only"),
        ("a=fingerprint", "a=fingerprint:sha-256 AA:BB", "32 bytes"),
        ("a=setup", "", "no setup"),
        ("a=setup", "a=setup:holdconn", "holdconn"),
        ("a=sctp-port", "", "sctp-port"),
        ("a=ice-ufrag", "a=ice-ufrag:abc", "ice-ufrag has 3"),
        ("a=ice-pwd", "a=ice-pwd:short", "ice-pwd has 5"),
        ("a=group", "a=group:BUNDLE 0 1", "mid '1'"),
        ("c=", "c=IN IP4 0.0.0.0\r\na=candidate:1 1 udp nonsense", "candidate"),
        ("v=", "v=1", "version"),
    ],
)
def test_a_remote_offer_is_checked_whole_before_anything_changes(start: str, line: str, says: str) -> None:
    end = End()
    before = end.negotiation.state
    with pytest.raises((InvalidAccessError, SDPSyntaxError), match=says):
        end.take_offer(with_line_changed(offer_of(data_section(), group="0"), start, line))
    assert end.negotiation.state is before
    end.take_offer(offer_of(data_section(), group="0"))


@pytest.mark.row("JSE-10")
def test_rtcp_mux_is_required() -> None:
    with pytest.raises(InvalidAccessError, match="rtcp-mux"):
        End().take_offer(offer_of(audio_section("a", mux=False), data_section("d")))
    # Bundled sections have it from the tagged one, and rejected ones need nothing.
    End().take_offer(
        offer_of(audio_section("a"), audio_section("b", mux=False, transport=""), data_section("d"), group="a b d")
    )
    End().take_offer(offer_of(audio_section("a", port=0, mux=False, transport=""), data_section("d")))


@pytest.mark.row("FPR-02")
def test_an_unknown_hash_beside_a_good_one_does_no_harm() -> None:
    offer = offer_of(data_section()).replace("a=fingerprint", "a=fingerprint:future-hash AA:BB\r\na=fingerprint")
    end = End()
    end.take_offer(offer)
    _, plan = end.answer()
    assert any(isinstance(step, StartTransport) and OTHER_FINGERPRINT in step.fingerprints for step in plan)


@pytest.mark.row("JSE-10", "BUN-03", "FPR-08", "SDP-03", "SDP-04")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("a=setup", "a=setup:actpass"), "actpass"),
        (("a=setup", ""), "no setup"),
        (("a=fingerprint", ""), "fingerprint"),
        (("a=mid", "a=mid:1"), "mid '1'"),
        (("a=group", "a=group:BUNDLE 0 9"), "'9'"),
        (("m=", "m=application 9 TCP/DTLS/SCTP webrtc-datachannel"), "TCP/DTLS/SCTP"),
        (("m=", "m=audio 9 UDP/DTLS/SCTP 0"), "kind 'audio'"),
        (("m=", audio_section("1") + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"), "2 sections"),
    ],
)
def test_a_remote_answer_is_checked_whole_before_anything_changes(change: tuple[str, str], says: str) -> None:
    end = End()
    end.offer()
    before = end.negotiation.state
    with pytest.raises((InvalidAccessError, SDPSyntaxError), match=says):
        end.take_answer(with_line_changed(answer_to_data(), *change))
    assert end.negotiation.state is before
    end.take_answer(answer_to_data())


@pytest.mark.row("BUN-03")
def test_an_answer_may_not_bundle_what_was_not_offered() -> None:
    answerer = End()
    answerer.take_offer(offer_of(audio_section("a"), data_section("d"), group="a d"))
    answerer.answer()
    answerer.offer()
    answer = offer_of(audio_section("a", port=0, transport=""), data_section("d"), group="a d").replace(
        "actpass", "active"
    )
    with pytest.raises(InvalidAccessError, match="'a'"):
        answerer.take_answer(answer)


@pytest.mark.row("SDP-03")
def test_an_answer_may_not_accept_what_was_not_live_in_the_offer() -> None:
    answerer = End()
    answerer.take_offer(offer_of(audio_section("a"), data_section("d"), group="d"))
    answerer.answer()
    answerer.offer()
    with pytest.raises(InvalidAccessError, match="not live"):
        answerer.take_answer(offer_of(audio_section("a"), data_section("d"), group="d").replace("actpass", "active"))


@pytest.mark.row("FPR-10", "SDP-ICE-09", "FPR-11")
@pytest.mark.parametrize("as_answer", [False, True])
@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"fingerprint": f"a=fingerprint:sha-256 {FINGERPRINT.value}"}, InvalidAccessError, "fingerprint has changed"),
        ({"ice-ufrag": "a=ice-ufrag:another"}, InvalidAccessError, "only one has changed"),
        ({"ice-pwd": "a=ice-pwd:anotheranotheranotheranother"}, InvalidAccessError, "only one has changed"),
        ({"mid": "a=mid:0\r\na=tls-id:abcdefghijklmnopqrstuvwxyz"}, InvalidAccessError, "tls-id"),
        ({"sctp-port": "a=sctp-port:5001"}, NotSupportedError, "5001"),
    ],
)
def test_a_later_description_continues_the_transport(
    as_answer: bool, changes: dict[str, str], error: type[WebRTCError], says: str
) -> None:
    end = End()
    end.offer()
    end.take_answer(answer_to_data(mid="0").replace("a=setup", "a=tls-id:zyxwvutsrqponmlkjihgfedcba\r\na=setup"))
    text = answer_to_data().replace("a=setup", "a=tls-id:zyxwvutsrqponmlkjihgfedcba\r\na=setup")
    for name, line in changes.items():
        if "tls-id" in line:
            text = with_line_changed(text, "a=tls-id", "")
        text = with_line_changed(text, f"a={name}", line)
    if as_answer:
        end.offer()
    before = end.negotiation.state
    kind = SDPType.ANSWER if as_answer else SDPType.OFFER
    with pytest.raises(error, match=says):
        end.negotiation.set_remote(kind, text)
    assert end.negotiation.state is before


@pytest.mark.row("FPR-08", "FPR-09")
def test_a_later_offer_may_name_the_role_in_use_and_no_other() -> None:
    end = End()
    end.offer()
    end.take_answer(answer_to_data())
    # The peer answered active: it is the client.
    for setup in ("actpass", "active"):
        end.take_offer(answer_to_data(setup=f"a=setup:{setup}"))
        text, _ = end.answer()
        assert "a=setup:passive" in text
    with pytest.raises(InvalidAccessError, match="passive"):
        end.take_offer(answer_to_data(setup="a=setup:passive"))


def test_an_answerer_that_always_writes_active_does_not_turn_the_roles() -> None:
    end = End()
    end.take_offer(offer_of(data_section()))
    end.answer()
    # We are the client, and some answerers write "active" without a look at that.
    end.offer()
    plan = end.take_answer(answer_to_data())
    assert not any(isinstance(step, StartTransport | StopTransport) for step in plan)


def test_the_end_of_the_data_section_stops_the_transport() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    answerer.take_offer(with_line_changed(offer_of(data_section(port=0)), "a=group", ""))
    text, plan = answerer.answer()
    assert session(text).media[0].port == 0
    assert plan == (StopTransport(),)
    assert answerer.negotiation.state.agreement is None


LINES = offer_of(audio_section("a"), data_section("0"), group="a 0").split("\r\n")[:-1]


@pytest.mark.row("JSE-10", "SDP-09")
@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(["drop", "double", "swap", "spoil"])), max_size=6
    ),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from([SDPType.OFFER, SDPType.ANSWER, SDPType.PRANSWER]),
)
def test_whatever_a_peer_writes_is_applied_whole_or_refused_whole(
    damage: list[tuple[int, str]], junk: str, kind: SDPType
) -> None:
    lines = list(LINES)
    for place, how in damage:
        line = place % len(lines)
        if how == "drop":
            del lines[line]
        elif how == "double":
            lines.insert(line, lines[line])
        elif how == "swap":
            lines[line - 1], lines[line] = lines[line], lines[line - 1]
        else:
            lines[line] = lines[line][: len(lines[line]) // 2] + junk
    end = End()
    if kind is not SDPType.OFFER:
        end.offer()
    before = end.negotiation.state
    try:
        end.negotiation.set_remote(kind, "\r\n".join([*lines, ""]))
    except WebRTCError:
        assert end.negotiation.state is before
        return
    assert end.negotiation.state.remote is not None
    if kind is SDPType.OFFER:
        end.answer()
    if end.signaling is SignalingState.STABLE:
        end.offer()
