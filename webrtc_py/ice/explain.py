"""Why an agent is in the state it is in, in words for whoever has to find out at three in the morning.

:func:`why_no_path` is the sentence that ``failed`` comes with; :func:`explain` says more, at any time, from a
:class:`Situation`, which is all that a generation knows of itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..states import CandidateType, ICEGathererState, ICETransportState
from .candidate import Candidate
from .dropped import Dropped
from .liveness import given_up_at
from .options import CONSENT_TIMEOUT, AgentTimings
from .pair import CandidatePair
from .pairing import LocalCandidate
from .server_codes import meaning_of

_RELAY = CandidateType.RELAY
_FOUND = (ICETransportState.CONNECTED, ICETransportState.COMPLETED, ICETransportState.DISCONNECTED)
_MAX_REMEMBERED = 100
_MAX_SERVERS = 5
_MAX_NAMES = 3
_MAX_REASONS = 3


@dataclass(frozen=True, slots=True)
class ServerProblem:
    """A server that gave no candidate, and why: a STUN error code, or 701."""

    url: str
    error_code: int
    reason: str


@dataclass(slots=True)
class History:
    """What a generation remembers for no other purpose than to tell of it. Times are the loop's seconds."""

    since: float = 0.0
    """When the state was entered."""
    reason: str = ""
    """What its change came with."""
    started: float | None = None
    role_changes: int = 0
    addresses: int = 0
    """How many local addresses there were to gather on, after all filters."""
    refusal: str = ""
    """What the system has last refused to gathering."""
    problems: dict[ServerProblem, int] = field(default_factory=dict)
    """How often each has come."""
    unresolved: tuple[str, ...] = ()
    """Names of the peer's that could not be resolved."""

    def server_failed(self, problem: ServerProblem) -> None:
        if problem in self.problems or len(self.problems) < _MAX_REMEMBERED:
            self.problems[problem] = self.problems.get(problem, 0) + 1

    def name_failed(self, name: str) -> None:
        if name not in self.unresolved and len(self.unresolved) < _MAX_REMEMBERED:
            self.unresolved += (name,)


@dataclass(frozen=True, slots=True)
class Situation:
    """One generation at one moment."""

    now: float
    name: str
    """Our user fragment, by which log lines name the generation too."""
    history: History = field(default_factory=History)
    state: ICETransportState = ICETransportState.NEW
    controlling: bool = False
    lite: bool = False
    remote_name: str | None = None
    gathering_state: ICEGathererState = ICEGathererState.NEW
    candidate_types: Collection[CandidateType] = ()
    """What is to be gathered."""
    local: Sequence[LocalCandidate] = ()
    remote: Sequence[Candidate] = ()
    remote_ended: bool = False
    looking_up: int = 0
    """Names of the peer's that are being resolved."""
    ahead: Sequence[Candidate] = ()
    """Remote candidates that name another generation of the peer's, one that we have not heard of."""
    pairs: Sequence[CandidatePair] = ()
    selected: CandidatePair | None = None
    taken_by: str = ""
    """The user fragment of another agent, which gets what comes on the selected pair's path."""
    dropped: Dropped = field(default_factory=Dropped)
    timings: AgentTimings = field(default_factory=AgentTimings)


def explain(situation: Situation) -> list[str]:
    """A few lines, the most important first."""
    s = situation
    lines = [_headline(s)]
    if s.state is ICETransportState.NEW:
        lines += _what_is_missing(s)
    elif s.state is ICETransportState.CLOSED:
        return lines
    elif s.selected is not None and s.state in _FOUND:
        lines += _path(s, s.selected)
    elif s.selected is None:
        lines += _search(s)
    if s.state is ICETransportState.FAILED:
        lines.append("Nothing more is tried: only a restart can connect again.")
    changes = s.history.role_changes
    if changes:
        times = "once" if changes == 1 else f"{changes} times"
        lines.append(f"The role changed {times}, because both ends claimed the same.")
    if s.state is not ICETransportState.COMPLETED or s.selected is None:
        lines += _gathering_problems(s)
    return lines


