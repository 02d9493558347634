"""Every enumeration that W3C's webrtc-pc names, with W3C's values, and the rules that combine transports' states."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class _W3CEnum(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> _W3CEnum:
        right = ", ".join(repr(member.value) for member in cls)
        raise ValueError(f"{value!r} is not a {cls.__name__}; it is one of {right}")


class ICEGathererState(_W3CEnum):
    NEW = "new"
    GATHERING = "gathering"
    COMPLETE = "complete"
    CLOSED = "closed"


class ICEGatheringState(_W3CEnum):
    NEW = "new"
    GATHERING = "gathering"
    COMPLETE = "complete"


class ICETransportState(_W3CEnum):
    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class ICEConnectionState(_W3CEnum):
    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class PeerConnectionState(_W3CEnum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class SignalingState(_W3CEnum):
    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have-local-offer"
    HAVE_REMOTE_OFFER = "have-remote-offer"
    HAVE_LOCAL_PRANSWER = "have-local-pranswer"
    HAVE_REMOTE_PRANSWER = "have-remote-pranswer"
    CLOSED = "closed"


class SDPType(_W3CEnum):
    OFFER = "offer"
    PRANSWER = "pranswer"
    ANSWER = "answer"
    ROLLBACK = "rollback"


class DTLSTransportState(_W3CEnum):
    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


class DTLSRole(_W3CEnum):
    AUTO = "auto"
    CLIENT = "client"
    SERVER = "server"


class SCTPTransportState(_W3CEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


class DataChannelState(_W3CEnum):
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class ICERole(_W3CEnum):
    CONTROLLING = "controlling"
    CONTROLLED = "controlled"


class ICETransportPolicy(_W3CEnum):
    ALL = "all"
    RELAY = "relay"
    NO_HOST = "nohost"


class BundlePolicy(_W3CEnum):
    BALANCED = "balanced"
    MAX_COMPAT = "max-compat"
    MAX_BUNDLE = "max-bundle"


class RTCPMuxPolicy(_W3CEnum):
    REQUIRE = "require"


class CandidateType(_W3CEnum):
    HOST = "host"
    SRFLX = "srflx"
    PRFLX = "prflx"
    RELAY = "relay"


class NetworkType(_W3CEnum):
    """The transports that candidates may use (Pion's names)."""

    UDP4 = "udp4"
    UDP6 = "udp6"
    TCP4 = "tcp4"
    TCP6 = "tcp6"


class TCPType(_W3CEnum):
    ACTIVE = "active"
    PASSIVE = "passive"
    SIMULTANEOUS_OPEN = "so"


class CandidatePairState(_W3CEnum):
    """RFC 8445 section 6.1.2.6, in the words of webrtc-stats."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class AddressRewriteMode(_W3CEnum):
    """Whether an external address is told instead of the local one, or beside it."""

    REPLACE = "replace"
    APPEND = "append"


class ContinualGatheringPolicy(_W3CEnum):
    """Whether gathering ends with the interfaces that there are, or follows those that come and go."""

    ONCE = "once"
    CONTINUALLY = "continually"


class MulticastDNSMode(_W3CEnum):
    DISABLED = "disabled"
    QUERY_ONLY = "query-only"
    QUERY_AND_GATHER = "query-and-gather"


def combine_ice_connection(states: Iterable[ICETransportState], closed: bool) -> ICEConnectionState:
    """The connection's ICE state from its ICE transports' (webrtc-pc, RTCIceConnectionState)."""
    if closed:
        return ICEConnectionState.CLOSED
    present = set(states)
    ice = ICETransportState
    if ice.FAILED in present:
        return ICEConnectionState.FAILED
    if ice.DISCONNECTED in present:
        return ICEConnectionState.DISCONNECTED
    if present <= {ice.NEW, ice.CLOSED}:
        return ICEConnectionState.NEW
    if present & {ice.NEW, ice.CHECKING}:
        return ICEConnectionState.CHECKING
    if present <= {ice.COMPLETED, ice.CLOSED}:
        return ICEConnectionState.COMPLETED
    return ICEConnectionState.CONNECTED


def combine_connection(
    ice_states: Iterable[ICETransportState], dtls_states: Iterable[DTLSTransportState], closed: bool
) -> PeerConnectionState:
    """The connection's state from its transports' (webrtc-pc, RTCPeerConnectionState)."""
    if closed:
        return PeerConnectionState.CLOSED
    ice_present, dtls_present = set(ice_states), set(dtls_states)
    ice, dtls = ICETransportState, DTLSTransportState
    if ice.FAILED in ice_present or dtls.FAILED in dtls_present:
        return PeerConnectionState.FAILED
    if ice.DISCONNECTED in ice_present:
        return PeerConnectionState.DISCONNECTED
    if ice_present <= {ice.NEW, ice.CLOSED} and dtls_present <= {dtls.NEW, dtls.CLOSED}:
        return PeerConnectionState.NEW
    if ice_present & {ice.NEW, ice.CHECKING} or dtls_present & {dtls.NEW, dtls.CONNECTING}:
        return PeerConnectionState.CONNECTING
    return PeerConnectionState.CONNECTED
