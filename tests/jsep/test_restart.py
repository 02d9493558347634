"""ICE restart, lite and renomination as negotiation sees them: the plans, without a transport."""

from __future__ import annotations

import itertools

import pytest

from tests.jsep.ends import (
    FINGERPRINT,
    HOST,
    HOST_2,
    TRANSPORT,
    End,
    connect,
    data_section,
    offer_of,
    session,
    with_line_changed,
)
from webrtc_py.errors import InvalidAccessError, InvalidModificationError, NotSupportedError
from webrtc_py.jsep import (
    AddRemoteCandidates,
    BeginRestart,
    CancelRestart,
    CompleteRestart,
    EndRemoteCandidates,
    Plan,
    RemoteICE,
    StartData,
    StartTransport,
)
from webrtc_py.states import DTLSRole, ICERole, SDPType


def connected() -> tuple[End, End]:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    return offerer, answerer


def restarting_offer(end: End) -> str:
    """Create and set it; the transport follows."""
    text = end.create_offer(ice_restart=True)
    end.follow(end.negotiation.set_local(SDPType.OFFER, text))
    return text


def answer(end: End, kind: SDPType = SDPType.ANSWER) -> tuple[str, Plan]:
    text, plan = end.answer(kind)
    return text, end.follow(plan)


def begun_by(end: End) -> BeginRestart:
    return BeginRestart(*end.transport.next_credentials)


def ice(end: End) -> RemoteICE:
    """What the other side is told of this one."""
    return RemoteICE(*end.transport.credentials)


@pytest.mark.row("JSE-07", "ICE-41", "ICE-42", "FPR-09")
def test_a_restart_and_its_plans() -> None:
    offerer, answerer = connected()
    begin = begun_by(offerer)
    text = offerer.create_offer(ice_restart=True)
    # Making it changes nothing, and makes the same again (RFC 8829 section 4.1.8).
    assert offerer.create_offer(ice_restart=True) == text
    media = session(text).media[0]
    assert (media.ice_ufrag, media.ice_pwd) == (begin.ice_ufrag, begin.ice_pwd)
    assert media.setup == "actpass"
    assert offerer.follow(offerer.negotiation.set_local(SDPType.OFFER, text)) == (begin,)
    assert answerer.take_offer(text) == ()
    begin = begun_by(answerer)
    text, plan = answer(answerer)
    data = StartData(5000, 5000, 262144)
    assert plan == (begin, CompleteRestart(ICERole.CONTROLLED, ice(offerer)), data)
    assert session(text).media[0].setup == "active"
    assert offerer.take_answer(text) == (CompleteRestart(ICERole.CONTROLLING, ice(answerer)), data)
    # The next exchange is none again; the other side may begin the next restart, and the roles stay.
    text = offerer.offer()
    answerer.take_offer(text)
    text, plan = answerer.answer()
    assert not any(isinstance(step, BeginRestart | CompleteRestart) for step in plan)
    offerer.take_answer(text)
    offerer.take_offer(restarting_offer(answerer))
    text, plan = answer(offerer)
    assert CompleteRestart(ICERole.CONTROLLING, ice(answerer)) in plan
    assert session(text).media[0].setup == "passive"
    assert CompleteRestart(ICERole.CONTROLLED, ice(offerer)) in answerer.take_answer(text)


@pytest.mark.row("JSE-07", "JSE-03")
def test_a_restart_that_is_taken_back() -> None:
    offerer, answerer = connected()
    before = offerer.negotiation.state
    restarting_offer(offerer)
    assert offerer.roll_back() == (CancelRestart(),)
    assert offerer.negotiation.state == before
    # A restart in place of one that nobody has answered.
    restarting_offer(offerer)
    begin = begun_by(offerer)
    text = offerer.create_offer(ice_restart=True)
    assert offerer.follow(offerer.negotiation.set_local(SDPType.OFFER, text)) == (CancelRestart(), begin)
    # A later offer of the same restart is none by itself.
    assert session(offerer.create_offer()).media[0].ice_ufrag == begin.ice_ufrag
    # The peer's offer comes first.
    assert offerer.take_offer(answerer.offer())[0] == CancelRestart()
    # An offer of the peer's has begun nothing.
    offerer, answerer = connected()
    assert answerer.take_offer(restarting_offer(offerer)) == ()
    assert answerer.roll_back() == ()