def _headline(s: Situation) -> str:
    role = "" if s.history.started is None else f", {'controlling' if s.controlling else 'controlled'}"
    peer = f"; the peer is {s.remote_name}" if s.remote_name is not None else ""
    reason = (
        f": {s.history.reason}" if s.history.reason and s.state not in (ICETransportState.CHECKING, *_FOUND[:2]) else ""
    )
    return f"ICE {s.name} is {s.state}, for {_duration(s.now - s.history.since)}{role}{peer}{reason}."


# Before the checks


def _what_is_missing(s: Situation) -> Iterator[str]:
    if s.gathering_state is ICEGathererState.NEW:
        yield "It has not been told to gather candidates."
    if s.remote_name is None:
        yield "It does not know the peer's user fragment and password, so it can check nothing."
    else:
        yield "It knows the peer's user fragment and password, and has not been started."
    if not s.local and s.gathering_state is ICEGathererState.COMPLETE:
        yield f"No local candidates were gathered. {_no_local_candidates(s)}"
    came = sum(pair.requests_received for pair in s.pairs)
    if came or s.dropped.unauthenticated:
        yield from _strangers(s.dropped)


# While there is no path


def _search(s: Situation) -> Iterator[str]:
    local = [one.candidate for one in s.local]
    text, hint = _outcome(local, s.remote, s.pairs, s.dropped, s.controlling, s.lite)
    working = sum(1 for pair in s.pairs if pair.succeeded)
    if working and s.state is not ICETransportState.FAILED:
        works = "1 pair works already, and carries" if working == 1 else f"{working} pairs work already, and carry"
        waits = (
            "it will be nominated when better ones have had their time" if s.controlling else "the peer is to choose"
        )
        yield f"{works} data; {waits}."
    elif s.state is not ICETransportState.FAILED:
        yield f"There is no path yet: {text}."
        asked = [pair.first_request_sent for pair in s.pairs if pair.first_request_sent is not None]
        if asked:
            sent = count(sum(pair.requests_sent for pair in s.pairs), "request")
            yield f"{sent} went out in {_duration(s.now - min(asked))}, {_to_whom(s.pairs)}."
    if hint:
        yield hint
    yield from _failed_pairs(s.pairs)
    if not s.remote and s.history.started is not None:
        yield from _no_remote_candidates(s)
    if not s.local and s.gathering_state is not ICEGathererState.NEW:
        yield _no_local_candidates(s)
    yield from _strangers(s.dropped)
    if s.dropped.from_elsewhere:
        yield (
            f"{count(s.dropped.from_elsewhere, 'answer')} came from another address than was asked, and "
            "cannot be believed: a router on the way rewrites addresses in one direction only."
        )
    if s.dropped.refused:
        came = count(s.dropped.refused, "check")
        yield f"{came} of the peer's came from an address that is filtered out, or from one too many."


def _failed_pairs(pairs: Iterable[CandidatePair]) -> Iterator[str]:
    """Those that failed for another reason than silence and refusals, which are told of already."""
    reasons = Counter(pair.failure for pair in pairs if pair.failure and pair.failure != "no answer")
    for reason, number in reasons.most_common(_MAX_REASONS):
        if not reason.startswith("refused"):
            yield f"{count(number, 'pair')} failed: {reason}."


def _no_remote_candidates(s: Situation) -> Iterator[str]:
    assert s.history.started is not None
    if s.remote_ended:
        others = " but those that are ignored" if s.dropped.candidates else ""
        yield f"The peer said that it has no candidates{others}."
    elif s.ahead:
        names = ", ".join(list(dict.fromkeys(one.ufrag or "" for one in s.ahead))[:_MAX_NAMES])
        yield (
            f"{count(len(s.ahead), 'remote candidate')} cannot be used yet, being of user fragment {names} and not "
            f"{s.remote_name}: the candidates and the credentials are from different descriptions."
        )
    elif not s.dropped.candidates and not s.looking_up and not s.history.unresolved:
        yield (
            f"For {_duration(s.now - s.history.started)} none has been given to add_remote_candidate: "
            "the peer has sent none, or signalling has lost them."
        )


