"""Writes answers (RFC 8829 section 5.3)."""

from __future__ import annotations

from ..sdp import Session, Setup, add_group, build_data_section, build_rejected_section, build_session
from ..states import DTLSRole
from .description import LocalTransport
from .offer import Author
from .remote import DataSection


def build_answer(
    author: Author,
    offer: Session,
    accepted: DataSection | None,
    transport: LocalTransport,
    dtls_role: DTLSRole,
) -> Session:
    """An answer of version 0 to ``offer``: the accepted section with our transport, all others rejected in their place.

    When the section that the peer tagged for its BUNDLE group is rejected, the accepted one becomes the tagged one and
    carries the transport (RFC 9143 section 7.3.1).
    """
    offered = offer.ice_options.union(*(media.ice_options for media in offer.media))
    options = [option for option in author.ice_options if option in offered]
    session = build_session(author.session_id, 0, ice_options=options, ice_lite=author.ice_lite)
    description = transport.describe(Setup.ACTIVE if dtls_role is DTLSRole.CLIENT else Setup.PASSIVE)
    for index, section in enumerate(offer.media):
        if accepted is None or index != accepted.index:
            session.media.append(build_rejected_section(section))
            continue
        media = build_data_section(
            section.mid, max_message_size=author.max_message_size, transport=description, protocol=section.protocol
        )
        transport.write_destination(media)
        session.media.append(media)
    if accepted is not None and any(accepted.mid in group.mids for group in offer.bundle_groups):
        add_group(session, "BUNDLE", [accepted.mid] if accepted.mid else [])
    return session


def answering_role(offer: DataSection, preferred: DTLSRole | None, current: DTLSRole | None) -> DTLSRole:
    """Ours in the DTLS connection: the one in use, else what the offer leaves (RFC 8842 section 5.3).

    To ``actpass`` the answerer is active, unless it prefers not to be.
    """
    if current is not None:
        return current
    if offer.transport.setup is Setup.ACTIVE:
        return DTLSRole.SERVER
    if offer.transport.setup is Setup.PASSIVE:
        return DTLSRole.CLIENT
    return preferred or DTLSRole.CLIENT
