"""Two cores find each other: over plain wires, lossy ones, NATs and relays."""

from __future__ import annotations

import random

import pytest

from tests.ice.core_pair import (
    ALICE,
    BOB,
    Nat,
    Peer,
    Wire,
    connect,
    connected,
    host,
    relay,
    srflx,
    two_peers,
)
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.ice import stun
from webrtc_py.ice.candidate import candidate_priority, local_preference, peer_reflexive_priority, unmarshal_candidate
from webrtc_py.ice.core import Core
from webrtc_py.ice.events import PermissionNeeded
from webrtc_py.ice.options import AgentTimings
from webrtc_py.states import CandidatePairState, CandidateType, ICERole, ICETransportState

NEW, CHECKING, CONNECTED, COMPLETED = (
    ICETransportState.NEW,
    ICETransportState.CHECKING,
    ICETransportState.CONNECTED,
    ICETransportState.COMPLETED,
)


@pytest.mark.row("ICE-11", "ICE-38", "ICE-40")
def test_two_hosts_connect_in_two_round_trips() -> None:
    wire, alice, bob = two_peers(Wire(delay=0.001))
    start = wire.now
    connect(wire, alice, bob)
    assert wire.now - start == pytest.approx(0.004)
    assert alice.states == bob.states == [CHECKING, CONNECTED]
    assert (alice.core.role, bob.core.role) == (ICERole.CONTROLLING, ICERole.CONTROLLED)
    for ours, theirs in ((alice, bob), (bob, alice)):
        pair = ours.core.selected
        assert pair is ours.core.path
        assert pair is not None
        assert pair.nominated
        assert pair.destination == theirs.bases[0]
    # A check and its answer each way, a nomination and its answer.
    assert len(wire.log) == 6


@pytest.mark.row("ICE-18", "ICE-19", "ICE-20", "ICE-21", "ICE-22", "ICE-33")
def test_what_is_on_the_wire() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    wire.run(20)
    for peer, other, role, tie_breaker in (
        (alice, BOB, "ICE-CONTROLLING", 2),
        (bob, ALICE, "ICE-CONTROLLED", 1),
    ):
        requests = [packet.message for packet in peer.requests()]
        assert len(requests) > 10
        for request in requests:
            attributes = request.attributes
            assert attributes["USERNAME"] == f"{other[0]}:{peer.credentials[0]}"
            assert request.check_message_integrity(other[1].encode())
            assert attributes["PRIORITY"] == candidate_priority(CandidateType.PRFLX, local_preference(0))
            assert attributes[role] == tie_breaker
            assert "FINGERPRINT" in attributes
        assert len({request.transaction_id for request in requests}) == len(requests)
        for packet in peer.sent():
            if packet.message.message_class is stun.Class.RESPONSE:
                assert packet.message.attributes["XOR-MAPPED-ADDRESS"] == packet.destination
                assert packet.message.check_message_integrity(peer.credentials[1].encode())
                assert "FINGERPRINT" in packet.message.attributes
    assert sum(packet.has("USE-CANDIDATE") for packet in alice.sent()) == 1
    assert not any(packet.has("USE-CANDIDATE") for packet in bob.sent())


def test_the_same_seed_gives_the_same_bytes() -> None:
    logs = []
    for _ in range(2):
        wire, alice, bob = two_peers(Wire(3, delay=0.1, loss=0.3))
        connect(wire, alice, bob)
        wire.run(30)
        logs.append([(packet.time, packet.data) for packet in wire.log])
    assert logs[0] == logs[1]


@pytest.mark.parametrize("seed", range(12))
def test_a_path_of_600_ms_and_30_percent_loss_each_way(seed: int) -> None:
    wire, alice, bob = two_peers(Wire(seed, delay=0.3, loss=0.3))
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    assert wire.run(15, lambda: connected(alice, bob))
    wire.run(60)
    assert connected(alice, bob)


