"""Trickled candidates: which description they belong to, and when they reach the transport."""

from __future__ import annotations

import pytest

from tests.jsep.ends import HOST, HOST_2, TRANSPORT, End, audio_section, connect, data_section, offer_of, session
from webrtc_py.errors import OperationError, SDPSyntaxError
from webrtc_py.jsep import AddRemoteCandidates, EndRemoteCandidates, StartTransport
from webrtc_py.jsep.description import MAX_REMOTE_CANDIDATES
from webrtc_py.states import SDPType


def connected() -> End:
    offerer, answerer = End(), End("bobs")
    connect(offerer, answerer)
    return offerer


@pytest.mark.row("JSE-12", "JSE-11")
def test_after_the_answer_they_go_to_the_transport_at_once() -> None:
    end = connected()
    assert end.candidate(HOST) == (AddRemoteCandidates((HOST,), "bobsufrag"),)
    assert end.candidate(HOST_2, None, 0) == (AddRemoteCandidates((HOST_2,), "bobsufrag"),)
    assert end.candidate("", "0") == (EndRemoteCandidates(),)
    assert end.candidate("", None) == (EndRemoteCandidates(),)
    remote = end.negotiation.state.remote
    assert remote is not None
    media = session(remote.text_with_trickled()).media[0]
    assert media.candidates == (HOST, HOST_2)
    assert media.end_of_candidates


@pytest.mark.row("JSE-12")
def test_between_offer_and_answer_they_wait_in_the_description() -> None:
    end = End()
    end.take_offer(offer_of(data_section(transport=TRANSPORT + f"a={HOST}\r\n")))
    assert end.candidate(HOST_2) == ()
    assert end.candidate("") == ()
    _, plan = end.answer()
    assert AddRemoteCandidates((HOST, HOST_2), "peer") in plan
    assert plan.index(EndRemoteCandidates()) > plan.index(AddRemoteCandidates((HOST, HOST_2), "peer"))


@pytest.mark.row("TRI-12")
@pytest.mark.parametrize("kind", [SDPType.OFFER, SDPType.ANSWER])
def test_before_any_description_they_wait_for_it(kind: SDPType) -> None:
    end = End()
    if kind is SDPType.ANSWER:
        end.offer()
    assert end.candidate(HOST, ufrag="peer") == ()
    assert end.candidate(HOST_2, None, 0) == ()
    assert end.candidate("candidate:3 1 udp 1 192.0.2.3 1 typ host", ufrag="another") == ()
    assert end.candidate("candidate:4 1 udp 1 192.0.2.4 1 typ host", "5") == ()
    assert end.candidate("", ufrag="peer") == ()
    if kind is SDPType.ANSWER:
        plan = end.take_answer(offer_of(data_section()).replace("actpass", "active"))
    else:
        end.take_offer(offer_of(data_section()))
        _, plan = end.answer()
    # Those of another generation, or of a section that is not there, are gone.
    assert [step for step in plan if isinstance(step, AddRemoteCandidates)] == [
        AddRemoteCandidates((HOST, HOST_2), "peer")
    ]
    assert EndRemoteCandidates() in plan
    assert end.negotiation.state.early == ()


@pytest.mark.row("TRI-12")
def test_what_waits_is_bounded() -> None:
    end = End()
    for number in range(MAX_REMOTE_CANDIDATES):
        end.candidate(f"candidate:{number} 1 udp 1 192.0.2.1 {number} typ host")
    with pytest.raises(OperationError, match="before any description"):
        end.candidate(HOST)
    assert len(end.negotiation.state.early) == MAX_REMOTE_CANDIDATES


def test_what_a_description_keeps_is_bounded() -> None:
    end = connected()
    for number in range(MAX_REMOTE_CANDIDATES + 10):
        end.candidate(f"candidate:{number} 1 udp 1 192.0.2.1 {number} typ host")
        end.candidate(f"candidate:{number} 1 udp 1 192.0.2.1 {number} typ host")
    remote = end.negotiation.state.remote
    assert remote is not None
    assert len(remote.trickled) == MAX_REMOTE_CANDIDATES


def test_early_candidates_survive_glare() -> None:
    """The impolite end ignores an offer; what was trickled with it fits the answer that follows."""
    polite, impolite = End(), End("bobs")
    polite.offer()
    offer = impolite.offer()
    impolite.candidate(HOST, ufrag=polite.transport.ice_ufrag)
    polite.take_offer(offer)
    text, _ = polite.answer()
    assert AddRemoteCandidates((HOST,), polite.transport.ice_ufrag) in impolite.take_answer(text)


@pytest.mark.row("JSE-12", "TRI-11")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((HOST, "1"), "mid '1'"),
        ((HOST, None, 1), "index is 1"),
        ((HOST, "1", 0), "mid '1'"),  # the mid counts
        ((HOST, "0", None, "older"), "'older'"),
        (("", "1"), "mid '1'"),
        (("", "0", None, "older"), "'older'"),
    ],
)
def test_what_fits_no_description_is_refused(arguments: tuple[str, str | None], says: str) -> None:
    end = connected()
    before = end.negotiation.state
    with pytest.raises(OperationError, match=says):
        end.candidate(*arguments)
    assert end.negotiation.state is before


def test_the_mid_is_preferred_over_the_index() -> None:
    assert connected().candidate(HOST, "0", 7) == (AddRemoteCandidates((HOST,), "bobsufrag"),)


def test_a_candidate_outside_the_grammar_is_refused_at_any_time() -> None:
    for end in (End(), connected()):
        with pytest.raises(SDPSyntaxError):
            end.candidate("candidate:nonsense")


@pytest.mark.row("SDP-ICE-02")
def test_candidates_of_unknown_kinds_pass() -> None:
    end = connected()
    line = "candidate:1 1 quic 2130706431 192.0.2.1 5000 typ host"
    end.candidate(line)
    end.take_offer(_later(line))


def _later(line: str) -> str:
    """The end of the peer that `connected` has, offering again with one candidate more."""
    peer = End("bobs")
    return offer_of(data_section(transport=_transport_of(peer) + f"a={line}\r\n"))


def _transport_of(peer: End) -> str:
    return peer.create_offer().split("262144\r\n")[1]


@pytest.mark.row("JSE-11")
def test_candidates_in_a_later_offer_go_to_the_transport_at_once() -> None:
    end = connected()
    assert end.take_offer(_later(HOST)) == (AddRemoteCandidates((HOST,), "bobsufrag"),)
    assert end.candidate(HOST_2) == (AddRemoteCandidates((HOST_2,), "bobsufrag"),)


def test_candidates_for_a_rejected_section_are_ignored() -> None:
    end = End()
    end.take_offer(offer_of(audio_section("a"), data_section("d").replace("peer", "data")))
    end.candidate(HOST, "a")
    _, plan = end.answer()
    assert not any(isinstance(step, AddRemoteCandidates) for step in plan)
    assert end.candidate(HOST_2, "a") == ()
    end = End()
    end.take_offer(offer_of(audio_section("a", port=0, transport=""), data_section("d")))
    assert end.candidate(HOST, "a", None, "gone") == ()


def test_a_bare_line_is_for_the_transport() -> None:
    end = End()
    end.candidate(HOST, None)
    end.take_offer(offer_of(audio_section("a", port=0, transport=""), data_section("d")))
    _, plan = end.answer()
    assert AddRemoteCandidates((HOST,), "peer") in plan
    assert any(isinstance(step, StartTransport) for step in plan)
