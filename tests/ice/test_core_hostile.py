"""What strangers, forgers and replayers can do to a core: nothing. What a hostile peer can: little."""

from __future__ import annotations

import contextlib
import hmac
import struct
from binascii import crc32
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ice.core_pair import ALICE, BOB, Packet, connect, connected, host, two_peers
from tests.ice.hand import HERE, THERE, Hand
from webrtc_py.ice import stun
from webrtc_py.ice.core import Core
from webrtc_py.ice.early import MAX_EARLY_CHECKS
from webrtc_py.ice.pair import CandidatePair
from webrtc_py.states import CandidateType

EVIL = ("192.0.2.66", 6666)


def snapshot(core: Core) -> tuple[Any, ...]:
    """All that an unauthenticated datagram must not change."""
    pairs = [[getattr(pair, name) for name in CandidatePair.__slots__] for pair in core.pairs]
    return core.state, core.controlling, core.tie_breaker, core.selected, core.path, pairs, core.next_timeout()


def forgeries(transaction_id: bytes) -> list[bytes]:
    """Requests, responses, errors and indications by somebody who knows both user fragments and no password."""
    attributes: dict[str, Any] = {"USERNAME": "alic:bobb", "PRIORITY": 2**31 - 1, "USE-CANDIDATE": None}
    method = stun.Method.BINDING
    messages = [
        stun.Message(method, stun.Class.REQUEST, transaction_id, attributes | {"ICE-CONTROLLING": 2**64 - 1}),
        stun.Message(method, stun.Class.REQUEST, transaction_id, attributes | {"ICE-CONTROLLED": 2**64 - 1}),
        stun.Message(method, stun.Class.REQUEST, transaction_id, {}),
        stun.Message(method, stun.Class.REQUEST, transaction_id, {"USERNAME": "alic"}),
        stun.Message(method, stun.Class.REQUEST, transaction_id, {"USERNAME": "nobody:bobb", "PRIORITY": 1}),
        stun.Message(method, stun.Class.REQUEST, transaction_id, {"USERNAME": "alic:nobody", "PRIORITY": 1}),
        stun.Message(method, stun.Class.INDICATION, transaction_id, attributes),
        stun.Message(method, stun.Class.INDICATION, transaction_id, {}),
        stun.Message(method, stun.Class.RESPONSE, transaction_id, {"XOR-MAPPED-ADDRESS": EVIL}),
        *[
            stun.Message(method, stun.Class.ERROR, transaction_id, {"ERROR-CODE": (code, "no")})
            for code in (300, 400, 401, 420, 438, 487, 500)
        ],
        stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST, transaction_id, attributes),
        stun.Message(stun.Method.DATA, stun.Class.INDICATION, transaction_id, {"DATA": b"x", "XOR-PEER-ADDRESS": EVIL}),
    ]
    keys = (None, b"", b"guess", b"a" * 24)
    return [stun.serialize(message, key) for message in messages for key in keys]


@pytest.mark.row("ICE-53", "ICE-30", "ICE-55", "CON-08", "STN-11", "STN-12")
@pytest.mark.parametrize("stage", ["new", "checking", "connected"])
@pytest.mark.parametrize("source", [EVIL, THERE])
def test_unauthenticated_messages_change_nothing_and_get_no_answer(stage: str, source: tuple[str, int]) -> None:
    if stage == "new":
        core = Core(tie_breaker=5, local_ufrag=ALICE[0], local_pwd=ALICE[1], seed=b"s" * 16)
        core.add_local_candidate(host(*HERE), 0, 100.0)
        now, outstanding = 100.0, bytes(12)
    else:
        hand = Hand(controlling=True)
        hand.core.add_remote_candidate(host(*THERE), hand.now)
        [request] = hand.requests()
        outstanding = request[1].transaction_id
        if stage == "connected":
            hand.answer(request)
            hand.answer(hand.requests()[0])
            hand.wait(2.4)
            outstanding = hand.requests()[-1][1].transaction_id
        core, now = hand.core, hand.now
    before = snapshot(core)
    core.events()
    for _ in range(20):
        for data in forgeries(outstanding):
            core.receive(data, 0, source, now)
    assert snapshot(core) == before
    assert core.datagrams_to_send(now) == []
    assert core.events() == []
    assert core.dropped.unauthenticated + core.dropped.malformed + core.dropped.unexpected > 500