@pytest.mark.row("ICE-31", "ICE-45")
def test_checks_before_the_remote_description_are_answered_and_remembered() -> None:
    wire, alice, bob = two_peers()
    # Bob answers Alice's offer and checks at once; the answer is still on its way to Alice.
    bob.meet(alice, controlling=False)
    wire.run(0.01)
    assert alice.core.state is NEW
    assert alice.core.pairs == []
    pair = bob.core.pairs[0]
    assert pair.state is CandidatePairState.SUCCEEDED
    assert bob.core.path is pair, "data may flow before the nomination"
    assert bob.core.selected is None
    start = wire.now
    alice.meet(bob, controlling=True, candidates=False)
    assert wire.run(3, lambda: connected(alice, bob))
    # Alice has never been told Bob's candidate, so she waits for better ones as long as for any stranger.
    assert wire.now - start == pytest.approx(1.0, abs=0.01)
    assert alice.core.selected is not None
    assert alice.core.selected.remote.type is CandidateType.PRFLX


@pytest.mark.row("ICE-31", "TRI-06")
def test_an_early_check_and_then_its_candidate_connect_at_once() -> None:
    wire, alice, bob = two_peers()
    bob.meet(alice, controlling=False)
    wire.run(0.01)
    start = wire.now
    alice.meet(bob, controlling=True)
    assert wire.run(3, lambda: connected(alice, bob))
    assert wire.now - start < 0.01
    assert len(alice.core.pairs) == 1
    assert alice.core.pairs[0].remote.type is CandidateType.HOST


def test_early_checks_of_somebody_else_are_forgotten() -> None:
    wire, alice, bob = two_peers()
    mallory = wire.peer("mallory", ("mall", "m" * 22), 5)
    mallory.add(host("192.0.2.66"))
    mallory.meet(alice, controlling=False)
    wire.run(0.01)
    alice.meet(bob, controlling=True)
    assert [pair.destination for pair in alice.core.pairs] == [bob.bases[0]]


@pytest.mark.row("ICE-12")
def test_pairs_are_of_one_family_component_and_transport() -> None:
    _, alice, bob = two_peers()
    alice.add(host("2001:db8::1", index=1))
    alice.meet(bob, controlling=True)
    for line in (
        "1 1 udp 9 2001:db8::2 5000 typ host",
        "2 2 udp 8 192.0.2.2 5001 typ host",
        "3 1 tcp 7 192.0.2.2 9 typ host tcptype active",
    ):
        alice.hear_of(unmarshal_candidate(line))
    pairs = {(pair.base.address, pair.destination[0]) for pair in alice.core.pairs}
    assert pairs == {("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")}
    assert alice.core.dropped.candidates == 1, "the TCP one is known, though nothing of ours goes with it"


@pytest.mark.row("ICE-09")
def test_link_local_addresses_pair_with_their_like_in_the_local_zone() -> None:
    wire, alice, _ = two_peers()
    alice.add(host("fe80::1%eth0", index=1))
    alice.add(host("2001:db8::1", index=2))
    alice.core.set_remote_credentials(*BOB, wire.now)
    alice.core.start(True, wire.now)
    alice.hear_of(host("fe80::2"))
    alice.hear_of(host("2001:db8::2"))
    assert {(pair.base.address, pair.destination) for pair in alice.core.pairs} == {
        ("fe80::1%eth0", ("fe80::2", 5000)),
        ("2001:db8::1", ("2001:db8::2", 5000)),
    }


def test_two_link_local_hosts_connect() -> None:
    wire = Wire()
    alice, bob = wire.peer("alice", ALICE, 2), wire.peer("bob", BOB, 1)
    alice.add(host("fe80::1%eth0"))
    bob.add(host("fe80::2%eth0"))
    connect(wire, alice, bob)
    assert [pair.local.type for pair in alice.core.pairs] == [CandidateType.HOST]


# NATs