def _no_local_candidates(s: Situation) -> str:
    if s.gathering_state is ICEGathererState.GATHERING:
        return "Local candidates are still being gathered."
    if s.history.refusal:
        return f"The system refuses what it takes: {s.history.refusal}."
    if not s.history.addresses:
        return (
            "No interface has an address that may be used: none is up, or filters and network types leave none. "
            "Loopback is left out unless it is asked for."
        )
    if set(s.candidate_types) == {_RELAY} and not s.history.problems:
        return "Only relays are allowed, and no TURN server is configured, or none by a transport that may be used."
    if set(s.candidate_types) == {_RELAY}:
        return "Only relays are allowed, and no TURN server gave one."
    return "No socket could be opened on any address, and no server gave a candidate."


def _to_whom(pairs: Iterable[CandidatePair]) -> str:
    kinds = Counter(str(pair.remote.type) for pair in pairs if pair.requests_sent)
    return f"to {', '.join(f'{number} {kind}' for kind, number in kinds.items())}"


def why_no_path(
    local: Collection[Candidate],
    remote: Collection[Candidate],
    pairs: Collection[CandidatePair],
    dropped: Dropped,
    controlling: bool,
    *,
    lite: bool = False,
) -> str:
    """The reason for ``failed`` before a pair was ever selected, as one sentence."""
    clauses = [_outcome(local, remote, pairs, dropped, controlling, lite)[0]]
    if dropped.unauthenticated:
        clauses.append(f"{count(dropped.unauthenticated, 'message')} came with a wrong user name or password")
    if dropped.from_elsewhere:
        clauses.append(f"{count(dropped.from_elsewhere, 'answer')} came from another address than was asked")
    if dropped.ignored and not remote:
        clauses.append(_ignored(dropped))
    return "; ".join(clauses)


def _outcome(
    local: Collection[Candidate],
    remote: Collection[Candidate],
    pairs: Collection[CandidatePair],
    dropped: Dropped,
    controlling: bool,
    lite: bool,
) -> tuple[str, str]:
    """What became of the search, and what that hints at."""
    if not local:
        return "no local candidates were gathered", ""
    if not remote and not pairs:
        return "no remote candidates arrived", ""
    if lite and not any(pair.succeeded for pair in pairs):
        checked = "its checks came, but it nominated no pair" if pairs else "and none of the peer's checks has come"
        return f"a lite agent makes no checks, {checked}", ""
    if not pairs:
        ours = f"{count(len(local), 'local candidate')} ({_kinds(local)})"
        theirs = f"{count(len(remote), 'remote candidate')} ({_kinds(remote)})"
        hint = "The two ends have no address family and transport in common."
        return f"no pair could be formed of {ours} and {theirs}", hint
    working = sum(1 for pair in pairs if pair.succeeded)
    if working and controlling:
        return f"{count(working, 'pair')} worked, but the peer never answered the nomination", ""
    if working:
        return f"{count(working, 'pair')} worked, but the peer nominated none", ""
    asked = {pair.destination for pair in pairs if pair.requests_sent}
    if not asked:
        return f"none of {count(len(pairs), 'pair')} was checked", ""
    outcome = f"checks were sent to {count(len(asked), 'address')}, and none was answered"
    if any(pair.requests_received for pair in pairs):
        return f"{outcome}, though the peer's checks came through", (
            "Packets pass in one direction only: a firewall drops ours, or the peer's answers. "
            "Or the peer drops them, since its password is not the one that we were given."
        )
    refusals = sorted({pair.failure for pair in pairs if pair.failure.startswith("refused")})
    if refusals:
        return f"{outcome} well: {', '.join(refusals)}", ""
    if dropped.unauthenticated or dropped.from_elsewhere:
        return outcome, ""
    relay = "a relay's too" if any(pair.base.type is _RELAY for pair in pairs) else "and no relay was there to help"
    return outcome, (
        f"Nothing came from the peer either: it has not started, or a firewall or a NAT drops the checks, {relay}."
    )


def _strangers(dropped: Dropped) -> Iterator[str]:
    if dropped.wrong_username:
        yield (
            f"{count(dropped.wrong_username, 'check')} came under another user name: "
            "the peer has a description of ours that is not the newest, or we have an old one of the peer's."
        )
    if dropped.wrong_password:
        yield (
            f"{count(dropped.wrong_password, 'message')} came with a wrong password: "
            "one end has not got the description that the other has made."
        )


