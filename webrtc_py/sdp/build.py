"""The parts of a description that JSEP writes (RFC 8829 sections 5.2 and 5.3)."""

from __future__ import annotations

from collections.abc import Iterable

from .attributes import Group
from .lines import Connection, Origin
from .session import DATA_FORMAT, LEGACY_DATA_PROTOCOL, Media, Session
from .transport import TransportDescription

SCTP_PORT = 5000
"""The port that every implementation uses inside its DTLS connection; it has no meaning beyond being there."""

# RFC 8840 section 4.1.1: what stands for the default candidate while there is none.
_NO_PORT = 9
# The drafts' form has a number of streams, which nobody reads: SCTP negotiates its own.
_LEGACY_STREAMS = 65535


def build_session(
    session_id: int, session_version: int, *, ice_options: Iterable[str] = (), ice_lite: bool = False
) -> Session:
    """The session part of RFC 8829 section 5.2.1, without sections.

    ``session_id`` is random and less than 2**62 (RFC 8866 section 5.2 wants it unique), ``session_version`` counts the
    descriptions. Offers name the ICE options "trickle" and "ice2"; answers those of them that the offer has.
    ``ice_lite`` says that our agent makes no checks (RFC 8839 section 5.3).
    """
    if not 0 <= session_id < 1 << 62:
        raise ValueError(f"session_id {session_id} is not between 0 and 2**62")
    session = Session(Origin("-", session_id, session_version))
    if ice_lite:
        session.attributes.add("ice-lite")
    if options := " ".join(ice_options):
        session.attributes.add("ice-options", options)
    return session


def add_group(session: Session, semantics: str, mids: Iterable[str]) -> None:
    """Appends ``a=group``, unless there is nothing to group (RFC 5888 section 5)."""
    if members := tuple(mids):
        session.attributes.add("group", Group(semantics, members).serialize())


def build_data_section(
    mid: str | None,
    *,
    max_message_size: int,
    transport: TransportDescription | None,
    sctp_port: int = SCTP_PORT,
    bundle_only: bool = False,
    protocol: str = "UDP/DTLS/SCTP",
) -> Media:
    """The section of the data channels (RFC 8841, RFC 8829 section 5.2.1).

    ``mid`` is None in the answer to a section that has none (RFC 8829 section 5.3.1). ``max_message_size`` is in bytes,
    0 for any. ``transport`` is None in a section that is bundled into another, which carries no transport attributes of
    its own; ``bundle_only`` sections have none either, and port 0. ``protocol`` repeats the offer's in an answer
    (RFC 8841 section 10.3).
    """
    legacy = protocol == LEGACY_DATA_PROTOCOL
    media = Media("application", _NO_PORT, protocol, [str(sctp_port) if legacy else DATA_FORMAT])
    media.connections.append(Connection())
    if mid is not None:
        media.attributes.add("mid", mid)
    if legacy:
        media.attributes.add("sctpmap", f"{sctp_port} {DATA_FORMAT} {_LEGACY_STREAMS}")
    else:
        media.attributes.add("sctp-port", str(sctp_port))
    media.attributes.add("max-message-size", str(max_message_size))
    if bundle_only:
        media.port = 0
        media.attributes.add("bundle-only")
    elif transport is not None:
        transport.write(media)
    return media


def build_rejected_section(section: Media) -> Media:
    """The refusal of a section, of whatever kind: port 0 and nothing but its mid (RFC 3264 section 6).

    The formats of a refused section have no meaning, but one must stand there. For RTP it is 0, a payload type that
    needs no ``a=rtpmap``: some peers look for the one of any other.
    """
    media = Media(section.kind, 0, section.protocol, ["0"] if section.is_rtp else list(section.formats))
    media.connections.append(Connection())
    if section.mid is not None:
        media.attributes.add("mid", section.mid)
    media.attributes.add("inactive")
    return media


def set_default_destination(media: Media, address: str, port: int) -> None:
    """Puts the default candidate into the ``m=`` and ``c=`` lines (RFC 8839 section 4.2.1.2)."""
    media.port = port
    media.connections = [Connection("IN", "IP6" if ":" in address else "IP4", address)]
