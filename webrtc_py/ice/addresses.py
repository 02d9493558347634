"""Which local addresses ICE uses (RFC 8445 section 5.1.1.1)."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..runtime.network import Interface
from .candidate import interleave_families, parse_address, without_zone

logger = logging.getLogger(__name__)

# Containers', virtual machines' and tunnels' interfaces: they seldom lead to the peer, so they come last (RFC 8421
# section 3).
_UNLIKELY_NAMES = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "vmnet",
    "vboxnet",
    "cni",
    "flannel",
    "tun",
    "tap",
    "utun",
    "wg",
    "tailscale",
    "ppp",
    "zt",
    "ipsec",
)

_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address to open a socket on. ``is_announced`` is whether the peer is told of it."""

    host: str
    is_announced: bool
    interface: str = ""

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        return parse_address(self.host).is_loopback

    @property
    def is_link_local(self) -> bool:
        return parse_address(self.host).is_link_local


def local_addresses(
    interfaces: Iterable[Interface],
    *,
    use_ipv4: bool = True,
    use_ipv6: bool = True,
    include_loopback: bool = False,
    interface_filter: Callable[[str], bool] | None = None,
    ip_filter: Callable[[str], bool] | None = None,
) -> list[LocalAddress]:
    """The addresses to use, best first: IPv6 and IPv4 in turn (RFC 8421 section 4), unlikely interfaces last.

    IPv6 link-local addresses come last and are not announced, since they mean something on one link only. What a
    filter raises is logged, and means no.
    """
    is_wanted, is_allowed = Filter(interface_filter, "interface"), Filter(ip_filter, "IP")
    likely: dict[str, str] = {}
    unlikely: dict[str, str] = {}
    link_local: dict[str, str] = {}
    for interface in interfaces:
        if not is_wanted(interface.name):
            continue
        usable = [
            host
            for host in interface.addresses
            if (use_ipv6 if ":" in host else use_ipv4)
            and _is_usable(host, include_loopback)
            and is_allowed(without_zone(host))
        ]
        for host in _preferred(usable, interface):
            if _is_link_local_ipv6(host):
                link_local.setdefault(host, interface.name)
            else:
                (unlikely if interface.name.startswith(_UNLIKELY_NAMES) else likely).setdefault(host, interface.name)
    announced: dict[str, str] = {}
    for names in (likely, unlikely):
        for host in interleave_families(names):
            announced.setdefault(host, names[host])
    return [LocalAddress(host, True, name) for host, name in announced.items()] + [
        LocalAddress(host, False, name) for host, name in link_local.items()
    ]


class Filter:
    """An application's filter, None letting all pass. What it raises means no, and is logged the first time.

    Not each time, since the peer decides how often its addresses are asked about.
    """

    __slots__ = ("_has_raised", "_wanted", "_what")

    def __init__(self, wanted: Callable[[str], bool] | None, what: str) -> None:
        self._wanted = wanted
        self._what = what
        self._has_raised = False

    def __call__(self, value: str) -> bool:
        if self._wanted is None:
            return True
        try:
            return bool(self._wanted(value))
        except Exception:
            level = logging.DEBUG if self._has_raised else logging.ERROR
            logger.log(level, "the %s filter raised for %s", self._what, value, exc_info=True)
            self._has_raised = True
            return False


def _is_usable(host: str, include_loopback: bool) -> bool:
    address = parse_address(host)
    if address.is_unspecified or address.is_multicast or (address.is_loopback and not include_loopback):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_loopback:
            return True
        return not (address.is_site_local or address.ipv4_mapped is not None or address in _IPV4_COMPATIBLE)
    return True


def _is_link_local_ipv6(host: str) -> bool:
    return ":" in host and parse_address(host).is_link_local


def _preferred(hosts: list[str], interface: Interface) -> list[str]:
    """One interface's addresses without those that have a better one of the same prefix beside them.

    An address made of the network card's number tells everywhere whose it is, so it goes where there is another
    (RFC 8445 section 5.1.1.1), and a deprecated one is for the connections it already has (RFC 4862 section 5.5.4).
    Temporary addresses come first.
    """
    groups: dict[object, list[str]] = {}
    for host in hosts:
        address = parse_address(host)
        if isinstance(address, ipaddress.IPv6Address) and not address.is_link_local:
            groups.setdefault(address.packed[:8], []).append(host)
        else:
            groups[host] = [host]
    kept: list[str] = []
    for group in groups.values():
        current = [host for host in group if host not in interface.deprecated] or group
        private = [host for host in current if host in interface.temporary or not _tells_the_card(host)] or current
        kept += sorted(private, key=lambda host: host not in interface.temporary)
    return kept


def _tells_the_card(host: str) -> bool:
    """Whether an IPv6 address ends in an EUI-64 (RFC 4291 appendix A)."""
    address = parse_address(host)
    return isinstance(address, ipaddress.IPv6Address) and address.packed[11:13] == b"\xff\xfe"
