"""URLs of STUN and TURN servers (RFC 7064, RFC 7065)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from ..errors import URLSyntaxError

# A host name in RFC 3986's alphabet, or an IPv6 address in brackets; no "//", user, path or fragment.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+):"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]*)\]|(?P<host>[A-Za-z0-9\-._~%!$&'()*+,;=]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?(?P<query>.*))?"
)
TURN_PROTOCOLS = ("udp", "dtls", "tcp", "tls")
"""What may be spoken on the way to a TURN server."""
_DEFAULT_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}


@dataclass(frozen=True, slots=True)
class ServerURL:
    """One server: ``scheme`` is stun, stuns, turn or turns; ``transport``, udp or tcp, is the way to the server."""

    scheme: str
    host: str
    """A name or a numeric address, an IPv6 one without brackets."""
    port: int
    transport: str
    username: str = ""
    password: str = field(default="", repr=False)
    """With ``username``, for a TURN server. A URL's text never holds them."""
    port_given: bool = field(default=True, compare=False, repr=False)
    """Without one in the URL, SRV records may say another than ``port`` (RFC 5928 section 3, RFC 8489 section 8.1)."""

    @property
    def is_turn(self) -> bool:
        return self.scheme in ("turn", "turns")

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("stuns", "turns")

    @property
    def protocol(self) -> str:
        """What is spoken on the way to the server: ``udp``, ``dtls``, ``tcp`` or ``tls``."""
        if self.is_secure:
            return "tls" if self.transport == "tcp" else "dtls"
        return self.transport

    @property
    def srv_service(self) -> str:
        """The front of the name that SRV records have for it (RFC 5928 section 5, RFC 7350 section 4.6)."""
        return f"_{self.scheme}._{self.transport}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?transport={self.transport}" if self.is_turn else ""
        return f"{self.scheme}:{host}:{self.port}{query}"


def parse_url(text: str, username: str = "", password: str = "") -> ServerURL:
    """Read ``stun:host[:port]`` or ``turn:host[:port][?transport=udp|tcp]`` (or ``stuns:``, ``turns:``).

    The port is 3478 unless given, or 5349 with TLS. The transport is UDP, or TCP with TLS; ``turns:`` over UDP is DTLS
    (RFC 7350). A ``stun:`` URL has no transport, so STUN over TCP is reached by a ServerURL that is made by hand.
    A URL holds no credentials: what a TURN server wants to know goes beside it. Raises URLSyntaxError.
    """
    if not isinstance(text, str):
        raise URLSyntaxError(f"a server URL is a string, not {text!r}")
    match = _URL.fullmatch(text)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _DEFAULT_PORTS:
        raise URLSyntaxError(
            f"{text!r} is not a server URL; it is stun:host[:port], or turn:host[:port][?transport=udp|tcp], "
            "with stuns or turns for TLS, and credentials are given apart"
        )
    host = match["host"]
    if host is None:
        host = match["ipv6"]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise URLSyntaxError(f"{text!r}: [{host}] is not an IPv6 address") from None
    port = _DEFAULT_PORTS[scheme] if match["port"] is None else int(match["port"])
    if not 0 < port < 65536:
        raise URLSyntaxError(f"{text!r}: port {port} is not between 1 and 65535")
    transport = "tcp" if scheme in ("stuns", "turns") else "udp"
    query = match["query"]
    if query is not None:
        if scheme in ("stun", "stuns"):
            raise URLSyntaxError(f"{text!r}: a {scheme} URL has no query (RFC 7064 section 3.1)")
        key, _, transport = query.lower().partition("=")
        if key != "transport" or transport not in ("udp", "tcp"):
            raise URLSyntaxError(f"{text!r}: the query is transport=udp or transport=tcp, not {query!r}")
    return ServerURL(scheme, host, port, transport, username, password, port_given=match["port"] is not None)
