"""NATs of each kind, and firewalls, as rules for the kernel's packet filter.

The kernel's own NAT gives an inside address and port the same outside port towards everybody, as long as it may choose
the port itself (RFC 4787 section 4.1: endpoint-independent mapping); told to draw one anew each time, it is symmetric.
It lets in what answers, from address and port. The wider filters of RFC 4787 section 5 are a map, which learns from
what goes out who stands behind each outside port, and a set of those who may come in there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WAN = "wan"
LAN = "lan"


class NATKind(StrEnum):
    """The four that people speak of (RFC 3489 section 5)."""

    FULL_CONE = "full cone"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"


class Firewall(StrEnum):
    """What a router lets pass, whoever began."""

    OPEN = "open"
    NO_UDP = "no UDP"
    ONLY_TCP_443 = "only TCP 443"
    CLOSED = "closed"

    def ruleset(self) -> str:
        """Replaces the firewall that was there before; mappings of a NAT stay."""
        rules = {
            Firewall.OPEN: "",
            Firewall.NO_UDP: "meta l4proto udp drop",
            Firewall.ONLY_TCP_443: f"iifname {LAN} tcp dport 443 accept; oifname {LAN} tcp sport 443 accept; drop",
            Firewall.CLOSED: "drop",
        }[self]
        return f"""
table inet firewall {{}}
delete table inet firewall
table inet firewall {{
    chain forward {{ type filter hook forward priority filter - 10; {rules}; }}
}}
"""


@dataclass(frozen=True)
class NAT:
    """``timeout``: the whole seconds that a mapping lives when nothing passes it.

    ``hairpin``: hosts inside reach each other by their outside addresses, and are seen by theirs (RFC 4787 section 6).
    ``ports`` are the outside ports.
    """

    kind: NATKind
    hairpin: bool = False
    timeout: int = 60
    ports: tuple[int, int] = (20000, 29999)

    def ruleset(self, outside: str) -> str:
        """For a router whose outside address this is."""
        ports = f"{self.ports[0]}-{self.ports[1]}"
        drawn = "fully-random" if self.kind is NATKind.SYMMETRIC else ""
        let_in = {
            NATKind.FULL_CONE: f"iifname {WAN} dnat to udp dport map @inside",
            NATKind.RESTRICTED: f"iifname {WAN} udp dport . ip saddr @permitted dnat to udp dport map @inside",
            NATKind.PORT_RESTRICTED: "",
            NATKind.SYMMETRIC: "",
        }[self.kind]
        back_in = f"iifname {LAN} ip daddr {outside} dnat to udp dport map @inside" if self.hairpin else ""
        return f"""
table ip nat {{}}
delete table ip nat
table ip nat {{
    map inside {{
        type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout {self.timeout}s;
    }}
    set permitted {{
        type inet_service . ipv4_addr; flags dynamic,timeout; timeout {self.timeout}s;
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        {let_in}
        {back_in}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        oifname {WAN} meta l4proto udp masquerade to :{ports} {drawn}
        oifname {WAN} masquerade
        iifname {LAN} oifname {LAN} ct status dnat meta l4proto udp snat to {outside}:{ports}
    }}
    chain learn {{
        type filter hook postrouting priority 300;
        ip saddr {outside} ct direction original meta l4proto udp \\
            update @inside {{ udp sport : ct original ip saddr . ct original proto-src }}
        ip saddr {outside} ct direction reply meta l4proto udp \\
            update @inside {{ udp sport : ct reply ip saddr . ct reply proto-src }}
        ip saddr {outside} meta l4proto udp update @permitted {{ udp sport . ip daddr }}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname {LAN} oifname {WAN} accept
        ct status dnat accept
    }}
    chain input {{
        # What nobody asked for must not become a connection of the router's own, which would take its port.
        type filter hook input priority filter; policy drop;
        ct state established,related accept
    }}
}}
"""


STATEFUL_IPV6 = f"""
table ip6 firewall {{
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname {LAN} oifname {WAN} accept
        meta l4proto icmpv6 accept
    }}
}}
"""
"""What home routers do with IPv6: no translation, and only what is asked for comes in."""
