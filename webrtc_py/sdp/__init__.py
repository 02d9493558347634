"""The Session Description Protocol, and the attributes in which WebRTC's peers agree.

- The text and its objects: RFC 8866 (SDP), with RFC 3264 (offer and answer) and RFC 5888 (groups, mids): `parse`,
  `Session`, `Media`, `Attributes`.
- Their transport: RFC 8839 and 8840 (ICE), RFC 8122 and 8842 (fingerprints, setup, tls-id): `TransportDescription`.
- Their bundling: RFC 9143. Data channels: RFC 8841, and the drafts before it that old peers still write.
- Candidates that are sent apart from descriptions: RFC 8840 section 9, `Fragment`.
- What we write: RFC 8829 section 5, through the ``build_`` functions.

``parse(text)`` gives a `Session` or raises `SDPSyntaxError` with a line number; ``Session.serialize()`` gives the text
back. Attributes that nobody here reads stay in their place as text: the codecs, header extensions, streams and
simulcast of a media section among them. Candidates stay text too, which the ice package reads.
Identity assertions (RFC 8827 section 7) are not supported and not looked at.
"""

from .attributes import DEFAULT_MAX_MESSAGE_SIZE, Attribute, Attributes, Direction, Group, RemoteCandidate, Setup
from .build import (
    SCTP_PORT,
    add_group,
    build_data_section,
    build_rejected_section,
    build_session,
    set_default_destination,
)
from .fragment import MEDIA_TYPE, Fragment, FragmentSection, Trickled
from .lines import Bandwidth, Connection, Origin, Timing
from .session import MAX_MEDIA_SECTIONS, MAX_SIZE, Media, Session, parse
from .transport import TransportDescription

__all__ = [
    "DEFAULT_MAX_MESSAGE_SIZE",
    "MAX_MEDIA_SECTIONS",
    "MAX_SIZE",
    "MEDIA_TYPE",
    "SCTP_PORT",
    "Attribute",
    "Attributes",
    "Bandwidth",
    "Connection",
    "Direction",
    "Fragment",
    "FragmentSection",
    "Group",
    "Media",
    "Origin",
    "RemoteCandidate",
    "Session",
    "Setup",
    "Timing",
    "TransportDescription",
    "Trickled",
    "add_group",
    "build_data_section",
    "build_rejected_section",
    "build_session",
    "parse",
    "set_default_destination",
]
