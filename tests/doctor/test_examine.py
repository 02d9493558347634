"""The whole examination on the virtual network: each NAT, blocked UDP, servers that fail in every way."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.server_certificate import server_certificate
from tests.support.virtual_behaviour import BehaviourServer
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import DROP, Packet, Verdict, VirtualNetwork
from webrtc_py.doctor import Report, Way, as_json, as_lines, examine
from webrtc_py.ice.url import parse_url
from webrtc_py.runtime.network import Stream
from webrtc_py.runtime.tls import start_tls

STUN = "stun:stun.example"
TURN = "turn:turn.example"


def diagnose(
    host: VirtualHost, *urls: str, username: str = "user", password: str = "secret", trusted: str = "turn.example"
) -> Report:

    context = server_certificate(trusted, expired=False).client_context()

    async def main() -> Report:
        parsed = [parse_url(url, username, password) for url in urls]
        return await examine(host, parsed, tls_context=context)

    return run(main())


def internet(**kwargs: float) -> VirtualNetwork:
    """A network with a server for behaviour discovery and a TURN server."""
    network = VirtualNetwork(**(kwargs or {"delay": 0.01}))
    BehaviourServer.on(network, "stun.example", "203.0.113.1", "203.0.113.2")
    network.turn_server("turn.example", "203.0.113.9")
    return network


def serve_tls(network: VirtualNetwork, *names: str, expired: bool = False, port: int = 5349) -> None:
    """Let the TURN server speak TLS too, with a certificate for ``names``."""
    context = server_certificate(*names, expired=expired).server_context()
    host = network.hosts["turn.example"]
    plain = host.listener_for(("203.0.113.9", 3478))
    assert plain is not None
    tasks = set()

    def on_connection(stream: Stream) -> None:
        async def serve() -> None:
            try:
                plain.accept(await start_tls(stream, context, None, server_side=True))
            except OSError:
                stream.close()

        task = asyncio.get_running_loop().create_task(serve())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    host.listen("203.0.113.9", port, on_connection)


def block_udp(network: VirtualNetwork, host: VirtualHost) -> None:
    def firewall(packet: Packet) -> Verdict | None:
        is_local = packet.destination[0] in ("127.0.0.1", packet.source[0])
        return DROP if packet.sender is host and not is_local else None

    network.tap(firewall)


def way(report: Report, transport: str, server: int = 0, family: int = 4) -> Way:
    return next(
        one
        for one in report.servers[server].ways
        if one.transport == transport and (":" in one.server[0]) == (family == 6)
    )


def prospects(report: Report) -> dict[str, str]:
    return {one.peer: one.way for one in report.prospects}


PUBLIC = "peers with a public address"
CONE = "peers behind a full or restricted cone NAT"
PORT_RESTRICTED = "peers behind a port-restricted NAT or a firewall"
SYMMETRIC = "peers behind a symmetric NAT"


@pytest.mark.parametrize(
    ("kind", "port_restricted", "symmetric"),
    [
        ("full cone", "direct", "direct"),
        ("restricted", "direct", "direct"),
        ("port restricted", "direct", "relay"),
        ("symmetric", "relay", "relay"),
    ],
)
def test_each_nat_connects_where_theory_says(kind: str, port_restricted: str, symmetric: str) -> None:
    network = internet()
    host = network.nat("router", "198.51.100.1", kind=kind).host("alice", "10.0.0.2")
    report = diagnose(host, STUN, TURN)
    found = prospects(report)
    assert (found[PUBLIC], found[CONE]) == ("direct", "direct")
    assert (found[PORT_RESTRICTED], found[SYMMETRIC]) == (port_restricted, symmetric)
    assert report.can_connect
    udp = way(report, "udp", 1)
    assert udp.reached
    assert udp.relayed is not None
    assert udp.relayed[0] == "203.0.113.9"
    assert udp.took == pytest.approx(0.02)
    assert way(report, "tcp", 1).relayed is not None
    assert "connection refused" in way(report, "tls", 1).problem


def test_without_a_relay_symmetric_peers_are_out_of_reach() -> None:
    network = internet()
    report = diagnose(network.nat("router", "198.51.100.1").host("alice", "10.0.0.2"), STUN)
    assert prospects(report)[SYMMETRIC] == "no"
    assert prospects(report)[PORT_RESTRICTED] == "direct"
    assert any("give a turn: URL" in line for line in report.advice)


def test_blocked_udp_leaves_the_relay_over_streams() -> None:
    network = internet()
    serve_tls(network, "turn.example")
    host = network.host("alice", "192.0.2.1")
    block_udp(network, host)
    report = diagnose(host, TURN)
    assert not way(report, "udp").reached
    assert way(report, "udp").problem == "no answer within 3 s"
    assert way(report, "tcp").relayed is not None
    assert way(report, "tls").relayed is not None
    found = prospects(report)
    assert {found[PUBLIC], found[CONE], found[PORT_RESTRICTED], found[SYMMETRIC]} == {"relay"}
    assert report.can_connect
    assert any("UDP does not get through, TCP and TLS do" in line for line in report.advice)


def test_where_no_server_is_reached_nothing_is_known_of_peers_elsewhere() -> None:
    network = internet()
    host = network.host("alice", "192.0.2.1")
    block_udp(network, host)
    report = diagnose(host, STUN)
    assert not report.can_connect
    assert prospects(report)["peers on the same network"] == "direct"
    assert prospects(report)["peers elsewhere"] == "unknown"
    assert any("No server was reached at all" in line for line in report.advice)


def test_refused_credentials_are_told() -> None:
    network = internet()
    report = diagnose(network.host("alice", "192.0.2.1"), TURN, password="wrong")
    for transport in ("udp", "tcp"):
        assert way(report, transport).reached
        assert "refuses the user name or the password" in way(report, transport).relay_problem
    assert any("refuses the user name or the password" in line for line in report.advice)


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "problem"),
    [
        (("turn.example",), False, "turn.example", ""),
        (("other.example",), False, "other.example", "is for another name"),
        (("turn.example",), True, "turn.example", "has expired"),
        (("turn.example",), False, "other.example", "not trusted"),
    ],
)
def test_certificates_are_judged_in_words(names: tuple[str, ...], expired: bool, trusted: str, problem: str) -> None:
    network = internet()
    serve_tls(network, *names, expired=expired)
    host = network.host("alice", "192.0.2.1")

    async def main() -> Report:
        url = parse_url(TURN, "user", "secret")
        context = server_certificate(trusted, expired=expired).client_context()
        return await examine(host, [url], tls_context=context)

    tls = way(run(main()), "tls")
    assert tls.reached == (not problem)
    assert problem in tls.problem
    assert (tls.relayed is not None) == (not problem)


def test_both_families_are_tried() -> None:
    network = VirtualNetwork()
    network.turn_server("turn.example", "203.0.113.9", "2001:db8:1::9")
    report = diagnose(network.host("alice", "192.0.2.1", "2001:db8::1"), TURN)
    relays = {way(report, "udp", family=family).relayed for family in (4, 6)}
    assert {relay[0] for relay in relays if relay is not None} == {"203.0.113.9", "2001:db8:1::9"}
    assert prospects(report)["peers with IPv6"] == "direct"


def test_a_family_that_is_not_here_is_not_tried() -> None:
    network = VirtualNetwork()
    network.turn_server("turn.example", "203.0.113.9", "2001:db8:1::9")
    report = diagnose(network.host("alice", "192.0.2.1"), TURN)
    assert way(report, "udp", family=6).problem == "this machine has no IPv6 address"
    assert way(report, "udp", family=4).reached
    assert "peers with IPv6" not in prospects(report)


def test_a_silent_server_and_an_unknown_name_are_told_apart() -> None:
    network = internet()
    network.turn_server("dead.example", "203.0.113.30").silent = True
    report = diagnose(network.host("alice", "192.0.2.1"), "turn:dead.example", "stun:nowhere.example")
    assert way(report, "udp").problem == "no answer within 3 s"
    assert way(report, "tcp").problem == "no answer within 3 s"
    assert report.servers[1].problem == "nowhere.example was not resolved within 3 s"
    assert not report.can_connect
    assert "No TURN server was reached." in report.advice
    assert not any("was asked for" in line for line in report.advice)


def test_what_does_not_speak_stun_is_told() -> None:
    network = internet()
    host = network.host("web.example", "203.0.113.40")
    host.is_infrastructure = True
    network.names["web.example"] = ["203.0.113.40"]

    def on_connection(stream: Stream) -> None:
        def on_data(data: bytes) -> None:
            stream.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            stream.close()

        stream.set_receiver(on_data, lambda error: stream.close())

    host.listen("203.0.113.40", 443, on_connection)
    report = diagnose(network.host("alice", "192.0.2.1"), "turn:web.example:443?transport=tcp")
    assert "does not speak STUN" in way(report, "tcp").problem
    assert "TLS failed" in way(report, "tls").problem


def test_a_url_is_examined_once_whatever_its_transport() -> None:
    network = internet()
    report = diagnose(network.host("alice", "192.0.2.1"), TURN, TURN + "?transport=tcp", STUN)
    assert [server.url for server in report.servers] == [
        "turn:turn.example:3478",
        "stun:stun.example:3478",
    ]


def test_without_servers_nobody_is_asked() -> None:
    network = internet()
    packets: list[Packet] = []
    network.tap(lambda packet: packets.append(packet))
    report = diagnose(network.host("alice", "192.0.2.1"))
    assert {packet.destination[0] for packet in packets} <= {"127.0.0.1", "192.0.2.1", "224.0.0.251"}
    assert report.servers == report.nat == ()
    assert prospects(report) == {"peers on the same network": "direct", "peers elsewhere": "unknown"}
    assert report.can_connect
    assert "doctor stun:HOST" in report.advice[0]


def test_a_machine_without_a_network_connects_nothing() -> None:
    network = VirtualNetwork()
    report = diagnose(network.host("alice"))
    assert {one.name: one.ok for one in report.local} == {
        "lo": None,
        "ipv4": False,
        "ipv6": False,
        "udp": False,
        "loopback": True,
        "multicast": True,
    }
    assert not report.can_connect
    assert prospects(report)["peers on the same network"] == "no"


def test_a_firewall_on_this_machine_is_found() -> None:
    network = VirtualNetwork()
    host = network.host("alice", "192.0.2.1")
    network.tap(lambda packet: DROP)
    report = diagnose(host)
    udp = next(one for one in report.local if one.name == "udp")
    assert udp.ok is False
    assert "a firewall on this machine" in udp.text
    assert not report.can_connect


@pytest.mark.parametrize("works", [True, False])
def test_multicast_is_tried(works: bool) -> None:
    host = VirtualNetwork().host("alice", "192.0.2.1")
    host.has_multicast = works
    report = diagnose(host)
    multicast = next(one for one in report.local if one.name == "multicast")
    assert multicast.ok is works
    assert any("Without multicast" in line for line in report.advice) is not works


def test_the_text_is_a_screenful_and_the_json_is_json() -> None:
    network = internet()
    serve_tls(network, "turn.example")
    host = network.nat("router", "198.51.100.1", kind="symmetric").host("alice", "10.0.0.2")
    report = diagnose(host, STUN, TURN)
    lines = list(as_lines(report))
    text = "\n".join(lines)
    assert len(lines) < 40
    assert all(len(line) <= 120 for line in lines)
    assert "  ok    udp ipv4      203.0.113.1:3478, answers in 20 ms, sees us as 198.51.100.1:" in text
    assert "  no    tcp ipv4      connection refused (203.0.113.1:3478)" in text
    assert "a symmetric NAT, seen as 198.51.100.1 (by RFC 5780)" in text
    assert "mapping       address-and-port-dependent" in text
    assert "through the relay, over UDP or TCP or TLS" in text
    assert "secret" not in text
    data = json.loads(json.dumps(as_json(report)))
    assert data["nat"][0]["mapping"] == "address-and-port-dependent"
    assert data["can_connect"] is True
    assert "secret" not in json.dumps(data)
