"""What an agent is made with."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import NoneType

from ..arguments import function, listed
from ..errors import ArgumentTypeError, InvalidAccessError
from ..runtime.network import Network
from ..states import CandidateType, ContinualGatheringPolicy, MulticastDNSMode, NetworkType
from .candidate import TCP_PRIORITY_OFFSET
from .checks import check_local_credentials
from .core import DEFAULT_MAX_PAIRS
from .credentials import LongTermCredential
from .events import BindingRequestHandler
from .mdns import is_usable_name
from .mux import TCPMux, UDPMux
from .options import AgentTimings, RenominationOptions
from .proxy import parse_proxy
from .rewrite import AddressRewriteRule
from .url import TURN_PROTOCOLS, ServerURL, parse_url

_DEFAULT_TIMINGS = AgentTimings()

_KINDS: dict[str, tuple[type, ...]] = {
    "timings": (AgentTimings,),
    "lite": (bool,),
    "renomination": (RenominationOptions, NoneType),
    "max_pairs": (int,),
    "use_candidate_check_priority": (bool,),
    "stun_gather_timeout": (int, float),
    "local_ufrag": (str,),
    "local_pwd": (str,),
    "port_range": (tuple, list, NoneType),
    "include_loopback": (bool,),
    "multicast_dns_host_name": (str,),
    "network_monitor_interval": (int, float),
    "udp_mux": (UDPMux, NoneType),
    "tcp_mux": (TCPMux, NoneType),
    "net": (NoneType, Network),  # in this order, since to ask a protocol takes twenty times as long
    "active_tcp": (bool,),
    "tcp_priority_offset": (int,),
    "tls_context": (ssl.SSLContext, NoneType),
    "proxy": (str,),
    "logger": (logging.Logger, NoneType),
}


@dataclass(slots=True)
class AgentOptions:
    """All fields have defaults; a wrong value raises InvalidAccessError or ValueError, a wrong URL URLSyntaxError, and
    what is of another type ArgumentTypeError.

    ``urls`` are STUN and TURN servers; a TURN server's ``ServerURL`` carries ``username`` and ``password``.
    ``candidate_types`` is the transport policy too: without ``host`` no address of the host's is told, and with
    ``relay`` alone nothing but the sockets to the TURN servers is opened.
    Filters take an interface's name or a numeric address, and say whether it may be used.
    ``net`` replaces the system's network.
    """

    urls: Sequence[ServerURL | str] = ()
    network_types: Sequence[NetworkType | str] = (NetworkType.UDP4, NetworkType.UDP6)
    candidate_types: Sequence[CandidateType | str] = (CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY)
    timings: AgentTimings = _DEFAULT_TIMINGS
    lite: bool = False
    """Whether to be a lite agent, for hosts that everybody can reach: it answers checks and makes none.

    ``candidate_types`` must be ``host`` alone (RFC 8445 section 6.2).
    """
    renomination: RenominationOptions | None = None
    """Whether a path may be changed for a better one without a restart, and when; None does as RFC 8445 says."""
    max_pairs: int = DEFAULT_MAX_PAIRS
    """Candidate pairs that are kept at most, those of the highest priorities (RFC 8445 section 6.1.2.5)."""
    use_candidate_check_priority: bool = False
    """Whether a lite agent stays where it is when the peer nominates a pair of lower priority."""
    on_binding_request: BindingRequestHandler | None = None
    """Asked about each authenticated check of the peer's, after it was answered. True selects its pair, if that works.

    On the controlling side the pair is nominated too. What it raises is logged, and means no.
    """
    stun_gather_timeout: float = 5.0
    """Seconds a server has to answer, and a ``.local`` name to be resolved."""
    local_ufrag: str = ""
    local_pwd: str = field(default="", repr=False)
    port_range: tuple[int, int] | None = None
    """The ports, both ends included, of host candidates."""
    interface_filter: Callable[[str], bool] | None = None
    ip_filter: Callable[[str], bool] | None = None
    remote_ip_filter: Callable[[str], bool] | None = None
    include_loopback: bool = False
    multicast_dns_mode: MulticastDNSMode | str = MulticastDNSMode.QUERY_ONLY
    """Whether the peer's ``.local`` names are resolved, and our host addresses hidden behind such names.

    Where nobody could resolve our names (no interface has multicast), ``query-and-gather`` leaves the host candidates
    out: it never tells an address that it was to hide.
    """
    multicast_dns_host_name: str = ""
    """The name of the first address that is hidden, ``something.local``; the others' are drawn at random."""
    address_rewrite_rules: Sequence[AddressRewriteRule] = ()
    """What the peer is told instead of, or beside, addresses of ours."""
    continual_gathering: ContinualGatheringPolicy | str = ContinualGatheringPolicy.ONCE
    """``continually`` follows the interfaces: candidates on those that appear trickle, those of vanished ones go.

    There is then never a last candidate: the gathering state stays ``gathering``, and ``on_candidate`` never says None
    (RFC 8838 section 8 lets none come behind it). ``gathering_complete`` returns when all has been gathered that was
    there at the beginning.
    """
    network_monitor_interval: float = 2.0
    """Seconds between looks at the interfaces, where the system does not tell of changes by itself."""
    udp_mux: UDPMux | None = None
    """The port to share with other agents, instead of sockets of the agent's own."""
    tcp_mux: TCPMux | None = None
    """The port on which connections are taken, where ``network_types`` has ``tcp4`` or ``tcp6``."""
    active_tcp: bool = True
    """Whether connections are opened, where ``network_types`` has ``tcp4`` or ``tcp6``; a lite agent opens none.

    Without a ``tcp_mux`` that includes simultaneous open, so that two such agents can meet.
    """
    tcp_priority_offset: int = TCP_PRIORITY_OFFSET
    """By how much a TCP candidate's type preference is less than a UDP candidate's, 0 to 126 (RFC 6544 section 4.2)."""
    tls_context: ssl.SSLContext | None = None
    """For ``turns:`` servers; None checks their certificates and names with the system's authorities.

    Over DTLS its ``verify_mode``, ``check_hostname`` and loaded authorities count, and nothing else of it.
    """
    turn_transport_protocols: Sequence[str] = TURN_PROTOCOLS
    """How TURN servers may be reached: any of ``udp``, ``dtls``, ``tcp``, ``tls``."""
    proxy: str = field(default="", repr=False)
    """``http://[user:password@]host:port`` or ``socks5://...``, for TCP and TLS to TURN servers; UDP goes past it."""
    net: Network | None = None
    logger: logging.Logger | None = None
    """Where the agent tells its story, in place of ``webrtc_py.ice``: changes of state at INFO, the rest at DEBUG."""

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind):
                # Not the value itself, which may be a secret.
                raise ArgumentTypeError(f"{name} is of type {type(value).__name__}; it must be {_described(kind)}")
        for name in ("interface_filter", "ip_filter", "remote_ip_filter", "on_binding_request"):
            function(name, getattr(self, name))
        self.urls = [parse_url(url) if isinstance(url, str) else url for url in listed("urls", self.urls)]
        self.network_types = [NetworkType(one) for one in listed("network_types", self.network_types)]
        self.candidate_types = [CandidateType(one) for one in listed("candidate_types", self.candidate_types)]
        self.turn_transport_protocols = listed("turn_transport_protocols", self.turn_transport_protocols)
        self.address_rewrite_rules = listed("address_rewrite_rules", self.address_rewrite_rules)
        self.multicast_dns_mode = MulticastDNSMode(self.multicast_dns_mode)
        self.continual_gathering = ContinualGatheringPolicy(self.continual_gathering)
        self._check_types()
        self._check_names()
        self._check_servers()
        self._check_rules()
        self._check_numbers()

    def _check_types(self) -> None:
        for name in ("network_types", "candidate_types"):
            if not getattr(self, name):
                raise InvalidAccessError(f"{name} is empty, so that there would be no candidate")
        if CandidateType.PRFLX in self.candidate_types:
            raise InvalidAccessError("peer-reflexive candidates are found by checks, and cannot be gathered")
        if self.lite and set(self.candidate_types) != {CandidateType.HOST}:
            raise InvalidAccessError("a lite agent has host candidates only: candidate_types must be ('host',)")

    def _check_names(self) -> None:
        if self.multicast_dns_host_name and not is_usable_name(self.multicast_dns_host_name):
            raise InvalidAccessError(
                f"multicast_dns_host_name is {self.multicast_dns_host_name!r}; it must be one label and .local"
            )
        if bool(self.local_ufrag) != bool(self.local_pwd):
            raise InvalidAccessError("local_ufrag and local_pwd are given together, or neither is")
        if self.local_ufrag:
            check_local_credentials(self.local_ufrag, self.local_pwd)

    def _check_servers(self) -> None:
        for url in self.urls:
            if not isinstance(url, ServerURL):
                raise ArgumentTypeError(f"urls has {url!r}; it must have ServerURL objects and strings")
            if url.is_turn and CandidateType.RELAY in self.candidate_types:
                if not (url.username and url.password):
                    raise InvalidAccessError(f"{url} needs a username and a password")
                LongTermCredential(url.username, url.password)
        for protocol in self.turn_transport_protocols:
            if protocol not in TURN_PROTOCOLS:
                raise InvalidAccessError(f"turn_transport_protocols has {protocol!r}; known are {TURN_PROTOCOLS}")
        if self.proxy:
            parse_proxy(self.proxy)

    def _check_numbers(self) -> None:
        for name in ("network_monitor_interval", "stun_gather_timeout"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise InvalidAccessError(f"{name} is {value!r}; it must be more than 0, and finite")
        if self.max_pairs < 1:
            raise InvalidAccessError(f"max_pairs is {self.max_pairs!r}; it must be at least 1")
        if not 0 <= self.tcp_priority_offset <= 126:
            raise InvalidAccessError(f"tcp_priority_offset is {self.tcp_priority_offset!r}; it must be 0 to 126")
        if self.port_range is not None:
            if self.udp_mux is not None:
                raise InvalidAccessError("udp_mux has a port, so that port_range has no meaning beside it")
            whole = [one for one in self.port_range if isinstance(one, int)]
            if len(self.port_range) != 2 or len(whole) != 2 or not 0 < whole[0] <= whole[1] < 65536:
                raise InvalidAccessError(f"port_range is {self.port_range!r}; it must be (low, high) of 1 to 65535")

    def _check_rules(self) -> None:
        for rule in self.address_rewrite_rules:
            if not isinstance(rule, AddressRewriteRule):
                raise ArgumentTypeError(f"address_rewrite_rules has {rule!r}; it must have AddressRewriteRule objects")
            if rule.as_candidate_type not in self.candidate_types:
                raise InvalidAccessError(
                    f"{rule} is for {rule.as_candidate_type} candidates, and candidate_types has none of those"
                )
            if rule.as_candidate_type is CandidateType.HOST and self.hides_hosts:
                raise InvalidAccessError(f"{rule} tells a host's address, which multicast_dns_mode hides")

    @property
    def server_urls(self) -> list[ServerURL]:
        return [url for url in self.urls if isinstance(url, ServerURL)]

    @property
    def hides_hosts(self) -> bool:
        """Whether names are told instead of the host's addresses."""
        return self.multicast_dns_mode is MulticastDNSMode.QUERY_AND_GATHER

    @property
    def core_timings(self) -> AgentTimings:
        """With relays alone, or without UDP, nothing better can come to be waited for; a lite agent hears less."""
        if self.lite:
            return self.timings.for_lite()
        if set(self.candidate_types) == {CandidateType.RELAY}:
            return self.timings.for_relay_only()
        if not {NetworkType.UDP4, NetworkType.UDP6}.intersection(self.network_types):
            return self.timings.for_tcp_only()
        return self.timings


def _described(kinds: tuple[type, ...]) -> str:
    names = [kind.__name__ for kind in kinds if kind is not NoneType]
    return " or ".join([*names, "None"] if NoneType in kinds else names)
