"""Ways to servers on a virtual network: every protocol, both families, proxies, SRV records, servers that fail."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.server_certificate import server_certificate
from tests.support.turn_server import FakeTurnServer
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from tests.support.virtual_proxy import VirtualProxy
from tests.support.virtual_turn import TURNServer
from webrtc_py.errors import InvalidAccessError, URLSyntaxError
from webrtc_py.ice import stun
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.gather_plan import GatheringError
from webrtc_py.ice.url import ServerURL, parse_url
from webrtc_py.states import CandidateType

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY
NAME = "turn.example"
PROTOCOLS = {"udp": ("turn", "udp"), "dtls": ("turns", "udp"), "tcp": ("turn", "tcp"), "tls": ("turns", "tcp")}


def url_of(protocol: str, host: str = NAME, password: str = "secret") -> ServerURL:
    scheme, transport = PROTOCOLS[protocol]
    return ServerURL(scheme, host, 5349 if scheme == "turns" else 3478, transport, "user", password)


def tls_context(*names: str) -> ssl.SSLContext:
    return server_certificate(*(names or (NAME,))).client_context()


def in_network(test: Callable[[VirtualNetwork], Any], *, limit: float = 600.0, **conditions: Any) -> None:
    async def main() -> None:
        await test(VirtualNetwork(seed=1, **conditions))
        await asyncio.sleep(1)  # until servers have heard that their clients are gone

    run(main(), timeout_virtual=limit)


def dual_stack_server(network: VirtualNetwork) -> TURNServer:
    server = network.turn_server(NAME, "192.0.2.4", "2001:db8::4")
    server.secure(server_certificate(NAME))
    return server


class Gathered:
    """An agent that has gathered, and how long it took."""

    def __init__(self, host: VirtualHost, *urls: ServerURL | str, **options: Any) -> None:
        options = {"candidate_types": [RELAY], "tls_context": tls_context(), **options}
        self.agent = Agent(AgentOptions(urls=urls, net=host, **options))
        self.candidates: list[Candidate] = []
        self.errors: list[GatheringError] = []
        self.agent.on_candidate(lambda one: self.candidates.append(one) if one is not None else None)
        self.agent.on_candidate_error(self.errors.append)
        self.took = 0.0

    async def __aenter__(self) -> Gathered:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await self.agent.gather_candidates()
        await self.agent.gathering_complete()
        self.took = loop.time() - started
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()

    @property
    def relayed(self) -> list[str]:
        return sorted(one.address for one in self.candidates if one.type is RELAY)

    @property
    def codes(self) -> list[int]:
        return [error.error_code for error in self.errors]


@asynccontextmanager
async def connected(one: Gathered, other: Gathered) -> AsyncIterator[tuple[Conn, Conn]]:
    async with one, other:
        for near, far in ((one, other), (other, one)):
            for candidate in near.candidates:
                far.agent.add_remote_candidate(candidate)
            far.agent.add_remote_candidate(None)
        yield await asyncio.gather(
            one.agent.dial(*other.agent.get_local_user_credentials()),
            other.agent.accept(*one.agent.get_local_user_credentials()),
        )


@pytest.mark.row("TRN-01", "TRN-05", "TRN-07")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_relays_by_every_protocol(protocol: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = dual_stack_server(network)
        alice = network.nat("router", "198.51.100.1", kind="symmetric").host("alice", "10.0.0.2")
        bob = network.nat("gateway", "198.51.100.2", kind="symmetric").host("bob", "10.0.0.3")
        url = url_of(protocol)
        one, other = Gathered(alice, url), Gathered(bob, url)
        async with connected(one, other) as (here, there):
            assert {candidate.relay_protocol for candidate in one.candidates} == {protocol}
            assert one.relayed == ["192.0.2.4", "2001:db8::4"]
            for size in (1, 7, 1200):
                here.send(b"\xff" * size)
                assert await there.recv() == b"\xff" * size
                there.send(b"\xff" * size)
                assert await here.recv() == b"\xff" * size
            assert server.allocations == 2
        await asyncio.sleep(1)
        assert server.allocations == 0

    in_network(test, delay=0.02)


@pytest.mark.row("TRN-16")
@pytest.mark.parametrize("protocol", ["tls", "dtls"])
@pytest.mark.parametrize("context", [None, "other.example"])
def test_a_server_is_verified_against_its_name(protocol: str, context: str | None) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server(NAME, "192.0.2.4").secure(server_certificate(context or NAME))
        trusted = None if context is None else tls_context(context)
        async with Gathered(network.host("alice", "192.0.2.1"), url_of(protocol), tls_context=trusted) as gathered:
            assert gathered.candidates == []
            [error] = gathered.errors
            assert error.error_code == 701
            assert "certificate is" in error.reason

    in_network(test)


@pytest.mark.row("TRN-08", "DST-03")
@pytest.mark.parametrize("kinds", [[RELAY], [HOST, SRFLX, RELAY]])
def test_a_host_with_ipv4_and_one_with_ipv6_meet_by_a_server_that_has_both(kinds: list[CandidateType]) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = dual_stack_server(network)
        one = Gathered(network.host("alice", "192.0.2.1"), url_of("udp"), candidate_types=kinds)
        other = Gathered(network.host("bob", "2001:db8::2"), url_of("tcp"), candidate_types=kinds)
        async with connected(one, other) as (here, there):
            here.send(b"hello")
            assert await there.recv() == b"hello"
            assert server.allocations == 2

    in_network(test)


@pytest.mark.row("TRN-03", "TRN-04", "TRN-06", "ICE-10", "STN-13")
@pytest.mark.parametrize("protocol", ["udp", "tls"])
def test_a_relayed_path_lives_for_hours(protocol: str) -> None:
    """The server is strict: allocations and channels end after 10 minutes, permissions after 5, nonces after 7."""

    async def test(network: VirtualNetwork) -> None:
        server = dual_stack_server(network)
        nat = network.nat("router", "198.51.100.1", timeout=30.0)
        one, other = (
            Gathered(nat.host("alice", "10.0.0.2"), url_of(protocol)),
            Gathered(nat.host("bob", "10.0.0.3"), url_of(protocol)),
        )
        async with connected(one, other) as (here, there):
            for minute in range(125):
                if minute % 7 == 0:
                    for served in server.served:
                        served.renew_nonce(f"nonce of minute {minute}")
                await asyncio.sleep(60)
                here.send(b"ping")
                assert await there.recv() == b"ping"
                there.send(b"pong")
                assert await here.recv() == b"pong"
            for served in server.served:
                assert 12 <= served.requests["REFRESH"] <= 60
                # A permission and a channel each four minutes, and once more for each stale nonce.
                assert served.requests["CREATE_PERMISSION"] + served.requests["CHANNEL_BIND"] <= 300

    in_network(test, limit=20_000.0)


@pytest.mark.row("TRN-09")
def test_an_allocation_that_nobody_uses_is_not_forgotten_by_a_nat() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "192.0.2.4")
        nat = network.nat("router", "198.51.100.1", timeout=30.0)
        async with Gathered(nat.host("alice", "10.0.0.2"), url_of("udp")) as gathered:
            await asyncio.sleep(3600)
            assert server.allocations == 1
            assert gathered.agent.get_local_candidates()

    in_network(test, limit=4000.0)


@pytest.mark.row("TRN-09")
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_server_that_closes_its_connections_takes_the_relay_with_it_at_once(protocol: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        dying, other = dual_stack_server(network), network.turn_server("other.example", "192.0.2.5")
        urls = [url_of(protocol), url_of("udp", "other.example")]
        one = Gathered(network.host("alice", "192.0.2.1"), *urls)
        two = Gathered(network.host("bob", "192.0.2.2"), *urls)
        async with connected(one, two) as (here, there):
            await asyncio.sleep(5)
            dying.drop_streams()
            await asyncio.sleep(0.01)
            assert {candidate.url for candidate in one.agent.get_local_candidates()} == {str(urls[1])}
            await asyncio.sleep(10)
            here.send(b"still there")
            assert await there.recv() == b"still there"
            assert dying.allocations == 0
            assert other.allocations == 2

    in_network(test)


@pytest.mark.row("TRN-02", "STN-15")
@pytest.mark.parametrize(("length", "follows"), [(1, True), (3, True), (4, False)])
def test_a_chain_of_redirections_is_followed_so_far(length: int, follows: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        servers = [network.turn_server(f"{n}.example", f"192.0.2.{10 + n}") for n in range(length + 1)]
        for here, there in itertools.pairwise(servers):
            redirect(here, there.host.interfaces()[1].addresses[0])
        async with Gathered(network.host("alice", "192.0.2.1"), url_of("udp", "0.example")) as gathered:
            assert gathered.codes == ([] if follows else [300])
            assert gathered.relayed == ([f"192.0.2.{10 + length}"] if follows else [])

    in_network(test)


def redirect(server: TURNServer, target: str, port: int = 3478) -> None:
    """Let a server send everybody on to ``target``."""

    def prepare(served: FakeTurnServer) -> None:
        served.answers[stun.Method.ALLOCATE] = lambda request: served.error(
            request, 300, {"ALTERNATE-SERVER": (target, port)}
        )

    server.prepare = prepare


@pytest.mark.row("STN-15", "TRN-15")
@pytest.mark.parametrize("target", ["192.0.2.4", "192.0.2.5", "2001:db8::5", "127.0.0.1", "0.0.0.0"])
def test_a_redirection_to_where_we_were_or_cannot_go_is_an_error(target: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        first = network.turn_server(NAME, "192.0.2.4")
        second = network.turn_server("second.example", "192.0.2.5", "2001:db8::5")
        redirect(first, target)
        redirect(second, "192.0.2.4")
        async with Gathered(network.host("alice", "192.0.2.1"), url_of("udp")) as gathered:
            assert (gathered.candidates, gathered.codes) == ([], [300])
            assert len(first.served) == 1
            assert len(second.served) == (target == "192.0.2.5")

    in_network(test)


@pytest.mark.row("STN-15", "TRN-16")
@pytest.mark.parametrize("protocol", ["tls", "dtls"])
@pytest.mark.parametrize("names", [("first.example", NAME), ("second.example",)])
def test_a_redirection_does_not_change_the_name_to_verify(protocol: str, names: tuple[str, ...]) -> None:
    async def test(network: VirtualNetwork) -> None:
        first = network.turn_server("first.example", "192.0.2.4")
        second = network.turn_server("second.example", "192.0.2.5")
        both = server_certificate("first.example", NAME), server_certificate(*names)
        first.secure(both[0])
        second.secure(both[1])
        redirect(first, "192.0.2.5", 5349)
        context = both[0].client_context()
        context.load_verify_locations(cadata=both[1].certificate.decode())
        alice = network.host("alice", "192.0.2.1")
        async with Gathered(alice, url_of(protocol, "first.example"), tls_context=context) as gathered:
            is_good = "first.example" in names
            assert gathered.relayed == (["192.0.2.5"] if is_good else [])
            assert gathered.codes == ([] if is_good else [701])

    in_network(test)


@pytest.mark.row("TRN-02")
@pytest.mark.parametrize("taken", [2, 3])
def test_three_ports_are_tried_where_the_server_knows_ours_from_others(taken: int) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "192.0.2.4")
        left = iter(range(taken))

        def prepare(served: FakeTurnServer) -> None:
            served.allocated = next(left, None) is not None
            served.expires_at = float("inf")

        server.prepare = prepare
        async with Gathered(network.host("alice", "192.0.2.1"), url_of("udp")) as gathered:
            assert gathered.codes == ([] if taken < 3 else [437])
            assert bool(gathered.candidates) == (taken < 3)
            assert len(server.served) == 3
            for served in server.served:
                served.allocated = False

    in_network(test)


@pytest.mark.row("TRN-08")
def test_a_server_that_one_family_does_not_reach_is_tried_by_the_other() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "2001:db8::4", "192.0.2.4")
        network.tap(lambda packet: DROP if packet.destination == ("2001:db8::4", 3478) else None)
        async with Gathered(network.host("alice", "192.0.2.1", "2001:db8::1"), url_of("udp")) as gathered:
            assert gathered.relayed == ["192.0.2.4", "2001:db8::4"]
            assert gathered.errors == []
            assert 1.0 <= gathered.took < 1.1
            assert server.allocations == 1

    in_network(test)


@pytest.mark.row("TRN-03")
@pytest.mark.parametrize("closes_after", [1.3, 2.0, 4.0])
def test_the_address_that_answers_waits_for_no_other_and_is_given_back_whenever(closes_after: float) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = dual_stack_server(network)

        def stall(served: FakeTurnServer) -> None:
            if ":" not in served.mapped[0]:
                served.answers[stun.Method.ALLOCATE] = lambda request: (
                    None if "USERNAME" in request.attributes else served.respond(request)
                )

        server.prepare = stall
        gathered = Gathered(network.host("alice", "192.0.2.1", "2001:db8::1"), url_of("udp"))
        await gathered.agent.gather_candidates()
        await asyncio.sleep(1.2)
        assert gathered.relayed == ["192.0.2.4", "2001:db8::4"]
        await asyncio.sleep(closes_after - 1.2)
        await gathered.agent.close()
        await asyncio.sleep(1)
        assert server.allocations == 0

    in_network(test, delay=0.02)


def test_a_slow_server_is_asked_at_both_addresses_and_keeps_one_allocation() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "2001:db8::4", "192.0.2.4")
        async with Gathered(network.host("alice", "192.0.2.1", "2001:db8::1"), url_of("udp")) as gathered:
            assert len(gathered.relayed) == 2
            await asyncio.sleep(5)
            assert server.allocations == 1
            assert len(server.served) == 2

    in_network(test, delay=0.4)


@pytest.mark.row("TRN-02")
def test_a_server_that_refuses_us_is_not_asked_again_at_its_other_address() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "2001:db8::4", "192.0.2.4")
        alice = network.host("alice", "192.0.2.1", "2001:db8::1")
        async with Gathered(alice, url_of("udp", password="wrong")) as gathered:
            assert gathered.codes == [401]
            assert len(server.served) == 1

    in_network(test)


@pytest.mark.parametrize("protocols", [["udp"], ["tcp", "tls"], ["dtls"], []])
def test_only_the_ways_that_are_wanted_are_gone(protocols: list[str]) -> None:
    async def test(network: VirtualNetwork) -> None:
        dual_stack_server(network)
        urls = [url_of(protocol) for protocol in PROTOCOLS]
        alice = network.host("alice", "192.0.2.1")
        async with Gathered(alice, *urls, turn_transport_protocols=protocols) as gathered:
            assert {candidate.relay_protocol for candidate in gathered.candidates} == set(protocols)
            assert gathered.errors == []

    in_network(test)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_filtered_interface_is_not_used_to_reach_servers(protocol: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = dual_stack_server(network)
        alice = network.host("alice", "192.0.2.1")
        alice.add_interface("eth1", "192.0.2.7")
        options = {"interface_filter": lambda name: name == "eth1"}
        async with Gathered(alice, url_of(protocol), **options) as gathered:
            assert gathered.candidates
            assert {host for host, _ in server.clients} == {"192.0.2.7"}

    in_network(test)


@pytest.mark.row("TRN-11")
def test_a_server_without_a_port_is_looked_for_in_srv_records() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("one.example.org", "192.0.2.4", port=7000)
        network.names["example.org"] = ["192.0.2.99"]
        network.services["_turn._udp.example.org"] = [("gone.example.org", 1), ("one.example.org", 7000)]
        network.names["gone.example.org"] = []
        alice = network.host("alice", "192.0.2.1")
        url = parse_url("turn:example.org")
        with_user = ServerURL(url.scheme, url.host, url.port, url.transport, "user", "secret", url.port_given)
        async with Gathered(alice, with_user) as gathered:
            assert gathered.relayed == ["192.0.2.4"]

    in_network(test)


@pytest.mark.row("TRN-11")
@pytest.mark.parametrize(
    ("text", "services", "asked"),
    [
        ("stun:stun.example", {}, ("192.0.2.3", 3478)),
        ("stun:stun.example", {"_stun._udp.stun.example": [("stun.example", 3479)]}, ("192.0.2.3", 3479)),
        ("stun:stun.example", {"_stun._tcp.stun.example": [("stun.example", 3479)]}, ("192.0.2.3", 3478)),
        ("stun:stun.example:3478", {"_stun._udp.stun.example": [("stun.example", 3479)]}, ("192.0.2.3", 3478)),
        ("stun:192.0.2.3", {"_stun._udp.192.0.2.3": [("stun.example", 3479)]}, ("192.0.2.3", 3478)),
        ("stun:stun.example", {"_stun._udp.stun.example": []}, None),
        ("stun:stun.example", {"_stun._udp.stun.example": [("nowhere.example", 1)]}, None),
    ],
)
def test_what_srv_records_change(
    text: str, services: dict[str, list[tuple[str, int]]], asked: tuple[str, int] | None
) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        network.stun_server("more.example", "192.0.2.5", port=3479)
        network.services.update(services)
        network.names["nowhere.example"] = []
        seen: set[tuple[str, int]] = set()
        network.tap(lambda packet: seen.add(packet.destination) if packet.source[0] == "192.0.2.1" else None)
        alice = network.host("alice", "192.0.2.1")
        async with Gathered(alice, text, candidate_types=[HOST, SRFLX]) as gathered:
            assert seen == ({asked} if asked else set())
            if asked is None:
                assert gathered.codes == [701]

    in_network(test)


@pytest.mark.row("TRN-11")
def test_a_resolver_that_knows_no_srv_delays_nothing_by_much() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")

        async def never(service: str, host: str) -> list[tuple[str, int]]:
            await asyncio.sleep(1000)
            return []

        alice.resolve_srv = never  # type: ignore[method-assign]
        async with Gathered(alice, "stun:stun.example", candidate_types=[HOST, SRFLX]) as gathered:
            assert SRFLX in [candidate.type for candidate in gathered.candidates]
            assert gathered.took == pytest.approx(0.5, abs=0.1)

    in_network(test)


# Proxies


def behind_a_proxy(network: VirtualNetwork, scheme: str) -> tuple[VirtualHost, VirtualProxy]:
    """A host that reaches nothing but the proxy, which is why it does not resolve the server's name either."""
    office = network.nat("firewall", "198.51.100.1")
    proxy = VirtualProxy(network.host("proxy", "198.51.100.9"), 3128, scheme, username="me", password="hunter2")
    network.names["proxy.example"] = ["198.51.100.9"]
    alice = office.host("alice", "10.0.0.2")
    network.tap(lambda packet: DROP if packet.sender is alice else None)
    return alice, proxy