def behind_nat(symmetric: bool = False) -> tuple[Wire, Peer, Peer]:
    wire = Wire()
    alice, bob = wire.peer("alice", ALICE, 2), wire.peer("bob", BOB, 1)
    alice.nat = Nat("203.0.113.1", symmetric)
    alice.add(host("10.0.0.1"))
    bob.add(host("192.0.2.2"))
    return wire, alice, bob


@pytest.mark.row("ICE-27", "ICE-28", "ICE-34", "ICE-33")
def test_a_nat_nobody_knew_of_makes_peer_reflexive_candidates_on_both_sides() -> None:
    wire, alice, bob = behind_nat()
    connect(wire, alice, bob)
    ours, theirs = alice.core.selected, bob.core.selected
    assert ours is not None
    assert theirs is not None
    base = alice.core.local_candidates[0]
    assert ours.base == base
    assert (ours.local.type, ours.local.address) == (CandidateType.PRFLX, "203.0.113.1")
    assert ours.local.priority == peer_reflexive_priority(base)
    assert (ours.local.related_address, ours.local.related_port) == ("10.0.0.1", 5000)
    assert (theirs.remote.type, theirs.remote.address) == (CandidateType.PRFLX, "203.0.113.1")
    assert theirs.remote.priority == peer_reflexive_priority(base), "the priority is the request's"
    assert theirs.remote.foundation not in {candidate.foundation for candidate in alice.core.local_candidates}
    assert ours.priority == theirs.priority, "so both ends rank the path alike"


@pytest.mark.row("ICE-28", "ICE-14")
def test_a_nat_that_was_known_gives_the_valid_pair_its_reflexive_candidate() -> None:
    wire, alice, bob = behind_nat()
    reflexive = alice.add(srflx("203.0.113.1", 40000, ("10.0.0.1", 5000)), base_id=0)
    connect(wire, alice, bob)
    pair = alice.core.selected
    assert pair is not None
    assert pair.local == reflexive
    assert len(alice.core.pairs) == 1


@pytest.mark.row("ICE-05", "ICE-13")
def test_a_server_that_tells_late_of_a_nat_gives_the_pair_its_reflexive_candidate() -> None:
    wire, alice, bob = behind_nat()
    connect(wire, alice, bob)
    reflexive = alice.add(srflx("203.0.113.1", 40000, ("10.0.0.1", 5000)), base_id=0)
    bob.hear_of(unmarshal_candidate(reflexive.marshal()))
    wire.flush()
    ours, theirs = alice.core.selected, bob.core.selected
    assert ours is not None
    assert theirs is not None
    assert ours.local == reflexive
    assert (ours.local.type, theirs.remote.type) == (CandidateType.SRFLX, CandidateType.SRFLX)
    assert ours.priority == theirs.priority, "so both ends still rank the path alike"
    assert (alice.selections, bob.selections) == (2, 2), "the pair in use is told of again"
    assert len(alice.core.pairs) == 1


@pytest.mark.row("ICE-27", "ICE-34")
@pytest.mark.parametrize("symmetric", [False, True])
def test_both_behind_nats(symmetric: bool) -> None:
    wire, alice, bob = behind_nat(symmetric)
    bob.nat = Nat("203.0.113.2")
    bob.bases[0] = ("10.0.0.2", 5000)
    # A STUN server has told both of their mappings; a symmetric NAT will use another towards the peer.
    server = ("198.51.100.1", 3478)
    for peer, base in ((alice, ("10.0.0.1", 5000)), (bob, ("10.0.0.2", 5000))):
        assert peer.nat is not None
        mapped = peer.nat.out(base, server)
        peer.add(srflx(*mapped, base), base_id=0)
    alice.meet(bob, controlling=True)
    bob.meet(alice, controlling=False)
    assert wire.run(10, lambda: connected(alice, bob))
    pair = alice.core.selected
    assert pair is not None
    assert pair.local.type is (CandidateType.PRFLX if symmetric else CandidateType.SRFLX)
    assert pair.remote.type is CandidateType.SRFLX


# Relays


