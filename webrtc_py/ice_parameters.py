"""The dictionaries that ICE objects take and give: servers, candidates, credentials (webrtc-pc, section 5.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import ArgumentTypeError, InvalidAccessError
from .ice.candidate import Candidate, unmarshal_candidate
from .ice.url import ServerURL, parse_url
from .states import CandidateType, ICETransportPolicy, TCPType


@dataclass(slots=True)
class ICEServer:
    """A STUN or TURN server by one URL or several; TURN needs a user name and a credential."""

    urls: str | Sequence[str]
    username: str = ""
    credential: str = field(default="", repr=False)
    credential_type: str = "password"

    def parse_urls(self) -> list[ServerURL]:
        """The servers; URLSyntaxError for a bad URL, InvalidAccessError for a TURN server without credentials."""
        texts = [self.urls] if isinstance(self.urls, str) else list(self.urls)
        if not texts:
            raise InvalidAccessError("an ICEServer needs at least one URL")
        if self.credential_type != "password":
            raise InvalidAccessError(f"credential_type is 'password', not {self.credential_type!r}")
        urls = [parse_url(text, self.username, self.credential) for text in texts]
        for url in urls:
            if url.is_turn and not (self.username and self.credential):
                raise InvalidAccessError(f"{url} needs a username and a credential")
        return urls


@dataclass(slots=True)
class ICEGatherOptions:
    """``ice_gather_policy``: ``all``, ``relay`` (TURN only, and no address of ours shows), or ``nohost``."""

    ice_servers: Sequence[ICEServer] = ()
    ice_gather_policy: ICETransportPolicy | str = ICETransportPolicy.ALL

    def __post_init__(self) -> None:
        self.ice_gather_policy = ICETransportPolicy(self.ice_gather_policy)


@dataclass(frozen=True, slots=True)
class ICEParameters:
    """The credentials of one side, and whether it is a lite implementation."""

    username_fragment: str
    password: str = field(repr=False)
    ice_lite: bool = False


@dataclass(frozen=True, slots=True)
class ICECandidateInit:
    """A candidate as signalling carries it; ``candidate`` is the attribute's text, or empty for the end."""

    candidate: str = ""
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    username_fragment: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate,
            "sdpMid": self.sdp_mid,
            "sdpMLineIndex": self.sdp_mline_index,
            "usernameFragment": self.username_fragment,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ICECandidateInit:
        """Take a browser's dictionary; a member of the wrong type is an ArgumentTypeError (W3C ``TypeError``)."""
        if not isinstance(value, Mapping):
            raise ArgumentTypeError(f"a candidate is a dict with 'candidate', 'sdpMid', ..., not {value!r}")
        candidate = value.get("candidate", "")
        sdp_mid = value.get("sdpMid")
        index = value.get("sdpMLineIndex")
        fragment = value.get("usernameFragment")
        if not isinstance(candidate, str):
            raise ArgumentTypeError(f"'candidate' is a string, not {candidate!r}")
        for name, text in (("sdpMid", sdp_mid), ("usernameFragment", fragment)):
            if text is not None and not isinstance(text, str):
                raise ArgumentTypeError(f"{name!r} is a string or null, not {text!r}")
        if index is not None and (not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 65536):
            raise ArgumentTypeError(f"'sdpMLineIndex' is null or between 0 and 65535, not {index!r}")
        return cls(candidate, sdp_mid, index, fragment)


@dataclass(frozen=True, slots=True)
class ICECandidate:
    """A candidate with its fields; ``str(candidate)`` is for people, :meth:`to_json` for the other side."""

    foundation: str
    priority: int
    address: str
    protocol: str
    """``udp`` or ``tcp``."""
    port: int
    typ: CandidateType
    component: int = 1
    related_address: str | None = None
    related_port: int | None = None
    tcp_type: TCPType | None = None
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    """What follows in the attribute, in order: ``ufrag``, ``generation``, ``network-cost``, ..."""
    url: str | None = None
    """The server that a local candidate comes from."""
    relay_protocol: str | None = None
    """How a local relay candidate reaches its server: ``udp``, ``tcp`` or ``tls``."""

    @classmethod
    def from_candidate(
        cls, candidate: Candidate, sdp_mid: str | None = None, sdp_mline_index: int | None = None
    ) -> ICECandidate:
        return cls(
            foundation=candidate.foundation,
            priority=candidate.priority,
            address=candidate.address,
            protocol=candidate.transport,
            port=candidate.port,
            typ=candidate.type,
            component=candidate.component,
            related_address=candidate.related_address,
            related_port=candidate.related_port,
            tcp_type=candidate.tcp_type,
            sdp_mid=sdp_mid,
            sdp_mline_index=sdp_mline_index,
            extensions=candidate.extensions,
            url=candidate.url or None,
            relay_protocol=candidate.relay_protocol or None,
        )

    @classmethod
    def from_init(cls, init: ICECandidateInit) -> ICECandidate:
        """Read the attribute's text. Raises SDPSyntaxError."""
        return cls.from_candidate(unmarshal_candidate(init.candidate), init.sdp_mid, init.sdp_mline_index)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ICECandidate:
        """Take what :meth:`to_json` or a browser gave. ArgumentTypeError for a wrong member, SDPSyntaxError."""
        return cls.from_init(ICECandidateInit.from_json(value))

    def to_candidate(self) -> Candidate:
        return Candidate(
            foundation=self.foundation,
            component=self.component,
            transport=self.protocol,
            priority=self.priority,
            address=self.address,
            port=self.port,
            type=self.typ,
            related_address=self.related_address,
            related_port=self.related_port,
            tcp_type=self.tcp_type,
            extensions=self.extensions,
            url=self.url or "",
            relay_protocol=self.relay_protocol or "",
        )

    @property
    def candidate(self) -> str:
        """The attribute's text: ``candidate:...``."""
        return self.to_candidate().marshal()

    def of_generation(self, username_fragment: str) -> ICECandidate:
        """With the user fragment that it belongs to, unless it names one."""
        if self.username_fragment is not None:
            return self
        return replace(self, extensions=(*self.extensions, ("ufrag", username_fragment)))

    @property
    def username_fragment(self) -> str | None:
        return dict(self.extensions).get("ufrag")

    def to_init(self) -> ICECandidateInit:
        return ICECandidateInit(self.candidate, self.sdp_mid, self.sdp_mline_index, self.username_fragment)

    def to_json(self) -> dict[str, Any]:
        """What a browser's ``addIceCandidate`` takes."""
        return self.to_init().to_json()

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        protocol = self.protocol if self.tcp_type is None else f"{self.protocol} {self.tcp_type}"
        related = f" (from {self.related_address}:{self.related_port})" if self.related_address else ""
        return f"{self.typ} {protocol} {host}:{self.port}{related}"


@dataclass(frozen=True, slots=True)
class ICECandidatePair:
    """A path: one candidate of ours, one of theirs."""

    local: ICECandidate
    remote: ICECandidate

    def __str__(self) -> str:
        return f"{self.local} <-> {self.remote}"


@dataclass(frozen=True, slots=True)
class ICECandidateError:
    """Why a server gave no candidate (W3C RTCPeerConnectionIceErrorEvent)."""

    url: str
    address: str | None
    """The local address it was tried from, None where that is not known or must not show."""
    port: int | None
    error_code: int
    """The STUN error code that the server sent, or 701: the server cannot be reached."""
    error_text: str

    def __str__(self) -> str:
        return f"{self.url}: {self.error_code} {self.error_text}"
