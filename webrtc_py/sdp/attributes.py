"""Attributes (``a=`` lines): an ordered list that loses nothing, and readers for those whose meaning WebRTC needs.

One that is not known here is kept as text: RFC 8866 section 5.13 wants it ignored, and a layer above may know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from ..errors import SDPSyntaxError
from . import grammar

DEFAULT_MAX_MESSAGE_SIZE = 65536
"""What a peer takes that names no ``max-message-size`` (RFC 8841 section 6.1)."""


T = TypeVar("T")


class Attribute(NamedTuple):
    """``a=name:value``, or ``a=name`` when ``value`` is None."""

    name: str
    value: str | None = None


class Attributes:
    """The attributes of the session part or of one media section, in their order, found by name in constant time."""

    __slots__ = ("_lines", "_read", "_values")

    def __init__(self, lines: Iterable[tuple[str, str | None]] = ()) -> None:
        self._lines: list[Attribute] = []
        self._values: dict[str, list[str | None]] = {}
        self._read: dict[str, tuple[Any, ...]] = {}  # by name, what `read` made of the values
        for name, value in lines:
            self.add(name, value)

    def add(self, name: str, value: str | None = None) -> Attribute:
        """Appends ``a=name:value``, or ``a=name`` without a value. SDPSyntaxError when it would not make one line."""
        grammar.token(name, "attribute name")
        if value is not None:
            grammar.line_text(value, f"value of a={name}")
        added = Attribute(name, value)
        self._lines.append(added)
        self._values.setdefault(name, []).append(value)
        self._read.pop(name, None)
        return added

    def without(self, *names: str) -> Attributes:
        """A copy that has none of these names."""
        return Attributes(line for line in self._lines if line.name not in names)

    def get(self, name: str) -> str | None:
        """The first value given to the name; None when the attribute is absent or is a flag."""
        values = self._values.get(name)
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """Every value given to the name, in order."""
        return [value for value in self._values.get(name, ()) if value is not None]

    def read(self, name: str, reader: Callable[[str], T]) -> tuple[T, ...]:
        """Every value of the name as the reader understands it, in order.

        Each is read once: what is asked of hundreds of sections is asked of the same session part again and again.
        """
        values = self._read.get(name)
        if values is None:
            values = self._read[name] = tuple(map(reader, self.get_all(name)))
        return values

    def read_first(self, name: str, reader: Callable[[str], T]) -> T | None:
        """The first value of the name as the reader understands it; None when there is none."""
        values = self.read(name, reader)
        return values[0] if values else None

    def lines(self) -> Iterator[str]:
        """The text of each, without the line's end."""
        return (f"a={name}" if value is None else f"a={name}:{value}" for name, value in self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return self._lines == other._lines if isinstance(other, Attributes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        # A description is logged sooner or later, and passwords must not be.
        shown = ((name, "..." if name == "ice-pwd" else value) for name, value in self._lines)
        return f"Attributes({list(shown)!r})"


class Direction(StrEnum):
    """Who sends media, seen from the description's author (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Setup(StrEnum):
    """Who opens the DTLS connection: the active end is the client (RFC 4145 section 4, RFC 8842 section 5.1).

    HOLDCONN is understood so that it can be refused with a reason: DTLS does not allow it.
    """

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


class Group(NamedTuple):
    """``a=group:<semantics> <mid> ...`` (RFC 5888 section 5). ``BUNDLE``'s first mid is the BUNDLE-tag (RFC 9143)."""

    semantics: str
    mids: tuple[str, ...]

    @classmethod
    def parse(cls, value: str) -> Group:
        parts = grammar.fields(value)
        grammar.count(parts, 1, None, "semantics and mids")
        return cls(grammar.token(parts[0], "group semantics"), tuple(grammar.token(mid, "mid") for mid in parts[1:]))

    def serialize(self) -> str:
        return " ".join((self.semantics, *self.mids))


class RemoteCandidate(NamedTuple):
    """One part of ``a=remote-candidates``: what the offerer selected on the answerer's side (RFC 8839 section 5.2)."""

    component: int
    address: str
    port: int


# RFC 8839 section 5.4: letters, digits, "+" and "/". Browsers take four more that older peers are known to send.
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/\-=#_]+")
_TLS_ID = re.compile(r"[A-Za-z0-9+/\-_]{20,255}")
# Every section inherits these from the session part, so what they cost multiplies with the number of sections.
_INHERITED_LISTS = frozenset(("fingerprint", "ice-options"))
_MOST_INHERITED = 16
# No hash function in use has more than 64 bytes.
_FINGERPRINT = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){0,127}")


def _credential(value: str, what: str, least: int) -> str:
    if not least <= len(value) <= 256:
        raise SDPSyntaxError(f"{what} has {len(value)} characters; {least} to 256 are right")
    if not _ICE_CHARS.fullmatch(value):
        raise SDPSyntaxError(f"{what} has a character other than letters, digits, '+' and '/'")
    return value


def read_mid(value: str) -> str:
    return grammar.token(value, "mid")


def read_ice_ufrag(value: str) -> str:
    return _credential(value, "ice-ufrag", 4)


def read_ice_pwd(value: str) -> str:
    return _credential(value, "ice-pwd", 22)


def read_ice_options(value: str) -> frozenset[str]:
    options = grammar.fields(value)
    grammar.count(options, 1, _MOST_INHERITED, f"1 to {_MOST_INHERITED} ICE options")
    return frozenset(grammar.visible(option, "ICE option") for option in options)


def read_fingerprint(value: str) -> tuple[str, str]:
    """Hash function in lower case and digits in upper case, however they were written (RFC 8122 section 5)."""
    parts = grammar.fields(value)
    grammar.count(parts, 2, 2, "a hash function and a fingerprint")
    algorithm, digits = grammar.token(parts[0], "hash function").lower(), parts[1].upper()
    if not _FINGERPRINT.fullmatch(digits):
        raise SDPSyntaxError(f"fingerprint {grammar.quoted(parts[1])} is not pairs of hex digits between colons")
    return algorithm, digits


def read_setup(value: str) -> Setup:
    try:
        return Setup(value.lower())
    except ValueError:
        right = ", ".join(Setup)
        raise SDPSyntaxError(f"setup {grammar.quoted(value)} is not one of {right}") from None


def read_tls_id(value: str) -> str:
    """RFC 8842 section 4."""
    if not _TLS_ID.fullmatch(value):
        raise SDPSyntaxError(f"tls-id {grammar.quoted(value)} is not 20 to 255 letters, digits, '+', '/', '-' and '_'")
    return value


def read_sctp_port(value: str) -> int:
    """RFC 8841 section 5.2."""
    return grammar.number(value, "sctp-port", 65535)


def read_max_message_size(value: str) -> int:
    """RFC 8841 section 6.2: bytes; 0 is any size."""
    return grammar.number(value, "max-message-size")


def read_remote_candidates(value: str) -> list[RemoteCandidate]:
    parts = grammar.fields(value)
    if not parts or len(parts) % 3:
        raise SDPSyntaxError("remote-candidates are triples of component, address and port")
    return [
        RemoteCandidate(
            grammar.number(component, "component", 256),
            grammar.visible(address, "address"),
            grammar.number(port, "port", 65535),
        )
        for component, address, port in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]


_READERS: dict[str, Callable[[str], object]] = {
    "mid": read_mid,
    "group": Group.parse,
    "ice-ufrag": read_ice_ufrag,
    "ice-pwd": read_ice_pwd,
    "ice-options": read_ice_options,
    "fingerprint": read_fingerprint,
    "setup": read_setup,
    "tls-id": read_tls_id,
    "sctp-port": read_sctp_port,
    "max-message-size": read_max_message_size,
    "remote-candidates": read_remote_candidates,
}
_ONCE = frozenset(("mid", "ice-ufrag", "ice-pwd", "setup", "tls-id", "sctp-port", "max-message-size"))
_DIRECTIONS: tuple[str, ...] = tuple(Direction)


def add_checked(attributes: Attributes, line: str) -> Attribute:
    """Appends what an ``a=`` line says, and returns it, once the readers above find its value right.

    RFC 8829 section 5.8: a line that cannot be understood makes the description invalid, even if nobody asks for its
    value. An attribute that may stand once and stands twice with different values is as ambiguous.
    """
    name, colon, text = line.partition(":")
    name, value = name.rstrip(" "), text if colon else None
    if reader := _READERS.get(name):
        if value is None:
            raise SDPSyntaxError(f"a={name} needs a value")
        value = value.strip(" ")
        reader(value)
    if name in _ONCE and name in attributes and attributes.get(name) != value:
        raise SDPSyntaxError(f"a={name} is there already with another value")
    if name in _DIRECTIONS and any(other != name and other in attributes for other in _DIRECTIONS):
        raise SDPSyntaxError(f"a={name} contradicts the direction that is there already")
    if name in _INHERITED_LISTS and len(attributes.get_all(name)) == _MOST_INHERITED:
        raise SDPSyntaxError(f"more than {_MOST_INHERITED} a={name} lines")
    return attributes.add(name, value)