@pytest.mark.row("ICE-53", "STN-12")
def test_the_true_answer_still_counts_after_any_number_of_forged_ones() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [request] = hand.requests()
    for data in forgeries(request[1].transaction_id):
        hand.core.receive(data, 0, THERE, hand.now)
    hand.answer(request)
    assert hand.pair().succeeded


@pytest.mark.row("ICE-30", "STN-09")
@pytest.mark.parametrize("broken", ["ufrag", "half", "password", "no integrity", "no fingerprint", "cut", "none"])
def test_only_a_whole_and_signed_check_for_us_is_answered(broken: str) -> None:
    hand = Hand(controlling=False)
    attributes = {"USERNAME": "alic:bobb", "PRIORITY": 1, "ICE-CONTROLLING": 1}
    key: bytes | None = ALICE[1].encode()
    if broken == "ufrag":
        attributes["USERNAME"] = "alicf:bobb"
    elif broken == "half":
        attributes["USERNAME"] = "alic"
    elif broken == "password":
        key = ALICE[1][:-1].encode()
    elif broken == "no integrity":
        key = None
    data = stun.serialize(stun.Message(stun.Method.BINDING, stun.Class.REQUEST, bytes(12), attributes), key)
    if broken == "no fingerprint":
        data = data[:2] + (len(data) - 28).to_bytes(2, "big") + data[4:-8]
    elif broken == "cut":
        data = data[:-12]
    hand.core.receive(data, 0, THERE, hand.now)
    answered = [o for o in hand.core.datagrams_to_send(hand.now) if stun.parse_message(o.data).message_class == 0x100]
    assert len(answered) == (1 if broken == "none" else 0)
    assert len(hand.core.pairs) == len(answered)