@pytest.mark.row("TRN-14", "TRN-16")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_turn_through_a_proxy(scheme: str, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def test(network: VirtualNetwork) -> None:
        dual_stack_server(network)
        alice, proxy = behind_a_proxy(network, scheme)
        url = url_of(protocol)
        one = Gathered(alice, url, proxy=f"{scheme}://me:hunter2@proxy.example:3128")
        other = Gathered(network.host("bob", "192.0.2.2"), url_of("udp"))
        async with connected(one, other) as (here, there):
            assert proxy.asked == [(NAME, url.port)]
            here.send(b"out of the office")
            assert await there.recv() == b"out of the office"
            # With TLS the proxy sees nothing of what is said inside.
            assert (b"example.org" in proxy.seen) == (protocol == "tcp")

    in_network(test)
    assert "hunter2" not in caplog.text


@pytest.mark.row("TRN-14")
@pytest.mark.parametrize("server", [NAME, "192.0.2.4", "2001:db8::4"])
@pytest.mark.parametrize("source", ["10.0.0.3", "2001:db8:1::2"])
def test_filters_are_about_how_the_proxy_is_reached(server: str, source: str) -> None:
    """And not about the server, of which there may be nothing but a name."""

    async def test(network: VirtualNetwork) -> None:
        dual_stack_server(network)
        alice = network.host("alice", "10.0.0.2", "10.0.0.3", "2001:db8:1::2")
        proxy = VirtualProxy(network.host("proxy", "198.51.100.9", "2001:db8:9::9"), 3128, "http")
        network.names["proxy.example"] = ["198.51.100.9", "2001:db8:9::9"]
        options = {"proxy": "http://proxy.example:3128", "ip_filter": lambda ip: ip == source}
        async with Gathered(alice, url_of("tcp", server), **options) as gathered:
            assert {one.type for one in gathered.candidates} == {RELAY}
            assert (proxy.asked, proxy.clients) == ([(server, 3478)], [source])

    in_network(test)


@pytest.mark.row("TRN-14")
def test_a_proxy_that_no_allowed_address_can_reach() -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "10.0.0.2", "2001:db8:1::2")
        VirtualProxy(network.host("proxy", "198.51.100.9"), 3128, "http")
        proxy = "http://198.51.100.9:3128"
        async with Gathered(alice, url_of("tcp"), proxy=proxy, ip_filter=lambda ip: ":" in ip) as gathered:
            [error] = gathered.errors
            assert f"the proxy {proxy} cannot be reached: no local address can reach" in error.reason

    in_network(test)


