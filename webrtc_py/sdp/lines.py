"""The values of ``o=``, ``c=``, ``b=`` and ``t=`` lines (RFC 8866 section 5), each with the text it is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import SDPSyntaxError
from . import grammar


class Origin(NamedTuple):
    """``o=``: who made the description, and its version (RFC 8866 section 5.2)."""

    username: str
    session_id: int
    session_version: int
    network_type: str = "IN"
    address_type: str = "IP4"
    address: str = "0.0.0.0"  # RFC 8829 section 5.2.1: an address would tell where we are, and nobody needs it

    @classmethod
    def parse(cls, value: str) -> Origin:
        parts = grammar.fields(value)
        grammar.count(parts, 6, 6, "<username> <session id> <version> <network> <address type> <address>")
        return cls(
            grammar.visible(parts[0], "username"),
            grammar.number(parts[1], "session id"),
            grammar.number(parts[2], "session version"),
            grammar.token(parts[3], "network type"),
            grammar.token(parts[4], "address type"),
            grammar.visible(parts[5], "address"),
        )

    def serialize(self) -> str:
        return " ".join(map(str, self))


class Connection(NamedTuple):
    """``c=``: where media is wanted when there is no ICE (RFC 8866 section 5.7)."""

    network_type: str = "IN"
    address_type: str = "IP4"
    address: str = "0.0.0.0"

    @classmethod
    def parse(cls, value: str) -> Connection:
        parts = grammar.fields(value)
        grammar.count(parts, 3, 3, "<network> <address type> <address>")
        return cls(
            grammar.token(parts[0], "network type"),
            grammar.token(parts[1], "address type"),
            grammar.visible(parts[2], "address"),
        )

    def serialize(self) -> str:
        return " ".join(self)


class Bandwidth(NamedTuple):
    """``b=``: ``AS`` in kilobits each second, ``TIAS``, ``RS`` and ``RR`` in bits (RFC 8866 section 5.8, RFC 3890)."""

    type: str
    value: int

    @classmethod
    def parse(cls, value: str) -> Bandwidth:
        kind, colon, amount = value.partition(":")
        if not colon:
            raise SDPSyntaxError(f"expected <type>:<bandwidth>, got {grammar.quoted(value)}")
        return cls(grammar.token(kind, "bandwidth type"), grammar.number(amount.strip(" "), "bandwidth"))

    def serialize(self) -> str:
        return f"{self.type}:{self.value}"


@dataclass(slots=True)
class Timing:
    """``t=`` in seconds since 1900, with its ``r=`` and ``z=`` lines as text (RFC 8866 sections 5.9 to 5.11)."""

    start: int = 0
    stop: int = 0
    repeats: list[str] = field(default_factory=list)
    zones: str | None = None

    @classmethod
    def parse(cls, value: str) -> Timing:
        parts = grammar.fields(value)
        grammar.count(parts, 2, 2, "<start> <stop>")
        return cls(grammar.number(parts[0], "start time"), grammar.number(parts[1], "stop time"))

    def serialize(self) -> str:
        return f"{self.start} {self.stop}"
