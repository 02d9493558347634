"""Why no path was found, in one sentence for whoever reads the log at three in the morning."""

from __future__ import annotations

from collections.abc import Collection

from .candidate import Candidate
from .dropped import Dropped
from .pair import CandidatePair


def count(number: int, noun: str) -> str:
    """``1 pair``, ``2 pairs``; an address needs its own plural."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def why_no_path(
    local: Collection[Candidate],
    remote: Collection[Candidate],
    pairs: Collection[CandidatePair],
    dropped: Dropped,
    controlling: bool,
) -> str:
    """The reason for ``failed`` before a pair was ever selected."""
    if dropped.unauthenticated:
        return f"{_outcome(local, remote, pairs, controlling)}; {_strangers(dropped)}"
    return _outcome(local, remote, pairs, controlling)


def _strangers(dropped: Dropped) -> str:
    return f"{count(dropped.unauthenticated, 'message')} came with a wrong user name or password"


def _outcome(
    local: Collection[Candidate], remote: Collection[Candidate], pairs: Collection[CandidatePair], controlling: bool
) -> str:
    if not local:
        return "no local candidates were gathered"
    if not remote and not pairs:
        return "no remote candidates arrived"
    if not pairs:
        return (
            f"no pair could be formed of {count(len(local), 'local candidate')} ({_kinds(local)}) "
            f"and {count(len(remote), 'remote candidate')} ({_kinds(remote)})"
        )
    working = sum(1 for pair in pairs if pair.succeeded)
    if working and controlling:
        return f"{count(working, 'pair')} worked, but the peer never answered the nomination"
    if working:
        return f"{count(working, 'pair')} worked, but the peer nominated none"
    asked = {pair.destination for pair in pairs if pair.requests_sent}
    if not asked:
        return f"none of {count(len(pairs), 'pair')} was checked"
    outcome = f"checks were sent to {count(len(asked), 'address')}, and none was answered"
    if any(pair.requests_received for pair in pairs):
        return f"{outcome}, though the peer's checks came through"
    refusals = sorted({pair.failure for pair in pairs if pair.failure.startswith("refused")})
    return f"{outcome} well: {', '.join(refusals)}" if refusals else outcome


def _kinds(candidates: Collection[Candidate]) -> str:
    return ", ".join(sorted({f"{c.transport}{'6' if ':' in c.address else '4'}" for c in candidates}))
