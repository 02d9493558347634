"""Pairs, their priority, and the core's options."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ice.core_pair import host, relay
from webrtc_py.errors import InvalidAccessError
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.pair import CandidatePair, pair_priority
from webrtc_py.ice.transaction import Chance
from webrtc_py.states import CandidatePairState, CandidateType


def candidate(priority: int) -> Candidate:
    return Candidate("1", 1, "udp", priority, "192.0.2.1", 5, CandidateType.HOST)


@pytest.mark.row("ICE-13")
@pytest.mark.parametrize(
    ("controlling", "controlled", "expected"),
    [
        (1, 1, 2**32 + 2),
        (2, 1, 2**32 + 4 + 1),
        (1, 2, 2**32 + 4),
        (2130706431, 16777215, 16777215 * 2**32 + 2 * 2130706431 + 1),
        (16777215, 2130706431, 16777215 * 2**32 + 2 * 2130706431),
        (2**31 - 1, 2**31 - 1, (2**31 - 1) * 2**32 + 2 * (2**31 - 1)),
    ],
)
def test_pair_priority(controlling: int, controlled: int, expected: int) -> None:
    g, d = candidate(controlling), candidate(controlled)
    assert pair_priority(g, d, controlling=True) == expected
    assert pair_priority(d, g, controlling=False) == expected


@pytest.mark.row("ICE-13")
@given(st.lists(st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)), min_size=2, max_size=8))
def test_both_ends_sort_alike(pairs: list[tuple[int, int]]) -> None:
    ours = [pair_priority(candidate(g), candidate(d), True) for g, d in pairs]
    theirs = [pair_priority(candidate(d), candidate(g), False) for g, d in pairs]
    assert ours == theirs
    for (g, d), priority in zip(pairs, ours, strict=True):
        assert all((min(g, d) > min(*other)) <= (priority > rank) for other, rank in zip(pairs, ours, strict=True))


def test_a_pair_tells_what_it_is_but_no_secret() -> None:
    pair = CandidatePair(7, host("fe80::1%eth0", 5000), 1, host("fe80::2", 6000), ("fe80::2%eth0", 6000), True)
    assert repr(pair) == "<pair 7 host fe80::1:5000 -> host fe80::2:6000, frozen>"


def test_consent_needs_success_and_ends() -> None:
    pair = CandidatePair(1, host("192.0.2.1"), 1, host("192.0.2.2"), ("192.0.2.2", 5000), True)
    pair.consent_expires = 10.0
    assert not pair.has_consent(1.0)
    pair.state = CandidatePairState.SUCCEEDED
    assert pair.has_consent(9.9)
    assert not pair.has_consent(10.0)


# Options


def test_the_defaults_are_pions() -> None:
    timings = AgentTimings()
    assert (timings.disconnected_timeout, timings.failed_timeout, timings.keepalive_interval) == (5, 25, 2)
    assert timings.max_binding_requests == 7
    waits = [timings.acceptance_min_wait(type) for type in (CandidateType.HOST, CandidateType.SRFLX)]
    waits += [timings.acceptance_min_wait(type) for type in (CandidateType.PRFLX, CandidateType.RELAY)]
    assert waits == [0, 0.5, 1, 2]
    assert timings.patience == 30
    assert timings.consent_interval == 2


def test_zero_is_never_but_for_consent() -> None:
    timings = AgentTimings(failed_timeout=0, keepalive_interval=0)
    assert timings.patience == math.inf
    assert timings.consent_interval == 5
    assert AgentTimings(keepalive_interval=60).consent_interval == 5


def test_relay_only_has_nothing_to_wait_for() -> None:
    timings = AgentTimings().for_relay_only()
    assert {timings.acceptance_min_wait(type) for type in CandidateType} == {0}
    assert relay("198.51.100.1").type is CandidateType.RELAY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disconnected_timeout", -1),
        ("failed_timeout", math.inf),
        ("keepalive_interval", math.nan),
        ("keepalive_interval", "2"),
        ("check_interval", 0),
        ("check_interval", 0.004),
        ("max_binding_requests", 0),
        ("max_binding_requests", 2.5),
        ("max_binding_requests", 21),
        ("relay_acceptance_min_wait", -0.1),
    ],
)
def test_senseless_values_are_named(name: str, value: object) -> None:
    with pytest.raises(InvalidAccessError, match=name):
        AgentTimings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.row("STN-01", "ICE-49")
def test_chance_is_the_seeds_and_never_repeats() -> None:
    first, same, other = Chance(b"1" * 16), Chance(b"1" * 16), Chance(b"2" * 16)
    ids = [first.transaction_id() for _ in range(1000)]
    assert ids == [same.transaction_id() for _ in range(1000)]
    assert len({*ids, *(other.transaction_id() for _ in range(1000))}) == 2000
    assert {len(id) for id in ids} == {12}
    assert first.tie_breaker() != first.tie_breaker()
    spreads = [first.spread() for _ in range(1000)]
    assert 0.8 <= min(spreads) < 0.81 < 1.19 < max(spreads) <= 1.2