@pytest.mark.row("JSE-07", "JSE-17")
@pytest.mark.parametrize("provisional", list(itertools.product("rc", repeat=2)))
def test_a_peer_that_refuses(provisional: tuple[str, str]) -> None:
    """Provisional answers may refuse what comes to be accepted; the final one decides."""
    for last in "rc":
        offerer, answerer = connected()
        old = answerer.transport
        answerer.take_offer(restarting_offer(offerer))
        accepted, _ = answerer.create_answer(), None
        refused = with_line_changed(
            with_line_changed(accepted, "a=ice-ufrag", f"a=ice-ufrag:{old.ice_ufrag}"),
            "a=ice-pwd",
            f"a=ice-pwd:{old.ice_pwd}",
        )
        steps: list[type] = []
        texts = {"r": refused, "c": accepted}
        kinds = [*((one, SDPType.PRANSWER) for one in provisional), (last, SDPType.ANSWER)]
        accepts = False
        for choice, kind in kinds:
            if accepts and choice == "r":
                with pytest.raises(NotSupportedError, match="provisional"):
                    offerer.take_answer(texts[choice], kind)
                break
            accepts |= choice == "c"
            steps += [type(step) for step in offerer.take_answer(texts[choice], kind)]
        else:
            assert steps.count(CompleteRestart) == ("c" in (*provisional, last))
            assert steps.count(CancelRestart) == ("c" not in (*provisional, last))
            assert not offerer.negotiation.state.is_restarting
            # Nothing asks for another.
            assert not offerer.negotiation.needs_offer(data=True)


@pytest.mark.row("SDP-ICE-09", "FPR-10")
def test_an_answer_may_not_restart_what_was_not_offered() -> None:
    offerer, answerer = connected()
    offer = offerer.offer()
    answerer.take_offer(offer)
    text, _ = answerer.answer()
    changed = with_line_changed(
        with_line_changed(text, "a=ice-ufrag", "a=ice-ufrag:news"), "a=ice-pwd", "a=ice-pwd:newsnewsnewsnewsnewsnews"
    )
    before = offerer.negotiation.state
    with pytest.raises(InvalidAccessError, match="did not restart"):
        offerer.take_answer(changed)
    assert offerer.negotiation.state is before


@pytest.mark.row("FPR-10", "SDP-ICE-09")
@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("a=fingerprint", f"a=fingerprint:sha-256 {FINGERPRINT.value[:-2]}99"),
        ("a=setup", "a=setup:actpass\r\na=tls-id:abcdefghijklmnopqrstuvwxyz"),
    ],
)
def test_a_restart_continues_dtls(line: str, new: str) -> None:
    end = End()
    end.take_offer(offer_of(data_section(transport=TRANSPORT + "a=tls-id:zyxwvutsrqponmlkjihgfedcba\r\n")))
    end.answer()
    again = offer_of(data_section(transport=TRANSPORT + "a=tls-id:zyxwvutsrqponmlkjihgfedcba\r\n"))
    restart = again.replace("a=ice-ufrag:peer", "a=ice-ufrag:news").replace("a=ice-pwd:peer", "a=ice-pwd:news")
    other = with_line_changed(restart, "a=tls-id", "") if "tls-id" in new else restart
    before = end.negotiation.state
    with pytest.raises(NotSupportedError, match="DTLS association"):
        end.take_offer(with_line_changed(other, line, new))
    assert end.negotiation.state is before
    assert end.take_offer(restart) == ()


def test_placeholder_addresses_and_other_levels_are_no_restart() -> None:
    end = End()
    text = offer_of(data_section())
    end.take_offer(text)
    end.answer()
    # RFC 8839 section 4.4.1.1.1: the same credentials at another level.
    head, section = text.split("m=application")
    lines = "a=ice-ufrag:peer\r\na=ice-pwd:peerpasswordpeerpassword\r\n"
    moved = head + lines + "m=application" + section.replace(lines, "")
    assert end.take_offer(moved.replace("c=IN IP4 0.0.0.0", "c=IN IP4 0.0.0.0")) == ()
    _, plan = end.answer()
    assert not any(isinstance(step, BeginRestart | CompleteRestart) for step in plan)


def test_an_answer_is_for_the_offer_that_it_was_made_for() -> None:
    """Set for another one, it might leave a restart unanswered."""
    offerer, answerer = connected()
    answerer.take_offer(offerer.offer())
    text = answerer.create_answer()
    answerer.take_offer(restarting_offer(offerer))
    with pytest.raises(InvalidModificationError):
        answerer.negotiation.set_local(SDPType.ANSWER, text)


@pytest.mark.row("TRI-11", "TRI-09", "JSE-12")
def test_candidates_wait_for_the_answer_that_completes_the_restart() -> None:
    offerer, answerer = connected()
    old = offerer.transport.ice_ufrag
    answerer.take_offer(restarting_offer(offerer))
    new = offerer.transport.ice_ufrag
    assert answerer.candidate(HOST, ufrag=old) == (AddRemoteCandidates((HOST,), old),)
    assert answerer.candidate(HOST, ufrag=new) == ()
    assert answerer.candidate(HOST_2) == ()
    # The late end of what was before names no generation.
    assert End.candidate(answerer, "") == ()
    assert answerer.candidate("", ufrag=new) == ()
    _, plan = answer(answerer)
    assert AddRemoteCandidates((HOST, HOST_2), new) in plan
    assert plan.index(EndRemoteCandidates()) > plan.index(AddRemoteCandidates((HOST, HOST_2), new))


