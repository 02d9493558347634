"""Reads the peer's description: is it whole (RFC 8829 section 5.8.3), and what does it say of our transport?

Nothing here changes anything. What is wrong is an InvalidAccessError that names the section, so that a description is
either applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..dtls.fingerprint import Fingerprint, strongest
from ..errors import InvalidAccessError, NotSupportedError
from ..sdp import Media, Session, Setup, TransportDescription
from ..states import BundlePolicy, DTLSRole, ICERole
from .sections import Sections

CandidateCheck = Callable[[str], object]
"""Raises SDPSyntaxError for a candidate that is none (the ice package reads them)."""


@dataclass(frozen=True, slots=True)
class DataSection:
    """The section that carries the data channels, as the peer describes it."""

    index: int
    mid: str | None
    sctp_port: int
    max_message_size: int
    transport: TransportDescription
    """Its own, or that of the section it is bundled into."""
    fingerprints: tuple[Fingerprint, ...]
    same_transport: frozenset[int]
    """The indexes of all sections whose candidates are for this transport, its own among them."""

    @property
    def credentials(self) -> tuple[str, str]:
        """The peer's user fragment and password."""
        return self.transport.ice_ufrag or "", self.transport.ice_pwd or ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the last answer settled, be it provisional: the transport that both ends use."""

    ice_role: ICERole
    dtls_role: DTLSRole
    """Ours."""
    remote: DataSection
    is_restarted: bool = False
    """Whether ICE has been restarted since the first answer."""

    def is_restarted_by(self, section: DataSection) -> bool:
        """Whether the peer's credentials in it are new ones (RFC 8839 section 4.4.1.1.1)."""
        return section.credentials != self.remote.credentials


def read_offer(
    session: Session, check_candidate: CandidateCheck, policy: BundlePolicy, agreed: Agreement | None
) -> DataSection | None:
    """The section that our answer accepts; None when there is none. All others are to be rejected.

    Raises SDPSyntaxError, InvalidAccessError, or NotSupportedError for what asks for a new DTLS or SCTP association.
    """
    sections = Sections(session)
    _check_sections(session, sections, check_candidate, answer=False)
    for index, media in enumerate(session.media):
        if not media.is_data_channel or not sections.is_live(media) or media.sctp_port == 0:
            continue
        if policy is BundlePolicy.MAX_BUNDLE and index and not sections.are_bundled(media, session.media[0]):
            continue
        data = _read_data(session, sections, index)
        if agreed is not None:
            _check_continued(data, agreed)
            _check_role(data, agreed)
        return data
    return None


def read_answer(
    session: Session, check_candidate: CandidateCheck, offer: Session, agreed: Agreement | None
) -> DataSection | None:
    """The data section that the peer accepted; None when our offer had none, or the peer rejects it."""
    _check_matches(session, offer)
    sections = Sections(session)
    _check_sections(session, sections, check_candidate, answer=True)
    for index, (media, offered) in enumerate(zip(session.media, offer.media, strict=True)):
        if offered.rejected and sections.is_live(media):
            raise InvalidAccessError(f"{_name(media, index)} is accepted in the answer, but its offer was not live")
        if media.is_data_channel and sections.is_live(media) and media.sctp_port != 0:
            data = _read_data(session, sections, index)
            if agreed is not None:
                # A role that differs from the one in use is left alone: some answerers always write "active".
                _check_continued(data, agreed)
            return data
    return None


def _name(media: Media, index: int) -> str:
    return f"section {index} (m={media.kind}, mid {media.mid})" if media.mid else f"section {index} (m={media.kind})"


def _check_matches(answer: Session, offer: Session) -> None:
    """RFC 3264 section 6, RFC 9143 section 7.4."""
    if len(answer.media) != len(offer.media):
        raise InvalidAccessError(f"the answer has {len(answer.media)} sections, the offer {len(offer.media)}")
    for index, (media, offered) in enumerate(zip(answer.media, offer.media, strict=True)):
        for what, given, right in (
            ("kind", media.kind, offered.kind),
            ("protocol", media.protocol, offered.protocol),
            ("mid", media.mid, offered.mid),
        ):
            if given != right and given is not None:
                raise InvalidAccessError(f"section {index} of the answer has {what} {given!r}, the offer has {right!r}")
    bundled = {mid for group in offer.bundle_groups for mid in group.mids}
    for group in answer.bundle_groups:
        for mid in group.mids:
            if mid not in bundled:
                raise InvalidAccessError(f"the answer bundles mid {mid!r}, which the offer does not bundle")


