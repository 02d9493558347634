"""Which sections of a description are in use, and which of them share a transport (RFC 9143)."""

from __future__ import annotations

from dataclasses import dataclass

from ..sdp import Media, Session, TransportDescription


@dataclass(frozen=True, slots=True)
class _Bundle:
    tagged: Media
    """The section that the group names first."""
    transport: TransportDescription | None
    """What the first section with credentials of its own says, which holds for those that have none."""


class Sections:
    """Worked out once for a description: a peer may write a thousand sections, and bundle them all."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bundles: dict[str | None, _Bundle] = {}
        named = {media.mid: media for media in session.media}
        for group in session.bundle_groups:
            members = [named[mid] for mid in group.mids if mid in named]
            if members:
                own = next((media for media in members if media.ice_ufrag is not None), None)
                bundle = _Bundle(members[0], None if own is None else TransportDescription.read(session, own))
                self._bundles.update((media.mid, bundle) for media in members)

    def is_live(self, media: Media) -> bool:
        """Whether a section is in use: not with port 0, unless it is bundle-only in a group (RFC 9143 section 7.2)."""
        return media.port != 0 or (media.bundle_only and media.mid in self._bundles)

    def are_bundled(self, one: Media, other: Media) -> bool:
        """Whether both are in one BUNDLE group."""
        bundle = self._bundles.get(one.mid)
        return bundle is not None and bundle is self._bundles.get(other.mid)

    def tagged(self, media: Media) -> Media | None:
        """The section that the group of this one names first; None when it is in no group."""
        bundle = self._bundles.get(media.mid)
        return None if bundle is None else bundle.tagged

    def transport_of(self, media: Media) -> TransportDescription:
        """A section's own transport, or that of the section it is bundled into (RFC 9143 section 7.1.3)."""
        bundle = self._bundles.get(media.mid)
        if bundle is None or bundle.transport is None or media.ice_ufrag is not None or self._session.ice_ufrag:
            return TransportDescription.read(self._session, media)
        return bundle.transport