@pytest.mark.row("ICE-23")
def test_a_relay_is_asked_to_let_each_address_in_once() -> None:
    _, alice, bob = two_peers()
    alice.add(relay("198.51.100.9"))
    bob.add(host("192.0.2.3", index=1))
    bob.add(host("192.0.2.3", 5001, index=2))
    alice.meet(bob, controlling=True)
    permissions = [(at, event) for at, event in alice.happened if isinstance(event, PermissionNeeded)]
    assert [(event.base_id, event.address[0]) for _, event in permissions] == [(1, "192.0.2.2"), (1, "192.0.2.3")]
    sent = [packet for packet in alice.sent() if packet.source == ("198.51.100.9", 6000)]
    assert all(packet.time >= permissions[0][0] for packet in sent)


@pytest.mark.row("ICE-23", "ICE-34")
def test_a_relay_is_asked_for_an_address_that_a_check_came_from() -> None:
    wire, alice, bob = two_peers()
    alice.add(relay("198.51.100.9"))
    alice.meet(bob, controlling=True, candidates=False)
    bob.meet(alice, controlling=False)
    wire.run(1)
    asked = [event for _, event in alice.happened if isinstance(event, PermissionNeeded)]
    assert asked == [PermissionNeeded(1, ("192.0.2.2", 5000))]


@pytest.mark.row("MDN-05")
def test_a_relay_does_not_pair_with_a_hidden_address() -> None:
    wire, alice, bob = two_peers()
    alice.add(relay("198.51.100.9"))
    alice.meet(bob, controlling=True, candidates=False)
    hidden = host("6f9c2a3e.local")
    alice.core.add_remote_candidate(hidden, wire.now, address="192.0.2.2")
    wire.flush()
    assert [pair.base.type for pair in alice.core.pairs] == [CandidateType.HOST]
    assert alice.core.pairs[0].remote is hidden
    assert alice.core.pairs[0].destination == ("192.0.2.2", 5000)
    assert not any(isinstance(event, PermissionNeeded) for _, event in alice.happened)


@pytest.mark.row("CON-05", "ICE-44")
def test_relays_on_both_sides_connect_and_keep_consent() -> None:
    wire = Wire()
    timings = AgentTimings().for_relay_only()
    alice = wire.peer("alice", ALICE, 2, timings=timings)
    bob = wire.peer("bob", BOB, 1, timings=timings)
    alice.add(relay("198.51.100.1"))
    bob.add(relay("198.51.100.2"))
    start = wire.now
    connect(wire, alice, bob)
    assert wire.now - start < 0.01, "relay only: nothing better to wait for"
    wire.run(120)
    assert connected(alice, bob)
    assert alice.core.selected is not None
    assert alice.core.selected.consent_requests_sent >= 120 / 2.4 - 1


def test_a_relay_that_refuses_an_address_fails_its_pairs_at_once() -> None:
    wire, alice, bob = two_peers()
    alice.add(relay("198.51.100.9"))
    alice.meet(bob, controlling=True)
    alice.core.base_lost(1, wire.now, host="192.0.2.2", reason="403 Forbidden")
    states = {pair.base.type: (pair.state, pair.failure) for pair in alice.core.pairs}
    assert states[CandidateType.RELAY] == (CandidatePairState.FAILED, "403 Forbidden")
    assert states[CandidateType.HOST][0] is CandidatePairState.IN_PROGRESS
    assert alice.core.add_local_candidate(relay("198.51.100.9"), 1, wire.now) is False, "the relay is still there"


def test_a_base_that_is_lost_takes_its_candidates_with_it() -> None:
    wire, alice, bob = two_peers()
    alice.add(relay("198.51.100.9"))
    alice.meet(bob, controlling=True)
    alice.core.base_lost(1, wire.now)
    assert [candidate.type for candidate in alice.core.local_candidates] == [CandidateType.HOST]
    alice.hear_of(host("192.0.2.3"))
    assert not any(pair.base_id == 1 and pair.state is not CandidatePairState.FAILED for pair in alice.core.pairs)


