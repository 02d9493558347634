"""What applying a description asks of the transports: small dataclasses, in the order in which they are executed.

JSEP decides, the peer connection executes. Where a plan is empty, a description changed nothing but the negotiation.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..dtls.fingerprint import Fingerprint
from ..states import DTLSRole, ICERole


@dataclass(frozen=True, slots=True)
class StartGathering:
    """Gather local candidates, unless that is done or going on (RFC 8829 section 5.9)."""


@dataclass(frozen=True, slots=True)
class StartTransport:
    """Begin the checks, and on the path that they find the DTLS handshake (RFC 8829 sections 5.10 and 5.11)."""

    ice_role: ICERole
    ice_ufrag: str
    ice_pwd: str
    ice_lite: bool
    dtls_role: DTLSRole
    """Ours."""
    fingerprints: tuple[Fingerprint, ...]
    """Of the peer's certificates; one that matches is enough."""


@dataclass(frozen=True, slots=True)
class AddRemoteCandidates:
    """Candidates of the peer, each ``candidate:...``, for the transport that was started."""

    candidates: tuple[str, ...]


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


Step = StartGathering | StartTransport | AddRemoteCandidates | EndRemoteCandidates | StartData | StopTransport
Plan = tuple[Step, ...]