@pytest.mark.row("TRI-08", "JSE-12")
def test_an_end_that_names_no_generation_is_taken_after_a_candidate() -> None:
    offerer, answerer = connected()
    answerer.take_offer(restarting_offer(offerer))
    text, _ = answer(answerer)
    assert answerer.candidate("") == ()
    # While the answer is on its way, an end can only be of what was.
    assert offerer.candidate("") == ()
    offerer.take_answer(text)
    new = offerer.transport.ice_ufrag
    assert answerer.candidate(HOST) == (AddRemoteCandidates((HOST,), new),)
    assert answerer.candidate("") == (EndRemoteCandidates(),)
    assert offerer.candidate("", ufrag=answerer.transport.ice_ufrag) == (EndRemoteCandidates(),)


# W3C's [[LocalIceCredentialsToReplace]]


@pytest.mark.row("JSE-07", "WPC-02")
def test_credentials_that_are_to_be_replaced() -> None:
    offerer, answerer = connected()
    negotiation = offerer.negotiation
    for needs_offer in (False, True):
        negotiation.replace_credentials(needs_offer=needs_offer)
        assert negotiation.needs_offer(data=True) is needs_offer
        restarting = session(offerer.create_offer()).media[0]
        assert restarting.ice_ufrag == offerer.transport.next_credentials[0]
    text = offerer.create_offer()
    offerer.follow(negotiation.set_local(SDPType.OFFER, text))
    # It has them; to make it again is no restart of the restart.
    assert session(offerer.create_offer()).media[0].ice_ufrag == offerer.transport.ice_ufrag
    answerer.take_offer(text)
    text, _ = answer(answerer)
    offerer.take_answer(text)
    assert not negotiation.needs_offer(data=True)
    assert session(offerer.create_offer()).media[0].ice_ufrag == offerer.transport.ice_ufrag


def test_before_there_is_a_description_nothing_is_to_be_replaced() -> None:
    end = End()
    end.negotiation.replace_credentials(needs_offer=True)
    assert not end.negotiation.needs_offer(data=False)
    assert session(end.create_offer(ice_restart=True)).media[0].ice_ufrag == end.transport.ice_ufrag


# Lite and renomination


@pytest.mark.row("SDP-ICE-07", "ICE-11")
@pytest.mark.parametrize(
    ("offerers", "answerers", "role"),
    [
        (False, False, ICERole.CONTROLLING),
        (True, False, ICERole.CONTROLLED),
        (False, True, ICERole.CONTROLLING),
        (True, True, ICERole.CONTROLLING),
    ],
)
def test_who_controls_when_somebody_is_lite(offerers: bool, answerers: bool, role: ICERole) -> None:
    offerer, answerer = End(lite=offerers), End("bobs", lite=answerers)
    offer = offerer.offer()
    answerer.take_offer(offer)
    text, theirs = answerer.answer()
    ours = offerer.take_answer(text)
    for end, plan in ((offerer, ours), (answerer, theirs)):
        start = next(step for step in plan if isinstance(step, StartTransport))
        assert (start.ice_role is role) is (end is offerer)
        # DTLS goes by the offer and the answer, whoever controls ICE.
        assert start.dtls_role is (DTLSRole.SERVER if end is offerer else DTLSRole.CLIENT)
        assert start.ice.lite is (answerers if end is offerer else offerers)
    for described, lite in ((offer, offerers), (text, answerers)):
        assert session(described).ice_lite is lite
        assert not any("ice-lite" in media.attributes for media in session(described).media)


@pytest.mark.row("REN-01")
def test_renomination_is_offered_answered_and_read() -> None:
    offerer, answerer = End(renomination=True), End("bobs", renomination=True)
    offer = offerer.offer()
    assert "a=ice-options:trickle ice2 renomination\r\n" in offer
    answerer.take_offer(offer)
    text, theirs = answerer.answer()
    assert "a=ice-options:trickle ice2 renomination\r\n" in text
    for plan in (theirs, offerer.take_answer(text)):
        assert next(step for step in plan if isinstance(step, StartTransport)).ice.renomination
    # Not with a peer that does not do it.
    offerer, answerer = End(renomination=True), End("bobs")
    answerer.take_offer(offerer.offer())
    text, theirs = answerer.answer()
    assert "renomination" not in text
    assert next(step for step in theirs if isinstance(step, StartTransport)).ice.renomination
    ours = offerer.take_answer(text)
    assert not next(step for step in ours if isinstance(step, StartTransport)).ice.renomination


@pytest.mark.row("SDP-ICE-11")
def test_a_peer_that_saw_changed_addresses_is_refused_with_that_reason() -> None:
    end = End()
    end.offer()
    text = offer_of(data_section(transport="a=ice-mismatch\r\n")).replace("actpass", "active")
    with pytest.raises(InvalidAccessError, match="ice-mismatch"):
        end.take_answer(text)