def _check_sections(session: Session, sections: Sections, check_candidate: CandidateCheck, *, answer: bool) -> None:
    mids = {media.mid for media in session.media}
    for group in session.bundle_groups:
        for mid in group.mids:
            if mid not in mids:
                raise InvalidAccessError(f"mid {mid!r} is bundled, and no section has it")
    for index, media in enumerate(session.media):
        for candidate in media.candidates:
            check_candidate(candidate)
        if sections.is_live(media):
            _check_live(sections, media, _name(media, index), answer=answer)


def _check_live(sections: Sections, media: Media, name: str, *, answer: bool) -> None:
    """The features that nobody may go without (RFC 8829 sections 5.1.1 and 5.8.3)."""
    transport = sections.transport_of(media)
    if media.ice_mismatch:
        raise InvalidAccessError(f"{name} has ice-mismatch: addresses were changed on the way, so the peer does no ICE")
    if transport.ice_ufrag is None or transport.ice_pwd is None:
        raise InvalidAccessError(f"{name} has no ice-ufrag and ice-pwd")
    if not transport.fingerprints:
        raise InvalidAccessError(f"{name} has no fingerprint: only DTLS is spoken")
    if not strongest(_fingerprints(transport)):
        names = ", ".join(algorithm for algorithm, _ in transport.fingerprints)
        raise InvalidAccessError(f"{name} has fingerprints of {names} only; sha-256, sha-384 or sha-512 is needed")
    right = (Setup.ACTIVE, Setup.PASSIVE) if answer else (Setup.ACTPASS, Setup.ACTIVE, Setup.PASSIVE)
    if transport.setup not in right:
        given = "no setup" if transport.setup is None else f"setup {transport.setup.value}"
        raise InvalidAccessError(f"{name} has {given}; {', '.join(right)} can be")
    tagged = sections.tagged(media)
    if media.is_rtp and not media.rtcp_mux and not (tagged is not None and tagged.rtcp_mux):
        raise InvalidAccessError(f"{name} has no rtcp-mux, which the rtcp_mux_policy requires")
    if media.is_data_channel and media.sctp_port is None:
        raise InvalidAccessError(f"{name} has no sctp-port (RFC 8841 section 5.1)")


def _fingerprints(transport: TransportDescription) -> tuple[Fingerprint, ...]:
    return tuple(Fingerprint(algorithm, value) for algorithm, value in transport.fingerprints)


def _read_data(session: Session, sections: Sections, index: int) -> DataSection:
    media = session.media[index]
    transport = sections.transport_of(media)
    credentials = transport.ice_ufrag, transport.ice_pwd
    same = {index}
    for other_index, other in enumerate(session.media):
        if sections.are_bundled(media, other):
            theirs = sections.transport_of(other)
            if (theirs.ice_ufrag, theirs.ice_pwd) == credentials:
                same.add(other_index)
    return DataSection(
        index=index,
        mid=media.mid,
        sctp_port=media.sctp_port or 0,
        max_message_size=media.max_message_size,
        transport=transport,
        fingerprints=_fingerprints(transport),
        same_transport=frozenset(same),
    )


def _check_continued(new: DataSection, agreed: Agreement) -> None:
    """Whether the transport in use goes on (RFC 8829 section 5.8.3, RFC 8842 section 5.5)."""
    old = agreed.remote
    changed = [before != after for before, after in zip(old.credentials, new.credentials, strict=True)]
    if any(changed) and not all(changed):
        # RFC 8839 section 4.4.1.1.1: a restart changes both.
        raise InvalidAccessError(
            "of ice-ufrag and ice-pwd only one has changed; a restart changes both, else none does"
        )
    for what, is_other in (
        ("fingerprint", set(new.fingerprints).isdisjoint(old.fingerprints)),
        ("tls-id", old.transport.tls_id is not None and old.transport.tls_id != new.transport.tls_id),
    ):
        if is_other and not any(changed):
            raise InvalidAccessError(f"the {what} has changed, which needs an ICE restart (RFC 8842 section 6)")
        if is_other:
            raise NotSupportedError(
                f"the {what} has changed, which asks for a new DTLS association; a restart continues the one in use"
            )
    if new.sctp_port != agreed.remote.sctp_port:
        raise NotSupportedError(
            f"the sctp-port of the association in use is {agreed.remote.sctp_port}, and cannot become {new.sctp_port}"
        )


def _check_role(offered: DataSection, agreed: Agreement) -> None:
    """A later offer may be ``actpass``, or say the role that the peer has (RFC 8829 section 5.8.3)."""
    theirs = Setup.PASSIVE if agreed.dtls_role is DTLSRole.CLIENT else Setup.ACTIVE
    if offered.transport.setup not in (Setup.ACTPASS, theirs):
        raise InvalidAccessError(f"the offer has setup {offered.transport.setup}, and the peer's role is {theirs}")
