"""Candidates that come before the news of the generation that they belong to (RFC 8838 section 9)."""

from __future__ import annotations

from .candidate import Candidate

# A generation has no more of use.
_MAX = 100


class CandidatesAhead:
    """In the order of their arrival; None is the end of those before it.

    They wait for the next start of a generation, and for the one after that.
    """

    __slots__ = ("_left", "_waiting")

    def __init__(self) -> None:
        # Tuples, since they are nearly always empty.
        self._waiting: tuple[Candidate | None, ...] = ()
        self._left: tuple[Candidate | None, ...] = ()

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for candidate in (*self._left, *self._waiting) if candidate is not None]

    def add(self, candidate: Candidate) -> None:
        """One too many is forgotten."""
        if len(self._waiting) < _MAX:
            self._waiting += (candidate,)

    def end(self) -> bool:
        """The peer has no more. False when that is not about candidates that wait."""
        if self._waiting and self._waiting[-1] is not None:
            self._waiting += (None,)
        return bool(self._waiting)

    def take(self, ufrag: str) -> list[Candidate | None]:
        """The peer's generation of this name has begun: its candidates, and perhaps their end.

        What else has come since the last time is kept for once more: it may belong to the generation after this one.
        """
        found: list[Candidate | None] = []
        left: list[Candidate | None] = []
        for waiting in (self._left, self._waiting):
            left = []
            ours = left
            for candidate in waiting:
                if candidate is not None:
                    ours = found if candidate.ufrag == ufrag else left
                ours.append(candidate)
        self._waiting, self._left = (), tuple(left)
        return found
