"""What the ICE core tells and sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..states import ICERole, ICETransportState
from .candidate import Candidate
from .pair import Address, CandidatePair


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A STUN message to send from a base."""

    base_id: int
    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class StateChanged:
    """``reason`` is one sentence for the log."""

    state: ICETransportState
    reason: str


@dataclass(frozen=True, slots=True)
class SelectedPairChanged:
    """Another pair is selected, or the selected one's candidates have become known by other names."""

    pair: CandidatePair
    lost: bool = False
    """Whether the one before was gone or silent, so that what was under way on it is as good as lost."""


@dataclass(frozen=True, slots=True)
class PathResumed:
    """The peer is heard again on the selected pair, which was silent for a while: what was sent then is lost."""


@dataclass(frozen=True, slots=True)
class PermissionNeeded:
    """A relay base is about to send to an address, so its server must let that address in (RFC 8656 section 9)."""

    base_id: int
    address: Address


@dataclass(frozen=True, slots=True)
class PathProved:
    """The peer is at this address: data that comes from there to this base may be taken.

    Told once for each pair, and once more when the peer has not only made a check there, but answered one of ours.
    """

    base_id: int
    address: Address
    has_answered: bool


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role conflict was resolved (RFC 8445 section 7.3.1.1)."""

    role: ICERole


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """A check of the peer's that was authenticated and answered: what an application's handler may decide about."""

    local: Candidate
    remote: Candidate
    priority: int
    use_candidate: bool
    nomination: int | None
    """The value of a renomination."""
    selected: bool
    """Whether it came on the selected pair."""


BindingRequestHandler = Callable[[BindingRequest], bool]

Happening = StateChanged | SelectedPairChanged | PathResumed | PathProved | PermissionNeeded | RoleChanged
