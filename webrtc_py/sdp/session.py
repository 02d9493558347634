"""A session description as objects: the session part, its media sections, and the text of both (RFC 8866).

The grammar, without the rules below the line level::

    session:  v=0                                   media:  m=<kind> <port>[/<count>] <protocol> <format> ...
              o=<username> <id> <version> <addr>            i=<information>              [optional]
              s=<name>                                      c=<connection>               [any number]
              i=<information>          [optional]           b=<type>:<bandwidth>         [any number]
              u=<uri>                  [optional]           k=<key>                      [optional]
              e=<email>  p=<phone>     [any number]         a=<name>[:<value>]           [any number]
              c=<connection>           [optional]
              b=<type>:<bandwidth>     [any number]
              t=<start> <stop>  r=...  z=...  [once or more]
              k=<key>                  [optional]
              a=<name>[:<value>]       [any number]
              <media sections>         [any number]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from ..errors import SDPSyntaxError
from . import attributes as attribute
from . import grammar
from .attributes import Attributes, Direction, Group, RemoteCandidate, Setup
from .lines import Bandwidth, Connection, Origin, Timing

# Characters. A browser's offer of audio, video and data has 7 thousand, so there is room for a large conference.
MAX_SIZE = 1 << 20
# Each section costs work and memory in the layers above. A conference takes two for each participant.
MAX_MEDIA_SECTIONS = 1024

_LINE_TYPES = "vosiuepcbtrzkam"
_TIME_UNITS = frozenset("dhms")

_DATA_PROTOCOLS = frozenset(("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"))
LEGACY_DATA_PROTOCOL = "DTLS/SCTP"
"""Drafts before RFC 8841: the SCTP port stands as the format, and ``a=sctpmap`` names the application."""
DATA_FORMAT = "webrtc-datachannel"


@dataclass(slots=True)
class _Part:
    """What the session part and a media section have in common. The properties give this part's own values: what a
    media section inherits from the session part is known to `Session` and to `TransportDescription.read`."""

    information: str | None = field(default=None, kw_only=True)
    bandwidths: list[Bandwidth] = field(default_factory=list, kw_only=True)
    key: str | None = field(default=None, kw_only=True)
    attributes: Attributes = field(default_factory=Attributes, kw_only=True)

    @property
    def ice_ufrag(self) -> str | None:
        return self.attributes.read_first("ice-ufrag", attribute.read_ice_ufrag)

    @property
    def ice_pwd(self) -> str | None:
        return self.attributes.read_first("ice-pwd", attribute.read_ice_pwd)

    @property
    def ice_options(self) -> frozenset[str]:
        """``trickle``, ``ice2``, ``renomination``, ... (RFC 8839 section 5.6)."""
        return frozenset(chain.from_iterable(self.attributes.read("ice-options", attribute.read_ice_options)))

    @property
    def fingerprints(self) -> tuple[tuple[str, str], ...]:
        """Pairs of hash function ("sha-256") and digest ("AB:CD:..."). Which are good enough, the dtls package says."""
        return self.attributes.read("fingerprint", attribute.read_fingerprint)

    @property
    def setup(self) -> Setup | None:
        return self.attributes.read_first("setup", attribute.read_setup)

    @property
    def tls_id(self) -> str | None:
        return self.attributes.read_first("tls-id", attribute.read_tls_id)

    @property
    def direction(self) -> Direction | None:
        return next((direction for direction in Direction if direction in self.attributes), None)

    @property
    def end_of_candidates(self) -> bool:
        """RFC 8840 section 8.2: no candidates will follow those in the description."""
        return "end-of-candidates" in self.attributes


@dataclass(slots=True)
class Media(_Part):
    """A media section: the ``m=`` line and what follows it up to the next (RFC 8866 section 5.14)."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    port_count: int = 1
    connections: list[Connection] = field(default_factory=list)

    @property
    def mid(self) -> str | None:
        return self.attributes.read_first("mid", attribute.read_mid)

    @property
    def bundle_only(self) -> bool:
        """To be accepted only inside its BUNDLE group (RFC 9143 section 6)."""
        return "bundle-only" in self.attributes

    @property
    def rejected(self) -> bool:
        """Port 0, which disables a section (RFC 3264 section 6) unless it is bundle-only (RFC 9143 section 7.2)."""
        return self.port == 0 and not self.bundle_only

    @property
    def candidates(self) -> tuple[str, ...]:
        """ICE candidates in W3C's spelling, ``candidate:...``; the ice package reads what is in them."""
        return tuple(f"candidate:{value}" for value in self.attributes.get_all("candidate"))

    @property
    def remote_candidates(self) -> tuple[RemoteCandidate, ...]:
        return tuple(chain.from_iterable(self.attributes.read("remote-candidates", attribute.read_remote_candidates)))

    @property
    def ice_mismatch(self) -> bool:
        """The peer saw that something on the way changed the addresses, and does no ICE here (RFC 8839 section 5.3)."""
        return "ice-mismatch" in self.attributes

    @property
    def is_rtp(self) -> bool:
        return "RTP" in self.protocol.split("/")

    @property
    def rtcp_mux(self) -> bool:
        return "rtcp-mux" in self.attributes

    @property
    def rtcp_rsize(self) -> bool:
        return "rtcp-rsize" in self.attributes

    @property
    def is_data_channel(self) -> bool:
        """SCTP over DTLS that carries data channels, in the spelling of RFC 8841 or of the drafts before it."""
        if self.kind != "application":
            return False
        if self.protocol == LEGACY_DATA_PROTOCOL:
            maps = (grammar.fields(value) for value in self.attributes.get_all("sctpmap"))
            return any(parts[:2] == [self.formats[0], DATA_FORMAT] for parts in maps)
        return self.protocol in _DATA_PROTOCOLS and self.formats == [DATA_FORMAT]

    @property
    def sctp_port(self) -> int | None:
        """None when it is missing, which makes the section invalid (RFC 8841 section 5.1); 0 refuses SCTP."""
        if self.protocol == LEGACY_DATA_PROTOCOL:
            return attribute.read_sctp_port(self.formats[0])
        return self.attributes.read_first("sctp-port", attribute.read_sctp_port)

    @property
    def max_message_size(self) -> int:
        """The largest message, in bytes, that the description's author takes; 0 is any (RFC 8841 section 6.1)."""
        size = self.attributes.read_first("max-message-size", attribute.read_max_message_size)
        return attribute.DEFAULT_MAX_MESSAGE_SIZE if size is None else size

    def _lines(self) -> Iterator[str]:
        port = str(self.port) if self.port_count == 1 else f"{self.port}/{self.port_count}"
        yield " ".join((f"m={self.kind}", port, self.protocol, *self.formats))
        yield from _optional("i", self.information)
        yield from (f"c={connection.serialize()}" for connection in self.connections)
        yield from (f"b={bandwidth.serialize()}" for bandwidth in self.bandwidths)
        yield from _optional("k", self.key)
        yield from self.attributes.lines()


