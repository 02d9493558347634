"""The TURN client against a server that can be told to misbehave, with the clock in hand."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import pytest

from tests.support.turn_exchange import BOTH, PEER, PEER_IPV6, Exchange, make_client
from tests.support.turn_server import FakeTurnServer
from webrtc_py.ice import stun
from webrtc_py.ice.retransmission import Retransmission
from webrtc_py.ice.turn import Allocated, AllocationFailed, Closed, Refreshed
from webrtc_py.ice.turn_peers import MAX_PAYLOAD, PermissionRefused

OTHER_PORT = ("192.0.2.77", 5001)


@pytest.mark.row("STN-05")
def test_requests_are_sent_again_by_the_standards_schedule() -> None:
    schedule = Retransmission(100.0)
    times = [0.0]
    while not schedule.is_over(schedule.due):
        now = schedule.due
        assert schedule.is_due(now)
        times.append(now - 100.0)
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert schedule.deadline == 139.5


def test_nothing_is_sent_again_over_tcp() -> None:
    schedule = Retransmission(0.0, reliable=True)
    assert schedule.due == 39.5
    assert not schedule.is_due(39.0)


@pytest.mark.row("TRN-01", "TRN-02")
def test_allocation_with_credentials() -> None:
    exchange = Exchange().allocate()
    assert exchange.events == [Allocated((("203.0.113.9", 50000),), ("198.51.100.7", 40000))]
    assert exchange.methods() == ["ALLOCATE", "ALLOCATE"]
    first, second = exchange.server.log
    assert "USERNAME" not in first.attributes
    assert first.attributes["REQUESTED-TRANSPORT"] == 17 << 24
    assert second.attributes["USERNAME"] == "user"
    assert second.attributes["REALM"] == "example.org"
    assert first.transaction_id != second.transaction_id


@pytest.mark.row("TRN-08")
def test_ipv6_relays_are_asked_for_by_their_family() -> None:
    server = FakeTurnServer(relayed=("2001:db8::9", 50000))
    exchange = Exchange(make_client(families=(6,)), server).allocate()
    assert server.log[0].attributes["REQUESTED-ADDRESS-FAMILY"] == 2
    assert isinstance(exchange.events[0], Allocated)
    ipv4 = Exchange().allocate()
    assert "REQUESTED-ADDRESS-FAMILY" not in ipv4.server.log[0].attributes


def test_an_address_of_the_wrong_family_is_no_allocation() -> None:
    server = FakeTurnServer()

    def ignore(request: stun.Message) -> bytes:
        request.attributes.pop("REQUESTED-ADDRESS-FAMILY", None)
        return server.respond(request)

    server.answers[stun.Method.ALLOCATE] = ignore
    exchange = Exchange(make_client(families=(6,)), server).allocate()
    [event] = exchange.events
    assert isinstance(event, AllocationFailed)
    assert "no IPv6 to relay from" in event.reason
    assert not exchange.server.allocated


@pytest.mark.row("TRN-08")
def test_one_allocation_with_an_address_of_each_family() -> None:
    server = FakeTurnServer(relayed=BOTH[0], also_relayed=BOTH[1])
    exchange = Exchange(make_client(families=(4, 6)), server).allocate()
    assert exchange.events == [Allocated(BOTH, ("198.51.100.7", 40000))]
    request = server.log[0].attributes
    assert request["ADDITIONAL-ADDRESS-FAMILY"] == 2
    assert "REQUESTED-ADDRESS-FAMILY" not in request  # RFC 8656 section 7.1: never both
    for peer in (PEER, PEER_IPV6):
        exchange.send(b"hello", peer)
        exchange.client.bind(peer, exchange.now)
        exchange.flush()
    assert server.to_peers == [(b"hello", PEER), (b"hello", PEER_IPV6)]
    exchange.run(3600)
    assert set(server.permissions) == {PEER[0], PEER_IPV6[0]}
    assert "REQUESTED-ADDRESS-FAMILY" not in server.log[-1].attributes
    exchange.client.close(exchange.now)
    exchange.flush()
    assert not server.allocated


@pytest.mark.row("TRN-08")
def test_a_server_that_has_one_family_only_says_so_or_says_nothing() -> None:
    says = Exchange(make_client(families=(4, 6)), FakeTurnServer()).allocate()
    assert says.events == [Allocated(BOTH[:1], ("198.51.100.7", 40000), missing="440 no such family")]
    server = FakeTurnServer()

    def know_nothing(request: stun.Message) -> bytes:
        request.attributes.pop("ADDITIONAL-ADDRESS-FAMILY")
        return server.respond(request)

    server.answers[stun.Method.ALLOCATE] = know_nothing
    [event] = Exchange(make_client(families=(4, 6)), server).allocate().events
    assert isinstance(event, Allocated)
    assert (event.relayed, event.missing) == (BOTH[:1], "the server gave an address of one family only")


@pytest.mark.row("TRN-08", "TRN-02")
@pytest.mark.parametrize("code", [400, 440])
def test_a_server_that_refuses_both_families_together_is_asked_for_one(code: int) -> None:
    server = FakeTurnServer()

    def refuse(request: stun.Message) -> bytes:
        if server.is_signed(request) and "ADDITIONAL-ADDRESS-FAMILY" in request.attributes:
            return server.error(request, code, signed=True)
        return server.respond(request)

    server.answers[stun.Method.ALLOCATE] = refuse
    exchange = Exchange(make_client(families=(4, 6)), server).allocate()
    [event] = exchange.events
    assert isinstance(event, Allocated)
    assert event.relayed == BOTH[:1]
    assert len(exchange.sent) == 3
    server.answers[stun.Method.ALLOCATE] = lambda request: server.error(request, code)
    assert Exchange(make_client(families=(4, 6)), server).allocate().events == [
        AllocationFailed(code, f"reason {code}")
    ]


def test_what_is_asked_for_instead_has_no_more_time_than_there_was() -> None:
    server = FakeTurnServer()
    exchange = Exchange(make_client(families=(4, 6)), server)

    def refuse(request: stun.Message) -> bytes:
        exchange.is_cut = True
        return server.error(request, 440)

    server.answers[stun.Method.ALLOCATE] = refuse
    exchange.client.allocate(exchange.now, 5.0)
    exchange.flush()
    exchange.run(4.9)
    assert exchange.events == []
    exchange.run(0.2)
    assert exchange.events == [AllocationFailed(701, "the server does not answer")]


@pytest.mark.row("TRN-08", "TRN-02")
def test_a_peer_of_a_family_that_the_relay_has_not_is_refused_here() -> None:
    exchange = Exchange().allocate()
    exchange.send(b"x", PEER_IPV6)
    exchange.send(b"x", ("fe80::1%eth0", 5000))
    exchange.client.bind(PEER_IPV6, exchange.now)
    exchange.flush()
    assert [(one.host, one.error_code) for one in exchange.events[1:] if isinstance(one, PermissionRefused)] == [
        (PEER_IPV6[0], 443),
        ("fe80::1%eth0", 443),
    ]
    assert exchange.methods() == ["ALLOCATE", "ALLOCATE"]


@pytest.mark.row("TRN-02", "STN-13")
@pytest.mark.parametrize("algorithms", [b"", b"\0\2\0\0"])
def test_a_stale_nonce_is_replaced_in_every_method(algorithms: bytes) -> None:
    exchange = Exchange(server=FakeTurnServer(algorithms=algorithms, anonymous=bool(algorithms)))
    server = exchange.server
    exchange.allocate()
    server.renew_nonce("second")
    exchange.send(b"x")
    server.renew_nonce("third")
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    server.renew_nonce("fourth")
    exchange.client.refresh(exchange.now)
    exchange.flush()
    server.renew_nonce("fifth")
    exchange.client.close(exchange.now)
    exchange.flush()
    assert [type(event) for event in exchange.events] == [Allocated, Refreshed, Closed]
    assert (server.to_peers, server.allocated) == ([(b"x", PEER)], False)
    methods = ["ALLOCATE", "CREATE_PERMISSION", "CHANNEL_BIND", "REFRESH", "REFRESH"]
    assert all(server.requests[method] == 2 * methods.count(method) for method in methods)


@pytest.mark.row("TRN-09")
@pytest.mark.parametrize("code", [437, 441, 403])
def test_a_refused_refresh_ends_the_allocation(code: int) -> None:
    exchange = Exchange().allocate()
    exchange.server.answers[stun.Method.REFRESH] = lambda request: exchange.server.error(request, code, signed=True)
    exchange.run(700)
    assert exchange.events[1:] == [AllocationFailed(code, f"reason {code}")]
    assert exchange.server.requests["REFRESH"] == 1


@pytest.mark.row("STN-13", "STN-14")
@pytest.mark.parametrize("algorithms", [b"\0\1\0\0", b"\0\2\0\0", b"\0\2\0\0\0\1\0\0"])
@pytest.mark.parametrize("anonymous", [False, True])
def test_a_server_of_rfc_8489(algorithms: bytes, anonymous: bool) -> None:
    server = FakeTurnServer(algorithms=algorithms, anonymous=anonymous)
    exchange = Exchange(server=server).allocate()
    assert isinstance(exchange.events[0], Allocated)
    exchange.send(b"x")
    exchange.run(2000)
    assert server.to_peers == [(b"x", PEER)]
    assert server.allocated
    assert Exchange(make_client("wrong"), server).allocate().events == [AllocationFailed(401, "reason 401")]


@pytest.mark.row("TRN-10")
def test_no_packet_becomes_fragments() -> None:
    """An Ethernet frame carries 1500 octets, of which IPv6 and UDP take 48."""
    exchange = Exchange(make_client(families=(4, 6)), FakeTurnServer(also_relayed=BOTH[1])).allocate()
    for peer in (PEER, PEER_IPV6):
        exchange.client.permit(peer[0], exchange.now)
        exchange.flush()
        sizes = [size for size in range(1380, 1500) if exchange.client.send(bytes(size), peer, exchange.now)]
        message = exchange.client.send(bytes(sizes[-1]), peer, exchange.now)
        assert message is not None
        assert 1500 - 48 - 4 < len(message) <= 1500 - 48
        assert sizes == list(range(1380, sizes[-1] + 1))
        exchange.client.bind(peer, exchange.now)
        exchange.flush()
        message = exchange.client.send(bytes(MAX_PAYLOAD), peer, exchange.now)
        assert message is not None
        assert len(message) == 1500 - 48
        assert exchange.client.send(bytes(MAX_PAYLOAD + 1), peer, exchange.now) is None
    assert MAX_PAYLOAD >= 1200 + 37  # what WebRTC sends, and DTLS adds, fits


def test_a_nat_does_not_forget_an_allocation_that_nobody_uses() -> None:
    exchange = Exchange().allocate()
    exchange.run(540)
    indications = [at for at, data in exchange.sent if data[:2] == b"\x00\x11"]
    assert len(indications) == 27
    exchange.client.close(exchange.now)
    exchange.flush()
    over_tcp = Exchange(make_client(reliable=True)).allocate()
    over_tcp.run(500)
    assert "BINDING" not in over_tcp.methods()


@pytest.mark.row("TRN-02", "TRN-15")
def test_a_wrong_password_fails_at_the_second_refusal() -> None:
    exchange = Exchange(make_client("wrong")).allocate()
    [event] = exchange.events
    assert isinstance(event, AllocationFailed)
    assert event.error_code == 401
    assert exchange.methods() == ["ALLOCATE", "ALLOCATE"]
    exchange.run(1000)
    assert len(exchange.sent) == 2


@pytest.mark.row("TRN-02")
def test_a_stale_nonce_is_replaced() -> None:
    exchange = Exchange().allocate()
    exchange.server.nonce = b"nonce-2"
    exchange.client.permit(PEER[0], exchange.now)
    exchange.client.permit("192.0.2.78", exchange.now)
    exchange.flush()
    assert set(exchange.server.permissions) == {PEER[0], "192.0.2.78"}
    assert exchange.server.requests["CREATE_PERMISSION"] == 4


@pytest.mark.row("TRN-02")
@pytest.mark.parametrize("code", [400, 403, 437, 440, 442, 486, 508])
def test_refusals_are_told_with_code_and_reason(code: int) -> None:
    server = FakeTurnServer()

    def refuse(request: stun.Message) -> bytes:
        if "USERNAME" not in request.attributes:
            return server.challenge(request)
        return server.error(request, code, signed=True)

    server.answers[stun.Method.ALLOCATE] = refuse
    exchange = Exchange(server=server).allocate()
    assert exchange.events == [AllocationFailed(code, f"reason {code}")]


@pytest.mark.row("TRN-02")
def test_an_alternate_server_is_told() -> None:
    server = FakeTurnServer()
    alternate = ("203.0.113.10", 3479)
    server.answers[stun.Method.ALLOCATE] = lambda request: server.error(request, 300, {"ALTERNATE-SERVER": alternate})
    exchange = Exchange(server=server).allocate()
    assert exchange.events == [AllocationFailed(300, "reason 300", alternate)]


@pytest.mark.row("TRN-02")
def test_a_silent_server_ends_in_701() -> None:
    exchange = Exchange()
    exchange.is_cut = True
    exchange.client.allocate(exchange.now, timeout=5.0)
    exchange.flush()
    exchange.run(4.9)
    assert exchange.events == []
    assert [round(at - 1000, 1) for at, _ in exchange.sent] == [0, 0.5, 1.5, 3.5]
    exchange.run(0.2)
    assert exchange.events == [AllocationFailed(701, "the server does not answer")]
    assert exchange.client.next_timeout() is None


@pytest.mark.row("TRN-03", "ICE-10")
def test_the_allocation_is_refreshed_a_minute_before_it_ends() -> None:
    exchange = Exchange().allocate()
    exchange.run(539)
    assert exchange.server.requests["REFRESH"] == 0
    exchange.run(2)
    assert exchange.server.requests["REFRESH"] == 1
    exchange.run(3600)
    assert exchange.server.requests["REFRESH"] == 7
    assert exchange.events[1:] == [Refreshed()] * 7


@pytest.mark.row("TRN-03")
def test_a_short_lifetime_is_refreshed_at_half() -> None:
    exchange = Exchange(server=FakeTurnServer(lifetime=20)).allocate()
    exchange.run(11)
    assert exchange.server.requests["REFRESH"] == 1


@pytest.mark.row("TRN-03")
def test_lost_refreshes_are_repeated_while_the_allocation_lives() -> None:
    exchange = Exchange().allocate()
    exchange.is_cut = True
    exchange.run(585)
    exchange.is_cut = False
    exchange.run(14)
    assert exchange.server.requests["REFRESH"] >= 1
    assert exchange.events[1:] == [Refreshed()]
    exchange.is_cut = True
    exchange.run(700)
    assert isinstance(exchange.events[2], AllocationFailed)
    assert exchange.client.next_timeout() is None


@pytest.mark.row("TRN-03", "TRN-04")
@pytest.mark.parametrize("method", [stun.Method.REFRESH, stun.Method.CREATE_PERMISSION])
def test_a_server_that_has_an_error_of_its_own_is_asked_again(method: stun.Method) -> None:
    """RFC 8489 section 14.8: a 500 is temporary."""
    exchange = Exchange().allocate()
    exchange.client.permit(PEER[0], exchange.now)
    exchange.flush()
    exchange.server.answers[method] = lambda request: exchange.server.error(request, 500, signed=True)
    exchange.run(585 if method is stun.Method.REFRESH else 290)
    del exchange.server.answers[method]
    exchange.run(600)
    assert exchange.server.requests[method.name] >= 5
    assert {type(event) for event in exchange.events} == {Allocated, Refreshed}


@pytest.mark.row("TRN-03", "TRN-04", "TRN-06", "STN-13")
@pytest.mark.parametrize("nonce_lifetime", [7, 600, 86_400])
def test_an_allocation_with_its_permission_and_channel_lasts_for_a_day_whatever_is_lost(nonce_lifetime: int) -> None:
    chance = random.Random(nonce_lifetime)
    exchange = Exchange()
    server, receive = exchange.server, exchange.server.receive

    def lossy(data: bytes) -> list[bytes]:
        server.now = exchange.now
        server.renew_nonce(f"nonce-{exchange.now // nonce_lifetime}")
        answers = receive(data) if chance.random() > 0.1 else []
        return answers if chance.random() > 0.1 else []

    server.now = exchange.now
    exchange.allocate()
    server.receive = lossy  # type: ignore[method-assign]
    exchange.client.permit(PEER[0], exchange.now)
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    exchange.run(40)
    for _ in range(86_400 // 30):
        exchange.run(30)
        server.now = exchange.now
        assert server.from_peer(b"x", PEER) == b"\x40\x00\x00\x01x"
        assert exchange.client.channel_number(PEER) == 0x4000
    assert {type(event) for event in exchange.events} == {Allocated, Refreshed}
    assert 150 <= exchange.events.count(Refreshed()) <= 165
    assert len(exchange.methods()) < 86_400 / 20 + 3 * (2 * 86_400 / 240 + 165)


@pytest.mark.row("TRN-09")
@pytest.mark.parametrize("act", [lambda e: e.client.permit(PEER[0], e.now), lambda e: e.client.bind(PEER, e.now)])
def test_a_server_that_forgot_the_allocation_ends_it(act: Callable[[Exchange], None]) -> None:
    exchange = Exchange().allocate()
    exchange.server.allocated = False
    act(exchange)
    exchange.flush()
    assert exchange.events[1] == AllocationFailed(437, "reason 437")
    exchange.send(b"x")
    assert exchange.server.to_peers == []


@pytest.mark.row("TRN-03")
def test_close_deletes_the_allocation() -> None:
    exchange = Exchange().allocate()
    exchange.client.close(exchange.now)
    exchange.flush()
    assert not exchange.server.allocated
    assert exchange.events[-1] == Closed()
    assert exchange.client.next_timeout() is None


@pytest.mark.row("TRN-03")
def test_close_while_the_allocation_is_on_its_way_deletes_it_too() -> None:
    exchange = Exchange()
    exchange.client.allocate(exchange.now)
    [unsigned] = exchange.client.datagrams_to_send(exchange.now)
    exchange.client.receive(exchange.server.receive(unsigned)[0], exchange.now)
    [signed] = exchange.client.datagrams_to_send(exchange.now)
    answer = exchange.server.receive(signed)[0]
    assert exchange.server.allocated
    exchange.client.close(exchange.now)
    # A Refresh that was sent now could overtake the Allocate inside the server, and find nothing to delete.
    assert exchange.client.datagrams_to_send(exchange.now) == []
    exchange.client.receive(answer, exchange.now)
    exchange.flush()
    assert not exchange.server.allocated
    assert exchange.events == [Closed()]


def test_close_while_an_allocation_is_refused_ends_with_the_refusal() -> None:
    exchange = Exchange()
    exchange.client.allocate(exchange.now)
    [unsigned] = exchange.client.datagrams_to_send(exchange.now)
    challenge = exchange.server.receive(unsigned)[0]
    exchange.client.receive(challenge, exchange.now)
    [signed] = exchange.client.datagrams_to_send(exchange.now)
    exchange.client.close(exchange.now)
    # A stale nonce now is no reason to ask again.
    asked = stun.parse_message(challenge)
    asked.attributes.pop("FINGERPRINT", None)
    refusal = stun.Message(asked.message_method, asked.message_class, signed[8:20], asked.attributes)
    exchange.client.receive(bytes(refusal), exchange.now)
    assert exchange.client.datagrams_to_send(exchange.now) == []
    assert exchange.client.events() == [Closed()]


@pytest.mark.row("TRN-03")
def test_close_waits_a_second_for_a_silent_server() -> None:
    exchange = Exchange().allocate()
    exchange.is_cut = True
    exchange.client.close(exchange.now)
    exchange.flush()
    exchange.run(0.9)
    assert exchange.events[-1] != Closed()
    exchange.run(0.2)
    assert exchange.events[-1] == Closed()


@pytest.mark.row("TRN-04", "ICE-23")
def test_permissions_come_before_data_and_are_kept_alive() -> None:
    exchange = Exchange().allocate()
    message = exchange.client.send(b"check", PEER, exchange.now)
    assert message is None
    assert exchange.server.to_peers == []
    exchange.flush()
    assert exchange.server.to_peers == [(b"check", PEER)]
    exchange.run(1000)
    # At 0, 240, 480, 720 and 960 s: never 300 s apart.
    assert exchange.server.requests["CREATE_PERMISSION"] == 5
    exchange.send(b"later", OTHER_PORT)  # a permission is for a host, whatever the port
    assert exchange.server.requests["CREATE_PERMISSION"] == 5
    assert exchange.server.to_peers[-1] == (b"later", OTHER_PORT)


@pytest.mark.row("TRN-04")
def test_a_refused_permission_is_told_and_nothing_is_sent() -> None:
    exchange = Exchange().allocate()
    server = exchange.server
    server.answers[stun.Method.CREATE_PERMISSION] = lambda request: server.error(request, 403, signed=True)
    exchange.send(b"x")
    assert exchange.events[1:] == [PermissionRefused(PEER[0], 403, "reason 403")]
    exchange.send(b"y")
    assert server.requests["CREATE_PERMISSION"] == 1
    assert server.to_peers == []
    assert "SEND" not in exchange.methods()


def test_what_waits_for_a_permission_is_bounded() -> None:
    exchange = Exchange().allocate()
    for number in range(50):
        exchange.client.send(bytes([number]), PEER, exchange.now)
    exchange.flush()
    assert [data for data, _ in exchange.server.to_peers] == [bytes([number]) for number in range(8)]
    assert exchange.client.dropped == 42


def test_the_number_of_peers_is_bounded() -> None:
    exchange = Exchange().allocate()
    for number in range(300):
        exchange.client.send(b"x", (f"10.0.{number // 250}.{number % 250}", 1), exchange.now)
    exchange.flush()
    assert exchange.server.requests["CREATE_PERMISSION"] == 128


def test_a_peer_that_is_new_takes_the_place_of_one_that_was_of_no_use_for_long() -> None:
    """In a session of days a peer may have had more addresses than there is room for."""
    exchange = Exchange().allocate()
    exchange.send(b"in use")
    for number in range(1000):
        exchange.client.permit(f"10.0.{number // 250}.{number % 250}", exchange.now)
        exchange.flush()
        if number % 2:
            exchange.run(1.0)
            exchange.send(b"in use")
    assert exchange.server.to_peers[-1][1] == PEER
    assert 128 < exchange.server.requests["CREATE_PERMISSION"] < 1100
    exchange.run(100.0)
    exchange.send(b"and now", ("203.0.113.77", 1))
    assert exchange.server.to_peers[-1] == (b"and now", ("203.0.113.77", 1))


@pytest.mark.row("TRN-05")
@pytest.mark.parametrize("size", [1, 3, 4, 1200, 1404])
def test_indications_carry_data_both_ways(size: int) -> None:
    exchange = Exchange().allocate()
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    exchange.send(data)
    assert exchange.server.to_peers == [(data, PEER)]
    arrived = exchange.server.from_peer(data, PEER)
    assert arrived is not None
    assert exchange.client.receive(arrived, exchange.now) == (data, PEER)


@pytest.mark.row("TRN-06")
def test_a_channel_is_bound_in_the_background_and_kept() -> None:
    exchange = Exchange().allocate()
    exchange.send(b"before")
    exchange.client.bind(PEER, exchange.now)
    exchange.client.bind(PEER, exchange.now)
    assert exchange.client.channel_number(PEER) is None
    exchange.flush()
    assert exchange.client.channel_number(PEER) == 0x4000
    assert exchange.server.requests["CHANNEL_BIND"] == 1
    message = exchange.client.send(b"after", PEER, exchange.now)
    assert message == b"\x40\x00\x00\x05after"
    exchange.run(1000)
    assert exchange.server.requests["CHANNEL_BIND"] == 5
    exchange.client.bind(OTHER_PORT, exchange.now)
    exchange.flush()
    assert exchange.client.channel_number(OTHER_PORT) == 0x4001


@pytest.mark.row("TRN-06")
def test_a_channel_that_cannot_be_renewed_falls_back_and_keeps_its_number() -> None:
    exchange = Exchange().allocate()
    exchange.send(b"before")
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    server = exchange.server
    server.answers[stun.Method.CHANNEL_BIND] = lambda request: server.error(request, 508, signed=True)
    exchange.run(245)
    assert exchange.client.channel_number(PEER) is None
    exchange.send(b"by indication")
    assert server.to_peers[-1] == (b"by indication", PEER)
    # What the peer sends on the number is still understood, and no other peer gets it.
    arrived = exchange.client.receive(b"\x40\x00\x00\x02hi", exchange.now)
    assert arrived == (b"hi", PEER)
    server.answers.clear()
    exchange.client.bind(OTHER_PORT, exchange.now)
    exchange.flush()
    assert exchange.client.channel_number(OTHER_PORT) == 0x4001
    exchange.run(20)
    assert exchange.client.channel_number(PEER) == 0x4000


def test_channel_numbers_end_and_indications_go_on() -> None:
    exchange = Exchange().allocate()
    for port in range(1, 131):
        exchange.client.bind((PEER[0], port), exchange.now)
    exchange.flush()
    assert exchange.client.channel_number((PEER[0], 128)) == 0x407F
    assert exchange.client.channel_number((PEER[0], 129)) is None
    exchange.send(b"x", (PEER[0], 129))
    assert exchange.server.to_peers == [(b"x", (PEER[0], 129))]


@pytest.mark.row("TRN-07")
def test_channel_data_may_be_padded_and_its_length_is_not() -> None:
    exchange = Exchange().allocate()
    exchange.client.bind(PEER, exchange.now)
    exchange.flush()
    receive = exchange.client.receive
    assert receive(b"\x40\x00\x00\x03abc", exchange.now) == (b"abc", PEER)
    assert receive(b"\x40\x00\x00\x03abc\x00", exchange.now) == (b"abc", PEER)
    for bad in (b"\x40", b"\x40\x00\x00", b"\x40\x00\x00\x00", b"\x40\x00\x00\x04abc", b"\x40\x01\x00\x01a"):
        assert receive(bad, exchange.now) is None
    assert exchange.client.dropped == 5


def test_data_from_hosts_without_a_permission_is_dropped() -> None:
    exchange = Exchange().allocate()
    attributes = {"XOR-PEER-ADDRESS": PEER, "DATA": b"boo"}
    data = bytes(stun.Message(stun.Method.DATA, stun.Class.INDICATION, bytes(12), attributes))
    assert exchange.client.receive(data, exchange.now) is None
    exchange.client.permit(PEER[0], exchange.now)
    assert exchange.client.receive(data, exchange.now) == (b"boo", PEER)


@pytest.mark.row("TRN-16")
def test_credentials_are_in_no_log_line_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    exchange = Exchange(make_client("hunter2")).allocate()
    exchange.run(100)
    text = caplog.text + repr(exchange.events) + repr(exchange.client)
    assert "hunter2" not in text
