"""Why a peer connection is in the state it is in, from signalling down to the path, in words for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .bundle_transport import BundleTransport
from .states import (
    DataChannelState,
    DTLSRole,
    DTLSTransportState,
    ICEGatheringState,
    ICETransportState,
    PeerConnectionState,
    SCTPTransportState,
    SignalingState,
)

_HAS_PATH = (ICETransportState.CONNECTED, ICETransportState.COMPLETED)

_SIGNALING = {
    SignalingState.HAVE_LOCAL_OFFER: "Our offer waits for an answer: none of the peer's has been applied yet.",
    SignalingState.HAVE_REMOTE_OFFER: "The peer's offer waits for our answer: set_local_description has to be called.",
    SignalingState.HAVE_LOCAL_PRANSWER: "Our provisional answer has to be followed by a final one.",
    SignalingState.HAVE_REMOTE_PRANSWER: "The peer's provisional answer has to be followed by a final one.",
}


@dataclass(frozen=True, slots=True)
class Signaled:
    """What has been said to the peer, and by it."""

    state: SignalingState = SignalingState.STABLE
    has_local: bool = False
    has_remote: bool = False
    is_agreed: bool = False
    """Whether an answer has settled that there is something to transport."""
    can_trickle: bool | None = None
    """Whether the peer takes candidates later; None before its first description."""
    early_candidates: int = 0
    """Candidates of the peer's that wait for its description."""


@dataclass(frozen=True, slots=True)
class Transported:
    """How far the transports are."""

    ice: ICETransportState = ICETransportState.NEW
    ice_lines: Sequence[str] = ()
    """What the ICE agent says of itself."""
    dtls: DTLSTransportState = DTLSTransportState.NEW
    dtls_role: DTLSRole = DTLSRole.AUTO
    dtls_failure: str = ""
    discarded: int = 0
    """Datagrams that came as DTLS and were none."""
    sctp: SCTPTransportState = SCTPTransportState.CONNECTING
    sctp_failure: str = ""
    channels: Mapping[DataChannelState, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Situation:
    """A connection at one moment."""

    connection: PeerConnectionState
    gathering: ICEGatheringState
    signaled: Signaled
    transported: Transported


def transported(transport: BundleTransport) -> Transported:
    """What the transports say of themselves."""
    dtls, sctp = transport.dtls, transport.sctp
    return Transported(
        ice=transport.ice.state,
        ice_lines=transport.ice.explain().splitlines(),
        dtls=dtls.state,
        dtls_role=dtls.role,
        dtls_failure=dtls.failure,
        discarded=dtls.discarded,
        sctp=sctp.state,
        sctp_failure=sctp.failure,
        channels=Counter(channel.ready_state for channel in sctp.channels),
    )


def explain(situation: Situation) -> str:
    """A few lines, from the top of the stack to its ground."""
    return "\n".join(_lines(situation))


def _lines(s: Situation) -> Iterator[str]:
    t = s.transported
    yield (
        f"The connection is {s.connection}: signaling is {s.signaled.state}, candidates {_gathering(s.gathering)}, "
        f"ICE is {t.ice}, DTLS is {t.dtls}."
    )
    if s.connection is PeerConnectionState.CLOSED:
        return
    yield from _signaling(s)
    yield from _dtls(s)
    yield from _sctp(s)
    if s.signaled.has_local or s.signaled.has_remote:
        yield from t.ice_lines


def _gathering(state: ICEGatheringState) -> str:
    words = {
        ICEGatheringState.NEW: "are not gathered yet",
        ICEGatheringState.GATHERING: "are being gathered",
        ICEGatheringState.COMPLETE: "are gathered",
    }
    return words[state]


def _signaling(s: Situation) -> Iterator[str]:
    signaled = s.signaled
    if signaled.state in _SIGNALING:
        yield _SIGNALING[signaled.state]
    elif not signaled.has_local and not signaled.has_remote:
        yield "Nothing has been negotiated: there is neither an offer of ours nor one of the peer's."
    elif not signaled.is_agreed:
        yield "The descriptions agree on nothing to transport: no data channel was asked for, or it was refused."
    if signaled.early_candidates:
        yield f"{signaled.early_candidates} of the peer's candidates came before its description, and wait for it."
    if signaled.can_trickle is False and s.gathering is not ICEGatheringState.COMPLETE:
        yield "The peer takes no candidates after a description: send ours when gathering_complete has returned."


def _dtls(s: Situation) -> Iterator[str]:
    t = s.transported
    if t.dtls is DTLSTransportState.FAILED:
        yield f"DTLS has failed: {t.dtls_failure}."
        if "fingerprint" in t.dtls_failure:
            yield (
                "The peer's description is not that of the peer who answers: descriptions were mixed up, "
                "or somebody stands between."
            )
    elif t.dtls is DTLSTransportState.CONNECTING:
        waits = "ours have no answer yet" if t.dtls_role is DTLSRole.CLIENT else "the peer is to begin"
        yield f"The DTLS handshake is under way, we are the {t.dtls_role}: {waits}."
    elif t.dtls is DTLSTransportState.CLOSED:
        yield "DTLS is closed: the peer has ended the session."
    elif t.dtls is DTLSTransportState.NEW and s.signaled.is_agreed and t.ice not in _HAS_PATH:
        yield "DTLS waits for ICE to find a path."
    if t.discarded and t.dtls is not DTLSTransportState.CONNECTED:
        yield f"{t.discarded} datagrams came as DTLS and were none, or were not for this session."


def _sctp(s: Situation) -> Iterator[str]:
    t = s.transported
    if t.sctp_failure:
        yield f"SCTP has ended: {t.sctp_failure}."
    elif t.dtls is DTLSTransportState.CONNECTED and t.sctp is SCTPTransportState.CONNECTING:
        yield "SCTP is being set up: the peer has not answered yet."
    if t.channels:
        states = ", ".join(f"{number} {state}" for state, number in t.channels.items())
        yield f"Data channels: {states}."