@dataclass(slots=True)
class Session(_Part):
    """A whole description: the session part and its media sections in order. ``parse`` makes one from text."""

    origin: Origin
    name: str = "-"
    uri: str | None = None
    emails: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    connection: Connection | None = None
    timings: list[Timing] = field(default_factory=lambda: [Timing()])
    media: list[Media] = field(default_factory=list)

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.attributes.read("group", Group.parse)

    @property
    def bundle_groups(self) -> tuple[Group, ...]:
        """The BUNDLE groups; each section is in one at most (RFC 9143 section 7.1)."""
        return tuple(group for group in self.groups if group.semantics == "BUNDLE")

    @property
    def ice_lite(self) -> bool:
        """RFC 8839 section 5.3; has no meaning but in the session part."""
        return "ice-lite" in self.attributes

    def find_media(self, mid: str) -> Media | None:
        return next((media for media in self.media if media.mid == mid), None)

    def direction_of(self, media: Media) -> Direction:
        """The section's direction, else the session part's, else sendrecv (RFC 8866 section 6.7)."""
        return media.direction or self.direction or Direction.SENDRECV

    def serialize(self) -> str:
        """The text, with CRLF, lines in the order of RFC 8866 and attributes in their own."""
        lines = chain(self._lines(), *(media._lines() for media in self.media))
        return "".join(f"{line}\r\n" for line in lines)

    def _lines(self) -> Iterator[str]:
        yield "v=0"
        yield f"o={self.origin.serialize()}"
        yield f"s={self.name}"
        yield from _optional("i", self.information)
        yield from _optional("u", self.uri)
        yield from (f"e={email}" for email in self.emails)
        yield from (f"p={phone}" for phone in self.phones)
        yield from _optional("c", self.connection and self.connection.serialize())
        yield from (f"b={bandwidth.serialize()}" for bandwidth in self.bandwidths)
        for timing in self.timings:
            yield f"t={timing.serialize()}"
            yield from (f"r={repeat}" for repeat in timing.repeats)
            yield from _optional("z", timing.zones)
        yield from _optional("k", self.key)
        yield from self.attributes.lines()


