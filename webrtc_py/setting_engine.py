"""Settings beyond W3C's configuration, with Pion's names and, unless a comment says why not, Pion's defaults."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace

from .arguments import function, listed
from .errors import ArgumentTypeError
from .ice.candidate import TCP_PRIORITY_OFFSET
from .ice.checks import check_local_credentials
from .ice.core import DEFAULT_MAX_PAIRS
from .ice.events import BindingRequestHandler
from .ice.mdns import is_usable_name
from .ice.mux import TCPMux, UDPMux
from .ice.options import AgentTimings, RenominationOptions
from .ice.proxy import parse_proxy
from .ice.rewrite import AddressRewriteRule, nat_1to1_rules
from .ice.url import TURN_PROTOCOLS
from .runtime.network import Network
from .states import CandidateType, ContinualGatheringPolicy, DTLSRole, MulticastDNSMode, NetworkType

InterfaceFilter = Callable[[str], bool]
IPFilter = Callable[[str], bool]

# Enough for the largest DTLS record with its datagram's overhead; a smaller receive unit could take no handshake.
_SMALLEST_RECEIVE_MTU = 1200
_LARGEST_RECEIVE_MTU = 65507

# An SCTP receiver must be able to take 1500 octets (RFC 9260 section 3.3.2: a_rwnd).
_SMALLEST_RECEIVE_BUFFER = 1500
_LARGEST_SCTP_NUMBER = 0xFFFFFFFF

# Each change looks at all of them.
_MOST_PAIRS = 1000


class SettingEngine:
    """A plain object: each setter checks and stores, and what is stored is an attribute that the transports read.

    Hand it to ``API(setting_engine=...)``, which keeps a copy: later changes reach only what a new API makes. All
    durations are seconds. Setters raise ValueError (or TypeError) that names the value and what would be right.
    """

    def __init__(self) -> None:
        self.lite = False
        self.ice_timings = AgentTimings()
        self.ice_renomination: RenominationOptions | None = None
        self.ice_max_pairs = DEFAULT_MAX_PAIRS
        self.ice_binding_request_handler: BindingRequestHandler | None = None
        self.ice_use_candidate_check_priority = False
        self.ice_tcp_priority_offset = TCP_PRIORITY_OFFSET
        self.ice_credentials: tuple[str, str] | None = None
        self.ice_multicast_dns_mode = MulticastDNSMode.QUERY_ONLY
        self.multicast_dns_host_name = ""
        self.ice_address_rewrite_rules: tuple[AddressRewriteRule, ...] = ()
        self.ice_udp_mux: UDPMux | None = None
        self.ice_tcp_mux: TCPMux | None = None
        self.active_tcp = True
        self.ice_continual_gathering = ContinualGatheringPolicy.ONCE
        self.ice_network_monitor_interval = 2.0
        self.stun_gather_timeout = 5.0
        self.network_types: tuple[NetworkType, ...] = (NetworkType.UDP4, NetworkType.UDP6)
        self.interface_filter: InterfaceFilter | None = None
        self.ip_filter: IPFilter | None = None
        self.remote_ip_filter: IPFilter | None = None
        self.ephemeral_udp_port_range: tuple[int, int] | None = None
        self.include_loopback_candidate = False
        self.turn_tls_context: ssl.SSLContext | None = None
        self.turn_transport_protocols: tuple[str, ...] = TURN_PROTOCOLS
        self.ice_proxy = ""
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

    def set_lite(self, lite: bool) -> None:
        """Be a lite agent: for hosts that everybody can reach. Host candidates only, and no checks of our own."""
        self.lite = _flag("lite", lite)

    def set_ice_timeouts(self, disconnected: float, failed: float, keepalive: float) -> None:
        """Silence until ``disconnected``, from there until ``failed``, and the time between keepalives.

        With 0 ``disconnected`` is left out, ``failed`` never comes, and a keepalive is sent every 5 s (RFC 7675).
        """
        self.ice_timings = replace(
            self.ice_timings,
            disconnected_timeout=_duration("disconnected", disconnected),
            failed_timeout=_duration("failed", failed),
            keepalive_interval=_duration("keepalive", keepalive),
        )

    def set_ice_timings(self, timings: AgentTimings) -> None:
        """All times of ICE at once, one of the presets for example: ``AgentTimings.mobile()``."""
        if not isinstance(timings, AgentTimings):
            raise ArgumentTypeError(f"timings is an AgentTimings, not {timings!r}")
        self.ice_timings = timings

    def set_ice_credentials(self, username_fragment: str, password: str) -> None:
        """Fix the local credentials: 4 to 32 and 22 to 256 of ``A-Z a-z 0-9 + /`` (RFC 8839 section 5.4).

        They are meant for peers that are configured by hand; random ones, the default, are what makes a session safe,
        and what an ICE restart has in any case: it must change them.
        """
        check_local_credentials(username_fragment, password)
        self.ice_credentials = (username_fragment, password)

    def set_ice_max_binding_requests(self, count: int) -> None:
        """How often a check is sent to a pair that does not answer before it has failed: 1 to 20."""
        self.ice_timings = replace(self.ice_timings, max_binding_requests=_whole("count", count, 1, 20))

    def set_ice_max_pairs(self, count: int) -> None:
        """How many candidate pairs are kept, those of the highest priorities: 1 to 1000, 100 by default."""
        self.ice_max_pairs = _whole("count", count, 1, _MOST_PAIRS)

    def set_ice_renomination(self, options: RenominationOptions | None) -> None:
        """Let the controlling side change to a better path without a restart, if the peer understands it too.

        ``RenominationOptions()`` does so by itself, ``RenominationOptions(automatic=False)`` only when it is told; None
        is off.
        """
        if options is not None and not isinstance(options, RenominationOptions):
            raise ArgumentTypeError(f"options is a RenominationOptions or None, not {options!r}")
        self.ice_renomination = options

    def set_ice_binding_request_handler(self, handler: BindingRequestHandler | None) -> None:
        """``handler(BindingRequest)`` is asked about each authenticated check of the peer's, after it was answered.

        True selects the check's pair, if that works; None asks nobody.
        """
        self.ice_binding_request_handler = function("handler", handler)

    def set_ice_use_candidate_check_priority(self, enable: bool) -> None:
        """Whether a lite agent stays where it is when its peer nominates a pair of lower priority."""
        self.ice_use_candidate_check_priority = _flag("enable", enable)

    def set_ice_tcp_priority_offset(self, offset: int) -> None:
        """By how much a TCP candidate's type preference is less than a UDP candidate's: 0 to 126, 27 by default."""
        self.ice_tcp_priority_offset = _whole("offset", offset, 0, 126)

    def set_ice_multicast_dns_mode(self, mode: MulticastDNSMode | str) -> None:
        """Whether ``.local`` names of peers are resolved, and whether our host addresses hide behind such names."""
        self.ice_multicast_dns_mode = MulticastDNSMode(mode)

    def set_multicast_dns_host_name(self, name: str) -> None:
        """The name of the first address that is hidden, ``something.local``; empty for one drawn at random."""
        if name != "" and not (isinstance(name, str) and is_usable_name(name)):
            raise ValueError(f"name is one label and .local, or empty, not {name!r}")
        self.multicast_dns_host_name = name

    def set_ice_address_rewrite_rules(self, *rules: AddressRewriteRule) -> None:
        """What the peer is told instead of, or beside, addresses of ours. They replace all rules set before."""
        for rule in rules:
            if not isinstance(rule, AddressRewriteRule):
                raise ArgumentTypeError(f"rules are AddressRewriteRule objects, with {rule!r} among them")
        self.ice_address_rewrite_rules = rules

    def set_nat_1to1_ips(self, ips: Iterable[str], candidate_type: CandidateType | str = CandidateType.HOST) -> None:
        """The outer addresses of a NAT that maps each address to one: rewrite rules for the simple case.

        Each is an outer address for all local ones of its family, or ``outer/local`` for one of them. ``host`` tells
        it instead of the local address, ``srflx`` beside it. They replace all rules set before.
        """
        self.ice_address_rewrite_rules = tuple(nat_1to1_rules(ips, candidate_type))

    def set_ice_udp_mux(self, mux: UDPMux | None) -> None:
        """One UDP port for all connections, which :meth:`UDPMux.listen` opens; None lets each open its own."""
        if mux is not None and not isinstance(mux, UDPMux):
            raise ArgumentTypeError(f"mux is a UDPMux or None, not {mux!r}")
        self.ice_udp_mux = mux

    def set_ice_tcp_mux(self, mux: TCPMux | None) -> None:
        """Where connections of peers are taken, if the network types have ``tcp4`` or ``tcp6``; None takes none."""
        if mux is not None and not isinstance(mux, TCPMux):
            raise ArgumentTypeError(f"mux is a TCPMux or None, not {mux!r}")
        self.ice_tcp_mux = mux

    def disable_active_tcp(self, disable: bool = True) -> None:
        """Open no connection to a peer, even if the network types have ``tcp4`` or ``tcp6``."""
        self.active_tcp = not _flag("disable", disable)

    def set_ice_continual_gathering(self, policy: ContinualGatheringPolicy | str, interval: float = 2.0) -> None:
        """``continually`` goes on gathering while interfaces come and go; ``once`` is over when all have been asked.

        Gathering is then never complete: ``on_ice_candidate`` does not say None. ``interval`` is between two looks at
        the interfaces, where the system does not tell of changes by itself.
        """
        policy = ContinualGatheringPolicy(policy)
        if not _duration("interval", interval):
            raise ValueError("interval must be more than 0: looking at the interfaces takes time")
        self.ice_continual_gathering, self.ice_network_monitor_interval = policy, float(interval)

    def set_host_acceptance_min_wait(self, seconds: float) -> None:
        """The earliest nomination, after the checks began, of a pair with a host candidate."""
        self.ice_timings = replace(self.ice_timings, host_acceptance_min_wait=_duration("seconds", seconds))

    def set_srflx_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a server-reflexive candidate."""
        self.ice_timings = replace(self.ice_timings, srflx_acceptance_min_wait=_duration("seconds", seconds))

    def set_prflx_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a peer-reflexive candidate."""
        self.ice_timings = replace(self.ice_timings, prflx_acceptance_min_wait=_duration("seconds", seconds))

    def set_relay_acceptance_min_wait(self, seconds: float) -> None:
        """The same for a relay candidate."""
        self.ice_timings = replace(self.ice_timings, relay_acceptance_min_wait=_duration("seconds", seconds))

    def set_stun_gather_timeout(self, seconds: float) -> None:
        """How long a STUN server has to answer before it is reported dead."""
        if not _duration("seconds", seconds):
            raise ValueError("seconds must be more than 0: no server answers at once")
        self.stun_gather_timeout = float(seconds)

    def set_network_types(self, types: Iterable[NetworkType | str]) -> None:
        """The networks that candidates may use, ``udp4`` and ``udp6`` by default; at least one."""
        chosen = tuple(dict.fromkeys(NetworkType(network_type) for network_type in listed("types", types)))
        if not chosen:
            raise ValueError("types must name at least one network type: without one there is no candidate")
        self.network_types = chosen

    def set_interface_filter(self, interface_filter: InterfaceFilter | None) -> None:
        """``interface_filter(name)`` says whether an interface may be used; None lets all."""
        self.interface_filter = function("interface_filter", interface_filter)

    def set_ip_filter(self, ip_filter: IPFilter | None) -> None:
        """``ip_filter(address)`` says whether a local numeric address may be used; None lets all."""
        self.ip_filter = function("ip_filter", ip_filter)

    def set_remote_ip_filter(self, ip_filter: IPFilter | None) -> None:
        """``ip_filter(address)`` says whether a remote address, signalled or learnt, may be used; None lets all."""
        self.remote_ip_filter = function("ip_filter", ip_filter)

    def set_ephemeral_udp_port_range(self, low: int, high: int) -> None:
        """The ports, both ends included, that host candidates bind to."""
        low, high = _whole("low", low, 1, 65535), _whole("high", high, 1, 65535)
        if high < low:
            raise ValueError(f"high must be at least low: {low} to {high} holds no port")
        self.ephemeral_udp_port_range = (low, high)

    def set_include_loopback_candidate(self, include: bool) -> None:
        """Whether ``127.0.0.1`` and ``::1`` are candidates too: for peers on one machine, and for tests."""
        self.include_loopback_candidate = _flag("include", include)

    def set_turn_tls_context(self, context: ssl.SSLContext | None) -> None:
        """What ``turns:`` servers are checked with; None is the system's authorities, with the host's name checked."""
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ArgumentTypeError(f"context is an ssl.SSLContext or None, not {context!r}")
        self.turn_tls_context = context

    def set_turn_transport_protocols(self, protocols: Iterable[str]) -> None:
        """How TURN servers may be reached: ``udp``, ``dtls``, ``tcp``, ``tls``, all of them by default."""
        chosen = tuple(dict.fromkeys(listed("protocols", protocols)))
        for protocol in chosen:
            if protocol not in TURN_PROTOCOLS:
                raise ValueError(f"protocols are some of {', '.join(TURN_PROTOCOLS)}, not {protocol!r}")
        self.turn_transport_protocols = chosen

    def set_ice_proxy(self, url: str) -> None:
        """The proxy for TCP and TLS to TURN servers: ``http://[user:password@]host:port`` or ``socks5://...``.

        Empty for none. URLSyntaxError, which never quotes it, for what is no such URL.
        """
        if url != "":
            parse_proxy(url)
        self.ice_proxy = url

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
        self.sctp_zero_checksum = _flag("enable", enable)

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


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name} is True or False, not {value!r}")
    return value


def _whole(name: str, value: int, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{name} is a whole number, not {value!r}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {lowest} to {highest}, not {value}")
    return value