@pytest.mark.row("TRN-14", "TRN-16")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_inside_the_tunnel_the_servers_certificate_counts(scheme: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server(NAME, "192.0.2.4").secure(server_certificate("other.example"))
        alice, _ = behind_a_proxy(network, scheme)
        proxy = f"{scheme}://me:hunter2@proxy.example:3128"
        async with Gathered(alice, url_of("tls"), proxy=proxy, tls_context=tls_context("other.example")) as gathered:
            [error] = gathered.errors
            assert "certificate is" in error.reason

    in_network(test)


@pytest.mark.row("TRN-14")
@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://me:wrong@proxy.example:3128", "the proxy http://proxy.example:3128: it answers 407"),
        ("http://proxy.example:3128", "it answers 407"),
        ("http://proxy.example:9", "the proxy http://proxy.example:9 cannot be reached"),
        ("socks5://proxy.example:3128", "no connection through the proxy within 5 s"),
    ],
)
def test_a_proxy_that_lets_us_through_to_nothing_is_named(proxy: str, reason: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server(NAME, "192.0.2.4")
        alice, _ = behind_a_proxy(network, "http")
        async with Gathered(alice, url_of("tcp"), proxy=proxy) as gathered:
            [error] = gathered.errors
            assert error.error_code == 701
            assert reason in error.reason

    in_network(test)


@pytest.mark.row("TRN-16", "STN-16")
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"proxy": "proxy.example:3128"}, URLSyntaxError),
        ({"turn_transport_protocols": ["quic"]}, InvalidAccessError),
        ({"urls": [ServerURL("turn", NAME, 3478, "udp", "hunter2\n", "hunter2")]}, InvalidAccessError),
        ({"urls": [ServerURL("turn", NAME, 3478, "udp", "u" * 509, "hunter2")]}, InvalidAccessError),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        AgentOptions(**options)
    assert "hunter2" not in str(refused.value)


