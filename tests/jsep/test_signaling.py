"""The signalling state machine: each way that the table has, and every one that it has not."""

from __future__ import annotations

from itertools import product

import pytest

from webrtc_py.errors import InvalidStateError
from webrtc_py.jsep.signaling import TRANSITIONS, Side, implicit_type, needs_rollback, next_state
from webrtc_py.states import SDPType, SignalingState

ALLOWED = {
    ("stable", "local", "offer"): "have-local-offer",
    ("stable", "remote", "offer"): "have-remote-offer",
    ("have-local-offer", "local", "offer"): "have-local-offer",
    ("have-local-offer", "remote", "answer"): "stable",
    ("have-local-offer", "remote", "pranswer"): "have-remote-pranswer",
    ("have-local-offer", "local", "rollback"): "stable",
    ("have-local-offer", "remote", "rollback"): "stable",
    ("have-remote-pranswer", "remote", "pranswer"): "have-remote-pranswer",
    ("have-remote-pranswer", "remote", "answer"): "stable",
    ("have-remote-offer", "remote", "offer"): "have-remote-offer",
    ("have-remote-offer", "local", "answer"): "stable",
    ("have-remote-offer", "local", "pranswer"): "have-local-pranswer",
    ("have-remote-offer", "local", "rollback"): "stable",
    ("have-remote-offer", "remote", "rollback"): "stable",
    ("have-local-pranswer", "local", "pranswer"): "have-local-pranswer",
    ("have-local-pranswer", "local", "answer"): "stable",
}


@pytest.mark.row("JSE-01")
@pytest.mark.parametrize(("state", "side", "description_type"), list(product(SignalingState, Side, SDPType)))
def test_every_state_with_every_description(state: SignalingState, side: Side, description_type: SDPType) -> None:
    expected = ALLOWED.get((state, side, description_type))
    if expected is not None:
        assert next_state(state, side, description_type) is SignalingState(expected)
        return
    with pytest.raises(InvalidStateError) as raised:
        next_state(state, side, description_type)
    assert f"a {side} {description_type} cannot be set in state {state}" in str(raised.value)


def test_the_table_has_nothing_else() -> None:
    assert len(TRANSITIONS) == len(ALLOWED)


def test_the_error_says_what_would_be_right() -> None:
    with pytest.raises(InvalidStateError, match=r"; a local offer, a remote offer can be$"):
        next_state(SignalingState.STABLE, Side.REMOTE, SDPType.ANSWER)
    with pytest.raises(InvalidStateError, match=r"in state closed$"):
        next_state(SignalingState.CLOSED, Side.LOCAL, SDPType.OFFER)


@pytest.mark.row("JSE-17")
def test_provisional_answers_may_follow_each_other() -> None:
    state = SignalingState.HAVE_LOCAL_OFFER
    for description_type in (SDPType.PRANSWER, SDPType.PRANSWER, SDPType.ANSWER):
        state = next_state(state, Side.REMOTE, description_type)
    assert state is SignalingState.STABLE


def test_glare_is_a_rollback_and_then_the_offer() -> None:
    for state, side, description_type in product(SignalingState, Side, SDPType):
        glare = (state, side, description_type) == ("have-local-offer", "remote", "offer")
        assert needs_rollback(state, side, description_type) is glare
    state = next_state(SignalingState.HAVE_LOCAL_OFFER, Side.LOCAL, SDPType.ROLLBACK)
    assert next_state(state, Side.REMOTE, SDPType.OFFER) is SignalingState.HAVE_REMOTE_OFFER


def test_what_a_description_without_a_type_is() -> None:
    assert {state: implicit_type(state) for state in SignalingState if state != "closed"} == {
        "stable": "offer",
        "have-local-offer": "offer",
        "have-remote-pranswer": "offer",
        "have-remote-offer": "answer",
        "have-local-pranswer": "answer",
    }
