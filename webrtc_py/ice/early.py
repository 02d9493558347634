"""Checks that come before the peer's description: answered at once, acted on later (RFC 8445 section 7.3)."""

from __future__ import annotations

from dataclasses import dataclass

from .pair import Address

MAX_EARLY_CHECKS = 50
"""Paths that are remembered; an honest peer has a dozen."""


@dataclass(slots=True)
class IncomingCheck:
    """What a check says, beside where it came from. ``ufrag`` is its sender's."""

    transaction_id: bytes
    base_id: int
    source: Address
    ufrag: str
    priority: int
    use_candidate: bool
    nomination: int | None = None
    """The value of the nomination, where it has one (draft-thatcher-ice-renomination)."""


class EarlyChecks:
    """One for each path, in the order of their first arrival."""

    def __init__(self) -> None:
        self._checks: dict[tuple[int, Address], IncomingCheck] = {}

    def remember(self, check: IncomingCheck) -> bool:
        """False when there are too many."""
        path = check.base_id, check.source
        earlier = self._checks.get(path)
        if earlier is None:
            if len(self._checks) >= MAX_EARLY_CHECKS:
                return False
        elif earlier.ufrag == check.ufrag:
            check.use_candidate |= earlier.use_candidate
            if check.nomination is None:
                check.nomination = earlier.nomination
        self._checks[path] = check
        return True

    def take(self, ufrag: str) -> list[IncomingCheck]:
        """The checks of the peer with this user fragment; the others are forgotten."""
        checks, self._checks = self._checks, {}
        return [check for check in checks.values() if check.ufrag == ufrag]