@pytest.mark.row("TRN-16")
def test_options_do_not_show_the_proxys_password() -> None:
    options = AgentOptions(urls=[url_of("udp", password="hunter2")], proxy="http://me:hunter2@proxy.example:3128")
    assert "hunter2" not in repr(options)


@pytest.mark.row("TRN-15")
@pytest.mark.parametrize(
    "mapped", [("0.0.0.0", 5), ("198.51.100.1", 0), ("224.0.0.1", 5), ("::", 5), ("2001:db8::1", 5)]
)
def test_a_stun_server_that_sees_us_at_nobodys_address_gives_no_candidate(mapped: tuple[str, int]) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").mapped = mapped
        alice = network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")
        async with Gathered(alice, "stun:stun.example", candidate_types=[HOST, SRFLX]) as gathered:
            assert [candidate.type for candidate in gathered.candidates] == [HOST]

    in_network(test)


# A second round, as continual gathering makes it


@pytest.mark.row("ICE-52")
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_change_of_interfaces_replaces_the_relays_that_it_cost_and_no_others(protocol: str) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "192.0.2.4")
        home, hotspot = network.nat("home", "198.51.100.1"), network.nat("hotspot", "198.51.100.2")
        alice = home.host("alice", "10.0.0.2")
        async with Gathered(alice, url_of(protocol), continual_gathering="continually") as gathered:
            assert len(gathered.candidates) == 1
            alice.add_interface("wlan0", "10.1.0.2", segment=hotspot.inside)
            await asyncio.sleep(5)
            assert len(gathered.candidates) == 1
            alice.remove_interface("eth0")
            await asyncio.sleep(8)
            assert len(gathered.candidates) == 2
            [left] = gathered.agent.get_local_candidates()
            assert left.port == gathered.candidates[1].port
            assert {host for host, _ in list(server.clients)[-1:]} == {"198.51.100.2"}

    in_network(test)


@pytest.mark.row("TRN-02")
def test_a_server_that_has_no_room_is_not_asked_again_for_a_minute() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server(NAME, "192.0.2.4")

        def full(served: FakeTurnServer) -> None:
            served.answers[stun.Method.ALLOCATE] = lambda request: (
                served.error(request, 486, signed=True) if served.is_signed(request) else served.challenge(request)
            )

        server.prepare = full
        alice = network.host("alice", "192.0.2.1")
        async with Gathered(alice, url_of("udp"), continual_gathering="continually") as gathered:
            for n in range(10):
                alice.add_interface(f"eth{n + 1}", f"192.0.2.{100 + n}")
                await asyncio.sleep(5)
            assert gathered.codes == [486]
            assert len(server.served) == 1
            await asyncio.sleep(30)
            alice.add_interface("eth99", "192.0.2.99")
            await asyncio.sleep(5)
            assert gathered.codes == [486, 486]

    in_network(test)
