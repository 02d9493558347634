"""What a PeerConnection is told at its birth, and what may be changed later (webrtc-pc section 4.2)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from .certificate import Certificate
from .errors import ArgumentTypeError, InvalidAccessError, InvalidModificationError
from .ice_parameters import ICEServer
from .states import BundlePolicy, ICETransportPolicy, RTCPMuxPolicy

# RFC 8489 section 14.3: USERNAME is shorter than 509 octets; the credential's limit is W3C's.
_LONGEST_TURN_TEXT = 508
_LARGEST_POOL = 255


@dataclass(slots=True)
class Configuration:
    """W3C's RTCConfiguration. Enumerations take their strings too; a wrong one is a ValueError with the right ones.

    ``ice_servers`` are tried all and in parallel. ``certificates`` are for an identity that outlives the connection;
    without any, each connection makes a fresh one. ``ice_candidate_pool_size`` above 0 gathers before the first
    description needs it. The one transport that bundles everything is always multiplexed, whatever the policies.
    """

    ice_servers: Sequence[ICEServer] = ()
    ice_transport_policy: ICETransportPolicy | str = ICETransportPolicy.ALL
    bundle_policy: BundlePolicy | str = BundlePolicy.BALANCED
    rtcp_mux_policy: RTCPMuxPolicy | str = RTCPMuxPolicy.REQUIRE
    certificates: Sequence[Certificate] = ()
    ice_candidate_pool_size: int = 0
    peer_identity: str = ""

    def __post_init__(self) -> None:
        self.ice_transport_policy = ICETransportPolicy(self.ice_transport_policy)
        self.bundle_policy = BundlePolicy(self.bundle_policy)
        self.rtcp_mux_policy = RTCPMuxPolicy(self.rtcp_mux_policy)

    def checked(self) -> Configuration:
        """A copy with every value understood.

        Raises URLSyntaxError for a server's URL, InvalidAccessError for a TURN server without credentials or an expired
        certificate, ValueError for a policy or a pool size that does not exist, TypeError for a value of another type.
        """
        size = self.ice_candidate_pool_size
        if isinstance(size, bool) or not isinstance(size, int):
            raise ArgumentTypeError(f"ice_candidate_pool_size is a whole number, not {size!r}")
        if not 0 <= size <= _LARGEST_POOL:
            raise ValueError(f"ice_candidate_pool_size is 0 to {_LARGEST_POOL}, not {size}")
        if not isinstance(self.peer_identity, str):
            raise ArgumentTypeError(f"peer_identity is a string, not {self.peer_identity!r}")
        now = datetime.datetime.now(datetime.UTC)
        for certificate in self.certificates:
            if not isinstance(certificate, Certificate):
                raise ArgumentTypeError(f"certificates is a list of Certificate, with {certificate!r} in it")
            if certificate.expires <= now:
                raise InvalidAccessError(f"{certificate!r} expired at {certificate.expires}")
        return Configuration(
            [_checked_server(server) for server in self.ice_servers],
            self.ice_transport_policy,
            self.bundle_policy,
            self.rtcp_mux_policy,
            list(self.certificates),
            size,
            self.peer_identity,
        )

    def copy(self) -> Configuration:
        """Changing the copy's lists, and the servers in them, changes nothing here."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        servers = [_copied_server(server) for server in self.ice_servers]
        return Configuration(**values | {"ice_servers": servers, "certificates": list(self.certificates)})

    def check_change(self, new: Configuration, *, has_local_description: bool) -> None:
        """Whether ``new`` may follow this configuration (webrtc-pc, "set the configuration"); both are checked ones.

        Raises InvalidModificationError for what is fixed at construction, or by the first local description.
        """
        for name in ("peer_identity", "bundle_policy", "rtcp_mux_policy"):
            if getattr(new, name) != getattr(self, name):
                raise InvalidModificationError(
                    f"{name} is {str(getattr(self, name))!r} since the connection was made,"
                    f" and cannot become {str(getattr(new, name))!r}"
                )
        if new.certificates and new.certificates != self.certificates:
            raise InvalidModificationError("the certificates are fixed when the connection is made")
        if has_local_description and new.ice_candidate_pool_size != self.ice_candidate_pool_size:
            raise InvalidModificationError(
                f"ice_candidate_pool_size is fixed at {self.ice_candidate_pool_size} by the local description,"
                f" and cannot become {new.ice_candidate_pool_size}"
            )


@dataclass(frozen=True, slots=True)
class OfferOptions:
    """W3C's RTCOfferOptions, as far as it concerns a session without media."""

    ice_restart: bool = False


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """W3C's RTCAnswerOptions, which has no member that concerns a session without media."""


def _checked_server(server: ICEServer) -> ICEServer:
    if not isinstance(server, ICEServer):
        raise ArgumentTypeError(f"ice_servers is a list of ICEServer, with {server!r} in it")
    if not isinstance(server.username, str) or not isinstance(server.credential, str):
        raise ArgumentTypeError(f"the username and the credential of {server.urls!r} are strings")
    if any(url.is_turn for url in server.parse_urls()):
        for name, text in (("username", server.username), ("credential", server.credential)):
            if len(text.encode()) > _LONGEST_TURN_TEXT:
                raise InvalidAccessError(f"a TURN {name} has at most {_LONGEST_TURN_TEXT} octets, not {len(text)}")
    return _copied_server(server)


def _copied_server(server: ICEServer) -> ICEServer:
    return replace(server, urls=server.urls if isinstance(server.urls, str) else list(server.urls))
