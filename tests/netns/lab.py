"""A small internet of namespaces: one router in the middle, hosts with public addresses, and networks behind routers.

Everything public hangs on the router in the middle by a cable of its own, which can be pulled.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from types import TracebackType

from .namespaces import Namespace, connect, sweep
from .nat import LAN, NAT, STATEFUL_IPV6, WAN, Firewall, NATKind

HAS_IPV6 = Path("/proc/sys/net/ipv6").exists()

# The middle's end of every cable.
_GATEWAY = "198.18.0.1"
_GATEWAY_IPV6 = "fe80::1"
_FAR_IPV6 = "fe80::2"
_FORWARD = """
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
sysctl -qw net.ipv4.icmp_ratelimit=0
for key in bridge.bridge-nf-call-iptables bridge.bridge-nf-call-ip6tables; do
    test ! -e /proc/sys/net/$(echo $key | tr . /) || sysctl -qw net.$key=0
done
test ! -e /proc/sys/net/ipv6 || sysctl -qw net.ipv6.conf.all.forwarding=1
"""


class Lab:
    """Makes and removes everything::

    with Lab() as lab:
        server = lab.public("server", "192.0.2.10")
        alice = lab.router("home", "203.0.113.1", NAT(NATKind.SYMMETRIC)).host("alice")
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Lab:
        sweep()
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(self._stack)
            self._middle = self.namespace("middle")
            self._middle.run(_FORWARD)
            on_failure.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def namespace(self, label: str) -> Namespace:
        """Without any cable yet."""
        namespace = Namespace(label)
        self._stack.callback(namespace.delete)
        return namespace

    def public(self, label: str, *addresses: str) -> Site:
        """A host with these public addresses, IPv4 and IPv6."""
        namespace = self.namespace(label)
        return Site(namespace, self._cable(namespace, "eth0", addresses))

    def router(
        self, label: str, address: str, nat: NAT | NATKind, *, lan: str = "192.168.1", ipv6_prefix: str = ""
    ) -> Router:
        """A network 192.168.1.0/24, or another, behind a router with a public address.

        With an ``ipv6_prefix``, like ``2001:db8:1``, the network has IPv6 as well, behind a stateful firewall.
        """
        namespace = self.namespace(label)
        routed = (address, f"{ipv6_prefix}::/64") if ipv6_prefix else (address,)
        router = Router(self, namespace, self._cable(namespace, WAN, routed), address, lan, ipv6_prefix)
        router.set_nat(nat if isinstance(nat, NAT) else NAT(nat))
        return router

    def _cable(self, far: Namespace, interface: str, addresses: tuple[str, ...]) -> Cable:
        return Cable(self._middle, f"v{next(self._numbers)}", far, interface, addresses)


class Cable:
    """Between the middle and something public, which has ``addresses`` (and those in a prefix, behind it)."""

    def __init__(
        self, middle: Namespace, port: str, far: Namespace, interface: str, addresses: tuple[str, ...]
    ) -> None:
        self._middle, self._port = middle, port
        self._far, self._interface = far, interface
        self._addresses = addresses
        connect(middle, port, far, interface)
        middle.run(f"ip addr add {_GATEWAY}/32 dev {port}")
        self._up()

    def _up(self) -> None:
        near, far = [f"ip link set {self._port} up"], [f"ip link set {self._interface} up"]
        if any(":" in address for address in self._addresses):
            near.append(f"ip addr replace {_GATEWAY_IPV6}/64 dev {self._port} nodad")
            far.append(f"ip addr replace {_FAR_IPV6}/64 dev {self._interface} nodad")
            far.append(f"ip route replace default via {_GATEWAY_IPV6} dev {self._interface}")
        far.append(f"ip route replace {_GATEWAY} dev {self._interface}")
        for address in self._addresses:
            if "/" not in address:
                far.append(f"ip addr replace {address} dev {self._interface} {'nodad' if ':' in address else ''}")
            near.append(f"ip route replace {address} {f'via {_FAR_IPV6}' if ':' in address else ''} dev {self._port}")
        far.append(f"ip route replace default via {_GATEWAY}")
        self._far.run("\n".join(far))
        self._middle.run("\n".join(near))

    def pull(self) -> None:
        """Both ends see that the cable is out; addresses stay."""
        self._middle.run(f"ip link set {self._port} down")

    def plug_in(self) -> None:
        self._up()

    def replug(self) -> None:
        """The far end goes down and up: its kernel forgets what it masqueraded."""
        self._far.run(f"ip link set {self._interface} down")
        self._up()

    def renumber(self, *addresses: str) -> None:
        """The far end, a host, loses its addresses and gets others."""
        self._far.run("\n".join(f"ip addr del {address} dev {self._interface}" for address in self._addresses))
        self._addresses = addresses
        self._up()


