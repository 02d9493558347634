"""What the parts of one core share: candidates and pairs, the role, the state, and what has been found."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InvalidAccessError
from ..states import ICERole, ICETransportState
from .checklist import CheckList
from .checks import Checks, check_local_credentials
from .dropped import Dropped
from .events import Happening, StateChanged
from .options import AgentTimings
from .pair import CandidatePair
from .pairing import Pairing
from .trace import Trace
from .transaction import Chance, Purpose

LIVE = (
    ICETransportState.CHECKING,
    ICETransportState.CONNECTED,
    ICETransportState.COMPLETED,
    ICETransportState.DISCONNECTED,
)
"""The states of a generation that has been started and has not come to its end."""


class Session:
    """The facts of one generation. Those who act on them are ``Search``, ``Upkeep``, ``Incoming`` and ``Outcomes``."""

    def __init__(
        self,
        *,
        tie_breaker: int,
        local_ufrag: str,
        local_pwd: str,
        seed: bytes,
        timings: AgentTimings,
        max_pairs: int,
        remote_ip_filter: Callable[[str], bool] | None,
        lite: bool,
        keep_alternatives: bool,
        trace: Trace,
    ) -> None:
        check_local_credentials(local_ufrag, local_pwd)
        if not 0 <= tie_breaker < 2**64:
            raise InvalidAccessError(f"tie_breaker is {tie_breaker!r}; it must be a number of 64 bits")
        if len(seed) < 16:
            raise InvalidAccessError(f"seed has {len(seed)} octets; it must have at least 16")
        if max_pairs < 1:
            raise InvalidAccessError(f"max_pairs is {max_pairs!r}; it must be at least 1")
        self.tie_breaker = tie_breaker
        self.timings = timings
        self.lite = lite
        self.remote_lite = False
        self.peer_has_checked = False
        """Whether the peer looks for paths too: it knows of this generation, and of our credentials."""
        self.waits_for_peer = False
        """Whether nothing is nominated before that."""
        # A lite agent asks nothing, so it could not keep them.
        self.keep_alternatives = keep_alternatives and not lite
        self.state = ICETransportState.NEW
        self.controlling = False
        self.selected: CandidatePair | None = None
        self.path: CandidatePair | None = None
        self.local_done = False
        self.trace = trace
        self.dropped = Dropped()
        self.events: list[Happening] = []
        self.chance = Chance(seed)
        self.checks = Checks(local_ufrag, local_pwd, self.chance, self.dropped)
        self.checklist = CheckList(self.controlling, max_pairs)
        self.pairing = Pairing(self.checklist, remote_ip_filter, self.dropped, self.events)

    @property
    def role(self) -> ICERole:
        return ICERole.CONTROLLING if self.controlling else ICERole.CONTROLLED

    @property
    def pairs(self) -> list[CandidatePair]:
        return list(self.checklist.paths.values())

    @property
    def is_running(self) -> bool:
        """Whether the peer is known and the agent started."""
        return self.state in LIVE and self.checks.remote_ufrag is not None

    @property
    def is_over(self) -> bool:
        """Whether this generation has come to its end: only another one can connect."""
        return self.state in (ICETransportState.FAILED, ICETransportState.CLOSED)

    @property
    def is_complete(self) -> bool:
        """Whether neither end will name more candidates."""
        return self.local_done and self.pairing.remote_ended

    @property
    def is_searching(self) -> bool:
        """Whether candidates are paired and pairs checked: until one is selected, and when that works no more.

        With ``keep_alternatives`` always, since it is the other pairs that the session will move to.
        """
        if self.lite:
            # RFC 8445 section 8.2: with another lite agent, pairs are chosen from what both ends know.
            return self.remote_lite
        return self.selected is None or self.keep_alternatives or self.state is ICETransportState.DISCONNECTED

    def send(
        self,
        pair: CandidatePair,
        purpose: Purpose,
        delays: tuple[float, ...],
        now: float,
        nomination: tuple[int, int] | None = None,
        *,
        use_candidate: bool = False,
    ) -> None:
        """A request in the present role."""
        self.checks.send(
            pair,
            purpose,
            delays,
            controlling=self.controlling,
            tie_breaker=self.tie_breaker,
            use_candidate=use_candidate,
            nomination=nomination,
            now=now,
        )

    def set_state(self, state: ICETransportState, reason: str) -> None:
        if state is not self.state:
            self.state = state
            self.events.append(StateChanged(state, reason))

    def stop(self, state: ICETransportState, reason: str) -> None:
        """It has failed, or is closed: nothing more is sent."""
        self.checks.forget_all()
        self.path = None
        self.set_state(state, reason)
