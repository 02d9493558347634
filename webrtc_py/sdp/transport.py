"""What a section says about its transport: ICE, the certificate, the DTLS role (RFC 8829 section 5.2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .attributes import Setup
from .session import Media, Session


@dataclass(frozen=True, slots=True)
class TransportDescription:
    """The transport attributes of a section, its own and those that it inherits from the session part.

    Bundled sections share the transport that the tagged section of their group describes (RFC 9143 section 7.1.3):
    read that one. ``candidates`` are in W3C's spelling, ``candidate:...``. ``ice_options`` and ``ice_lite`` are said
    once for all, in the session part, so `write` leaves them out.
    """

    ice_ufrag: str | None = None
    ice_pwd: str | None = field(default=None, repr=False)
    fingerprints: tuple[tuple[str, str], ...] = ()
    setup: Setup | None = None
    tls_id: str | None = None
    candidates: tuple[str, ...] = ()
    end_of_candidates: bool = False
    ice_options: frozenset[str] = frozenset()
    ice_lite: bool = False

    @classmethod
    def read(cls, session: Session, media: Media) -> TransportDescription:
        """What holds for the section: its own values before the session part's (RFC 8829 section 5.8.3).

        ICE options add up: each names something that the peer can do (RFC 8839 section 5.6).
        """
        return cls(
            ice_ufrag=media.ice_ufrag or session.ice_ufrag,
            ice_pwd=media.ice_pwd or session.ice_pwd,
            fingerprints=(media if "fingerprint" in media.attributes else session).fingerprints,
            setup=media.setup or session.setup,
            tls_id=media.tls_id or session.tls_id,
            candidates=media.candidates,
            end_of_candidates=media.end_of_candidates or session.end_of_candidates,
            ice_options=media.ice_options | session.ice_options,
            ice_lite=session.ice_lite,
        )

    def write(self, media: Media) -> None:
        """Appends the attributes to the section, in the order of RFC 8829 section 5.2.1 and 5.2.2."""
        add = media.attributes.add
        if self.ice_ufrag is not None:
            add("ice-ufrag", self.ice_ufrag)
        if self.ice_pwd is not None:
            add("ice-pwd", self.ice_pwd)
        for algorithm, digest in self.fingerprints:
            add("fingerprint", f"{algorithm} {digest}")
        if self.setup is not None:
            add("setup", self.setup.value)
        if self.tls_id is not None:
            add("tls-id", self.tls_id)
        for candidate in self.candidates:
            add("candidate", candidate.removeprefix("candidate:"))
        if self.end_of_candidates:
            add("end-of-candidates")
