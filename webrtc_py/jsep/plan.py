"""What applying a description asks of the transports: small dataclasses, in the order in which they are executed.

JSEP decides, the peer connection executes. Where a plan is empty, a description changed nothing but the negotiation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dtls.fingerprint import Fingerprint
from ..states import DTLSRole, ICERole


@dataclass(frozen=True, slots=True)
class StartGathering:
    """Gather local candidates, unless that is done or going on (RFC 8829 section 5.9)."""


@dataclass(frozen=True, slots=True)
class RemoteICE:
    """What the peer's description says of its ICE agent."""

    ufrag: str
    pwd: str = field(repr=False)
    lite: bool = False
    renomination: bool = False
    """Whether it understands a controlling agent that nominates again."""


@dataclass(frozen=True, slots=True)
class StartTransport:
    """Begin the checks, and on the path that they find the DTLS handshake (RFC 8829 sections 5.10 and 5.11)."""

    ice_role: ICERole
    ice: RemoteICE
    dtls_role: DTLSRole
    """Ours."""
    fingerprints: tuple[Fingerprint, ...]
    """Of the peer's certificates; one that matches is enough."""


@dataclass(frozen=True, slots=True)
class BeginRestart:
    """Gather with new credentials of ours, beside the path in use, which carries on (RFC 8445 section 9)."""

    ice_ufrag: str
    ice_pwd: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompleteRestart:
    """The peer has new credentials too: begin the checks that find the next path. Roles and DTLS stay as they are."""

    ice_role: ICERole
    ice: RemoteICE


@dataclass(frozen=True, slots=True)
class CancelRestart:
    """The restart that has begun comes to nothing: the session before it goes on as if it had never been."""


@dataclass(frozen=True, slots=True)
class AddRemoteCandidates:
    """Candidates of the peer, each ``candidate:...``, for the transport that was started."""

    candidates: tuple[str, ...]
    ufrag: str
    """The generation that they belong to, by the peer's user fragment; few peers say it in each line."""


@dataclass(frozen=True, slots=True)
class EndRemoteCandidates:
    """The peer has no more candidates in this generation (RFC 8838 section 14)."""


@dataclass(frozen=True, slots=True)
class StartData:
    """Open the SCTP association, or take the new size for the one that is open (RFC 8841 section 10)."""

    local_port: int
    remote_port: int
    max_message_size: int
    """The largest message that the peer takes, in bytes; 0 is any."""


@dataclass(frozen=True, slots=True)
class StopTransport:
    """No section is left that uses the transport: close it, and the data channels with it (RFC 8829 section 5.11)."""


Step = (
    StartGathering
    | StartTransport
    | BeginRestart
    | CompleteRestart
    | CancelRestart
    | AddRemoteCandidates
    | EndRemoteCandidates
    | StartData
    | StopTransport
)
Plan = tuple[Step, ...]
