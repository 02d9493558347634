"""Agents in networks that the matrix has no cell for: behind one router, over IPv6, shut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from .lab import HAS_IPV6, Lab
from .meeting import A_PATH, GATHER_TIMEOUT, NO_PATH, PROGRAM, Met, meet
from .namespaces import Namespace
from .nat import NAT, Firewall, NATKind
from .remote import Remote
from .turn import TurnServer, turn_server

pytestmark = [
    pytest.mark.netns,
    pytest.mark.interop,
    pytest.mark.realtime,
    pytest.mark.needs("netns", "coturn"),
]

# What a busy machine may add.
ALLOWANCE = 20.0

SERVER = ("192.0.2.10", "2001:db8:ffff::10" if HAS_IPV6 else "192.0.2.11")


needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="not applicable: this kernel has no IPv6")

Networks = Callable[[Lab], tuple[Namespace, ...]]
Test = Callable[..., Coroutine[None, None, None]]


def run(directory: Path, networks: Networks, test: Test) -> None:
    """Make a server and the networks; the test gets the server, and agents in each network."""

    async def main() -> None:
        with Lab() as lab, ExitStack() as stack:
            place = lab.public("server", *SERVER).namespace
            server = stack.enter_context(turn_server(place, SERVER[0], directory, other_address=SERVER[1]))
            async with AsyncExitStack() as running:
                places = [
                    await running.enter_async_context(Remote.start(PROGRAM, namespace, directory))
                    for namespace in networks(lab)
                ]
                await test(server, *places)

    asyncio.run(main())


def two_behind_one_router(nat: NAT, *, isolated: bool) -> Networks:
    def make(lab: Lab) -> tuple[Namespace, ...]:
        router = lab.router("router", "203.0.113.1", nat)
        return router.host("left", isolated=isolated), router.host("right", isolated=isolated)

    return make


def test_two_hosts_of_one_network_need_neither_router_nor_server(tmp_path: Path) -> None:
    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        met = await meet("direct", left, right, [server.stun])
        assert met.types == ("host", "host")
        assert met.left.addresses == ("192.168.1.2", "192.168.1.3")

    run(tmp_path, two_behind_one_router(NAT(NATKind.SYMMETRIC), isolated=False), test)


@pytest.mark.parametrize("hairpin", [True, False])
def test_two_hosts_behind_one_router_that_do_not_see_each_other(hairpin: bool, tmp_path: Path) -> None:
    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        by_stun, by_turn = await asyncio.gather(
            meet("stun", left, right, [server.stun], patience=A_PATH if hairpin else NO_PATH),
            meet("turn", left, right, [server.udp]),
        )
        assert by_stun.types == (("srflx", "srflx") if hairpin else None)
        # Of two paths over one relay the controlling end's own socket with the other's relay is the better.
        assert by_turn.types == (("srflx", "srflx") if hairpin else ("srflx", "relay"))

    run(tmp_path, two_behind_one_router(NAT(NATKind.FULL_CONE, hairpin=hairpin), isolated=True), test)


def homes(*prefixes: str, firewall: Firewall = Firewall.OPEN) -> Networks:
    """Two homes with symmetric NATs; those with a prefix have IPv6."""

    def make(lab: Lab) -> tuple[Namespace, ...]:
        routers = [
            lab.router(f"home-{number}", f"203.0.113.{number}", NATKind.SYMMETRIC, ipv6_prefix=prefix)
            for number, prefix in enumerate(prefixes, 1)
        ]
        routers[0].set_firewall(firewall)
        return routers[0].host("left"), routers[1].host("right")

    return make


@needs_ipv6
def test_ipv6_connects_where_ipv4_cannot(tmp_path: Path) -> None:
    """Both firewalls let in only what was asked for: checks from both ends open both (RFC 8445 section 2.2)."""

    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        met = await meet("without a server", left, right)
        assert met.types == ("host", "host")
        assert met.left.addresses == ("2001:db8:1::2", "2001:db8:2::2")

    run(tmp_path, homes("2001:db8:1", "2001:db8:2"), test)


@needs_ipv6
def test_ipv6_at_one_end_alone_is_no_path(tmp_path: Path) -> None:
    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        by_stun, by_turn = await asyncio.gather(
            meet("stun", left, right, [server.stun], patience=NO_PATH), meet("turn", left, right, [server.udp])
        )
        assert by_stun.types is None
        # Either end's relay will do: which one is better hangs on the order of each end's own addresses.
        assert set(by_turn.types or ()) == {"prflx", "relay"}

    run(tmp_path, homes("2001:db8:1", ""), test)


def test_an_end_that_is_shut_off_fails_in_time_and_says_why(tmp_path: Path) -> None:
    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        urls = [server.udp, server.tcp, server.tls]
        met = await meet("closed", left, right, urls, server=server, patience=NO_PATH)
        assert met.types is None
        for end in (met.left, met.right):
            assert NO_PATH - 0.5 < end.seconds < NO_PATH + ALLOWANCE
            assert end.reason

    run(tmp_path, homes("", "", firewall=Firewall.CLOSED), test)


def test_a_server_that_is_not_there_delays_nothing(tmp_path: Path) -> None:
    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        met: Met = await meet("dead", left, right, ["stun:192.0.2.99:3478", "turn:192.0.2.99:3478", server.udp])
        assert met.types == ("prflx", "relay")
        # A relay is acceptable after two seconds; the server has three times as long to answer.
        assert met.left.seconds < GATHER_TIMEOUT

    run(tmp_path, homes("", ""), test)


# By what a public end that listens on TCP port 443 is reached: its transport, and the types of the candidates.
OPEN_PORT = {
    Firewall.OPEN: ("udp", "prflx", "host"),
    Firewall.NO_UDP: ("tcp", "prflx", "host"),
    Firewall.ONLY_TCP_443: ("tcp", "prflx", "host"),
    Firewall.CLOSED: None,
}


@pytest.mark.row("TCP-01")
def test_ice_over_tcp_to_an_open_port(tmp_path: Path) -> None:
    """No server at all: services let guests in who are behind strict firewalls. UDP is better where it passes."""

    def make(lab: Lab) -> tuple[Namespace, ...]:
        guests = []
        for number, firewall in enumerate(OPEN_PORT, 1):
            router = lab.router(f"router-{number}", f"203.0.113.{number}", NATKind.SYMMETRIC)
            router.set_firewall(firewall)
            guests.append(router.host(f"guest-{number}"))
        return lab.public("service", "198.51.100.1").namespace, *guests

    async def try_one(service: Remote, guest: Remote, firewall: Firewall) -> None:
        expected = OPEN_PORT[firewall]
        network_types = ("udp4", "tcp4")
        patience = A_PATH if expected else NO_PATH
        calls, called = await asyncio.gather(
            meet(f"{firewall}: calls", guest, service, network_types=network_types, patience=patience),
            meet(f"{firewall}: is called", service, guest, network_types=network_types, patience=patience),
        )
        assert calls.types == (expected and expected[1:])
        assert called.types == (expected and expected[:0:-1])
        transports = {end.transport for met in (calls, called) for end in (met.left, met.right)}
        assert transports == {expected and expected[0]}

    async def test(server: TurnServer, service: Remote, *guests: Remote) -> None:
        await service.call("listen_tcp", port=443)
        await asyncio.gather(
            *(try_one(service, guest, firewall) for guest, firewall in zip(guests, OPEN_PORT, strict=True))
        )

    run(tmp_path, make, test)


@pytest.mark.row("DST-03")
@needs_ipv6
def test_an_end_with_ipv6_alone_reaches_one_with_ipv4_alone_by_a_relay(tmp_path: Path) -> None:
    """The server has both, and gives the end with IPv6 a relay that speaks IPv4 (RFC 8656 section 7.1)."""

    def make(lab: Lab) -> tuple[Namespace, ...]:
        return lab.public("left", "2001:db8:1::1").namespace, lab.public("right", "198.51.100.1").namespace

    async def test(server: TurnServer, left: Remote, right: Remote) -> None:
        met = await meet("families", left, right, [f"turn:[{SERVER[1]}]:3478", server.udp])
        assert met.types is not None
        assert "relay" in met.types

    run(tmp_path, make, test)
