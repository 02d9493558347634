"""The check list: forming, pruning, freezing, the order of checks (RFC 8445 section 6.1)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ice.core_pair import host, relay, srflx
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.checklist import (
    FAILED,
    FROZEN,
    IN_PROGRESS,
    MAX_UNPROVEN_STRANGERS,
    SUCCEEDED,
    WAITING,
    CheckList,
)
from webrtc_py.ice.pair import CandidatePair, pair_priority
from webrtc_py.ice.transaction import check_delays, nomination_delays, triggered_check_delays
from webrtc_py.states import CandidatePairState, CandidateType

LOCAL = host("192.0.2.1")


def remote(number: int, foundation: str | None = None, priority: int | None = None) -> Candidate:
    candidate = host(f"198.51.100.{number}", index=number)
    return dataclasses.replace(
        candidate, foundation=foundation or candidate.foundation, priority=priority or candidate.priority
    )


def add(checklist: CheckList, candidate: Candidate, local: Candidate = LOCAL, base_id: int = 0) -> CandidatePair | None:
    return checklist.add(local, base_id, candidate, (candidate.address, candidate.port))


def formed(*candidates: Candidate, max_pairs: int = 100) -> tuple[CheckList, list[CandidatePair]]:
    checklist = CheckList(True, max_pairs)
    pairs = [add(checklist, candidate) for candidate in candidates]
    return checklist, [pair for pair in pairs if pair is not None]


def check(checklist: CheckList) -> CandidatePair | None:
    """Make the next ordinary check."""
    pair = checklist.next_ordinary()
    if pair is not None:
        pair.state = IN_PROGRESS
    return pair


@pytest.mark.row("ICE-16")
@pytest.mark.parametrize("backwards", [False, True])
def test_of_each_foundation_the_best_pair_waits_and_the_rest_is_frozen(backwards: bool) -> None:
    candidates = [remote(1, "a"), remote(2, "b"), remote(3, "a"), remote(4, "b"), remote(5, "c")]
    _, pairs = formed(*(reversed(candidates) if backwards else candidates))
    states = {pair.destination[0][-1]: pair.state for pair in pairs}
    assert states == {"1": WAITING, "2": WAITING, "3": FROZEN, "4": FROZEN, "5": WAITING}


@pytest.mark.row("TRI-07")
@pytest.mark.parametrize(
    ("relative", "late_is_better", "expected", "relative_after"),
    [
        (SUCCEEDED, False, WAITING, SUCCEEDED),
        (IN_PROGRESS, True, FROZEN, IN_PROGRESS),
        (WAITING, False, FROZEN, WAITING),
        (WAITING, True, WAITING, FROZEN),
        (FAILED, False, WAITING, FAILED),
    ],
)
def test_a_late_pair_starts_as_its_foundation_stands(
    relative: CandidatePairState,
    late_is_better: bool,
    expected: CandidatePairState,
    relative_after: CandidatePairState,
) -> None:
    checklist, [pair] = formed(remote(5, "a"))
    pair.state = relative
    late = add(checklist, remote(1 if late_is_better else 9, "a"))
    assert late is not None
    assert (late.state, pair.state) == (expected, relative_after)


@pytest.mark.row("ICE-29")
def test_success_unfreezes_all_of_its_foundation() -> None:
    checklist, pairs = formed(remote(1, "a"), remote(2, "a"), remote(3, "a"), remote(4, "b"), remote(5, "b"))
    assert check(checklist) is pairs[0]
    checklist.succeeded(pairs[0])
    assert [pair.state for pair in pairs] == [SUCCEEDED, WAITING, WAITING, WAITING, FROZEN]


def test_failure_touches_no_other_pair() -> None:
    checklist, pairs = formed(remote(1, "a"), remote(2, "a"), remote(3, "b"))
    check(checklist)
    checklist.failed(pairs[0], "no answer")
    assert [pair.state for pair in pairs] == [FAILED, FROZEN, WAITING]
    assert pairs[0].failure == "no answer"


def test_ordinary_checks_go_by_priority_and_thaw_what_nobody_tries() -> None:
    checklist, pairs = formed(remote(1, "a"), remote(2, "b"), remote(3, "a"), remote(4, "b"))
    assert [check(checklist), check(checklist), check(checklist)] == [pairs[0], pairs[1], None]
    assert not checklist.has_ordinary()
    checklist.failed(pairs[0], "no answer")
    assert checklist.has_ordinary()
    assert check(checklist) is pairs[2]
    assert check(checklist) is None


def test_a_frozen_pair_does_not_wait_for_the_whole_failure_of_its_relative() -> None:
    checklist, pairs = formed(remote(1, "same"), remote(2, "same"))
    check(checklist)
    assert check(checklist) is None
    pairs[0].overdue = True
    assert check(checklist) is pairs[1]


@pytest.mark.row("ICE-17")
def test_triggered_checks_are_first_in_first_out_and_no_ordinary_ones() -> None:
    checklist, pairs = formed(remote(1), remote(2), remote(3))
    checklist.trigger(pairs[2])
    checklist.trigger(pairs[1])
    checklist.trigger(pairs[2])
    assert list(checklist.triggered) == [pairs[2], pairs[1]]
    assert checklist.next_ordinary() is pairs[0]
    assert checklist.next_triggered(0.0, 0.05) is pairs[2]
    pairs[1].last_request_sent = 1.0
    assert checklist.next_triggered(1.02, 0.05) is None
    assert checklist.next_triggered(1.05, 0.05) is pairs[1]


@pytest.mark.row("ICE-14", "TRI-05")
def test_a_reflexive_candidate_makes_no_pair_beside_its_bases() -> None:
    checklist, [pair] = formed(remote(1))
    assert add(checklist, remote(1), srflx("203.0.113.1", 40000, ("192.0.2.1", 5000))) is None
    assert list(checklist.paths.values()) == [pair]
    assert pair.base is LOCAL


@pytest.mark.row("ICE-14")
def test_of_two_candidates_with_one_base_the_better_stays() -> None:
    checklist = CheckList(True, 100)
    pair = add(checklist, remote(1), srflx("203.0.113.1", 40000, ("192.0.2.1", 5000)))
    assert pair is not None
    assert add(checklist, remote(1)) is None
    assert (pair.base, pair.local) == (LOCAL, LOCAL)
    assert pair.priority == pair_priority(LOCAL, pair.remote, True)


@pytest.mark.row("ICE-14")
def test_different_bases_make_different_pairs() -> None:
    checklist, _ = formed(remote(1))
    assert add(checklist, remote(1), host("192.0.2.9", index=1), base_id=1) is not None
    assert add(checklist, remote(1), relay("203.0.113.1"), base_id=2) is not None
    assert len(checklist.paths) == 3


@pytest.mark.row("ICE-15", "TRI-05")
@given(st.permutations(range(1, 41)))
def test_the_worst_pairs_go_when_there_are_too_many(order: list[int]) -> None:
    checklist, _ = formed(*(remote(number) for number in order), max_pairs=10)
    assert sorted(int(path[1][0].rpartition(".")[2]) for path in checklist.paths) == list(range(1, 11))


@pytest.mark.row("ICE-15")
def test_a_pair_that_works_or_is_being_checked_never_goes() -> None:
    checklist, pairs = formed(remote(50), remote(51), remote(52), max_pairs=3)
    pairs[0].state, pairs[1].state, pairs[2].state = SUCCEEDED, IN_PROGRESS, FAILED
    assert add(checklist, remote(90)) is not None, "the failed one makes room, however bad the new one is"
    assert pairs[2] not in checklist.paths.values()
    assert add(checklist, remote(95)) is None, "worse than the one that waits"
    assert add(checklist, remote(1)) is not None
    checklist.in_state(WAITING)[0].state = IN_PROGRESS
    assert add(checklist, remote(2)) is None, "nothing may go"


def test_strangers_that_have_proved_nothing_are_few() -> None:
    checklist = CheckList(True, 100)
    strangers = [dataclasses.replace(remote(n), type=CandidateType.PRFLX) for n in range(1, 60)]
    pairs = [pair for stranger in strangers if (pair := add(checklist, stranger))]
    assert len(pairs) == MAX_UNPROVEN_STRANGERS
    checklist.succeeded(pairs[0])
    assert add(checklist, strangers[-1]) is not None, "one that answered does not count"
    checklist.failed(pairs[1], "no answer")
    assert pairs[1] not in checklist.paths.values()
    assert add(checklist, strangers[-2]) is not None, "nor does one that is forgotten"


def test_a_change_of_role_changes_all_priorities() -> None:
    checklist, pairs = formed(remote(1, priority=5), remote(2, priority=2**31 - 1))
    before = [pair.priority for pair in pairs]
    checklist.set_controlling(False)
    assert [pair.priority for pair in pairs] == [before[0] - 1, before[1] + 1]


def test_conclusion_drops_what_was_not_checked() -> None:
    checklist, pairs = formed(remote(1, "a"), remote(2, "b"), remote(3, "a"), remote(4, "d"), remote(5, "e"))
    pairs[0].state, pairs[4].state = SUCCEEDED, IN_PROGRESS
    checklist.trigger(pairs[3])
    checklist.conclude()
    assert list(checklist.paths.values()) == [pairs[0], pairs[4]]
    assert not checklist.triggered


# The schedules


@pytest.mark.row("STN-05", "ICE-26", "ICE-48")
def test_a_check_is_sent_seven_times_over_31_and_a_half_seconds() -> None:
    delays = check_delays(0.5, 7)
    assert delays == (0.5, 1, 2, 4, 8, 16, 8)
    assert sum(delays) == 39.5


def test_where_somebody_is_known_to_be_the_checks_are_steady_at_first() -> None:
    delays = triggered_check_delays(0.5, 7)
    assert delays[:6] == (0.5,) * 6
    assert delays[6:] == check_delays(0.5, 7)


@pytest.mark.parametrize(("round_trip_time", "interval"), [(None, 0.5), (0.01, 0.5), (0.6, 0.9)])
def test_a_nomination_is_steady(round_trip_time: float | None, interval: float) -> None:
    delays = nomination_delays(round_trip_time)
    assert len(delays) == 10
    assert delays == pytest.approx((interval,) * 10)
