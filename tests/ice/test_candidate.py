"""The candidate attribute, priorities and foundations."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import ArgumentTypeError, SDPSyntaxError
from webrtc_py.ice.candidate import (
    MAX_LINE_LENGTH,
    TCP_PRIORITY_OFFSET,
    Candidate,
    Foundations,
    UnsupportedCandidateError,
    candidate_priority,
    interleave_families,
    local_preference,
    peer_reflexive_priority,
    tcp_local_preference,
    unmarshal_candidate,
)
from webrtc_py.states import CandidateType, TCPType

HOST, SRFLX, PRFLX, RELAY = CandidateType.HOST, CandidateType.SRFLX, CandidateType.PRFLX, CandidateType.RELAY

TABLE = [
    (
        "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        Candidate("1", 1, "udp", 2130706431, "192.0.2.1", 5000, HOST),
    ),
    (
        "candidate:2 1 udp 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
        Candidate("2", 1, "udp", 1694498815, "192.0.2.3", 45664, SRFLX, "203.0.113.141", 8998),
    ),
    (
        "candidate:a+/Z 256 udp 1 2001:db8::1 65535 typ prflx raddr :: rport 9",
        Candidate("a+/Z", 256, "udp", 1, "2001:db8::1", 65535, PRFLX, "::", 9),
    ),
    (
        "candidate:9 1 udp 16777215 198.51.100.7 1 typ relay raddr 0.0.0.0 rport 0 generation 0 ufrag EsAw x 9",
        Candidate(
            "9",
            1,
            "udp",
            16777215,
            "198.51.100.7",
            1,
            RELAY,
            "0.0.0.0",
            0,
            extensions=(("generation", "0"), ("ufrag", "EsAw"), ("x", "9")),
        ),
    ),
    (
        "candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0",
        Candidate(
            "3", 1, "tcp", 1518280447, "192.0.2.1", 9, HOST, tcp_type=TCPType.ACTIVE, extensions=(("generation", "0"),)
        ),
    ),
    (
        "candidate:4 1 udp 2122260223 0d9f0a3c-1f0e-4e6f-9d3b-3c8f8c2f7a11.local 54321 typ host",
        Candidate("4", 1, "udp", 2122260223, "0d9f0a3c-1f0e-4e6f-9d3b-3c8f8c2f7a11.local", 54321, HOST),
    ),
    (
        "candidate:5 1 udp 5 192.0.2.1 5000 typ host ufrag  x y",
        Candidate("5", 1, "udp", 5, "192.0.2.1", 5000, HOST, extensions=(("ufrag", ""), ("x", "y"))),
    ),
]


@pytest.mark.row("SDP-ICE-01", "SDP-ICE-02", "SDP-ICE-03", "SDP-ICE-04")
@pytest.mark.parametrize(("text", "candidate"), TABLE)
def test_both_ways(text: str, candidate: Candidate) -> None:
    assert unmarshal_candidate(text) == candidate
    assert candidate.marshal() == text


@pytest.mark.row("SDP-ICE-01")
@pytest.mark.parametrize(
    "text",
    [
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\r\n",
        "candidate:1 1 Udp 2130706431 192.0.2.1 5000 TYP HOST",
        "candidate:1 001 udp 2130706431 192.0.2.1 05000 typ host ",
        "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host raddr 0.0.0.0 rport 0",
    ],
)
def test_what_is_read_as_the_same(text: str) -> None:
    assert unmarshal_candidate(text).marshal() == "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


GOOD = ["1", "1", "udp", "2130706431", "192.0.2.1", "5000", "typ", "host"]


@pytest.mark.row("SDP-ICE-01", "SDP-ICE-03")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ",
        "candidate:1 1 udp 2130706431 192.0.2.1 5000 type host",
        "candidate:1  1 udp 2130706431 192.0.2.1 5000 typ host",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ host generation",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ host gener(ation 0",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ host generation caf\xe9",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ srflx raddr 1.2.3 rport 9",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ srflx raddr 192.0.2.1 rport 70000",
        "candidate:1 1 udp 1 192.0.2.1 5000 typ host " + "x y " * MAX_LINE_LENGTH,
        *[
            " ".join(word if place != at else wrong for at, word in enumerate(GOOD))
            for place, wrongs in {
                0: ["", "x" * 33, "a-b", "é"],
                1: ["0", "257", "-1", "x", "١"],
                2: ["u(dp", ""],
                3: ["0", "2147483648", "99999999999", "1.5", "-1", "²"],
                4: ["", "192.0.2.256", "192.0.2", "1%eth0", "2001:db8:::1", "a..(b", "192.0.2.1:5"],
                5: ["65536", "-1", "x", "", "99999999999"],
            }.items()
            for wrong in wrongs
        ],
    ],
)
def test_outside_the_grammar(text: str) -> None:
    with pytest.raises(SDPSyntaxError) as caught:
        unmarshal_candidate(text)
    assert not isinstance(caught.value, UnsupportedCandidateError)


@pytest.mark.parametrize("value", [None, 5, b"candidate:1 1 udp 1 192.0.2.1 5000 typ host"])
def test_what_is_no_text(value: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        unmarshal_candidate(value)


@pytest.mark.row("SDP-ICE-02", "SDP-ICE-04", "TCP-03")
@pytest.mark.parametrize(
    "text",
    [
        "candidate:1 1 udp 1 192.0.2.1 5000 typ token raddr 192.0.2.9 rport 9",
        "candidate:1 1 sctp 1 192.0.2.1 5000 typ host",
        "candidate:1 1 ssltcp 1 192.0.2.1 443 typ host",
        "candidate:1 1 tcp 1 192.0.2.1 5000 typ host",
        "candidate:1 1 tcp 1 192.0.2.1 5000 typ host tcptype sideways",
        "candidate:1 1 udp 1 host.example.org 5000 typ host",
        "candidate:1 1 udp 1 localhost 5000 typ host",
        "candidate:1 1 udp 1 fe80::1%eth0 5000 typ host",
    ],
)
def test_inside_the_grammar_but_to_be_ignored(text: str) -> None:
    with pytest.raises(UnsupportedCandidateError):
        unmarshal_candidate(text)


@pytest.mark.row("TCP-03")
@pytest.mark.parametrize("tcp_type", list(TCPType))
def test_tcp_candidates_say_who_begins(tcp_type: TCPType) -> None:
    text = f"candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype {tcp_type} generation 0"
    candidate = unmarshal_candidate(text)
    assert candidate.tcp_type is tcp_type
    assert candidate.marshal() == text
    shouted = unmarshal_candidate(f"candidate:1 1 TCP 1 192.0.2.1 9 typ host generation 0 tcptype {tcp_type.upper()}")
    assert shouted == candidate


@pytest.mark.row("SDP-ICE-03")
@pytest.mark.parametrize("rest", ["", " raddr 10.0.0.1", " rport 9", " generation 0"])
@pytest.mark.parametrize("kind", ["srflx", "prflx", "relay"])
def test_a_related_address_may_be_missing_when_read_and_never_when_written(kind: str, rest: str) -> None:
    candidate = unmarshal_candidate(f"candidate:1 1 udp 1 192.0.2.1 5000 typ {kind}{rest}")
    assert candidate.type == kind
    assert f"typ {kind} raddr 0.0.0.0 rport 9" in candidate.marshal()


@pytest.mark.row("SDP-ICE-03")
def test_a_hidden_related_address_is_written_as_the_standard_says() -> None:
    hidden = Candidate("1", 1, "udp", 1, "192.0.2.1", 5000, SRFLX)
    assert hidden.marshal().endswith("typ srflx raddr 0.0.0.0 rport 9")
    hidden = Candidate("1", 1, "udp", 1, "2001:db8::1", 5000, RELAY)
    assert hidden.marshal().endswith("typ relay raddr :: rport 9")


def test_a_zone_is_never_written() -> None:
    local = Candidate("1", 1, "udp", 1, "fe80::1%eth0", 5000, HOST)
    assert local.marshal() == "candidate:1 1 udp 1 fe80::1 5000 typ host"


def test_addresses_are_read_in_their_canonical_form() -> None:
    assert unmarshal_candidate("1 1 udp 1 2001:DB8:0::0001 5 typ host").address == "2001:db8::1"


def test_ufrag() -> None:
    assert unmarshal_candidate("1 1 udp 1 192.0.2.1 5 typ host generation 0 ufrag EsAw").ufrag == "EsAw"
    assert unmarshal_candidate("1 1 udp 1 192.0.2.1 5 typ host").ufrag is None


def test_what_is_known_locally_is_neither_written_nor_compared() -> None:
    relay = Candidate("1", 1, "udp", 1, "192.0.2.1", 5, RELAY, url="turn:turn.example.org", relay_protocol="tls")
    assert "turn" not in relay.marshal()
    assert relay == Candidate("1", 1, "udp", 1, "192.0.2.1", 5, RELAY)


# Priorities


@pytest.mark.row("ICE-02", "ICE-03")
@pytest.mark.parametrize(
    ("kind", "preference", "component", "expected"),
    [
        (HOST, 65535, 1, 126 * 2**24 + 65535 * 256 + 255),
        (HOST, 65535, 2, 126 * 2**24 + 65535 * 256 + 254),
        (PRFLX, 65535, 1, 110 * 2**24 + 65535 * 256 + 255),
        (SRFLX, 65535, 1, 100 * 2**24 + 65535 * 256 + 255),
        (RELAY, 65535, 1, 65535 * 256 + 255),
        (RELAY, 0, 256, 0),
    ],
)
def test_priorities(kind: CandidateType, preference: int, component: int, expected: int) -> None:
    assert candidate_priority(kind, preference, component) == expected


@pytest.mark.row("ICE-02")
def test_each_address_and_server_has_a_priority_of_its_own() -> None:
    priorities = [
        candidate_priority(kind, local_preference(address, server))
        for kind in (HOST, SRFLX)
        for address, server in itertools.product(range(40), range(5))
    ]
    priorities += [
        candidate_priority(RELAY, local_preference(address, server, protocol))
        for protocol in ("udp", "dtls", "tcp", "tls")
        for address, server in itertools.product(range(40), range(5))
    ]
    assert len(set(priorities)) == len(priorities)
    assert all(1 <= priority < 2**31 for priority in priorities)


def test_many_addresses_and_servers_still_have_a_valid_preference() -> None:
    for protocol in (None, "udp", "tls"):
        assert 0 <= local_preference(10_000, 10_000, protocol) <= 65535


@pytest.mark.row("ICE-03")
def test_the_order_of_types() -> None:
    assert (
        candidate_priority(HOST, 0)
        > candidate_priority(PRFLX, 65535)
        > candidate_priority(PRFLX, 0)
        > candidate_priority(SRFLX, 65535)
        > candidate_priority(SRFLX, 0)
        > candidate_priority(RELAY, 65535)
    )


def test_a_relay_over_udp_is_better_than_one_over_tcp_and_tls() -> None:
    preferences = [local_preference(200, 60, "udp"), local_preference(0, 0, "tcp"), local_preference(0, 0, "tls")]
    assert preferences == sorted(preferences, reverse=True)


@pytest.mark.row("ICE-18")
def test_a_check_tells_the_priority_of_a_peer_reflexive_candidate() -> None:
    preference = local_preference(3)
    candidate = Candidate("1", 1, "udp", candidate_priority(HOST, preference), "192.0.2.1", 5, HOST)
    assert peer_reflexive_priority(candidate) == candidate_priority(PRFLX, preference)


@pytest.mark.row("TCP-02")
@pytest.mark.parametrize(
    ("kind", "tcp_type", "preference"),
    [
        (HOST, TCPType.ACTIVE, 6 * 8192 + 8191),
        (HOST, TCPType.PASSIVE, 4 * 8192 + 8191),
        (HOST, TCPType.SIMULTANEOUS_OPEN, 2 * 8192 + 8191),
        (RELAY, TCPType.ACTIVE, 6 * 8192 + 8191),
        (SRFLX, TCPType.SIMULTANEOUS_OPEN, 6 * 8192 + 8191),
        (SRFLX, TCPType.ACTIVE, 4 * 8192 + 8191),
        (SRFLX, TCPType.PASSIVE, 2 * 8192 + 8191),
        (PRFLX, TCPType.PASSIVE, 2 * 8192 + 8191),
    ],
)
def test_the_direction_is_part_of_the_preference_over_tcp(
    kind: CandidateType, tcp_type: TCPType, preference: int
) -> None:
    assert tcp_local_preference(kind, tcp_type, 0) == preference
    assert tcp_local_preference(kind, tcp_type, 3) == preference - 3


@pytest.mark.row("TCP-02", "ICE-02")
def test_priorities_over_tcp() -> None:
    """What browsers write for an active host candidate: type preference 90, so a distance of 36; ours is 27."""

    def priority(kind: CandidateType, tcp_type: TCPType, index: int = 0, offset: int = TCP_PRIORITY_OFFSET) -> int:
        return candidate_priority(kind, tcp_local_preference(kind, tcp_type, index), type_preference_offset=offset)

    assert priority(HOST, TCPType.ACTIVE) == (99 << 24) + ((6 * 8192 + 8191) << 8) + 255
    assert priority(HOST, TCPType.PASSIVE, offset=36) == (90 << 24) + ((4 * 8192 + 8191) << 8) + 255
    assert priority(RELAY, TCPType.PASSIVE) < 1 << 24, "there is nothing below 0"
    over_tcp = {priority(kind, tcp_type, i) for kind in CandidateType for tcp_type in TCPType for i in range(3)}
    assert len(over_tcp) == 4 * 3 * 3
    assert max(over_tcp) < candidate_priority(SRFLX, local_preference(200, 3)), "UDP first, whatever its type"


@pytest.mark.row("ICE-18", "TCP-02")
@pytest.mark.parametrize(("offset", "preference"), [(27, 83), (0, 110), (120, 0)])
def test_a_check_over_tcp_is_worth_as_much_less_as_its_candidate(offset: int, preference: int) -> None:
    priority = candidate_priority(HOST, tcp_local_preference(HOST, TCPType.ACTIVE, 0), type_preference_offset=offset)
    candidate = Candidate("1", 1, "tcp", priority, "192.0.2.1", 9, HOST, tcp_type=TCPType.ACTIVE)
    assert peer_reflexive_priority(candidate) >> 24 == preference
    assert peer_reflexive_priority(candidate) & 0xFFFFFF == priority & 0xFFFFFF


@pytest.mark.row("DST-01")
@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ("4444466666", "6646464644"),
        ("44666666", "66664664"),
        ("46", "64"),
        ("444", "444"),
        ("66", "66"),
        ("", ""),
        ("4446", "6444"),
    ],
)
def test_families_take_turns(families: str, expected: str) -> None:
    addresses = [f"2001:db8::{i}" if family == "6" else f"192.0.2.{i}" for i, family in enumerate(families)]
    ordered = interleave_families(addresses)
    assert "".join("6" if ":" in address else "4" for address in ordered) == expected
    for family in (True, False):
        assert [a for a in ordered if (":" in a) is family] == [a for a in addresses if (":" in a) is family]


# Foundations


@pytest.mark.row("ICE-04")
def test_foundations_are_equal_exactly_when_all_four_are() -> None:
    foundations = Foundations()
    grid = list(
        itertools.product((HOST, SRFLX, RELAY), ("192.0.2.1", "192.0.2.2"), ("", "stun.a", "stun.b"), ("udp", "tcp"))
    )
    first = [foundations.of(*key) for key in grid]
    assert len(set(first)) == len(grid)
    assert [foundations.of(*key) for key in grid] == first
    assert all(unmarshal_candidate(f"{foundation} 1 udp 1 192.0.2.1 5 typ host") for foundation in first)


# Any text


@given(st.text(max_size=120))
def test_any_text_is_a_candidate_or_a_syntax_error(text: str) -> None:
    with contextlib.suppress(SDPSyntaxError):
        unmarshal_candidate(text)


WORDS = st.sampled_from(
    [*GOOD, "srflx", "raddr", "rport", "tcptype", "active", "tcp", "", "::1", "x.local", "9", "ufrag"]
)


@given(st.lists(WORDS | st.text(max_size=6), min_size=6, max_size=16))
def test_any_words_are_a_candidate_that_round_trips_or_a_syntax_error(words: list[str]) -> None:
    try:
        candidate = unmarshal_candidate(" ".join(words))
    except SDPSyntaxError:
        return
    assert unmarshal_candidate(candidate.marshal()) == candidate


TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=8)


@given(
    foundation=st.text("abcXYZ019+/", min_size=1, max_size=32),
    component=st.integers(1, 256),
    priority=st.integers(1, 2**31 - 1),
    address=st.ip_addresses().map(lambda address: str(address).partition("%")[0]),
    port=st.integers(0, 65535),
    type=st.sampled_from([SRFLX, PRFLX, RELAY]),
    related=st.ip_addresses().map(lambda address: str(address).partition("%")[0]),
    extensions=st.lists(st.tuples(TOKEN, VISIBLE), max_size=5).map(tuple),
)
def test_candidates_round_trip(
    foundation: str,
    component: int,
    priority: int,
    address: str,
    port: int,
    type: CandidateType,
    related: str,
    extensions: tuple[tuple[str, str], ...],
) -> None:
    candidate = Candidate(
        foundation, component, "udp", priority, address, port, type, related, port, extensions=extensions
    )
    assert unmarshal_candidate(candidate.marshal()) == candidate