def _optional(line_type: str, value: str | None) -> Iterator[str]:
    if value is not None:
        yield f"{line_type}={value}"


def parse(text: str) -> Session:
    """The description that the text holds. Lines end in CRLF or LF.

    Raises SDPSyntaxError with the number of the line at fault, for whatever text that is not a description.
    """
    if len(text) > MAX_SIZE:
        raise SDPSyntaxError(f"a description of {len(text)} characters; {MAX_SIZE} are the most")
    reader = _LineReader(text)
    try:
        return _parse_session(reader)
    except SDPSyntaxError as error:
        raise SDPSyntaxError(str(error), reader.line) from None


class _LineReader:
    """Walks the lines. ``line`` is the number, from 1, of the last line that was looked at."""

    def __init__(self, text: str) -> None:
        text = text.rstrip("\r\n")
        self._lines = [line.removesuffix("\r") for line in text.split("\n")] if text else []
        self._taken = 0
        self.line = 1

    def peek(self) -> str | None:
        """The type of the next line: a letter; None at the end."""
        if self._taken == len(self._lines):
            return None
        self.line = self._taken + 1
        line = self._lines[self._taken]
        if line[1:2] != "=" or line[0] not in _LINE_TYPES:
            raise SDPSyntaxError(f"{grammar.quoted(line)} is not <type>=<value> with a type among {_LINE_TYPES}")
        return line[0]

    def take(self) -> str:
        """The value of the line that was peeked at."""
        value = self._lines[self._taken][2:]
        self._taken += 1
        return grammar.line_text(value, "line")

    def optional(self, line_type: str) -> str | None:
        return self.take() if self.peek() == line_type else None

    def required(self, line_type: str) -> str:
        found = self.peek()
        if found is None:
            raise SDPSyntaxError(f"the description ends where its {line_type}= line should be")
        if found != line_type:
            raise SDPSyntaxError(f"expected the {line_type}= line, got {found}=")
        return self.take()

    def every(self, line_type: str) -> Iterator[str]:
        while self.peek() == line_type:
            yield self.take()


