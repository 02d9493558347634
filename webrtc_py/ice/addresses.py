"""Which local addresses ICE uses (RFC 8445 section 5.1.1.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..runtime.network import Interface
from .candidate import interleave_families, without_zone

# Containers', virtual machines' and tunnels' interfaces: they seldom lead to the peer, so they come last (RFC 8421
# section 3).
_UNLIKELY_NAMES = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "vmnet",
    "vboxnet",
    "tun",
    "tap",
    "utun",
    "wg",
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

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_link_local(self) -> bool:
        return ipaddress.ip_address(self.host).is_link_local


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

    IPv6 link-local addresses can be reached but are not announced, since their zone means nothing to the peer.
    """
    interfaces = [item for item in interfaces if interface_filter is None or interface_filter(item.name)]
    likely: list[str] = []
    unlikely: list[str] = []
    link_local: list[str] = []
    for interface in interfaces:
        for host in _without_tracking(interface.addresses):
            is_wanted = use_ipv6 if ":" in host else use_ipv4
            if not is_wanted or not _is_usable(host, include_loopback):
                continue
            if ip_filter is not None and not ip_filter(without_zone(host)):
                continue
            if ":" in host and ipaddress.ip_address(host).is_link_local:
                link_local.append(host)
            else:
                (unlikely if interface.name.startswith(_UNLIKELY_NAMES) else likely).append(host)
    announced = dict.fromkeys(interleave_families(likely) + interleave_families(unlikely))
    return [LocalAddress(host, True) for host in announced] + [LocalAddress(host, False) for host in link_local]


def _is_usable(host: str, include_loopback: bool) -> bool:
    address = ipaddress.ip_address(host)
    if address.is_unspecified or address.is_multicast or (address.is_loopback and not include_loopback):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_loopback:
            return True
        return not (address.is_site_local or address.ipv4_mapped is not None or address in _IPV4_COMPATIBLE)
    return True


def _without_tracking(hosts: Iterable[str]) -> list[str]:
    """Drop an address made of the network card's number where its prefix has another (RFC 8445 section 5.1.1.1)."""
    prefixes: dict[bytes, list[str]] = {}
    kept = []
    for host in hosts:
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address) and not address.is_link_local:
            prefixes.setdefault(address.packed[:8], []).append(host)
        else:
            kept.append(host)
    for group in prefixes.values():
        private = [host for host in group if ipaddress.ip_address(host).packed[11:13] != b"\xff\xfe"]
        kept += private or group
    return kept