# Local candidates


@pytest.mark.row("ICE-05")
def test_redundant_local_candidates_are_refused() -> None:
    wire, alice, _ = two_peers()
    now = wire.now
    assert not alice.core.add_local_candidate(srflx("192.0.2.1", 5000, ("192.0.2.1", 5000)), 0, now)
    reflexive = srflx("203.0.113.1", 40000, ("192.0.2.1", 5000))
    assert alice.core.add_local_candidate(reflexive, 0, now)
    assert not alice.core.add_local_candidate(srflx("203.0.113.1", 40000, ("192.0.2.1", 5000), index=1), 0, now)
    assert alice.core.add_local_candidate(reflexive, 1, now), "the same address on another base is not redundant"
    assert [candidate.type for candidate in alice.core.local_candidates] == [
        CandidateType.HOST,
        CandidateType.SRFLX,
        CandidateType.SRFLX,
    ]


def test_without_host_candidates_the_reflexive_ones_pair() -> None:
    wire, _, bob = behind_nat()
    now = wire.now
    hidden = wire.peer("hidden", ("hidd", "h" * 22), 7)
    hidden.nat = Nat("203.0.113.7")
    hidden.bases[0] = ("10.0.0.7", 5000)
    hidden.core.add_local_candidate(srflx("203.0.113.7", 40000, ("10.0.0.7", 5000)), 0, now)
    connect(wire, hidden, bob)
    assert hidden.core.selected is not None
    assert hidden.core.selected.local.type is CandidateType.SRFLX


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_network_is_like_both_ends_agree(seed: int) -> None:
    """Several addresses, some of them dead, NATs, loss, equal roles, candidates in any order and at any time."""
    chance = random.Random(seed)
    wire = Wire(seed, delay=chance.choice([0.0005, 0.02, 0.2]), loss=chance.choice([0.0, 0.0, 0.1, 0.2]))
    alice = wire.peer("alice", ALICE, chance.randrange(2**64))
    bob = wire.peer("bob", BOB, chance.randrange(2**64))
    for number, peer in enumerate((alice, bob)):
        if chance.random() < 0.3:
            peer.nat = Nat(f"203.0.113.{number}", symmetric=chance.random() < 0.3)
        for index in range(chance.randrange(1, 4)):
            peer.add(host(f"10.{number}.0.{index + 1}", index=index))
        peer.add(relay(f"198.51.100.{number}"))
    if alice.nat is None and bob.nat is None:
        dead = chance.choice([None, "10.0.0.1", "10.1.0.1"])
        wire.blocked = lambda packet: dead in (packet.source[0], packet.destination[0])
    roles = chance.choice([(True, False), (False, True), (True, True), (False, False)])
    steps = [lambda: alice.meet(bob, controlling=roles[0], candidates=False)]
    steps.append(lambda: bob.meet(alice, controlling=roles[1], candidates=False))
    for peer, other in ((alice, bob), (bob, alice)):
        for candidate in other.core.local_candidates:
            steps.append(lambda peer=peer, candidate=candidate: peer.hear_of(candidate))  # type: ignore[misc]
    chance.shuffle(steps)
    for step in steps:
        wire.run(chance.choice([0.0, 0.001, 0.05, 0.3]))
        step()
    assert wire.run(20, lambda: connected(alice, bob)), (alice.core.pairs, bob.core.pairs)
    wire.run(5)
    ours, theirs = alice.core.selected, bob.core.selected
    assert ours is not None
    assert theirs is not None
    assert alice.core.controlling != bob.core.controlling
    assert (ours.local.address, ours.local.port) == theirs.destination
    assert (theirs.local.address, theirs.local.port) == ours.destination
    sent = len(wire.log)
    wire.run(10)
    assert len(wire.log) - sent < 100, "and then there is peace"


# The states


