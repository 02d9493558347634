"""What an examination finds, as plain data: for the text, for JSON, and for the prognosis."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.network import Address
from .nat import NATBehaviour


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at on this machine."""

    name: str
    ok: bool | None
    """None when it could not be looked at, or is neither good nor bad."""
    text: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way to one server: a transport to one of its addresses."""

    transport: str
    """``udp``, ``tcp``, ``tls`` or ``dtls``."""
    server: Address
    is_named: bool = True
    """Whether it is the way that the server's URL names; the others are tried as well, and may fail."""
    reached: bool = False
    """Whether the server spoke to us, be it to refuse."""
    problem: str = ""
    """Why it was not reached, or what was wrong with its answer."""
    took: float | None = None
    """Seconds of the round trip; over a stream without the time that it takes to connect."""
    mapped: Address | None = None
    """Our address as the server sees it."""
    relayed: Address | None = None
    """What a TURN server has given us, for a moment."""
    relay_problem: str = ""
    """Why it gave none, where it was asked."""


@dataclass(frozen=True, slots=True)
class ServerFindings:
    """``ways`` is empty when there is not even an address; ``problem`` then says why."""

    url: str
    ways: tuple[Way, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether a kind of peer can be connected to from here, and how."""

    peer: str
    way: str
    """``direct``, ``relay``, ``no`` or ``unknown``."""
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of an examination. ``nat`` has one for each family that a server answered over UDP in."""

    local: tuple[Finding, ...]
    servers: tuple[ServerFindings, ...]
    nat: tuple[NATBehaviour, ...]
    prospects: tuple[Prospect, ...]
    advice: tuple[str, ...]
    can_connect: bool
    """Whether anything can; with servers given, anything beyond the local network."""
