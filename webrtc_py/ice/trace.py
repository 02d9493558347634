"""The story of a connection, for the log: what was tried, what worked, what was chosen, and when."""

from __future__ import annotations

import logging

# A typical connection takes thirty lines. One that thousands of hostile candidates are told of stops here.
_MAX_LINES = 1000

default_logger = logging.getLogger("webrtc_py.ice")


class Trace:
    """One generation's lines, under its user fragment, with the seconds since the first of them.

    Changes of state are told at INFO, everything else at DEBUG. Nothing is told of retransmissions and checks of
    consent, and never a password. A logger that is not enabled costs a comparison.
    """

    __slots__ = ("_begun", "_lines", "_logger", "name")

    def __init__(self, name: str, logger: logging.Logger | None = None) -> None:
        self.name = name
        self._logger = logger or default_logger
        self._begun: float | None = None
        self._lines = 0

    def __call__(self, now: float, text: str, *values: object) -> None:
        """A step of the story; ``text`` takes the values as logging has it."""
        self._log(logging.DEBUG, now, text, values)

    def tell(self, now: float, text: str, *values: object) -> None:
        """Something that whoever runs this wants to know: a change of state, a server that failed."""
        self._log(logging.INFO, now, text, values)

    def _log(self, level: int, now: float, text: str, values: tuple[object, ...]) -> None:
        if self._begun is None:
            self._begun = now
        if not self._logger.isEnabledFor(level):
            return
        if level == logging.DEBUG:
            if self._lines > _MAX_LINES:
                return
            self._lines += 1
            if self._lines > _MAX_LINES:
                text, values = "%d lines are enough: only changes of state are told from now on", (_MAX_LINES,)
        self._logger.log(level, "ICE %s %7.3f s  %s", self.name, now - self._begun, text % values)