@pytest.mark.row("ICE-40")
@pytest.mark.parametrize("order", [("local", "remote"), ("remote", "local")])
def test_completed_when_all_candidates_are_known_and_nothing_is_left_to_check(order: tuple[str, str]) -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    for which in order:
        assert alice.core.state is CONNECTED
        if which == "local":
            alice.core.local_gathering_done(wire.now)
        else:
            alice.core.end_of_remote_candidates(wire.now)
    alice.flush()
    assert alice.states == [CHECKING, CONNECTED, COMPLETED]


@pytest.mark.row("ICE-40")
def test_a_finished_agent_still_answers_checks() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    alice.core.local_gathering_done(wire.now)
    alice.core.end_of_remote_candidates(wire.now)
    answered = len(alice.sent()) - len(alice.requests())
    wire.run(60)
    assert len(alice.sent()) - len(alice.requests()) >= answered + 24


def test_close_is_final_and_silent() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    sent = len(alice.sent())
    alice.core.close()
    alice.core.close()
    wire.run(10)
    assert alice.states[-1:] == [ICETransportState.CLOSED]
    assert alice.states.count(ICETransportState.CLOSED) == 1
    assert alice.core.next_timeout() is None
    assert alice.core.path is None
    assert len(alice.sent()) == sent
    alice.core.add_remote_candidate(host("192.0.2.7"), wire.now)
    assert alice.core.datagrams_to_send(wire.now) == []


def test_a_core_that_has_nothing_to_do_wants_no_timer() -> None:
    wire, alice, _ = two_peers()
    assert alice.core.next_timeout() is None
    alice.core.handle_timeout(wire.now)
    assert alice.core.datagrams_to_send(wire.now) == []


# Wrong calls


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tie_breaker": -1}, "tie_breaker"),
        ({"tie_breaker": 2**64}, "tie_breaker"),
        ({"seed": b"short"}, "seed"),
        ({"max_pairs": 0}, "max_pairs"),
        ({"local_ufrag": "abc"}, "local user fragment"),
        ({"local_ufrag": "a" * 33}, "local user fragment"),
        ({"local_pwd": "p" * 21}, "local password"),
        ({"local_pwd": "p" * 21 + "-"}, "local password"),
    ],
)
def test_a_core_is_not_made_of_nonsense(options: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"tie_breaker": 1, "local_ufrag": "abcd", "local_pwd": "p" * 22, "seed": b"s" * 16}
    Core(**good)  # type: ignore[arg-type]
    with pytest.raises(InvalidAccessError, match=message) as caught:
        Core(**(good | options))  # type: ignore[arg-type]
    assert "pppp" not in str(caught.value), "a password is never shown"


@pytest.mark.row("ICE-57")
@pytest.mark.parametrize(
    ("ufrag", "pwd", "good"),
    [
        ("abcd", "p" * 22, True),
        ("a" * 256, "p" * 256, True),
        ("ab+/", "+/" * 11, True),
        ("abc", "p" * 22, False),
        ("a" * 257, "p" * 22, False),
        ("abcd", "p" * 21, False),
        ("abcd", "p" * 257, False),
        ("ab:d", "p" * 22, False),
        ("abcd", "p" * 21 + "é", False),
        ("abcd\n", "p" * 22, False),
    ],
)
def test_remote_credentials(ufrag: str, pwd: str, good: bool) -> None:
    wire, alice, _ = two_peers()
    if good:
        alice.core.set_remote_credentials(ufrag, pwd, wire.now)
        alice.core.set_remote_credentials(ufrag, pwd, wire.now)
        with pytest.raises(InvalidStateError):
            alice.core.set_remote_credentials("other", pwd, wire.now)
    else:
        with pytest.raises(InvalidAccessError):
            alice.core.set_remote_credentials(ufrag, pwd, wire.now)


def test_started_once() -> None:
    wire, alice, _ = two_peers()
    alice.core.start(True, wire.now)
    with pytest.raises(InvalidStateError):
        alice.core.start(True, wire.now)
