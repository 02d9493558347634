"""Writes offers (RFC 8829 section 5.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..sdp import Media, Session, Setup, add_group, build_data_section, build_rejected_section, build_session
from .description import LocalTransport


@dataclass(frozen=True, slots=True)
class Author:
    """What stands the same in all our descriptions. ``session_id`` is random and less than 2**62."""

    session_id: int
    max_message_size: int
    renomination: bool = False
    """Whether we can be the one that nominates again, or the one that is told so."""
    ice_lite: bool = False

    @property
    def ice_options(self) -> tuple[str, ...]:
        """RFC 8829 section 5.2.1. Browsers leave ``ice2`` out; nobody minds that it is there."""
        return ("trickle", "ice2", "renomination") if self.renomination else ("trickle", "ice2")


@dataclass(frozen=True, slots=True)
class KnownSection:
    """A section of the session as it stands, which every later offer must have at the same place."""

    media: Media
    live: bool


def build_offer(
    author: Author,
    known: Sequence[KnownSection],
    transport: LocalTransport,
    *,
    data: bool,
    used_mids: Collection[str],
) -> Session:
    """An offer of version 0 with a data section when ``data`` asks for one, or the session has one.

    A section that is not live stays rejected in its place, or is used again for the new data section (RFC 8829
    section 5.2.2). All live sections are in one BUNDLE group.
    """
    session = build_session(author.session_id, 0, ice_options=author.ice_options, ice_lite=author.ice_lite)

    def data_section(mid: str) -> Media:
        description = transport.describe(Setup.ACTPASS)
        media = build_data_section(mid, max_message_size=author.max_message_size, transport=description)
        transport.write_destination(media)
        return media

    wanted = data and not any(section.live for section in known)
    for section in known:
        if section.live:
            session.media.append(data_section(section.media.mid or new_mid(used_mids)))
        elif wanted and section.media.kind == "application":
            session.media.append(data_section(new_mid(used_mids)))
            wanted = False
        else:
            session.media.append(build_rejected_section(section.media))
    if wanted:
        session.media.append(data_section(new_mid(used_mids)))
    add_group(session, "BUNDLE", (media.mid for media in session.media if media.port and media.mid is not None))
    return session


def new_mid(used: Collection[str]) -> str:
    """A short one that tells nothing of us: the first number that no section ever had (RFC 8829 section 5.2.1)."""
    number = 0
    while str(number) in used:
        number += 1
    return str(number)