@pytest.mark.row("ICE-25", "CON-03")
def test_an_answer_from_elsewhere_validates_nothing_and_hurts_nothing() -> None:
    hand = Hand(controlling=True)
    hand.core.add_local_candidate(host("192.0.2.8", index=1), 1, hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    where, message = hand.requests()[0]
    good = stun.binding_success(message.transaction_id, mapped_address=HERE, key=BOB[1].encode())
    hand.core.receive(good, 0, EVIL, hand.now)
    hand.core.receive(good, 1, where, hand.now)
    assert not any(pair.succeeded for pair in hand.core.pairs)
    assert hand.core.dropped.unexpected == 2
    hand.core.receive(good, 0, where, hand.now)
    assert hand.pair().succeeded
    hand.core.receive(good, 0, where, hand.now)
    assert hand.core.dropped.unexpected == 3, "and it counts once"


@pytest.mark.row("ICE-56", "ICE-53")
def test_a_replayed_nomination_moves_nothing() -> None:
    wire, alice, bob = two_peers()
    connect(wire, alice, bob)
    wire.run(5)
    captured = [packet for packet in alice.requests() if packet.has("USE-CANDIDATE")] + alice.requests()
    selected = bob.core.selected
    assert selected is not None
    for packet in captured * 3:
        bob.core.receive(packet.data, 0, EVIL, wire.now)
        assert not bob.core.data_received(0, EVIL, 100, 1, wire.now), "nor is its data taken"
    wire.run(60)
    assert bob.core.selected is bob.core.path is selected
    assert selected.destination == alice.bases[0]
    assert connected(alice, bob)
    # The attacker's address got answers and checks, but could not answer those.
    at_attacker = [packet for packet in bob.sent() if packet.destination == EVIL]
    requests = {packet.message.transaction_id for packet in at_attacker if packet.is_request}
    assert len(at_attacker) < 3 * len(captured) + 20
    assert len(requests) <= 2
    assert not any(pair.destination == EVIL for pair in bob.core.pairs), "and is forgotten"


@pytest.mark.row("ICE-56")
def test_a_replay_before_the_selection_does_not_win_it() -> None:
    hand = Hand(controlling=False)
    hand.ask(EVIL, use_candidate=True)
    hand.ask(THERE, use_candidate=True)
    for where, message in hand.requests():
        if where == THERE:
            hand.answer((where, message))
    assert hand.core.selected is hand.pair(THERE)


def test_data_is_taken_from_a_signalled_address_that_has_made_a_check() -> None:
    """A ClientHello may overtake the answer to our own check."""
    hand = Hand(controlling=False)
    assert not hand.core.data_received(0, THERE, 100, 1, hand.now)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    assert not hand.core.data_received(0, THERE, 100, 1, hand.now)
    hand.ask()
    assert hand.core.data_received(0, THERE, 100, 1, hand.now)
    assert hand.core.path is None, "but none is sent"


@pytest.mark.row("ICE-55")
def test_refusals_are_authenticated_and_no_larger_than_what_they_refuse() -> None:
    hand = Hand(controlling=True)
    base = {"USERNAME": "alic:bobb", "ICE-CONTROLLING": 1, "PRIORITY": 1}
    for attributes, more, code in (
        ({"USERNAME": "alic:bobb", "ICE-CONTROLLED": 1}, b"", 400),
        (base, b"", 487),
        ({"USERNAME": "alic:bobb", "PRIORITY": 1}, b"\x00\x31\x00\x00\x7f\xff\x00\x00", 420),
    ):
        request = signed_with(attributes, more)
        hand.core.receive(request, 0, EVIL, hand.now)
        [refusal] = hand.core.datagrams_to_send(hand.now)
        parsed = stun.parse_message(refusal.data)
        assert parsed.error_code == code
        assert parsed.check_message_integrity(ALICE[1].encode())
        assert len(refusal.data) <= len(request)
        if code == 420:
            assert parsed.attributes["UNKNOWN-ATTRIBUTES"] == (0x0031, 0x7FFF)
        # A response is never answered.
        hand.core.receive(refusal.data, 0, EVIL, hand.now)
        assert hand.core.datagrams_to_send(hand.now) == []
    assert hand.core.pairs == []


def signed_with(attributes: dict[str, Any], more: bytes) -> bytes:
    """A request with attributes of which our codec knows nothing in front of its MESSAGE-INTEGRITY."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, bytes(12), attributes)
    data = bytearray(bytes(message) + more)
    struct.pack_into("!H", data, 2, len(data) - 20 + 24)
    data += struct.pack("!HH", 0x0008, 20) + hmac.digest(ALICE[1].encode(), data, "sha1")
    struct.pack_into("!H", data, 2, len(data) - 20 + 8)
    return bytes(data + struct.pack("!HHI", 0x8028, 4, crc32(data) ^ 0x5354554E))


@pytest.mark.row("STN-03")
def test_a_response_with_an_unknown_required_attribute_fails_its_check() -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [(where, message)] = hand.requests()
    response = stun.Message(
        stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id, {"XOR-MAPPED-ADDRESS": HERE}
    )
    data = bytearray(bytes(response) + b"\x00\x31\x00\x00")
    struct.pack_into("!H", data, 2, len(data) - 20 + 24)
    data += struct.pack("!HH", 0x0008, 20) + hmac.digest(BOB[1].encode(), data, "sha1")
    hand.core.receive(data, 0, where, hand.now)
    assert hand.pair().state == "failed"


@pytest.mark.row("STN-04")
def test_a_repeated_request_gets_the_same_answer() -> None:
    hand = Hand(controlling=False)
    answers = []
    for _ in range(3):
        hand.ask(transaction_id=b"the same one")
        answers += [
            o.data
            for o in hand.core.datagrams_to_send(hand.now)
            if stun.parse_message(o.data).message_class is stun.Class.RESPONSE
        ]
        hand.now += 0.01
    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert (hand.pair().requests_received, hand.pair().retransmissions_received) == (3, 2)


# A hostile peer, who knows the passwords


@pytest.mark.row("ICE-54")
def test_a_peer_that_names_a_victim_a_thousand_times_makes_us_send_little() -> None:
    hand = Hand(controlling=True)
    for port in range(1000):
        hand.core.add_remote_candidate(host("203.0.113.99", 10_000 + port), hand.now)
    sent = 0
    for _ in range(300):
        hand.wait(0.1)
        found = len(hand.requests())
        sent += found
    assert sent <= 7 * 100
    assert sent <= 2 * 30 / 0.05


@pytest.mark.row("ICE-54")
def test_a_hundred_victims_that_an_agent_does_not_give_up_are_sent_little_for_as_long() -> None:
    hand = Hand(controlling=True, failed_timeout=0)
    for number in range(100):
        hand.core.add_remote_candidate(host(f"203.0.113.{number}"), hand.now)
    hand.wait(600)
    hand.requests()
    hand.wait(1200)
    assert 0 < len(hand.requests()) <= 2 * 1200, "what has failed is tried again, all together twice a second"


@pytest.mark.row("ICE-54")
def test_a_peer_that_forges_the_sources_of_its_checks_makes_us_send_little() -> None:
    hand = Hand(controlling=False)
    checks = 0
    for number in range(3000):
        hand.ask(("203.0.113.99", 1000 + number), use_candidate=True)
        hand.wait(0.01)
        checks += len(hand.requests())
    assert len(hand.core.pairs) <= 21
    assert checks <= 20 * 14, "20 strangers, each asked as often as a check is"
    assert hand.core.dropped.refused > 2900


@pytest.mark.row("ICE-54")
def test_a_flood_of_checks_on_one_pair_does_not_trigger_a_flood() -> None:
    hand = Hand(controlling=False)
    start, checks = hand.now, 0
    for _ in range(2000):
        hand.ask()
        hand.wait(0.001)
        checks += len(hand.requests())
    assert checks <= (hand.now - start) / 0.05 + 2


def test_a_flood_of_checks_on_one_pair_leaves_few_requests_of_ours_behind() -> None:
    """Each check of the peer's replaces ours; only the answers to the last of them count."""
    hand = Hand(controlling=False)
    ours = []
    for _ in range(100):
        hand.ask()
        hand.wait(0.05)
        ours += hand.requests()
    assert len(ours) > 90
    for request in ours[:-20]:
        hand.answer(request)
    assert hand.core.dropped.unexpected == len(ours) - 20
    assert not hand.pair().succeeded
    hand.answer(ours[-10])
    assert hand.pair().succeeded


@pytest.mark.row("ICE-54")
@pytest.mark.parametrize("code", [400, 487])
def test_a_peer_that_refuses_every_nomination_is_not_asked_without_end(code: int) -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    sent = 0
    for _ in range(1000):
        for where, message in hand.requests():
            sent += 1
            if "USE-CANDIDATE" in message.attributes or (code == 487 and sent % 2):
                refusal = stun.binding_error(message.transaction_id, code=code, key=BOB[1].encode())
                hand.core.receive(refusal, 0, where, hand.now)
            else:
                hand.answer((where, message))
        hand.wait(0.001)
    assert sent <= 2 * 1 / 0.05 + 2
    assert hand.core.selected is None


@pytest.mark.row("ICE-31")
def test_early_checks_are_remembered_within_a_bound() -> None:
    wire, alice, bob = two_peers()
    for number in range(1000):
        check = stun.binding_request(
            bytes(12), username="alic:bobb", key=ALICE[1].encode(), priority=1, controlling=False, tie_breaker=1
        )
        alice.core.receive(check, 0, ("203.0.113.1", 1000 + number), wire.now)
    assert alice.core.dropped.refused == 1000 - MAX_EARLY_CHECKS
    assert len(alice.core.datagrams_to_send(wire.now)) == 1000, "each is answered all the same"
    connect(wire, alice, bob)


@pytest.mark.parametrize("priority", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_any_priority_is_brought_into_its_range(priority: int) -> None:
    hand = Hand(controlling=True)
    hand.ask(EVIL, priority=priority)
    assert 1 <= hand.pair(EVIL).remote.priority <= 2**31 - 1


def test_a_mapped_address_out_of_nowhere_is_taken_as_what_the_peer_says() -> None:
    hand = Hand(controlling=False)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    [(where, message)] = hand.requests()
    data = stun.binding_success(message.transaction_id, mapped_address=("::", 0), key=BOB[1].encode())
    hand.core.receive(data, 0, where, hand.now)
    assert hand.pair().local.type is CandidateType.PRFLX
    assert hand.pair().destination == THERE


# Anything at all


@given(st.lists(st.tuples(st.binary(max_size=120), st.integers(0, 2), st.sampled_from([THERE, EVIL])), max_size=8))
def test_any_bytes_leave_a_core_alive(datagrams: list[tuple[bytes, int, tuple[str, int]]]) -> None:
    hand = Hand(controlling=True)
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    for data, base_id, source in datagrams:
        hand.core.receive(data, base_id, source, hand.now)
        hand.core.receive(memoryview(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + data), base_id, source, hand.now)
    hand.answer(hand.requests()[0])
    assert hand.pair().succeeded


@given(st.data())
def test_any_authenticated_message_leaves_a_core_alive(data: st.DataObject) -> None:
    """A peer that signs nonsense."""
    hand = Hand(controlling=data.draw(st.booleans()))
    hand.core.add_remote_candidate(host(*THERE), hand.now)
    sent = [message.transaction_id for _, message in hand.requests()]
    names: dict[str, st.SearchStrategy[Any]] = {
        "USERNAME": st.sampled_from(["alic:bobb", "alic", ":"]),
        "PRIORITY": st.integers(0, 2**32 - 1),
        "USE-CANDIDATE": st.none(),
        "ICE-CONTROLLING": st.integers(0, 2**64 - 1),
        "ICE-CONTROLLED": st.integers(0, 2**64 - 1),
        "XOR-MAPPED-ADDRESS": st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)),
        "ERROR-CODE": st.tuples(st.integers(300, 699), st.text(max_size=5)),
        "UNKNOWN-ATTRIBUTES": st.lists(st.integers(0, 65535)),
    }
    for _ in range(data.draw(st.integers(1, 6))):
        attributes = {
            name: data.draw(names[name]) for name in data.draw(st.lists(st.sampled_from(sorted(names)), unique=True))
        }
        if data.draw(st.booleans()):
            attributes["USERNAME"] = "alic:bobb"
        message_class = data.draw(st.sampled_from(list(stun.Class)))
        key = ALICE[1] if message_class is stun.Class.REQUEST else BOB[1]
        message = stun.Message(
            stun.Method.BINDING, message_class, data.draw(st.sampled_from([*sent, bytes(12)])), attributes
        )
        source = data.draw(st.sampled_from([THERE, EVIL]))
        hand.core.receive(stun.serialize(message, key.encode()), data.draw(st.integers(0, 1)), source, hand.now)
        sent += [message.transaction_id for _, message in hand.requests()]
        hand.wait(data.draw(st.sampled_from([0.0, 0.05, 1.0, 10.0])))
    hand.wait(500)
    with contextlib.suppress(IndexError):
        assert hand.core.events()[-1] is not None
    assert hand.core.state in ("failed", "checking", "connected", "disconnected", "completed")


def test_a_core_of_two_peers_survives_a_hostile_wire() -> None:
    """Each datagram is delivered again, mangled, and from elsewhere."""
    wire, alice, bob = two_peers()

    def mangle(packet: Packet) -> bool:
        target = bob if packet.sender is alice else alice
        for index in range(0, len(packet.data), 7):
            broken = bytearray(packet.data)
            broken[index] ^= 0xFF
            target.core.receive(broken, 0, packet.source, wire.now)
        target.core.receive(packet.data[: len(packet.data) // 2], 0, packet.source, wire.now)
        target.core.receive(packet.data, 0, EVIL, wire.now)
        return False

    wire.blocked = mangle
    connect(wire, alice, bob)
    wire.run(120)
    assert connected(alice, bob)
    for peer, other in ((alice, bob), (bob, alice)):
        assert peer.core.path is not None
        assert peer.core.path.destination == other.bases[0]
