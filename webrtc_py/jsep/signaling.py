"""The signalling state machine of RFC 8829 section 3.2, as a table.

::

                  local offer                         remote pranswer
                  +--------+                            +--------+
                  |        v                            |        v
              +------------------+  remote pranswer  +----------------------+
        +---> | have-local-offer | ----------------> | have-remote-pranswer |
        |     +------------------+                   +----------------------+
        |         |       | rollback, remote answer           | remote answer
    local offer   |       v                                   v
        |     +---------------------------------------------------+
        +---- |                      stable                       |
        |     +---------------------------------------------------+
    remote offer  |       ^                                   ^
        |         |       | rollback, local answer            | local answer
        |     +-------------------+                  +---------------------+
        +---> | have-remote-offer | ---------------> | have-local-pranswer |
              +-------------------+  local pranswer  +---------------------+
                  |        ^                            |        ^
                  +--------+                            +--------+
                  remote offer                        local pranswer

Two rules come from elsewhere. A provisional answer cannot be rolled back: W3C says so, where RFC 8829 section 5.7 would
allow it. And a remote offer in ``have-local-offer`` (glare) is a rollback followed by the offer, which W3C's
setRemoteDescription does for the application: whoever calls this does the two steps, see `needs_rollback`.
"""

from __future__ import annotations

from enum import StrEnum

from ..errors import InvalidStateError
from ..states import SDPType, SignalingState


class Side(StrEnum):
    """Whose description is set."""

    LOCAL = "local"
    REMOTE = "remote"


_STABLE = SignalingState.STABLE
_LOCAL_OFFER = SignalingState.HAVE_LOCAL_OFFER
_REMOTE_OFFER = SignalingState.HAVE_REMOTE_OFFER
_LOCAL_PRANSWER = SignalingState.HAVE_LOCAL_PRANSWER
_REMOTE_PRANSWER = SignalingState.HAVE_REMOTE_PRANSWER

TRANSITIONS: dict[tuple[SignalingState, Side, SDPType], SignalingState] = {
    (_STABLE, Side.LOCAL, SDPType.OFFER): _LOCAL_OFFER,
    (_STABLE, Side.REMOTE, SDPType.OFFER): _REMOTE_OFFER,
    # The offerer
    (_LOCAL_OFFER, Side.LOCAL, SDPType.OFFER): _LOCAL_OFFER,
    (_LOCAL_OFFER, Side.REMOTE, SDPType.PRANSWER): _REMOTE_PRANSWER,
    (_LOCAL_OFFER, Side.REMOTE, SDPType.ANSWER): _STABLE,
    (_REMOTE_PRANSWER, Side.REMOTE, SDPType.PRANSWER): _REMOTE_PRANSWER,
    (_REMOTE_PRANSWER, Side.REMOTE, SDPType.ANSWER): _STABLE,
    # The answerer
    (_REMOTE_OFFER, Side.REMOTE, SDPType.OFFER): _REMOTE_OFFER,
    (_REMOTE_OFFER, Side.LOCAL, SDPType.PRANSWER): _LOCAL_PRANSWER,
    (_REMOTE_OFFER, Side.LOCAL, SDPType.ANSWER): _STABLE,
    (_LOCAL_PRANSWER, Side.LOCAL, SDPType.PRANSWER): _LOCAL_PRANSWER,
    (_LOCAL_PRANSWER, Side.LOCAL, SDPType.ANSWER): _STABLE,
    # An offer is taken back in the same way on either side (RFC 8829 section 5.7)
    (_LOCAL_OFFER, Side.LOCAL, SDPType.ROLLBACK): _STABLE,
    (_LOCAL_OFFER, Side.REMOTE, SDPType.ROLLBACK): _STABLE,
    (_REMOTE_OFFER, Side.LOCAL, SDPType.ROLLBACK): _STABLE,
    (_REMOTE_OFFER, Side.REMOTE, SDPType.ROLLBACK): _STABLE,
}
"""What is not here is an InvalidStateError, and so is everything in ``closed``."""


def next_state(state: SignalingState, side: Side, description_type: SDPType) -> SignalingState:
    """The state after a description of this type is set on this side; InvalidStateError where it may not be set."""
    try:
        return TRANSITIONS[state, side, description_type]
    except KeyError:
        allowed = [f"a {side} {kind}" for before, side, kind in TRANSITIONS if before is state]
        right = f"; {', '.join(allowed)} can be" if allowed else ""
        raise InvalidStateError(f"a {side} {description_type} cannot be set in state {state!s}{right}") from None


def needs_rollback(state: SignalingState, side: Side, description_type: SDPType) -> bool:
    """Whether this is glare: a remote offer that comes while ours is out, before which ours has to be rolled back."""
    return (state, side, description_type) == (_LOCAL_OFFER, Side.REMOTE, SDPType.OFFER)


def implicit_type(state: SignalingState) -> SDPType:
    """What `set_local_description` without an argument makes: an answer to a remote offer, else an offer (W3C)."""
    return SDPType.ANSWER if state in (_REMOTE_OFFER, _LOCAL_PRANSWER) else SDPType.OFFER
