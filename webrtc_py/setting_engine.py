"""Settings beyond W3C's configuration, with Pion's names and, unless a comment says why not, Pion's defaults."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Iterable
from typing import TypeVar

from .errors import ArgumentTypeError
from .runtime.network import Network
from .states import DTLSRole, MulticastDNSMode, NetworkType

F = TypeVar("F")

InterfaceFilter = Callable[[str], bool]
IPFilter = Callable[[str], bool]

# RFC 8839 section 5.4: ice-char, and the lengths that may be sent (a ufrag of more than 32 is only to be understood).
_ICE_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_UFRAG_LENGTHS = range(4, 33)
_PASSWORD_LENGTHS = range(22, 257)

# Enough for the largest DTLS record with its datagram's overhead; a smaller receive unit could take no handshake.
_SMALLEST_RECEIVE_MTU = 1200
_LARGEST_RECEIVE_MTU = 65507

# An SCTP receiver must be able to take 1500 octets (RFC 9260 section 3.3.2: a_rwnd).
_SMALLEST_RECEIVE_BUFFER = 1500
_LARGEST_SCTP_NUMBER = 0xFFFFFFFF


class SettingEngine:
    """A plain object: each setter checks and stores, and what is stored is an attribute that the transports read.

    Hand it to ``API(setting_engine=...)``, which keeps a copy: later changes reach only what a new API makes. All
    durations are seconds. Setters raise ValueError (or TypeError) that names the value and what would be right.
    """

    def __init__(self) -> None:
        self.ice_disconnected_timeout = 5.0
        self.ice_failed_timeout = 25.0
        self.ice_keepalive_interval = 2.0
        self.ice_credentials: tuple[str, str] | None = None
        self.ice_max_binding_requests = 7
        self.ice_multicast_dns_mode = MulticastDNSMode.QUERY_ONLY
        self.host_acceptance_min_wait = 0.0
        self.srflx_acceptance_min_wait = 0.5
        self.prflx_acceptance_min_wait = 1.0
        self.relay_acceptance_min_wait = 2.0
        self.stun_gather_timeout = 5.0
        self.network_types: tuple[NetworkType, ...] = (NetworkType.UDP4, NetworkType.UDP6)
        self.interface_filter: InterfaceFilter | None = None
        self.ip_filter: IPFilter | None = None
        self.remote_ip_filter: IPFilter | None = None
        self.ephemeral_udp_port_range: tuple[int, int] | None = None
        self.include_loopback_candidate = False
        self.turn_tls_context: ssl.SSLContext | None = None
        self.network: Network | None = None
        self.answering_dtls_role: DTLSRole | None = None
        self.receive_mtu = 1500
        self.sctp_max_receive_buffer_size = 1 << 20
        # Pion advertises 1 GiB - 1, more than it could hold; browsers and aiortc write and take 256 KiB.
        self.sctp_max_message_size = 1 << 18
        self.sctp_zero_checksum = False
        self.detached_data_channels = False
        self.logger: logging.Logger | None = None

    # ICE

    def set_ice_timeouts(self, disconnected: float, failed: float, keepalive: float) -> None:
        """Silence until ``disconnected``, from there until ``failed``, and the time between keepalives; 0 is never."""
        times = _duration("disconnected", disconnected), _duration("failed", failed), _duration("keepalive", keepalive)
        self.ice_disconnected_timeout, self.ice_failed_timeout, self.ice_keepalive_interval = times

    def set_ice_credentials(self, username_fragment: str, password: str) -> None:
        """Fix the local credentials: 4 to 32 and 22 to 256 of ``A-Z a-z 0-9 + /`` (RFC 8839 section 5.4).

        They are meant for peers that are configured by hand; random ones, the default, are what makes a session safe.
        """
        for name, value, lengths in (
            ("username_fragment", username_fragment, _UFRAG_LENGTHS),
            ("password", password, _PASSWORD_LENGTHS),
        ):
            if not isinstance(value, str) or len(value) not in lengths or not _ICE_CHARS.issuperset(value):
                shown = repr(value) if name == "username_fragment" else "what was given"
                raise ValueError(f"{name} is {lengths[0]} to {lengths[-1]} of A-Z a-z 0-9 + /, not {shown}")
        self.ice_credentials = (username_fragment, password)

    def set_ice_max_binding_requests(self, count: int) -> None:
        """How often a check is sent to a pair that does not answer before it has failed: at least 1."""
        self.ice_max_binding_requests = _whole("count", count, 1, 1000)

    def set_ice_multicast_dns_mode(self, mode: MulticastDNSMode | str) -> None:
        """Whether ``.local`` names of peers are resolved, and whether our host addresses hide behind such names."""
        self.ice_multicast_dns_mode = MulticastDNSMode(mode)

    def set_host_acceptance_min_wait(self, seconds: float) -> None:
        """The earliest nomination, after the checks began, of a pair with a host candidate."""
        self.host_acceptance_min_wait = _duration("seconds", seconds)

    def set_srflx_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a server-reflexive candidate."""
        self.srflx_acceptance_min_wait = _duration("seconds", seconds)

    def set_prflx_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a peer-reflexive candidate."""
        self.prflx_acceptance_min_wait = _duration("seconds", seconds)

    def set_relay_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a relay candidate."""
        self.relay_acceptance_min_wait = _duration("seconds", seconds)

    def set_stun_gather_timeout(self, seconds: float) -> None:
        """How long a STUN server has to answer before it is reported dead."""
        if not _duration("seconds", seconds):
            raise ValueError("seconds must be more than 0: no server answers at once")
        self.stun_gather_timeout = float(seconds)

    def set_network_types(self, types: Iterable[NetworkType | str]) -> None:
        """The networks that candidates may use, ``udp4`` and ``udp6`` by default; at least one."""
        if isinstance(types, str):
            raise ArgumentTypeError(f"types is a list of network types, not the string {types!r}")
        chosen = tuple(dict.fromkeys(NetworkType(network_type) for network_type in types))
        if not chosen:
            raise ValueError("types must name at least one network type: without one there is no candidate")
        self.network_types = chosen

    def set_interface_filter(self, interface_filter: InterfaceFilter | None) -> None:
        """``interface_filter(name)`` says whether an interface may be used; None lets all."""
        self.interface_filter = _function("interface_filter", interface_filter)

    def set_ip_filter(self, ip_filter: IPFilter | None) -> None:
        """``ip_filter(address)`` says whether a local numeric address may be used; None lets all."""
        self.ip_filter = _function("ip_filter", ip_filter)

    def set_remote_ip_filter(self, ip_filter: IPFilter | None) -> None:
        """``ip_filter(address)`` says whether a remote address, signalled or learnt, may be used; None lets all."""
        self.remote_ip_filter = _function("ip_filter", ip_filter)

    def set_ephemeral_udp_port_range(self, low: int, high: int) -> None:
        """The ports, both ends included, that host candidates bind to."""
        low, high = _whole("low", low, 1, 65535), _whole("high", high, 1, 65535)
        if high < low:
            raise ValueError(f"high must be at least low: {low} to {high} holds no port")
        self.ephemeral_udp_port_range = (low, high)

    def set_include_loopback_candidate(self, include: bool) -> None:
        """Whether ``127.0.0.1`` and ``::1`` are candidates too: for peers on one machine, and for tests."""
        self.include_loopback_candidate = bool(include)

    def set_turn_tls_context(self, context: ssl.SSLContext | None) -> None:
        """What ``turns:`` servers are checked with; None is the system's authorities, with the host's name checked."""
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ArgumentTypeError(f"context is an ssl.SSLContext or None, not {context!r}")
        self.turn_tls_context = context

    def set_net(self, network: Network | None) -> None:
        """The network to use in place of the system's: what tests on a virtual network set."""
        self.network = network

    # DTLS, SCTP and data channels

    def set_answering_dtls_role(self, role: DTLSRole | str) -> None:
        """What an answer to ``actpass`` says: ``client`` (active, the default of JSEP) or ``server`` (passive)."""
        role = DTLSRole(role)
        if role is DTLSRole.AUTO:
            raise ValueError("role must be 'client' or 'server': an answer decides it")
        self.answering_dtls_role = role

    def set_receive_mtu(self, size: int) -> None:
        """The longest datagram that is taken; a longer one is dropped."""
        self.receive_mtu = _whole("size", size, _SMALLEST_RECEIVE_MTU, _LARGEST_RECEIVE_MTU)

    def set_sctp_max_receive_buffer_size(self, size: int) -> None:
        """Octets of messages that an association holds for readers before its window closes."""
        self.sctp_max_receive_buffer_size = _whole("size", size, _SMALLEST_RECEIVE_BUFFER, _LARGEST_SCTP_NUMBER)

    def set_sctp_max_message_size(self, size: int) -> None:
        """The longest message that we take, as ``a=max-message-size`` says (RFC 8841 section 6)."""
        self.sctp_max_message_size = _whole("size", size, 1, _LARGEST_SCTP_NUMBER)

    def enable_sctp_zero_checksum(self, enable: bool = True) -> None:
        """Offer RFC 9653 to the peer. Off by default: some peers drop an INIT with a parameter that is new to them."""
        self.sctp_zero_checksum = bool(enable)

    def detach_data_channels(self) -> None:
        """Let ``DataChannel.detach()`` be used; channels then deliver no ``on_message``."""
        self.detached_data_channels = True

    # Logging

    def set_logger(self, logger: logging.Logger | None) -> None:
        """Where a peer connection logs its changes of state, and ICE its story, in place of their own loggers."""
        if logger is not None and not isinstance(logger, logging.Logger):
            raise ArgumentTypeError(f"logger is a logging.Logger or None, not {logger!r}")
        self.logger = logger


def _duration(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArgumentTypeError(f"{name} is a number of seconds, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is a number of seconds from 0, not {value!r}")
    return float(value)


def _whole(name: str, value: int, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name} is a whole number, not {value!r}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {lowest} to {highest}, not {value}")
    return value


def _function(name: str, value: F) -> F:
    if value is not None and not callable(value):
        raise ArgumentTypeError(f"{name} is a function or None, not {value!r}")
    return value
