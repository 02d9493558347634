"""What setting a description does: the state, the plan, and how it is taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.jsep.ends import (
    FINGERPRINT,
    HOST,
    HOST_2,
    OTHER_FINGERPRINT,
    TRANSPORT,
    End,
    answer_to_data,
    audio_section,
    connect,
    data_section,
    offer_of,
    session,
    with_line_changed,
)
from webrtc_py.errors import InvalidModificationError, InvalidStateError, SDPSyntaxError
from webrtc_py.jsep import (
    AddRemoteCandidates,
    EndRemoteCandidates,
    RemoteICE,
    StartData,
    StartGathering,
    StartTransport,
    StopTransport,
)
from webrtc_py.states import DTLSRole, ICERole, SDPType, SignalingState


@pytest.mark.row("JSE-11", "JSE-01")
def test_an_exchange_and_its_plans() -> None:
    offerer, answerer = End(), End("bobs")
    text = offerer.create_offer()
    assert offerer.negotiation.set_local(SDPType.OFFER, text) == (StartGathering(),)
    assert offerer.signaling is SignalingState.HAVE_LOCAL_OFFER
    assert answerer.take_offer(text) == ()
    assert answerer.signaling is SignalingState.HAVE_REMOTE_OFFER
    text, plan = answerer.answer()
    assert plan == (
        StartGathering(),
        StartTransport(
            ICERole.CONTROLLED,
            RemoteICE("alicufrag", "alic+password+of+many+characters"),
            DTLSRole.CLIENT,
            (FINGERPRINT,),
        ),
        StartData(5000, 5000, 262144),
    )
    assert offerer.take_answer(text) == (
        StartTransport(
            ICERole.CONTROLLING,
            RemoteICE("bobsufrag", "bobs+password+of+many+characters"),
            DTLSRole.SERVER,
            (FINGERPRINT,),
        ),
        StartData(5000, 5000, 262144),
    )
    for end in (offerer, answerer):
        state = end.negotiation.state
        assert state.signaling is SignalingState.STABLE
        assert state.pending_local is None
        assert state.pending_remote is None
        assert state.current_local is not None
        assert state.current_remote is not None
        assert not end.negotiation.needs_offer(data=True)


@pytest.mark.row("JSE-11")
def test_candidates_in_the_descriptions_are_in_the_plan() -> None:
    answerer = End("bobs")
    lines = f"a={HOST}\r\na={HOST_2}\r\na=end-of-candidates\r\n"
    answerer.take_offer(offer_of(data_section(transport=TRANSPORT + lines)))
    _, plan = answerer.answer()
    assert AddRemoteCandidates((HOST, HOST_2), "peer") in plan
    assert EndRemoteCandidates() in plan
    assert plan.index(AddRemoteCandidates((HOST, HOST_2), "peer")) > 0


@pytest.mark.row("SDP-ICE-05", "FPR-01", "SDP-ICE-13")
def test_what_stands_in_the_session_part_holds_for_the_section() -> None:
    session_part = TRANSPORT.replace("ice-ufrag:peer", "ice-ufrag:session") + "a=end-of-candidates\r\n"
    offer = offer_of("", data_section(transport="a=ice-ufrag:medialevel\r\na=ice-pwd:medialevelmedialevelmedia\r\n"))
    offer = offer.replace("a=ice-options", session_part + "a=ice-options")
    answerer = End()
    answerer.take_offer(offer)
    _, plan = answerer.answer()
    start = next(step for step in plan if isinstance(step, StartTransport))
    assert (start.ice.ufrag, start.ice.pwd) == ("medialevel", "medialevelmedialevelmedia")
    assert start.fingerprints == (OTHER_FINGERPRINT,)
    assert EndRemoteCandidates() in plan
    # And all of it can stand there.
    answerer = End()
    answerer.take_offer(
        offer_of("", data_section(transport="")).replace("a=ice-options", session_part + "a=ice-options")
    )
    _, plan = answerer.answer()
    assert next(step for step in plan if isinstance(step, StartTransport)).ice.ufrag == "session"


@pytest.mark.row("SDP-ICE-06", "SDP-ICE-11")
def test_long_credentials_and_placeholder_addresses_of_the_peer() -> None:
    ufrag, pwd = "u" * 256, "p" * 256
    transport = with_line_changed(
        with_line_changed(TRANSPORT, "a=ice-ufrag", f"a=ice-ufrag:{ufrag}"), "a=ice-pwd", f"a=ice-pwd:{pwd}"
    )
    offer = offer_of(data_section(transport=transport)).replace("IN IP4 0.0.0.0", "IN IP6 ::")
    answerer = End()
    answerer.take_offer(offer)
    text, plan = answerer.answer()
    start = next(step for step in plan if isinstance(step, StartTransport))
    assert (start.ice.ufrag, start.ice.pwd) == (ufrag, pwd)
    assert "ice-mismatch" not in text


@pytest.mark.row("JSE-05", "BUN-05", "JSE-16")
def test_a_bundle_only_data_section_uses_the_tagged_sections_transport() -> None:
    """As an offerer with the policy max-bundle writes it."""
    offer = offer_of(
        audio_section("a", transport=TRANSPORT + f"a={HOST}\r\n"),
        data_section("d", port=0, transport="a=bundle-only\r\n"),
        group="a d",
    )
    answerer = End()
    answerer.take_offer(offer)
    text, plan = answerer.answer()
    assert [media.port for media in session(text).media] == [0, 9]
    assert not session(text).media[1].bundle_only
    assert next(step for step in plan if isinstance(step, StartTransport)).ice.ufrag == "peer"
    assert AddRemoteCandidates((HOST,), "peer") in plan


@pytest.mark.row("BUN-05")
def test_an_answer_with_port_zero_and_bundle_only_is_no_rejection() -> None:
    offerer = End()
    offerer.offer()
    answer = (
        answer_to_data().replace("m=application 9", "m=application 0").replace("a=mid:0", "a=mid:0\r\na=bundle-only")
    )
    assert any(isinstance(step, StartTransport) for step in offerer.take_answer(answer))
    # Outside of a group it is one (RFC 9143 section 6).
    offerer = End()
    offerer.offer()
    assert offerer.take_answer(with_line_changed(answer, "a=group", "")) == (StopTransport(),)


@pytest.mark.row("BUN-02", "JSE-16")
def test_candidates_of_bundled_sections_with_the_same_credentials_are_for_the_transport() -> None:
    """Some stacks give all candidates to the first section, some each section its own."""
    same = offer_of(audio_section("a", transport=TRANSPORT + f"a={HOST}\r\n"), data_section("d"), group="a d")
    answerer = End()
    answerer.take_offer(same)
    answerer.candidate(HOST_2, "a")
    _, plan = answerer.answer()
    assert AddRemoteCandidates((HOST, HOST_2), "peer") in plan
    # With credentials of its own, the other section is another transport.
    apart = same.replace("ice-ufrag:peer", "ice-ufrag:other", 1)
    answerer = End()
    answerer.take_offer(apart)
    assert answerer.candidate(HOST_2, "a") == ()
    _, plan = answerer.answer()
    assert not any(isinstance(step, AddRemoteCandidates) for step in plan)


def test_a_lite_peer_does_not_control() -> None:
    answerer = End()
    answerer.take_offer(offer_of(data_section()).replace("a=ice-options", "a=ice-lite\r\na=ice-options"))
    _, plan = answerer.answer()
    start = next(step for step in plan if isinstance(step, StartTransport))
    assert start.ice_role is ICERole.CONTROLLING
    assert start.ice.lite


@pytest.mark.row("DSD-03")
@pytest.mark.parametrize(
    ("line", "size"), [("a=max-message-size:0", 0), ("", 65536), ("a=max-message-size:1000", 1000)]
)
def test_the_peers_largest_message(line: str, size: int) -> None:
    offerer = End()
    offerer.offer()
    plan = offerer.take_answer(answer_to_data(max_message_size=line))
    assert plan[-1] == StartData(5000, 5000, size)


@pytest.mark.row("FPR-09", "BUN-04", "JSE-06")
def test_ten_renegotiations_start_nothing_again() -> None:
    one, other = End(), End("bobs")
    connect(one, other)
    for _ in range(5):
        for offerer, answerer in ((one, other), (other, one)):
            for plan in connect(offerer, answerer):
                assert not any(isinstance(step, StartTransport | StopTransport) for step in plan)


@pytest.mark.row("JSE-17")
def test_provisional_answers_start_the_transport_once() -> None:
    offerer, answerer = End(), End("bobs")
    answerer.take_offer(offerer.offer())
    text, plan = answerer.answer(SDPType.PRANSWER)
    assert answerer.signaling is SignalingState.HAVE_LOCAL_PRANSWER
    assert any(isinstance(step, StartTransport) for step in plan)
    assert any(isinstance(step, StartTransport) for step in offerer.take_answer(text, SDPType.PRANSWER))
    assert {offerer.signaling} == {SignalingState.HAVE_REMOTE_PRANSWER}
    assert offerer.negotiation.state.current_remote is None
    assert offerer.negotiation.state.pending_remote is not None
    text, plan = answerer.answer(SDPType.PRANSWER)
    assert not any(isinstance(step, StartTransport) for step in plan)
    assert not any(isinstance(step, StartTransport) for step in offerer.take_answer(text, SDPType.PRANSWER))
    text, plan = answerer.answer()
    assert not any(isinstance(step, StartTransport) for step in plan)
    offerer.take_answer(text)
    assert {offerer.signaling, answerer.signaling} == {SignalingState.STABLE}
    assert offerer.negotiation.state.pending_remote is None


@pytest.mark.row("JSE-17")
def test_a_provisional_refusal_frees_nothing() -> None:
    offerer = End()
    offerer.offer()
    assert offerer.take_answer(answer_to_data().replace("m=application 9", "m=application 0"), SDPType.PRANSWER) == ()
    assert any(isinstance(step, StartTransport) for step in offerer.take_answer(answer_to_data()))


# What is set must be what was created.


@pytest.mark.row("JSE-09")
def test_an_edited_description_is_refused() -> None:
    offerer, answerer = End(), End("bobs")
    with pytest.raises(InvalidModificationError):
        offerer.negotiation.set_local(SDPType.OFFER, End("carl").create_offer())
    offer = offerer.create_offer()
    for edited in (offer.replace("262144", "65536"), offer + "a=x\r\n", offer.replace("\r\n", "\n"), ""):
        with pytest.raises(InvalidModificationError, match="create_offer"):
            offerer.negotiation.set_local(SDPType.OFFER, edited)
    assert offerer.signaling is SignalingState.STABLE
    offerer.negotiation.set_local(SDPType.OFFER, offer)
    answerer.take_offer(offer)
    answer = answerer.create_answer()
    for kind in (SDPType.ANSWER, SDPType.PRANSWER):
        with pytest.raises(InvalidModificationError, match="create_answer"):
            answerer.negotiation.set_local(kind, answer.replace("active", "passive"))
    assert answerer.signaling is SignalingState.HAVE_REMOTE_OFFER
    answerer.negotiation.set_local(SDPType.ANSWER, answer)


@pytest.mark.row("JSE-09")
def test_only_the_last_one_created_can_be_set() -> None:
    end = End()
    first = end.create_offer()
    end.transport = replace(end.transport, candidates=(HOST,))
    second = end.create_offer()
    with pytest.raises(InvalidModificationError):
        end.negotiation.set_local(SDPType.OFFER, first)
    end.negotiation.set_local(SDPType.OFFER, second)
    # Again, while it waits for its answer.
    end.negotiation.set_local(SDPType.OFFER, second)
    end.roll_back()
    with pytest.raises(InvalidModificationError):
        end.negotiation.set_local(SDPType.OFFER, second)


@pytest.mark.row("JSE-01")
def test_wrong_types_for_the_state() -> None:
    offerer, answerer = End(), End("bobs")
    for kind in (SDPType.ANSWER, SDPType.PRANSWER, SDPType.ROLLBACK):
        with pytest.raises(InvalidStateError, match="stable"):
            offerer.negotiation.set_remote(kind, answer_to_data())
    offer = offerer.offer()
    answerer.take_offer(offer)
    with pytest.raises(InvalidStateError):
        answerer.take_answer(answer_to_data())
    answerer.answer(SDPType.PRANSWER)
    with pytest.raises(InvalidStateError):
        answerer.roll_back()
    with pytest.raises(InvalidStateError):
        answerer.take_offer(offer)


@pytest.mark.row("SEC-12", "SDP-06", "JSE-14", "JSE-15")
def test_what_does_not_concern_us_is_passed_over() -> None:
    offer = offer_of(audio_section("a"), data_section("d"), group="a d")
    offer = offer.replace("a=ice-options", "a=identity:bm9ib2R5 knows=us\r\na=ice-options")
    offer = offer.replace("a=mid:", "b=AS:500\r\nb=TIAS:480000\r\na=imageattr:97 send *\r\na=mid:")
    answerer = End()
    answerer.take_offer(offer)
    text, plan = answerer.answer()
    assert any(isinstance(step, StartTransport) for step in plan)
    assert "identity" not in text


# Rollback


@pytest.mark.row("JSE-03")
@pytest.mark.parametrize("remote", [False, True])
def test_a_local_offer_is_taken_back(remote: bool) -> None:
    end = End()
    before = end.negotiation.state
    end.offer()
    assert end.negotiation.state.pending_local is not None
    plan = end.negotiation.set_remote(SDPType.ROLLBACK, "") if remote else end.roll_back()
    assert plan == ()
    assert end.negotiation.state == before
    assert end.negotiation.transport_section is None
    # As if nothing had been: the same mid, and an offer that works.
    assert session(end.offer()).media[0].mid == "0"


@pytest.mark.row("JSE-03")
def test_a_remote_offer_is_taken_back() -> None:
    end = End()
    end.take_offer(offer_of(data_section("x")))
    end.candidate(HOST, "x")
    end.roll_back()
    assert end.negotiation.state.remote is None
    assert end.signaling is SignalingState.STABLE
    assert session(end.create_offer()).media[0].mid == "0"


@pytest.mark.row("JSE-03")
def test_a_later_offer_is_taken_back_to_the_session_as_it_was() -> None:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    before = offerer.negotiation.state
    offerer.offer()
    offerer.roll_back()
    assert offerer.negotiation.state == before
    offerer.take_offer(answerer.offer())
    offerer.roll_back()
    assert offerer.negotiation.state == before
    answerer.roll_back()
    connect(answerer, offerer)


@pytest.mark.row("JSE-03")
def test_glare_takes_our_offer_back() -> None:
    polite, impolite = End(), End("bobs")
    polite.offer()
    polite.take_offer(impolite.offer())
    assert polite.signaling is SignalingState.HAVE_REMOTE_OFFER
    assert polite.negotiation.state.pending_local is None
    text, plan = polite.answer()
    assert any(isinstance(step, StartTransport) and step.ice_role is ICERole.CONTROLLED for step in plan)
    plan = impolite.take_answer(text)
    assert any(isinstance(step, StartTransport) and step.ice_role is ICERole.CONTROLLING for step in plan)


@pytest.mark.row("JSE-03", "JSE-10")
def test_in_glare_a_broken_offer_leaves_ours_in_place() -> None:
    end = End()
    end.offer()
    before = end.negotiation.state
    with pytest.raises(SDPSyntaxError):
        end.take_offer("nonsense")
    assert end.negotiation.state is before