class Site:
    """Something with a public address."""

    def __init__(self, namespace: Namespace, cable: Cable) -> None:
        self.namespace = namespace
        self.cable = cable


class Router(Site):
    """A network behind a NAT and a firewall."""

    def __init__(self, lab: Lab, namespace: Namespace, cable: Cable, address: str, lan: str, ipv6_prefix: str) -> None:
        super().__init__(namespace, cable)
        self._lab = lab
        self.address = address
        self._lan, self._ipv6_prefix = lan, ipv6_prefix
        self._hosts = itertools.count(2)
        namespace.run(f"{_FORWARD}\nip link add {LAN} type bridge\nip addr add {lan}.1/24 dev {LAN}")
        if ipv6_prefix:
            namespace.run(f"ip addr add {ipv6_prefix}::1/64 dev {LAN} nodad")
            namespace.nft(STATEFUL_IPV6)
        namespace.run(f"ip link set {LAN} up")
        self._take_turns(WAN)

    def _take_turns(self, interface: str) -> None:
        """One processor forwards for all, so that packets which meet in this router pass it one after the other.

        Else a mapping may be made twice at once, and Linux then gives one of the two packets an odd source port.
        """
        chooser = f"/sys/class/net/{interface}/queues/rx-0/rps_cpus"
        self.namespace.run(f"test ! -e {chooser} || echo 1 > {chooser}")

    def set_nat(self, nat: NAT) -> None:
        """Translate so from now on; what is mapped already stays so."""
        self.namespace.nft(nat.ruleset(self.address))
        timeouts = [f"net.netfilter.nf_conntrack_udp_timeout{stream}={nat.timeout}" for stream in ("", "_stream")]
        self.namespace.run(f"sysctl -qw {' '.join(timeouts)}")

    def set_firewall(self, firewall: Firewall) -> None:
        self.namespace.nft(firewall.ruleset())

    def rebind(self, nat: NAT) -> None:
        """Forget all mappings, as a router does that restarts. New ones are made by ``nat``."""
        self.set_nat(nat)
        self.cable.replug()

    def host(self, label: str, *, isolated: bool = False) -> Namespace:
        """A host inside. ``isolated`` ones do not reach each other, as guests of a wireless network do not."""
        number = next(self._hosts)
        namespace = self._lab.namespace(label)
        port = f"port{number}"
        connect(self.namespace, port, namespace, "eth0")
        self.namespace.run(f"ip link set {port} master {LAN} up")
        self._take_turns(port)
        if isolated:
            self.namespace.run(f"bridge link set dev {port} isolated on")
        script = [f"ip addr add {self._lan}.{number}/24 dev eth0", "ip link set eth0 up"]
        script.append(f"ip route add default via {self._lan}.1")
        if self._ipv6_prefix:
            script.append(f"ip addr add {self._ipv6_prefix}::{number}/64 dev eth0 nodad")
            script.append(f"ip route add default via {self._ipv6_prefix}::1")
        namespace.run("\n".join(script))
        return namespace
