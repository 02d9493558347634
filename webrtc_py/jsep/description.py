"""A description that was applied, and its text at the time it is read: with the candidates known by then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..dtls.fingerprint import Fingerprint
from ..sdp import Media, Session, Setup, TransportDescription, set_default_destination
from ..states import CandidateType, SDPType

# What an agent keeps of one peer: far beyond what any peer has, and little enough to hold.
MAX_REMOTE_CANDIDATES = 512


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our end of the one transport that all sections share, as our descriptions tell of it."""

    ice_ufrag: str
    ice_pwd: str = field(repr=False)
    fingerprints: tuple[Fingerprint, ...]
    next_credentials: tuple[str, str] = field(default=("", ""), repr=False)
    """User fragment and password for the next ICE restart."""
    candidates: tuple[str, ...] = ()
    """Those gathered so far, each ``candidate:...``."""
    gathering_complete: bool = False
    default_destination: tuple[str, int] | None = None
    """The address and port of the default candidate (RFC 8839 section 4.2.1.2); None when none may be told."""

    @property
    def credentials(self) -> tuple[str, str]:
        return self.ice_ufrag, self.ice_pwd

    def restarted(self) -> LocalTransport:
        """As it will be described when ICE restarts: with new credentials, for which nothing was gathered yet."""
        ufrag, pwd = self.next_credentials
        return LocalTransport(ufrag, pwd, self.fingerprints)

    def describe(self, setup: Setup) -> TransportDescription:
        return TransportDescription(
            ice_ufrag=self.ice_ufrag,
            ice_pwd=self.ice_pwd,
            fingerprints=tuple((fingerprint.algorithm, fingerprint.value) for fingerprint in self.fingerprints),
            setup=setup,
            candidates=self.candidates,
            end_of_candidates=self.gathering_complete,
        )

    def write_destination(self, media: Media) -> None:
        """Put the default candidate, once there is one, into the section's ``m=`` and ``c=`` lines."""
        if self.default_destination is not None:
            set_default_destination(media, *self.default_destination)


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """One of ours. ``session`` is what ``text`` says, and nobody changes it."""

    type: SDPType
    text: str
    session: Session

    @property
    def credentials(self) -> frozenset[tuple[str, str]]:
        """All user fragments and passwords in it."""
        return frozenset((media.ice_ufrag, media.ice_pwd or "") for media in self.session.media if media.ice_ufrag)

    def text_with(self, transports: Iterable[LocalTransport]) -> str:
        """The text with all candidates gathered by now (RFC 8829 section 4.1.13).

        ``transports`` are the generations of our end, before and after an ICE restart: each section has the candidates
        of its own credentials. Of a generation that was given up it keeps what it was made with.
        """
        by_ufrag = {transport.ice_ufrag: transport for transport in transports}
        sections = [self._with_candidates(media, by_ufrag.get(media.ice_ufrag or "")) for media in self.session.media]
        return replace(self.session, media=sections).serialize()

    def _with_candidates(self, media: Media, transport: LocalTransport | None) -> Media:
        if transport is None:
            return media
        media = replace(media, attributes=media.attributes.without("candidate", "end-of-candidates"))
        add_candidates(media, transport.candidates, transport.gathering_complete)
        transport.write_destination(media)
        return media


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """One of the peer's, with what was trickled since: candidates by section index, and sections with all.

    ``session`` is what ``text`` says, and nobody changes it.
    """

    type: SDPType
    text: str
    session: Session
    trickled: tuple[tuple[int, str], ...] = ()
    ended: frozenset[int] = frozenset()

    @property
    def can_trickle(self) -> bool:
        """Whether the peer takes candidates one by one: it says so for the session or for its sections (RFC 8840)."""
        return any("trickle" in part.ice_options for part in (self.session, *self.session.media))

    def with_candidate(self, index: int, candidate: str) -> RemoteDescription:
        if (index, candidate) in self.trickled or len(self.trickled) >= MAX_REMOTE_CANDIDATES:
            return self
        return replace(self, trickled=(*self.trickled, (index, candidate)))

    def with_end(self, indexes: frozenset[int]) -> RemoteDescription:
        return replace(self, ended=self.ended | indexes)

    def candidates_of(self, indexes: frozenset[int]) -> tuple[str, ...]:
        """The candidates of these sections: the description's own, then the trickled ones; no more than are kept."""
        own = [line for index in sorted(indexes) for line in self.session.media[index].candidates]
        return (*own, *(line for index, line in self.trickled if index in indexes))[:MAX_REMOTE_CANDIDATES]

    def text_with_trickled(self) -> str:
        if not self.trickled and not self.ended:
            return self.text
        sections = [self._with_trickled(index, media) for index, media in enumerate(self.session.media)]
        return replace(self.session, media=sections).serialize()

    def _with_trickled(self, index: int, media: Media) -> Media:
        media = replace(media, attributes=media.attributes.without())
        lines = tuple(line for at, line in self.trickled if at == index)
        add_candidates(media, lines, index in self.ended and not media.end_of_candidates)
        return media


def add_candidates(media: Media, candidates: tuple[str, ...], complete: bool) -> None:
    for line in candidates:
        media.attributes.add("candidate", line.removeprefix("candidate:"))
    if complete:
        media.attributes.add("end-of-candidates")


class GatheredCandidate(Protocol):
    """What the choice of a default candidate looks at."""

    @property
    def typ(self) -> CandidateType: ...

    @property
    def protocol(self) -> str: ...

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...


def default_destination(candidates: Iterable[GatheredCandidate]) -> tuple[str, int] | None:
    """The candidate that a peer without ICE would most likely reach (RFC 8445 section 5.1.4); None without any.

    A relay before a server-reflexive address before the host's own, and IPv4 before IPv6. A name that hides an address
    cannot stand in a ``c=`` line.
    """
    chosen = max(
        (one for one in candidates if one.protocol == "udp" and not one.address.endswith(".local")),
        key=lambda one: (_REACH.get(one.typ, 0), ":" not in one.address),
        default=None,
    )
    return None if chosen is None else (chosen.address.partition("%")[0], chosen.port)


_REACH = {CandidateType.SRFLX: 1, CandidateType.RELAY: 2}