# With a path


def _path(s: Situation, pair: CandidatePair) -> Iterator[str]:
    rtt = pair.current_round_trip_time
    round_trip = "" if rtt is None else f", round trip {rtt * 1000:.0f} ms"
    yield f"The path is {describe_pair(pair)}{round_trip}."
    if s.state is ICETransportState.DISCONNECTED:
        heard = s.now if pair.last_received is None else pair.last_received
        meanwhile = "a lite agent can only wait" if s.lite else "it is asked again and again"
        yield f"The peer was last heard {_duration(s.now - heard)} ago; {meanwhile}."
        if pair.succeeded and s.now >= pair.consent_expires:
            expired = _duration(s.now - pair.consent_expires)
            yield f"Its consent expired {expired} ago: no data is sent until it answers a check."
        left = given_up_at(pair, s.timings) - s.now
        if left > 0 and not s.lite:
            end = "is not given up before" if left == math.inf else f"fails in {_duration(left)} at the latest"
            yield f"It recovers by itself when an answer comes, and {end}."
    elif pair.last_response_received is not None:
        ago = _duration(s.now - pair.last_response_received)
        yield f"The peer last consented {ago} ago; {CONSENT_TIMEOUT:g} s is the limit."
    if s.taken_by:
        yield (
            f"What comes on it goes to another agent on our port, {s.taken_by}, which has met the same port of the "
            "peer's since: between two shared ports there is room for one connection."
        )
    if _RELAY in (pair.base.type, pair.remote.type):
        direct = [other for other in s.pairs if _RELAY not in (other.base.type, other.remote.type)]
        if direct and not any(other.succeeded for other in direct):
            yield f"Only a relay worked: {_failures(direct)}."


def _failures(pairs: Collection[CandidatePair]) -> str:
    reasons = Counter(pair.failure or "no answer" for pair in pairs)
    why = ", ".join(reason if len(reasons) == 1 else f"{number} {reason}" for reason, number in reasons.most_common())
    return f"of {count(len(pairs), 'direct pair')} none did ({why})"


def describe_pair(pair: CandidatePair) -> str:
    """Both ends. A name that hides an address stays: what is said here may be shown to anybody."""
    return f"{describe(pair.local)} to {describe(pair.remote)}"


def describe(candidate: Candidate) -> str:
    """Type, transport and address, and a relay's server."""
    server = f" of {candidate.url}" if candidate.url and candidate.type is _RELAY else ""
    return f"{candidate}{server}"


# Beside it


def _gathering_problems(s: Situation) -> Iterator[str]:
    problems = s.history.problems
    for problem, _ in Counter(problems).most_common(_MAX_SERVERS):
        yield f"{problem.url} gave no candidate: {meaning_of(problem.error_code, problem.reason)}."
    if len(problems) > _MAX_SERVERS:
        yield f"{len(problems) - _MAX_SERVERS} more such problems with servers are not listed."
    if s.looking_up:
        yield f"{count(s.looking_up, '.local name')} of the peer's is being looked up."
    if s.history.unresolved:
        names = ", ".join(s.history.unresolved[:_MAX_NAMES])
        more = f" and {len(s.history.unresolved) - _MAX_NAMES} more" if len(s.history.unresolved) > _MAX_NAMES else ""
        yield f"{names}{more} could not be resolved: the peer is on another network, or multicast does not pass."
    if s.dropped.ignored:
        yield f"{_ignored(s.dropped)}."


def _ignored(dropped: Dropped) -> str:
    reasons = ", ".join(f"{number} because {reason}" for reason, number in Counter(dropped.ignored).most_common())
    return f"{count(dropped.candidates, 'remote candidate')} ignored: {reasons}"


def count(number: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``; an address needs its own plural."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def _kinds(candidates: Collection[Candidate]) -> str:
    return ", ".join(sorted({f"{c.transport}{'6' if ':' in c.address else '4'}" for c in candidates}))


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
