"""TURN servers that lie, and those who speak in their name: bounded, counted, and never believed."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.turn_exchange import PEER, Exchange, make_client
from tests.support.turn_server import FakeTurnServer
from webrtc_py.ice import stun
from webrtc_py.ice.turn import Allocated, AllocationFailed, TurnClient
from webrtc_py.ice.turn_peers import PermissionRefused


@pytest.mark.row("TRN-15")
@pytest.mark.parametrize(
    "relayed",
    [
        ("0.0.0.0", 50000),
        ("203.0.113.9", 0),
        ("127.0.0.1", 50000),
        ("224.0.0.251", 50000),
        ("255.255.255.255", 50000),
        ("2001:db8::9", 50000),
        ("::ffff:cb00:7109", 50000),
    ],
)
def test_an_address_that_no_peer_could_send_to_is_given_back(relayed: tuple[str, int]) -> None:
    server = FakeTurnServer(relayed=relayed)
    server.answers[stun.Method.ALLOCATE] = lambda request: (
        _grant(server, request, relayed) if server.is_signed(request) else server.challenge(request)
    )
    exchange = Exchange(server=server).allocate()
    [event] = exchange.events
    assert isinstance(event, AllocationFailed)
    assert event.error_code == 701
    # As this Python writes it: IPv4-mapped addresses have had two spellings.
    assert str(ipaddress.ip_address(relayed[0])) in event.reason
    assert not server.allocated
    assert exchange.client.next_timeout() is None


def _grant(server: FakeTurnServer, request: stun.Message, relayed: tuple[str, int], **more: object) -> bytes:
    server.allocated = True
    attributes = {"XOR-RELAYED-ADDRESS": relayed, "XOR-MAPPED-ADDRESS": ("198.51.100.7", 40000), "LIFETIME": 600}
    return server.success(request, attributes | more)


def test_a_server_on_this_host_may_relay_from_loopback() -> None:
    client = TurnClient(
        username="user",
        password="secret",
        families=(4,),
        reliable=False,
        is_local=True,
        make_transaction_id=make_client()._make_transaction_id,
    )
    [event] = Exchange(client, FakeTurnServer(relayed=("127.0.0.1", 50000))).allocate().events
    assert isinstance(event, Allocated)


@pytest.mark.row("TRN-15")
@pytest.mark.parametrize("mapped", [("0.0.0.0", 1), ("198.51.100.7", 0), ("224.0.0.1", 1), ("::", 1)])
def test_a_mapped_address_that_is_nobodys_is_none(mapped: tuple[str, int]) -> None:
    [event] = Exchange(server=FakeTurnServer(mapped=mapped)).allocate().events
    assert isinstance(event, Allocated)
    assert event.mapped is None


@pytest.mark.row("TRN-15")
def test_a_lifetime_without_end_is_refreshed_every_hour_all_the_same() -> None:
    exchange = Exchange(server=FakeTurnServer(lifetime=(1 << 32) - 1))
    exchange.server.answers[stun.Method.REFRESH] = lambda request: exchange.server.success(
        request, {"LIFETIME": (1 << 32) - 1}
    )
    exchange.allocate()
    exchange.run(3 * 3600)
    assert exchange.server.requests["REFRESH"] == 3


@pytest.mark.row("TRN-15", "TRN-03")
def test_a_lifetime_of_a_second_makes_no_flood() -> None:
    exchange = Exchange(server=FakeTurnServer(lifetime=2)).allocate()
    exchange.run(60)
    assert exchange.server.requests["REFRESH"] <= 60


@pytest.mark.row("TRN-15", "TRN-03")
@pytest.mark.parametrize("reliable", [False, True])
def test_unsigned_answers_to_refreshes_make_no_flood_and_end_it_in_time(reliable: bool) -> None:
    exchange = Exchange(make_client(reliable=reliable)).allocate()
    exchange.server.answers[stun.Method.REFRESH] = lambda request: exchange.server.success(
        request, {"LIFETIME": 600}, signed=False
    )
    exchange.run(700)
    assert isinstance(exchange.events[-1], AllocationFailed)
    assert exchange.server.requests["REFRESH"] <= 20


@pytest.mark.row("TRN-15", "TRN-02")
def test_endless_stale_nonces_end_in_an_error_in_every_method() -> None:
    numbers = count()

    def always_stale(server: FakeTurnServer) -> Callable[[stun.Message], bytes]:
        def answer(request: stun.Message) -> bytes:
            server.renew_nonce(str(next(numbers)))
            return server.challenge(request, 438)

        return answer

    exchange = Exchange().allocate()
    server = exchange.server
    for method in (stun.Method.CREATE_PERMISSION, stun.Method.CHANNEL_BIND, stun.Method.REFRESH):
        server.answers[method] = always_stale(server)
    exchange.send(b"x")
    assert exchange.events[1:] == [PermissionRefused(PEER[0], 438, "reason 438")]
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    exchange.client.refresh(exchange.now)
    exchange.flush()
    assert exchange.events[2:] == [AllocationFailed(438, "reason 438")]
    assert [server.requests[name] for name in ("CREATE_PERMISSION", "CHANNEL_BIND", "REFRESH")] == [4, 4, 4]
    assert exchange.client.next_timeout() is None


@pytest.mark.row("STN-14", "TRN-15")
def test_a_response_with_the_older_integrity_is_not_taken_where_the_newer_was_agreed_on() -> None:
    server = FakeTurnServer(algorithms=b"\0\2\0\0")

    def answer(request: stun.Message) -> bytes:
        if not server.is_signed(request):
            return server.challenge(request)
        attributes = {"XOR-RELAYED-ADDRESS": PEER, "XOR-MAPPED-ADDRESS": PEER, "LIFETIME": 600}
        message = stun.Message(stun.Method.ALLOCATE, stun.Class.RESPONSE, request.transaction_id, attributes)
        return stun.serialize(message, server.key)

    server.answers[stun.Method.ALLOCATE] = answer
    exchange = Exchange(server=server).allocate()
    assert exchange.events == []
    assert exchange.client.dropped == 1


@pytest.mark.row("TRN-02", "TRN-15")
@pytest.mark.parametrize("code", [401, 438])
def test_a_server_that_never_stops_challenging_is_given_up(code: int) -> None:
    server = FakeTurnServer()
    numbers = count()

    def challenge(request: stun.Message) -> bytes:
        server.nonce = b"n" * 700 + str(next(numbers)).encode()
        server.realm = f"realm {next(numbers)}" + "r" * 700
        return server.challenge(request, code)

    server.answers[stun.Method.ALLOCATE] = challenge
    exchange = Exchange(server=server).allocate()
    [event] = exchange.events
    assert isinstance(event, AllocationFailed)
    assert event.error_code == code
    assert len(exchange.sent) == 4


@pytest.mark.row("TRN-15")
def test_unsigned_answers_to_signed_requests_count_for_nothing() -> None:
    server = FakeTurnServer()

    def forge(request: stun.Message) -> bytes:
        if "USERNAME" not in request.attributes:
            return server.challenge(request)
        return server.success(
            request,
            {"XOR-RELAYED-ADDRESS": PEER, "XOR-MAPPED-ADDRESS": PEER, "LIFETIME": 600},
            signed=False,
        )

    server.answers[stun.Method.ALLOCATE] = forge
    exchange = Exchange(server=server).allocate()
    assert exchange.events == []
    server.answers.clear()
    exchange.run(1.0)  # the retransmission is answered honestly
    assert isinstance(exchange.events[0], Allocated)


@pytest.mark.row("TRN-15")
def test_an_unsigned_refusal_says_why_when_nothing_better_comes() -> None:
    server = FakeTurnServer()

    def refuse(request: stun.Message) -> bytes:
        return server.error(request, 486) if "USERNAME" in request.attributes else server.challenge(request)

    server.answers[stun.Method.ALLOCATE] = refuse
    exchange = Exchange(server=server).allocate()
    assert exchange.events == []
    exchange.run(40)
    assert exchange.events == [AllocationFailed(486, "reason 486")]
    over_tcp = Exchange(make_client(reliable=True), server).allocate()
    assert over_tcp.events == [AllocationFailed(486, "reason 486")]


@pytest.mark.row("TRN-15")
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"XOR-RELAYED-ADDRESS": PEER, "LIFETIME": 600},
        {"XOR-MAPPED-ADDRESS": PEER, "LIFETIME": 600},
        {"XOR-RELAYED-ADDRESS": PEER, "XOR-MAPPED-ADDRESS": PEER},
        {"XOR-RELAYED-ADDRESS": PEER, "XOR-MAPPED-ADDRESS": PEER, "LIFETIME": 0},
    ],
)
def test_an_allocation_that_lacks_something_is_none(attributes: dict[str, object]) -> None:
    server = FakeTurnServer()
    server.answers[stun.Method.ALLOCATE] = lambda request: server.success(request, dict(attributes))
    [event] = Exchange(server=server).allocate().events
    assert isinstance(event, AllocationFailed)


@pytest.mark.row("TRN-15")
@given(st.binary(min_size=1, max_size=100))
def test_any_bytes_from_the_server_are_taken_or_dropped(data: bytes) -> None:
    exchange = Exchange().allocate()
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    received = exchange.client.receive(data, exchange.now)
    assert received is None or received[1] == PEER


@pytest.mark.row("TRN-15")
@given(st.sampled_from(list(stun.Method)), st.sampled_from(list(stun.Class)), st.binary(max_size=60))
def test_stun_with_any_attributes_is_taken_or_dropped(method: stun.Method, kind: stun.Class, body: bytes) -> None:
    exchange = Exchange()
    exchange.client.allocate(exchange.now)
    [request] = exchange.client.datagrams_to_send(exchange.now)
    body += bytes(-len(body) % 4)
    header = struct.pack("!HHI", method | kind, len(body), 0x2112A442)
    exchange.client.receive(header + request[8:20] + body, exchange.now)
    exchange.flush()
    exchange.run(50)
