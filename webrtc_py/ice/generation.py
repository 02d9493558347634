"""One generation of an agent: what one pair of credentials on each side stands for (RFC 8445 section 9)."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ..runtime.driver import Driver
from ..runtime.network import DatagramSocket, Network, Watch
from ..runtime.reasons import why
from ..runtime.shared import Shared
from ..states import (
    CandidateType,
    ContinualGatheringPolicy,
    ICEGathererState,
    ICETransportState,
    NetworkType,
)
from ..train import Train
from .addresses import LocalAddress, local_addresses
from .agent_options import AgentOptions
from .binding import BindingQueries, keepalive
from .candidate import Candidate, format_address
from .core import Core
from .data_path import DataPath, Inbox
from .events import (
    Happening,
    Outgoing,
    PathProved,
    PathResumed,
    PermissionNeeded,
    RoleChanged,
    SelectedPairChanged,
    StateChanged,
)
from .explain import History, ServerProblem, Situation, count
from .gather import Gathering
from .gather_plan import Base, GatheringError, GatherPlan
from .pair import Address, CandidatePair
from .relay import Relay
from .tcp import TCPEndpoint
from .udp_port import UDPEndpoint, UDPPort

# RFC 8445 section 11: often enough for a NAT's mapping to live until the checks keep it alive.
_BINDING_KEEPALIVE_INTERVAL = 15.0
_MAX_LOOKUPS = 32
# Each name of the peer's costs the local network three questions. So many may come at once, and one in this time after
# that: a peer on the move has a new name now and then, and one that floods us has us ask little.
_MAX_NAMES = 100
_NAME_INTERVAL = 10.0
# An honest peer changes its mind about the role once or twice.
_MAX_ROLE_CHANGES_TOLD = 5
_CLOSE_TIMEOUT = 2.0
_SEEKING = (ICETransportState.NEW, ICETransportState.CHECKING)
# Shared, since each empty set takes 216 bytes.
_NO_HOSTS: frozenset[str] = frozenset()


class Owner(Protocol):
    """The agent, as its generations see it."""

    def find_port(self, host: str) -> UDPPort | None: ...

    def has_generation(self, ufrag: str) -> bool: ...

    async def look_up(self, name: str) -> str | None:
        """The address of a ``.local`` name, or None."""

    async def name_of(self, host: str) -> str: ...

    def forget_name(self, host: str) -> None: ...

    def candidate_found(self, generation: Generation, candidate: Candidate | None) -> None: ...

    def candidate_removed(self, generation: Generation, candidate: Candidate) -> None: ...

    def gathering_failed(self, error: GatheringError) -> None: ...

    def gathering_state_changed(self, generation: Generation, state: ICEGathererState) -> None: ...

    def first_round_over(self, generation: Generation) -> None:
        """All that was there has been gathered."""

    def state_changed(self, generation: Generation, state: ICETransportState, reason: str) -> None: ...

    def pair_selected(self, generation: Generation, pair: CandidatePair, *, lost: bool) -> None: ...

    def path_resumed(self, generation: Generation) -> None: ...


class Generation:
    """A core with its candidates, their sockets and their gathering. :meth:`stop` and :meth:`clean_up` end it."""

    def __init__(
        self, core: Core, options: AgentOptions, owner: Owner, network: Network, inbox: Inbox, shared: Shared
    ) -> None:
        self.core = core
        self.state = ICETransportState.NEW
        """What the core has last told: where it passes through two at once, the first of them comes first."""
        self.gathering_state = ICEGathererState.NEW
        self.history = History(since=shared.loop.time())
        self._options = options
        self._owner = owner
        self._network = network
        self._shared = shared
        self._driver: Driver[Outgoing, Happening] = Driver(core, self._send_check, self._on_happening, shared)
        self._bases: dict[int, Base] = {}
        self._last_base_id = 0
        self._queries = BindingQueries(shared)
        self._watch: Watch | None = None
        self._told_link_local = _NO_HOSTS
        self.has_gathered = False
        """Whether all that was there at the beginning has been gathered."""
        self._binding_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lookups = 0
        self._names_paid_until = -math.inf
        self._remote_ended = False
        self.has_remote_candidates = False
        """Whether the peer has told of any."""
        self.data = DataPath(core, self._bases, self._queries, self._driver, inbox, shared)

    def port_on(self, host: str) -> UDPPort | None:
        """The port that this generation has on a local address."""
        for base in self._bases.values():
            socket = base.socket
            if base.address is not None and base.address.host == host and isinstance(socket, UDPEndpoint):
                return socket.port
        return None

    def find_port(self, host: str) -> UDPPort | None:
        """The agent's port on a local address, of whichever generation."""
        return self._owner.find_port(host)

    def set_options(self, options: AgentOptions) -> None:
        """For what has not been begun: the gathering, and the times."""
        self._options = options
        if self.core.state is ICETransportState.NEW:
            self.core.timings = options.core_timings

    def flush(self, now: float) -> None:
        self._driver.flush(now)
        self.data.take_unproved(now)

    def situation(self, now: float, ahead: Sequence[Candidate] = ()) -> Situation:
        """What :func:`.explain.explain` goes by; ``ahead`` are remote candidates that the agent keeps for later."""
        core = self.core
        return Situation(
            now,
            core.local_ufrag,
            self.history,
            state=self.state,
            controlling=core.controlling,
            lite=self._options.lite,
            remote_name=core.remote_ufrag,
            gathering_state=self.gathering_state,
            candidate_types=[CandidateType(one) for one in self._options.candidate_types],
            local=core.locals,
            remote=core.remote_candidates,
            remote_ended=self._remote_ended,
            looking_up=self._lookups,
            ahead=ahead,
            pairs=core.pairs,
            selected=core.selected,
            taken_by=self._taken_by,
            dropped=core.dropped,
            timings=core.timings,
        )

    @property
    def _taken_by(self) -> str:
        """The other agent on our port that gets what the peer sends on the path."""
        pair = self.core.selected
        base = None if pair is None else self._bases.get(pair.base_id)
        if pair is None or base is None or not isinstance(base.socket, UDPEndpoint):
            return ""
        ufrag = base.socket.taken_by(pair.destination)
        return "" if self._owner.has_generation(ufrag) else ufrag

    # Gathering

    def gather(self) -> None:
        options = self._options
        for mux in (options.udp_mux, options.tcp_mux):
            if mux is not None:
                mux.check(self.core.local_ufrag)
        try:
            addresses = self._find_addresses()
        except OSError as error:
            addresses = []
            self.system_refused(f"the interfaces cannot be read: {why(error)}")
        plan = GatherPlan.of(options, addresses, self.core.local_ufrag)
        gathering = Gathering(plan, self, self._network, self._queries, self._shared)
        self.history.addresses = len(plan.addresses)
        asked = ", ".join(map(str, plan.urls)) or "no server"
        now = self._shared.loop.time()
        self.core.trace(
            now,
            "gathers %s on %s, asks %s",
            ", ".join(options.candidate_types),
            count(len(plan.addresses), "address"),
            asked,
        )
        self._set_gathering_state(ICEGathererState.GATHERING)
        self._start_task(self._gather(gathering), "gather")
        if options.continual_gathering is ContinualGatheringPolicy.CONTINUALLY:
            changed = asyncio.Event()
            self._watch = self._network.watch(changed.set, options.network_monitor_interval)
            self._start_task(gathering.follow(changed, self._find_addresses), "follow the interfaces")
        if plan.urls:
            self._keep_bindings_later(gathering)

    async def _gather(self, gathering: Gathering) -> None:
        await gathering.run()
        now = self._shared.loop.time()
        with self._shared.step:
            self.core.trace(now, "has gathered %s", count(len(self.core.locals), "candidate"))
            self.has_gathered = True
            if self._watch is None:
                self.core.local_gathering_done(now)
                self._set_gathering_state(ICEGathererState.COMPLETE)
                self._owner.candidate_found(self, None)
            self._owner.first_round_over(self)
            self._driver.flush(now)

    def _find_addresses(self) -> list[LocalAddress]:
        options = self._options
        networks = frozenset(NetworkType(one) for one in options.network_types)
        found = local_addresses(
            self._network.interfaces(),
            use_ipv4=NetworkType.UDP4 in networks or NetworkType.TCP4 in networks,
            use_ipv6=NetworkType.UDP6 in networks or NetworkType.TCP6 in networks,
            include_loopback=options.include_loopback,
            interface_filter=options.interface_filter,
            ip_filter=options.ip_filter,
        )
        if options.hides_hosts:
            # A link-local address has no name to hide behind.
            return [address for address in found if address.is_announced]
        if not any(address.is_announced for address in found):
            # Two hosts on one link that have nothing else (RFC 3927, RFC 4862) can still meet.
            self._told_link_local = self._told_link_local.union(address.host for address in found)
        return [
            replace(address, is_announced=True) if address.host in self._told_link_local else address
            for address in found
        ]

    def _set_gathering_state(self, state: ICEGathererState) -> None:
        self.gathering_state = state
        self._owner.gathering_state_changed(self, state)

    def add_base(self, socket: DatagramSocket | Relay, address: LocalAddress | None) -> Base:
        """Candidates are going to send from here."""
        self._last_base_id += 1
        base = Base(self._last_base_id, socket, address)
        self._bases[base.id] = base
        if isinstance(socket, TCPEndpoint):
            socket.on_path_lost = partial(self.path_lost, base)
        if isinstance(socket, UDPEndpoint | TCPEndpoint):
            socket.on_lost = partial(self.base_lost, base)
        socket.set_receiver(self.data.receiver_for(base.id))
        return base

    def bases(self) -> Collection[Base]:
        """What there is to send from."""
        return self._bases.values()

    async def name_of(self, host: str) -> str:
        """The name that hides a local address. OSError when nobody could resolve it."""
        return await self._owner.name_of(host)

    def forget_name(self, host: str) -> None:
        """The local address is not ours any more."""
        self._owner.forget_name(host)

    def add_candidate(self, candidate: Candidate, base: Base, address: str | None) -> None:
        """Gathering has found a candidate. The peer is told before it is checked (RFC 8838 section 10)."""
        if base.id not in self._bases:
            return  # an answer that came when its socket had gone
        now = self._shared.loop.time()
        with self._shared.step:
            if self.core.add_local_candidate(candidate, base.id, now, address):
                if base.is_announced:
                    self._owner.candidate_found(self, candidate)
                self._driver.flush(now)

    def system_refused(self, what: str) -> None:
        """The system does not give what gathering takes."""
        self.history.refusal = what
        self.core.trace.tell(self._shared.loop.time(), "%s", what)

    def gathering_failed(self, error: GatheringError) -> None:
        self.history.server_failed(ServerProblem(str(error.url), error.error_code, error.reason))
        now = self._shared.loop.time()
        self.core.trace.tell(now, "%s gave no candidate: %d %s", error.url, error.error_code, error.reason)
        self._owner.gathering_failed(error)

    def relay_lost(self, relay: Relay, reason: str) -> None:
        """An allocation has ended before its time: its candidate is no more."""
        for base in list(self._bases.values()):
            if base.socket is relay:
                self.base_lost(base, f"the relay is lost: {reason}")
        relay.abort()

    def base_lost(self, base: Base, reason: str) -> None:
        """A socket or a relay is of no more use: its candidates are no more."""
        now = self._shared.loop.time()
        if self._bases.pop(base.id, None) is not None:
            self.core.trace.tell(now, "%s: %s", format_address(*base.socket.local_address), reason)
            self.core.base_lost(base.id, now, reason=reason)
            if base.is_announced:
                for candidate in base.candidates:
                    self._owner.candidate_removed(self, candidate)
            self._driver.flush(now)

    def base_gone(self, base: Base, reason: str) -> None:
        """The address that it sends from is not ours any more."""
        self.base_lost(base, reason)
        if isinstance(base.socket, Relay):
            base.socket.abort()
        else:
            base.socket.close()

    def permission_refused(self, relay: Relay, host: str, reason: str) -> None:
        """A TURN server lets nothing through to this host."""
        now = self._shared.loop.time()
        for base in self._bases.values():
            if base.socket is relay:
                self.core.base_lost(base.id, now, host=host, reason=f"the TURN server refuses {host}: {reason}")
        self._driver.flush(now)

    def path_lost(self, base: Base, address: Address, reason: str) -> None:
        """A connection that was a path by itself has ended (RFC 6544)."""
        now = self._shared.loop.time()
        self.core.path_lost(base.id, address, now, reason)
        self._driver.flush(now)

    def _keep_bindings_later(self, gathering: Gathering) -> None:
        # Where no server was asked, or none needs to be any more, nothing of the gathering is kept.
        self._binding_timer = self._shared.loop.call_later(_BINDING_KEEPALIVE_INTERVAL, self._keep_bindings, gathering)

    def _keep_bindings(self, gathering: Gathering) -> None:
        """RFC 8445 section 5.1.1.4: NATs must not forget the server-reflexive candidates before ICE has concluded."""
        self._binding_timer = None
        if self.core.state not in _SEEKING:
            return
        for socket, server in gathering.bindings:
            socket.send(Train.of(keepalive()), server)
        self._keep_bindings_later(gathering)

    # The peer

    def set_remote_credentials(self, ufrag: str, pwd: str) -> None:
        now = self._shared.loop.time()
        self.core.set_remote_credentials(ufrag, pwd, now)
        self.flush(now)

    def start(self, controlling: bool, ufrag: str, pwd: str, *, remote_lite: bool) -> None:
        """Begin to check. The credentials may be known already, if they are the same."""
        now = self._shared.loop.time()
        self.core.set_remote_lite(remote_lite)
        self.core.set_remote_credentials(ufrag, pwd, now)
        self.history.started = now
        self.core.start(controlling, now)
        self.flush(now)

    def wait_for_peer(self, wait: bool) -> None:
        """Whether a path is only chosen when the peer looks for one too; see the core's."""
        now = self._shared.loop.time()
        self.core.wait_for_peer(wait, now)
        self._driver.flush(now)

    def add_remote_candidate(self, candidate: Candidate, *, resolve: bool) -> None:
        """``resolve`` says whether a ``.local`` name may be looked up; that holds up nothing."""
        self.has_remote_candidates = True
        now = self._shared.loop.time()
        if not candidate.is_hidden:
            self.core.add_remote_candidate(candidate, now)
        elif resolve and self._may_look_up(now):
            self._lookups += 1
            self.core.trace(now, "looks up %s", candidate.address)
            self._start_task(self._look_up(candidate), f"look up {candidate.address}")
        else:
            self.history.name_failed(candidate.address)
            self.core.trace(now, "does not look up %s", candidate.address)
        self._driver.flush(now)

    def _may_look_up(self, now: float) -> bool:
        paid_until = max(self._names_paid_until, now - _MAX_NAMES * _NAME_INTERVAL) + _NAME_INTERVAL
        if self._lookups >= _MAX_LOOKUPS or paid_until > now:
            return False
        self._names_paid_until = paid_until
        return True

    def end_of_remote_candidates(self) -> None:
        now = self._shared.loop.time()
        self._remote_ended = True
        self._end_remote_candidates(now)
        self._driver.flush(now)

    async def _look_up(self, candidate: Candidate) -> None:
        try:
            address = await self._owner.look_up(candidate.address)
        finally:
            self._lookups -= 1
        now = self._shared.loop.time()
        with self._shared.step:
            if address is None:
                self.history.name_failed(candidate.address)
                self.core.trace.tell(now, "%s was not resolved: its candidate is left out", candidate.address)
            else:
                self.core.add_remote_candidate(candidate, now, address)
            self._end_remote_candidates(now)
            self._driver.flush(now)

    def _end_remote_candidates(self, now: float) -> None:
        if self._remote_ended and not self._lookups:
            self.core.end_of_remote_candidates(now)

    def fall_silent(self) -> None:
        """Send nothing any more, so that the peer gives up the path. What it still sends on it is taken.

        Some stay on an old path for as long as anything comes from there, also when a new one has been selected.
        """
        self.data.is_silent = True

    # What the core tells

    def _send_check(self, outgoing: Outgoing) -> None:
        base = self._bases.get(outgoing.base_id)
        if base is not None and not self.data.is_silent:
            base.socket.send(Train.of(outgoing.data), outgoing.destination)

    def _on_happening(self, event: Happening) -> None:
        if isinstance(event, StateChanged):
            if (self.state, event.state) != (ICETransportState.CONNECTED, ICETransportState.COMPLETED):
                self.history.since = self._shared.loop.time()
            self.history.reason = event.reason
            self.state = event.state
            self._owner.state_changed(self, event.state, event.reason)
        elif isinstance(event, RoleChanged):
            self.history.role_changes += 1
            told = self.history.role_changes <= _MAX_ROLE_CHANGES_TOLD
            tell = self.core.trace.tell if told else self.core.trace
            tell(self._shared.loop.time(), "is now %s: both ends claimed one role", event.role)
        elif isinstance(event, SelectedPairChanged):
            base = self._bases.get(event.pair.base_id)
            if base is not None and base.relay is not None:
                base.relay.bind_channel(event.pair.destination, self._shared.loop.time())
            self._owner.pair_selected(self, event.pair, lost=event.lost)
        elif isinstance(event, PathResumed):
            self._owner.path_resumed(self)
        elif isinstance(event, PathProved):
            base = self._bases.get(event.base_id)
            if base is not None and isinstance(base.socket, UDPEndpoint | TCPEndpoint):
                base.socket.claim(event.address, has_answered=event.has_answered)
                self._give_up_old_claims(base)
        elif isinstance(event, PermissionNeeded):
            base = self._bases.get(event.base_id)
            if base is not None and base.relay is not None:
                base.relay.permit(event.address[0], self._shared.loop.time())

    def _give_up_old_claims(self, base: Base) -> None:
        """In a long session the peer has been at many addresses; those count that a pair has."""
        if isinstance(base.socket, UDPEndpoint) and len(base.socket.claims) > 2 * self._options.max_pairs:
            base.socket.keep_claims({pair.destination for pair in self.core.pairs if pair.base_id == base.id})

    # The end

    def stop(self) -> None:
        """Stop at once; :meth:`clean_up` gives back what takes longer."""
        now = self._shared.loop.time()
        self.core.close()
        self._driver.flush(now)
        self._driver.close()
        if self._watch is not None:
            self._watch.close()
        if self._binding_timer is not None:
            self._binding_timer.cancel()
        self.data.close()
        for task in self._tasks:
            task.cancel()
        for base in self._bases.values():
            base.socket.set_receiver(None)
            if not isinstance(base.socket, Relay):
                base.socket.close()
        if self.gathering_state is not ICEGathererState.CLOSED:
            self._set_gathering_state(ICEGathererState.CLOSED)

    async def clean_up(self) -> None:
        """What takes longer than :meth:`stop`: within two seconds all tasks and allocations are gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await asyncio.gather(self._close_relays(), *self._tasks, return_exceptions=True)
                # A gathering hears of its end after some turns of the loop: until then it takes what a server gives.
                await self._close_relays()
        for relay in self._relays:
            relay.abort()
        self._bases.clear()

    @property
    def _relays(self) -> list[Relay]:
        return [base.relay for base in self._bases.values() if base.relay is not None]

    async def _close_relays(self) -> None:
        await asyncio.gather(*(relay.close() for relay in self._relays), return_exceptions=True)

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._shared.loop.create_task(work, name=f"ICE: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
