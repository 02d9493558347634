"""Gathering on a virtual network: NATs, several servers, dead ones, policies."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, VirtualNetwork
from webrtc_py.errors import ArgumentTypeError, InvalidAccessError, InvalidStateError, URLSyntaxError
from webrtc_py.ice import stun
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.gather_plan import GatheringError
from webrtc_py.ice.url import ServerURL
from webrtc_py.runtime.network import Interface
from webrtc_py.states import CandidateType, ICEGathererState, NetworkType
from webrtc_py.train import Train

HOST, SRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY


def turn(host: str, transport: str = "udp", password: str = "secret", scheme: str = "turn") -> ServerURL:
    return ServerURL(scheme, host, 3478, transport, "user", password)


class Gathered:
    """An agent, and what it has found with the time it took."""

    def __init__(self, host: VirtualHost, *urls: Any, **options: Any) -> None:
        self.agent = Agent(AgentOptions(urls=urls, net=host, **options))
        self.found: list[tuple[float, Candidate]] = []
        self.ended: list[float] = []
        self.errors: list[GatheringError] = []
        self.states: list[ICEGathererState] = []
        self._start = asyncio.get_running_loop().time()
        self.agent.on_candidate(self._on_candidate)
        self.agent.on_candidate_error(self.errors.append)
        self.agent.on_gathering_state_change(self.states.append)

    def _on_candidate(self, candidate: Candidate | None) -> None:
        elapsed = round(asyncio.get_running_loop().time() - self._start, 3)
        if candidate is None:
            self.ended.append(elapsed)
        else:
            assert not self.ended
            self.found.append((elapsed, candidate))

    async def __aenter__(self) -> Gathered:
        await self.agent.gather_candidates()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()

    async def complete(self) -> Gathered:
        await self.agent.gathering_complete()
        await asyncio.sleep(0)
        return self

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for _, candidate in self.found]

    def of(self, kind: CandidateType) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.type is kind]


def behind_a_nat(network: VirtualNetwork) -> VirtualHost:
    return network.nat("router", "198.51.100.1").host("alice", "10.0.0.2")


def in_network(test: Callable[[VirtualNetwork], Any], **conditions: Any) -> None:
    network = VirtualNetwork(seed=1, **conditions)
    run(test(network))


@pytest.mark.row("TRN-01", "ICE-05", "TRI-04")
def test_all_kinds_are_found_and_each_is_told_at_once() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        network.turn_server("turn.example", "192.0.2.4")
        host = behind_a_nat(network)
        async with Gathered(host, "stun:stun.example", turn("turn.example")) as gathered:
            await gathered.complete()
            [local] = gathered.of(HOST)
            [reflexive] = gathered.of(SRFLX)
            [relayed] = gathered.of(RELAY)
            assert gathered.candidates[0] is local
            assert local.address == "10.0.0.2"
            assert (reflexive.address, reflexive.related_address) == ("198.51.100.1", "10.0.0.2")
            assert reflexive.related_port == local.port
            assert (relayed.address, relayed.related_address) == ("192.0.2.4", "198.51.100.1")
            # Both servers were asked, and saw the same.
            assert reflexive.url in ("stun:stun.example:3478", "turn:turn.example:3478?transport=udp")
            assert relayed.url == "turn:turn.example:3478?transport=udp"
            assert relayed.relay_protocol == "udp"
            ufrag, _ = gathered.agent.get_local_user_credentials()
            assert {candidate.ufrag for candidate in gathered.candidates} == {ufrag}
            assert gathered.states == [ICEGathererState.GATHERING, ICEGathererState.COMPLETE]
            assert gathered.errors == []
            assert len(gathered.ended) == 1

    in_network(test, delay=0.02)


@pytest.mark.row("ICE-05")
def test_without_a_nat_there_is_no_reflexive_candidate() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3", "2001:db8::3")
        host = network.host("alice", "192.0.2.1", "2001:db8::1")
        async with Gathered(host, "stun:stun.example") as gathered:
            await gathered.complete()
            assert {candidate.type for candidate in gathered.candidates} == {HOST}
            assert gathered.errors == []

    in_network(test)


@pytest.mark.row("ICE-05")
def test_two_servers_that_see_the_same_give_one_candidate() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("one.example", "192.0.2.3")
        network.stun_server("two.example", "192.0.2.4")
        async with Gathered(behind_a_nat(network), "stun:one.example", "stun:two.example") as gathered:
            await gathered.complete()
            assert len(gathered.of(SRFLX)) == 1

    in_network(test)


@pytest.mark.row("ICE-02", "ICE-04")
def test_priorities_are_unique_and_foundations_tell_servers_apart() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("one.example", "192.0.2.3")
        network.stun_server("two.example", "192.0.2.4")
        network.turn_server("turn.example", "192.0.2.5", "2001:db8::5")
        network.turn_server("more.example", "192.0.2.6")
        host = network.nat("router", "198.51.100.1", "198.51.100.2", kind="symmetric").host(
            "alice", "10.0.0.2", "10.0.0.3"
        )
        urls = [
            "stun:one.example",
            "stun:two.example",
            turn("turn.example"),
            turn("turn.example", "tcp"),
            turn("more.example"),
        ]
        async with Gathered(host, *urls) as gathered:
            await gathered.complete()
            # A symmetric NAT shows each of the four servers that are asked over UDP another address.
            assert len(gathered.of(SRFLX)) == 8
            # The server with an IPv6 address relays from there as well.
            assert len(gathered.of(RELAY)) == 5
            priorities = [candidate.priority for candidate in gathered.candidates]
            assert len(set(priorities)) == len(priorities)
            foundations = {candidate.foundation for candidate in gathered.of(SRFLX)}
            assert len(foundations) == 8
            relays = sorted(
                (one for one in gathered.of(RELAY) if "turn.example" in one.url), key=lambda one: -one.priority
            )
            assert [one.relay_protocol for one in relays] == ["udp", "udp", "tcp", "tcp"]

    in_network(test)


@pytest.mark.row("TRN-02")
def test_dead_servers_delay_nothing_but_the_end() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("live.example", "192.0.2.3")
        network.stun_server("dead.example", "192.0.2.4").silent = True
        network.turn_server("deaf.example", "192.0.2.5").silent = True
        urls = [
            "stun:dead.example",
            turn("deaf.example"),
            turn("192.0.2.99", "tcp"),
            "stun:no-such-name.example",
            "stun:live.example",
        ]
        async with Gathered(behind_a_nat(network), *urls) as gathered:
            await gathered.complete()
            assert [(at, candidate.type) for at, candidate in gathered.found] == [(0.0, HOST), (0.1, SRFLX)]
            assert gathered.ended == [5.0]
            assert {str(error.url): error.error_code for error in gathered.errors} == {
                "stun:dead.example:3478": 701,
                "turn:deaf.example:3478?transport=udp": 701,
                "turn:192.0.2.99:3478?transport=tcp": 701,
                "stun:no-such-name.example:3478": 701,
            }
            by_url = {error.url.host: error.reason for error in gathered.errors}
            assert "no-such-name.example" in by_url["no-such-name.example"]
            assert "does not answer" in by_url["dead.example"]

    in_network(test, delay=0.05)


@pytest.mark.row("TRN-02")
def test_a_wrong_password_is_reported_with_its_code() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        async with Gathered(behind_a_nat(network), turn("turn.example", password="wrong")) as gathered:
            await gathered.complete()
            assert gathered.of(RELAY) == []
            assert [error.error_code for error in gathered.errors] == [401]

    in_network(test)


def test_an_error_of_a_stun_server_is_reported_with_its_code_and_where_it_was_asked_from() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").error_code = 420
        async with Gathered(behind_a_nat(network), "stun:stun.example") as gathered:
            await gathered.complete()
            [error] = gathered.errors
            assert error.error_code == 420
            assert error.base is not None
            assert error.base[0] == "10.0.0.2"

    in_network(test)


def test_lost_requests_are_sent_again() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.stun_server("stun.example", "192.0.2.3")
        verdicts = iter([DROP, DROP])
        network.tap(lambda packet: next(verdicts, None))
        async with Gathered(behind_a_nat(network), "stun:stun.example") as gathered:
            await gathered.complete()
            assert 1.5 <= gathered.found[1][0] < 1.6
            assert server.requests == 1

    in_network(test)


@pytest.mark.row("TRN-15")
def test_forged_answers_give_no_candidate() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3").silent = True
        host = behind_a_nat(network)

        def forge(packet: Any) -> None:
            if packet.destination != ("192.0.2.3", 3478):
                return
            mapped = b"\0\x20\0\x08\0\x01" + bytes([1, 2, 3, 4, 5, 6])
            response = b"\x01\x01" + len(mapped).to_bytes(2, "big") + b"\x21\x12\xa4\x42"
            stranger, server = ("192.0.2.66", 3478), ("192.0.2.3", 3478)
            # The right transaction from the wrong place; the wrong transaction from the right place; and rubbish.
            for source, transaction_id, body in (
                (stranger, packet.data[8:20], mapped),
                (server, bytes(12), mapped),
                (server, packet.data[8:20], mapped[:-4]),
            ):
                network.inject(response + transaction_id + body, source=source, destination=("198.51.100.1", 1024))
                network.inject(response + transaction_id + body, source=source, destination=packet.source)

        network.tap(forge)
        async with Gathered(host, "stun:stun.example") as gathered:
            await gathered.complete()
            assert gathered.of(SRFLX) == []

    in_network(test)


@pytest.mark.row("SEC-11")
def test_policy_relay_opens_no_host_socket_and_tells_no_other_address() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("stun.example", "192.0.2.3")
        network.turn_server("turn.example", "192.0.2.4")
        host = behind_a_nat(network)
        seen: set[tuple[str, int]] = set()
        network.tap(lambda packet: seen.add(packet.destination) if packet.sender is host else None)
        urls = ["stun:stun.example", turn("turn.example")]
        async with Gathered(host, *urls, candidate_types=[RELAY]) as gathered:
            await gathered.complete()
            [candidate] = gathered.candidates
            assert candidate.type is RELAY
            assert (candidate.related_address, candidate.related_port) == ("0.0.0.0", 9)
            text = candidate.marshal()
            assert "10.0.0.2" not in text
            assert "198.51.100.1" not in text
            assert len(host.sockets) == 1
            assert seen == {("192.0.2.4", 3478)}

    in_network(test)


@pytest.mark.row("SEC-11")
def test_policy_nohost_tells_no_address_of_the_hosts() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4", "2001:db8::4")
        network.stun_server("stun.example", "192.0.2.3")
        network.stun_server("broken.example", "192.0.2.5").error_code = 400
        urls = ["stun:stun.example", "stun:broken.example", turn("turn.example")]
        async with Gathered(behind_a_nat(network), *urls, candidate_types=[SRFLX, RELAY]) as gathered:
            await gathered.complete()
            [reflexive] = gathered.of(SRFLX)
            relayed, relayed_ipv6 = sorted(gathered.of(RELAY), key=lambda one: ":" in one.address)
            assert relayed_ipv6.related_address == "::"
            assert gathered.of(HOST) == []
            assert (reflexive.related_address, reflexive.related_port) == ("0.0.0.0", 9)
            assert relayed.related_address == "198.51.100.1"
            assert all("10.0.0.2" not in candidate.marshal() for candidate in gathered.candidates)
            assert all(error.base is None for error in gathered.errors)
            assert gathered.errors

    in_network(test)


@pytest.mark.row("DST-03", "TRN-08")
@pytest.mark.parametrize("addresses", [["10.0.0.2"], ["2001:db8::1"], ["2001:db8::1", "192.0.2.1"]])
@pytest.mark.parametrize(
    ("network_types", "families"), [(["udp4", "udp6"], {4, 6}), (["udp4"], {4}), (["udp6"], {6}), (["tcp4"], set())]
)
def test_one_allocation_relays_from_each_family_that_is_wanted(
    addresses: list[str], network_types: list[str], families: set[int]
) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4", "2001:db8::4")
        host = network.host("alice", *addresses) if "10." not in addresses[0] else behind_a_nat(network)
        async with Gathered(host, turn("turn.example"), network_types=network_types) as gathered:
            await gathered.complete()
            can_reach = {6 if ":" in address else 4 for address in addresses} & {int(one[3]) for one in network_types}
            expected = families if can_reach else set()
            assert {6 if ":" in candidate.address else 4 for candidate in gathered.of(RELAY)} == expected
            assert server.allocations == bool(expected)

    in_network(test)


@pytest.mark.row("ICE-02")
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_relay_of_the_family_that_its_server_is_reached_by_is_the_better(address: str) -> None:
    """Else peers that have that family would meet by a relay at each end, and not use one alone."""

    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4", "2001:db8::4")
        async with Gathered(network.host("alice", address), turn("turn.example")) as gathered:
            await gathered.complete()
            best, other = sorted(gathered.of(RELAY), key=lambda one: one.priority, reverse=True)
            assert (":" in best.address) == (":" in address) != (":" in other.address)
            assert best.priority > other.priority

    in_network(test)


def test_a_server_of_a_family_that_we_have_not_is_reported() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.stun_server("six.example", "2001:db8::3")
        async with Gathered(behind_a_nat(network), "stun:six.example", "stuns:six.example") as gathered:
            await gathered.complete()
            assert sorted(error.reason for error in gathered.errors) == [
                "no local address can reach 2001:db8::3",
                "over TCP a server tells the address of one connection, of which no candidate can be made",
            ]

    in_network(test)


def test_network_types_and_filters_limit_what_is_used() -> None:
    async def test(network: VirtualNetwork) -> None:
        host = network.host("alice", "192.0.2.1", "2001:db8::1")
        host.add_interface("eth1", "192.0.2.7")
        network.turn_server("turn.example", "192.0.2.4")
        relayed_from: set[str] = set()
        network.tap(
            lambda packet: relayed_from.add(packet.source[0]) if packet.destination == ("192.0.2.4", 3478) else None
        )
        options = {"network_types": [NetworkType.UDP4], "interface_filter": lambda name: name == "eth1"}
        async with Gathered(host, turn("turn.example"), **options) as gathered:
            await gathered.complete()
            assert [candidate.address for candidate in gathered.of(HOST)] == ["192.0.2.7"]
            assert relayed_from == {"192.0.2.7"}

    in_network(test)


def test_link_local_addresses_are_opened_and_not_told() -> None:
    async def test(network: VirtualNetwork) -> None:
        host = network.host("alice", "192.0.2.1", "fe80::1")
        async with Gathered(host) as gathered:
            await gathered.complete()
            assert [candidate.address for candidate in gathered.candidates] == ["192.0.2.1"]
            assert {address for address, _ in host.sockets} == {"192.0.2.1", "fe80::1"}

    in_network(test)


@pytest.mark.parametrize("taken", [0, 2, 3])
def test_ports_are_taken_from_the_range(taken: int, caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork) -> None:
        host = network.host("alice", "192.0.2.1")
        others = [host.bind("192.0.2.1", 5000 + number) for number in range(taken)]
        async with Gathered(host, port_range=(5000, 5002)) as gathered:
            await gathered.complete()
            ports = [candidate.port for candidate in gathered.candidates]
            assert len(ports) == (taken < 3)
            assert all(5000 + taken <= port <= 5002 for port in ports)
            assert ("no port from 5000 to 5002 is free" in caplog.text) == (taken == 3)
        for other in others:
            other.close()

    in_network(test)


def redirect(network: VirtualNetwork, asked: list[str], name: str, address: str, target: str) -> None:
    """A TURN server that sends everybody on to ``target``."""
    network.names[name] = [address]
    server = network.host(name, address)
    server.is_infrastructure = True
    socket = server.bind(address, 3478)

    def answer(train: Train, source: tuple[str, int], now: float) -> None:
        request = stun.parse_message(next(iter(train)))
        if request.message_method != stun.Method.ALLOCATE:
            return
        asked.append(name)
        attributes = {"ERROR-CODE": (300, "Try Alternate"), "ALTERNATE-SERVER": (target, 3478)}
        error = stun.Message(stun.Method.ALLOCATE, stun.Class.ERROR, request.transaction_id, attributes)
        socket.send(Train.of(bytes(error)), source)

    socket.set_receiver(answer)


@pytest.mark.row("TRN-02")
@pytest.mark.parametrize("loops", [False, True])
def test_a_redirection_is_followed_once(loops: bool) -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "192.0.2.4")
        asked: list[str] = []
        redirect(network, asked, "first.example", "192.0.2.5", "192.0.2.6" if loops else "192.0.2.4")
        redirect(network, asked, "second.example", "192.0.2.6", "192.0.2.5")
        async with Gathered(behind_a_nat(network), turn("first.example"), candidate_types=[RELAY]) as gathered:
            await gathered.complete()
            if loops:
                assert asked == ["first.example", "second.example"]
                assert [error.error_code for error in gathered.errors] == [300]
            else:
                assert [candidate.address for candidate in gathered.candidates] == ["192.0.2.4"]

    in_network(test)


def test_a_redirection_to_where_the_filters_let_us_have_no_address_is_not_followed() -> None:
    async def test(network: VirtualNetwork) -> None:
        network.turn_server("turn.example", "2001:db8::4")
        redirect(network, [], "first.example", "192.0.2.5", "2001:db8::4")
        async with Gathered(
            network.host("alice", "203.0.113.1", "2001:db8::1"),
            turn("first.example"),
            candidate_types=[RELAY],
            ip_filter=lambda address: ":" not in address,
        ) as gathered:
            await gathered.complete()
            assert gathered.candidates == []
            assert [error.error_code for error in gathered.errors] == [300]

    in_network(test)


@pytest.mark.row("ICE-10")
def test_bindings_are_kept_alive_until_ice_has_concluded() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.stun_server("stun.example", "192.0.2.3")
        router = network.nat("router", "198.51.100.1", timeout=30.0)
        host = router.host("alice", "10.0.0.2")
        async with Gathered(host, "stun:stun.example") as gathered:
            await gathered.complete()
            assert server.requests == 1
            await asyncio.sleep(300)
            assert server.requests == 21

    in_network(test)


@pytest.mark.row("TRN-03")
@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.07, 0.11, 0.13, 0.2, 1.0])
def test_close_at_any_moment_leaves_no_allocation(after: float) -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        loop = asyncio.get_running_loop()
        gathered = Gathered(behind_a_nat(network), turn("turn.example"), turn("turn.example", "tcp"))
        await gathered.agent.gather_candidates()
        await asyncio.sleep(after)
        began = loop.time()
        await gathered.agent.close()
        assert loop.time() - began <= 2.0
        await asyncio.sleep(1)
        assert server.allocations == 0

    in_network(test, delay=0.025)


def test_close_does_not_wait_long_for_a_dead_server() -> None:
    async def test(network: VirtualNetwork) -> None:
        server = network.turn_server("turn.example", "192.0.2.4")
        loop = asyncio.get_running_loop()
        gathered = Gathered(behind_a_nat(network), turn("turn.example"), turn("turn.example", "tcp"))
        await gathered.agent.gather_candidates()
        await gathered.complete()
        assert len(gathered.of(RELAY)) == 2
        server.silent = True
        began = loop.time()
        await gathered.agent.close()
        assert 0.9 < loop.time() - began <= 1.5

    in_network(test, delay=0.025)


def test_where_no_descriptor_is_left_gathering_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")

        async def refuse(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        alice.open_udp = refuse  # type: ignore[method-assign]
        async with Agent(AgentOptions(net=alice)) as agent:
            await agent.gather_candidates()
            await agent.gathering_complete()
            for text in (caplog.text, agent.explain()):
                assert "no socket can be opened on 192.0.2.1: too many open files" in text

    with caplog.at_level(logging.INFO, "webrtc_py"):
        in_network(test)


def test_where_the_interfaces_cannot_be_read_gathering_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def test(network: VirtualNetwork) -> None:
        alice = network.host("alice", "192.0.2.1")

        def refuse() -> list[Interface]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        alice.interfaces = refuse  # type: ignore[method-assign]
        async with Agent(AgentOptions(net=alice)) as agent:
            await agent.gather_candidates()
            await agent.gathering_complete()
            assert agent.get_local_candidates() == []
            for text in (caplog.text, agent.explain()):
                assert "the interfaces cannot be read: too many open files" in text

    with caplog.at_level(logging.INFO, "webrtc_py"):
        in_network(test)


def test_gathering_is_done_once() -> None:
    async def test(network: VirtualNetwork) -> None:
        async with Gathered(network.host("alice", "192.0.2.1")) as gathered:
            with pytest.raises(InvalidStateError):
                await gathered.agent.gather_candidates()
        with pytest.raises(InvalidStateError):
            await gathered.agent.gather_candidates()

    in_network(test)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"urls": ["turn:a.example"]}, InvalidAccessError),
        ({"urls": ["nonsense"]}, URLSyntaxError),
        ({"candidate_types": ["prflx"]}, InvalidAccessError),
        ({"candidate_types": ["best"]}, ValueError),
        ({"network_types": ["udp5"]}, ValueError),
        ({"port_range": (10, 9)}, InvalidAccessError),
        ({"port_range": (0, 9)}, InvalidAccessError),
        ({"local_ufrag": "abcd"}, InvalidAccessError),
        ({"stun_gather_timeout": 0}, InvalidAccessError),
        ({"stun_gather_timeout": float("nan")}, InvalidAccessError),
        ({"network_monitor_interval": float("inf")}, InvalidAccessError),
        ({"network_types": []}, InvalidAccessError),
        ({"candidate_types": ()}, InvalidAccessError),
        ({"candidate_types": "host"}, ArgumentTypeError),
        ({"urls": "stun:a.example"}, ArgumentTypeError),
        ({"urls": [5]}, ArgumentTypeError),
        ({"max_pairs": 1.5}, ArgumentTypeError),
        ({"lite": "no"}, ArgumentTypeError),
        ({"timings": 5}, ArgumentTypeError),
        ({"renomination": True}, ArgumentTypeError),
        ({"udp_mux": 3478}, ArgumentTypeError),
        ({"ip_filter": "192.0.2.1"}, ArgumentTypeError),
        ({"remote_ip_filter": asyncio.sleep}, ArgumentTypeError),
        ({"tls_context": "cert.pem"}, ArgumentTypeError),
        ({"address_rewrite_rules": ["203.0.113.1"]}, ArgumentTypeError),
        ({"net": "eth0"}, ArgumentTypeError),
        ({"local_ufrag": "abc", "local_pwd": "p" * 22}, InvalidAccessError),
        ({"local_ufrag": "abcd", "local_pwd": "p" * 21}, InvalidAccessError),
        ({"port_range": (5000,)}, InvalidAccessError),
        ({"port_range": ("5000", "5010")}, InvalidAccessError),
        ({"port_range": (5000.5, 5001.5)}, InvalidAccessError),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        AgentOptions(**options)


@pytest.mark.parametrize(
    "name", ["urls", "network_types", "candidate_types", "address_rewrite_rules", "turn_transport_protocols"]
)
@pytest.mark.parametrize("value", ["udp", None, 5])
def test_what_is_no_list_is_named(name: str, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=f"{name} is a list, not"):
        AgentOptions(**{name: value})


@pytest.mark.parametrize("options", [5, {}, "host"])
def test_an_agent_is_made_of_options(options: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="AgentOptions"):
        Agent(options)