def _parse_session(reader: _LineReader) -> Session:
    """The session part's lines come in one order only (RFC 8866 section 5)."""
    if (version := reader.required("v")) != "0":
        raise SDPSyntaxError(f"SDP version {grammar.quoted(version)}, 0 is the only one")
    session = Session(Origin.parse(reader.required("o")), reader.required("s"))
    session.information = reader.optional("i")
    session.uri = reader.optional("u")
    session.emails = list(reader.every("e"))
    session.phones = list(reader.every("p"))
    if (connection := reader.optional("c")) is not None:
        session.connection = Connection.parse(connection)
    session.bandwidths = [Bandwidth.parse(value) for value in reader.every("b")]
    session.timings = [_parse_timing(reader, reader.required("t"))]
    session.timings += [_parse_timing(reader, value) for value in reader.every("t")]
    session.key = reader.optional("k")
    bundled: set[str] = set()
    for value in reader.every("a"):
        added = attribute.add_checked(session.attributes, value)
        if added.name == "group":
            _check_bundled_once(Group.parse(added.value or ""), bundled)
    mids: dict[str, Media] = {}
    while reader.peek() is not None:
        if len(session.media) == MAX_MEDIA_SECTIONS:
            raise SDPSyntaxError(f"more than {MAX_MEDIA_SECTIONS} media sections")
        session.media.append(_parse_media(reader, mids))
    return session


def _check_bundled_once(group: Group, bundled: set[str]) -> None:
    """RFC 9143 section 7.1: a section is in one BUNDLE group at most."""
    if group.semantics != "BUNDLE":
        return
    for mid in group.mids:
        if mid in bundled:
            raise SDPSyntaxError(f"mid {grammar.quoted(mid)} is bundled twice")
        bundled.add(mid)


def _parse_timing(reader: _LineReader, value: str) -> Timing:
    timing = Timing.parse(value)
    for repeat in reader.every("r"):
        parts = grammar.fields(repeat)
        grammar.count(parts, 3, None, "<interval> <duration> <offset> ...")
        _check_typed_times(parts)
        timing.repeats.append(repeat)
    timing.zones = reader.optional("z")
    if timing.zones is not None:
        parts = grammar.fields(timing.zones)
        if not parts or len(parts) % 2:
            raise SDPSyntaxError("time zones are pairs of a time and an offset")
        _check_typed_times([part.removeprefix("-") for part in parts])
    return timing


def _check_typed_times(parts: list[str]) -> None:
    for part in parts:
        grammar.number(part[:-1] if part[-1:] in _TIME_UNITS else part, "time")


def _parse_media(reader: _LineReader, mids: dict[str, Media]) -> Media:
    """A media section. ``mids`` are the sections so far that have one: it is unique (RFC 5888 section 4).

    The grammar orders the lines of a section too, but peers in the field mix them, and no two readings are possible.
    """
    media = _parse_media_line(reader.required("m"))
    while (line_type := reader.peek()) not in (None, "m"):
        value = reader.take()
        match line_type:
            case "a":
                added = attribute.add_checked(media.attributes, value)
                if added.name == "mid" and mids.setdefault(added.value or "", media) is not media:
                    raise SDPSyntaxError(f"mid {grammar.quoted(added.value or '')} names another section already")
            case "c":
                media.connections.append(Connection.parse(value))
            case "b":
                media.bandwidths.append(Bandwidth.parse(value))
            case "i" if media.information is None:
                media.information = value
            case "k" if media.key is None:
                media.key = value
            case _:
                raise SDPSyntaxError(f"a {line_type}= line is out of place in a media section")
    return media


def _parse_media_line(value: str) -> Media:
    parts = grammar.fields(value)
    grammar.count(parts, 4, None, "<kind> <port> <protocol> <format> ...")
    kind, port, protocol, *formats = parts
    port, slash, port_count = port.partition("/")
    media = Media(
        grammar.token(kind, "media kind"),
        grammar.number(port, "port", 65535),
        grammar.protocol(protocol),
        [grammar.token(each, "media format") for each in formats],
        grammar.number(port_count, "number of ports", 65535) if slash else 1,
    )
    if media.protocol == LEGACY_DATA_PROTOCOL:
        attribute.read_sctp_port(formats[0])
    return media
