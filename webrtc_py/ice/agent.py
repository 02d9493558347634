"""The ICE agent: credentials, candidates, a path, and what tells of them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from ..errors import (
    ArgumentTypeError,
    ConnectionClosedError,
    ConnectionFailedError,
    InvalidAccessError,
    InvalidStateError,
)
from ..runtime.closing import ClosedOnExit
from ..runtime.event import Event, EventQueue
from ..runtime.network import Network
from ..runtime.shared import Shared
from ..runtime.system_network import SystemNetwork
from ..states import ICEGathererState, ICERole, ICETransportState, MulticastDNSMode
from ..train import Train
from .agent_options import AgentOptions
from .ahead import CandidatesAhead
from .beginning import new_core
from .candidate import Candidate
from .conn import Conn
from .data_path import DataReceiver, Inbox, Traffic
from .explain import explain
from .gather_plan import GatheringError
from .generation import Generation
from .generations import Generations
from .listener import AgentListener, Waiter
from .mdns import AgentNames
from .pair import CandidatePair
from .stats import CandidatePairStats, CandidateStats
from .udp_port import UDPPort


class Agent(ClosedOnExit):
    """Gathers candidates, finds a path to the peer's, keeps it alive, and carries datagrams over it.

    A :meth:`restart` begins a new *generation* beside the one in use, with credentials, candidates and checks of its
    own, on the same sockets. The old path carries the data until the new generation has selected a pair (RFC 8445
    section 9): make before break.

    Events: ``on_candidate(Candidate | None)``, ``on_candidate_removed(Candidate)``,
    ``on_candidate_error(GatheringError)``, ``on_gathering_state_change(ICEGathererState)``,
    ``on_connection_state_change(ICETransportState)``, ``on_selected_candidate_pair_change(local, remote)``.
    """

    def __init__(self, options: AgentOptions | None = None) -> None:
        options = AgentOptions() if options is None else options
        if not isinstance(options, AgentOptions):
            raise ArgumentTypeError(f"options is an AgentOptions or None, not {options!r}")
        self._options = options
        self._shared = Shared.of_running_loop()
        self._network: Network = options.net or SystemNetwork()
        self._inbox = Inbox(self._shared)
        self._remote_renominates = True
        self._generations = Generations(
            self._new_generation(options.local_ufrag, options.local_pwd, secrets.randbits(64)), self._shared
        )
        self._remote_lite = False
        self._ahead = CandidatesAhead()
        self._state = ICETransportState.NEW
        self._gathering_state = ICEGathererState.NEW
        self._failure = ""
        self._names = AgentNames(options.net, options.multicast_dns_host_name)
        self._closing: asyncio.Task[None] | None = None
        self._conn: Conn | None = None
        self._listeners: list[AgentListener] = []
        self._events = EventQueue("ICE agent", self._shared)
        self.on_candidate: Event[Candidate | None] = Event("on_candidate", self._events)
        self.on_candidate_removed: Event[Candidate] = Event("on_candidate_removed", self._events)
        self.on_candidate_error: Event[GatheringError] = Event("on_candidate_error", self._events)
        self.on_gathering_state_change: Event[ICEGathererState] = Event("on_gathering_state_change", self._events)
        self.on_connection_state_change: Event[ICETransportState] = Event("on_connection_state_change", self._events)
        self.on_selected_candidate_pair_change: Event[Candidate, Candidate] = Event(
            "on_selected_candidate_pair_change", self._events
        )

    def _new_generation(self, ufrag: str, pwd: str, tie_breaker: int) -> Generation:
        core = new_core(self._options, ufrag, pwd, tie_breaker)
        core.set_remote_renomination(self._remote_renominates)
        return Generation(core, self._options, self, self._network, self._inbox, self._shared)

    # What is known

    @property
    def connection_state(self) -> ICETransportState:
        """During a restart ``connected`` as long as the old path lives."""
        return self._state

    @property
    def gathering_state(self) -> ICEGathererState:
        """Of the newest generation."""
        return self._gathering_state

    @property
    def role(self) -> ICERole:
        return self._generations.role

    @property
    def is_restarting(self) -> bool:
        """Whether a restart has been begun whose generation has not selected a pair yet."""
        return self._generations.is_restarting

    def explain(self) -> str:
        """Why the connection is in the state it is in: a few lines for people. Credentials are not in it."""
        now = self._shared.loop.time()
        in_use, newest = self._in_use, self._newest
        ahead = self._ahead.candidates
        if in_use is newest:
            return "\n".join(explain(newest.situation(now, ahead)))
        old, new = in_use.core.local_ufrag, newest.core.local_ufrag
        has_path = in_use.core.path is not None
        meanwhile = f"{old} carries the data until {new} has" if has_path else f"{old} has lost its path, {new} has not"
        return "\n".join(
            [
                f"A restart is in progress: {meanwhile} found one.",
                *explain(in_use.situation(now)),
                *explain(newest.situation(now, ahead)),
            ]
        )

    @property
    def failure(self) -> str:
        """Why the agent has failed; empty when it has not."""
        return self._failure

    def get_local_user_credentials(self) -> tuple[str, str]:
        """The user fragment and password that the peer needs: those of the newest generation."""
        return self._newest.core.local_ufrag, self._newest.core.local_pwd

    def get_remote_user_credentials(self) -> tuple[str, str] | None:
        """The peer's, of the newest generation; None while they are not known."""
        return self._newest.core.remote_credentials

    def get_local_candidates(self) -> list[Candidate]:
        """What the peer is told of: link-local addresses are used too, but told only where there are no others."""
        return [candidate for candidate in self._newest.core.local_candidates if "%" not in candidate.address]

    def get_remote_candidates(self) -> list[Candidate]:
        return self._newest.core.remote_candidates

    def get_selected_candidate_pair(self) -> tuple[Candidate, Candidate] | None:
        """Our candidate and the peer's, of the path that is in use."""
        pair = self._in_use.core.selected
        return None if pair is None else (pair.local, pair.remote)

    def get_candidate_pairs_stats(self) -> list[CandidatePairStats]:
        """All pairs of all generations that live."""
        epoch = self._epoch
        selected = self._in_use.core.selected
        return [
            CandidatePairStats.of(pair, generation.core.local_ufrag, selected=pair is selected, epoch=epoch)
            for generation in self._generations
            for pair in generation.core.pairs
        ]

    def get_local_candidates_stats(self) -> list[CandidateStats]:
        """Our candidates of the newest generation, with what their pairs have counted."""
        return self._candidates_stats(self.get_local_candidates())

    def get_remote_candidates_stats(self) -> list[CandidateStats]:
        """The peer's, likewise."""
        return self._candidates_stats(self.get_remote_candidates())

    def _candidates_stats(self, candidates: list[Candidate]) -> list[CandidateStats]:
        pairs, generation = self.get_candidate_pairs_stats(), self._newest.core.local_ufrag
        return [CandidateStats.of(candidate, pairs, generation) for candidate in candidates]

    def get_selected_candidate_pair_stats(self) -> CandidatePairStats | None:
        core = self._in_use.core
        if core.selected is None:
            return None
        return CandidatePairStats.of(core.selected, core.local_ufrag, selected=True, epoch=self._epoch)

    @property
    def traffic(self) -> Traffic:
        """What the application has sent and received, by all paths since the beginning."""
        return self._inbox.traffic

    @property
    def _epoch(self) -> float:
        return time.time() - self._shared.loop.time()

    def add_listener(self, listener: AgentListener) -> None:
        self._listeners.append(listener)

    # Gathering

    def set_options(self, options: AgentOptions) -> None:
        """Other servers, candidate types and times for the next gathering, and for what a restart begins.

        InvalidAccessError for another ``lite``: the peer has been told.
        """
        if options.lite is not self._options.lite:
            raise InvalidAccessError("an agent is lite from its beginning or never")
        self._options = options
        if self._newest.gathering_state is ICEGathererState.NEW:
            self._newest.set_options(options)

    async def gather_candidates(self) -> None:
        """Begin to gather, and return; candidates come through ``on_candidate``.

        InvalidStateError the second time in one generation.
        """
        self._check_open()
        if self._gathering_state is not ICEGathererState.NEW:
            raise InvalidStateError(f"the agent's gathering state is {self._gathering_state}; it gathers once")
        self._newest.gather()

    def discard_candidates(self) -> None:
        """Give up what was gathered before the first start, to gather anew with the options of then.

        The credentials stay. InvalidStateError once the agent has been started.
        """
        self._check_open()
        if self._generations.are_several or self._newest.core.state is not ICETransportState.NEW:
            raise InvalidStateError("the ICE agent has been started; a restart gathers anew")
        with self._shared.step:
            self._generations.begin(
                self._new_generation(*self.get_local_user_credentials(), self._newest.core.tie_breaker)
            )
            self._set_gathering_state(ICEGathererState.NEW)

    async def gathering_complete(self) -> None:
        """Wait until :attr:`has_gathered`. ConnectionClosedError when the agent is closed before."""
        await self._wait_for(lambda: self.has_gathered, or_failure=False)

    @property
    def has_gathered(self) -> bool:
        """Whether all candidates have been found; with continual gathering, all that were there at the beginning."""
        return self._newest.has_gathered

    # The peer

    def set_remote_credentials(self, ufrag: str, pwd: str) -> None:
        """The peer's user fragment and password. InvalidAccessError when they are outside RFC 8839 section 5.4.

        After a :meth:`restart` they are the peer's new ones, and the checks begin.
        """
        self._check_open()
        if self._generations.awaits_peer:
            self.start(self._newest.core.controlling, ufrag, pwd, remote_lite=self._remote_lite)
        else:
            self._newest.set_remote_credentials(ufrag, pwd)

    def start(self, controlling: bool, ufrag: str, pwd: str, *, remote_lite: bool = False) -> None:
        """Begin to check the peer's candidates. The offering side controls (RFC 8445 section 6.1.1).

        Once for each generation; a restarted one keeps the role (RFC 8445 section 9). ``remote_lite`` is whether the
        peer has said that it is a lite agent; two lite ones find no path without.
        """
        self._check_open()
        if self._generations.are_several:
            controlling = self.role is ICERole.CONTROLLING
        self._newest.start(controlling, ufrag, pwd, remote_lite=remote_lite)
        self._generations.started()
        for candidate in self._ahead.take(ufrag):
            self.add_remote_candidate(candidate)
        self._remote_lite = remote_lite

    def set_remote_renomination(self, understood: bool) -> None:
        """Whether the peer understands renomination, as descriptions tell. Unless told otherwise it does."""
        self._remote_renominates = understood
        for generation in self._generations:
            generation.core.set_remote_renomination(understood)

    def renominate(self, local: Candidate, remote: Candidate) -> None:
        """Change to the pair of these candidates. The peer confirms it, and until then the path stays as it is.

        InvalidAccessError when there is no such pair. InvalidStateError when its checks are not answered, when this
        agent is the controlled one or has no ``renomination``, and when the peer does not understand it. Automatic
        renomination may change to a better pair again.
        """
        self._check_open()
        now = self._shared.loop.time()
        self._in_use.core.renominate(local, remote, now)
        self._in_use.flush(now)

    async def restart(self, ufrag: str = "", pwd: str = "") -> None:
        """Begin a new generation, with these credentials or random ones, beside the one in use (RFC 8445 section 9).

        Nothing else happens until :meth:`gather_candidates` and, with the peer's new credentials,
        :meth:`set_remote_credentials` are called; both ends restart. InvalidStateError before the first start.
        InvalidAccessError for credentials outside RFC 8839 section 5.4, and for those that are in use.
        """
        self._check_open()
        replaced = self._newest
        if not self._generations.are_several and replaced.core.state is ICETransportState.NEW:
            raise InvalidStateError("the ICE agent has not been started, so there is nothing to restart")
        if bool(ufrag) != bool(pwd):
            raise InvalidAccessError("ufrag and pwd are given together, or neither is")
        if any(ufrag == one.core.local_ufrag or pwd == one.core.local_pwd for one in self._generations):
            raise InvalidAccessError("a restart changes both the user fragment and the password")
        newest = self._new_generation(ufrag, pwd, replaced.core.tie_breaker)
        with self._shared.step:
            self._generations.begin(newest)
            replaced.core.trace.tell(self._shared.loop.time(), "restarts as %s", newest.core.local_ufrag)
            self._set_gathering_state(ICEGathererState.NEW)
            self._update_state("ICE restarts")

    def cancel_restart(self) -> None:
        """Undo a :meth:`restart` that has not been started yet: all is as before it. InvalidStateError otherwise."""
        if not self._generations.awaits_peer:
            raise InvalidStateError("no restart waits for the peer's credentials")
        with self._shared.step:
            self._generations.cancel()
            self._newest.core.trace.tell(self._shared.loop.time(), "goes on: the restart was cancelled")
            self._set_gathering_state(self._newest.gathering_state)
            self._update_state("the restart was cancelled")

    async def dial(self, ufrag: str, pwd: str, *, remote_lite: bool = False) -> Conn:
        """Connect as the controlling agent. ConnectionFailedError when there is no path."""
        return await self._connect(True, ufrag, pwd, remote_lite)

    async def accept(self, ufrag: str, pwd: str, *, remote_lite: bool = False) -> Conn:
        """Connect as the controlled agent. ConnectionFailedError when there is no path."""
        return await self._connect(False, ufrag, pwd, remote_lite)

    async def _connect(self, controlling: bool, ufrag: str, pwd: str, remote_lite: bool) -> Conn:
        self.start(controlling, ufrag, pwd, remote_lite=remote_lite)
        return await self.await_connect()

    async def await_connect(self) -> Conn:
        """Wait for what :meth:`start` has begun: :meth:`dial` and :meth:`accept` in two steps.

        An agent has one connection, which is the same after a :meth:`restart`. ConnectionFailedError when there is no
        path, InvalidStateError before the first start.
        """
        self._check_open()
        if self._state is ICETransportState.NEW:
            raise InvalidStateError("the ICE agent has not been started, so there is nothing to wait for")
        if self._conn is None:
            self._conn = Conn(self, self._shared)
        await self._wait_for(self._has_path, or_failure=True)
        return self._conn

    def _has_path(self) -> bool:
        """Where the newest generation is a restart that the peer has not answered, the path is the old one's."""
        core = (self._in_use if self._generations.awaits_peer else self._newest).core
        return core.selected is not None and core.state is not ICETransportState.FAILED

    async def _wait_for(self, condition: Callable[[], bool], *, or_failure: bool) -> None:
        """Wait for a change that makes it true. ConnectionFailedError or ConnectionClosedError when none can."""
        waiter = Waiter()
        self._listeners.append(waiter)
        try:
            while not condition():
                if self._closing is not None:
                    raise ConnectionClosedError("the ICE agent was closed")
                if or_failure and self._state is ICETransportState.FAILED:
                    raise ConnectionFailedError(f"ICE has failed: {self._failure}")
                waiter.changed.clear()
                await waiter.changed.wait()
        finally:
            self._listeners.remove(waiter)

    def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """A candidate of the peer's, or None: it has no more. A ``.local`` name is looked up and holds up nothing.

        A candidate that names its generation goes there, and one that names none to the newest (RFC 8838 section 9).
        One of a generation that we have not heard of waits for our :meth:`restart`. ArgumentTypeError for what is no
        :class:`Candidate`: texts go through :func:`unmarshal_candidate` first.
        """
        self._check_open()
        if candidate is not None and not isinstance(candidate, Candidate):
            raise ArgumentTypeError(f"candidate is a Candidate or None, not {candidate!r}; see unmarshal_candidate")
        if candidate is None:
            # Where the peer has not restarted yet, it is the old one's end.
            is_old = self._generations.awaits_peer and not self._newest.has_remote_candidates
            if not self._ahead.end():
                (self._in_use if is_old else self._newest).end_of_remote_candidates()
            return
        generation = self._generations.of_peer(candidate.ufrag)
        if generation is not None:
            resolve = self._options.multicast_dns_mode is not MulticastDNSMode.DISABLED
            generation.add_remote_candidate(candidate, resolve=resolve)
        elif not self._generations.has_retired(candidate.ufrag):
            self._ahead.add(candidate)

    async def name_of(self, host: str) -> str:
        """The name that hides a local address. OSError when nobody could resolve it."""
        return await self._names.name_of(host)

    def forget_name(self, host: str) -> None:
        """The local address is not ours any more."""
        self._names.withdraw(host)

    async def look_up(self, name: str) -> str | None:
        """The address of a ``.local`` name, or None."""
        return await self._names.resolve(name, self._options.stun_gather_timeout)

    # The data path

    @property
    def dropped(self) -> int:
        """Datagrams that came from where no peer was proved, that nobody took in time, or that no path had room for."""
        return self._inbox.dropped

    def set_data_receiver(self, receiver: DataReceiver | None) -> None:
        """Who takes the peer's datagrams. A few that came before are handed over now."""
        self._inbox.set_receiver(receiver)

    def send(self, train: Train) -> None:
        """Send over the path; without one the train is dropped and counted."""
        if not self._in_use.data.send(train) and not any(one.data.send(train) for one in self._generations):
            self._inbox.dropped += len(train)
            self._in_use.core.data_discarded(len(train.data), len(train))

    # What the generations tell

    @property
    def _newest(self) -> Generation:
        return self._generations.newest

    @property
    def _in_use(self) -> Generation:
        return self._generations.in_use

    def find_port(self, host: str) -> UDPPort | None:
        """The port on a local address, of whichever generation."""
        return self._generations.find_port(host)

    def has_generation(self, ufrag: str) -> bool:
        return any(one.core.local_ufrag == ufrag for one in self._generations)

    def candidate_found(self, generation: Generation, candidate: Candidate | None) -> None:
        if generation is self._newest:
            for listener in list(self._listeners):
                listener.local_candidate(candidate)
            self.on_candidate.emit(candidate)

    def candidate_removed(self, generation: Generation, candidate: Candidate) -> None:
        if generation is self._newest:
            for listener in list(self._listeners):
                listener.local_candidate_removed(candidate)
            self.on_candidate_removed.emit(candidate)

    def gathering_failed(self, error: GatheringError) -> None:
        with self._shared.step:
            for listener in list(self._listeners):
                listener.gathering_failed(error)
            self.on_candidate_error.emit(error)

    def gathering_state_changed(self, generation: Generation, state: ICEGathererState) -> None:
        if generation is self._newest:
            self._set_gathering_state(state)

    def first_round_over(self, generation: Generation) -> None:
        if generation is self._newest:
            for listener in list(self._listeners):
                listener.first_round_over()

    def _set_gathering_state(self, state: ICEGathererState) -> None:
        if state is self._gathering_state:
            return
        self._gathering_state = state
        for listener in list(self._listeners):
            listener.gathering_state_changed(state)
        self.on_gathering_state_change.emit(state)

    def state_changed(self, generation: Generation, state: ICETransportState, reason: str) -> None:
        if state is ICETransportState.CLOSED:
            # A retired generation's end is no news, and that of the agent comes once: with the newest's.
            if self._closing is not None and generation is self._newest:
                self._update_state(reason)
            return
        generation.core.trace.tell(self._shared.loop.time(), "is %s: %s", state, reason)
        self._update_state(reason)
        if generation is self._in_use:
            self._generations.path_changed()

    def pair_selected(self, generation: Generation, pair: CandidatePair, *, lost: bool) -> None:
        replaced = self._generations.take_over(generation)
        if replaced is not None:
            generation.core.trace.tell(self._shared.loop.time(), "takes over from %s", replaced.core.local_ufrag)
            lost = replaced.core.is_silent
        if generation is not self._in_use:
            return
        for listener in list(self._listeners):
            listener.selected_pair_changed(pair, lost=lost)
        self.on_selected_candidate_pair_change.emit(pair.local, pair.remote)

    def path_resumed(self, generation: Generation) -> None:
        if generation is self._in_use:
            for listener in list(self._listeners):
                listener.path_resumed()

    def _update_state(self, reason: str) -> None:
        state = self._newest.state if self._closing is not None else self._generations.state
        if state is self._state:
            return
        self._state = state
        self._failure = reason if state is ICETransportState.FAILED else ""
        for listener in list(self._listeners):
            listener.state_changed(state, reason)
        self.on_connection_state_change.emit(state)

    # The end

    async def close(self) -> None:
        """Stop at once; within two seconds nothing is left: no socket, no task, no allocation on a TURN server."""
        if self._closing is None:
            self._closing = self._shared.loop.create_task(self._clean_up(), name="close the ICE agent")
            with self._shared.step:
                self._inbox.close()
                self._generations.stop()
                self._events.close_after_queued()
        await asyncio.shield(self._closing)

    async def _clean_up(self) -> None:
        await self._generations.clean_up()
        await self._names.close()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise ConnectionClosedError("the ICE agent is closed")
