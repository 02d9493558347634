"""JSEP: what an end offers and answers, and what it makes of the other end's descriptions.

- RFC 8829 (JSEP) with RFC 3264 (offer and answer): `signaling` is the state machine, `negotiation` creates and sets
  descriptions, `offer` and `answer` write ours, `remote` reads the peer's, `state` is all that an exchange changes.
- RFC 8838 and 8840 (trickle): `candidates`. RFC 9143 (BUNDLE), 8841 (data channels), 8842 (DTLS): in the above.

Setting a description gives a plan, the dataclasses in `plan`, which the peer connection executes. Nothing here knows
a transport, a socket or a clock, and every random value comes in from outside.

An ICE restart (RFC 8829 sections 3.5.1 and 5.2.3.1, RFC 8839 section 4.4.1.1.1) is begun when a description of ours
with new credentials is set, and completed by new ones of the peer; until then, and for ever if the exchange is rolled
back or the peer answers with the old ones, the session before it goes on.

What is left out: media sections of the peer are answered with port 0 until there is media; a session has one transport,
which all its sections share, so an offered section outside the data section's BUNDLE group is rejected; a restart
continues the DTLS association, so one that comes with another fingerprint is refused. ``a=tls-id`` is understood and
not written, as in browsers (RFC 8842 section 5.2 lets the fingerprints alone tell associations apart).
"""

from .candidates import TrickledCandidate
from .description import LocalDescription, LocalTransport, RemoteDescription, default_destination
from .negotiation import Negotiation
from .offer import Author
from .plan import (
    AddRemoteCandidates,
    BeginRestart,
    CancelRestart,
    CompleteRestart,
    EndRemoteCandidates,
    Plan,
    RemoteICE,
    StartData,
    StartGathering,
    StartTransport,
    Step,
    StopTransport,
)
from .signaling import implicit_type
from .state import State

__all__ = [
    "AddRemoteCandidates",
    "Author",
    "BeginRestart",
    "CancelRestart",
    "CompleteRestart",
    "EndRemoteCandidates",
    "LocalDescription",
    "LocalTransport",
    "Negotiation",
    "Plan",
    "RemoteDescription",
    "RemoteICE",
    "StartData",
    "StartGathering",
    "StartTransport",
    "State",
    "Step",
    "StopTransport",
    "TrickledCandidate",
    "default_destination",
    "implicit_type",
]
